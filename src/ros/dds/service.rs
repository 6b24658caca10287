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
    marker::PhantomData,
    sync::{Arc, Weak},
    time::Instant,
};

use rustdds::{SampleIdentity, SequenceNumber, Timestamp, WriteOptionsBuilder};
use serde::{Deserialize, Serialize};

use super::{
    DdsError, ENHANCED_REPLY_BYTES_MAX, Gid, REPLY_MATCH_WAIT, SubscriptionStats,
    node::NodeShared,
    raw::{Body, Payload, Sample, dds_name},
    reader::{Handler, RawReader},
    writer::RawWriter,
};
use crate::ros::{
    qos::QosProfile,
    wire::{Message, Service},
};

/// Vendor identifier of Eclipse Cyclone DDS, as the OMG assigned it.
const VENDOR_CYCLONE: [u8; 2] = [0x01, 0x10];

/// How a reply is tied to its request on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServiceStyle {
    /// In inline QoS, as `rmw_fastrtps` does.
    Enhanced,
    /// In a header before the payload, as `rmw_cyclonedds` does.
    Cyclone,
}

impl ServiceStyle {
    /// The style that the implementation behind an endpoint speaks.
    #[must_use]
    pub fn of(endpoint: Gid) -> Self {
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
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

/// Serves `S` until dropped.
pub struct Server<S: Service> {
    reader: RawReader,
    writer: Arc<RawWriter>,
    node: Arc<NodeShared>,
    service: PhantomData<fn(S)>,
}

impl<S: Service> Server<S> {
    pub(super) fn new(
        node: &Arc<NodeShared>,
        name: &str,
        mut handler: impl FnMut(S::Request, Responder<S::Response>) + Send + 'static,
    ) -> Result<Self, DdsError> {
        let profile = &QosProfile::SERVICES;
        let requests = dds_name("rq", name, "Request")?;
        let replies = dds_name("rr", name, "Reply")?;
        let writer = node.context.writer(&replies, &S::Response::dds_type_name(), profile)?;
        let weak = Arc::downgrade(&writer);
        let name: Arc<str> = name.into();
        let on_sample: Handler = Box::new(move |sample| {
            let style = ServiceStyle::of(sample.writer);
            let request = sample.payload.decode(style.header_len())?;
            let Some(reply_to) = ReplyTo::new(style, &sample) else { return Ok(()) };
            handler(request, Responder::new(Arc::clone(&name), weak.clone(), reply_to));
            Ok(())
        });
        let dds_type = S::Request::dds_type_name();
        let reader =
            node.context.reader(&requests, &dds_type, profile, Arc::default(), on_sample)?;
        node.add_writer(writer.gid());
        node.add_reader(reader.gid());
        Ok(Self { reader, writer, node: Arc::clone(node), service: PhantomData })
    }

    /// Counters of the requests since the start.
    #[must_use]
    pub fn stats(&self) -> SubscriptionStats {
        self.reader.stats()
    }
}

impl<S: Service> Drop for Server<S> {
    fn drop(&mut self) {
        self.node.remove(&[self.reader.gid(), self.writer.gid()]);
    }
}

/// To whom and how a request is answered.
#[derive(Debug, Clone, Copy)]
struct ReplyTo {
    client: Gid,
    tie: Tie,
}

#[derive(Debug, Clone, Copy)]
enum Tie {
    Enhanced(SampleIdentity),
    Cyclone(CycloneHeader),
}

impl ReplyTo {
    fn new(style: ServiceStyle, sample: &Sample) -> Option<Self> {
        let tie = match style {
            ServiceStyle::Cyclone => Tie::Cyclone(CycloneHeader::read(&sample.payload)?),
            ServiceStyle::Enhanced => Tie::Enhanced(enhanced_identity(sample)),
        };
        Some(Self { client: sample.writer, tie })
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

/// A reply could not be sent.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RespondError<R: Message> {
    /// The reply does not fit the client's wire style; answer again with less.
    #[error(
        "a reply of {bytes} bytes is above the limit of {limit} bytes for this client; ask for \
         less at once"
    )]
    TooLarge {
        /// Answers the same request again.
        responder: Responder<R>,
        /// Size of the reply.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// DDS did not take the reply.
    #[error(transparent)]
    Dds(#[from] DdsError),
}

/// Answers one request, from any thread, at any time.
///
/// Dropping it without an answer is logged; the client then waits until its own timeout.
#[derive(Debug)]
pub struct Responder<R: Message> {
    open: Option<Open>,
    response: PhantomData<fn(R)>,
}

struct Open {
    service: Arc<str>,
    writer: Weak<RawWriter>,
    reply_to: ReplyTo,
}

impl std::fmt::Debug for Open {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{} for {}", self.service, self.reply_to.client)
    }
}

impl<R: Message> Responder<R> {
    fn new(service: Arc<str>, writer: Weak<RawWriter>, reply_to: ReplyTo) -> Self {
        Self { open: Some(Open { service, writer, reply_to }), response: PhantomData }
    }

    /// The writer that sent the request.
    #[must_use]
    pub fn client(&self) -> Gid {
        self.open.as_ref().map_or_else(Gid::default, |open| open.reply_to.client)
    }

    /// Answers. Never blocks: a reply whose client is not yet fully discovered waits up to
    /// [`REPLY_MATCH_WAIT`] in the outbox.
    ///
    /// # Errors
    /// [`RespondError::TooLarge`] gives the responder back; [`RespondError::Dds`] ends it.
    pub fn respond(mut self, response: &R) -> Result<(), RespondError<R>> {
        let Some(open) = self.open.take() else { return Ok(()) };
        let header = match open.reply_to.tie {
            Tie::Enhanced(_) => Vec::new(),
            Tie::Cyclone(header) => header.to_octets().to_vec(),
        };
        let payload = Payload::encode(&header, response)?;
        let bytes = payload.len();
        let limit = open.reply_to.bytes_max();
        if bytes > limit {
            self.open = Some(open);
            return Err(RespondError::TooLarge { responder: self, bytes, limit });
        }
        open.send(payload)?;
        Ok(())
    }
}

impl<R: Message> Drop for Responder<R> {
    fn drop(&mut self) {
        if let Some(open) = &self.open {
            tracing::warn!(service = %open.service, "a request was dropped without an answer");
        }
    }
}

impl ReplyTo {
    fn bytes_max(&self) -> usize {
        match self.tie {
            Tie::Enhanced(_) => ENHANCED_REPLY_BYTES_MAX,
            Tie::Cyclone(_) => super::SAMPLE_BYTES_MAX,
        }
    }
}

impl Open {
    fn send(&self, payload: Payload) -> Result<(), DdsError> {
        let Some(writer) = self.writer.upgrade() else {
            return Err(DdsError::Closed { what: format!("the reply of {}", self.service) });
        };
        let options = WriteOptionsBuilder::new().source_timestamp(Timestamp::now());
        let options = match self.reply_to.tie {
            Tie::Enhanced(identity) => options.related_sample_identity(identity),
            Tie::Cyclone(_) => options,
        };
        let participant = self.reply_to.client.participant_prefix();
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
