//! Clients of services, in the wire style of their server.

use std::sync::{
    Arc, OnceLock,
    atomic::{AtomicI64, Ordering},
};

use rustdds::{SampleIdentity, SequenceNumber, Timestamp, WriteOptions, WriteOptionsBuilder};

use super::{
    node::NodeShared,
    raw::{Payload, Sample, dds_name},
    reader::{Handler, RawReader},
    service::{CycloneHeader, ServiceStyle},
    writer::RawWriter,
};
use crate::ros::{
    CallError, Gid, QosProfile, RosError, SerializedMessage,
    pending::Pending,
    port::{ClientPort, ReplyHandler},
    wire::dds_type_name,
};

/// One client.
pub(super) struct DdsClient {
    service: String,
    reader: RawReader,
    writer: Arc<RawWriter>,
    pending: Pending,
    number_next: AtomicI64,
    node: Arc<NodeShared>,
}

impl DdsClient {
    pub(super) fn new(
        node: &Arc<NodeShared>,
        name: &str,
        ros_type: &'static str,
    ) -> Result<Self, RosError> {
        let profile = &QosProfile::SERVICES;
        let requests = dds_name("rq", name, "Request")?;
        let replies = dds_name("rr", name, "Reply")?;
        let dds_type = |half: &str| dds_type_name(&format!("{ros_type}_{half}"));
        let writer = node.context.writer(&requests, &dds_type("Request"), profile)?;
        let pending = Pending::default();
        // The reader's identifier is known only after the handler exists.
        let own = Arc::new(OnceLock::new());
        let replies_to = RepliesTo { writer: writer.gid(), reader: Arc::clone(&own) };
        let handler = reply_handler(replies_to, ros_type, pending.clone());
        let reader = node.context.reader(&replies, &dds_type("Response"), profile, handler)?;
        let _ = own.set(reader.gid());
        node.add_writer(writer.gid());
        node.add_reader(reader.gid());
        Ok(Self {
            service: name.to_owned(),
            reader,
            writer,
            pending,
            number_next: AtomicI64::new(1),
            node: Arc::clone(node),
        })
    }

    /// The style of the server, by the vendor of what reads our requests.
    fn style(&self) -> ServiceStyle {
        self.writer.first_reader().map_or(ServiceStyle::Enhanced, ServiceStyle::of)
    }

    /// As `rmw_fastrtps`: our reply reader, and no number, since the sample has one.
    fn enhanced_options(&self) -> WriteOptions {
        WriteOptionsBuilder::new()
            .source_timestamp(Timestamp::now())
            .related_sample_identity(SampleIdentity {
                writer_guid: self.reader.gid().to_guid(),
                sequence_number: SequenceNumber::UNKNOWN,
            })
            .build()
    }
}

impl ClientPort for DdsClient {
    fn is_available(&self) -> bool {
        self.writer.matched() > 0 && self.reader.matched() > 0
    }

    fn send(&self, request: SerializedMessage, on_reply: ReplyHandler) -> Result<i64, CallError> {
        let style = self.style();
        self.pending.send(&self.service, on_reply, || match style {
            ServiceStyle::Enhanced => {
                let payload = Payload::new(&[], &request);
                let identity = self.writer.write_now(payload, self.enhanced_options())?;
                Ok(i64::from(identity.sequence_number))
            }
            ServiceStyle::Cyclone => {
                // Negative, so that it is never the number of an Enhanced sample.
                let sequence_number = -self.number_next.fetch_add(1, Ordering::Relaxed);
                let header =
                    CycloneHeader { client: client_id(self.writer.gid()), sequence_number };
                let payload = Payload::new(&header.to_octets(), &request);
                self.writer.write_now(payload, WriteOptions::default())?;
                Ok(sequence_number)
            }
        })
    }

    fn forget(&self, number: i64) {
        self.pending.take(number);
    }

    fn is_callback_thread(&self) -> bool {
        self.node.context.spinner.is_current()
    }
}

impl Drop for DdsClient {
    fn drop(&mut self) {
        self.node.remove(&[self.reader.gid(), self.writer.gid()]);
    }
}

/// By what a reply says that it is for us.
struct RepliesTo {
    writer: Gid,
    reader: Arc<OnceLock<Gid>>,
}

impl RepliesTo {
    /// The number of our request that a reply answers; `None` when it is for another client.
    fn number(&self, style: ServiceStyle, sample: &Sample) -> Option<i64> {
        match style {
            ServiceStyle::Enhanced => {
                let related = sample.related?;
                let to = Gid::from(related.writer_guid);
                let ours = to == self.writer || self.reader.get() == Some(&to);
                ours.then_some(i64::from(related.sequence_number))
            }
            ServiceStyle::Cyclone => {
                let header = CycloneHeader::read(&sample.payload)?;
                (header.client == client_id(self.writer)).then_some(header.sequence_number)
            }
        }
    }
}

/// Hands each reply to the call that waits for it; replies to other clients pass by.
fn reply_handler(to: RepliesTo, ros_type: &'static str, pending: Pending) -> Handler {
    Box::new(move |sample| {
        let style = ServiceStyle::of(sample.writer);
        let Some(number) = to.number(style, &sample) else { return };
        if let Some(on_reply) = pending.take(number) {
            on_reply(sample.payload.message(style.header_len(), ros_type));
        }
    })
}

/// What a client calls itself in the Cyclone style: the second half of its writer's identifier,
/// mixed with the first, since the second alone repeats between participants.
fn client_id(writer: Gid) -> u64 {
    let half = |range: std::ops::Range<usize>| {
        writer.0[range].iter().fold(0u64, |id, octet| id << 8 | u64::from(*octet))
    };
    half(0..8) ^ half(8..16)
}
