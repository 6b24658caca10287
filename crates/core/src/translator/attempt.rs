//! One piece of a text, asked for and, where a guard says so, asked for once again.
//!
//! [`ANSWERS_PER_PIECE_MAX`](crate::guard::ANSWERS_PER_PIECE_MAX) answers at most: the first; one to the
//! question without marks, where the model lost these; one more for the first fault that a guard finds.
//! Of the answers that count, the better one is kept.

use super::question::{Question, Read, Reading};
use crate::error::ErrorCode;
use crate::generate::{GenerateError, GeneratePrompt, Generated};
use crate::glossary::TermCheck;
use crate::guard::{Fault, GuardStats};

/// What is asked now for a piece.
pub(super) struct Attempt<'p> {
    pub(super) question: &'p Question,
    second: Option<Box<Second>>,
}

/// That it is asked because of a guard.
struct Second {
    prompt: GeneratePrompt,
    /// In words, how it is asked.
    how: String,
    first: Candidate,
}

impl Second {
    /// True when the first answer is a translation for all that is wrong with it.
    fn may_do_without(&self) -> bool {
        let severity = self.first.fault.map_or(0, Fault::severity);
        severity < Fault::Instruction.severity()
    }
}

/// An answer that could be taken.
pub(super) struct Candidate {
    pub(super) text: String,
    pub(super) notes: Vec<String>,
    pub(super) terms: TermCheck,
    pub(super) is_truncated: bool,
    fault: Option<Fault>,
    /// For the cache.
    pub(super) prompt: GeneratePrompt,
    pub(super) answer: Generated,
}

/// What became of an attempt.
pub(super) enum Outcome<'p> {
    /// The answer is of no use; this is to be asked instead. The flag: it is no guard that says so.
    Again(Attempt<'p>, bool),
    Text(Box<Candidate>),
    Failed(ErrorCode, String),
}

/// How an answer came.
pub(super) struct Came {
    pub(super) answer: Result<Generated, GenerateError>,
    /// It was ended because it repeated itself.
    pub(super) is_stopped: bool,
}

impl<'p> Attempt<'p> {
    pub(super) fn first(question: &'p Question) -> Self {
        Self { question, second: None }
    }

    pub(super) fn prompt(&self) -> &GeneratePrompt {
        self.second.as_ref().map_or(&self.question.prompt, |second| &second.prompt)
    }

    /// Reads the answer. `enforce` asks again for terms that are missing.
    pub(super) fn read(self, came: Came, enforce: bool, stats: &mut GuardStats) -> Outcome<'p> {
        let generated = match (came.answer, &self.second) {
            (Ok(generated), _) => generated,
            (Err(error), Some(_)) if error != GenerateError::Cancelled => {
                return self.first_kept(&error.to_string(), stats);
            }
            (Err(error), _) => return Outcome::Failed(ErrorCode::from(&error), error.to_string()),
        };
        let read = match self.question.read(&generated.text) {
            Reading::Text(read) => read,
            // Better what the first answer lacks than a text without its format.
            Reading::Again(_) if self.second.as_deref().is_some_and(Second::may_do_without) => {
                return self.first_kept("the model lost its marks", stats);
            }
            Reading::Again(question) => {
                let prompt = question.prompt.clone();
                let second = self.second.map(|second| Box::new(Second { prompt, ..*second }));
                return Outcome::Again(Self { question, second }, true);
            }
            Reading::Empty if self.second.is_some() => {
                return self.first_kept("the answer was empty", stats);
            }
            Reading::Empty => {
                let why = "the model gave an empty answer".to_owned();
                return Outcome::Failed(ErrorCode::Failed, why);
            }
        };
        stats.leaks += read.n_leaked as u64;
        stats.wrappers += read.n_wrappers as u64;
        let candidate = self.candidate(read, generated, came.is_stopped, enforce);
        if let Some(fault) = candidate.fault {
            stats.count(fault);
        }
        self.decide(candidate, stats)
    }

    fn candidate(
        &self,
        read: Read,
        answer: Generated,
        is_stopped: bool,
        enforce: bool,
    ) -> Candidate {
        let terms = self.question.terms_in(&read.text);
        let must_use = enforce && !terms.missed.is_empty();
        let fault = read
            .fault
            .or(is_stopped.then_some(Fault::Loop))
            .or(must_use.then_some(Fault::Terms(terms.missed.len())));
        let mut notes: Vec<String> = read.note.into_iter().collect();
        if read.n_wrappers > 0 {
            notes.push("what the model wrote around the translation was taken away".to_owned());
        }
        let is_truncated = answer.truncated && fault != Some(Fault::Loop);
        if is_truncated {
            notes.push(format!("ended after {} tokens, the limit", answer.tokens_out));
        }
        let prompt = self.prompt().clone();
        Candidate { text: read.text, notes, terms, is_truncated, fault, prompt, answer }
    }

    fn decide(self, candidate: Candidate, stats: &mut GuardStats) -> Outcome<'p> {
        let question = self.question;
        let Some(second) = self.second else {
            let again =
                candidate.fault.and_then(|fault| question.again(fault, &candidate.terms.missed));
            let Some((prompt, how)) = again else {
                return finish(question, candidate, "", stats);
            };
            stats.retries += 1;
            let second = Some(Box::new(Second { prompt, how, first: candidate }));
            return Outcome::Again(Self { question, second }, false);
        };
        let Second { how, first, .. } = *second;
        if badness(&candidate) >= badness(&first) {
            let how = format!("; asked again {how} without a better answer");
            return finish(question, first, &how, stats);
        }
        stats.improved += 1;
        let mut better = candidate;
        if better.fault.is_none()
            && let Some(fault) = first.fault
        {
            better.notes.insert(0, format!("{fault}, so it was asked for again {how}"));
        }
        finish(question, better, &format!("; it was asked for again {how}"), stats)
    }

    /// Takes the first answer because there is no second one.
    fn first_kept(self, why: &str, stats: &mut GuardStats) -> Outcome<'p> {
        let Some(second) = self.second else {
            return Outcome::Failed(ErrorCode::Failed, why.to_owned());
        };
        let how = format!("; asked again {}: {why}", second.how);
        finish(self.question, second.first, &how, stats)
    }
}

/// What is worse about an answer than about another.
fn badness(candidate: &Candidate) -> (u8, usize, bool) {
    let severity = candidate.fault.map_or(0, Fault::severity);
    (severity, candidate.terms.missed.len(), candidate.is_truncated)
}

/// Takes an answer for good, with what is wrong with it; `how` says what was done about that.
fn finish<'p>(
    question: &Question,
    mut chosen: Candidate,
    how: &str,
    stats: &mut GuardStats,
) -> Outcome<'p> {
    if let Some(fault) = chosen.fault {
        if fault == Fault::Loop {
            let cut = question.without_loops(&chosen.text);
            if !cut.chars().any(char::is_alphanumeric) {
                stats.refused += 1;
                return Outcome::Failed(ErrorCode::Failed, format!("{fault}{how}"));
            }
            chosen.text = cut;
            chosen.terms = question.terms_in(&chosen.text);
            chosen.is_truncated = true;
            // Not to be given again.
            chosen.answer.truncated = true;
            chosen.notes.insert(0, format!("{fault} and was cut{how}"));
        } else if fault.is_useless() {
            stats.refused += 1;
            return Outcome::Failed(ErrorCode::Failed, format!("{fault}{how}"));
        } else {
            chosen.notes.insert(0, format!("{fault}{how}"));
        }
    }
    if !chosen.is_truncated {
        let lacking = question.lacking(&chosen.text);
        stats.differences += u64::from(!lacking.is_empty());
        chosen.notes.extend(lacking);
    }
    Outcome::Text(Box::new(chosen))
}
