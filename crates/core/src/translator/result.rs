//! What comes back for one target.

use super::progress::{Failure, Progress};
use super::question::Question;
use super::source::Source;
use crate::error::ErrorCode;
use crate::glossary::{TERMS_PER_PROMPT_MAX, Term};
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

/// Adds a remark to others.
pub(super) fn append(details: &mut String, detail: &str) {
    if !details.is_empty() {
        details.push_str("; ");
    }
    details.push_str(detail);
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
    /// True when every answer it is made of was given before and nothing was generated.
    pub from_cache: bool,
    /// Tokens of the prompts: one, or one per part of a long text, and one more for each part that was
    /// asked for again.
    pub tokens_in: usize,
    /// Tokens of the answers.
    pub tokens_out: usize,
    /// Waiting time before inference; that of parts which waited together counts once. Milliseconds.
    pub queue_ms: f32,
    /// Time in the engine; that of parts which ran together counts once. Milliseconds.
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
            from_cache: false,
            tokens_in: 0,
            tokens_out: 0,
            queue_ms: 0.0,
            inference_ms: 0.0,
            total_ms: 0.0,
        }
    }

    fn note(&mut self, detail: &str) {
        append(&mut self.detail, detail);
    }

    pub(super) fn pass(&mut self, text: &str) {
        self.status = Status::Passthrough;
        text.clone_into(&mut self.text);
        self.note(match self.source {
            Some(source) if source == self.target => "the text is in the target language already",
            _ => "the text has no words to translate",
        });
    }

    pub(super) fn reject(&mut self, code: ErrorCode, why: String) {
        self.status = Status::Rejected;
        self.error = Some(code);
        self.detail = why;
    }

    pub(super) fn note_questions(&mut self, questions: &[Option<Question>]) {
        let left_out: usize = questions.iter().flatten().map(|q| q.selection.left_out).sum();
        if left_out > 0 {
            self.note(&format!(
                "{left_out} more glossary terms occur, the limit is {TERMS_PER_PROMPT_MAX}"
            ));
        }
        if questions.iter().flatten().any(|question| question.formality_ignored) {
            self.note("this model cannot be asked for a formality here");
        }
    }

    /// Takes over what became of the questions.
    pub(super) fn finish(&mut self, progress: Progress<'_, '_>) {
        (self.tokens_in, self.tokens_out) = (progress.tokens_in, progress.tokens_out);
        (self.queue_ms, self.inference_ms) = progress.times_ms();
        if let Some(Failure { code, why }) = progress.failure {
            return self.fail(code, why);
        }
        self.text = progress.text();
        self.from_cache = progress.is_from_cache();
        if progress.is_truncated {
            self.status = Status::Truncated;
        }
        for note in &progress.notes {
            self.note(note);
        }
        self.glossary_applied = progress.terms.applied;
        self.glossary_missed = progress.terms.missed;
    }

    fn fail(&mut self, code: ErrorCode, why: String) {
        // A prompt that does not fit is a fault of the request, not of the engine.
        self.status =
            if code == ErrorCode::InvalidRequest { Status::Rejected } else { Status::Failed };
        self.error = Some(code);
        self.detail = why;
    }
}
