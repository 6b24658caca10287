//! What a caller asks of the inference thread, and what it answers.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::TokenId;
use crate::sampling::{SamplingError, SamplingParams};

/// A prompt to complete.
#[derive(Debug, Clone)]
pub struct GenerateRequest {
    /// The prompt, special tokens included; never empty.
    pub prompt: Vec<TokenId>,
    /// Most tokens to produce, at least 1; cut down to what the context leaves.
    pub new_tokens_max: usize,
    /// How to choose tokens.
    pub sampling: SamplingParams,
    /// Tokens that end the answer; they are not part of it. A first one that repeats the prompt's
    /// last token does not end it: some prompts make the model write its header once more.
    pub stop: Arc<[TokenId]>,
    /// 0 to 255; higher runs first.
    pub priority: u8,
    /// When the answer is of no use any more.
    pub deadline: Option<Instant>,
    /// What the answer may turn out to be, such as that to nearly the same prompt; may be empty. It
    /// makes the answer come in fewer steps and never changes it. Only greedy decoding uses it,
    /// and only its first [`DRAFT_TOKENS_MAX`](crate::scheduler::DRAFT_TOKENS_MAX) tokens.
    pub draft: Vec<TokenId>,
}

/// Why a request was not taken; nothing was started.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum SubmitError {
    /// The group does not fit the queue.
    #[error("the queue is full: {waiting} requests wait, the limit is {limit}; try again later")]
    QueueFull {
        /// Requests waiting.
        waiting: usize,
        /// The bound.
        limit: usize,
    },
    /// The group is larger than the queue, so waiting would not help.
    #[error("a group of {requests} requests never fits the queue of {limit}; submit it in parts")]
    GroupTooLarge {
        /// Requests of the group.
        requests: usize,
        /// The bound.
        limit: usize,
    },
    /// The context leaves no room for an answer.
    #[error("the prompt has {tokens} tokens, the context holds at most {limit} and one of output")]
    PromptTooLong {
        /// Tokens of the prompt.
        tokens: usize,
        /// The bound.
        limit: usize,
    },
    /// A group without requests, or a prompt without tokens.
    #[error("{what} is empty")]
    Empty {
        /// `the group` or `a prompt`.
        what: &'static str,
    },
    /// A prompt or a draft has a token that the network does not know: tokenizer and network differ.
    #[error("token id {token} is outside the network's vocabulary of {vocab_size}")]
    TokenOutOfRange {
        /// The offending id.
        token: TokenId,
        /// Number of vocabulary entries.
        vocab_size: usize,
    },
    /// A sampling parameter is out of bounds.
    #[error(transparent)]
    Sampling(#[from] SamplingError),
    /// The inference thread has ended or is about to.
    #[error("the inference thread has stopped: {reason}")]
    Stopped {
        /// Why.
        reason: String,
    },
}

/// Why a request that was taken has no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GenerateError {
    /// The deadline passed, waiting or running.
    #[error("the deadline passed before the answer was complete")]
    DeadlineExceeded,
    /// The caller cancelled, dropped its ticket, or the thread was shut down.
    #[error("cancelled")]
    Cancelled,
    /// The engine failed.
    #[error("{detail}")]
    Engine {
        /// The error with its causes.
        detail: String,
    },
}

/// What ended an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FinishReason {
    /// The model, with a stop token.
    Stop,
    /// `new_tokens_max`, or the end of the context.
    Length,
}

/// A complete answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Completion {
    /// The tokens, without the stop token.
    pub tokens: Vec<TokenId>,
    /// Their text, without special tokens.
    pub text: String,
    /// What ended it.
    pub finish: FinishReason,
    /// Tokens of the prompt.
    pub tokens_in: usize,
    /// From submission to the first step that included it.
    pub queue: Duration,
    /// From that step to the end.
    pub inference: Duration,
    /// From submission to the first token.
    pub time_to_first_token: Duration,
}
