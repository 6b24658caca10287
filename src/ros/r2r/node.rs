//! Nodes: names, and what is made under them.

use std::sync::Arc;

use super::context::{Shared, create_error};
use super::slot::{Close, Slot};
use super::{endpoint, rcl, service};
use crate::ros::port::{
    ClientPort, NodePort, PublisherPort, RequestHandler, SampleHandler, ServerPort,
    SubscriptionPort,
};
use crate::ros::{QosProfile, RosError};

/// A node; endpoints made from it keep it in the graph.
pub(super) struct R2rNode {
    shared: Arc<Shared>,
    node: Arc<Slot<rcl::Node>>,
}

impl R2rNode {
    pub(super) fn new(shared: Arc<Shared>, node: Arc<Slot<rcl::Node>>) -> Self {
        Self { shared, node }
    }

    /// The node, if `name` is one that ROS takes as it is and the context still runs.
    fn open(&self, name: &str, what: &str) -> Result<Arc<rcl::Node>, RosError> {
        if !name.starts_with('/') || name.ends_with('/') {
            return Err(RosError::NameNotQualified { name: name.to_owned() });
        }
        self.node.get().ok_or_else(|| RosError::Closed { what: what.to_owned() })
    }
}

impl NodePort for R2rNode {
    fn publisher(
        &self,
        topic: &str,
        ros_type: &'static str,
        qos: &QosProfile,
    ) -> Result<Box<dyn PublisherPort>, RosError> {
        let what = format!("a publisher of {ros_type} on {topic}");
        let node = self.open(topic, &what)?;
        let publisher = endpoint::R2rPublisher::new(&self.shared, &node, topic, ros_type, qos);
        Ok(Box::new(publisher.map_err(|error| create_error(what, error))?))
    }

    fn subscription(
        &self,
        topic: &str,
        ros_type: &'static str,
        qos: &QosProfile,
        handler: SampleHandler,
    ) -> Result<Box<dyn SubscriptionPort>, RosError> {
        let what = format!("a subscription of {ros_type} on {topic}");
        let node = self.open(topic, &what)?;
        let subscription =
            endpoint::R2rSubscription::new(&self.shared, &node, topic, ros_type, qos, handler);
        Ok(Box::new(subscription.map_err(|error| create_error(what, error))?))
    }

    fn server(
        &self,
        name: &str,
        ros_type: &'static str,
        handler: RequestHandler,
    ) -> Result<Box<dyn ServerPort>, RosError> {
        let what = format!("a server of {ros_type} under {name}");
        let node = self.open(name, &what)?;
        let server = service::R2rServer::new(&self.shared, &node, name, ros_type, handler);
        Ok(Box::new(server.map_err(|error| create_error(what, error))?))
    }

    fn client(&self, name: &str, ros_type: &'static str) -> Result<Box<dyn ClientPort>, RosError> {
        let what = format!("a client of {ros_type} for {name}");
        let node = self.open(name, &what)?;
        let client = service::R2rClient::new(&self.shared, &node, name, ros_type);
        Ok(Box::new(client.map_err(|error| create_error(what, error))?))
    }
}

impl Drop for R2rNode {
    fn drop(&mut self) {
        self.node.close();
    }
}
