//! What was said on the topic `text` before: it has one speaker, whose last sentences are context and
//! whose language is believed where a text says too little.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use hymt_core::language::Language;
use hymt_core::speech::{ContextConfig, ContextSentence, RollingContext};

/// The talk on the topic.
#[derive(Debug)]
pub(super) struct Talk(Mutex<Said>);

#[derive(Debug)]
struct Said {
    config: ContextConfig,
    context: RollingContext,
    heard_at: Option<Instant>,
    language: Option<Language>,
}

impl Talk {
    pub(super) fn new(config: ContextConfig) -> Self {
        let context = RollingContext::default();
        Self(Mutex::new(Said { config, context, heard_at: None, language: None }))
    }

    /// What was said before `utterance`, a sentence a line; empty after a long pause.
    pub(super) fn before(&self, utterance: u64, now: Instant) -> String {
        let mut said = self.said();
        let pause = said.config.pause;
        if said.heard_at.is_some_and(|at| now.saturating_duration_since(at) > pause) {
            said.context.clear();
        }
        let sentences = said.context.before(utterance);
        let lines: Vec<&str> = sentences.iter().map(|sentence| sentence.source.as_str()).collect();
        lines.join("\n")
    }

    /// Adds what is said now to what comes before the next.
    pub(super) fn add(&self, utterance: u64, text: &str, now: Instant) {
        let mut said = self.said();
        said.heard_at = Some(now);
        let config = said.config;
        if config.sentences > 0 {
            let source = text.trim().to_owned();
            let sentence =
                ContextSentence { utterance, source, language: None, translations: Vec::new() };
            said.context.push(sentence, &config);
        }
    }

    /// The language that was surely spoken last.
    pub(super) fn language(&self) -> Option<Language> {
        self.said().language
    }

    pub(super) fn spoke(&self, language: Language) {
        self.said().language = Some(language);
    }

    pub(super) fn reconfigure(&self, config: ContextConfig) {
        let mut said = self.said();
        said.config = config;
        said.context.trim(&config);
    }

    /// Forgets what was said, and in which language.
    pub(super) fn reset(&self) {
        let mut said = self.said();
        said.context.clear();
        said.language = None;
    }

    fn said(&self) -> MutexGuard<'_, Said> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
