//! Publishers and subscriptions of serialised messages.
//!
//! Unsafe, because they are C objects with a life of their own.
#![allow(unsafe_code)]

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use r2r_rcl as sys;

use super::context::report;
use super::message::with_array;
use super::{ByteArray, Fixed, MessageSupport, Node, RclError, c_name, check, check_take};
use crate::ros::qos::{Durability, Reliability};
use crate::ros::{Gid, QosProfile};

/// A publisher.
pub(crate) struct Publisher {
    raw: Fixed<sys::rcl_publisher_t>,
    node: Arc<Node>,
}

// SAFETY: publishing and asking are documented as thread-safe; the end belongs to `Drop` alone.
unsafe impl Send for Publisher {}
// SAFETY: as for `Send`.
unsafe impl Sync for Publisher {}

impl Publisher {
    pub(crate) fn new(
        node: &Arc<Node>,
        topic: &str,
        support: MessageSupport,
        qos: &QosProfile,
        depth: usize,
    ) -> Result<Self, RclError> {
        let topic = c_name(topic)?;
        let _endpoints = node.lock_endpoints();
        // SAFETY: the publisher is zero-initialised, the node is initialised and kept alive, the
        // type support lives for ever, and name and options are copied.
        unsafe {
            let raw = Fixed::new(sys::rcl_get_zero_initialized_publisher());
            let mut options = sys::rcl_publisher_get_default_options();
            apply(&mut options.qos, qos, depth);
            let made = sys::rcl_publisher_init(
                raw.ptr(),
                node.ptr(),
                support.ptr,
                topic.as_ptr(),
                &raw const options,
            );
            check("rcl_publisher_init", made)?;
            Ok(Self { raw, node: Arc::clone(node) })
        }
    }

    /// Hands a message with its encapsulation header to the middleware, which copies it.
    pub(crate) fn publish(&self, octets: &[u8]) -> Result<(), RclError> {
        let code = with_array(octets, |array| {
            // SAFETY: the publisher is initialised, and the bytes are lent for the call.
            unsafe {
                sys::rcl_publish_serialized_message(self.raw.ptr(), array, std::ptr::null_mut())
            }
        });
        check("rcl_publish_serialized_message", code)
    }

    /// What subscriptions in this process see as the source.
    pub(crate) fn gid(&self) -> Result<Gid, RclError> {
        // SAFETY: the publisher is initialised; its rmw handle lives as long. A struct of octets
        // and a pointer may be all zero.
        let gid = unsafe {
            let mut gid: sys::rmw_gid_t = std::mem::zeroed();
            let rmw = sys::rcl_publisher_get_rmw_handle(self.raw.ptr());
            let code = sys::rmw_get_gid_for_publisher(rmw, &raw mut gid);
            check("rmw_get_gid_for_publisher", code)?;
            gid
        };
        Ok(first_octets(&gid.data))
    }

    /// Matched subscriptions.
    pub(crate) fn matched(&self) -> Result<usize, RclError> {
        let mut count = 0;
        // SAFETY: the publisher is initialised, and `count` is there for the call.
        let code =
            unsafe { sys::rcl_publisher_get_subscription_count(self.raw.ptr(), &raw mut count) };
        check("rcl_publisher_get_subscription_count", code).map(|()| count)
    }

    /// Waits until all reliable subscriptions have everything; false when `timeout` passed first.
    pub(crate) fn wait_for_all_acked(&self, timeout: Duration) -> Result<bool, RclError> {
        let nanos = i64::try_from(timeout.as_nanos()).unwrap_or(i64::MAX);
        // SAFETY: the publisher is initialised.
        let code = unsafe { sys::rcl_publisher_wait_for_all_acked(self.raw.ptr(), nanos) };
        check_take("rcl_publisher_wait_for_all_acked", code, sys::RCL_RET_TIMEOUT)
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        let _endpoints = self.node.lock_endpoints();
        // SAFETY: initialised in `new` with this node, and nobody uses it any more.
        let ended = unsafe { sys::rcl_publisher_fini(self.raw.ptr(), self.node.ptr()) };
        report("publisher", check("rcl_publisher_fini", ended));
    }
}

/// A subscription.
pub(crate) struct Subscription {
    raw: Fixed<sys::rcl_subscription_t>,
    node: Arc<Node>,
}

/// Where a sample came from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SampleInfo {
    pub(crate) source: Gid,
    pub(crate) source_time: Option<SystemTime>,
    /// The writer's number of the sample, where the middleware tells it.
    pub(crate) number: Option<u64>,
}

// SAFETY: only the spin thread takes; what other threads ask is answered by `rmw` under its locks;
// the end belongs to `Drop` alone.
unsafe impl Send for Subscription {}
// SAFETY: as for `Send`.
unsafe impl Sync for Subscription {}

impl Subscription {
    pub(crate) fn new(
        node: &Arc<Node>,
        topic: &str,
        support: MessageSupport,
        qos: &QosProfile,
        depth: usize,
    ) -> Result<Self, RclError> {
        let topic = c_name(topic)?;
        let _endpoints = node.lock_endpoints();
        // SAFETY: as for a publisher.
        unsafe {
            let raw = Fixed::new(sys::rcl_get_zero_initialized_subscription());
            let mut options = sys::rcl_subscription_get_default_options();
            apply(&mut options.qos, qos, depth);
            let made = sys::rcl_subscription_init(
                raw.ptr(),
                node.ptr(),
                support.ptr,
                topic.as_ptr(),
                &raw const options,
            );
            check("rcl_subscription_init", made)?;
            Ok(Self { raw, node: Arc::clone(node) })
        }
    }

    /// The next sample, put into `into` with its encapsulation header; `None` when there is none.
    pub(crate) fn take(&self, into: &mut ByteArray) -> Result<Option<SampleInfo>, RclError> {
        // SAFETY: the subscription is initialised, the array has an allocator to grow with, and the
        // information is initialised.
        let (code, info) = unsafe {
            let mut info = sys::rmw_get_zero_initialized_message_info();
            let code = sys::rcl_take_serialized_message(
                self.raw.ptr(),
                into.ptr(),
                &raw mut info,
                std::ptr::null_mut(),
            );
            (code, info)
        };
        let nothing = sys::RCL_RET_SUBSCRIPTION_TAKE_FAILED;
        if !check_take("rcl_take_serialized_message", code, nothing)? {
            return Ok(None);
        }
        Ok(Some(SampleInfo {
            source: first_octets(&info.publisher_gid.data),
            source_time: time(info.source_timestamp),
            // The largest number says that the middleware does not count.
            number: Some(info.publication_sequence_number)
                .filter(|number| *number != 0 && *number != u64::MAX),
        }))
    }

    /// Matched publishers.
    pub(crate) fn matched(&self) -> Result<usize, RclError> {
        let mut count = 0;
        // SAFETY: the subscription is initialised, and `count` is there for the call.
        let code =
            unsafe { sys::rcl_subscription_get_publisher_count(self.raw.ptr(), &raw mut count) };
        check("rcl_subscription_get_publisher_count", code).map(|()| count)
    }

    pub(super) fn ptr(&self) -> *const sys::rcl_subscription_t {
        self.raw.ptr()
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        let _endpoints = self.node.lock_endpoints();
        // SAFETY: initialised in `new` with this node; a wait set that knows it holds a share.
        let ended = unsafe { sys::rcl_subscription_fini(self.raw.ptr(), self.node.ptr()) };
        report("subscription", check("rcl_subscription_fini", ended));
    }
}

fn apply(to: &mut sys::rmw_qos_profile_t, qos: &QosProfile, depth: usize) {
    use sys::rmw_qos_durability_policy_e as durability;
    use sys::rmw_qos_history_policy_e::RMW_QOS_POLICY_HISTORY_KEEP_LAST;
    use sys::rmw_qos_reliability_policy_e as reliability;
    to.history = RMW_QOS_POLICY_HISTORY_KEEP_LAST;
    to.depth = depth;
    to.reliability = match qos.reliability {
        Reliability::BestEffort => reliability::RMW_QOS_POLICY_RELIABILITY_BEST_EFFORT,
        Reliability::Reliable => reliability::RMW_QOS_POLICY_RELIABILITY_RELIABLE,
    };
    to.durability = match qos.durability {
        Durability::Volatile => durability::RMW_QOS_POLICY_DURABILITY_VOLATILE,
        Durability::TransientLocal => durability::RMW_QOS_POLICY_DURABILITY_TRANSIENT_LOCAL,
    };
}

/// 16 octets since Iron; Humble has 24, of which the first 16 tell endpoints apart.
pub(super) fn first_octets(octets: &[u8]) -> Gid {
    let mut gid = Gid::default();
    let len = gid.0.len().min(octets.len());
    gid.0[..len].copy_from_slice(&octets[..len]);
    gid
}

/// Nanoseconds since 1970; 0 and less mean that nobody knows.
fn time(nanos: i64) -> Option<SystemTime> {
    let nanos = u64::try_from(nanos).ok().filter(|nanos| *nanos > 0)?;
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_nanos(nanos))
}
