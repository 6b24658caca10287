//! Between wire structs and what the application works with.

use hymt_core::glossary::Term;
use hymt_core::language::Language;
use hymt_core::request::RawRequest;
use hymt_core::translator::Translation as Result;

use super::param_store::{Change, Changes, Declaration, Range};
use super::param_value::ParamValue;
use super::wire::rcl::{
    FloatingPointRange, IntegerRange, Parameter, ParameterDescriptor, ParameterType, ParameterValue,
};
use super::wire::{Header, TranslateRequest, Translation};

/// Language tag on the wire when it is not known.
const UNKNOWN_LOCALE: &str = "";

/// What all translations of one utterance share.
#[derive(Debug, Clone, PartialEq)]
pub struct Utterance {
    /// Stamp and frame of the source.
    pub header: Header,
    /// Its number.
    pub id: u64,
    /// What was said.
    pub text: String,
}

impl Utterance {
    /// The message for one target.
    pub fn translation(&self, result: &Result, total_ms: f32) -> Translation {
        Translation {
            header: self.header.clone(),
            speaker_id: String::new(),
            utterance_id: self.id,
            revision: 0,
            is_final: true,
            source_text: self.text.clone(),
            source_locale: result.source.map_or(UNKNOWN_LOCALE, Language::code).to_owned(),
            source_locale_confidence: result.source_confidence,
            target_locale: result.target.code().to_owned(),
            stable_chars: u32::try_from(result.text.chars().count()).unwrap_or(u32::MAX),
            text: result.text.clone(),
            status: result.status as u8,
            detail: result.detail.clone(),
            glossary_applied: terms(&result.glossary_applied),
            glossary_missed: terms(&result.glossary_missed),
            from_cache: result.from_cache,
            queue_ms: result.queue_ms,
            inference_ms: result.inference_ms,
            total_ms,
            tokens_in: u32::try_from(result.tokens_in).unwrap_or(u32::MAX),
            tokens_out: u32::try_from(result.tokens_out).unwrap_or(u32::MAX),
        }
    }

    /// The message for one target while it grows.
    pub fn partial(
        &self,
        target: Language,
        text: &str,
        revision: u32,
        total_ms: f32,
    ) -> Translation {
        Translation {
            header: self.header.clone(),
            utterance_id: self.id,
            revision,
            source_text: self.text.clone(),
            target_locale: target.code().to_owned(),
            text: text.to_owned(),
            total_ms,
            ..Translation::default()
        }
    }

    /// The message for one target when the text was refused.
    pub fn rejection(&self, target: Option<Language>, detail: &str, total_ms: f32) -> Translation {
        Translation {
            header: self.header.clone(),
            utterance_id: self.id,
            is_final: true,
            source_text: self.text.clone(),
            target_locale: target.map_or(UNKNOWN_LOCALE, Language::code).to_owned(),
            status: Translation::REJECTED,
            detail: detail.to_owned(),
            total_ms,
            ..Translation::default()
        }
    }
}

fn terms(terms: &[Term]) -> Vec<String> {
    terms.iter().map(|term| format!("{}={}", term.source(), term.target())).collect()
}

/// The request for one of the texts of a service call.
pub fn raw_request<'a>(request: &'a TranslateRequest, text: &'a str) -> RawRequest<'a> {
    RawRequest {
        text,
        source: &request.source_locale,
        targets: &request.target_locales,
        glossary: &request.glossary,
        inline_terms: &request.inline_terms,
        context: &request.context,
        formality: request.formality,
        priority: request.priority,
        timeout_s: request.timeout_s,
    }
}

/// A parameter value for the wire.
pub fn value_to_wire(value: &ParamValue) -> ParameterValue {
    let mut wire = ParameterValue { r#type: value.kind() as u8, ..ParameterValue::default() };
    match value {
        ParamValue::NotSet => {}
        ParamValue::Bool(value) => wire.bool_value = *value,
        ParamValue::Integer(value) => wire.integer_value = *value,
        ParamValue::Double(value) => wire.double_value = *value,
        ParamValue::String(value) => wire.string_value.clone_from(value),
        ParamValue::ByteArray(values) => wire.byte_array_value.clone_from(values),
        ParamValue::BoolArray(values) => wire.bool_array_value.clone_from(values),
        ParamValue::IntegerArray(values) => wire.integer_array_value.clone_from(values),
        ParamValue::DoubleArray(values) => wire.double_array_value.clone_from(values),
        ParamValue::StringArray(values) => wire.string_array_value.clone_from(values),
    }
    wire
}

/// A parameter value from the wire; a type that does not exist counts as not set.
pub fn value_from_wire(wire: ParameterValue) -> ParamValue {
    match wire.r#type {
        ParameterType::PARAMETER_BOOL => ParamValue::Bool(wire.bool_value),
        ParameterType::PARAMETER_INTEGER => ParamValue::Integer(wire.integer_value),
        ParameterType::PARAMETER_DOUBLE => ParamValue::Double(wire.double_value),
        ParameterType::PARAMETER_STRING => ParamValue::String(wire.string_value),
        ParameterType::PARAMETER_BYTE_ARRAY => ParamValue::ByteArray(wire.byte_array_value),
        ParameterType::PARAMETER_BOOL_ARRAY => ParamValue::BoolArray(wire.bool_array_value),
        ParameterType::PARAMETER_INTEGER_ARRAY => {
            ParamValue::IntegerArray(wire.integer_array_value)
        }
        ParameterType::PARAMETER_DOUBLE_ARRAY => ParamValue::DoubleArray(wire.double_array_value),
        ParameterType::PARAMETER_STRING_ARRAY => ParamValue::StringArray(wire.string_array_value),
        _ => ParamValue::NotSet,
    }
}

/// A named value for the wire.
pub fn change_to_wire(change: &Change) -> Parameter {
    Parameter { name: change.name.to_owned(), value: value_to_wire(&change.value) }
}

/// A declaration for the wire.
pub fn descriptor_to_wire(declaration: &Declaration) -> ParameterDescriptor {
    let mut wire = ParameterDescriptor {
        name: declaration.name.to_owned(),
        r#type: declaration.default.kind() as u8,
        description: declaration.description.to_owned(),
        additional_constraints: constraints(declaration),
        read_only: declaration.changes == Changes::Never,
        ..ParameterDescriptor::default()
    };
    match declaration.range {
        Some(Range::Integer { from, to }) => {
            wire.integer_range = vec![IntegerRange { from_value: from, to_value: to, step: 1 }];
        }
        Some(Range::Double { from, to }) => {
            let range = FloatingPointRange { from_value: from, to_value: to, step: 0.0 };
            wire.floating_point_range = vec![range];
        }
        None => {}
    }
    wire
}

/// What is allowed, and when.
fn constraints(declaration: &Declaration) -> String {
    match declaration.changes {
        Changes::Live => declaration.constraints.to_owned(),
        changes => format!("{}; {}", declaration.constraints, changes.words()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_survive_the_wire() {
        for value in [
            ParamValue::NotSet,
            ParamValue::Bool(true),
            ParamValue::Integer(-5),
            ParamValue::Double(0.5),
            ParamValue::String("ä".to_owned()),
            ParamValue::ByteArray(vec![0, 255]),
            ParamValue::BoolArray(vec![true, false]),
            ParamValue::IntegerArray(vec![1, 2]),
            ParamValue::DoubleArray(vec![1.5]),
            ParamValue::StringArray(vec!["a".to_owned(), String::new()]),
        ] {
            assert_eq!(value_from_wire(value_to_wire(&value)), value);
        }
        let nonsense = ParameterValue { r#type: 200, ..ParameterValue::default() };
        assert_eq!(value_from_wire(nonsense), ParamValue::NotSet);
    }

    #[test]
    fn descriptors_carry_ranges_and_words() {
        for declaration in crate::parameters::table() {
            let wire = descriptor_to_wire(&declaration);
            assert_eq!(wire.name, declaration.name);
            assert_eq!(wire.read_only, declaration.changes == Changes::Never);
            let ranges = wire.integer_range.len() + wire.floating_point_range.len();
            assert_eq!(ranges, usize::from(declaration.range.is_some()));
            assert!(!wire.description.is_empty() && !wire.additional_constraints.is_empty());
        }
    }
}
