//! The port to whatever completes prompts: a language model in production, a script in tests.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

/// One prompt to complete. `user` is the content of a single user turn; whoever implements
/// [`Generator`] wraps it in the model's chat template, so that text can never open a new turn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GeneratePrompt {
    /// Content of the user turn: instruction and text.
    pub user: String,
    /// Most tokens to produce for this prompt.
    pub new_tokens_max: usize,
    /// What the answer may turn out to be, such as that to nearly the same prompt. It can make the
    /// answer come sooner and must not change it.
    pub draft: Option<String>,
}

/// What holds for a whole batch of prompts.
#[derive(Debug, Clone)]
pub struct GenerateOptions {
    /// 0 (lowest) to 255; 128 is the default. Higher runs first.
    pub priority: u8,
    /// When the answer is of no use any more; work that has not ended by then fails with
    /// [`GenerateError::DeadlineExceeded`].
    pub deadline: Option<Instant>,
    /// Set by the caller when it has lost interest.
    pub cancel: CancelFlag,
}

impl Default for GenerateOptions {
    fn default() -> Self {
        Self { priority: 128, deadline: None, cancel: CancelFlag::default() }
    }
}

/// A flag that its clones share; once raised it stays raised.
#[derive(Debug, Clone, Default)]
pub struct CancelFlag(Arc<AtomicBool>);

impl CancelFlag {
    /// Raises the flag; the work ends at its next step.
    pub fn cancel(&self) {
        self.0.store(true, Ordering::Release);
    }

    /// True once [`Self::cancel`] was called on any clone.
    pub fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// A completed prompt.
#[derive(Debug, Clone, PartialEq)]
pub struct Generated {
    /// The text, without special tokens, not trimmed.
    pub text: String,
    /// Tokens of the prompt, chat template included.
    pub tokens_in: usize,
    /// Tokens produced, the stop token not counted.
    pub tokens_out: usize,
    /// True when `new_tokens_max` or [`Flow::Stop`] ended it, not the model.
    pub truncated: bool,
    /// Time between submission and the first step that included it. Milliseconds.
    pub queue_ms: f32,
    /// Time from that step to the last token. Milliseconds.
    pub inference_ms: f32,
}

/// Why a prompt was not completed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GenerateError {
    /// The queue is full; nothing was started.
    #[error("the queue is full ({waiting} waiting, limit {limit}); try again later")]
    Overloaded {
        /// Requests waiting.
        waiting: usize,
        /// The bound.
        limit: usize,
    },
    /// Prompt and requested output do not fit the context.
    #[error("the prompt has {tokens} tokens, the model's context leaves room for {limit}")]
    PromptTooLong {
        /// Tokens of the prompt.
        tokens: usize,
        /// The bound.
        limit: usize,
    },
    /// The deadline passed before the end.
    #[error("the deadline passed before the translation ended")]
    DeadlineExceeded,
    /// The caller cancelled.
    #[error("cancelled")]
    Cancelled,
    /// The engine failed or has stopped.
    #[error("the engine failed: {detail}")]
    Engine {
        /// What it said.
        detail: String,
    },
}

/// Whether a prompt is completed further, as said by whoever is told how its answer grows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flow {
    /// Go on.
    Go,
    /// End this prompt here; the others of its batch go on.
    Stop,
}

/// Completes prompts. Implementations are shared between threads and block the calling one.
pub trait Generator: Send + Sync {
    /// Completes `prompts` as one batch and returns one result per prompt, in order.
    ///
    /// `on_partial(i, text)` is called from the calling thread, in order of progress, with the
    /// whole text of prompt `i` so far; it never ends in half a character. When it answers
    /// [`Flow::Stop`], that prompt ends within a few tokens: its result is what it has by then, as
    /// truncated, and it is told no more of it.
    fn generate(
        &self,
        prompts: &[GeneratePrompt],
        options: &GenerateOptions,
        on_partial: &mut dyn FnMut(usize, &str) -> Flow,
    ) -> Vec<Result<Generated, GenerateError>>;

    /// Number of tokens of `text` alone, for limits.
    fn count_tokens(&self, text: &str) -> usize;
}
