//! What a speaker said last, with its translations: the context of what comes next.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use crate::language::Language;

/// Bounds of the context of one speaker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ContextConfig {
    /// Most sentences (finals) kept; 0 for no context.
    pub sentences: usize,
    /// Most characters of all their sources together; older sentences go first.
    pub chars_max: usize,
    /// A speaker silent for this long has changed the subject: the context is forgotten.
    pub pause: Duration,
}

impl Default for ContextConfig {
    fn default() -> Self {
        Self { sentences: 2, chars_max: 600, pause: Duration::from_secs(60) }
    }
}

/// A sentence and what it became.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContextSentence {
    /// Which utterance it was.
    pub utterance: u64,
    /// What was said.
    pub source: String,
    /// Its language, when known.
    pub language: Option<Language>,
    /// What was published.
    pub translations: Vec<(Language, String)>,
}

/// The context of one speaker, oldest first.
#[derive(Debug, Clone, Default)]
pub struct RollingContext {
    sentences: VecDeque<Arc<ContextSentence>>,
}

impl RollingContext {
    /// Adds a sentence; a correction takes the place of what it corrects.
    pub fn push(&mut self, sentence: ContextSentence, config: &ContextConfig) {
        self.sentences.retain(|old| old.utterance != sentence.utterance);
        self.sentences.push_back(Arc::new(sentence));
        self.trim(config);
    }

    /// The sentences before `utterance`.
    pub fn before(&self, utterance: u64) -> Vec<Arc<ContextSentence>> {
        self.sentences.iter().filter(|s| s.utterance < utterance).cloned().collect()
    }

    /// Forgets all.
    pub fn clear(&mut self) {
        self.sentences.clear();
    }

    /// Forgets the oldest until the bounds hold.
    pub fn trim(&mut self, config: &ContextConfig) {
        let chars = |sentence: &Arc<ContextSentence>| sentence.source.chars().count();
        while self.sentences.len() > config.sentences
            || self.sentences.iter().map(chars).sum::<usize>() > config.chars_max
        {
            self.sentences.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(utterance: u64, source: &str) -> ContextSentence {
        let translations = vec![(Language::German, source.to_uppercase())];
        ContextSentence { utterance, source: source.to_owned(), language: None, translations }
    }

    #[test]
    fn it_is_bounded_in_sentences_and_characters() {
        let config = ContextConfig { sentences: 3, chars_max: 10, ..ContextConfig::default() };
        let mut context = RollingContext::default();
        for (utterance, source) in ["one", "two", "six", "ten"].into_iter().enumerate() {
            context.push(said(utterance as u64, source), &config);
        }
        let kept: Vec<_> = context.before(9).iter().map(|s| s.source.clone()).collect();
        assert_eq!(kept, ["two", "six", "ten"]);
        context.push(said(7, "seventeen"), &config);
        assert_eq!(context.before(9).len(), 1);
        context.push(said(8, "more than ten characters"), &config);
        assert!(context.before(9).is_empty());
    }

    #[test]
    fn a_correction_takes_the_old_place() {
        let config = ContextConfig::default();
        let mut context = RollingContext::default();
        context.push(said(1, "hello"), &config);
        context.push(said(2, "open the"), &config);
        context.push(said(2, "open the door"), &config);
        let kept: Vec<_> = context.before(3).iter().map(|s| s.source.clone()).collect();
        assert_eq!(kept, ["hello", "open the door"]);
        assert_eq!(context.before(2).len(), 1, "an utterance is not its own context");
    }
}
