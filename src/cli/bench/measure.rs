//! Repetitions of prompts and answers, as the inference thread would run them.

use std::time::Instant;

use hymt_llm::TokenId;
use hymt_llm::engine::{BatchRow, Engine, LogitsWanted, Slot};
use hymt_llm::sampling::{Sampler, SamplingParams};
use hymt_llm::thread::logits::StepLogits;

/// What is repeated.
#[derive(Debug, Clone, Copy)]
pub(in crate::cli) struct Work {
    /// Sequences at the same time.
    pub(in crate::cli) batch: usize,
    /// Tokens of each prompt.
    pub(in crate::cli) prompt_tokens: usize,
    /// Tokens of each answer; at least 2, as the first one comes out of the prefill.
    pub(in crate::cli) new_tokens: usize,
    /// Guesses that steps behind the prompts verify, for each sequence; 0 for no such steps.
    pub(in crate::cli) guesses: usize,
}

/// One repetition.
pub(in crate::cli) struct Timing {
    /// From nothing to each sequence's first token.
    pub(in crate::cli) prefill_ms: f64,
    /// From there to each sequence's last one.
    pub(in crate::cli) decode_ms: f64,
    /// As many steps as decoding took, each of which verifies guesses; 0 without.
    pub(in crate::cli) verify_ms: f64,
}

/// Where logits go, and who chooses from them: the best token always.
struct Chooser {
    samplers: Vec<Sampler>,
    logits: StepLogits,
}

impl Work {
    /// A token for `index`, spread over the vocabulary: the time does not depend on which ones.
    fn token(index: usize, vocab_size: usize) -> TokenId {
        (index * 7919 % vocab_size) as TokenId
    }

    /// Feeds the prompts of all sequences, then decodes them together.
    pub(in crate::cli) fn run(self, engine: &mut dyn Engine) -> anyhow::Result<Timing> {
        let vocab_size = engine.spec().vocab_size;
        let prompt = |sequence: usize| -> Vec<TokenId> {
            (0..self.prompt_tokens).map(|at| Self::token(sequence * 131 + at, vocab_size)).collect()
        };
        let prompts: Vec<Vec<TokenId>> = (0..self.batch).map(prompt).collect();
        let sampler = |prompt: &Vec<TokenId>| Sampler::new(SamplingParams::default(), prompt);
        let mut chooser = Chooser {
            samplers: prompts.iter().map(sampler).collect::<Result<_, _>>()?,
            logits: StepLogits::default(),
        };
        let started = Instant::now();
        let mut next = Vec::new();
        let chunk = (engine.spec().step_tokens_max / self.batch).max(1);
        for at in (0..self.prompt_tokens).step_by(chunk) {
            let end = (at + chunk).min(self.prompt_tokens);
            let parts: Vec<_> = prompts.iter().map(|prompt| &prompt[at..end]).collect();
            next = chooser.step(engine, at, &parts, end == self.prompt_tokens)?;
        }
        let prefill_ms = started.elapsed().as_secs_f64() * 1e3;
        let started = Instant::now();
        for step in 0..self.new_tokens - 1 {
            let last: Vec<_> = next.iter().map(std::slice::from_ref).collect();
            next = chooser.step(engine, self.prompt_tokens + step, &last, true)?;
        }
        let decode_ms = started.elapsed().as_secs_f64() * 1e3;
        let verify_ms = self.verify(engine)?;
        (0..self.batch as u16).for_each(|slot| engine.release(Slot(slot)));
        Ok(Timing { prefill_ms, decode_ms, verify_ms })
    }

    /// Steps right behind the prompts, each of which is cut off by the next.
    fn verify(self, engine: &mut dyn Engine) -> anyhow::Result<f64> {
        if self.guesses == 0 {
            return Ok(0.0);
        }
        let vocab_size = engine.spec().vocab_size;
        let tokens: Vec<TokenId> =
            (0..=self.guesses).map(|at| Self::token(at, vocab_size)).collect();
        let (position, logits) = (self.prompt_tokens, LogitsWanted::All);
        let row = |slot| BatchRow { slot: Slot(slot), position, tokens: &tokens, logits };
        let batch: Vec<_> = (0..self.batch as u16).map(row).collect();
        let mut logits = StepLogits::default();
        let mut sampler = Sampler::new(SamplingParams::default(), &[])?;
        let started = Instant::now();
        for _ in 0..self.new_tokens - 1 {
            logits.run(engine, &batch, sampler.shortlist_kept())?;
            for index in 0..self.batch * tokens.len() {
                logits.choose(engine, index, &mut sampler)?;
            }
        }
        Ok(started.elapsed().as_secs_f64() * 1e3)
    }
}

impl Chooser {
    /// Appends `tokens`, one slice for each sequence; their next tokens, where they are wanted.
    fn step(
        &mut self,
        engine: &mut dyn Engine,
        position: usize,
        tokens: &[&[TokenId]],
        are_wanted: bool,
    ) -> anyhow::Result<Vec<TokenId>> {
        let logits = if are_wanted { LogitsWanted::Last } else { LogitsWanted::None };
        let batch: Vec<_> = (0..)
            .zip(tokens)
            .map(|(slot, tokens)| BatchRow { slot: Slot(slot), position, tokens, logits })
            .collect();
        // All sequences are sampled in the same way.
        let kept = self.samplers[0].shortlist_kept().filter(|_| are_wanted);
        self.logits.run(engine, &batch, kept)?;
        if !are_wanted {
            return Ok(Vec::new());
        }
        let mut chosen = Vec::with_capacity(batch.len());
        for (row, sampler) in self.samplers.iter_mut().enumerate() {
            // Where there is no number to choose, any token takes the same time.
            chosen.push(self.logits.choose(engine, row, sampler)?.unwrap_or_default());
        }
        Ok(chosen)
    }
}
