//! The one bridge between the translation domain and the language model.

use std::sync::Arc;
use std::time::{Duration, Instant};

use hymt_core::generate::{
    Flow, GenerateError, GenerateOptions, GeneratePrompt, Generated, Generator,
};
use hymt_llm::TokenId;
use hymt_llm::chat::ChatFormat;
use hymt_llm::engine::EngineSpec;
use hymt_llm::request::{self, FinishReason, GenerateRequest, SubmitError};
use hymt_llm::sampling::SamplingParams;
use hymt_llm::thread::{InferenceHandle, Stats, TicketEvent};
use hymt_llm::tokenizer::Tokenizer;

/// How often a waiting caller looks whether it was cancelled.
const CANCEL_POLL: Duration = Duration::from_millis(20);

/// What the engine is warmed up with.
const WARM_UP_TEXT: &str = "Translate the following segment into German: ready";

/// Completes prompts with a model behind an inference thread.
#[derive(Debug)]
pub struct LlmGenerator {
    handle: InferenceHandle,
    tokenizer: Arc<Tokenizer>,
    chat: ChatFormat,
    spec: EngineSpec,
}

impl LlmGenerator {
    /// A generator for the model that `handle` runs.
    pub fn new(
        handle: InferenceHandle,
        tokenizer: Arc<Tokenizer>,
        chat: ChatFormat,
        spec: EngineSpec,
    ) -> Self {
        Self { handle, tokenizer, chat, spec }
    }

    /// What the inference thread has done so far.
    pub fn stats(&self) -> Stats {
        self.handle.stats()
    }

    /// Runs the engine once, so that its caches, pools and page tables are filled before the first
    /// text comes.
    ///
    /// # Errors
    /// What the engine says; it would say so of every text.
    pub fn warm_up(&self) -> Result<(), GenerateError> {
        let user = WARM_UP_TEXT.to_owned();
        let prompt = GeneratePrompt { user, new_tokens_max: 2, draft: None };
        let options = GenerateOptions::default();
        let results = self.generate(std::slice::from_ref(&prompt), &options, &mut |_, _| Flow::Go);
        results.into_iter().try_for_each(|result| result.map(drop))
    }

    /// Ends the inference thread: what runs may take until `grace` has passed.
    pub fn shutdown(&self, grace: Duration) {
        self.handle.shutdown(grace);
    }

    fn request(
        &self,
        prompt: &GeneratePrompt,
        options: &GenerateOptions,
    ) -> Result<GenerateRequest, GenerateError> {
        let ids = self
            .chat
            .render(&self.tokenizer, None, &prompt.user)
            .map_err(|error| GenerateError::Engine { detail: error.to_string() })?;
        let room = self.spec.context_tokens_max;
        if ids.len() >= room {
            return Err(GenerateError::PromptTooLong { tokens: ids.len(), limit: room - 1 });
        }
        Ok(GenerateRequest {
            new_tokens_max: prompt.new_tokens_max.min(room - ids.len()),
            prompt: ids,
            sampling: SamplingParams::default(),
            stop: self.chat.stop(),
            priority: options.priority,
            deadline: options.deadline,
            draft: self.draft(prompt),
        })
    }
}

impl LlmGenerator {
    /// The draft in tokens, with special tokens disabled like all text. The model may have written the
    /// same text in other tokens; a draft that differs there is only worth less.
    fn draft(&self, prompt: &GeneratePrompt) -> Vec<TokenId> {
        let ids = prompt.draft.as_deref().and_then(|text| self.tokenizer.encode(text).ok());
        ids.unwrap_or_default()
    }
}

impl Generator for LlmGenerator {
    fn generate(
        &self,
        prompts: &[GeneratePrompt],
        options: &GenerateOptions,
        on_partial: &mut dyn FnMut(usize, &str) -> Flow,
    ) -> Vec<Result<Generated, GenerateError>> {
        let mut results: Vec<Option<Result<Generated, GenerateError>>> = Vec::new();
        let (mut requests, mut places) = (Vec::new(), Vec::new());
        for (place, prompt) in prompts.iter().enumerate() {
            match self.request(prompt, options) {
                Ok(request) => {
                    requests.push(request);
                    places.push(place);
                    results.push(None);
                }
                Err(error) => results.push(Some(Err(error))),
            }
        }
        if !requests.is_empty() {
            let refused = self.collect(requests, &places, options, on_partial, &mut results);
            if let Err(error) = refused {
                let error = refusal(error);
                results
                    .iter_mut()
                    .filter(|r| r.is_none())
                    .for_each(|r| *r = Some(Err(error.clone())));
            }
        }
        let stopped = || Err(GenerateError::Engine { detail: "the inference thread ended".into() });
        results.into_iter().map(|result| result.unwrap_or_else(stopped)).collect()
    }

    fn count_tokens(&self, text: &str) -> usize {
        self.tokenizer.encode(text).map_or(0, |ids| ids.len())
    }
}

impl LlmGenerator {
    /// Submits the batch and follows it to its end.
    fn collect(
        &self,
        requests: Vec<GenerateRequest>,
        places: &[usize],
        options: &GenerateOptions,
        on_partial: &mut dyn FnMut(usize, &str) -> Flow,
        results: &mut [Option<Result<Generated, GenerateError>>],
    ) -> Result<(), SubmitError> {
        let mut growing: Vec<_> = requests.iter().map(|r| Growing::of(r.prompt.len())).collect();
        let mut group = self.handle.submit(requests)?;
        let mut open = places.len();
        while open > 0 {
            if options.cancel.is_cancelled() {
                group.cancel();
            }
            let Some((index, event)) = group.next_event(Some(CANCEL_POLL)) else { continue };
            match event {
                // Text that came before the thread took notice of the end.
                TicketEvent::Text { .. } if growing[index].is_stopped => {}
                TicketEvent::Text { delta } => {
                    growing[index].text.push_str(&delta);
                    if on_partial(places[index], &growing[index].text) == Flow::Stop {
                        growing[index].is_stopped = true;
                        group.cancel_one(index);
                    }
                }
                TicketEvent::Done(completion) => {
                    open -= 1;
                    results[places[index]] = Some(Ok(generated(completion)));
                }
                TicketEvent::Failed(error) => {
                    open -= 1;
                    let is_wanted = growing[index].is_stopped && !options.cancel.is_cancelled();
                    let result = match error {
                        request::GenerateError::Cancelled if is_wanted => {
                            Ok(growing[index].stopped(&self.tokenizer))
                        }
                        error => Err(failure(error)),
                    };
                    results[places[index]] = Some(result);
                }
            }
        }
        Ok(())
    }
}

/// An answer that is not complete.
struct Growing {
    text: String,
    tokens_in: usize,
    is_stopped: bool,
    submitted: Instant,
}

impl Growing {
    fn of(tokens_in: usize) -> Self {
        Self { text: String::new(), tokens_in, is_stopped: false, submitted: Instant::now() }
    }

    /// What there is of an answer that was not wanted further. The thread tells nothing of a request
    /// that was cancelled, so its tokens are counted again and its waiting is part of its time.
    fn stopped(&mut self, tokenizer: &Tokenizer) -> Generated {
        let text = std::mem::take(&mut self.text);
        Generated {
            tokens_in: self.tokens_in,
            tokens_out: tokenizer.encode(&text).map_or(0, |ids| ids.len()),
            text,
            truncated: true,
            queue_ms: 0.0,
            inference_ms: self.submitted.elapsed().as_secs_f32() * 1e3,
        }
    }
}

fn generated(completion: request::Completion) -> Generated {
    Generated {
        text: completion.text,
        tokens_in: completion.tokens_in,
        tokens_out: completion.tokens.len(),
        truncated: completion.finish == FinishReason::Length,
        queue_ms: completion.queue.as_secs_f32() * 1e3,
        inference_ms: completion.inference.as_secs_f32() * 1e3,
    }
}

fn failure(error: request::GenerateError) -> GenerateError {
    match error {
        request::GenerateError::DeadlineExceeded => GenerateError::DeadlineExceeded,
        request::GenerateError::Cancelled => GenerateError::Cancelled,
        other => GenerateError::Engine { detail: other.to_string() },
    }
}

fn refusal(error: SubmitError) -> GenerateError {
    match error {
        SubmitError::QueueFull { waiting, limit } => GenerateError::Overloaded { waiting, limit },
        SubmitError::PromptTooLong { tokens, limit } => {
            GenerateError::PromptTooLong { tokens, limit }
        }
        other => GenerateError::Engine { detail: other.to_string() },
    }
}
