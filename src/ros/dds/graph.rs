//! What is known of the other participants: nodes, topics, endpoints.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use rustdds::{
    DomainParticipant, DomainParticipantStatusEvent, DomainParticipantStatusListener,
    StatusEvented,
    mio1::{Interest, Registry, Token},
    policy,
};

use super::{GRAPH_PARTICIPANTS_MAX, raw::dds_qos, spin::Source};
use crate::ros::{
    Endpoint, Gid, NodeName, QosProfile, RosError, TopicInfo,
    port::GraphPort,
    qos::{Durability, Reliability},
    wire,
};

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

/// A writer or reader, in DDS terms.
struct DdsEndpoint {
    /// With its `rt/`, `rq/` or `rr/`.
    topic: String,
    dds_type: String,
    gid: Gid,
    is_writer: bool,
    qos: rustdds::QosPolicies,
}

/// The view that the layer above takes.
pub(super) struct DdsGraph {
    state: Arc<GraphState>,
}

impl DdsGraph {
    pub(super) fn new(state: Arc<GraphState>) -> Self {
        Self { state }
    }

    fn endpoints_of(&self, topic: &str, is_writer: bool) -> Vec<Endpoint> {
        let topic = format!("rt{topic}");
        let endpoints = self.state.endpoints();
        let inner = self.state.lock();
        let wanted =
            |endpoint: &DdsEndpoint| endpoint.topic == topic && endpoint.is_writer == is_writer;
        let describe = |endpoint: DdsEndpoint| Endpoint {
            node: inner.node_of(endpoint.gid),
            ros_type: wire::ros_type_name(&endpoint.dds_type).unwrap_or(endpoint.dds_type),
            gid: endpoint.gid,
            reliability: reliability(&endpoint.qos),
            durability: durability(&endpoint.qos),
        };
        endpoints.into_iter().filter(wanted).map(describe).collect()
    }
}

impl GraphPort for DdsGraph {
    fn nodes(&self) -> Vec<NodeName> {
        self.state.lock().participants.values().flatten().map(node_name).collect()
    }

    fn topics(&self) -> Vec<TopicInfo> {
        let mut topics: BTreeMap<(String, String), (usize, usize)> = BTreeMap::new();
        for endpoint in self.state.endpoints() {
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

    fn services(&self) -> Vec<(String, String)> {
        let endpoints = self.state.endpoints();
        endpoints.iter().filter(|endpoint| !endpoint.is_writer).filter_map(service).collect()
    }

    fn publishers(&self, topic: &str) -> Vec<Endpoint> {
        self.endpoints_of(topic, true)
    }

    fn subscriptions(&self, topic: &str) -> Vec<Endpoint> {
        self.endpoints_of(topic, false)
    }
}

/// The name and type of a service from its request reader.
fn service(endpoint: &DdsEndpoint) -> Option<(String, String)> {
    let name = endpoint.topic.strip_prefix("rq/")?.strip_suffix("Request")?;
    let ros_type = wire::ros_type_name(&endpoint.dds_type)?;
    Some((format!("/{name}"), ros_type.strip_suffix("_Request")?.to_owned()))
}

fn node_name(node: &NodeEntities) -> NodeName {
    NodeName { namespace: node.node_namespace.clone(), name: node.node_name.clone() }
}

/// A policy that an endpoint does not tell has its default of DDS: writers are reliable, readers
/// are not, and all are volatile. The lower of the two is assumed here.
fn reliability(qos: &rustdds::QosPolicies) -> Reliability {
    match qos.reliability() {
        Some(policy::Reliability::Reliable { .. }) => Reliability::Reliable,
        _ => Reliability::BestEffort,
    }
}

fn durability(qos: &rustdds::QosPolicies) -> Durability {
    match qos.durability() {
        None | Some(policy::Durability::Volatile) => Durability::Volatile,
        Some(_) => Durability::TransientLocal,
    }
}

/// The graph as discovery fills it.
pub(super) struct GraphState {
    inner: Mutex<GraphInner>,
}

struct GraphInner {
    participant: Option<DomainParticipant>,
    participants: BTreeMap<Gid, Vec<NodeEntities>>,
    local: BTreeMap<Gid, LocalEndpoint>,
}

#[derive(Clone)]
struct LocalEndpoint {
    topic: String,
    dds_type: String,
    is_writer: bool,
    qos: rustdds::QosPolicies,
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

    pub(super) fn add_local(
        &self,
        gid: Gid,
        topic: &str,
        dds_type: &str,
        is_writer: bool,
        profile: &QosProfile,
    ) {
        let (topic, dds_type) = (topic.to_owned(), dds_type.to_owned());
        let endpoint = LocalEndpoint { topic, dds_type, is_writer, qos: dds_qos(profile) };
        self.lock().local.insert(gid, endpoint);
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

    /// All endpoints, each once.
    fn endpoints(&self) -> Vec<DdsEndpoint> {
        let (participant, mut endpoints) = {
            let inner = self.lock();
            (inner.participant.clone(), inner.local_endpoints())
        };
        if let Some(participant) = participant {
            for reader in participant.discovered_readers() {
                let data = &reader.subscription_topic_data;
                endpoints.push(DdsEndpoint {
                    topic: data.topic_name().clone(),
                    dds_type: data.type_name().clone(),
                    gid: data.key().into(),
                    is_writer: false,
                    qos: data.qos(),
                });
            }
            for writer in participant.discovered_writers() {
                let data = writer.publication_topic_data;
                let qos = data.qos();
                endpoints.push(DdsEndpoint {
                    topic: data.topic_name,
                    dds_type: data.type_name,
                    gid: data.key.into(),
                    is_writer: true,
                    qos,
                });
            }
        }
        // Discovery also lists our own endpoints in some versions; ours came first and stay.
        let mut seen = BTreeSet::new();
        endpoints.retain(|endpoint| seen.insert(endpoint.gid));
        endpoints
    }

    fn remove_participant(&self, prefix: &[u8]) {
        self.lock().participants.retain(|gid, _| gid.participant_prefix() != prefix);
    }

    fn local_topic(&self, gid: Gid) -> String {
        self.lock()
            .local
            .get(&gid)
            .map_or_else(|| gid.to_string(), |endpoint| endpoint.topic.clone())
    }

    fn lock(&self) -> MutexGuard<'_, GraphInner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl GraphInner {
    fn local_endpoints(&self) -> Vec<DdsEndpoint> {
        let describe = |(gid, endpoint): (&Gid, &LocalEndpoint)| {
            let LocalEndpoint { topic, dds_type, is_writer, qos } = endpoint.clone();
            DdsEndpoint { topic, dds_type, gid: *gid, is_writer, qos }
        };
        self.local.iter().map(describe).collect()
    }

    /// The node that has an endpoint, by what its participant told.
    fn node_of(&self, gid: Gid) -> Option<NodeName> {
        let has = |node: &&NodeEntities| {
            node.writer_gid_seq.contains(&gid) || node.reader_gid_seq.contains(&gid)
        };
        self.participants.values().flatten().find(has).map(node_name)
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
    ) -> Result<Self, RosError> {
        let mut listener = participant.status_listener();
        listener
            .as_status_source_mio1()
            .register(registry, token, Interest::READABLE)
            .map_err(|source| RosError::Io { action: "follow discovery", source })?;
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
