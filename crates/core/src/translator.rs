//! The translator service: the pipeline from text to translations.
//!
//! One call of [`Translator::translate`] reads, in this order: which language is it, which glossary
//! terms occur, what is the model asked, what does it answer (all targets as one batch), which terms
//! did it use. A target that fails does not take the others with it.
//!
//! The configuration can be replaced at any time ([`Translator::reconfigure`]); a request that runs
//! keeps the one it started with.

mod output;

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Instant;

use crate::detect::{DetectConfig, Detector};
use crate::error::{ErrorCode, RequestError};
use crate::generate::{GenerateError, GenerateOptions, GeneratePrompt, Generated, Generator};
use crate::glossary::{self, Glossary, GlossarySet, Selection, TERMS_PER_PROMPT_MAX, Term};
use crate::language::Language;
use crate::prompt::{self, PromptFamily, PromptRequest};
pub use crate::request::TranslateRequest;
use crate::request::{Formality, Limits, RawRequest, RequestDefaults, SourceChoice};

/// Fewest tokens that a translation may take.
pub const NEW_TOKENS_MIN: usize = 64;
/// Tokens that a translation may take per character of the text. One Chinese character can become
/// a long word of a language with few tokens of its own, so this is generous; a translation that needs
/// more has usually fallen into a loop.
pub const NEW_TOKENS_PER_CHAR: usize = 4;

/// What a translator does when a request does not say otherwise.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct TranslatorConfig {
    /// How the model wants to be asked.
    pub family: PromptFamily,
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

/// How a translation ended; the numbers are those of `Translation.msg`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Status {
    /// Translated.
    Ok = 0,
    /// Nothing to do: the text is in the target language already, or has no words.
    Passthrough = 1,
    /// The output bound ended the text.
    Truncated = 2,
    /// The request was not valid.
    Rejected = 3,
    /// The engine could not answer.
    Failed = 4,
}

impl Status {
    /// The constant's name in `Translation.msg`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ok => "OK",
            Self::Passthrough => "PASSTHROUGH",
            Self::Truncated => "TRUNCATED",
            Self::Rejected => "REJECTED",
            Self::Failed => "FAILED",
        }
    }

    /// True when there is a text to use.
    pub fn is_success(self) -> bool {
        matches!(self, Self::Ok | Self::Passthrough | Self::Truncated)
    }
}

/// A text in one target language, or why there is none.
#[derive(Debug, Clone, PartialEq)]
pub struct Translation {
    /// Language of `text`.
    pub target: Language,
    /// Language of the source; `None` when it is unknown.
    pub source: Option<Language>,
    /// 0 to 1; 1 when the language was given, 0 when it is unknown or assumed.
    pub source_confidence: f32,
    /// The translation; empty unless [`Status::is_success`].
    pub text: String,
    /// How it ended.
    pub status: Status,
    /// The class of the failure, when there is one.
    pub error: Option<ErrorCode>,
    /// In words, what is worth knowing; may be set beside a success.
    pub detail: String,
    /// Terms sent and found in `text`.
    pub glossary_applied: Vec<Term>,
    /// Terms sent and not found in `text`.
    pub glossary_missed: Vec<Term>,
    /// Tokens of the prompt.
    pub tokens_in: usize,
    /// Tokens of the answer.
    pub tokens_out: usize,
    /// Waiting time before inference. Milliseconds.
    pub queue_ms: f32,
    /// Time in the engine. Milliseconds.
    pub inference_ms: f32,
    /// Time in the translator. Milliseconds.
    pub total_ms: f32,
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

struct State {
    config: Arc<TranslatorConfig>,
    detector: Arc<Detector>,
}

impl Translator {
    /// A translator that asks `generator`.
    pub fn new(generator: Arc<dyn Generator>, config: TranslatorConfig) -> Self {
        let detector = Arc::new(Detector::new(&config.detect));
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
        let detector = if config.detect == state.config.detect {
            state.detector.clone()
        } else {
            Arc::new(Detector::new(&config.detect))
        };
        *state = Arc::new(State { config: Arc::new(config), detector });
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
        let started = Instant::now();
        let state = self.state();
        let source = state.source_of(request);
        let plans: Vec<Plan> = match state.config.glossaries.layers(request.glossary()) {
            Ok(layers) => {
                let mut all = vec![request.inline_terms()];
                all.extend(layers);
                request.targets().iter().map(|t| state.plan(request, &source, *t, &all)).collect()
            }
            // The glossary went away between the check and now.
            Err(error) => {
                request.targets().iter().map(|_| Plan::Reject(error.to_string())).collect()
            }
        };
        let answers = self.generate(&plans, request, options, on_partial);
        let mut answers = answers.into_iter();
        let mut results = Vec::with_capacity(plans.len());
        for (target, plan) in request.targets().iter().zip(plans) {
            let mut result = Translation::empty(*target, &source);
            match plan {
                Plan::Pass => result.pass(request.text()),
                Plan::Reject(why) => result.reject(why),
                Plan::Ask { prompt: _, selection, formality_ignored } => {
                    result.note_selection(&selection, formality_ignored);
                    let answer = answers.next().unwrap_or_else(|| Err(missing_answer()));
                    result.finish(answer, request.text(), &selection.terms);
                }
            }
            result.total_ms = started.elapsed().as_secs_f32() * 1e3;
            results.push(result);
        }
        results
    }

    fn generate(
        &self,
        plans: &[Plan],
        request: &TranslateRequest,
        options: &GenerateOptions,
        on_partial: &mut dyn FnMut(usize, &str),
    ) -> Vec<Result<Generated, GenerateError>> {
        let mut prompts = Vec::new();
        let mut target_of_prompt = Vec::new();
        for (index, plan) in plans.iter().enumerate() {
            if let Plan::Ask { prompt, .. } = plan {
                prompts.push(prompt.clone());
                target_of_prompt.push(index);
            }
        }
        if prompts.is_empty() {
            return Vec::new();
        }
        self.generator.generate(&prompts, options, &mut |prompt, partial| {
            if let Some(&target) = target_of_prompt.get(prompt) {
                on_partial(target, &output::clean(partial, request.text()));
            }
        })
    }

    fn state(&self) -> Arc<State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// The source language, and how it came to be that.
struct Source {
    language: Option<Language>,
    confidence: f32,
    detail: String,
    has_words: bool,
}

enum Plan {
    Pass,
    Reject(String),
    Ask { prompt: GeneratePrompt, selection: Selection, formality_ignored: bool },
}

impl State {
    fn source_of(&self, request: &TranslateRequest) -> Source {
        let has_words = request.text().chars().any(char::is_alphabetic);
        if let SourceChoice::Given(language) = request.source() {
            return Source {
                language: Some(language),
                confidence: 1.0,
                detail: String::new(),
                has_words,
            };
        }
        let guess = self.detector.guess(request.text());
        if let Some(sure) =
            guess.filter(|guess| guess.confidence >= self.config.detect.min_confidence)
        {
            return Source {
                language: Some(sure.language),
                confidence: sure.confidence,
                detail: String::new(),
                has_words,
            };
        }
        let best = guess.map_or(String::new(), |guess| {
            format!(" (best guess {} at {:.2})", guess.language, guess.confidence)
        });
        let assumed = match self.config.source_fallback {
            Some(language) => format!("assumed {language}"),
            None => "left to the model".to_owned(),
        };
        Source {
            language: self.config.source_fallback,
            confidence: 0.0,
            detail: format!("source language not recognised{best}, {assumed}"),
            has_words,
        }
    }

    fn plan(
        &self,
        request: &TranslateRequest,
        source: &Source,
        target: Language,
        layers: &[&Glossary],
    ) -> Plan {
        if source.language == Some(target) || !source.has_words {
            return Plan::Pass;
        }
        let selection = glossary::select(layers, request.text(), source.language, target);
        let asked = PromptRequest {
            source: source.language,
            target,
            text: request.text(),
            terms: &selection.terms,
            context: request.context(),
            formality: request.formality(),
        };
        let formality_ignored = request.formality() != Formality::Default
            && !prompt::formality_is_asked(self.config.family, &asked);
        let prompt = GeneratePrompt {
            user: prompt::build(self.config.family, &asked),
            new_tokens_max: new_tokens_max(request.text(), &self.config.limits),
        };
        Plan::Ask { prompt, selection, formality_ignored }
    }
}

fn new_tokens_max(text: &str, limits: &Limits) -> usize {
    let generous = text.chars().count() * NEW_TOKENS_PER_CHAR;
    generous.max(NEW_TOKENS_MIN).min(limits.new_tokens_max)
}

fn missing_answer() -> GenerateError {
    GenerateError::Engine { detail: "it gave fewer answers than prompts".to_owned() }
}

impl Translation {
    fn empty(target: Language, source: &Source) -> Self {
        Self {
            target,
            source: source.language,
            source_confidence: source.confidence,
            text: String::new(),
            status: Status::Ok,
            error: None,
            detail: source.detail.clone(),
            glossary_applied: Vec::new(),
            glossary_missed: Vec::new(),
            tokens_in: 0,
            tokens_out: 0,
            queue_ms: 0.0,
            inference_ms: 0.0,
            total_ms: 0.0,
        }
    }

    fn note(&mut self, detail: &str) {
        if !self.detail.is_empty() {
            self.detail.push_str("; ");
        }
        self.detail.push_str(detail);
    }

    fn pass(&mut self, text: &str) {
        self.status = Status::Passthrough;
        text.clone_into(&mut self.text);
        self.note(match self.source {
            Some(source) if source == self.target => "the text is in the target language already",
            _ => "the text has no words to translate",
        });
    }

    fn reject(&mut self, why: String) {
        self.status = Status::Rejected;
        self.error = Some(ErrorCode::InvalidRequest);
        self.detail = why;
    }

    fn note_selection(&mut self, selection: &Selection, formality_ignored: bool) {
        if selection.left_out > 0 {
            self.note(&format!(
                "{} more glossary terms occur, the limit is {TERMS_PER_PROMPT_MAX}",
                selection.left_out
            ));
        }
        if formality_ignored {
            self.note("this model cannot be asked for a formality here");
        }
    }

    fn finish(&mut self, answer: Result<Generated, GenerateError>, source: &str, terms: &[Term]) {
        let generated = match answer {
            Ok(generated) => generated,
            Err(error) => return self.fail(ErrorCode::from(&error), error.to_string()),
        };
        self.tokens_in = generated.tokens_in;
        self.tokens_out = generated.tokens_out;
        self.queue_ms = generated.queue_ms;
        self.inference_ms = generated.inference_ms;
        self.text = output::clean(&generated.text, source);
        if self.text.is_empty() {
            return self.fail(ErrorCode::Failed, "the model gave an empty answer".to_owned());
        }
        let report = glossary::check(terms, &self.text);
        self.glossary_applied = report.applied;
        self.glossary_missed = report.missed;
        if generated.truncated {
            self.status = Status::Truncated;
            self.note(&format!("ended after {} tokens, the limit", generated.tokens_out));
        }
    }

    fn fail(&mut self, code: ErrorCode, why: String) {
        // A prompt that does not fit is a fault of the request, not of the engine.
        self.status =
            if code == ErrorCode::InvalidRequest { Status::Rejected } else { Status::Failed };
        self.error = Some(code);
        self.detail = why;
    }
}

#[cfg(test)]
mod tests;
