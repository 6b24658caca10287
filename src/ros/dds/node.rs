//! Nodes, and the ports of their endpoints.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustdds::{Timestamp, WriteOptionsBuilder};

use super::{
    client::DdsClient,
    context::ContextInner,
    graph::NodeEntities,
    raw::{Payload, dds_name},
    reader::{Handler, RawReader},
    service::DdsServer,
    writer::RawWriter,
};
use crate::ros::{
    Gid, MessageInfo, PublisherStats, QosProfile, RosError, SerializedMessage,
    port::{
        ClientPort, NodePort, PublisherPort, RequestHandler, SampleHandler, ServerPort,
        SubscriptionPort,
    },
    wire::dds_type_name,
};

/// A node on DDS: an entry in `ros_discovery_info`.
pub(super) struct DdsNode {
    shared: Arc<NodeShared>,
}

/// What a node and its endpoints share.
pub(super) struct NodeShared {
    pub(super) context: Arc<ContextInner>,
    name: String,
    namespace: String,
    /// Endpoints, so that a change publishes all of them; `None` once the node is gone.
    endpoints: Mutex<Option<Endpoints>>,
}

#[derive(Default, Clone)]
struct Endpoints {
    readers: Vec<Gid>,
    writers: Vec<Gid>,
}

impl DdsNode {
    pub(super) fn new(context: Arc<ContextInner>, name: &str, namespace: &str) -> Self {
        let shared = Arc::new(NodeShared {
            context,
            name: name.to_owned(),
            namespace: namespace.to_owned(),
            endpoints: Mutex::new(Some(Endpoints::default())),
        });
        Self { shared }
    }
}

impl NodePort for DdsNode {
    fn publisher(
        &self,
        topic: &str,
        ros_type: &'static str,
        qos: &QosProfile,
    ) -> Result<Box<dyn PublisherPort>, RosError> {
        let topic = dds_name("rt", topic, "")?;
        let writer = self.shared.context.writer(&topic, &dds_type_name(ros_type), qos)?;
        self.shared.add_writer(writer.gid());
        Ok(Box::new(DdsPublisher { writer, node: Arc::clone(&self.shared) }))
    }

    fn subscription(
        &self,
        topic: &str,
        ros_type: &'static str,
        qos: &QosProfile,
        mut handler: SampleHandler,
    ) -> Result<Box<dyn SubscriptionPort>, RosError> {
        let topic = dds_name("rt", topic, "")?;
        let on_sample: Handler = Box::new(move |sample| {
            let info = MessageInfo::arriving(sample.writer, sample.source_time);
            handler(sample.payload.message(0, ros_type), info);
        });
        let reader =
            self.shared.context.reader(&topic, &dds_type_name(ros_type), qos, on_sample)?;
        self.shared.add_reader(reader.gid());
        Ok(Box::new(DdsSubscription { reader, node: Arc::clone(&self.shared) }))
    }

    fn server(
        &self,
        name: &str,
        ros_type: &'static str,
        handler: RequestHandler,
    ) -> Result<Box<dyn ServerPort>, RosError> {
        Ok(Box::new(DdsServer::new(&self.shared, name, ros_type, handler)?))
    }

    fn client(&self, name: &str, ros_type: &'static str) -> Result<Box<dyn ClientPort>, RosError> {
        Ok(Box::new(DdsClient::new(&self.shared, name, ros_type)?))
    }
}

impl Drop for DdsNode {
    fn drop(&mut self) {
        *self.shared.endpoints.lock().unwrap_or_else(PoisonError::into_inner) = None;
        self.shared.publish();
    }
}

struct DdsPublisher {
    writer: Arc<RawWriter>,
    node: Arc<NodeShared>,
}

impl PublisherPort for DdsPublisher {
    fn publish(&self, message: SerializedMessage) -> Result<(), RosError> {
        let options = WriteOptionsBuilder::new().source_timestamp(Timestamp::now()).build();
        self.writer.write(Payload::new(&[], &message), options)
    }

    fn gid(&self) -> Gid {
        self.writer.gid()
    }

    fn matched(&self) -> usize {
        self.writer.matched()
    }

    fn stats(&self) -> PublisherStats {
        self.writer.stats()
    }

    fn wait_for_acknowledgments(&self, timeout: Duration) -> bool {
        self.writer.wait_for_acknowledgments(timeout)
    }
}

impl Drop for DdsPublisher {
    fn drop(&mut self) {
        self.node.remove(&[self.writer.gid()]);
    }
}

struct DdsSubscription {
    reader: RawReader,
    node: Arc<NodeShared>,
}

impl SubscriptionPort for DdsSubscription {
    fn gid(&self) -> Gid {
        self.reader.gid()
    }

    fn matched(&self) -> usize {
        self.reader.matched()
    }

    fn missed(&self) -> u64 {
        self.reader.missed()
    }
}

impl Drop for DdsSubscription {
    fn drop(&mut self) {
        self.node.remove(&[self.reader.gid()]);
    }
}

impl NodeShared {
    pub(super) fn add_reader(&self, gid: Gid) {
        self.change(|endpoints| endpoints.readers.push(gid));
    }

    pub(super) fn add_writer(&self, gid: Gid) {
        self.change(|endpoints| endpoints.writers.push(gid));
    }

    pub(super) fn remove(&self, gids: &[Gid]) {
        for gid in gids {
            self.context.graph.remove_local(*gid);
        }
        self.change(|endpoints| {
            endpoints.readers.retain(|gid| !gids.contains(gid));
            endpoints.writers.retain(|gid| !gids.contains(gid));
        });
    }

    fn change(&self, change: impl FnOnce(&mut Endpoints)) {
        if let Some(endpoints) =
            self.endpoints.lock().unwrap_or_else(PoisonError::into_inner).as_mut()
        {
            change(endpoints);
        } else {
            return;
        }
        self.publish();
    }

    /// Puts this node's present state into the participant's message.
    fn publish(&self) {
        self.context.update_nodes(|nodes| {
            // Read inside, so that of two changes at once the later one stays.
            let endpoints = self.endpoints.lock().unwrap_or_else(PoisonError::into_inner).clone();
            let is_this = |node: &NodeEntities| {
                node.node_name == self.name && node.node_namespace == self.namespace
            };
            nodes.retain(|node| !is_this(node));
            nodes.extend(endpoints.map(|endpoints| NodeEntities {
                node_namespace: self.namespace.clone(),
                node_name: self.name.clone(),
                reader_gid_seq: endpoints.readers,
                writer_gid_seq: endpoints.writers,
            }));
        });
    }
}
