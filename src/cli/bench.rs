//! `hymt bench`: prefill and decode of a model on this machine.
//!
//! Machines are noisy, so compare figures only with others of the same few minutes.

use std::process::ExitCode;
use std::time::Instant;

use anyhow::Context as _;
use clap::Args;
use hymt_llm::TokenId;
use hymt_llm::engine::{BatchRow, Engine, LogitsWanted, Slot};
use serde_json::json;

use crate::app::{self, memory};
use crate::cli::output::Output;
use crate::cli::{ModelArgs, UsageError, progress};

/// Most sequences of `--batch`.
pub const BATCH_MAX: usize = 64;
/// Most tokens of `--prompt-tokens` and of `--new-tokens`.
pub const TOKENS_MAX: usize = 8192;
/// Most repetitions.
pub const RUNS_MAX: usize = 100;

/// Arguments of `hymt bench`.
#[derive(Debug, Args)]
pub struct BenchArgs {
    #[command(flatten)]
    model: ModelArgs,
    /// Tokens of each prompt.
    #[arg(long, default_value_t = 48)]
    prompt_tokens: usize,
    /// Tokens of each answer.
    #[arg(long, default_value_t = 24)]
    new_tokens: usize,
    /// Sequences at the same time.
    #[arg(long, default_value_t = 1)]
    batch: usize,
    /// Repetitions; the median counts.
    #[arg(long, default_value_t = 3)]
    runs: usize,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// What is run: prompts of one length, then as many answers side by side.
#[derive(Debug, Clone, Copy)]
pub(super) struct Load {
    /// Tokens of each prompt.
    pub(super) prompt_tokens: usize,
    /// Tokens of each answer; at least two, because the first comes out of the prefill.
    pub(super) new_tokens: usize,
    /// Sequences at the same time.
    pub(super) batch: usize,
}

/// One repetition.
pub(super) struct Timing {
    /// All prompts.
    pub(super) prefill_ms: f64,
    /// All steps after the first token.
    pub(super) decode_ms: f64,
}

/// Measures.
///
/// # Errors
/// When the arguments are out of bounds or the model cannot be loaded.
pub fn run(args: &BenchArgs, output: &mut Output) -> anyhow::Result<ExitCode> {
    for (name, value, allowed) in [
        ("--prompt-tokens", args.prompt_tokens, 1..=TOKENS_MAX),
        // The first token comes out of the prefill, so decode takes a second one.
        ("--new-tokens", args.new_tokens, 2..=TOKENS_MAX),
        ("--batch", args.batch, 1..=BATCH_MAX),
        ("--runs", args.runs, 1..=RUNS_MAX),
    ] {
        if !allowed.contains(&value) {
            let (low, high) = allowed.into_inner();
            return Err(UsageError(format!("{name} is {value}; allowed: {low} to {high}")).into());
        }
    }
    let mut options = args.model.engine_options()?;
    options.slots = args.batch;
    options.context_tokens = args.prompt_tokens + args.new_tokens;
    let started = Instant::now();
    let (mut engine, config) =
        progress::while_loading(|report| app::load_engine(&options, report))?;
    let load_ms = started.elapsed().as_secs_f64() * 1e3;
    anyhow::ensure!(
        engine.spec().context_tokens_max >= options.context_tokens,
        "the model's context holds {} tokens, {} are asked for",
        engine.spec().context_tokens_max,
        options.context_tokens
    );
    let load =
        Load { prompt_tokens: args.prompt_tokens, new_tokens: args.new_tokens, batch: args.batch };
    let bar = progress::steps_bar("measuring", args.runs as u64 + 1);
    let mut timings = Vec::with_capacity(args.runs);
    for number in 0..=args.runs {
        let timing = measure(engine.as_mut(), load, config.vocab_size)?;
        // The first one faults pages in and is not counted.
        if number > 0 {
            timings.push(timing);
        }
        bar.inc(1);
    }
    bar.finish_and_clear();
    let prefill_ms = median(timings.iter().map(|timing| timing.prefill_ms).collect());
    let decode_ms = median(timings.iter().map(|timing| timing.decode_ms).collect());
    let steps = (args.new_tokens - 1) as f64;
    let decode_ms_per_token = decode_ms / steps;
    let tokens_per_s = args.batch as f64 * 1e3 / decode_ms_per_token;
    let prompt_tokens = (args.prompt_tokens * args.batch) as f64;
    let document = json!({
        "model": options.model_name(),
        "engine": engine.spec().name,
        "prompt_tokens": args.prompt_tokens,
        "new_tokens": args.new_tokens,
        "batch": args.batch,
        "runs": args.runs,
        "load_ms": round(load_ms),
        "prefill_ms": round(prefill_ms),
        "prefill_tokens_per_s": round(prompt_tokens * 1e3 / prefill_ms),
        "decode_ms_per_token": round(decode_ms_per_token),
        "tokens_per_s": round(tokens_per_s),
        "peak_rss_mib": peak_rss_mib().map(round),
    });
    if args.json {
        output.json(&document)?;
        return Ok(ExitCode::SUCCESS);
    }
    for (name, value) in document.as_object().context("the document above is an object")? {
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        output.line(format!("{name:<21} {text}"))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Fills the prompts of all sequences, then decodes them together.
pub(super) fn measure(
    engine: &mut dyn Engine,
    load: Load,
    vocab_size: usize,
) -> anyhow::Result<Timing> {
    let Load { prompt_tokens, new_tokens, batch: n_sequences } = load;
    let slots: Vec<_> = (0..n_sequences as u16).map(Slot).collect();
    // Spread over the vocabulary; the time does not depend on which ones they are.
    let token = |index: usize| (index * 7919 % vocab_size) as TokenId;
    let prompts: Vec<Vec<TokenId>> = (0..n_sequences)
        .map(|sequence| (0..prompt_tokens).map(|at| token(sequence * 131 + at)).collect())
        .collect();
    let mut logits = Vec::new();
    let started = Instant::now();
    let chunk = (engine.spec().step_tokens_max / n_sequences).max(1);
    for at in (0..prompt_tokens).step_by(chunk) {
        let end = (at + chunk).min(prompt_tokens);
        let wanted = if end == prompt_tokens { LogitsWanted::Last } else { LogitsWanted::None };
        let batch: Vec<_> = slots
            .iter()
            .zip(&prompts)
            .map(|(slot, prompt)| BatchRow {
                slot: *slot,
                position: at,
                tokens: &prompt[at..end],
                logits: wanted,
            })
            .collect();
        engine.step(&batch, &mut logits)?;
    }
    let prefill_ms = started.elapsed().as_secs_f64() * 1e3;
    let started = Instant::now();
    for step in 0..new_tokens - 1 {
        let next = [token(step)];
        let batch: Vec<_> = slots
            .iter()
            .map(|slot| BatchRow {
                slot: *slot,
                position: prompt_tokens + step,
                tokens: &next,
                logits: LogitsWanted::Last,
            })
            .collect();
        engine.step(&batch, &mut logits)?;
    }
    let decode_ms = started.elapsed().as_secs_f64() * 1e3;
    slots.iter().for_each(|slot| engine.release(*slot));
    Ok(Timing { prefill_ms, decode_ms })
}

pub(super) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

/// Two decimals; more would be noise.
pub(super) fn round(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}

/// Largest resident set of this process so far. MiB; `None` where the system does not say.
fn peak_rss_mib() -> Option<f64> {
    memory::peak_resident_bytes().map(|bytes| bytes as f64 / f64::from(1 << 20))
}
