//! Where a context looks for others, as the environment of ROS 2 says it.

/// Largest domain whose ports fit the port numbers of UDP.
pub const DOMAIN_ID_MAX: u16 = 232;

/// How far automatic discovery reaches (`ROS_AUTOMATIC_DISCOVERY_RANGE`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DiscoveryRange {
    /// Nobody is looked for, not even on this machine.
    Off,
    /// Only participants on this machine.
    Localhost,
    /// Everyone that multicast reaches.
    #[default]
    Subnet,
}

/// Options of a context.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ContextOptions {
    /// DDS domain, 0..=232.
    pub domain_id: u16,
    /// How far automatic discovery reaches.
    pub discovery_range: DiscoveryRange,
}

/// An environment variable holds what it must not.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OptionsError {
    /// `ROS_DOMAIN_ID` is not a domain.
    #[error("ROS_DOMAIN_ID is {value:?}; it must be a whole number in 0..=232")]
    DomainId {
        /// The value as given.
        value: String,
    },
    /// `ROS_LOCALHOST_ONLY` is neither on nor off.
    #[error("ROS_LOCALHOST_ONLY is {value:?}; it must be 0 or 1")]
    LocalhostOnly {
        /// The value as given.
        value: String,
    },
    /// `ROS_AUTOMATIC_DISCOVERY_RANGE` is not a range.
    #[error(
        "ROS_AUTOMATIC_DISCOVERY_RANGE is {value:?}; it must be OFF, LOCALHOST, SUBNET or \
         SYSTEM_DEFAULT"
    )]
    DiscoveryRange {
        /// The value as given.
        value: String,
    },
}

impl ContextOptions {
    /// Options for a domain, with discovery on this machine only.
    #[must_use]
    pub fn localhost(domain_id: u16) -> Self {
        Self { domain_id, discovery_range: DiscoveryRange::Localhost }
    }

    /// Reads `ROS_DOMAIN_ID`, `ROS_LOCALHOST_ONLY` and `ROS_AUTOMATIC_DISCOVERY_RANGE`.
    ///
    /// An unset or empty variable means its default. `ROS_LOCALHOST_ONLY=1` wins over the range,
    /// as in rmw.
    ///
    /// # Errors
    /// [`OptionsError`] names the variable, its value and what is allowed.
    pub fn from_env(variable: &dyn Fn(&str) -> Option<String>) -> Result<Self, OptionsError> {
        let set = |name: &str| variable(name).filter(|value| !value.is_empty());
        let domain_id = set("ROS_DOMAIN_ID").map_or(Ok(0), |value| domain_id(&value))?;
        let range = set("ROS_AUTOMATIC_DISCOVERY_RANGE")
            .map_or(Ok(DiscoveryRange::default()), |value| discovery_range(&value))?;
        let localhost_only =
            set("ROS_LOCALHOST_ONLY").map_or(Ok(false), |value| localhost_only(&value))?;
        let discovery_range = if localhost_only { DiscoveryRange::Localhost } else { range };
        Ok(Self { domain_id, discovery_range })
    }
}

fn domain_id(value: &str) -> Result<u16, OptionsError> {
    // `parse` alone would take "+1".
    let digits_only = value.bytes().all(|byte| byte.is_ascii_digit());
    match value.parse() {
        Ok(id) if digits_only && id <= DOMAIN_ID_MAX => Ok(id),
        _ => Err(OptionsError::DomainId { value: value.to_owned() }),
    }
}

fn localhost_only(value: &str) -> Result<bool, OptionsError> {
    match value {
        "0" => Ok(false),
        "1" => Ok(true),
        _ => Err(OptionsError::LocalhostOnly { value: value.to_owned() }),
    }
}

fn discovery_range(value: &str) -> Result<DiscoveryRange, OptionsError> {
    match value {
        "OFF" => Ok(DiscoveryRange::Off),
        "LOCALHOST" => Ok(DiscoveryRange::Localhost),
        // What the middleware does when nothing is asked of it, which here is the subnet.
        "SUBNET" | "SYSTEM_DEFAULT" => Ok(DiscoveryRange::Subnet),
        _ => Err(OptionsError::DiscoveryRange { value: value.to_owned() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(pairs: &[(&str, &str)]) -> Result<ContextOptions, OptionsError> {
        ContextOptions::from_env(&|name| {
            pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn reads_the_environment() {
        use DiscoveryRange::{Localhost, Off, Subnet};
        type Case = (&'static [(&'static str, &'static str)], u16, DiscoveryRange);
        let cases: &[Case] = &[
            (&[], 0, Subnet),
            (&[("ROS_DOMAIN_ID", "")], 0, Subnet),
            (&[("ROS_DOMAIN_ID", "232")], 232, Subnet),
            (&[("ROS_LOCALHOST_ONLY", "1")], 0, Localhost),
            (&[("ROS_LOCALHOST_ONLY", "0")], 0, Subnet),
            (&[("ROS_AUTOMATIC_DISCOVERY_RANGE", "OFF")], 0, Off),
            (&[("ROS_AUTOMATIC_DISCOVERY_RANGE", "SYSTEM_DEFAULT")], 0, Subnet),
            (
                &[("ROS_LOCALHOST_ONLY", "1"), ("ROS_AUTOMATIC_DISCOVERY_RANGE", "SUBNET")],
                0,
                Localhost,
            ),
        ];
        for (pairs, domain_id, discovery_range) in cases {
            let expect =
                ContextOptions { domain_id: *domain_id, discovery_range: *discovery_range };
            assert_eq!(from(pairs), Ok(expect), "{pairs:?}");
        }
    }

    #[test]
    fn refuses_what_it_does_not_know_and_says_what_is_allowed() {
        for (name, value, allowed) in [
            ("ROS_DOMAIN_ID", "233", "0..=232"),
            ("ROS_DOMAIN_ID", "-1", "0..=232"),
            ("ROS_DOMAIN_ID", "+1", "0..=232"),
            ("ROS_DOMAIN_ID", "99999999999999999999", "0..=232"),
            ("ROS_DOMAIN_ID", "zero", "0..=232"),
            ("ROS_LOCALHOST_ONLY", "yes", "0 or 1"),
            ("ROS_AUTOMATIC_DISCOVERY_RANGE", "localhost", "LOCALHOST"),
        ] {
            let text = from(&[(name, value)]).unwrap_err().to_string();
            assert!(
                text.contains(name) && text.contains(value) && text.contains(allowed),
                "{text}"
            );
        }
    }
}
