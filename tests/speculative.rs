//! Growing sentences, translated anew with each word: with and without the last translation as a draft.
//!
//! The texts must be the same, letter for letter, and the drafts must halve the engine's steps. Times
//! are printed and never judged. `HYMT_TEST_ENGINE=cuda` insists on an engine.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]
#![allow(clippy::print_stderr, reason = "a test that measures says what it measured")]

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hymt_core::cache::CacheLimits;
use hymt_core::generate::{GenerateOptions, Generator};
use hymt_core::language::Language;
use hymt_core::request::RawRequest;
use hymt_core::translator::{Status, Translator, TranslatorConfig};
use hymt_ros::app::{self, EngineOptions, LoadedModel};
use hymt_ros::config::EngineChoice;
use serde::Deserialize;

/// Sentences of each source language; `HYMT_SENTENCES` asks for another number.
const SENTENCES: usize = 6;
/// How many times fewer steps drafts must take, over all languages.
const FEWER_STEPS_MIN: f64 = 2.0;

/// A line of the held-out file.
#[derive(Debug, Clone, Deserialize)]
struct Row {
    source: String,
    target: String,
    text: String,
}

/// What translating took.
#[derive(Debug, Clone, Copy, Default)]
struct Cost {
    /// Of the engine, those that read a prompt included.
    steps: u64,
    /// Prompts answered; each is short enough to be read in one step.
    prompts: u64,
    drafted: u64,
    accepted: u64,
    time: Duration,
}

#[derive(Debug, Default)]
struct Tally {
    hypotheses: u64,
    tokens: usize,
    /// Answers that the tokenizer would write in another number of tokens than the model did.
    respelt: u64,
    plain: Cost,
    drafted: Cost,
}

#[test]
fn drafts_halve_the_steps_and_change_no_letter() {
    let named = std::env::var("HYMT_TEST_ENGINE");
    let engine = named.map_or(EngineChoice::Auto, |name| name.parse().unwrap());
    let options = EngineOptions { engine, ..EngineOptions::default() };
    let model = app::load(&options, &mut |_| ()).unwrap();
    eprintln!("{:?}", model.about);
    // The cache would answer what was said before, and there would be nothing to compare.
    let cache = CacheLimits { entries_max: 0, ..CacheLimits::default() };
    let config = TranslatorConfig { family: model.family, cache, ..TranslatorConfig::default() };
    let translator = Translator::new(Arc::clone(&model.generator) as Arc<_>, config);
    let mut tallies: BTreeMap<String, Tally> = BTreeMap::new();
    for row in sentences() {
        let tally = tallies.entry(row.source.clone()).or_default();
        let target = Language::parse(&row.target).unwrap();
        let mut draft: Vec<(Language, String)> = Vec::new();
        for hypothesis in growing(&row) {
            let plain = translate(&model, &translator, &row, hypothesis, &[], &mut tally.plain);
            let drafted =
                translate(&model, &translator, &row, hypothesis, &draft, &mut tally.drafted);
            assert_eq!(plain, drafted, "{row:?} up to {hypothesis:?} with the draft {draft:?}");
            tally.hypotheses += 1;
            tally.tokens += plain.1;
            tally.respelt += u64::from(model.generator.count_tokens(&plain.0) != plain.1);
            draft = vec![(target, plain.0)];
        }
    }
    let total = report(&tallies);
    assert_eq!(tallies.len(), 6, "all six languages are sources");
    assert_eq!((total.plain.drafted, total.plain.accepted), (0, 0));
    assert!(total.drafted.accepted <= total.drafted.drafted);
    let fewer = total.plain.steps as f64 / total.drafted.steps as f64;
    assert!(fewer >= FEWER_STEPS_MIN, "only {fewer:.2} times fewer steps");
}

/// Some sentences of each language, none of whose slot combinations was in training.
fn sentences() -> Vec<Row> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/demo/heldout_small.jsonl");
    let text = std::fs::read_to_string(path).unwrap();
    let wanted = std::env::var("HYMT_SENTENCES").map_or(SENTENCES, |n| n.parse().unwrap());
    let mut found: BTreeMap<String, usize> = BTreeMap::new();
    let rows = text.lines().map(|line| serde_json::from_str::<Row>(line).unwrap());
    rows.filter(|row| {
        let n = found.entry(row.source.clone()).or_default();
        *n += 1;
        *n <= wanted
    })
    .collect()
}

/// What a recogniser says of a sentence: one word more each time, or one character.
fn growing(row: &Row) -> Vec<&str> {
    let text = row.text.trim();
    let ends_unit = |(at, c): (usize, char)| match row.source.as_str() {
        "zh" | "ja" => Some(at + c.len_utf8()),
        _ => c.is_whitespace().then_some(at),
    };
    let mut ends: Vec<usize> = text.char_indices().filter_map(ends_unit).collect();
    ends.push(text.len());
    ends.dedup();
    ends.into_iter().map(|end| &text[..end]).collect()
}

/// The translation and how many tokens it took.
fn translate(
    model: &LoadedModel,
    translator: &Translator,
    row: &Row,
    text: &str,
    drafts: &[(Language, String)],
    cost: &mut Cost,
) -> (String, usize) {
    let targets = [row.target.clone()];
    let raw = RawRequest { text, source: &row.source, targets: &targets, ..RawRequest::default() };
    let request = translator.request(&raw).unwrap().with_drafts(drafts);
    let (before, started) = (model.generator.stats(), Instant::now());
    let results = translator.translate(&request, &GenerateOptions::default(), &mut |_, _| ());
    cost.time += started.elapsed();
    let after = model.generator.stats();
    cost.steps += after.steps - before.steps;
    cost.prompts += after.completed - before.completed;
    cost.drafted += after.tokens_drafted - before.tokens_drafted;
    cost.accepted += after.tokens_accepted - before.tokens_accepted;
    let [result] = results.try_into().unwrap();
    // The beginning of a sentence can make the model repeat itself up to the limit.
    let is_answered = matches!(result.status, Status::Ok | Status::Passthrough | Status::Truncated);
    assert!(is_answered, "{row:?}: {result:?}");
    (result.text, result.tokens_out)
}

/// Prints the table, and adds it up.
fn report(tallies: &BTreeMap<String, Tally>) -> Tally {
    let mut total = Tally::default();
    eprintln!(
        "from  texts  tokens  respelt | steps: plain drafted fewer | decoding: plain drafted fewer | \
         right of guessed | ms: plain drafted"
    );
    for (language, tally) in tallies {
        line(language, tally);
        total.hypotheses += tally.hypotheses;
        total.tokens += tally.tokens;
        total.respelt += tally.respelt;
        total.plain.add(&tally.plain);
        total.drafted.add(&tally.drafted);
    }
    line("all", &total);
    total
}

fn line(name: &str, tally: &Tally) {
    let Tally { hypotheses, tokens, respelt, plain, drafted } = tally;
    let fewer = |plain: u64, drafted: u64| plain as f64 / drafted.max(1) as f64;
    eprintln!(
        "{name:4} {hypotheses:6} {tokens:7} {respelt:8} | {:12} {:7} {:5.2} | {:15} {:7} {:5.2} | \
         {:5} of {:7} | {:9.0} {:7.0}",
        plain.steps,
        drafted.steps,
        fewer(plain.steps, drafted.steps),
        plain.steps - plain.prompts,
        drafted.steps - drafted.prompts,
        fewer(plain.steps - plain.prompts, drafted.steps - drafted.prompts),
        drafted.accepted,
        drafted.drafted,
        plain.time.as_secs_f64() * 1e3,
        drafted.time.as_secs_f64() * 1e3,
    );
}

impl Cost {
    fn add(&mut self, other: &Self) {
        self.steps += other.steps;
        self.prompts += other.prompts;
        self.drafted += other.drafted;
        self.accepted += other.accepted;
        self.time += other.time;
    }
}
