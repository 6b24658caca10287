//! What comes back for one target, and how an answer becomes that.

use super::output;
use super::plan::{Plan, Source};
use crate::error::ErrorCode;
use crate::generate::{GenerateError, Generated};
use crate::glossary::{self, Selection, TERMS_PER_PROMPT_MAX, Term};
use crate::language::Language;

/// How a translation ended; the numbers are those of `Translation.msg`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Status {
    /// Translated.
    Ok = 0,
    /// Nothing to do: the text is in the target language already, or has no words.
    Passthrough = 1,
    /// The output bound ended the text.
    Truncated = 2,
    /// The request was not valid.
    Rejected = 3,
    /// The engine could not answer.
    Failed = 4,
}

impl Status {
    /// The constant's name in `Translation.msg`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ok => "OK",
            Self::Passthrough => "PASSTHROUGH",
            Self::Truncated => "TRUNCATED",
            Self::Rejected => "REJECTED",
            Self::Failed => "FAILED",
        }
    }

    /// True when there is a text to use.
    pub fn is_success(self) -> bool {
        matches!(self, Self::Ok | Self::Passthrough | Self::Truncated)
    }
}

/// A text in one target language, or why there is none.
#[derive(Debug, Clone, PartialEq)]
pub struct Translation {
    /// Language of `text`.
    pub target: Language,
    /// Language of the source; `None` when it is unknown.
    pub source: Option<Language>,
    /// 0 to 1; 1 when the language was given, 0 when it is unknown or assumed.
    pub source_confidence: f32,
    /// The translation; empty unless [`Status::is_success`].
    pub text: String,
    /// How it ended.
    pub status: Status,
    /// The class of the failure, when there is one.
    pub error: Option<ErrorCode>,
    /// In words, what is worth knowing; may be set beside a success.
    pub detail: String,
    /// Terms sent and found in `text`.
    pub glossary_applied: Vec<Term>,
    /// Terms sent and not found in `text`.
    pub glossary_missed: Vec<Term>,
    /// Tokens of the prompt.
    pub tokens_in: usize,
    /// Tokens of the answer.
    pub tokens_out: usize,
    /// Waiting time before inference. Milliseconds.
    pub queue_ms: f32,
    /// Time in the engine. Milliseconds.
    pub inference_ms: f32,
    /// Time in the translator. Milliseconds.
    pub total_ms: f32,
}

impl Translation {
    pub(super) fn empty(target: Language, source: &Source) -> Self {
        Self {
            target,
            source: source.language,
            source_confidence: source.confidence,
            text: String::new(),
            status: Status::Ok,
            error: None,
            detail: source.detail.clone(),
            glossary_applied: Vec::new(),
            glossary_missed: Vec::new(),
            tokens_in: 0,
            tokens_out: 0,
            queue_ms: 0.0,
            inference_ms: 0.0,
            total_ms: 0.0,
        }
    }

    /// Carries out a plan; one that asked takes the next of `answers`.
    pub(super) fn apply(
        &mut self,
        plan: Plan,
        text: &str,
        answers: &mut impl Iterator<Item = Result<Generated, GenerateError>>,
    ) {
        match plan {
            Plan::Pass => self.pass(text),
            Plan::Reject(code, why) => self.reject(code, why),
            Plan::Ask { selection, formality_ignored, .. } => {
                self.note_selection(&selection, formality_ignored);
                let answer = answers.next().unwrap_or_else(|| Err(missing_answer()));
                self.finish(answer, text, &selection.terms);
            }
        }
    }

    fn note(&mut self, detail: &str) {
        if !self.detail.is_empty() {
            self.detail.push_str("; ");
        }
        self.detail.push_str(detail);
    }

    fn pass(&mut self, text: &str) {
        self.status = Status::Passthrough;
        text.clone_into(&mut self.text);
        self.note(match self.source {
            Some(source) if source == self.target => "the text is in the target language already",
            _ => "the text has no words to translate",
        });
    }

    fn reject(&mut self, code: ErrorCode, why: String) {
        self.status = Status::Rejected;
        self.error = Some(code);
        self.detail = why;
    }

    fn note_selection(&mut self, selection: &Selection, formality_ignored: bool) {
        if selection.left_out > 0 {
            self.note(&format!(
                "{} more glossary terms occur, the limit is {TERMS_PER_PROMPT_MAX}",
                selection.left_out
            ));
        }
        if formality_ignored {
            self.note("this model cannot be asked for a formality here");
        }
    }

    fn finish(&mut self, answer: Result<Generated, GenerateError>, source: &str, terms: &[Term]) {
        let generated = match answer {
            Ok(generated) => generated,
            Err(error) => return self.fail(ErrorCode::from(&error), error.to_string()),
        };
        self.tokens_in = generated.tokens_in;
        self.tokens_out = generated.tokens_out;
        self.queue_ms = generated.queue_ms;
        self.inference_ms = generated.inference_ms;
        self.text = output::clean(&generated.text, source);
        if self.text.is_empty() {
            return self.fail(ErrorCode::Failed, "the model gave an empty answer".to_owned());
        }
        let report = glossary::check(terms, &self.text);
        self.glossary_applied = report.applied;
        self.glossary_missed = report.missed;
        if generated.truncated {
            self.status = Status::Truncated;
            self.note(&format!("ended after {} tokens, the limit", generated.tokens_out));
        }
    }

    fn fail(&mut self, code: ErrorCode, why: String) {
        // A prompt that does not fit is a fault of the request, not of the engine.
        self.status =
            if code == ErrorCode::InvalidRequest { Status::Rejected } else { Status::Failed };
        self.error = Some(code);
        self.detail = why;
    }
}

fn missing_answer() -> GenerateError {
    GenerateError::Engine { detail: "it gave fewer answers than prompts".to_owned() }
}
