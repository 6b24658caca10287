//! One request that the inference thread works on.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::ticket::GroupState;
use crate::TokenId;
use crate::engine::EngineError;
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

    /// Chooses the tokens that follow from a step: one after the last known token, and one more after
    /// each guess that was right. Each is chosen as if it were alone, so the sampler sees what it would
    /// without guesses. `choose` takes a row of logits; none is asked for behind a wrong guess.
    /// `run` gets the tokens, those before a fault too, and is `None` when logits are not finite.
    pub(super) fn choose_run(
        &mut self,
        guesses: &[TokenId],
        run: &mut Option<Vec<TokenId>>,
        mut choose: impl FnMut(usize, &mut Sampler) -> Result<Option<TokenId>, EngineError>,
    ) -> Result<(), EngineError> {
        for (index, guess) in guesses.iter().map(Some).chain([None]).enumerate() {
            let chosen = choose(index, &mut self.sampler)?;
            self.first_token.get_or_insert_with(Instant::now);
            let (Some(token), Some(tokens)) = (chosen, run.as_mut()) else {
                *run = None;
                break;
            };
            tokens.push(token);
            if guess != Some(&token) {
                break;
            }
        }
        Ok(())
    }

    /// Whether a token that was chosen, and then lost with its step, would change the next choice.
    pub(super) fn remembers_choices(&self) -> bool {
        self.sampler.remembers_choices()
    }

    /// How many logits of a shortlist are kept at most; `None` when it cannot decide.
    pub(super) fn shortlist_kept(&self) -> Option<usize> {
        self.sampler.shortlist_kept()
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
