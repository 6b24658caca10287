//! What can be wrong with a translation request.

use crate::generate::GenerateError;
use crate::glossary::GlossaryError;
use crate::language::UnknownLanguage;

/// Why a request, or one of its targets, was not answered, in the classes of `Translate.srv`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum ErrorCode {
    /// The request is not valid; nothing was translated.
    InvalidRequest = 1,
    /// A language is not supported.
    UnsupportedLanguage = 2,
    /// The queue is full.
    Overloaded = 3,
    /// The deadline passed.
    Timeout = 4,
    /// The engine could not answer.
    Failed = 6,
}

impl ErrorCode {
    /// The constant's name in `Translate.srv`.
    pub fn name(self) -> &'static str {
        match self {
            Self::InvalidRequest => "INVALID_REQUEST",
            Self::UnsupportedLanguage => "UNSUPPORTED_LANGUAGE",
            Self::Overloaded => "OVERLOADED",
            Self::Timeout => "TIMEOUT",
            Self::Failed => "FAILED",
        }
    }
}

impl From<&GenerateError> for ErrorCode {
    fn from(error: &GenerateError) -> Self {
        match error {
            GenerateError::Overloaded { .. } => Self::Overloaded,
            GenerateError::PromptTooLong { .. } => Self::InvalidRequest,
            GenerateError::DeadlineExceeded => Self::Timeout,
            GenerateError::Cancelled | GenerateError::Engine { .. } => Self::Failed,
        }
    }
}

/// Why a request is refused before anything is translated.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// A text is empty or only white space.
    #[error("{field} is empty")]
    Empty {
        /// `text`.
        field: &'static str,
    },
    /// A text is too long.
    #[error("{field} has {chars} characters, the limit is {limit}; send it in parts")]
    TooLong {
        /// `text` or `context`.
        field: &'static str,
        /// How many there are.
        chars: usize,
        /// The bound.
        limit: usize,
    },
    /// A text holds NUL or another control character; line breaks and tabs are fine.
    #[error("{field} has the control character U+{:04X} at character {position}; remove it", *found as u32)]
    ControlCharacter {
        /// `text` or `context`.
        field: &'static str,
        /// The character.
        found: char,
        /// Its index in characters, from 0, in the text as given.
        position: usize,
    },
    /// No target language is given, and there is no default.
    #[error("no target language given; name 1 to {limit}")]
    NoTarget {
        /// The bound.
        limit: usize,
    },
    /// Too many targets.
    #[error("{count} target languages given, the limit is {limit}")]
    TooManyTargets {
        /// How many there are.
        count: usize,
        /// The bound.
        limit: usize,
    },
    /// A target is given twice.
    #[error("target language {index} '{given}' is given twice")]
    DuplicateTarget {
        /// Which one, from 0.
        index: usize,
        /// What was given.
        given: String,
    },
    /// A target is not known.
    #[error("target language {index} {unknown}")]
    UnknownTarget {
        /// Which one, from 0.
        index: usize,
        /// What was given.
        unknown: UnknownLanguage,
    },
    /// The source is not known.
    #[error("source language {0}; or 'auto'")]
    UnknownSource(UnknownLanguage),
    /// The inline terms or the name of the glossary are wrong.
    #[error(transparent)]
    Glossary(#[from] GlossaryError),
    /// Too many inline terms.
    #[error("{count} inline terms given, the limit is {limit}")]
    TooManyInlineTerms {
        /// How many there are.
        count: usize,
        /// The bound.
        limit: usize,
    },
    /// A number that stands for a formality is none.
    #[error("formality {given} is not known; 0 is default, 1 less, 2 more")]
    UnknownFormality {
        /// What was given.
        given: u8,
    },
    /// The timeout is negative, not a number, or too long.
    #[error("timeout of {given_s} s is not allowed; 0 (none) to {limit_s} s")]
    Timeout {
        /// What was given.
        given_s: f32,
        /// The bound.
        limit_s: f32,
    },
}

impl RequestError {
    /// The class of this error; stable.
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::UnknownTarget { .. } | Self::UnknownSource(_) => ErrorCode::UnsupportedLanguage,
            _ => ErrorCode::InvalidRequest,
        }
    }
}
