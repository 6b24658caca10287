//! The engine trait: token ids, slots and positions in, logits out.
//!
//! Every engine (CPU here, CUDA and TensorRT in their own crates, the scripted one for tests)
//! implements [`Engine`]. No tensor type crosses this boundary, and virtual dispatch happens once
//! a step, so the abstraction costs nothing that can be measured.

pub mod cpu;
mod report;
pub mod scripted;

pub use self::report::{EngineReport, KernelReport, MemoryReport, MemorySpeed};
use crate::TokenId;

/// One KV-cache slot of an engine, `0..EngineSpec::slots`. A sequence lives in one slot from its
/// first token to its last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Slot(pub u16);

/// What an engine can do; fixed for its lifetime.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineSpec {
    /// Short name with the arithmetic, as logs and `hymt bench` print it, for example `cpu-int8`.
    pub name: String,
    /// Number of entries in one row of logits.
    pub vocab_size: usize,
    /// How many sequences can be in flight at once.
    pub slots: usize,
    /// Longest sequence, prompt and output together, that one slot holds. Tokens.
    pub context_tokens_max: usize,
    /// Most tokens, over all rows of a batch, that one [`Engine::step`] accepts.
    pub step_tokens_max: usize,
}

impl EngineSpec {
    /// Checks what every engine must before a step; `held` tells how many tokens a slot holds.
    ///
    /// # Errors
    /// [`EngineError::InvalidBatch`] or [`EngineError::TokenOutOfRange`].
    pub fn check_batch(
        &self,
        batch: &[BatchRow<'_>],
        held: impl Fn(usize) -> usize,
    ) -> Result<(), EngineError> {
        let invalid = |detail: String| Err(EngineError::InvalidBatch { detail });
        let (mut used, mut n_tokens) = (vec![false; self.slots], 0);
        for BatchRow { slot: Slot(slot), position, tokens, .. } in batch {
            let index = usize::from(*slot);
            match used.get_mut(index) {
                None => return invalid(format!("slot {slot}; there are {}", self.slots)),
                Some(true) => return invalid(format!("slot {slot} is in the batch twice")),
                Some(used) => *used = true,
            }
            if tokens.is_empty() {
                return invalid(format!("no tokens for slot {slot}"));
            }
            let held = held(index);
            if *position > held {
                return invalid(format!("position {position} in slot {slot}, which holds {held}"));
            }
            let max = self.context_tokens_max;
            if tokens.len() > max - position {
                let end = position.saturating_add(tokens.len());
                return invalid(format!("slot {slot} would hold {end} tokens; at most {max}"));
            }
            n_tokens += tokens.len();
        }
        if n_tokens > self.step_tokens_max {
            let max = self.step_tokens_max;
            return invalid(format!("{n_tokens} tokens in one step; at most {max}"));
        }
        let vocab_size = self.vocab_size;
        match batch.iter().flat_map(|row| row.tokens).find(|id| **id as usize >= vocab_size) {
            Some(&token) => Err(EngineError::TokenOutOfRange { token, vocab_size }),
            None => Ok(()),
        }
    }
}

/// Which logits of a row the caller wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogitsWanted {
    /// None: a prefill chunk that is not the last one.
    None,
    /// Those after the row's last token.
    Last,
    /// Those after each of the row's last tokens, this many: the end of a prompt and a draft to be
    /// verified. More than the row has means all of them.
    Tail(usize),
    /// Those after every token of the row (`hymt inspect --logits`).
    All,
}

/// New tokens of one sequence: a prefill chunk of any length, or one token of a decode step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchRow<'a> {
    /// The slot that holds the sequence.
    pub slot: Slot,
    /// Position of `tokens[0]` in the sequence. It must not exceed the number of tokens the slot
    /// holds; when it is smaller, the slot is first cut back to `position` tokens, so `0` starts a
    /// new sequence and a rejected draft costs no extra call.
    pub position: usize,
    /// The tokens to append; never empty.
    pub tokens: &'a [TokenId],
    /// Which logits to write.
    pub logits: LogitsWanted,
}

impl BatchRow<'_> {
    /// How many rows of logits this batch row yields.
    pub fn logits_rows(&self) -> usize {
        match self.logits {
            LogitsWanted::None => 0,
            LogitsWanted::Last => 1,
            LogitsWanted::Tail(n) => n.min(self.tokens.len()),
            LogitsWanted::All => self.tokens.len(),
        }
    }
}

/// The best of one row of logits.
#[derive(Debug, Clone, PartialEq)]
pub struct Shortlist {
    /// Tokens and their logits, in no order.
    pub entries: Vec<(TokenId, f32)>,
    /// No token outside `entries` has a larger logit.
    pub bound: f32,
}

impl Shortlist {
    /// The `n` largest of a row of logits, and of equals the lowest ids.
    pub fn best_of(logits: &[f32], n: usize) -> Self {
        let mut entries: Vec<_> = (0..).zip(logits.iter().copied()).collect();
        entries.sort_unstable_by(|a, b: &(TokenId, f32)| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        let bound = entries.get(n).map_or(f32::NEG_INFINITY, |(_, logit)| *logit);
        entries.truncate(n);
        Self { entries, bound }
    }
}

/// A network that runs batches of sequences step by step and owns their KV cache.
///
/// `&mut self`: exactly one thread drives an engine. `Send`, not `Sync`.
pub trait Engine: Send {
    /// What this engine is and what it can hold.
    fn spec(&self) -> &EngineSpec;

    /// Runs one forward pass over `batch` (each slot at most once) and replaces the content of
    /// `logits` with the wanted rows, `[logits_rows, vocab_size]` row-major, in batch order.
    ///
    /// Rows of a batch do not influence each other: the result for a row is the same, to the bit,
    /// whatever else is in the batch and however its prompt was cut into chunks.
    ///
    /// # Errors
    /// On error the slots named in the batch hold nothing that may be used; other slots are
    /// untouched unless the error says [`EngineError::is_fatal`].
    fn step(&mut self, batch: &[BatchRow<'_>], logits: &mut Vec<f32>) -> Result<(), EngineError>;

    /// Like [`Self::step`], but the logits stay where they are and only the best of each wanted row
    /// of logits come back, for engines whose logits are far away: [`BatchRow::logits_rows`]
    /// shortlists for each row of the batch, in batch order and, within one row, in the order of its
    /// tokens. Whoever chooses keeps at most `kept` of a row's logits, and 0 where no row wants any: a list
    /// should have a few times as many, as a penalty moves some behind others. Returns false, and does
    /// nothing, when the engine has no such thing, or not for this batch; call `step` then.
    ///
    /// # Errors
    /// As [`Self::step`].
    fn step_shortlist(
        &mut self,
        _batch: &[BatchRow<'_>],
        _kept: usize,
        _shortlists: &mut Vec<Shortlist>,
    ) -> Result<bool, EngineError> {
        Ok(false)
    }

    /// Replaces the content of `logits` with one whole row of logits of the last
    /// [`Self::step_shortlist`], for when its shortlist does not decide. `row` counts like the
    /// shortlists do: it is the index among the rows of logits that were wanted, so neither rows of
    /// the batch that wanted none nor tokens whose logits nobody wanted are counted.
    ///
    /// # Errors
    /// When there are none, or the device fails.
    fn logits_of(&mut self, row: usize, _logits: &mut Vec<f32>) -> Result<(), EngineError> {
        let detail = format!("logits of row {row} asked for, but this engine keeps none");
        Err(EngineError::InvalidBatch { detail })
    }

    /// Tokens of a whole step up to which one token more costs little. Guesses of a draft fill a step
    /// up to there and no further; a step that is larger anyway takes only those that are likely right.
    fn cheap_step_tokens(&self) -> usize {
        usize::MAX
    }

    /// Forgets a slot's sequence.
    fn release(&mut self, slot: Slot);

    /// What the engine can say of its memory and its start.
    ///
    /// # Errors
    /// When the device fails.
    fn report(&self) -> Result<EngineReport, EngineError> {
        Ok(EngineReport::default())
    }

    /// Measures the memory that the weights lie in. It takes some of it, and up to seconds.
    ///
    /// # Errors
    /// When the device fails, or memory is short.
    fn memory_speed(&self) -> Result<MemorySpeed, EngineError> {
        Ok(MemorySpeed::default())
    }
}

/// Why a step failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EngineError {
    /// The caller broke a rule of [`BatchRow`].
    #[error("invalid batch: {detail}")]
    InvalidBatch {
        /// Which rule, with the offending value and the bound.
        detail: String,
    },
    /// A token id outside the vocabulary.
    #[error("token id {token} is outside the vocabulary of {vocab_size}")]
    TokenOutOfRange {
        /// The offending id.
        token: TokenId,
        /// Number of vocabulary entries.
        vocab_size: usize,
    },
    /// There is no memory for what the batch would keep; nothing was run, and the engine can go on.
    #[error("engine '{engine}' has no memory for this step")]
    OutOfMemory {
        /// Name of the engine.
        engine: String,
        /// What was asked for and what there is.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The device or its library failed; the engine must not be used again.
    #[error("engine '{engine}' failed")]
    Device {
        /// Name of the engine.
        engine: String,
        /// What the device said.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl EngineError {
    /// True when the engine cannot be used any more.
    pub fn is_fatal(&self) -> bool {
        matches!(self, Self::Device { .. })
    }
}
