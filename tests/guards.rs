//! Do the guards leave the demo model's good translations alone, and does an answer end when they say so?
//!
//! The 460 held-out requests of the repository, on the CPU in INT8; nothing is asked twice, nothing is taken
//! away. Numbers are counted, since the model does drop one now and then.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::path::Path;
use std::sync::Arc;

use hymt_core::generate::{Flow, GenerateOptions, GeneratePrompt, Generator};
use hymt_core::guard::GuardStats;
use hymt_core::request::RawRequest;
use hymt_core::translator::{BATCH_TARGETS_MAX, Status, Translator, TranslatorConfig};
use hymt_ros::app::{self, EngineOptions};
use serde::Deserialize;

/// A line of the held-out file.
#[derive(Debug, Deserialize)]
struct Row {
    source: String,
    target: String,
    text: String,
    reference: String,
    terms: Vec<(String, String)>,
    context: Option<String>,
}

#[test]
fn no_guard_fires_on_the_held_out_requests() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/demo/heldout_small.jsonl");
    let lines = std::fs::read_to_string(path).unwrap();
    let rows: Vec<Row> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let options = EngineOptions { slots: BATCH_TARGETS_MAX, ..EngineOptions::default() };
    let model = app::load(&options, &mut |_| ()).unwrap();
    let (family, guards) = (model.family, model.guards);
    let config = TranslatorConfig { family, guards, ..TranslatorConfig::default() };
    let translator = Translator::new(Arc::clone(&model.generator) as Arc<_>, config);
    let request = |row: &Row| {
        let terms: Vec<_> = row.terms.iter().map(|(from, to)| format!("{from}={to}")).collect();
        let raw = RawRequest {
            text: &row.text,
            source: &row.source,
            targets: std::slice::from_ref(&row.target),
            inline_terms: &terms,
            context: row.context.as_deref().unwrap_or_default(),
            ..RawRequest::default()
        };
        translator.request(&raw).unwrap_or_else(|error| panic!("{row:?}: {error}"))
    };
    let requests: Vec<_> = rows.iter().map(request).collect();
    let all = translator.translate_all(&requests, &GenerateOptions::default(), &mut |_, _, _| ());
    let mut n_false = 0;
    for (row, results) in rows.iter().zip(&all) {
        let [result] = results.as_slice() else { panic!("one target, one result") };
        assert_eq!(result.status, Status::Ok, "{row:?}: {}", result.detail);
        if !result.detail.is_empty() {
            eprintln!("{row:?} {:?}: {}", result.text, result.detail);
            // A difference that the reference has as well would be none.
            n_false += usize::from(result.text == row.reference);
        }
    }
    let stats = translator.guard_stats();
    eprintln!("{} requests: {stats:?}", rows.len());
    assert!(rows.len() >= 300, "only {} requests", rows.len());
    assert_eq!(n_false, 0, "translations equal to their reference are flagged");
    assert_eq!(stats, GuardStats { differences: stats.differences, ..GuardStats::default() });
}

#[test]
fn one_prompt_of_a_batch_ends_early_and_the_other_goes_on() {
    const STOP_AT_BYTES: usize = 20;
    let options = EngineOptions { scripted_step_ms: 1, ..EngineOptions::default() };
    let model = app::load_scripted(&options, |engine| engine).unwrap();
    let prompt =
        |word: &str| GeneratePrompt { user: word.repeat(80), new_tokens_max: 600, draft: None };
    let prompts = [prompt("alpha "), prompt("bravo ")];
    let mut told_behind = 0;
    let mut is_stopped = false;
    let results =
        model.generator.generate(&prompts, &GenerateOptions::default(), &mut |at, text| {
            if at != 0 {
                return Flow::Go;
            }
            told_behind += usize::from(is_stopped);
            is_stopped |= text.len() >= STOP_AT_BYTES;
            if is_stopped { Flow::Stop } else { Flow::Go }
        });
    let [stopped, whole] = results.try_into().unwrap_or_else(|_| panic!("two results"));
    let (stopped, whole) = (stopped.unwrap(), whole.unwrap());
    assert_eq!(told_behind, 0, "nothing is told of an answer that is not wanted");
    assert!(stopped.truncated && stopped.text.len() >= STOP_AT_BYTES, "{stopped:?}");
    assert!(stopped.text.len() < whole.text.len() / 2, "{stopped:?}");
    assert!(stopped.tokens_in > 0 && stopped.tokens_out > 0, "{stopped:?}");
    assert!(!whole.truncated && whole.text.contains("bravo bravo"), "{whole:?}");
}
