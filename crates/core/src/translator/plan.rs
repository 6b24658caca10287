//! What a request becomes before anything is generated: its source language, the pieces of its text, and
//! one plan per target.

use std::sync::Arc;

use super::question::{Asker, Question};
use super::{TranslatorConfig, cut, question};
use crate::detect::Detector;
use crate::error::ErrorCode;
use crate::glossary::Glossary;
use crate::language::Language;
use crate::request::{SourceChoice, TranslateRequest};
use crate::segment::Piece;

/// Fewest tokens that a translation may take.
pub const NEW_TOKENS_MIN: usize = 64;
/// Tokens that a translation may take per Latin letter of the text; a Han character counts as three, a kana
/// or Hangul as two, since one can become a long word of a language with few tokens of its own. For captions
/// this is about `4 * chars + 16`, which a user of these models found enough. What needs more
/// has usually fallen into a loop, and what loops is ended by [`guard::repetition`](crate::guard::repetition)
/// long before.
pub const NEW_TOKENS_PER_CHAR: usize = 4;

/// A configuration and what is derived from it.
pub(super) struct State {
    pub(super) config: Arc<TranslatorConfig>,
    pub(super) detector: Arc<Detector>,
    /// Names the model and its family to the cache.
    pub(super) model: String,
}

/// A request, ready to be carried out.
pub(super) struct Planned<'a> {
    pub(super) request: &'a TranslateRequest,
    pub(super) source: Source,
    /// Of its text.
    pub(super) pieces: Vec<Piece<'a>>,
    /// One per target.
    pub(super) plans: Vec<Plan>,
}

/// The source language, and how it came to be that.
pub(super) struct Source {
    pub(super) language: Option<Language>,
    pub(super) confidence: f32,
    pub(super) detail: String,
    has_words: bool,
}

/// What is done for one target.
pub(super) enum Plan {
    Pass,
    Reject(ErrorCode, String),
    /// One for each piece that is text; `None` keeps it as it is.
    Ask(Vec<Option<Question>>),
}

impl State {
    pub(super) fn new(config: TranslatorConfig, detector: Arc<Detector>) -> Self {
        let model = format!("{} {}", config.family.name(), config.model);
        Self { config: Arc::new(config), detector, model }
    }

    /// What is to be done for a request.
    pub(super) fn planned<'a>(&self, request: &'a TranslateRequest) -> Planned<'a> {
        let source = self.source_of(request);
        let pieces = cut::pieces(request.text(), source.language, self.config.family);
        let targets = request.targets().iter();
        let plans = match self.config.glossaries.layers(request.glossary()) {
            Ok(layers) => {
                let mut all = vec![request.inline_terms()];
                all.extend(layers);
                targets.map(|target| self.plan(request, &source, &pieces, *target, &all)).collect()
            }
            // The glossary went away between the check and now.
            Err(error) => targets.map(|_| reject(ErrorCode::InvalidRequest, &error)).collect(),
        };
        Planned { request, source, pieces, plans }
    }

    fn source_of(&self, request: &TranslateRequest) -> Source {
        let has_words = question::has_words(request.text());
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

    /// Says which of the two languages the model does not know.
    fn unknown(&self, source: Option<Language>, target: Language) -> Option<String> {
        let known = &self.config.languages;
        if known.is_empty() {
            return None;
        }
        let unknown = source.into_iter().chain([target]).find(|tag| !known.contains(tag))?;
        let known: Vec<_> = known.iter().map(|language| language.code()).collect();
        Some(format!(
            "this model does not know '{unknown}' ({}); it knows {}; load another model for more",
            unknown.english_name(),
            known.join(", ")
        ))
    }

    fn plan(
        &self,
        request: &TranslateRequest,
        source: &Source,
        pieces: &[Piece<'_>],
        target: Language,
        layers: &[&Glossary],
    ) -> Plan {
        if source.language == Some(target) || !source.has_words {
            return Plan::Pass;
        }
        if let Some(unknown) = self.unknown(source.language, target) {
            return reject(ErrorCode::UnsupportedLanguage, &unknown);
        }
        let config = &self.config;
        let asker = Asker { config, request, source: source.language, target, layers };
        let texts = pieces.iter().filter_map(|piece| piece.text());
        let questions: Vec<_> = texts.map(|text| asker.question(text)).collect();
        if questions.iter().all(Option::is_none) { Plan::Pass } else { Plan::Ask(questions) }
    }
}

fn reject(code: ErrorCode, why: &impl ToString) -> Plan {
    Plan::Reject(code, why.to_string())
}
