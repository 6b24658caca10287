//! Questions to the graph.
//!
//! Unsafe, because ROS answers with arrays that it allocates.
#![allow(unsafe_code)]

use r2r_rcl as sys;

use super::context::report;
use super::endpoint::first_octets;
use super::{Node, RclError, allocator, c_name, check, rust_string};
use crate::ros::qos::{Durability, Reliability};
use crate::ros::{Endpoint, NodeName};

/// What `rmw` says where the node of an endpoint is not known yet.
const NODE_UNKNOWN: &str = "_NODE_NAME_UNKNOWN_";

/// Which end of a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    Publishers,
    Subscriptions,
}

impl Node {
    /// All nodes.
    pub(crate) fn node_names(&self) -> Result<Vec<NodeName>, RclError> {
        let (mut names, mut namespaces) = (Strings::new(), Strings::new());
        // SAFETY: the node is initialised, and both arrays are zero-initialised.
        let code = unsafe {
            sys::rcl_get_node_names(
                self.ptr(),
                allocator(),
                &raw mut names.0,
                &raw mut namespaces.0,
            )
        };
        check("rcl_get_node_names", code)?;
        Ok(names
            .to_vec()
            .into_iter()
            .zip(namespaces.to_vec())
            .map(|(name, namespace)| NodeName { namespace, name })
            .collect())
    }

    /// All topics with their types.
    pub(crate) fn topics(&self) -> Result<Vec<(String, Vec<String>)>, RclError> {
        let mut found = NamesAndTypes::new();
        // SAFETY: the node is initialised, and the result is zero-initialised.
        let code = unsafe {
            sys::rcl_get_topic_names_and_types(
                self.ptr(),
                &mut allocator(),
                false,
                &raw mut found.0,
            )
        };
        check("rcl_get_topic_names_and_types", code)?;
        Ok(found.to_vec())
    }

    /// All services with their types.
    pub(crate) fn services(&self) -> Result<Vec<(String, Vec<String>)>, RclError> {
        let mut found = NamesAndTypes::new();
        // SAFETY: the node is initialised, and the result is zero-initialised.
        let code = unsafe {
            sys::rcl_get_service_names_and_types(self.ptr(), &mut allocator(), &raw mut found.0)
        };
        check("rcl_get_service_names_and_types", code)?;
        Ok(found.to_vec())
    }

    /// The endpoints at one side of a topic.
    pub(crate) fn endpoints(&self, topic: &str, side: Side) -> Result<Vec<Endpoint>, RclError> {
        let topic = c_name(topic)?;
        let ask = match side {
            Side::Publishers => sys::rcl_get_publishers_info_by_topic,
            Side::Subscriptions => sys::rcl_get_subscriptions_info_by_topic,
        };
        let mut found = EndpointInfos::new();
        // SAFETY: the node is initialised, the name ends with a zero octet, and the result is
        // zero-initialised.
        let code =
            unsafe { ask(self.ptr(), &mut allocator(), topic.as_ptr(), false, &raw mut found.0) };
        check("rcl_get_endpoints_info_by_topic", code)?;
        Ok(found.to_vec())
    }
}

struct Strings(sys::rcutils_string_array_t);

impl Strings {
    fn new() -> Self {
        // SAFETY: no precondition.
        Self(unsafe { sys::rcutils_get_zero_initialized_string_array() })
    }

    fn to_vec(&self) -> Vec<String> {
        // SAFETY: ROS filled it.
        unsafe { strings(&self.0) }
    }
}

impl Drop for Strings {
    fn drop(&mut self) {
        // SAFETY: zero-initialised or filled by ROS, and not used after this.
        let ended = unsafe { sys::rcutils_string_array_fini(&raw mut self.0) };
        report("string array", check("rcutils_string_array_fini", ended));
    }
}

struct NamesAndTypes(sys::rcl_names_and_types_t);

impl NamesAndTypes {
    fn new() -> Self {
        // SAFETY: no precondition.
        Self(unsafe { sys::rmw_get_zero_initialized_names_and_types() })
    }

    fn to_vec(&self) -> Vec<(String, Vec<String>)> {
        // SAFETY: ROS filled it; `types` has as many entries as `names`.
        unsafe {
            strings(&self.0.names)
                .into_iter()
                .enumerate()
                .map(|(at, name)| (name, strings(&*self.0.types.add(at))))
                .collect()
        }
    }
}

impl Drop for NamesAndTypes {
    fn drop(&mut self) {
        // SAFETY: zero-initialised or filled by ROS, and not used after this.
        let ended = unsafe { sys::rmw_names_and_types_fini(&raw mut self.0) };
        report("names and types", check("rmw_names_and_types_fini", ended));
    }
}

struct EndpointInfos(sys::rcl_topic_endpoint_info_array_t);

impl EndpointInfos {
    fn new() -> Self {
        // SAFETY: no precondition.
        Self(unsafe { sys::rmw_get_zero_initialized_topic_endpoint_info_array() })
    }

    fn to_vec(&self) -> Vec<Endpoint> {
        if self.0.info_array.is_null() {
            return Vec::new();
        }
        // SAFETY: ROS filled it with `size` entries, whose strings end with a zero octet.
        unsafe {
            let infos = std::slice::from_raw_parts(self.0.info_array, self.0.size);
            infos.iter().map(|info| endpoint(info)).collect()
        }
    }
}

impl Drop for EndpointInfos {
    fn drop(&mut self) {
        // SAFETY: zero-initialised or filled by ROS with this allocator, and not used after this.
        let ended =
            unsafe { sys::rmw_topic_endpoint_info_array_fini(&raw mut self.0, &mut allocator()) };
        report("endpoint infos", check("rmw_topic_endpoint_info_array_fini", ended));
    }
}

/// # Safety
/// Its strings are null or end with a zero octet.
unsafe fn endpoint(info: &sys::rmw_topic_endpoint_info_t) -> Endpoint {
    use sys::rmw_qos_durability_policy_e::RMW_QOS_POLICY_DURABILITY_TRANSIENT_LOCAL;
    use sys::rmw_qos_reliability_policy_e::RMW_QOS_POLICY_RELIABILITY_BEST_EFFORT;
    // SAFETY: the caller's promise.
    let (name, namespace, ros_type) = unsafe {
        (
            rust_string(info.node_name),
            rust_string(info.node_namespace),
            rust_string(info.topic_type),
        )
    };
    let best_effort = info.qos_profile.reliability == RMW_QOS_POLICY_RELIABILITY_BEST_EFFORT;
    let latched = info.qos_profile.durability == RMW_QOS_POLICY_DURABILITY_TRANSIENT_LOCAL;
    Endpoint {
        node: Some(NodeName { namespace, name })
            .filter(|node| !node.name.is_empty() && node.name != NODE_UNKNOWN),
        ros_type,
        gid: first_octets(&info.endpoint_gid),
        reliability: if best_effort { Reliability::BestEffort } else { Reliability::Reliable },
        durability: if latched { Durability::TransientLocal } else { Durability::Volatile },
    }
}

/// # Safety
/// `array` is zero-initialised or filled by ROS.
unsafe fn strings(array: &sys::rcutils_string_array_t) -> Vec<String> {
    if array.data.is_null() {
        return Vec::new();
    }
    // SAFETY: the caller's promise: `size` strings at `data`, each null or ending with a zero octet.
    unsafe {
        let pointers = std::slice::from_raw_parts(array.data, array.size);
        pointers.iter().map(|text| rust_string(*text)).collect()
    }
}
