//! Samples as bytes, identifiers, and the way between bytes and wire structs.

use std::{convert::Infallible, fmt, time::SystemTime};

use rustdds::{
    GUID, RepresentationIdentifier, SampleIdentity, Timestamp,
    bytes::Bytes,
    no_key::{
        Decode, DefaultDecoder, DeserializedCacheChange, DeserializerAdapter, SerializerAdapter,
    },
    policy,
    serialization::{deserialize_from_cdr_with_rep_id, to_writer_with_rep_id},
};
use serde::{Deserialize, Serialize};

use super::{DdsError, READER_SAMPLES_MAX, SAMPLE_BYTES_MAX, WINDOW_SAMPLES_MAX};
use crate::ros::{
    qos::{Durability, QosProfile, Reliability},
    wire::Message,
};

/// The global identifier of a participant, writer or reader (16 octets since ROS 2 Iron).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct Gid(pub [u8; 16]);

impl Gid {
    /// Octets 0..12, which all entities of one participant share.
    #[must_use]
    pub fn participant_prefix(&self) -> [u8; 12] {
        let mut prefix = [0; 12];
        prefix.copy_from_slice(&self.0[..12]);
        prefix
    }

    /// The vendor of the DDS implementation, by convention the first two octets.
    #[must_use]
    pub fn vendor(&self) -> [u8; 2] {
        [self.0[0], self.0[1]]
    }

    pub(super) fn is_unknown(&self) -> bool {
        self.0 == [0; 16]
    }

    pub(super) fn to_guid(self) -> GUID {
        GUID::from_bytes(self.0)
    }
}

impl From<GUID> for Gid {
    fn from(guid: GUID) -> Self {
        Self(guid.to_bytes())
    }
}

impl fmt::Display for Gid {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|octet| write!(formatter, "{octet:02x}"))
    }
}

impl fmt::Debug for Gid {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Gid({self})")
    }
}

/// The serialised payload of one sample.
#[derive(Debug, Clone)]
pub(super) struct Payload {
    pub(super) encoding: RepresentationIdentifier,
    pub(super) body: Body,
}

/// The octets of a payload, or their number where they are above [`SAMPLE_BYTES_MAX`].
#[derive(Debug, Clone)]
pub(super) enum Body {
    Octets(Bytes),
    Oversize(usize),
}

/// A payload and where it comes from.
pub(super) struct Sample {
    pub(super) payload: Payload,
    pub(super) writer: Gid,
    pub(super) sequence_number: i64,
    pub(super) related: Option<SampleIdentity>,
    pub(super) source_time: Option<SystemTime>,
}

impl From<DeserializedCacheChange<Payload>> for Sample {
    fn from(change: DeserializedCacheChange<Payload>) -> Self {
        Self {
            writer: change.writer_guid().into(),
            sequence_number: i64::from(change.sequence_number),
            related: change.related_sample_identity(),
            source_time: change.source_timestamp().and_then(system_time),
            payload: change.into_value(),
        }
    }
}

impl Payload {
    /// Serialises as little-endian CDR behind `prefix`, whose length is a multiple of 8.
    pub(super) fn encode<M: Message>(prefix: &[u8], message: &M) -> Result<Self, DdsError> {
        // CDR aligns to at most 8 octets from the start of the payload.
        debug_assert_eq!(prefix.len() % 8, 0, "a prefix must keep the alignment");
        let encoding = RepresentationIdentifier::CDR_LE;
        let mut octets = Vec::with_capacity(prefix.len() + std::mem::size_of_val(message));
        octets.extend_from_slice(prefix);
        to_writer_with_rep_id(&mut octets, message, encoding).map_err(|error| {
            DdsError::Serialize { ros_type: M::ROS_TYPE, reason: error.to_string() }
        })?;
        Ok(Self { encoding, body: Body::Octets(octets.into()) })
    }

    /// Deserialises what follows the first `skip` octets.
    pub(super) fn decode<M: Message>(&self, skip: usize) -> Result<M, DdsError> {
        let malformed = |reason: String| DdsError::Malformed {
            ros_type: M::ROS_TYPE,
            bytes: self.len(),
            reason,
        };
        let octets = match &self.body {
            Body::Octets(octets) => octets,
            Body::Oversize(_) => {
                return Err(malformed(format!("the limit is {SAMPLE_BYTES_MAX} bytes")));
            }
        };
        let rest = octets
            .get(skip..)
            .ok_or_else(|| malformed(format!("it is shorter than its header of {skip} bytes")))?;
        deserialize_from_cdr_with_rep_id(rest, self.encoding)
            .map(|(message, _consumed)| message)
            .map_err(|error| malformed(error.to_string()))
    }

    pub(super) fn len(&self) -> usize {
        match &self.body {
            Body::Octets(octets) => octets.len(),
            Body::Oversize(bytes) => *bytes,
        }
    }

    pub(super) fn is_little_endian(&self) -> bool {
        self.encoding == RepresentationIdentifier::CDR_LE
    }
}

/// Passes payloads through RustDDS untouched.
pub(super) struct RawAdapter;

/// The decoder of [`RawAdapter`]: it copies, and therefore never fails.
#[derive(Clone)]
pub(super) struct RawDecoder;

impl DeserializerAdapter<Payload> for RawAdapter {
    type Error = Infallible;
    type Decoded = Payload;

    fn supported_encodings() -> &'static [RepresentationIdentifier] {
        &[RepresentationIdentifier::CDR_LE, RepresentationIdentifier::CDR_BE]
    }

    fn transform_decoded(decoded: Payload) -> Payload {
        decoded
    }
}

impl DefaultDecoder<Payload> for RawAdapter {
    type Decoder = RawDecoder;
    const DECODER: RawDecoder = RawDecoder;
}

impl<'de> Decode<'de, Payload> for RawDecoder {
    type Error = Infallible;

    fn decode_bytes(
        self,
        input_bytes: &'de [u8],
        encoding: RepresentationIdentifier,
    ) -> Result<Payload, Infallible> {
        let body = if input_bytes.len() <= SAMPLE_BYTES_MAX {
            Body::Octets(Bytes::copy_from_slice(input_bytes))
        } else {
            Body::Oversize(input_bytes.len())
        };
        Ok(Payload { encoding, body })
    }
}

impl SerializerAdapter<Payload> for RawAdapter {
    type Error = Infallible;

    fn output_encoding() -> RepresentationIdentifier {
        RepresentationIdentifier::CDR_LE
    }

    fn to_bytes(value: &Payload) -> Result<Bytes, Infallible> {
        match &value.body {
            Body::Octets(octets) => Ok(octets.clone()),
            Body::Oversize(_) => Ok(Bytes::new()),
        }
    }
}

/// The policies of DDS for a profile.
pub(super) fn dds_qos(profile: &QosProfile) -> rustdds::QosPolicies {
    let reliability = match profile.reliability {
        Reliability::BestEffort => policy::Reliability::BestEffort,
        // Zero: a write never blocks; it reports that it would, and the outbox takes over.
        Reliability::Reliable => {
            policy::Reliability::Reliable { max_blocking_time: rustdds::Duration::ZERO }
        }
    };
    let durability = match profile.durability {
        Durability::Volatile => policy::Durability::Volatile,
        Durability::TransientLocal => policy::Durability::TransientLocal,
    };
    rustdds::QosPolicyBuilder::new()
        .reliability(reliability)
        .durability(durability)
        .history(policy::History::KeepLast { depth: i32::from(profile.depth_clamped()) })
        .build()
}

/// [`dds_qos`] with the bound on what a writer keeps for repair.
pub(super) fn dds_writer_qos(profile: &QosProfile) -> rustdds::QosPolicies {
    with_samples_max(profile, WINDOW_SAMPLES_MAX)
}

/// [`dds_qos`] with the bound on what a reader holds until the spin thread takes it.
pub(super) fn dds_reader_qos(profile: &QosProfile) -> rustdds::QosPolicies {
    with_samples_max(profile, READER_SAMPLES_MAX)
}

fn with_samples_max(profile: &QosProfile, samples_max: i32) -> rustdds::QosPolicies {
    let limits = rustdds::QosPolicyBuilder::new()
        .resource_limits(policy::ResourceLimits {
            max_samples: samples_max,
            max_instances: 1,
            max_samples_per_instance: samples_max,
        })
        .build();
    dds_qos(profile).modify_by(&limits)
}

/// `rt/`, `rq/` or `rr/` before a fully qualified name, and a suffix behind it.
pub(super) fn dds_name(prefix: &str, name: &str, suffix: &str) -> Result<String, DdsError> {
    if !name.starts_with('/') || name.ends_with('/') {
        return Err(DdsError::NameNotQualified { name: name.to_owned() });
    }
    Ok(format!("{prefix}{name}{suffix}"))
}

fn system_time(timestamp: Timestamp) -> Option<SystemTime> {
    // RTPS writes seconds in the upper and fractions of 2^-32 s in the lower half.
    let ticks = timestamp.to_ticks();
    let nanoseconds = ((ticks & 0xffff_ffff) * 1_000_000_000) >> 32;
    let since_epoch =
        std::time::Duration::from_secs(ticks >> 32) + std::time::Duration::from_nanos(nanoseconds);
    SystemTime::UNIX_EPOCH.checked_add(since_epoch)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ros::wire::{Header, StringMsg, Time};

    fn octets(payload: &Payload) -> Vec<u8> {
        match &payload.body {
            Body::Octets(octets) => octets.to_vec(),
            Body::Oversize(bytes) => panic!("{bytes} bytes"),
        }
    }

    fn payload(octets: &'static [u8]) -> Payload {
        Payload {
            encoding: RepresentationIdentifier::CDR_LE,
            body: Body::Octets(Bytes::from_static(octets)),
        }
    }

    #[test]
    fn encodes_as_the_cdr_chapter_of_rtps_says() {
        let header = Header { stamp: Time { sec: 1, nanosec: 2 }, frame_id: "ab".to_owned() };
        let encoded = Payload::encode(&[], &header).unwrap();
        assert_eq!(octets(&encoded), b"\x01\0\0\0\x02\0\0\0\x03\0\0\0ab\0");
        assert_eq!(encoded.decode::<Header>(0).unwrap(), header);
    }

    #[test]
    fn malformed_payloads_are_errors() {
        for bad in [
            b"".as_slice(),
            b"\x05\0\0",
            b"\x05\0\0\0ab",
            b"\xff\xff\xff\xff",
            b"\x03\0\0\0\xff\xfe\0",
        ] {
            assert!(payload(bad).decode::<StringMsg>(0).is_err(), "{bad:?}");
        }
        let short = payload(b"\0\0").decode::<StringMsg>(16).unwrap_err().to_string();
        assert!(short.contains("header of 16 bytes"), "{short}");
    }

    #[test]
    fn names_must_be_fully_qualified() {
        assert_eq!(dds_name("rq", "/a/b", "Request").unwrap(), "rq/a/bRequest");
        for bad in ["", "a", "~/a", "/a/", "/"] {
            assert!(dds_name("rt", bad, "").is_err(), "{bad:?}");
        }
    }
}
