//! From raw input to a valid translation request.
//!
//! [`RawRequest`] is what a service call, a topic or a command line says; [`TranslateRequest`] is
//! checked, and nothing further in needs to check it again.

use std::time::{Duration, Instant};

use crate::error::RequestError;
use crate::generate::{CancelFlag, GenerateOptions};
use crate::glossary::Glossary;
use crate::language::Language;

/// Most characters of a text, by default.
pub const INPUT_CHARS_MAX: usize = 4000;
/// Most characters of a context, by default.
pub const CONTEXT_CHARS_MAX: usize = 2000;
/// Most target languages of one request.
pub const TARGETS_MAX: usize = 16;
/// Most inline terms of one request.
pub const INLINE_TERMS_MAX: usize = 256;
/// Most characters of a draft; what is longer is cut, and costs nothing but its speed.
pub const DRAFT_CHARS_MAX: usize = 4000;
/// Longest timeout. Seconds.
pub const TIMEOUT_S_MAX: f32 = 3600.0;
/// Most tokens of one translation, by default; the value HY-MT1.5's model card uses.
pub const NEW_TOKENS_MAX: usize = 2048;

/// The bounds of a request; see the constants of this module for the defaults.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Most characters of a text.
    pub input_chars_max: usize,
    /// Most characters of a context.
    pub context_chars_max: usize,
    /// Most tokens of one translation; lower it for a model with a short context.
    pub new_tokens_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            input_chars_max: INPUT_CHARS_MAX,
            context_chars_max: CONTEXT_CHARS_MAX,
            new_tokens_max: NEW_TOKENS_MAX,
        }
    }
}

/// How the language of a text is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum SourceChoice {
    /// It is detected.
    #[default]
    Auto,
    /// It is given.
    Given(Language),
}

impl SourceChoice {
    /// Reads `""` and `auto` (any case) as [`Self::Auto`], and anything else as a language.
    ///
    /// # Errors
    /// When it is neither.
    pub fn parse(tag: &str) -> Result<Self, RequestError> {
        let tag = tag.trim();
        if tag.is_empty() || tag.eq_ignore_ascii_case("auto") {
            return Ok(Self::Auto);
        }
        Language::parse(tag).map(Self::Given).map_err(RequestError::UnknownSource)
    }
}

/// How polite the translation should be. A hint: the models were trained on style words, not on the
/// forms of address of each language, and only Hy-MT2 has a prompt for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[repr(u8)]
pub enum Formality {
    /// Whatever the model finds natural.
    #[default]
    Default = 0,
    /// Informal.
    Less = 1,
    /// Formal.
    More = 2,
}

impl Formality {
    /// Reads the constants of `Translate.srv`.
    ///
    /// # Errors
    /// When there is no such constant.
    pub fn from_code(code: u8) -> Result<Self, RequestError> {
        match code {
            0 => Ok(Self::Default),
            1 => Ok(Self::Less),
            2 => Ok(Self::More),
            given => Err(RequestError::UnknownFormality { given }),
        }
    }
}

/// A request as it comes from outside.
#[derive(Debug, Clone, PartialEq)]
pub struct RawRequest<'a> {
    /// The text to translate.
    pub text: &'a str,
    /// `auto`, a language, or empty for the default.
    pub source: &'a str,
    /// Languages to translate into; empty for the default.
    pub targets: &'a [String],
    /// Name of a glossary; empty for the default.
    pub glossary: &'a str,
    /// Terms for this request as `source=target` lines; they win over the glossaries.
    pub inline_terms: &'a [String],
    /// Text that helps and is not translated; may be empty.
    pub context: &'a str,
    /// A hint, as in `Translate.srv`: 0 default, 1 less, 2 more.
    pub formality: u8,
    /// 0 (lowest) to 255.
    pub priority: u8,
    /// Seconds; 0 for no deadline.
    pub timeout_s: f32,
}

impl Default for RawRequest<'_> {
    fn default() -> Self {
        Self {
            text: "",
            source: "",
            targets: &[],
            glossary: "",
            inline_terms: &[],
            context: "",
            formality: 0,
            priority: GenerateOptions::default().priority,
            timeout_s: 0.0,
        }
    }
}

/// What holds when a request does not say.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RequestDefaults {
    /// Source language.
    pub source: SourceChoice,
    /// Target languages.
    pub targets: Vec<Language>,
    /// The two targets are a conversation: what is said in one goes into the other only.
    pub is_conversation: bool,
}

/// A valid request to translate one text into one or more languages.
#[derive(Debug, Clone, PartialEq)]
pub struct TranslateRequest {
    text: String,
    source: SourceChoice,
    targets: Vec<Language>,
    is_conversation: bool,
    spoken_before: Option<Language>,
    glossary: Option<String>,
    inline_terms: Glossary,
    context: Option<String>,
    formality: Formality,
    priority: u8,
    timeout: Option<Duration>,
    drafts: Vec<(Language, String)>,
    is_growing: bool,
}

impl TranslateRequest {
    /// Checks a raw request against `limits` and fills in `defaults`.
    ///
    /// # Errors
    /// The first thing that is wrong, in the order of the fields.
    pub fn parse(
        raw: &RawRequest<'_>,
        defaults: &RequestDefaults,
        limits: &Limits,
    ) -> Result<Self, RequestError> {
        let text = clean_text("text", raw.text, limits.input_chars_max)?;
        if text.is_empty() {
            return Err(RequestError::Empty { field: "text" });
        }
        let source = match raw.source.trim() {
            "" => defaults.source,
            tag => SourceChoice::parse(tag)?,
        };
        let targets = match raw.targets {
            [] => check_targets(defaults.targets.clone())?,
            tags => parse_targets(tags)?,
        };
        if raw.inline_terms.len() > INLINE_TERMS_MAX {
            return Err(RequestError::TooManyInlineTerms {
                count: raw.inline_terms.len(),
                limit: INLINE_TERMS_MAX,
            });
        }
        let context = clean_text("context", raw.context, limits.context_chars_max)?;
        Ok(Self {
            text,
            source,
            targets,
            is_conversation: defaults.is_conversation && raw.targets.is_empty(),
            spoken_before: None,
            glossary: Some(raw.glossary.trim()).filter(|g| !g.is_empty()).map(str::to_owned),
            inline_terms: Glossary::from_lines(raw.inline_terms)?,
            context: Some(context).filter(|context| !context.is_empty()),
            formality: Formality::from_code(raw.formality)?,
            priority: raw.priority,
            timeout: parse_timeout(raw.timeout_s)?,
            drafts: Vec::new(),
            is_growing: false,
        })
    }

    /// The text, trimmed, with `\n` line breaks.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// How its language is known.
    pub fn source(&self) -> SourceChoice {
        self.source
    }

    /// Languages to translate into: 1 to [`TARGETS_MAX`], none twice.
    pub fn targets(&self) -> &[Language] {
        &self.targets
    }

    /// True when what is said in one of the two targets goes into the other only.
    pub fn is_conversation(&self) -> bool {
        self.is_conversation
    }

    /// The language that whoever said this spoke last.
    pub fn spoken_before(&self) -> Option<Language> {
        self.spoken_before
    }

    /// Name of the glossary asked for.
    pub fn glossary(&self) -> Option<&str> {
        self.glossary.as_deref()
    }

    /// Terms of this request alone.
    pub fn inline_terms(&self) -> &Glossary {
        &self.inline_terms
    }

    /// Text that helps and is not translated.
    pub fn context(&self) -> Option<&str> {
        self.context.as_deref()
    }

    /// A hint.
    pub fn formality(&self) -> Formality {
        self.formality
    }

    /// The same request from somebody who spoke this language last: it is believed where detection is
    /// not sure.
    #[must_use]
    pub fn with_spoken_before(mut self, language: Option<Language>) -> Self {
        self.spoken_before = language;
        self
    }

    /// The same request with other context, for callers that keep a conversation. Too long a context
    /// loses its beginning, at a line break where there is one, since the latest lines help most.
    #[must_use]
    pub fn with_context(mut self, context: &str, limits: &Limits) -> Self {
        let kept: String =
            context.chars().filter(|c| *c == '\n' || *c == '\t' || !c.is_control()).collect();
        let mut kept = kept.trim();
        let excess = kept.chars().count().saturating_sub(limits.context_chars_max);
        if let Some((start, _)) = kept.char_indices().nth(excess).filter(|_| excess > 0) {
            let tail = &kept[start..];
            kept = tail.split_once('\n').map_or(tail, |(_, rest)| rest);
        }
        self.context = Some(kept.to_owned()).filter(|context| !context.is_empty());
        self
    }

    /// The same request with what its translations may turn out to be, such as those of a text that has
    /// grown since. Drafts can make translations come sooner and never change them. Of a language that
    /// is no target, and beyond [`DRAFT_CHARS_MAX`], they are left out.
    #[must_use]
    pub fn with_drafts(mut self, drafts: &[(Language, String)]) -> Self {
        let wanted = drafts.iter().filter(|(language, _)| self.targets.contains(language));
        let cut = |draft: &String| draft.chars().take(DRAFT_CHARS_MAX).collect();
        self.drafts = wanted.map(|(language, draft)| (*language, cut(draft))).collect();
        self
    }

    /// The same request for a text that still grows. Its translation is soon replaced, so no guard asks for
    /// another answer: that would come too late, and hold up the other targets.
    #[must_use]
    pub fn of_growing_text(mut self) -> Self {
        self.is_growing = true;
        self
    }

    /// True when the text still grows.
    pub fn is_growing(&self) -> bool {
        self.is_growing
    }

    /// What the translation into `target` may turn out to be.
    pub fn draft(&self, target: Language) -> Option<&str> {
        let found = self.drafts.iter().find(|(language, _)| *language == target);
        found.map(|(_, draft)| draft.as_str())
    }

    /// What the generator is told: priority, a deadline counted from `now`, and `cancel`.
    pub fn generate_options(&self, now: Instant, cancel: CancelFlag) -> GenerateOptions {
        GenerateOptions {
            priority: self.priority,
            deadline: self.timeout.map(|timeout| now + timeout),
            cancel,
        }
    }
}

/// Reads target languages: 1 to [`TARGETS_MAX`], none twice. Also what the parameter
/// `target_locales` is checked with.
///
/// # Errors
/// Names the first wrong one by index and value.
pub fn parse_targets<S: AsRef<str>>(tags: &[S]) -> Result<Vec<Language>, RequestError> {
    // Before reading any, so that a very long list costs nothing.
    check_target_count(tags.len())?;
    let mut targets = Vec::with_capacity(tags.len());
    for (index, tag) in tags.iter().enumerate() {
        let given = tag.as_ref();
        let language = Language::parse(given)
            .map_err(|unknown| RequestError::UnknownTarget { index, unknown })?;
        if targets.contains(&language) {
            return Err(RequestError::DuplicateTarget { index, given: given.trim().to_owned() });
        }
        targets.push(language);
    }
    Ok(targets)
}

fn check_targets(targets: Vec<Language>) -> Result<Vec<Language>, RequestError> {
    check_target_count(targets.len())?;
    Ok(targets)
}

fn check_target_count(count: usize) -> Result<(), RequestError> {
    match count {
        0 => Err(RequestError::NoTarget { limit: TARGETS_MAX }),
        count if count > TARGETS_MAX => {
            Err(RequestError::TooManyTargets { count, limit: TARGETS_MAX })
        }
        _ => Ok(()),
    }
}

/// Trims, unifies line breaks, and refuses what no text holds.
fn clean_text(field: &'static str, given: &str, chars_max: usize) -> Result<String, RequestError> {
    let is_refused = |c: char| c.is_control() && !matches!(c, '\n' | '\r' | '\t');
    if let Some((position, found)) = given.chars().enumerate().find(|(_, c)| is_refused(*c)) {
        return Err(RequestError::ControlCharacter { field, found, position });
    }
    let trimmed = given.trim();
    let chars = trimmed.chars().count();
    if chars > chars_max {
        return Err(RequestError::TooLong { field, chars, limit: chars_max });
    }
    Ok(trimmed.replace("\r\n", "\n").replace('\r', "\n"))
}

fn parse_timeout(given_s: f32) -> Result<Option<Duration>, RequestError> {
    if !(0.0..=TIMEOUT_S_MAX).contains(&given_s) {
        return Err(RequestError::Timeout { given_s, limit_s: TIMEOUT_S_MAX });
    }
    Ok((given_s > 0.0).then(|| Duration::from_secs_f32(given_s)))
}

#[cfg(test)]
mod tests;
