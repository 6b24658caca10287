//! Prompts against `models/demo/golden_prompts.json`, which a Python program writes that shares no code
//! with this crate (`models/demo/prompts.py`): the demo model was trained on its strings.
//!
//! `HYMT_GOLDEN` names another file of the same form, for instance one with many random requests.

use std::sync::{Arc, Mutex};

use hymt_core::generate::{
    Flow, GenerateError, GenerateOptions, GeneratePrompt, Generated, Generator,
};
use hymt_core::glossary::Term;
use hymt_core::language::Language;
use hymt_core::prompt::{self, PromptFamily, PromptRequest};
use hymt_core::request::{Formality, RawRequest};
use hymt_core::translator::{Translator, TranslatorConfig};
use serde::Deserialize;

#[derive(Deserialize)]
struct Golden {
    family: String,
    kind: String,
    source: String,
    target: String,
    terms: Vec<(String, String)>,
    context: Option<String>,
    text: String,
    prompt: String,
}

const FAMILIES: [PromptFamily; 2] = [PromptFamily::HyMt15, PromptFamily::HyMt2];

#[test]
fn every_golden_prompt_is_built_the_same() {
    let rows = golden();
    for family in FAMILIES {
        let of_family: Vec<&Golden> = rows.iter().filter(|r| r.family == family.name()).collect();
        for kind in ["default", "terms", "context"] {
            assert!(of_family.iter().any(|row| row.kind == kind), "{} {kind}", family.name());
        }
        for row in of_family.into_iter().filter(|row| row.kind != "format") {
            let language = |code: &str| Language::parse(code).expect("a supported language");
            let terms: Vec<Term> =
                row.terms.iter().map(|(a, b)| Term::new(a, b).expect("a valid term")).collect();
            let built = prompt::build(
                family,
                &PromptRequest {
                    source: Some(language(&row.source)),
                    target: language(&row.target),
                    text: &row.text,
                    terms: &terms,
                    context: row.context.as_deref(),
                    formality: Formality::Default,
                },
            );
            assert_eq!(built, row.prompt, "{} {} {}", row.family, row.kind, row.target);
        }
    }
}

/// Through the whole translator, which puts markers, lead-in and task together.
#[test]
fn a_text_with_format_is_asked_for_the_same() {
    let rows = golden();
    for family in FAMILIES {
        let (asked, config) = (
            Arc::new(Asked::default()),
            TranslatorConfig { family, ..TranslatorConfig::default() },
        );
        let translator = Translator::new(Arc::clone(&asked) as Arc<_>, config);
        let of_family = rows.iter().filter(|row| row.family == family.name());
        let format: Vec<&Golden> = of_family.filter(|row| row.kind == "format").collect();
        assert!(format.len() >= 7, "{} of {}", format.len(), family.name());
        for row in format {
            let terms: Vec<_> = row.terms.iter().map(|(a, b)| format!("{a}={b}")).collect();
            let raw = RawRequest {
                text: &row.text,
                source: &row.source,
                targets: std::slice::from_ref(&row.target),
                inline_terms: &terms,
                context: row.context.as_deref().unwrap_or_default(),
                ..RawRequest::default()
            };
            let request = translator.request(&raw).expect("a valid request");
            asked.0.lock().expect("no panic").clear();
            translator.translate_all(&[request], &GenerateOptions::default(), &mut |_, _, _| ());
            let prompts = asked.0.lock().expect("no panic");
            assert_eq!(prompts.first(), Some(&row.prompt), "{}: {}", row.family, row.text);
        }
    }
}

/// Notes what it is asked, and answers nothing of use.
#[derive(Default)]
struct Asked(Mutex<Vec<String>>);

impl Generator for Asked {
    fn count_tokens(&self, text: &str) -> usize {
        text.len()
    }

    fn generate(
        &self,
        prompts: &[GeneratePrompt],
        _: &GenerateOptions,
        _: &mut dyn FnMut(usize, &str) -> Flow,
    ) -> Vec<Result<Generated, GenerateError>> {
        let mut asked = self.0.lock().expect("no panic");
        asked.extend(prompts.iter().map(|prompt| prompt.user.clone()));
        let answer = |_| Err(GenerateError::Engine { detail: "it only listens".to_owned() });
        prompts.iter().map(answer).collect()
    }
}

fn golden() -> Vec<Golden> {
    let ours = concat!(env!("CARGO_MANIFEST_DIR"), "/../../models/demo/golden_prompts.json");
    let path = std::env::var("HYMT_GOLDEN").unwrap_or_else(|_| ours.to_owned());
    let json = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    serde_json::from_str(&json).expect("a list of prompts")
}
