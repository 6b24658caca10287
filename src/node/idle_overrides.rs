//! Overrides of quality of service that reach nothing, so that a typing error is not silent.

use hymt_core::language::Language;

use super::ears;
use crate::ros::QosOverrides;
use crate::ros::names::{NameError, NameResolver};
use crate::words::{nearest_word, shortened};

/// One remark for each overridden topic that the node neither hears nor publishes, whatever its
/// target languages become. `is_speaking` is the parameter `speech.ignore_while_speaking`.
///
/// # Errors
/// [`NameError`] when a topic of the node has no valid name here.
pub(super) fn remarks(
    names: &NameResolver,
    overrides: &QosOverrides,
    is_speaking: &str,
) -> Result<Vec<String>, NameError> {
    if overrides.topics().next().is_none() {
        return Ok(Vec::new());
    }
    let mut ours = vec!["text".to_owned(), "speech".to_owned(), "~/translation".to_owned()];
    for language in Language::all() {
        let locale = language.topic_name();
        ours.extend([format!("~/{locale}/text"), format!("~/{locale}/partial")]);
    }
    if !is_speaking.is_empty() {
        ours.push(is_speaking.to_owned());
    }
    let ours = ours.iter().map(|name| names.topic(name)).collect::<Result<Vec<_>, _>>()?;
    let is_idle = |topic: &&str| ears::voice(topic).is_none() && !ours.iter().any(|o| o == topic);
    let mut remarks: Vec<String> = Vec::new();
    for topic in overrides.topics().filter(is_idle) {
        let hint = nearest_word(topic, ours.iter().map(String::as_str))
            .map_or_else(String::new, |near| format!("; did you mean '{near}'?"));
        let topic = shortened(topic);
        remarks.push(format!("qos_overrides for '{topic}' reach no topic of this node{hint}"));
    }
    remarks.dedup();
    Ok(remarks)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ros::param_value::ParamValue;

    #[test]
    fn an_override_that_reaches_nothing_is_named() {
        let names = NameResolver::new("translator", "/robot", &[]).unwrap();
        let depth = |topic: &str, end: &str| {
            (format!("qos_overrides.{topic}.{end}.depth"), ParamValue::Integer(3))
        };
        let (overrides, _) = QosOverrides::split(vec![
            depth("/robot/text", "subscription"),
            depth("/robot/translator/zh_Hant/text", "publisher"),
            depth("/humans/voices/a/speech", "subscription"),
            depth("/robot/txt", "subscription"),
            depth("/robot_speaking", "subscription"),
        ])
        .unwrap();
        let told = remarks(&names, &overrides, "").unwrap();
        assert_eq!(told.len(), 2, "{told:?}");
        assert!(told.iter().any(|remark| remark.contains("did you mean '/robot/text'?")));
        assert!(told.iter().any(|remark| remark.contains("'/robot_speaking' reach no")));
        assert_eq!(remarks(&names, &overrides, "/robot_speaking").unwrap().len(), 1);
    }
}
