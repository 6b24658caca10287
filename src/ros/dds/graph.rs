//! What is known of the other participants: nodes, topics, endpoints.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use rustdds::{
    DomainParticipant, DomainParticipantStatusEvent, DomainParticipantStatusListener,
    StatusEvented,
    mio1::{Interest, Registry, Token},
};

use super::{DdsError, GRAPH_PARTICIPANTS_MAX, raw::Gid, spin::Source};
use crate::ros::wire::{self, WireType};

/// Endpoints listed per node in a message of another participant; more is not believed.
const NODE_ENDPOINTS_MAX: usize = 4096;

crate::ros::wire::interface! {
    /// `rmw_dds_common/NodeEntitiesInfo`: the endpoints of one node.
    pub(super) struct NodeEntities = "rmw_dds_common/msg/NodeEntitiesInfo" {
        /// With a leading slash.
        node_namespace: String,
        /// Without a slash.
        node_name: String,
        /// Its readers.
        reader_gid_seq: Vec<Gid>,
        /// Its writers.
        writer_gid_seq: Vec<Gid>,
    }
}

crate::ros::wire::interface! {
    /// `rmw_dds_common/ParticipantEntitiesInfo`: the nodes of one participant.
    pub(super) struct ParticipantEntities = "rmw_dds_common/msg/ParticipantEntitiesInfo" {
        /// The participant.
        gid: Gid,
        /// Its nodes.
        node_entities_info_seq: Vec<NodeEntities>,
    }
}

impl WireType for Gid {
    fn ros_type() -> String {
        "rmw_dds_common/Gid".to_owned()
    }
}

/// A node in the graph.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct NodeInfo {
    /// With a leading slash.
    pub namespace: String,
    /// Without a slash.
    pub name: String,
    /// The participant that carries it.
    pub participant: Gid,
    /// Number of its writers: publishers, and two ends of services and clients.
    pub n_writers: usize,
    /// Number of its readers.
    pub n_readers: usize,
}

/// A topic in the graph, in ROS terms.
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

/// A writer or reader in the graph, in DDS terms.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct EndpointInfo {
    /// DDS topic, with its `rt/`, `rq/` or `rr/`.
    pub topic: String,
    /// DDS type.
    pub dds_type: String,
    /// Identifier.
    pub gid: Gid,
    /// A writer; otherwise a reader.
    pub is_writer: bool,
    /// One of our own participant.
    pub is_local: bool,
}

/// A view of the graph as it is now; it follows discovery by itself.
pub struct Graph {
    state: Arc<GraphState>,
}

impl Graph {
    pub(super) fn new(state: Arc<GraphState>) -> Self {
        Self { state }
    }

    /// All nodes, sorted.
    #[must_use]
    pub fn nodes(&self) -> Vec<NodeInfo> {
        let state = self.state.lock();
        let mut nodes: Vec<_> = state
            .participants
            .iter()
            .flat_map(|(participant, nodes)| nodes.iter().map(|node| node_info(*participant, node)))
            .collect();
        nodes.sort();
        nodes
    }

    /// All endpoints, sorted by topic.
    #[must_use]
    pub fn endpoints(&self) -> Vec<EndpointInfo> {
        self.state.endpoints()
    }

    /// All ROS topics (not the halves of services), sorted by name.
    #[must_use]
    pub fn topics(&self) -> Vec<TopicInfo> {
        let mut topics: BTreeMap<(String, String), (usize, usize)> = BTreeMap::new();
        for endpoint in self.endpoints() {
            let Some(name) = endpoint.topic.strip_prefix("rt/") else { continue };
            let ros_type = wire::ros_type_name(&endpoint.dds_type).unwrap_or(endpoint.dds_type);
            let counts = topics.entry((format!("/{name}"), ros_type)).or_default();
            *(if endpoint.is_writer { &mut counts.0 } else { &mut counts.1 }) += 1;
        }
        topics
            .into_iter()
            .map(|((name, ros_type), (n_publishers, n_subscriptions))| TopicInfo {
                name,
                ros_type,
                n_publishers,
                n_subscriptions,
            })
            .collect()
    }

    /// All services with a server, by fully qualified name and type.
    #[must_use]
    pub fn services(&self) -> Vec<(String, String)> {
        let services: BTreeSet<_> = self
            .endpoints()
            .iter()
            .filter(|endpoint| !endpoint.is_writer)
            .filter_map(service)
            .collect();
        services.into_iter().collect()
    }
}

/// The name and type of a service from its request reader.
fn service(endpoint: &EndpointInfo) -> Option<(String, String)> {
    let name = endpoint.topic.strip_prefix("rq/")?.strip_suffix("Request")?;
    let ros_type = wire::ros_type_name(&endpoint.dds_type)?;
    Some((format!("/{name}"), ros_type.strip_suffix("_Request")?.to_owned()))
}

fn node_info(participant: Gid, node: &NodeEntities) -> NodeInfo {
    NodeInfo {
        namespace: node.node_namespace.clone(),
        name: node.node_name.clone(),
        participant,
        n_writers: node.writer_gid_seq.len(),
        n_readers: node.reader_gid_seq.len(),
    }
}

/// The graph as discovery fills it.
pub(super) struct GraphState {
    inner: Mutex<GraphInner>,
}

struct GraphInner {
    participant: Option<DomainParticipant>,
    participants: BTreeMap<Gid, Vec<NodeEntities>>,
    /// Topic, type and whether it is a writer.
    local: BTreeMap<Gid, (String, String, bool)>,
}

impl GraphState {
    pub(super) fn new(participant: DomainParticipant) -> Self {
        let inner = GraphInner {
            participant: Some(participant),
            participants: BTreeMap::new(),
            local: BTreeMap::new(),
        };
        Self { inner: Mutex::new(inner) }
    }

    pub(super) fn add_local(&self, gid: Gid, topic: &str, dds_type: &str, is_writer: bool) {
        self.lock().local.insert(gid, (topic.to_owned(), dds_type.to_owned(), is_writer));
    }

    pub(super) fn remove_local(&self, gid: Gid) {
        self.lock().local.remove(&gid);
    }

    /// Replaces what is known of the nodes of one participant.
    pub(super) fn set_participant(&self, info: &ParticipantEntities) {
        let mut inner = self.lock();
        let known = inner.participants.contains_key(&info.gid);
        if !known && inner.participants.len() >= GRAPH_PARTICIPANTS_MAX {
            tracing::warn!(
                limit = GRAPH_PARTICIPANTS_MAX,
                "too many participants; one is left out"
            );
            return;
        }
        let mut nodes = info.node_entities_info_seq.clone();
        for node in &mut nodes {
            node.reader_gid_seq.truncate(NODE_ENDPOINTS_MAX);
            node.writer_gid_seq.truncate(NODE_ENDPOINTS_MAX);
        }
        inner.participants.insert(info.gid, nodes);
    }

    /// Lets go of the participant, so that it can end.
    pub(super) fn close(&self) {
        let participant = self.lock().participant.take();
        drop(participant);
    }

    fn endpoints(&self) -> Vec<EndpointInfo> {
        let (participant, mut endpoints) = {
            let inner = self.lock();
            (inner.participant.clone(), inner.local_endpoints())
        };
        if let Some(participant) = participant {
            for reader in participant.discovered_readers() {
                let data = &reader.subscription_topic_data;
                endpoints.push(EndpointInfo {
                    topic: data.topic_name().clone(),
                    dds_type: data.type_name().clone(),
                    gid: data.key().into(),
                    is_writer: false,
                    is_local: false,
                });
            }
            for writer in participant.discovered_writers() {
                let data = writer.publication_topic_data;
                endpoints.push(EndpointInfo {
                    topic: data.topic_name,
                    dds_type: data.type_name,
                    gid: data.key.into(),
                    is_writer: true,
                    is_local: false,
                });
            }
        }
        // Discovery also lists our own endpoints in some versions; ours came first and stay.
        let mut seen = BTreeSet::new();
        endpoints.retain(|endpoint| seen.insert(endpoint.gid));
        endpoints.sort();
        endpoints
    }

    fn remove_participant(&self, prefix: &[u8]) {
        self.lock().participants.retain(|gid, _| gid.participant_prefix() != prefix);
    }

    fn local_topic(&self, gid: Gid) -> String {
        self.lock().local.get(&gid).map_or_else(|| gid.to_string(), |(topic, ..)| topic.clone())
    }

    fn lock(&self) -> MutexGuard<'_, GraphInner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl GraphInner {
    fn local_endpoints(&self) -> Vec<EndpointInfo> {
        self.local
            .iter()
            .map(|(gid, (topic, dds_type, is_writer))| EndpointInfo {
                topic: topic.clone(),
                dds_type: dds_type.clone(),
                gid: *gid,
                is_writer: *is_writer,
                is_local: true,
            })
            .collect()
    }
}

/// Follows who leaves and which endpoints do not fit each other.
pub(super) struct StatusSource {
    listener: DomainParticipantStatusListener,
    graph: Arc<GraphState>,
}

impl StatusSource {
    pub(super) fn register(
        participant: &DomainParticipant,
        graph: &Arc<GraphState>,
        registry: &Registry,
        token: Token,
    ) -> Result<Self, DdsError> {
        let mut listener = participant.status_listener();
        listener
            .as_status_source_mio1()
            .register(registry, token, Interest::READABLE)
            .map_err(|source| DdsError::Io { action: "follow discovery", source })?;
        Ok(Self { listener, graph: Arc::clone(graph) })
    }

    fn handle(&self, event: &DomainParticipantStatusEvent) {
        use DomainParticipantStatusEvent as Event;
        match event {
            Event::ParticipantLost { id, reason } => {
                tracing::debug!(?id, ?reason, "participant left");
                self.graph.remove_participant(id.as_ref());
            }
            Event::RemoteReaderQosIncompatible {
                local_writer: local,
                requested_qos,
                offered_qos,
                ..
            }
            | Event::RemoteWriterQosIncompatible {
                local_reader: local,
                requested_qos,
                offered_qos,
                ..
            } => {
                let topic = self.graph.local_topic((*local).into());
                tracing::warn!(
                    topic,
                    requested = ?(requested_qos.reliability(), requested_qos.durability()),
                    offered = ?(offered_qos.reliability(), offered_qos.durability()),
                    "quality of service does not match; the two ends will not hear each other"
                );
            }
            _ => {}
        }
    }
}

impl Source for StatusSource {
    fn drain(&mut self, budget: usize) -> bool {
        for _ in 0..budget {
            match self.listener.try_recv_status() {
                Some(event) => self.handle(&event),
                None => return false,
            }
        }
        true
    }
}
