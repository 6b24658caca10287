//! What is known of the other participants: nodes, topics, services, endpoints.

use std::sync::Arc;

use super::port::GraphPort;
use super::qos::{Durability, Reliability};
use super::{Gid, qos::QosProfile};

/// A node in the graph.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct NodeName {
    /// With a leading slash.
    pub namespace: String,
    /// Without a slash.
    pub name: String,
}

/// A topic in the graph.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct TopicInfo {
    /// Fully qualified name.
    pub name: String,
    /// `package/msg/Name`.
    pub ros_type: String,
    /// Publishers, ours included.
    pub n_publishers: usize,
    /// Subscriptions, ours included.
    pub n_subscriptions: usize,
}

/// A publisher or subscription in the graph.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// Its node, once that is known.
    pub node: Option<NodeName>,
    /// `package/msg/Name`.
    pub ros_type: String,
    /// Its identifier.
    pub gid: Gid,
    /// What a publisher offers, or a subscription asks for.
    pub reliability: Reliability,
    /// What a publisher offers, or a subscription asks for.
    pub durability: Durability,
}

/// A view of the graph as it is now; it follows discovery by itself.
#[derive(Clone)]
pub struct Graph {
    port: Arc<dyn GraphPort>,
}

impl NodeName {
    /// Namespace and name, as in `/robot/translator`.
    #[must_use]
    pub fn fully_qualified(&self) -> String {
        format!("{}/{}", self.namespace.trim_end_matches('/'), self.name)
    }
}

impl Endpoint {
    /// Why a publisher that offers this cannot be heard by a subscription that asks for `asked`,
    /// in the words of QoS; `None` when they fit.
    #[must_use]
    pub fn mismatch_with(&self, asked: &QosProfile) -> Option<&'static str> {
        match (self.reliability, asked.reliability, self.durability, asked.durability) {
            (Reliability::BestEffort, Reliability::Reliable, ..) => {
                Some("it offers best_effort, reliable is asked for")
            }
            (.., Durability::Volatile, Durability::TransientLocal) => {
                Some("it offers volatile, transient_local is asked for")
            }
            _ => None,
        }
    }
}

impl Graph {
    pub(super) fn new(port: Arc<dyn GraphPort>) -> Self {
        Self { port }
    }

    /// All nodes, sorted.
    #[must_use]
    pub fn nodes(&self) -> Vec<NodeName> {
        let mut nodes = self.port.nodes();
        nodes.sort();
        nodes
    }

    /// All ROS topics (not the halves of services), sorted by name.
    #[must_use]
    pub fn topics(&self) -> Vec<TopicInfo> {
        let mut topics = self.port.topics();
        topics.sort();
        topics
    }

    /// All services with a server, by fully qualified name and type, sorted.
    #[must_use]
    pub fn services(&self) -> Vec<(String, String)> {
        let mut services = self.port.services();
        services.sort();
        services.dedup();
        services
    }

    /// The publishers of a fully qualified topic, ours included.
    #[must_use]
    pub fn publishers(&self, topic: &str) -> Vec<Endpoint> {
        self.port.publishers(topic)
    }

    /// The subscriptions of a fully qualified topic, ours included.
    #[must_use]
    pub fn subscriptions(&self, topic: &str) -> Vec<Endpoint> {
        self.port.subscriptions(topic)
    }
}
