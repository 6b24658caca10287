//! Services: one server for both wire styles.
//!
//! ROS 2 ties a reply to its request in one of two ways, depending on the middleware of the
//! client, and a server has to answer in the same way:
//!
//! | style | of | request | reply |
//! |---|---|---|---|
//! | Enhanced | `rmw_fastrtps` | the sample's own number, and the client's reply reader in inline QoS | both in inline QoS |
//! | Cyclone | `rmw_cyclonedds` | 16 octets before the payload: client and number | the same 16 octets |
//!
//! The server tells them apart by the vendor of the requesting writer.

use std::{
    sync::{Arc, Weak},
    time::Instant,
};

use rustdds::{SampleIdentity, SequenceNumber, Timestamp, WriteOptionsBuilder};

use super::{
    ENHANCED_REPLY_BYTES_MAX, REPLY_MATCH_WAIT,
    node::NodeShared,
    raw::{Body, Payload, Sample, dds_name},
    reader::{Handler, RawReader},
    writer::RawWriter,
};
use crate::ros::{
    Gid, QosProfile, RosError, SerializedMessage,
    cdr::MESSAGE_BYTES_MAX,
    port::{ReplyPort, RequestHandler, ServerPort},
    wire::dds_type_name,
};

/// Vendor identifier of Eclipse Cyclone DDS, as the OMG assigned it.
const VENDOR_CYCLONE: [u8; 2] = [0x01, 0x10];

/// How a reply is tied to its request on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ServiceStyle {
    /// In inline QoS, as `rmw_fastrtps` does.
    Enhanced,
    /// In a header before the payload, as `rmw_cyclonedds` does.
    Cyclone,
}

impl ServiceStyle {
    /// The style that the implementation behind an endpoint speaks.
    pub(super) fn of(endpoint: Gid) -> Self {
        if endpoint.vendor() == VENDOR_CYCLONE { Self::Cyclone } else { Self::Enhanced }
    }

    /// Octets before the payload.
    pub(super) fn header_len(self) -> usize {
        match self {
            Self::Enhanced => 0,
            Self::Cyclone => CycloneHeader::LEN,
        }
    }
}

/// The header of the Cyclone style, of requests and replies alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct CycloneHeader {
    /// Whatever the client calls itself.
    pub(super) client: u64,
    /// The client's number of the request.
    pub(super) sequence_number: i64,
}

impl CycloneHeader {
    pub(super) const LEN: usize = 16;

    pub(super) fn to_octets(self) -> [u8; Self::LEN] {
        let mut octets = [0; Self::LEN];
        octets[..8].copy_from_slice(&self.client.to_le_bytes());
        octets[8..].copy_from_slice(&self.sequence_number.to_le_bytes());
        octets
    }

    pub(super) fn read(payload: &Payload) -> Option<Self> {
        let Body::Octets(octets) = &payload.body else { return None };
        let client: [u8; 8] = octets.get(..8)?.try_into().ok()?;
        let number: [u8; 8] = octets.get(8..Self::LEN)?.try_into().ok()?;
        Some(if payload.is_little_endian() {
            Self { client: u64::from_le_bytes(client), sequence_number: i64::from_le_bytes(number) }
        } else {
            Self { client: u64::from_be_bytes(client), sequence_number: i64::from_be_bytes(number) }
        })
    }
}

/// One server, for clients of both styles.
pub(super) struct DdsServer {
    reader: RawReader,
    writer: Arc<RawWriter>,
    node: Arc<NodeShared>,
}

impl DdsServer {
    pub(super) fn new(
        node: &Arc<NodeShared>,
        name: &str,
        ros_type: &'static str,
        mut handler: RequestHandler,
    ) -> Result<Self, RosError> {
        let profile = &QosProfile::SERVICES;
        let requests = dds_name("rq", name, "Request")?;
        let replies = dds_name("rr", name, "Reply")?;
        let dds_type = |half: &str| dds_type_name(&format!("{ros_type}_{half}"));
        let writer = node.context.writer(&replies, &dds_type("Response"), profile)?;
        let weak = Arc::downgrade(&writer);
        let service: Arc<str> = name.into();
        let on_sample: Handler = Box::new(move |sample| {
            let style = ServiceStyle::of(sample.writer);
            let request = sample.payload.message(style.header_len(), ros_type);
            let tie = Tie::new(style, &sample);
            let reply = DdsReply {
                service: Arc::clone(&service),
                writer: weak.clone(),
                client: sample.writer,
                tie,
            };
            handler(request, Box::new(reply));
        });
        let reader = node.context.reader(&requests, &dds_type("Request"), profile, on_sample)?;
        node.add_writer(writer.gid());
        node.add_reader(reader.gid());
        Ok(Self { reader, writer, node: Arc::clone(node) })
    }
}

impl ServerPort for DdsServer {}

impl Drop for DdsServer {
    fn drop(&mut self) {
        self.node.remove(&[self.reader.gid(), self.writer.gid()]);
    }
}

/// To whom and how one request is answered.
struct DdsReply {
    service: Arc<str>,
    writer: Weak<RawWriter>,
    client: Gid,
    tie: Tie,
}

#[derive(Debug, Clone, Copy)]
enum Tie {
    Enhanced(SampleIdentity),
    Cyclone(CycloneHeader),
}

impl Tie {
    fn new(style: ServiceStyle, sample: &Sample) -> Self {
        match style {
            ServiceStyle::Cyclone => {
                // A request without its header is malformed and gets no answer.
                Self::Cyclone(CycloneHeader::read(&sample.payload).unwrap_or_default())
            }
            ServiceStyle::Enhanced => Self::Enhanced(enhanced_identity(sample)),
        }
    }
}

/// What the reply of the Enhanced style refers to.
///
/// `rmw_fastrtps` sends its reply reader as the related writer and leaves the related number
/// unknown, so the number of the request sample itself stands in.
fn enhanced_identity(sample: &Sample) -> SampleIdentity {
    let own = SampleIdentity {
        writer_guid: sample.writer.to_guid(),
        sequence_number: SequenceNumber::from(sample.sequence_number),
    };
    let Some(related) = sample.related else { return own };
    let writer_known = !Gid::from(related.writer_guid).is_unknown();
    let number_known = i64::from(related.sequence_number) > 0;
    SampleIdentity {
        writer_guid: if writer_known { related.writer_guid } else { own.writer_guid },
        sequence_number: if number_known { related.sequence_number } else { own.sequence_number },
    }
}

impl ReplyPort for DdsReply {
    fn client(&self) -> Gid {
        self.client
    }

    fn bytes_max(&self) -> usize {
        match self.tie {
            Tie::Enhanced(_) => ENHANCED_REPLY_BYTES_MAX,
            Tie::Cyclone(_) => MESSAGE_BYTES_MAX - CycloneHeader::LEN,
        }
    }

    /// A reply whose client is not yet fully discovered waits up to [`REPLY_MATCH_WAIT`] in the
    /// outbox.
    fn send(self: Box<Self>, reply: SerializedMessage) -> Result<(), RosError> {
        let Some(writer) = self.writer.upgrade() else {
            return Err(RosError::Closed { what: format!("the reply of {}", self.service) });
        };
        let options = WriteOptionsBuilder::new().source_timestamp(Timestamp::now());
        let (options, payload) = match self.tie {
            Tie::Enhanced(identity) => {
                (options.related_sample_identity(identity), Payload::new(&[], &reply))
            }
            Tie::Cyclone(header) => (options, Payload::new(&header.to_octets(), &reply)),
        };
        let participant = self.client.participant_prefix();
        let deadline = Instant::now() + REPLY_MATCH_WAIT;
        writer.write_to(participant, deadline, payload, options.build())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_style_follows_the_vendor() {
        let gid = |vendor: [u8; 2]| {
            let mut octets = [7; 16];
            octets[..2].copy_from_slice(&vendor);
            Gid(octets)
        };
        assert_eq!(ServiceStyle::of(gid([0x01, 0x10])), ServiceStyle::Cyclone);
        for other in [[0x01, 0x0f], [0x01, 0x12], [0x10, 0x01]] {
            assert_eq!(ServiceStyle::of(gid(other)), ServiceStyle::Enhanced, "{other:x?}");
        }
    }

    #[test]
    fn the_cyclone_header_is_two_numbers() {
        let header = CycloneHeader { client: 0x0102, sequence_number: -2 };
        let payload = Payload {
            encoding: rustdds::RepresentationIdentifier::CDR_LE,
            body: Body::Octets(header.to_octets().to_vec().into()),
        };
        assert_eq!(header.to_octets()[..8], [2, 1, 0, 0, 0, 0, 0, 0]);
        assert_eq!(CycloneHeader::read(&payload), Some(header));
    }
}
