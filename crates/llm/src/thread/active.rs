//! One request that the inference thread works on.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::ticket::GroupState;
use crate::TokenId;
use crate::engine::Shortlist;
use crate::request::{Completion, FinishReason, GenerateError};
use crate::sampling::Sampler;
use crate::tokenizer::{DecodeStream, Tokenizer};

/// What the thread keeps for a request beside what the scheduler knows.
pub(super) struct Active {
    sampler: Sampler,
    stream: DecodeStream,
    tokens: Vec<TokenId>,
    text: String,
    /// The caller's side, and which of its requests this is.
    place: (Arc<GroupState>, usize),
    tokens_in: usize,
    submitted: Instant,
    /// When its first step began.
    pub(super) started: Option<Instant>,
    first_token: Option<Instant>,
    /// Whether a step that ended its engine has been tried again.
    was_retried: bool,
}

impl Active {
    pub(super) fn new(
        sampler: Sampler,
        tokenizer: Arc<Tokenizer>,
        place: (Arc<GroupState>, usize),
        tokens_in: usize,
        submitted: Instant,
    ) -> Self {
        Self {
            sampler,
            stream: DecodeStream::new(tokenizer),
            tokens: Vec::new(),
            text: String::new(),
            place,
            tokens_in,
            submitted,
            started: None,
            first_token: None,
            was_retried: false,
        }
    }

    /// True once: whether the step that failed may be tried again. It may be this request that breaks
    /// engines.
    pub(super) fn take_retry(&mut self) -> bool {
        !std::mem::replace(&mut self.was_retried, true)
    }

    pub(super) fn choose(&mut self, logits: &[f32]) -> TokenId {
        self.first_token.get_or_insert_with(Instant::now);
        self.sampler.sample(logits)
    }

    /// The tokens that follow from `[guesses + 1, vocab]` logits: one after the last known token, and
    /// one more after each guess that was right. Each is chosen as if it were alone, so the sampler
    /// sees what it would without guesses. `None` when the logits that decide are not finite.
    pub(super) fn choose_run(
        &mut self,
        guesses: &[TokenId],
        logits: &[f32],
        vocab_size: usize,
    ) -> Option<Vec<TokenId>> {
        let mut run = Vec::with_capacity(1);
        for (index, logits) in logits.chunks_exact(vocab_size).enumerate() {
            let token = self.choose(logits);
            // The sampler avoids what is not a number, so this one means that there was nothing else.
            logits.get(token as usize).filter(|logit| logit.is_finite())?;
            run.push(token);
            if guesses.get(index) != Some(&token) {
                break;
            }
        }
        Some(run)
    }

    /// Whether a shortlist can decide.
    pub(super) fn takes_shortlist(&self) -> bool {
        self.sampler.takes_shortlist()
    }

    /// The next token, when the shortlist decides it.
    pub(super) fn choose_shortlist(&mut self, list: &Shortlist) -> Option<TokenId> {
        self.first_token.get_or_insert_with(Instant::now);
        self.sampler.sample_shortlist(list)
    }

    /// Takes a token of the answer and tells the caller about the text it made certain.
    pub(super) fn append(&mut self, token: TokenId) {
        self.tokens.push(token);
        if let Some(piece) = self.stream.push(token) {
            self.tell(&piece);
        }
    }

    /// The complete answer; [`Self::answer`] hands it over.
    pub(super) fn complete(&mut self, finish: FinishReason) -> Completion {
        if let Some(piece) = self.stream.finish() {
            self.tell(&piece);
        }
        let now = Instant::now();
        let started = self.started.unwrap_or(now);
        let first_token = self.first_token.unwrap_or(now);
        Completion {
            tokens: std::mem::take(&mut self.tokens),
            text: std::mem::take(&mut self.text),
            finish,
            tokens_in: self.tokens_in,
            queue: started.saturating_duration_since(self.submitted),
            inference: now.saturating_duration_since(started),
            time_to_first_token: first_token.saturating_duration_since(self.submitted),
        }
    }

    /// Tells the caller how it ended.
    pub(super) fn answer(self, outcome: Result<Completion, GenerateError>) {
        let (group, index) = self.place;
        group.end(index, outcome);
    }

    fn tell(&mut self, piece: &str) {
        self.text.push_str(piece);
        let (group, index) = &self.place;
        group.text(*index, piece);
    }
}

/// Total time of a completion.
pub(super) fn total(completion: &Completion) -> Duration {
    completion.queue + completion.inference
}
