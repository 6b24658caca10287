//! `qos_overrides.<topic>.<publisher|subscription>.<policy>`: quality of service by parameter.
//!
//! The names are those of rclcpp and rclpy. The policies are read once, when the endpoint is made.

use std::collections::BTreeMap;

use super::param_value::ParamValue;
use super::qos::{Durability, QosProfile, Reliability};
use crate::words::{nearest_word, shortened};

/// First part of the names.
pub const PREFIX: &str = "qos_overrides.";

/// Policies that can be overridden; `history` knows one value, since every queue here has a bound.
const POLICIES: [&str; 4] = ["depth", "durability", "history", "reliability"];

/// Which end of a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum End {
    Publisher,
    Subscription,
}

/// The overrides of a node.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct QosOverrides {
    by_end: BTreeMap<(String, End), Vec<Policy>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Policy {
    Depth(u16),
    Durability(Durability),
    KeepLast,
    Reliability(Reliability),
}

impl QosOverrides {
    /// Takes the overrides out of what files and command line say; the rest is given back.
    ///
    /// # Errors
    /// The reasons of all that are refused.
    #[allow(clippy::type_complexity, reason = "a pair that the caller takes apart at once")]
    pub fn split(
        given: Vec<(String, ParamValue)>,
    ) -> Result<(Self, Vec<(String, ParamValue)>), Vec<String>> {
        let (mut overrides, mut rest, mut errors) = (Self::default(), Vec::new(), Vec::new());
        for (name, value) in given {
            let Some(path) = name.strip_prefix(PREFIX) else {
                rest.push((name, value));
                continue;
            };
            match parse(path, &value) {
                Ok((key, policy)) => overrides.by_end.entry(key).or_default().push(policy),
                Err(reason) => errors.push(format!("parameter '{}' {reason}", shortened(&name))),
            }
        }
        if errors.is_empty() { Ok((overrides, rest)) } else { Err(errors) }
    }

    /// The profile of a publisher on a fully qualified topic.
    #[must_use]
    pub fn publisher(&self, topic: &str, profile: QosProfile) -> QosProfile {
        self.apply(topic, End::Publisher, profile)
    }

    /// The profile of a subscription on a fully qualified topic.
    #[must_use]
    pub fn subscription(&self, topic: &str, profile: QosProfile) -> QosProfile {
        self.apply(topic, End::Subscription, profile)
    }

    /// Topics that are overridden, so that those that the node does not have can be reported.
    pub fn topics(&self) -> impl Iterator<Item = &str> {
        self.by_end.keys().map(|(topic, _)| topic.as_str())
    }

    fn apply(&self, topic: &str, end: End, mut profile: QosProfile) -> QosProfile {
        for policy in self.by_end.get(&(topic.to_owned(), end)).into_iter().flatten() {
            match policy {
                Policy::Depth(depth) => profile.depth = *depth,
                Policy::Durability(durability) => profile.durability = *durability,
                Policy::Reliability(reliability) => profile.reliability = *reliability,
                Policy::KeepLast => {}
            }
        }
        profile
    }
}

/// Reads `<topic>.<end>.<policy>`.
fn parse(path: &str, value: &ParamValue) -> Result<((String, End), Policy), String> {
    let form = "must be qos_overrides.<topic>.<publisher|subscription>.<policy>";
    let (head, policy) = path.rsplit_once('.').ok_or_else(|| form.to_owned())?;
    let (topic, end) = head.rsplit_once('.').ok_or_else(|| form.to_owned())?;
    // rcl adds an identifier behind the end when one node has two of it: publisher_second.
    let end = match end.split('_').next() {
        Some("publisher") => End::Publisher,
        Some("subscription") => End::Subscription,
        _ => return Err(form.to_owned()),
    };
    if !topic.starts_with('/') {
        return Err(format!("names topic '{topic}'; it must be fully qualified, with a '/'"));
    }
    let word = match value {
        ParamValue::String(word) => word.as_str(),
        _ => "",
    };
    let one_of = |allowed: &str| format!("is {value}; allowed: {allowed}");
    let policy = match policy {
        "depth" => match value {
            ParamValue::Integer(depth @ 1..) if *depth <= i64::from(QosProfile::DEPTH_MAX) => {
                Policy::Depth(*depth as u16)
            }
            _ => return Err(one_of(&format!("1 to {}", QosProfile::DEPTH_MAX))),
        },
        "durability" => match word {
            "volatile" => Policy::Durability(Durability::Volatile),
            "transient_local" => Policy::Durability(Durability::TransientLocal),
            _ => return Err(one_of("volatile, transient_local")),
        },
        "history" => match word {
            "keep_last" => Policy::KeepLast,
            _ => return Err(one_of("keep_last; every queue here has a bound")),
        },
        "reliability" => match word {
            "reliable" => Policy::Reliability(Reliability::Reliable),
            "best_effort" => Policy::Reliability(Reliability::BestEffort),
            _ => return Err(one_of("reliable, best_effort")),
        },
        other => {
            let hint = nearest_word(other, POLICIES.into_iter())
                .map_or_else(String::new, |near| format!("; did you mean '{near}'?"));
            let allowed = POLICIES.join(", ");
            return Err(format!("sets an unknown policy; allowed: {allowed}{hint}"));
        }
    };
    Ok(((topic.to_owned(), end), policy))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn word(text: &str) -> ParamValue {
        ParamValue::String(text.to_owned())
    }

    fn split(given: &[(&str, ParamValue)]) -> Result<(QosOverrides, usize), Vec<String>> {
        let given = given.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
        QosOverrides::split(given).map(|(overrides, rest)| (overrides, rest.len()))
    }

    #[test]
    fn policies_reach_the_end_they_are_meant_for() {
        let (overrides, rest) = split(&[
            ("qos_overrides./robot/text.subscription.reliability", word("best_effort")),
            ("qos_overrides./robot/text.subscription.depth", ParamValue::Integer(3)),
            ("qos_overrides./robot/text.subscription.history", word("keep_last")),
            ("target_locales", word("x")),
        ])
        .unwrap();
        assert_eq!(rest, 1);
        let asked = overrides.subscription("/robot/text", QosProfile::DEFAULT);
        assert_eq!((asked.reliability, asked.depth), (Reliability::BestEffort, 3));
        assert_eq!(overrides.publisher("/robot/text", QosProfile::DEFAULT), QosProfile::DEFAULT);
        assert_eq!(overrides.subscription("/text", QosProfile::DEFAULT), QosProfile::DEFAULT);
        assert_eq!(overrides.topics().collect::<Vec<_>>(), ["/robot/text"]);
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (name, value, part) in [
            ("qos_overrides./t.subscription.reliability", word("maybe"), "reliable, best_effort"),
            ("qos_overrides./t.subscription.depth", ParamValue::Integer(0), "allowed: 1 to 10"),
            ("qos_overrides./t.subscription.depth", word("5"), "allowed: 1 to 10"),
            ("qos_overrides./t.publisher.history", word("keep_all"), "every queue here"),
            ("qos_overrides./t.publisher.durabilty", word("volatile"), "mean 'durability'?"),
            ("qos_overrides.t.publisher.depth", ParamValue::Integer(1), "fully qualified"),
            ("qos_overrides./t.depth", ParamValue::Integer(1), "must be qos_overrides."),
        ] {
            let errors = split(&[(name, value)]).unwrap_err();
            assert!(errors[0].contains(part), "{errors:?}");
        }
    }
}
