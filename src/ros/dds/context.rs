//! The context: one participant, one spin thread, and the nodes on them.

use std::{
    net::{IpAddr, Ipv4Addr},
    sync::{Arc, Mutex, PoisonError},
};

use rustdds::{
    DomainParticipant, DomainParticipantBuilder, Publisher as DdsPublisher, QosPolicies,
    RTPSEntity, Subscriber, Topic, TopicKind,
};

use super::{
    READER_SAMPLES_MAX,
    graph::{DdsGraph, GraphState, NodeEntities, ParticipantEntities, StatusSource},
    node::DdsNode,
    raw::{LATCHED_SAMPLES_MIN, Payload, RawAdapter, dds_qos, dds_reader_qos, dds_writer_qos},
    reader::{Handler, RawReader},
    spin::Spinner,
    writer::RawWriter,
};
use crate::ros::{
    ContextOptions, DiscoveryRange, Gid, QosProfile, RosError, SerializedMessage,
    port::{ContextPort, GraphPort, NodePort},
    wire::Message,
};

/// The topic on which participants tell which nodes they carry.
const DISCOVERY_TOPIC: &str = "ros_discovery_info";

/// An announcement takes less than this.
const LEAVE_INTERVAL: std::time::Duration = std::time::Duration::from_millis(2);
const LEAVE_TRIES_MAX: usize = 250;

/// One DDS participant with its spin thread.
pub(in crate::ros) struct DdsContext {
    inner: Arc<ContextInner>,
}

/// What the context and its endpoints share.
pub(super) struct ContextInner {
    pub(super) gid: Gid,
    pub(super) domain_id: u16,
    pub(super) spinner: Arc<Spinner>,
    pub(super) graph: Arc<GraphState>,
    entities: Mutex<Option<Entities>>,
    nodes: Mutex<Vec<NodeEntities>>,
    discovery: Mutex<Option<Discovery>>,
}

struct Entities {
    participant: DomainParticipant,
    publisher: DdsPublisher,
    subscriber: Subscriber,
}

struct Discovery {
    writer: Arc<RawWriter>,
    _reader: RawReader,
}

impl DdsContext {
    /// Joins the domain.
    ///
    /// # Errors
    /// [`RosError::Create`] when DDS cannot open its sockets, [`RosError::Io`] when the thread
    /// cannot be started.
    pub(in crate::ros) fn new(options: &ContextOptions) -> Result<Self, RosError> {
        let participant = participant(options)?;
        let create = |error: rustdds::dds::CreateError| RosError::Create {
            what: "publisher and subscriber".to_owned(),
            reason: error.to_string(),
        };
        let qos = QosPolicies::builder().build();
        let publisher = participant.create_publisher(&qos).map_err(create)?;
        let subscriber = participant.create_subscriber(&qos).map_err(create)?;
        let spinner = Spinner::start()?;
        let graph = Arc::new(GraphState::new(participant.clone()));
        let status_token = spinner.token();
        let status =
            StatusSource::register(&participant, &graph, spinner.registry(), status_token)?;
        spinner.add(status_token, Box::new(status))?;
        let inner = Arc::new(ContextInner {
            gid: Gid::from(participant.guid()),
            domain_id: options.domain_id,
            spinner,
            graph,
            entities: Mutex::new(Some(Entities { participant, publisher, subscriber })),
            nodes: Mutex::default(),
            discovery: Mutex::default(),
        });
        let context = Self { inner };
        context.inner.join_discovery()?;
        Ok(context)
    }
}

impl ContextPort for DdsContext {
    fn create_node(&self, name: &str, namespace: &str) -> Result<Arc<dyn NodePort>, RosError> {
        Ok(Arc::new(DdsNode::new(Arc::clone(&self.inner), name, namespace)))
    }

    fn graph(&self) -> Arc<dyn GraphPort> {
        Arc::new(DdsGraph::new(Arc::clone(&self.inner.graph)))
    }

    fn domain_id(&self) -> u16 {
        self.inner.domain_id
    }

    fn shutdown(&self) {
        self.inner.shutdown();
    }
}

impl ContextInner {
    /// Makes a writer on a DDS topic.
    pub(super) fn writer(
        &self,
        topic: &str,
        dds_type: &str,
        profile: &QosProfile,
    ) -> Result<Arc<RawWriter>, RosError> {
        let entities = self.entities.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(entities) = entities.as_ref() else {
            return Err(RosError::Closed { what: format!("a writer on {topic}") });
        };
        // RustDDS gives one bound to all that a participant holds of a topic, and this one is also
        // read.
        let latched_min =
            if topic == DISCOVERY_TOPIC { READER_SAMPLES_MAX } else { LATCHED_SAMPLES_MIN };
        let writer = entities
            .topic(topic, dds_type, profile)
            .and_then(|topic| {
                let qos = Some(dds_writer_qos(profile, latched_min));
                entities.publisher.create_datawriter_no_key::<Payload, RawAdapter>(&topic, qos)
            })
            .map_err(|error| RosError::Create {
                what: format!("writer on {topic}"),
                reason: error.to_string(),
            })?;
        self.graph.add_local(Gid::from(writer.guid()), topic, dds_type, true, profile);
        Ok(RawWriter::new(topic.to_owned(), writer, Arc::clone(&self.spinner)))
    }

    /// Makes a reader on a DDS topic, whose samples go to `handler` on the spin thread.
    pub(super) fn reader(
        &self,
        topic: &str,
        dds_type: &str,
        profile: &QosProfile,
        handler: Handler,
    ) -> Result<RawReader, RosError> {
        let entities = self.entities.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(entities) = entities.as_ref() else {
            return Err(RosError::Closed { what: format!("a reader on {topic}") });
        };
        let reader = entities
            .topic(topic, dds_type, profile)
            .and_then(|topic| {
                let qos = Some(dds_reader_qos(profile));
                entities
                    .subscriber
                    .create_simple_datareader_no_key::<Payload, RawAdapter>(&topic, qos)
            })
            .map_err(|error| RosError::Create {
                what: format!("reader on {topic}"),
                reason: error.to_string(),
            })?;
        self.graph.add_local(Gid::from(reader.guid()), topic, dds_type, false, profile);
        let spinner = Arc::clone(&self.spinner);
        RawReader::new(topic.to_owned(), reader, spinner, handler)
    }

    /// Changes the list of nodes and tells the other participants.
    pub(super) fn update_nodes(&self, change: impl FnOnce(&mut Vec<NodeEntities>)) {
        // Held throughout, so that of two changes the later one is also sent last.
        let discovery = self.discovery.lock().unwrap_or_else(PoisonError::into_inner);
        let info = {
            let mut nodes = self.nodes.lock().unwrap_or_else(PoisonError::into_inner);
            change(&mut nodes);
            ParticipantEntities { gid: self.gid, node_entities_info_seq: nodes.clone() }
        };
        self.graph.set_participant(&info);
        let Some(discovery) = discovery.as_ref() else { return };
        let written = SerializedMessage::encode(&info).and_then(|message| {
            let payload = Payload::new(&[], &message);
            discovery.writer.write(payload, rustdds::WriteOptions::default())
        });
        if let Err(error) = written {
            tracing::warn!(%error, "other participants do not see the change of the node graph");
        }
    }

    fn join_discovery(&self) -> Result<(), RosError> {
        let dds_type = ParticipantEntities::dds_type_name();
        let writer = self.writer(DISCOVERY_TOPIC, &dds_type, &QosProfile::LATCHED)?;
        let graph = Arc::clone(&self.graph);
        let handler: Handler = Box::new(move |sample| {
            let message = sample.payload.message(0, ParticipantEntities::ROS_TYPE);
            match message.and_then(|message| message.decode::<ParticipantEntities>()) {
                Ok(info) => graph.set_participant(&info),
                Err(error) => {
                    tracing::debug!(%error, writer = %sample.writer, "not a node graph");
                }
            }
        });
        let profile = QosProfile { depth: QosProfile::DEPTH_MAX, ..QosProfile::LATCHED };
        let reader = self.reader(DISCOVERY_TOPIC, &dds_type, &profile, handler)?;
        *self.discovery.lock().unwrap_or_else(PoisonError::into_inner) =
            Some(Discovery { writer, _reader: reader });
        self.update_nodes(|_| {});
        Ok(())
    }

    fn shutdown(&self) {
        // First the entities, so that no endpoint is made any more, then the thread with all
        // callbacks, last the participant, which says goodbye when it goes.
        let entities = self.entities.lock().unwrap_or_else(PoisonError::into_inner).take();
        self.spinner.stop();
        *self.discovery.lock().unwrap_or_else(PoisonError::into_inner) = None;
        self.graph.close();
        if let Some(entities) = entities {
            leave(entities);
        }
    }
}

/// Ends the participant here and not on a thread of its own.
///
/// RustDDS 0.15.1 says goodbye in the destructor of the participant, which joins its discovery
/// thread. That thread holds the participant while it announces it; should it be the last to let
/// go, it joins itself, panics, and nobody hears a goodbye. So if it still holds the participant
/// after our share is dropped, we take a share again and wait until it is done.
fn leave(entities: Entities) {
    let Entities { participant, publisher, subscriber } = entities;
    drop(subscriber);
    drop(participant);
    for _ in 0..LEAVE_TRIES_MAX {
        // A publisher has only a weak share, and gives a strong one as long as there is any.
        let Some(held) = publisher.participant() else { return };
        std::thread::sleep(LEAVE_INTERVAL);
        drop(held);
    }
    tracing::debug!("the participant is still in use elsewhere and ends with its last user");
}

impl Entities {
    fn topic(
        &self,
        name: &str,
        dds_type: &str,
        profile: &QosProfile,
    ) -> Result<Topic, rustdds::dds::CreateError> {
        self.participant.create_topic(
            name.to_owned(),
            dds_type.to_owned(),
            &dds_qos(profile),
            TopicKind::NoKey,
        )
    }
}

fn participant(options: &ContextOptions) -> Result<DomainParticipant, RosError> {
    let loopback = || [IpAddr::V4(Ipv4Addr::LOCALHOST)];
    let builder = DomainParticipantBuilder::new(options.domain_id);
    let builder = match options.discovery_range {
        DiscoveryRange::Subnet => builder,
        DiscoveryRange::Localhost => builder.with_only_networks(loopback()),
        // No interface: nothing is announced and no group is joined.
        DiscoveryRange::Off => {
            builder.with_only_networks(std::iter::empty::<IpAddr>()).same_host_loopback(false)
        }
    };
    builder.build().map_err(|error| RosError::Create {
        what: format!("participant in domain {}", options.domain_id),
        reason: error.to_string(),
    })
}
