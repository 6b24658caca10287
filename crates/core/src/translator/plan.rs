//! What a request becomes before anything is generated: its source language, the pieces of its text, and
//! one plan per target.

use std::sync::Arc;

use super::TranslatorConfig;
use super::question::{Asker, Question};
use super::source::{Pieces, Source};
use crate::detect::Detector;
use crate::error::ErrorCode;
use crate::glossary::Glossary;
use crate::language::Language;
use crate::request::TranslateRequest;
use crate::segment::Piece;
use crate::speech::other_party;

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

/// What is done for one target.
pub(super) enum Plan {
    Pass,
    /// Nothing, not even the text as it is: in a conversation nobody needs what was said in their own
    /// language.
    Skip,
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
        let mut source = self.source_of(request);
        let pieces = self.pieces(request, &mut source);
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
        Planned { request, source, pieces: pieces.all, plans }
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
        pieces: &Pieces<'_>,
        target: Language,
        layers: &[&Glossary],
    ) -> Plan {
        let all_are = |language| pieces.languages.iter().all(|of| *of == Some(language));
        // Of a text in both languages each party needs the other's part.
        let is_wanted = |language: &Option<Language>| is_for(request.targets(), *language, target);
        if request.is_conversation() && !pieces.languages.iter().any(is_wanted) {
            return Plan::Skip;
        }
        if all_are(target) || !source.has_words {
            return Plan::Pass;
        }
        let others = pieces.languages.iter().filter(|of| **of != Some(target));
        if let Some(unknown) = others.copied().find_map(|of| self.unknown(of, target)) {
            return reject(ErrorCode::UnsupportedLanguage, &unknown);
        }
        let config = &self.config;
        let texts = pieces.all.iter().filter_map(|piece| piece.text()).zip(&pieces.languages);
        let question = |(text, source): (&str, &Option<Language>)| {
            let asker = Asker { config, request, source: *source, target, layers };
            if *source == Some(target) { None } else { asker.question(text) }
        };
        let mut questions: Vec<_> = texts.map(question).collect();
        // Which part of a draft belongs to which part of a longer text, nobody knows.
        if let ([Some(question)], Some(draft)) = (&mut questions[..], request.draft(target)) {
            question.set_draft(draft);
        }
        if questions.iter().all(Option::is_none) { Plan::Pass } else { Plan::Ask(questions) }
    }
}

/// Whether what is said in `source` goes to `target`, which is one of the two of a conversation.
fn is_for(pair: &[Language], source: Option<Language>, target: Language) -> bool {
    match pair {
        [a, b] => other_party([*a, *b], source).contains(&target),
        _ => true,
    }
}

fn reject(code: ErrorCode, why: &impl ToString) -> Plan {
    Plan::Reject(code, why.to_string())
}
