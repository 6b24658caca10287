//! Identifiers of participants, writers and readers.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::wire::WireType;

/// The global identifier of a participant, writer or reader.
///
/// 16 octets since ROS 2 Iron; of the 24 that Humble has, the first 16 tell endpoints apart.
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

    /// All octets are 0, which names nobody.
    #[must_use]
    pub fn is_unknown(&self) -> bool {
        self.0 == [0; 16]
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

impl WireType for Gid {
    fn ros_type() -> String {
        "rmw_dds_common/Gid".to_owned()
    }
}
