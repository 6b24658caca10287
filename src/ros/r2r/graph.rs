//! The graph, as the middleware has discovered it.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::context::{Shared, is_graph_node};
use super::rcl::{Node, RclError, Side};
use crate::ros::port::GraphPort;
use crate::ros::{Endpoint, NodeName, TopicInfo};

/// Asks through any node of its context.
pub(super) struct R2rGraph {
    shared: Arc<Shared>,
}

impl R2rGraph {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// The answer, or an empty one after the end of the context or where ROS fails.
    fn ask<T: Default>(&self, question: impl FnOnce(&Node) -> Result<T, RclError>) -> T {
        let Some(node) = self.shared.any_node() else { return T::default() };
        question(&node).unwrap_or_else(|error| {
            tracing::debug!(%error, "the graph does not answer");
            T::default()
        })
    }
}

impl GraphPort for R2rGraph {
    fn nodes(&self) -> Vec<NodeName> {
        let mut nodes = self.ask(Node::node_names);
        nodes.retain(|node| !is_graph_node(&node.name));
        nodes
    }

    fn topics(&self) -> Vec<TopicInfo> {
        self.ask(|node| {
            let mut topics = Vec::new();
            for (name, _types) in node.topics()? {
                topics.extend(topic(node, &name)?);
            }
            Ok(topics)
        })
    }

    fn services(&self) -> Vec<(String, String)> {
        let services = self.ask(Node::services);
        services
            .into_iter()
            .flat_map(|(name, types)| types.into_iter().map(move |kind| (name.clone(), kind)))
            .collect()
    }

    fn publishers(&self, topic: &str) -> Vec<Endpoint> {
        self.ask(|node| node.endpoints(topic, Side::Publishers))
    }

    fn subscriptions(&self, topic: &str) -> Vec<Endpoint> {
        self.ask(|node| node.endpoints(topic, Side::Subscriptions))
    }
}

/// A topic, once for each type that somebody uses it with; `rcl` counts over all types.
fn topic(node: &Node, name: &str) -> Result<Vec<TopicInfo>, RclError> {
    let mut counts: BTreeMap<String, (usize, usize)> = BTreeMap::new();
    for endpoint in node.endpoints(name, Side::Publishers)? {
        counts.entry(endpoint.ros_type).or_default().0 += 1;
    }
    for endpoint in node.endpoints(name, Side::Subscriptions)? {
        counts.entry(endpoint.ros_type).or_default().1 += 1;
    }
    Ok(counts
        .into_iter()
        .map(|(ros_type, (n_publishers, n_subscriptions))| TopicInfo {
            name: name.to_owned(),
            ros_type,
            n_publishers,
            n_subscriptions,
        })
        .collect())
}
