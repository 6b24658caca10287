//! Does the embedded demo model translate as well in our engine as its README says?
//!
//! Scores held-out requests, none of whose slot combinations was in training, in INT8 on the CPU.
//! `HYMT_HELDOUT` names another file than the 300 requests of the repository, and `HYMT_DUMP` one
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

/// Share of plain requests whose translation must be the reference, letter for letter.
const EXACT_PLAIN_MIN: f64 = 0.90;
/// Share of requested terms that must be in the translation.
const TERMS_USED_MIN: f64 = 0.95;
/// Fewer would say nothing.
const PLAIN_MIN: usize = 200;
/// Fewer would say nothing; requests have up to three terms, of which some do not occur.
const TERMS_MIN: usize = 50;

/// A line of a held-out file.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Row {
    source: String,
    target: String,
    text: String,
    reference: String,
    terms: Vec<(String, String)>,
    context: Option<String>,
    #[serde(default)]
    hypothesis: String,
}

impl Row {
    fn is_plain(&self) -> bool {
        self.terms.is_empty() && self.context.is_none()
    }

    fn is_exact(&self) -> bool {
        self.hypothesis == self.reference
    }

    /// The terms whose source occurs. Looked for here by other means than the glossary has.
    fn requested(&self) -> impl Iterator<Item = &(String, String)> {
        let text = self.text.to_lowercase();
        self.terms.iter().filter(move |(source, _)| text.contains(&source.to_lowercase()))
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
    let requested: Vec<_> = rows
        .iter()
        .flat_map(|row| row.requested().map(|(_, target)| row.hypothesis.contains(target.as_str())))
        .collect();
    let of = |kind: &dyn Fn(&Row) -> bool| -> (usize, f64) {
        let exact: Vec<_> = rows.iter().filter(|row| kind(row)).map(Row::is_exact).collect();
        (exact.len(), share(&exact))
    };
    let (n_plain, plain) = of(&Row::is_plain);
    let (n_terms, terms) = of(&|row| !row.terms.is_empty());
    let (n_context, context) = of(&|row| row.context.is_some());
    let used = share(&requested);
    eprintln!("{} requests in {seconds:.1} s, INT8 on the CPU", rows.len());
    eprintln!("exact match, plain     {:5.1} % of {n_plain}", plain * 100.0);
    eprintln!("exact match, glossary  {:5.1} % of {n_terms}", terms * 100.0);
    eprintln!("exact match, context   {:5.1} % of {n_context}", context * 100.0);
    eprintln!("requested terms used   {:5.1} % of {}", used * 100.0, requested.len());
    for row in rows.iter().filter(|row| !row.is_exact()).take(10) {
        let Row { source, target, text, reference, hypothesis, terms, .. } = row;
        eprintln!("{source}-{target} {text:?} {terms:?}: {hypothesis:?}, expected {reference:?}");
    }
    assert!(n_plain >= PLAIN_MIN, "only {n_plain} plain requests");
    assert!(requested.len() >= TERMS_MIN, "only {} requested terms", requested.len());
    assert!(plain >= EXACT_PLAIN_MIN, "exact match of plain requests is {plain}");
    assert!(used >= TERMS_USED_MIN, "only {used} of the requested terms are used");
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
        row.hypothesis = result.text;
    }
}

fn dump(rows: &[Row], path: &Path) {
    let lines: Vec<_> = rows.iter().map(|row| serde_json::to_string(row).unwrap()).collect();
    std::fs::write(path, lines.join("\n") + "\n").unwrap();
}

fn share(hits: &[bool]) -> f64 {
    hits.iter().filter(|hit| **hit).count() as f64 / hits.len().max(1) as f64
}
