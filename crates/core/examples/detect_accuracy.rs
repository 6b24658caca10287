//! Measures language detection on the committed utterances: accuracy per language, time, memory.
//! `cargo run --release -p hymt_core --example detect_accuracy [--held-out] [CODES...]`;
//! docs/detection.md holds the result.
#![allow(clippy::print_stdout, reason = "it is a program that reports")]

use std::collections::BTreeMap;
use std::time::Instant;

use hymt_core::detect::{DetectConfig, Detector};
use hymt_core::language::Language;

const UTTERANCES: &str = include_str!("../tests/data/utterances.tsv");
const HELD_OUT: &str = include_str!("../tests/data/utterances_heldout.tsv");

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut codes: Vec<String> = std::env::args().skip(1).collect();
    let is_held_out = codes.first().is_some_and(|first| first == "--held-out");
    let utterances = if is_held_out { HELD_OUT } else { UTTERANCES };
    codes.retain(|code| code != "--held-out");
    let allowed = codes.iter().map(|code| Language::parse(code)).collect::<Result<Vec<_>, _>>()?;
    let detector =
        Detector::new(&DetectConfig { allowed: allowed.clone(), ..DetectConfig::default() });
    let mut per_language: BTreeMap<&str, [usize; 4]> = BTreeMap::new();
    let (mut total_ms, mut worst_ms) = (0.0_f64, 0.0_f64);
    for line in utterances.lines().filter(|line| !line.starts_with('#')) {
        let (code, text) = line.split_once('\t').ok_or("a line without a tab")?;
        let expected = Language::parse(code)?;
        if !allowed.is_empty() && !allowed.contains(&expected) {
            continue;
        }
        let started = Instant::now();
        let guess = detector.guess(text);
        let ms = started.elapsed().as_secs_f64() * 1e3;
        total_ms += ms;
        worst_ms = worst_ms.max(ms);
        let is_right = guess.is_some_and(|guess| guess.language == expected);
        let is_sure =
            guess.is_some_and(|guess| guess.confidence >= DetectConfig::default().min_confidence);
        let counts = per_language.entry(code).or_default();
        counts[0] += 1;
        counts[1] += usize::from(is_right);
        counts[2] += usize::from(is_sure);
        counts[3] += usize::from(is_sure && is_right);
        if !is_right {
            println!("  {code}: {text} -> {guess:?}");
        }
    }
    let sum = |i: usize| per_language.values().map(|counts| counts[i]).sum::<usize>();
    for (code, [count, right, sure, _]) in &per_language {
        println!("{code:8} {right:3} of {count:3} right, {sure:3} above the floor");
    }
    let percent = |part: usize, whole: usize| 100.0 * part as f64 / whole.max(1) as f64;
    println!(
        "best guess right {}/{} = {:.1} %; above the floor {} = {:.1} %, of these right {:.1} %",
        sum(1),
        sum(0),
        percent(sum(1), sum(0)),
        sum(2),
        percent(sum(2), sum(0)),
        percent(sum(3), sum(2))
    );
    println!("mean {:.4} ms, worst {worst_ms:.4} ms", total_ms / sum(0).max(1) as f64);
    if let Ok(status) = std::fs::read_to_string("/proc/self/status") {
        status.lines().filter(|l| l.starts_with("VmHWM")).for_each(|l| println!("{l}"));
    }
    Ok(())
}
