//! The rows of logits that a step left, here or with the engine, and tokens from them: what the inference
//! thread does in each step, and what a benchmark of it times.

use crate::TokenId;
use crate::engine::{BatchRow, Engine, EngineError, Shortlist};
use crate::sampling::Sampler;

/// Rows of logits in the order of [`Engine::step`]; buffers are used again.
#[derive(Debug, Default)]
pub struct StepLogits {
    /// Whether there are shortlists, and the engine has the rows.
    are_short: bool,
    shortlists: Vec<Shortlist>,
    /// All rows, or the last one that a shortlist did not decide.
    logits: Vec<f32>,
}

impl StepLogits {
    /// Runs a batch, for shortlists if the engine gives them and samplers keep at most `shortlist_kept`
    /// of each ([`Sampler::shortlist_kept`]); `None` where some sampler needs all.
    ///
    /// # Errors
    /// Those of the engine; also when it gives another number of rows than was asked for.
    pub fn run(
        &mut self,
        engine: &mut dyn Engine,
        batch: &[BatchRow<'_>],
        shortlist_kept: Option<usize>,
    ) -> Result<(), EngineError> {
        self.are_short = match shortlist_kept {
            Some(kept) => engine.step_shortlist(batch, kept, &mut self.shortlists)?,
            None => false,
        };
        if !self.are_short {
            engine.step(batch, &mut self.logits)?;
        }
        let n_rows = batch.iter().map(BatchRow::logits_rows).sum();
        match (self.are_short, self.shortlists.len()) {
            (false, _) => require_rows(engine, &self.logits, n_rows),
            (true, n) if n == n_rows => Ok(()),
            (true, n) => Err(broken(engine, format!("gave {n} shortlists instead of {n_rows}"))),
        }
    }

    /// Chooses a token from row `index`, as from the whole row. `None` when that has no number to choose.
    /// The engine has made no other step since [`Self::run`].
    ///
    /// # Errors
    /// When a whole row is needed that the engine keeps, and it fails to give it.
    pub fn choose(
        &mut self,
        engine: &mut dyn Engine,
        index: usize,
        sampler: &mut Sampler,
    ) -> Result<Option<TokenId>, EngineError> {
        let vocab_size = engine.spec().vocab_size;
        let row = if self.are_short {
            // Its logits are finite.
            if let Some(token) = sampler.sample_shortlist(&self.shortlists[index]) {
                return Ok(Some(token));
            }
            engine.logits_of(index, &mut self.logits)?;
            require_rows(engine, &self.logits, 1)?;
            &self.logits
        } else {
            &self.logits[index * vocab_size..][..vocab_size]
        };
        let token = sampler.sample(row);
        // The sampler avoids what is not a number, so this one means that there was nothing else.
        Ok(row.get(token as usize).filter(|logit| logit.is_finite()).map(|_| token))
    }
}

fn require_rows(engine: &dyn Engine, logits: &[f32], n_rows: usize) -> Result<(), EngineError> {
    let (n, vocab_size) = (logits.len(), engine.spec().vocab_size);
    if n == n_rows * vocab_size {
        return Ok(());
    }
    Err(broken(engine, format!("gave {n} logits instead of {n_rows} x {vocab_size}")))
}

/// An engine that gives another number than was asked for is not to be trusted with anything else.
fn broken(engine: &dyn Engine, detail: String) -> EngineError {
    EngineError::Device { engine: engine.spec().name.clone(), source: detail.into() }
}
