//! What a model gets wrong beside the translation, how it is noticed, and what it is called.
//!
//! Everything here is a function of an answer and of what was asked; the
//! [translator](crate::translator) asks again, cuts or refuses. docs/guards.md says what users see.
//!
//! | what | module | what is done |
//! |---|---|---|
//! | special tokens in the text | [`leak`] | taken away |
//! | "Translation:", "(Note: ...)", quotation marks | [`answer`] | taken away where the text has none |
//! | the same words without end | [`repetition`] | ended at once, asked again, else cut |
//! | the wrong script, the text unchanged | [`script`] | asked again, else refused or flagged |
//! | the instruction, far too long or short | [`answer`] | asked again, else flagged |
//! | numbers and codes that are gone | [`numbers`], [`names`] | flagged |

pub mod answer;
pub mod leak;
pub mod names;
pub mod numbers;
pub mod repetition;
pub mod script;

use std::fmt;

use crate::glossary::Term;
use crate::language::Language;
use answer::{Length, Wrapper};
use repetition::Repeats;
use script::WrongScript;

/// Most answers that one piece of a text is asked for: the first, one without marks where these were lost,
/// and one more for whatever a guard found.
pub const ANSWERS_PER_PIECE_MAX: usize = 3;

/// Whether answers are watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Guards {
    /// All that the [module](self) lists.
    #[default]
    On,
    /// Only special tokens are taken away: for an engine that is not meant to translate.
    Off,
}

/// What an answer is compared with.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// The text to translate.
    pub text: &'a str,
    /// Its language, if known.
    pub source: Option<Language>,
    /// The language asked for.
    pub target: Language,
    /// Terms that were sent.
    pub terms: &'a [Term],
}

/// An answer without what stood around it, and what is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// What is left.
    pub text: String,
    /// The worst thing that is wrong with it.
    pub fault: Option<Fault>,
    /// What stood around it.
    pub wrappers: Vec<Wrapper>,
}

/// Why an answer is asked for again; the later, the worse.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// Terms that were sent are not used; only where they must be.
    Terms(usize),
    /// Far shorter than the text.
    TooShort,
    /// Far longer than the text.
    TooLong,
    /// In the other Chinese writing, or Japanese without kana.
    Variant(WrongScript),
    /// It holds the prompt's instruction.
    Instruction,
    /// It is the text.
    Echo,
    /// In letters of another script.
    Script(WrongScript),
    /// It repeats itself without end.
    Loop,
}

impl Fault {
    /// Higher is worse.
    pub fn severity(self) -> u8 {
        match self {
            Self::Terms(_) => 1,
            Self::TooShort | Self::TooLong => 2,
            Self::Variant(_) => 3,
            Self::Instruction => 4,
            Self::Echo => 5,
            Self::Script(_) => 6,
            Self::Loop => 7,
        }
    }

    /// True when the answer is no translation at all.
    pub fn is_useless(self) -> bool {
        matches!(self, Self::Script(WrongScript::Foreign { is_useless: true, .. }))
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Terms(n) => write!(f, "the answer lacks {n} of the terms"),
            Self::TooShort => write!(f, "the answer is far shorter than the text"),
            Self::TooLong => write!(f, "the answer is far longer than the text"),
            Self::Instruction => write!(f, "the answer repeats the instruction"),
            Self::Echo => write!(f, "the answer is the text unchanged"),
            Self::Loop => write!(f, "the answer repeats itself without end"),
            Self::Variant(wrong) | Self::Script(wrong) => match wrong {
                WrongScript::Foreign { letters, .. } => {
                    write!(f, "the answer is in {letters} letters")
                }
                WrongScript::Variant { is_in } => {
                    write!(f, "the answer is in {is_in} characters")
                }
                WrongScript::NoKana => write!(f, "the answer has no kana"),
            },
        }
    }
}

/// Takes away what stands around an answer whose special tokens are gone, and says what is wrong with the
/// rest.
pub fn read(answer: &str, asked: &Asked<'_>) -> Report {
    let (text, wrappers) = answer::unwrap(answer, asked.text);
    let fault = fault(&text, asked);
    Report { text, fault, wrappers }
}

fn fault(answer: &str, asked: &Asked<'_>) -> Option<Fault> {
    if repetition::anywhere(answer, Repeats::of(asked.text)).is_some() {
        return Some(Fault::Loop);
    }
    let wrong = script::check(answer, asked.text, asked.terms, asked.target);
    if let Some(wrong @ WrongScript::Foreign { .. }) = wrong {
        return Some(Fault::Script(wrong));
    }
    if script::is_echo(answer, asked.text, asked.source, asked.target) {
        return Some(Fault::Echo);
    }
    if answer::has_instruction(answer, asked.text) {
        return Some(Fault::Instruction);
    }
    if let Some(wrong) = wrong {
        return Some(Fault::Variant(wrong));
    }
    match answer::length(answer, asked.text) {
        Length::Fits => None,
        Length::TooLong => Some(Fault::TooLong),
        Length::TooShort => Some(Fault::TooShort),
    }
}

/// What a translation lacks of its text, in words; nothing is changed for it.
pub fn lacks(translation: &str, text: &str, target: Language) -> Vec<String> {
    let say = |what: &str, mut missing: Vec<String>, shown_max: usize| {
        let n = missing.len();
        missing.truncate(shown_max);
        let more = n - missing.len();
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        let are = if n == 1 { "is" } else { "are" };
        (n > 0).then(|| format!("{what} differ: {}{more} {are} missing", missing.join(", ")))
    };
    let numbers = say("numbers", numbers::missing(text, translation), numbers::SHOWN_MAX);
    let names = say("names", names::missing(text, translation, target), names::SHOWN_MAX);
    numbers.into_iter().chain(names).collect()
}

/// How often something was noticed, since the start. Answers that were given before count again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct GuardStats {
    /// Answers that repeated themselves without end.
    pub loops: u64,
    /// Answers in the wrong script or writing.
    pub wrong_script: u64,
    /// Answers that were the text.
    pub echoes: u64,
    /// Answers that held the instruction.
    pub instructions: u64,
    /// Answers far too long or too short.
    pub lengths: u64,
    /// Answers that lacked terms which must be used.
    pub terms: u64,
    /// Special tokens that were taken away.
    pub leaks: u64,
    /// Introductions, notes and quotation marks that were taken away.
    pub wrappers: u64,
    /// Translations whose numbers or codes differ.
    pub differences: u64,
    /// Questions that were asked again.
    pub retries: u64,
    /// Second answers that were better.
    pub improved: u64,
    /// Pieces without a usable answer.
    pub refused: u64,
}

impl GuardStats {
    pub(crate) fn count(&mut self, fault: Fault) {
        let counter = match fault {
            Fault::Loop => &mut self.loops,
            Fault::Script(_) | Fault::Variant(_) => &mut self.wrong_script,
            Fault::Echo => &mut self.echoes,
            Fault::Instruction => &mut self.instructions,
            Fault::TooLong | Fault::TooShort => &mut self.lengths,
            Fault::Terms(_) => &mut self.terms,
        };
        *counter += 1;
    }

    /// All that was wrong with answers, whatever became of it.
    pub fn faults(&self) -> u64 {
        self.loops + self.wrong_script + self.echoes + self.instructions + self.lengths + self.terms
    }
}

#[cfg(test)]
mod tests;
