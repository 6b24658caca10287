//! Mirrors of our own interfaces, `msg/` and `srv/`; the units and meanings are written there.

use super::{Header, Time, interface, service};

interface! {
    /// One translation of one utterance into one language.
    pub struct Translation = "hymt_ros/msg/Translation" [
        /// Translated.
        const OK: u8 = 0;
        /// Source and target language are the same; `text` is the source text.
        const PASSTHROUGH: u8 = 1;
        /// The output limit ended the text.
        const TRUNCATED: u8 = 2;
        /// The request was not valid; see `detail`.
        const REJECTED: u8 = 3;
        /// The engine could not answer; see `detail`.
        const FAILED: u8 = 4;
    ] {
        /// Stamp and frame of the source.
        header: Header,
        /// Who spoke; empty when unknown.
        speaker_id: String,
        /// Same for every target and revision of one utterance. Texts count from 1, live speech
        /// from 2^32 on.
        utterance_id: u64,
        /// Grows with every new version of one utterance and target.
        revision: u32,
        /// False: the source may still change.
        is_final: bool,
        /// What was translated.
        source_text: String,
        /// Language of `source_text`.
        source_locale: String,
        /// 0..1; 1.0 when the language was given, not detected.
        source_locale_confidence: f32,
        /// Language of `text`.
        target_locale: String,
        /// The translation.
        text: String,
        /// Prefix of `text`, in Unicode scalars, that will not change.
        stable_chars: u32,
        /// One of the constants.
        status: u8,
        /// Why, in words, when `status` is not `OK`.
        detail: String,
        /// `source=target` terms sent and found in `text`.
        glossary_applied: Vec<String>,
        /// `source=target` terms sent and not found in `text`.
        glossary_missed: Vec<String>,
        /// True when no inference was needed.
        from_cache: bool,
        /// Waiting time before inference, in milliseconds.
        queue_ms: f32,
        /// Time in the engine, in milliseconds.
        inference_ms: f32,
        /// From hearing the text to this message, in milliseconds.
        total_ms: f32,
        /// Tokens of the prompt.
        tokens_in: u32,
        /// Tokens of the answer.
        tokens_out: u32,
    }
}

interface! {
    /// Request of [`Translate`].
    pub struct TranslateRequest = "hymt_ros/srv/Translate_Request" [
        /// As the target language usually has it.
        const FORMALITY_DEFAULT: u8 = 0;
        /// Informal address.
        const FORMALITY_LESS: u8 = 1;
        /// Formal address.
        const FORMALITY_MORE: u8 = 2;
    ] {
        /// 1..=64 texts.
        texts: Vec<String>,
        /// Empty or `auto`: detect.
        source_locale: String,
        /// Empty: the node's `target_locales`.
        target_locales: Vec<String>,
        /// Name of a glossary; empty: the node's default.
        glossary: String,
        /// `source=target`; they win over the glossary.
        inline_terms: Vec<String>,
        /// Text that helps and is not translated.
        context: String,
        /// One of the constants.
        formality: u8,
        /// Higher first; topics have 128. Left out it is 0, so such a call comes last.
        priority: u8,
        /// Seconds; 0: no deadline.
        timeout_s: f32,
    }
}

interface! {
    /// Response of [`Translate`].
    pub struct TranslateResponse = "hymt_ros/srv/Translate_Response" [
        /// Every text was translated.
        const OK: u8 = 0;
        /// See `message`; nothing was translated.
        const INVALID_REQUEST: u8 = 1;
        /// See `message` for the nearest match.
        const UNSUPPORTED_LANGUAGE: u8 = 2;
        /// The queue is full; try again.
        const OVERLOADED: u8 = 3;
        /// `timeout_s` passed.
        const TIMEOUT: u8 = 4;
        /// The node is not active.
        const NOT_ACTIVE: u8 = 5;
        /// At least one result failed; see its status and detail.
        const FAILED: u8 = 6;
        /// The answer does not fit one reply of this middleware.
        const RESPONSE_TOO_LARGE: u8 = 7;
    ] {
        /// True when every result is `OK`, `PASSTHROUGH` or `TRUNCATED`.
        success: bool,
        /// One of the constants.
        code: u8,
        /// Why, in words, when `success` is false.
        message: String,
        /// Texts times targets, text-major.
        results: Vec<Translation>,
    }
}

service! {
    /// Translates texts into one or more languages and waits for the result.
    pub struct Translate = "hymt_ros/srv/Translate": TranslateRequest => TranslateResponse
}

interface! {
    /// How the translator is.
    pub struct Status = "hymt_ros/msg/Status" [
        /// No model is loaded.
        const UNCONFIGURED: u8 = 1;
        /// The model is loaded; nothing is heard.
        const INACTIVE: u8 = 2;
        /// At work.
        const ACTIVE: u8 = 3;
        /// At the end.
        const FINALIZED: u8 = 4;
    ] {
        /// When this was written.
        stamp: Time,
        /// One of the constants, or a state of transition.
        state: u8,
        /// The same in words.
        state_label: String,
        /// Name of the model; empty while none is loaded.
        model: String,
        /// Engine and arithmetic.
        engine: String,
        /// What the engine runs on.
        device: String,
        /// Resident memory of the process.
        memory_bytes: u64,
        /// Texts and calls that wait now.
        queue_depth: u32,
        /// `limits.queue`.
        queue_limit: u32,
        /// Texts and final utterances taken.
        heard: u64,
        /// Translations published.
        translated: u64,
        /// Texts refused.
        refused: u64,
        /// Translations that the engine could not give.
        failed: u64,
        /// Hypotheses of live speech that were passed over.
        partials_dropped: u64,
        /// Texts that were our own output.
        own_output_dropped: u64,
        /// Translations that needed no inference.
        cache_hits: u64,
        /// Median over the last 60 s; 0 when nothing was heard.
        latency_p50_ms: f32,
        /// 95th percentile over the last 60 s.
        latency_p95_ms: f32,
        /// Longest of the last 60 s.
        latency_max_ms: f32,
        /// Empty: none since the start.
        last_error: String,
        /// When that was.
        last_error_stamp: Time,
    }
}

interface! {
    /// Request of [`ListLanguages`]: empty.
    pub struct ListLanguagesRequest = "hymt_ros/srv/ListLanguages_Request" {
        /// Always 0.
        structure_needs_at_least_one_member: u8,
    }
}

interface! {
    /// Response of [`ListLanguages`].
    pub struct ListLanguagesResponse = "hymt_ros/srv/ListLanguages_Response" {
        /// What `target_locales` takes.
        locales: Vec<String>,
        /// In English, in the same order.
        names: Vec<String>,
        /// Whether glossary terms work in it.
        glossary_ok: Vec<bool>,
        /// Name of the model; empty while none is loaded.
        model: String,
    }
}

service! {
    /// The languages that the loaded model translates.
    pub struct ListLanguages = "hymt_ros/srv/ListLanguages":
        ListLanguagesRequest => ListLanguagesResponse
}

interface! {
    /// Request of [`SetGlossary`].
    pub struct SetGlossaryRequest = "hymt_ros/srv/SetGlossary_Request" {
        /// 1..=64 letters, digits, `_`, `-`, `.`.
        name: String,
        /// Empty: any source language.
        source_locale: String,
        /// Empty: any target language.
        target_locale: String,
        /// `tsv`, `csv`, `tbx` or `tmx`.
        format: String,
        /// The file; empty removes the glossary.
        content: String,
    }
}

interface! {
    /// Response of [`SetGlossary`].
    pub struct SetGlossaryResponse = "hymt_ros/srv/SetGlossary_Response" {
        /// Whether the glossary is in force now.
        success: bool,
        /// Entries of the glossary now.
        entries: u32,
        /// Why not.
        problems: Vec<String>,
    }
}

service! {
    /// Makes, replaces or removes a named glossary.
    pub struct SetGlossary = "hymt_ros/srv/SetGlossary": SetGlossaryRequest => SetGlossaryResponse
}

interface! {
    /// Request of [`ListGlossaries`]: empty.
    pub struct ListGlossariesRequest = "hymt_ros/srv/ListGlossaries_Request" {
        /// Always 0.
        structure_needs_at_least_one_member: u8,
    }
}

interface! {
    /// Response of [`ListGlossaries`]; one place in every array for each glossary.
    pub struct ListGlossariesResponse = "hymt_ros/srv/ListGlossaries_Response" {
        /// The names.
        names: Vec<String>,
        /// Where each comes from.
        origins: Vec<String>,
        /// Empty: any.
        source_locales: Vec<String>,
        /// Empty: any.
        target_locales: Vec<String>,
        /// Number of entries.
        entries: Vec<u32>,
        /// `glossary.default`; empty for none.
        default_glossary: String,
    }
}

service! {
    /// The glossaries in force.
    pub struct ListGlossaries = "hymt_ros/srv/ListGlossaries":
        ListGlossariesRequest => ListGlossariesResponse
}
