//! The translator service: the pipeline from text to translations.
//!
//! One call of [`Translator::translate`] reads, in this order: which language is it, which glossary
//! terms occur, what is the model asked, what does it answer (all targets as one batch), which terms
//! did it use. A target that fails does not take the others with it.
//!
//! The configuration can be replaced at any time ([`Translator::reconfigure`]); a request that runs
//! keeps the one it started with.

mod output;
mod plan;
mod result;

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Instant;

use crate::detect::{DetectConfig, Detection, Detector};
use crate::error::RequestError;
use crate::generate::{GenerateOptions, Generator};
use crate::glossary::GlossarySet;
use crate::language::Language;
use crate::prompt::PromptFamily;
pub use crate::request::TranslateRequest;
use crate::request::{Limits, RawRequest, RequestDefaults, TARGETS_MAX};
pub use plan::{NEW_TOKENS_MIN, NEW_TOKENS_PER_CHAR};
use plan::{Plan, Source, State};
pub use result::{Status, Translation};

/// Most targets, over several texts, that are generated as one batch. A queue that takes one request
/// with all its targets takes this.
pub const BATCH_TARGETS_MAX: usize = TARGETS_MAX;

/// What a translator does when a request does not say otherwise.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct TranslatorConfig {
    /// How the model wants to be asked.
    pub family: PromptFamily,
    /// Languages that the model knows; empty for all. Others are refused instead of answered with
    /// nonsense, and are never detected.
    pub languages: Vec<Language>,
    /// Source and targets of requests that name none.
    pub defaults: RequestDefaults,
    /// Terms.
    pub glossaries: GlossarySet,
    /// How a language is detected.
    pub detect: DetectConfig,
    /// The language assumed when it cannot be detected; `None` lets the model find out.
    pub source_fallback: Option<Language>,
    /// Bounds of requests.
    pub limits: Limits,
}

/// Detects what is allowed, or else what the model knows.
fn detector(config: &TranslatorConfig) -> Detector {
    let mut detect = config.detect.clone();
    if detect.allowed.is_empty() {
        detect.allowed.clone_from(&config.languages);
    }
    Detector::new(&detect)
}

/// Translates texts. Shared between threads; each call blocks its own.
pub struct Translator {
    generator: Arc<dyn Generator>,
    state: RwLock<Arc<State>>,
}

impl std::fmt::Debug for Translator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Translator").field("config", &self.config()).finish_non_exhaustive()
    }
}

impl Translator {
    /// A translator that asks `generator`.
    pub fn new(generator: Arc<dyn Generator>, config: TranslatorConfig) -> Self {
        let detector = Arc::new(detector(&config));
        let state = State { config: Arc::new(config), detector };
        Self { generator, state: RwLock::new(Arc::new(state)) }
    }

    /// The configuration in force.
    pub fn config(&self) -> Arc<TranslatorConfig> {
        self.state().config.clone()
    }

    /// Replaces the configuration; requests that start from now on use it.
    pub fn reconfigure(&self, config: TranslatorConfig) {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        let old = &state.config;
        let same = config.detect == old.detect && config.languages == old.languages;
        let detector = if same { state.detector.clone() } else { Arc::new(detector(&config)) };
        *state = Arc::new(State { config: Arc::new(config), detector });
    }

    /// The likeliest language of a text, however unsure.
    pub fn guess(&self, text: &str) -> Option<Detection> {
        self.state().detector.guess(text)
    }

    /// Checks a raw request against the configuration in force.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn request(&self, raw: &RawRequest<'_>) -> Result<TranslateRequest, RequestError> {
        let config = self.config();
        let request = TranslateRequest::parse(raw, &config.defaults, &config.limits)?;
        config.glossaries.layers(request.glossary())?;
        Ok(request)
    }

    /// Translates one text into all its targets, as one batch; one result per target, in order.
    ///
    /// `on_partial(i, text)` is told the translation into target `i` so far, whenever it grew.
    pub fn translate(
        &self,
        request: &TranslateRequest,
        options: &GenerateOptions,
        on_partial: &mut dyn FnMut(usize, &str),
    ) -> Vec<Translation> {
        let requests = std::slice::from_ref(request);
        let mut on_partial = |_: usize, target: usize, text: &str| on_partial(target, text);
        self.translate_all(requests, options, &mut on_partial).pop().unwrap_or_default()
    }

    /// Translates several texts, such as those of one service call, in batches of up to
    /// [`BATCH_TARGETS_MAX`] targets; one list of results per request, in order.
    ///
    /// `on_partial(r, i, text)` is told the translation of request `r` into its target `i` so far.
    pub fn translate_all(
        &self,
        requests: &[TranslateRequest],
        options: &GenerateOptions,
        on_partial: &mut dyn FnMut(usize, usize, &str),
    ) -> Vec<Vec<Translation>> {
        let state = self.state();
        let mut results = Vec::with_capacity(requests.len());
        while results.len() < requests.len() {
            let first = results.len();
            let batch = next_batch(&requests[first..]);
            results.extend(self.translate_batch(&state, batch, options, &mut |r, target, text| {
                on_partial(first + r, target, text);
            }));
        }
        results
    }

    fn translate_batch(
        &self,
        state: &State,
        requests: &[TranslateRequest],
        options: &GenerateOptions,
        on_partial: &mut dyn FnMut(usize, usize, &str),
    ) -> Vec<Vec<Translation>> {
        let started = Instant::now();
        let planned: Vec<_> = requests.iter().map(|request| state.plans(request)).collect();
        let (mut prompts, mut places) = (Vec::new(), Vec::new());
        for (r, (_, plans)) in planned.iter().enumerate() {
            for (target, plan) in plans.iter().enumerate() {
                if let Plan::Ask { prompt, .. } = plan {
                    prompts.push(prompt.clone());
                    places.push((r, target));
                }
            }
        }
        let mut on_prompt = |prompt: usize, partial: &str| {
            if let Some(&(r, target)) = places.get(prompt) {
                on_partial(r, target, &output::clean(partial, requests[r].text()));
            }
        };
        let answers = match prompts.as_slice() {
            [] => Vec::new(),
            prompts => self.generator.generate(prompts, options, &mut on_prompt),
        };
        let mut answers = answers.into_iter();
        let finish = |(request, (source, plans)): (&TranslateRequest, (Source, Vec<Plan>))| {
            let targets = request.targets().iter().zip(plans);
            let results = targets.map(|(target, plan)| {
                let mut result = Translation::empty(*target, &source);
                result.apply(plan, request.text(), &mut answers);
                result.total_ms = started.elapsed().as_secs_f32() * 1e3;
                result
            });
            results.collect()
        };
        requests.iter().zip(planned).map(finish).collect()
    }

    fn state(&self) -> Arc<State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// As many requests from the front as fit one batch; at least one.
fn next_batch(requests: &[TranslateRequest]) -> &[TranslateRequest] {
    let mut targets = 0;
    let fits = |request: &&TranslateRequest| {
        targets += request.targets().len();
        targets <= BATCH_TARGETS_MAX
    };
    let count = requests.iter().take_while(fits).count().max(1).min(requests.len());
    &requests[..count]
}

#[cfg(test)]
mod tests;
