//! Samples as bytes, and the policies of DDS.

use std::{convert::Infallible, time::SystemTime};

use rustdds::{
    GUID, RepresentationIdentifier, SampleIdentity, Timestamp,
    bytes::Bytes,
    no_key::{
        Decode, DefaultDecoder, DeserializedCacheChange, DeserializerAdapter, SerializerAdapter,
    },
    policy,
};

use super::READER_SAMPLES_MAX;
use crate::ros::{
    Gid, RosError, SerializedMessage,
    cdr::{Encoding, MESSAGE_BYTES_MAX},
    qos::{Durability, QosProfile, Reliability},
};

impl Gid {
    pub(super) fn to_guid(self) -> GUID {
        GUID::from_bytes(self.0)
    }
}

impl From<GUID> for Gid {
    fn from(guid: GUID) -> Self {
        Self(guid.to_bytes())
    }
}

/// The serialised payload of one sample.
#[derive(Debug, Clone)]
pub(super) struct Payload {
    pub(super) encoding: RepresentationIdentifier,
    pub(super) body: Body,
}

/// The octets of a payload, or their number where they are above [`MESSAGE_BYTES_MAX`].
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
    /// A message behind `prefix`, whose length is a multiple of 8.
    pub(super) fn new(prefix: &[u8], message: &SerializedMessage) -> Self {
        // CDR aligns to at most 8 octets from the start of the payload.
        debug_assert_eq!(prefix.len() % 8, 0, "a prefix must keep the alignment");
        let encoding = match message.encoding {
            Encoding::LittleEndian => RepresentationIdentifier::CDR_LE,
            Encoding::BigEndian => RepresentationIdentifier::CDR_BE,
        };
        let octets = if prefix.is_empty() {
            message.body.clone()
        } else {
            [prefix, &message.body].concat().into()
        };
        Self { encoding, body: Body::Octets(octets) }
    }

    /// The message behind the first `skip` octets; `what` names it in the error.
    pub(super) fn message(
        &self,
        skip: usize,
        what: &'static str,
    ) -> Result<SerializedMessage, RosError> {
        let malformed =
            |reason: String| RosError::Malformed { ros_type: what, bytes: self.len(), reason };
        let octets = match &self.body {
            Body::Octets(octets) => octets,
            Body::Oversize(_) => {
                return Err(malformed(format!("the limit is {MESSAGE_BYTES_MAX} bytes")));
            }
        };
        if octets.len() < skip {
            return Err(malformed(format!("it is shorter than its header of {skip} bytes")));
        }
        let encoding =
            if self.is_little_endian() { Encoding::LittleEndian } else { Encoding::BigEndian };
        Ok(SerializedMessage { encoding, body: octets.slice(skip..) })
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
        let body = if input_bytes.len() <= MESSAGE_BYTES_MAX {
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

/// A latched writer that keeps one sample could not write the next before all have the last.
pub(super) const LATCHED_SAMPLES_MIN: i32 = 2;

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

/// [`dds_qos`] without a bound on what a volatile writer keeps for repair; see
/// [`WINDOW_SAMPLES_MAX`](super::WINDOW_SAMPLES_MAX) for ours.
pub(super) fn dds_writer_qos(profile: &QosProfile, latched_min: i32) -> rustdds::QosPolicies {
    let samples_max = match profile.durability {
        Durability::Volatile => i32::MAX,
        // Kept for readers that may come; RustDDS keeps and sends them all of this, the oldest
        // first, so it must not be more than the profile says.
        Durability::TransientLocal => i32::from(profile.depth_clamped()).max(latched_min),
    };
    with_samples_max(profile, samples_max)
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
pub(super) fn dds_name(prefix: &str, name: &str, suffix: &str) -> Result<String, RosError> {
    if !name.starts_with('/') || name.ends_with('/') {
        return Err(RosError::NameNotQualified { name: name.to_owned() });
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
    use crate::ros::wire::StringMsg;

    #[test]
    fn a_message_stands_behind_its_prefix() {
        let message = SerializedMessage::encode(&StringMsg::from("a")).unwrap();
        let payload = Payload::new(&[7; 16], &message);
        assert_eq!(payload.len(), 16 + message.len());
        assert_eq!(payload.message(16, "x").unwrap(), message);
        let error = payload.message(99, "x").unwrap_err().to_string();
        assert!(error.contains("header of 99 bytes"), "{error}");
    }

    #[test]
    fn names_must_be_fully_qualified() {
        assert_eq!(dds_name("rq", "/a/b", "Request").unwrap(), "rq/a/bRequest");
        for bad in ["", "a", "~/a", "/a/", "/"] {
            assert!(dds_name("rt", bad, "").is_err(), "{bad:?}");
        }
    }
}
