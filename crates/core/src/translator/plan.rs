//! What a request becomes before anything is generated: its source language, and one plan per target.

use std::sync::Arc;

use super::TranslatorConfig;
use crate::detect::Detector;
use crate::error::ErrorCode;
use crate::generate::GeneratePrompt;
use crate::glossary::{self, Glossary, Selection};
use crate::language::Language;
use crate::prompt::{self, PromptRequest};
use crate::request::{Formality, Limits, SourceChoice, TranslateRequest};

/// Fewest tokens that a translation may take.
pub const NEW_TOKENS_MIN: usize = 64;
/// Tokens that a translation may take per character of the text. One Chinese character can become
/// a long word of a language with few tokens of its own, so this is generous; a translation that needs
/// more has usually fallen into a loop.
pub const NEW_TOKENS_PER_CHAR: usize = 4;

/// A configuration and what is derived from it.
pub(super) struct State {
    pub(super) config: Arc<TranslatorConfig>,
    pub(super) detector: Arc<Detector>,
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
    Ask { prompt: GeneratePrompt, selection: Selection, formality_ignored: bool },
}

impl State {
    /// One plan per target, and the source they share.
    pub(super) fn plans(&self, request: &TranslateRequest) -> (Source, Vec<Plan>) {
        let source = self.source_of(request);
        let targets = request.targets().iter();
        let plans = match self.config.glossaries.layers(request.glossary()) {
            Ok(layers) => {
                let mut all = vec![request.inline_terms()];
                all.extend(layers);
                targets.map(|target| self.plan(request, &source, *target, &all)).collect()
            }
            // The glossary went away between the check and now.
            Err(error) => targets.map(|_| reject(ErrorCode::InvalidRequest, &error)).collect(),
        };
        (source, plans)
    }

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
        target: Language,
        layers: &[&Glossary],
    ) -> Plan {
        if source.language == Some(target) || !source.has_words {
            return Plan::Pass;
        }
        if let Some(unknown) = self.unknown(source.language, target) {
            return reject(ErrorCode::UnsupportedLanguage, &unknown);
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

fn reject(code: ErrorCode, why: &impl ToString) -> Plan {
    Plan::Reject(code, why.to_string())
}

fn new_tokens_max(text: &str, limits: &Limits) -> usize {
    let generous = text.chars().count() * NEW_TOKENS_PER_CHAR;
    generous.max(NEW_TOKENS_MIN).min(limits.new_tokens_max)
}
