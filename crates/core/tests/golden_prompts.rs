//! Prompts against `models/demo/golden_prompts.json`, which a Python program writes that shares no code
//! with this crate (`models/demo/prompts.py`): the demo model was trained on its strings.

use hymt_core::glossary::Term;
use hymt_core::language::Language;
use hymt_core::prompt::{self, PromptFamily, PromptRequest};
use hymt_core::request::Formality;
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

#[test]
fn every_golden_prompt_is_built_the_same() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../models/demo/golden_prompts.json");
    let json = std::fs::read_to_string(path).expect("models/demo/golden_prompts.json");
    let rows: Vec<Golden> = serde_json::from_str(&json).expect("a list of prompts");
    for family in [PromptFamily::HyMt15, PromptFamily::HyMt2] {
        let of_family: Vec<&Golden> = rows.iter().filter(|r| r.family == family.name()).collect();
        for kind in ["default", "terms", "context"] {
            assert!(of_family.iter().any(|row| row.kind == kind), "{} {kind}", family.name());
        }
        for row in of_family {
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
