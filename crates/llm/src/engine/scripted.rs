//! An engine without a network: a script decides each token.
//!
//! `engine: scripted` runs the ROS plumbing without a model ([`ScriptedEngine::echo`]: the answer
//! is the text that was to be translated; it translates nothing). Tests of the layers above use it
//! with scripts, delays and faults of their own, and read which batches it saw.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::{BatchRow, Engine, EngineError, EngineSpec, Shortlist, Slot};
use crate::TokenId;
use crate::tokenizer::Tokenizer;

/// Steps that the record of batches keeps.
pub const RECORDED_STEPS_MAX: usize = 4096;

/// Chooses the next token, given everything the slot holds.
pub type Script = Box<dyn FnMut(&[TokenId]) -> TokenId + Send>;

/// What goes wrong, and in which step, counted from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The step fails; the engine can go on.
    Error(usize),
    /// The step fails and the engine is broken.
    Fatal(usize),
    /// The step panics.
    Panic(usize),
}

/// One row of a recorded batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordedRow {
    /// Its slot.
    pub slot: Slot,
    /// Position of its first token.
    pub position: usize,
    /// How many tokens it had.
    pub n_tokens: usize,
}

/// The batches an engine has seen, oldest first, [`RECORDED_STEPS_MAX`] at most.
#[derive(Debug, Clone, Default)]
pub struct BatchRecord(Arc<Mutex<Vec<Vec<RecordedRow>>>>);

impl BatchRecord {
    /// A copy of the record.
    pub fn batches(&self) -> Vec<Vec<RecordedRow>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn push(&self, batch: &[BatchRow<'_>]) {
        let mut batches = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if batches.len() < RECORDED_STEPS_MAX {
            let row = |row: &BatchRow<'_>| RecordedRow {
                slot: row.slot,
                position: row.position,
                n_tokens: row.tokens.len(),
            };
            batches.push(batch.iter().map(row).collect());
        }
    }
}

/// An engine whose answers come from a script.
pub struct ScriptedEngine {
    spec: EngineSpec,
    script: Script,
    /// What each slot holds.
    slots: Vec<Vec<TokenId>>,
    delay: Duration,
    fault: Option<Fault>,
    steps: usize,
    record: BatchRecord,
    /// How long its shortlists are, if it gives any.
    shortlist_len: Option<usize>,
    /// All logits of the last shortlists.
    kept: Vec<f32>,
}

impl std::fmt::Debug for ScriptedEngine {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("ScriptedEngine").field("spec", &self.spec).finish_non_exhaustive()
    }
}

impl ScriptedEngine {
    /// An engine of `slots` slots that asks `script` for each token.
    pub fn new(vocab_size: usize, slots: usize, script: Script) -> Self {
        let spec = EngineSpec {
            name: "scripted".to_owned(),
            vocab_size,
            slots,
            context_tokens_max: 8192,
            step_tokens_max: 1024,
        };
        Self {
            slots: vec![Vec::new(); slots],
            spec,
            script,
            delay: Duration::ZERO,
            fault: None,
            steps: 0,
            record: BatchRecord::default(),
            shortlist_len: None,
            kept: Vec::new(),
        }
    }

    /// Answers with the text that was to be translated: the user turn after its last blank line,
    /// else after its last line break. It needs a tokenizer that never joins a line break with
    /// what stands before it, such as [`Tokenizer::bytes`].
    pub fn echo(tokenizer: &Tokenizer, stop: TokenId) -> Self {
        let tokenizer_vocab = tokenizer.vocab_size();
        let is_special: Vec<bool> =
            (0..tokenizer_vocab as TokenId).map(|id| tokenizer.is_special(id)).collect();
        let breaks = ["\n\n", "\n"].map(|text| tokenizer.encode(text).unwrap_or_default());
        let script = move |held: &[TokenId]| {
            let special = |id: &TokenId| is_special.get(*id as usize).copied().unwrap_or(false);
            // The last special token opens the answer; the one before it opened the user turn.
            let end = held.iter().rposition(special).unwrap_or(0);
            let start = held[..end].iter().rposition(special).map_or(0, |place| place + 1);
            let turn = &held[start..end];
            let after = |line_break: &Vec<TokenId>| {
                let place = turn.windows(line_break.len().max(1)).rposition(|w| w == line_break)?;
                Some(&turn[place + line_break.len()..])
            };
            let text = breaks.iter().find_map(after).unwrap_or(turn);
            text.get(held.len() - end - 1).copied().unwrap_or(stop)
        };
        Self::new(tokenizer_vocab, 8, Box::new(script))
    }

    /// Makes every step take this long.
    #[must_use]
    pub fn with_delay(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }

    /// Makes one step go wrong.
    #[must_use]
    pub fn with_fault(mut self, fault: Fault) -> Self {
        self.fault = Some(fault);
        self
    }

    /// Gives shortlists of `n` tokens, for every batch. The scripted token stands out by itself, so one
    /// decides what is greedy; an empty one decides nothing.
    #[must_use]
    pub fn with_shortlists(mut self, n: usize) -> Self {
        self.shortlist_len = Some(n);
        self
    }

    /// The record of batches; it goes on growing.
    pub fn record(&self) -> BatchRecord {
        self.record.clone()
    }

    fn fail_if_due(&mut self) -> Result<(), EngineError> {
        let step = self.steps;
        self.steps += 1;
        match self.fault {
            Some(Fault::Error(at)) if at == step => {
                Err(EngineError::InvalidBatch { detail: format!("scripted fault in step {step}") })
            }
            Some(Fault::Fatal(at)) if at == step => Err(EngineError::Device {
                engine: self.spec.name.clone(),
                source: format!("scripted fatal fault in step {step}").into(),
            }),
            Some(Fault::Panic(at)) if at == step => panic!("scripted panic in step {step}"),
            _ => Ok(()),
        }
    }
}

impl Engine for ScriptedEngine {
    fn spec(&self) -> &EngineSpec {
        &self.spec
    }

    fn step(&mut self, batch: &[BatchRow<'_>], logits: &mut Vec<f32>) -> Result<(), EngineError> {
        logits.clear();
        self.record.push(batch);
        std::thread::sleep(self.delay);
        self.fail_if_due()?;
        self.spec.check_batch(batch, |slot| self.slots[slot].len())?;
        for row in batch {
            let held = &mut self.slots[usize::from(row.slot.0)];
            held.truncate(row.position);
            let first_wanted = row.tokens.len() - row.logits_rows();
            for (index, token) in row.tokens.iter().enumerate() {
                held.push(*token);
                if index >= first_wanted {
                    let start = logits.len();
                    logits.resize(start + self.spec.vocab_size, 0.0);
                    logits[start + (self.script)(held) as usize] = 1.0;
                }
            }
        }
        Ok(())
    }

    fn step_shortlist(
        &mut self,
        batch: &[BatchRow<'_>],
        _kept: usize,
        shortlists: &mut Vec<Shortlist>,
    ) -> Result<bool, EngineError> {
        let Some(n) = self.shortlist_len else { return Ok(false) };
        let mut logits = std::mem::take(&mut self.kept);
        self.step(batch, &mut logits)?;
        let rows = logits.chunks_exact(self.spec.vocab_size);
        *shortlists = rows.map(|row| Shortlist::best_of(row, n)).collect();
        self.kept = logits;
        Ok(true)
    }

    fn logits_of(&mut self, row: usize, logits: &mut Vec<f32>) -> Result<(), EngineError> {
        let Some(kept) = self.kept.chunks_exact(self.spec.vocab_size).nth(row) else {
            let detail = format!("logits of row {row} asked for; the last step left none there");
            return Err(EngineError::InvalidBatch { detail });
        };
        logits.clear();
        logits.extend_from_slice(kept);
        Ok(())
    }

    fn release(&mut self, slot: Slot) {
        if let Some(held) = self.slots.get_mut(usize::from(slot.0)) {
            held.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chat::{ChatFormat, Opener};
    use crate::engine::LogitsWanted;
    use crate::testkit::conformance::run_conformance;

    #[test]
    fn it_keeps_the_rules_of_an_engine() {
        let script = |held: &[TokenId]| {
            held.iter().fold(7, |hash: u32, id| hash.wrapping_mul(31).wrapping_add(*id)) % 40
        };
        let engine = || ScriptedEngine::new(40, 4, Box::new(script));
        run_conformance(&mut || Box::new(engine()));
        for n in [0, 3, 40] {
            run_conformance(&mut || Box::new(engine().with_shortlists(n)));
        }
    }

    #[test]
    fn echo_answers_with_what_follows_the_last_break() {
        let tokenizer = Tokenizer::bytes();
        let chat = ChatFormat::detect(&tokenizer, Opener::default()).unwrap();
        let stop = chat.stop()[0];
        let cases = [
            ("Translate:\n\nguten Tag", "guten Tag"),
            ("Terms:\na -> b\n\nTranslate:\n\ntwo\nlines", "two\nlines"),
            ("Context\nTranslate:\n你好", "你好"),
            ("no break", "no break"),
            ("nothing\n\n", ""),
        ];
        for (user, expected) in cases {
            let mut engine = ScriptedEngine::echo(&tokenizer, stop);
            let (mut tokens, mut answer) = (chat.render(&tokenizer, None, user).unwrap(), vec![]);
            let (mut position, mut logits) = (0, Vec::new());
            loop {
                let new = &tokens[position..];
                let row =
                    BatchRow { slot: Slot(0), position, tokens: new, logits: LogitsWanted::Last };
                engine.step(&[row], &mut logits).unwrap();
                let token = logits.iter().position(|logit| *logit == 1.0).unwrap() as TokenId;
                if token == stop {
                    break;
                }
                position = tokens.len();
                tokens.push(token);
                answer.push(token);
            }
            assert_eq!(tokenizer.decode(&answer), expected, "{user:?}");
        }
    }
}
