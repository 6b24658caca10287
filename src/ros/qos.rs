//! Quality of service profiles, in ROS 2 terms and free of any middleware.

/// Whether lost samples are sent again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reliability {
    /// A lost sample stays lost.
    BestEffort,
    /// The writer repeats until every matched reader has acknowledged.
    Reliable,
}

/// Whether a reader that comes late still gets what was written before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// Only what is written from now on.
    Volatile,
    /// The writer keeps its newest samples for late readers ("latched").
    TransientLocal,
}

/// A quality of service profile with history `keep_last(depth)`.
///
/// `keep_all` is not offered: every queue here has a bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QosProfile {
    /// Whether lost samples are sent again.
    pub reliability: Reliability,
    /// Whether late readers get earlier samples.
    pub durability: Durability,
    /// Samples kept per writer, 1..=[`QosProfile::DEPTH_MAX`]; other values are clamped.
    pub depth: u16,
}

impl QosProfile {
    /// Memory follows depth times message size, so the depth has a small bound.
    pub const DEPTH_MAX: u16 = 10;

    /// What speech recognisers offer, and the ROS 2 default: reliable, volatile, keep last 10.
    pub const DEFAULT: Self =
        Self { reliability: Reliability::Reliable, durability: Durability::Volatile, depth: 10 };

    /// State that a late subscriber must see: reliable, transient local, keep last 1.
    pub const LATCHED: Self = Self {
        reliability: Reliability::Reliable,
        durability: Durability::TransientLocal,
        depth: 1,
    };

    /// `/clock`: best effort, keep last 1, as rclcpp asks for it.
    pub const CLOCK: Self =
        Self { reliability: Reliability::BestEffort, durability: Durability::Volatile, depth: 1 };

    /// Requests and replies: as [`Self::DEFAULT`].
    pub const SERVICES: Self = Self::DEFAULT;

    /// `/parameter_events`: reliable, volatile; rcl keeps 1000, we keep what a burst needs.
    pub const PARAMETER_EVENTS: Self = Self::DEFAULT;

    /// `/rosout`: reliable, transient local, so that a late console sees the last lines.
    pub const ROSOUT: Self = Self {
        reliability: Reliability::Reliable,
        durability: Durability::TransientLocal,
        depth: 10,
    };

    /// The depth inside its bounds.
    #[must_use]
    pub fn depth_clamped(&self) -> u16 {
        self.depth.clamp(1, Self::DEPTH_MAX)
    }
}

impl Default for QosProfile {
    fn default() -> Self {
        Self::DEFAULT
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn depth_stays_inside_its_bounds() {
        for (given, expect) in [(0, 1), (1, 1), (10, 10), (11, 10), (u16::MAX, 10)] {
            assert_eq!(QosProfile { depth: given, ..QosProfile::DEFAULT }.depth_clamped(), expect);
        }
    }
}
