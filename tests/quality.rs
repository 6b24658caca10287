//! Does the embedded demo model translate as well in our engine as its README says?
//!
//! Scores held-out requests, none of whose slot combinations was in training, in INT8 on the CPU.
//! `HYMT_HELDOUT` names another file than the 460 requests of the repository, and `HYMT_DUMP` one
//! that receives every request with its hypothesis, for `models/demo/score.py`.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use hymt_core::generate::GenerateOptions;
use hymt_core::request::RawRequest;
use hymt_core::translator::{BATCH_TARGETS_MAX, Status, Translator, TranslatorConfig};
use hymt_ros::app::{self, EngineOptions};
use serde::{Deserialize, Serialize};

/// Share of requests of each kind whose translation must be the reference, letter for letter.
const EXACT_MIN: [(&str, f64); 6] = [
    ("default", 0.90),
    ("terms", 0.90),
    ("context", 0.90),
    ("tags", 0.90),
    // What only the context can decide.
    ("homograph", 0.90),
    ("pronoun", 0.90),
];
/// Share of requested terms that must be in the translation.
const TERMS_USED_MIN: f64 = 0.95;
/// Share of texts with tags and the like whose every tag must be in the translation.
const TAGS_KEPT_MIN: f64 = 0.95;
/// Fewer would say nothing; requests have up to three terms, of which some do not occur.
const TERMS_MIN: usize = 50;
/// Fewer of a kind would say nothing.
const ROWS_MIN: usize = 20;

/// A line of a held-out file.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Row {
    kind: String,
    source: String,
    target: String,
    text: String,
    reference: String,
    terms: Vec<(String, String)>,
    context: Option<String>,
    /// Tags, links, placeholders and the like, as they stand in the text.
    #[serde(default)]
    tags: Vec<String>,
    #[serde(default)]
    hypothesis: String,
    #[serde(default)]
    detail: String,
}

impl Row {
    fn is_exact(&self) -> bool {
        self.hypothesis == self.reference
    }

    /// The terms whose source occurs. Looked for here by other means than the glossary has.
    fn requested(&self) -> impl Iterator<Item = &(String, String)> {
        let text = self.text.to_lowercase();
        self.terms.iter().filter(move |(source, _)| text.contains(&source.to_lowercase()))
    }

    /// Looked for here by other means than the translator has.
    fn keeps_tags(&self) -> bool {
        let count = |text: &str, tag: &str| text.matches(tag).count();
        let is_kept = |tag: &String| count(&self.hypothesis, tag) == count(&self.text, tag);
        self.tags.iter().all(is_kept) && !self.detail.contains("formatting")
    }
}

#[test]
fn the_demo_model_translates_what_it_has_not_seen() {
    let mut rows = heldout();
    let started = Instant::now();
    translate(&mut rows);
    let seconds = started.elapsed().as_secs_f64();
    if let Some(path) = std::env::var_os("HYMT_DUMP") {
        dump(&rows, Path::new(&path));
    }
    eprintln!("{} requests in {seconds:.1} s, INT8 on the CPU", rows.len());
    for row in rows.iter().filter(|row| !row.is_exact()).take(10) {
        let Row { source, target, text, reference, hypothesis, terms, detail, .. } = row;
        eprintln!(
            "{source}-{target} {text:?} {terms:?}: {hypothesis:?}, expected {reference:?} {detail}"
        );
    }
    let hits = |of: &dyn Fn(&Row) -> Vec<bool>| rows.iter().flat_map(of).collect::<Vec<bool>>();
    let used = hits(&|row| {
        row.requested().map(|(_, target)| row.hypothesis.contains(target.as_str())).collect()
    });
    let kept = hits(&|row| if row.tags.is_empty() { vec![] } else { vec![row.keeps_tags()] });
    eprintln!("requested terms used {:5.1} % of {}", share(&used) * 100.0, used.len());
    eprintln!("tags kept            {:5.1} % of {}", share(&kept) * 100.0, kept.len());
    let exact = EXACT_MIN.map(|(kind, min)| {
        let of = |row: &Row| if row.kind == kind { vec![row.is_exact()] } else { vec![] };
        let exact = hits(&of);
        eprintln!("exact, {kind:<12}  {:5.1} % of {}", share(&exact) * 100.0, exact.len());
        (kind, exact, min)
    });
    for (kind, exact, min) in exact {
        assert!(exact.len() >= ROWS_MIN, "only {} requests of kind {kind}", exact.len());
        assert!(share(&exact) >= min, "exact match of {kind} is {}", share(&exact));
    }
    assert!(used.len() >= TERMS_MIN, "only {} requested terms", used.len());
    assert!(share(&used) >= TERMS_USED_MIN, "{} of the requested terms are used", share(&used));
    assert!(kept.len() >= ROWS_MIN, "only {} texts with tags", kept.len());
    assert!(share(&kept) >= TAGS_KEPT_MIN, "{} of the texts keep their tags", share(&kept));
}

fn heldout() -> Vec<Row> {
    let ours = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/demo/heldout_small.jsonl");
    let path = std::env::var_os("HYMT_HELDOUT").map_or(ours, PathBuf::from);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Fills the hypotheses in; as many sequences at once as one batch may have.
fn translate(rows: &mut [Row]) {
    let options = EngineOptions { slots: BATCH_TARGETS_MAX, ..EngineOptions::default() };
    let model = app::load(&options, &mut |_| ()).unwrap();
    assert!(model.about.engine.contains("int8"), "{:?}", model.about);
    let config = TranslatorConfig { family: model.family, ..TranslatorConfig::default() };
    let translator = Translator::new(Arc::clone(&model.generator) as Arc<_>, config);
    let request = |row: &Row| {
        let targets = [row.target.clone()];
        let terms: Vec<_> = row.terms.iter().map(|(from, to)| format!("{from}={to}")).collect();
        let raw = RawRequest {
            text: &row.text,
            source: &row.source,
            targets: &targets,
            inline_terms: &terms,
            context: row.context.as_deref().unwrap_or_default(),
            ..RawRequest::default()
        };
        translator.request(&raw).unwrap_or_else(|error| panic!("{row:?}: {error}"))
    };
    let requests: Vec<_> = rows.iter().map(request).collect();
    let results =
        translator.translate_all(&requests, &GenerateOptions::default(), &mut |_, _, _| ());
    assert_eq!(results.len(), rows.len());
    for (row, results) in rows.iter_mut().zip(results) {
        let [result] = results.try_into().unwrap();
        assert_eq!(result.status, Status::Ok, "{row:?}: {}", result.detail);
        (row.hypothesis, row.detail) = (result.text, result.detail);
    }
}

fn dump(rows: &[Row], path: &Path) {
    let lines: Vec<_> = rows.iter().map(|row| serde_json::to_string(row).unwrap()).collect();
    std::fs::write(path, lines.join("\n") + "\n").unwrap();
}

fn share(hits: &[bool]) -> f64 {
    hits.iter().filter(|hit| **hit).count() as f64 / hits.len().max(1) as f64
}
