//! The translator service: the pipeline from text to translations.
//!
//! One call of [`Translator::translate`] reads, in this order: which language is it, into which parts is
//! it cut, which glossary terms occur, what is the model asked, was it asked that before, what does it
//! answer (all targets as one batch), did tags and links survive, which terms did it use. A target that
//! fails does not take the others with it. What models get wrong beside the translation is watched for,
//! see [`guard`](crate::guard).
//!
//! | text | what happens |
//! |---|---|
//! | one paragraph of at most [`SEGMENT_CHARS_MAX`](crate::segment::SEGMENT_CHARS_MAX) characters | one prompt per target |
//! | longer, or with a blank line | cut by [`segment`](crate::segment), one prompt per part and target, joined as it was |
//! | with tags, code, links, addresses, placeholders | the form that keeps markers, see [`protect`](crate::protect); should the model lose them, once more without, and `detail` says so |
//! | sentences of several languages | each by its own; one in the target language stays |
//! | the same prompt again | the answer given before, see [`cache`](crate::cache) |
//!
//! The configuration can be replaced at any time ([`Translator::reconfigure`]); a request that runs
//! keeps the one it started with.

mod answers;
mod attempt;
mod batch;
mod cut;
mod plan;
mod progress;
mod question;
mod result;
mod source;
mod watch;

use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Instant;

use crate::cache::{CacheLimits, CacheStats};
use crate::detect::{DetectConfig, Detection, Detector};
use crate::error::RequestError;
use crate::generate::{GenerateOptions, Generator};
use crate::glossary::GlossarySet;
use crate::guard::{GuardStats, Guards};
use crate::language::Language;
use crate::prompt::PromptFamily;
pub use crate::request::TranslateRequest;
use crate::request::{Limits, RawRequest, RequestDefaults, TARGETS_MAX};
use answers::Answers;
use batch::Batches;
pub use plan::{NEW_TOKENS_MIN, NEW_TOKENS_PER_CHAR};
use plan::{Plan, Planned, State};
pub use result::{Status, Translation};
pub use source::{SWITCH_CONFIDENCE_MIN, SWITCH_LETTERS_MIN, SWITCH_LETTERS_MIN_CJK};
use watch::Watch;

/// Most prompts, over several targets, texts and parts of texts, that are generated as one batch. A queue
/// that takes one request with all its targets takes this.
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
    /// Ask once more, with the missing terms said again, when an answer lacks terms that were sent. The
    /// answer with more of them is kept and says what it lacks; no text is ever rewritten.
    pub enforce_terms: bool,
    /// Whether answers are watched for what models get wrong.
    pub guards: Guards,
    /// How a language is detected.
    pub detect: DetectConfig,
    /// The language assumed when it cannot be detected; `None` lets the model find out.
    pub source_fallback: Option<Language>,
    /// Bounds of requests.
    pub limits: Limits,
    /// Which model answers, in which precision: answers of another are not repeated. May stay empty where
    /// a translator keeps its model for life.
    pub model: String,
    /// Bounds of the answers kept; 0 entries keep none. Only for greedy decoding: what was sampled would
    /// be repeated for ever.
    pub cache: CacheLimits,
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
    answers: Answers,
    guard_stats: Mutex<GuardStats>,
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
        let answers = Answers::new(config.cache);
        let state = State::new(config, detector);
        let (state, guard_stats) = (RwLock::new(Arc::new(state)), Mutex::default());
        Self { generator, state, answers, guard_stats }
    }

    /// The configuration in force.
    pub fn config(&self) -> Arc<TranslatorConfig> {
        self.state().config.clone()
    }

    /// Replaces the configuration; requests that start from now on use it. Another model or family
    /// forgets the answers given before.
    pub fn reconfigure(&self, config: TranslatorConfig) {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        let old = &state.config;
        let same = config.detect == old.detect && config.languages == old.languages;
        let detector = if same { state.detector.clone() } else { Arc::new(detector(&config)) };
        let is_other = config.model != old.model || config.family != old.family;
        self.answers.reconfigure(config.cache, is_other);
        *state = Arc::new(State::new(config, detector));
    }

    /// Forgets all answers given before, those of requests that run included.
    pub fn clear_cache(&self) {
        self.answers.clear();
    }

    /// How often an answer was at hand, and how many are kept.
    pub fn cache_stats(&self) -> CacheStats {
        self.answers.stats()
    }

    /// How often answers were not as they should be.
    pub fn guard_stats(&self) -> GuardStats {
        *self.guard_stats.lock().unwrap_or_else(PoisonError::into_inner)
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

    /// Translates one text into all its targets, as one batch; one result per target, in order, but
    /// none for the speaker's own language in a conversation.
    ///
    /// `on_partial(i, text)` is told the translation into target `i` so far, whenever it grew. Of a text in
    /// parts that is what is finished up to the first part that is not, and the beginning of that one;
    /// a part with tags or links is told whole.
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
        let planned: Vec<_> = requests.iter().map(|request| state.planned(request)).collect();
        let watch = Watch { stats: &self.guard_stats, enforce: state.config.enforce_terms };
        let mut batches = Batches::new(&planned, &self.answers, &state.model, &watch);
        while batches.next(&*self.generator, options, on_partial) {}
        let mut progress = batches.into_progress().into_iter();
        let finish = |planned: &Planned<'_>| {
            let targets = planned.request.targets().iter().zip(&planned.plans);
            let results = targets.filter_map(|(target, plan)| {
                let mut result = Translation::empty(*target, &planned.source);
                match plan {
                    Plan::Skip => return None,
                    Plan::Pass => result.pass(planned.request.text()),
                    Plan::Reject(code, why) => result.reject(*code, why.clone()),
                    Plan::Ask(questions) => {
                        result.note_questions(questions);
                        result.finish(progress.next().expect("one for each plan that asks"));
                    }
                }
                result.total_ms = started.elapsed().as_secs_f32() * 1e3;
                Some(result)
            });
            results.collect()
        };
        planned.iter().map(finish).collect()
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
