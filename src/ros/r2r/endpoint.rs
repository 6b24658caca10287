//! Publishers and subscriptions of bytes.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use super::context::Shared;
use super::outbox::{Line, Outbox};
use super::rcl::{self, ByteArray, MessageSupport, RclError, Waitable};
use super::slot::{Close, Slot};
use super::spin::{Registration, Source, report_take};
use super::{READER_SAMPLES_MAX, WRITER_SAMPLES_MAX};
use crate::ros::cdr::MESSAGE_BYTES_MAX;
use crate::ros::gaps::Gaps;
use crate::ros::port::{PublisherPort, SampleHandler, SubscriptionPort};
use crate::ros::qos::{Durability, Reliability};
use crate::ros::{Gid, MessageInfo, PublisherStats, QosProfile, RosError, SerializedMessage};

/// Above this, the memory of a large message is given back instead of kept for the next.
const BUFFER_KEPT_BYTES: usize = 64 << 10;

/// A publisher, closed when dropped.
pub(super) struct R2rPublisher {
    publisher: Arc<Slot<rcl::Publisher>>,
    outbox: Arc<Outbox>,
    line: Arc<Line>,
    topic: String,
    gid: Gid,
}

impl R2rPublisher {
    pub(super) fn new(
        shared: &Shared,
        node: &Arc<rcl::Node>,
        topic: &str,
        ros_type: &str,
        qos: &QosProfile,
    ) -> Result<Self, RclError> {
        let support = MessageSupport::find(ros_type)?;
        let publisher = rcl::Publisher::new(node, topic, support, qos, writer_depth(qos))?;
        let gid = publisher.gid()?;
        let publisher = Arc::new(Slot::new(publisher));
        shared.closes(&publisher);
        Ok(Self {
            publisher,
            outbox: Arc::clone(&shared.outbox),
            line: Line::new(topic),
            topic: topic.to_owned(),
            gid,
        })
    }
}

impl PublisherPort for R2rPublisher {
    fn publish(&self, message: SerializedMessage) -> Result<(), RosError> {
        let bytes = message.len();
        if bytes > MESSAGE_BYTES_MAX {
            let (topic, limit) = (self.topic.clone(), MESSAGE_BYTES_MAX);
            return Err(RosError::TooLarge { topic, bytes, limit });
        }
        let closed = || RosError::Closed { what: format!("a message on {}", self.topic) };
        let publisher = self.publisher.get().ok_or_else(closed)?;
        let write = Box::new(move || publisher.publish(&message.to_rmw()));
        if self.outbox.push(&self.line, write) { Ok(()) } else { Err(closed()) }
    }

    fn gid(&self) -> Gid {
        self.gid
    }

    fn matched(&self) -> usize {
        count(&self.topic, self.publisher.get().map(|publisher| publisher.matched()))
    }

    fn stats(&self) -> PublisherStats {
        self.line.stats()
    }

    fn wait_for_acknowledgments(&self, timeout: Duration) -> bool {
        let deadline = Instant::now() + timeout;
        let Some(publisher) = self.publisher.get() else { return false };
        if !self.outbox.flush(&self.line, timeout) {
            return false;
        }
        let left = deadline.saturating_duration_since(Instant::now());
        publisher.wait_for_all_acked(left).unwrap_or_else(|error| {
            tracing::debug!(topic = self.topic, %error, "acknowledgments are not known");
            false
        })
    }
}

impl Drop for R2rPublisher {
    fn drop(&mut self) {
        self.publisher.close();
    }
}

/// A subscription, closed when dropped.
pub(super) struct R2rSubscription {
    subscription: Arc<Slot<rcl::Subscription>>,
    _registration: Registration,
    topic: String,
    missed: Arc<AtomicU64>,
}

impl R2rSubscription {
    pub(super) fn new(
        shared: &Shared,
        node: &Arc<rcl::Node>,
        topic: &str,
        ros_type: &str,
        qos: &QosProfile,
        handler: SampleHandler,
    ) -> Result<Self, RclError> {
        let support = MessageSupport::find(ros_type)?;
        let depth = READER_SAMPLES_MAX;
        let subscription = Arc::new(rcl::Subscription::new(node, topic, support, qos, depth)?);
        let gaps = Gaps::default();
        let missed = gaps.counter();
        let source = SubscriptionSource {
            subscription: Arc::clone(&subscription),
            topic: topic.to_owned(),
            buffer: ByteArray::new(),
            gaps,
            failures: 0,
            handler,
        };
        let registration = shared.spinner.add(Box::new(source));
        let subscription = Arc::new(Slot::of(Some(subscription)));
        shared.closes(&subscription);
        Ok(Self { subscription, _registration: registration, topic: topic.to_owned(), missed })
    }
}

impl SubscriptionPort for R2rSubscription {
    /// Nobody: `rmw` does not tell it.
    fn gid(&self) -> Gid {
        Gid::default()
    }

    fn matched(&self) -> usize {
        count(&self.topic, self.subscription.get().map(|subscription| subscription.matched()))
    }

    fn missed(&self) -> u64 {
        self.missed.load(Ordering::Relaxed)
    }
}

struct SubscriptionSource {
    subscription: Arc<rcl::Subscription>,
    topic: String,
    buffer: ByteArray,
    /// Where the middleware numbers what it hands over.
    gaps: Gaps,
    failures: u64,
    handler: SampleHandler,
}

impl Source for SubscriptionSource {
    fn waitable(&self) -> Waitable {
        Waitable::Subscription(Arc::clone(&self.subscription))
    }

    fn drain(&mut self, budget: usize, is_open: &dyn Fn() -> bool) {
        for _ in 0..budget {
            if !is_open() {
                return;
            }
            match self.subscription.take(&mut self.buffer) {
                Ok(Some(info)) => {
                    if let Some(Ok(number)) = info.number.map(i64::try_from) {
                        self.gaps.note(&self.topic, info.source, number);
                    }
                    let info = MessageInfo {
                        source: info.source,
                        source_time: info.source_time,
                        reception_time: SystemTime::now(),
                    };
                    (self.handler)(message(&self.topic, self.buffer.as_slice()), info);
                }
                Ok(None) => break,
                // The sample is gone, but those behind it are not.
                Err(error) => report_take(&mut self.failures, &self.topic, &error),
            }
        }
        if self.buffer.capacity() > BUFFER_KEPT_BYTES {
            self.buffer = ByteArray::new();
        }
    }
}

/// The message in octets with an encapsulation header.
fn message(topic: &str, octets: &[u8]) -> Result<SerializedMessage, RosError> {
    if octets.len() > MESSAGE_BYTES_MAX {
        let (bytes, limit) = (octets.len(), MESSAGE_BYTES_MAX);
        return Err(RosError::TooLarge { topic: topic.to_owned(), bytes, limit });
    }
    SerializedMessage::from_rmw(octets).ok_or_else(|| RosError::Malformed {
        ros_type: "a message",
        bytes: octets.len(),
        reason: format!("its encapsulation is not plain CDR: {:02x?}", octets.get(..2)),
    })
}

/// A count that ROS gave; 0 after the end.
fn count(name: &str, counted: Option<Result<usize, RclError>>) -> usize {
    counted.transpose().map_or_else(
        |error| {
            tracing::debug!(name, %error, "matches are not known");
            0
        },
        Option::unwrap_or_default,
    )
}

/// Late subscribers get as much as was promised, so only volatile publishers may keep more.
fn writer_depth(qos: &QosProfile) -> usize {
    match (qos.reliability, qos.durability) {
        (Reliability::Reliable, Durability::Volatile) => WRITER_SAMPLES_MAX,
        _ => usize::from(qos.depth_clamped()),
    }
}
