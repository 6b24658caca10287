//! The embedded demo model; `models/demo/README.md` says what it can do.

use hymt_core::language::Language;
use hymt_llm::weights::ModelSource;

/// Its `tokenizer.json`.
pub(super) const TOKENIZER: &[u8] = include_bytes!("../../models/demo/int8/tokenizer.json");

/// Its configuration and weights.
pub(super) fn source() -> ModelSource {
    ModelSource::Embedded {
        config: include_bytes!("../../models/demo/int8/config.json"),
        weights: include_bytes!("../../models/demo/int8/model.safetensors"),
    }
}

/// The languages it was trained on.
pub(super) const LANGUAGES: &[Language] = &[
    Language::English,
    Language::Chinese,
    Language::German,
    Language::French,
    Language::Spanish,
    Language::Japanese,
];
