//! Messages as bytes: CDR, as chapter 10 of the RTPS specification (OMG `formal/22-04-01`) has it.

use bytes::{BufMut, Bytes, BytesMut};
use cdr_encoding::{from_bytes, to_writer};

use super::{RosError, wire::Message};

/// Octets of the encapsulation header in front of a message.
pub const ENCAPSULATION_LEN: usize = 4;

/// Messages above this size are not decoded and not sent.
///
/// Above about 8 MiB, a lost fragment can stall RustDDS, so the bound stays well below.
pub const MESSAGE_BYTES_MAX: usize = 4 << 20;

/// Byte order of a serialised message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// Plain CDR, little-endian; what everyone sends.
    LittleEndian,
    /// Plain CDR, big-endian.
    BigEndian,
}

/// One serialised message without its encapsulation header. Cloning shares the bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SerializedMessage {
    /// Byte order of `body`.
    pub encoding: Encoding,
    /// The message; CDR aligns to at most 8 octets from its start.
    pub body: Bytes,
}

impl SerializedMessage {
    /// Serialises as little-endian CDR.
    ///
    /// # Errors
    /// [`RosError::Serialize`] when a field is too long for its length field.
    pub fn encode<M: Message>(message: &M) -> Result<Self, RosError> {
        let mut body = BytesMut::with_capacity(std::mem::size_of_val(message)).writer();
        to_writer::<_, byteorder::LittleEndian, _>(&mut body, message).map_err(|error| {
            RosError::Serialize { ros_type: M::ROS_TYPE, reason: error.to_string() }
        })?;
        Ok(Self { encoding: Encoding::LittleEndian, body: body.into_inner().freeze() })
    }

    /// Deserialises the message. Octets behind it are padding and ignored.
    ///
    /// # Errors
    /// [`RosError::Malformed`] with the reason.
    pub fn decode<M: Message>(&self) -> Result<M, RosError> {
        let malformed = |reason: String| RosError::Malformed {
            ros_type: M::ROS_TYPE,
            bytes: self.body.len(),
            reason,
        };
        if self.body.len() > MESSAGE_BYTES_MAX {
            return Err(malformed(format!("the limit is {MESSAGE_BYTES_MAX} bytes")));
        }
        let decoded = match self.encoding {
            Encoding::LittleEndian => from_bytes::<M, byteorder::LittleEndian>(&self.body),
            Encoding::BigEndian => from_bytes::<M, byteorder::BigEndian>(&self.body),
        };
        decoded.map(|(message, _consumed)| message).map_err(|error| malformed(error.to_string()))
    }

    /// With its encapsulation header, as `rmw_serialized_message_t` holds it.
    #[must_use]
    pub fn to_rmw(&self) -> Vec<u8> {
        let order = u8::from(self.encoding == Encoding::LittleEndian);
        let mut octets = Vec::with_capacity(ENCAPSULATION_LEN + self.body.len());
        octets.extend_from_slice(&[0, order, 0, 0]);
        octets.extend_from_slice(&self.body);
        octets
    }

    /// The inverse of [`Self::to_rmw`]; `None` when the header is not one of plain CDR.
    #[must_use]
    pub fn from_rmw(octets: &[u8]) -> Option<Self> {
        let encoding = match octets.get(..2)? {
            [0, 0] => Encoding::BigEndian,
            [0, 1] => Encoding::LittleEndian,
            _ => return None,
        };
        let body = Bytes::copy_from_slice(octets.get(ENCAPSULATION_LEN..)?);
        Some(Self { encoding, body })
    }

    /// Octets of the message.
    #[must_use]
    pub fn len(&self) -> usize {
        self.body.len()
    }

    /// True for a message without octets.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.body.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ros::wire::{Header, StringMsg, Time};

    fn little(octets: &'static [u8]) -> SerializedMessage {
        SerializedMessage { encoding: Encoding::LittleEndian, body: Bytes::from_static(octets) }
    }

    #[test]
    fn encodes_as_the_cdr_chapter_of_rtps_says() {
        let header = Header { stamp: Time { sec: 1, nanosec: 2 }, frame_id: "ab".to_owned() };
        let encoded = SerializedMessage::encode(&header).unwrap();
        assert_eq!(encoded.body.as_ref(), b"\x01\0\0\0\x02\0\0\0\x03\0\0\0ab\0");
        assert_eq!(encoded.decode::<Header>().unwrap(), header);
    }

    #[test]
    fn the_rmw_form_has_a_header_and_both_byte_orders() {
        let encoded = SerializedMessage::encode(&StringMsg::from("é")).unwrap();
        assert_eq!(encoded.to_rmw(), b"\0\x01\0\0\x03\0\0\0\xc3\xa9\0");
        assert_eq!(SerializedMessage::from_rmw(&encoded.to_rmw()), Some(encoded));
        let big = SerializedMessage::from_rmw(b"\0\0\0\0\0\0\0\x02a\0").unwrap();
        assert_eq!(big.decode::<StringMsg>().unwrap().data, "a");
        for bad in [b"".as_slice(), b"\0\x01\0", b"\0\x03\0\0\0"] {
            assert_eq!(SerializedMessage::from_rmw(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn malformed_messages_are_errors() {
        for bad in [
            b"".as_slice(),
            b"\x05\0\0",
            b"\x05\0\0\0ab",
            b"\xff\xff\xff\xff",
            b"\x03\0\0\0\xff\xfe\0",
        ] {
            assert!(little(bad).decode::<StringMsg>().is_err(), "{bad:?}");
        }
    }
}
