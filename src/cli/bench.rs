//! `hymt bench`: prefill and decode of a model on this machine.
//!
//! Machines are noisy, so compare figures only with others of the same few minutes.

mod compare;
mod measure;

use std::process::ExitCode;
use std::time::Instant;

use anyhow::Context as _;
use clap::Args;
use hymt_llm::engine::{Engine, EngineReport, MemorySpeed};
use serde_json::{Value, json};

pub(super) use self::measure::{Timing, Work};
use crate::app::network::load_cpu;
use crate::app::{self, memory};
use crate::cli::output::Output;
use crate::cli::{ModelArgs, UsageError, progress};

/// Most sequences of `--batch`.
pub const BATCH_MAX: usize = 64;
/// Most tokens of `--prompt-tokens` and of `--new-tokens`.
pub const TOKENS_MAX: usize = 8192;
/// Most repetitions.
pub const RUNS_MAX: usize = 100;
/// Most guesses of `--guesses`.
pub const GUESSES_MAX: usize = 32;
/// Most tokens of `--compare`.
pub const COMPARE_MAX: usize = 10_000;

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
    /// Also measure steps that verify so many guesses of a draft, for each sequence.
    #[arg(long, value_name = "TOKENS", default_value_t = 0)]
    guesses: usize,
    /// Repetitions; the median counts.
    #[arg(long, default_value_t = 3)]
    runs: usize,
    /// Also lead the engine and the CPU engine through so many tokens and compare their logits.
    #[arg(long, value_name = "TOKENS")]
    compare: Option<usize>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// What the figures are made from.
struct Measured {
    load_ms: f64,
    /// From the beginning of loading to the first token of the first answer.
    first_token_ms: f64,
    timings: Vec<Timing>,
    report: EngineReport,
    /// Largest resident set before the memory's speed was measured. Bytes.
    peak_rss_bytes: Option<u64>,
    speed: MemorySpeed,
}

/// Measures.
///
/// # Errors
/// When the arguments are out of bounds or the model cannot be loaded.
pub fn run(args: &BenchArgs, output: &mut Output) -> anyhow::Result<ExitCode> {
    args.check()?;
    let mut options = args.model.engine_options()?;
    options.slots = args.batch;
    let compared = args.compare.map_or(0, |_| compare::SEQUENCE_TOKENS);
    let behind = args.new_tokens.max(1 + args.guesses);
    options.context_tokens = (args.prompt_tokens + behind).max(compared);
    let started = Instant::now();
    let (mut engine, _) = progress::while_loading(|report| app::load_engine(&options, report))?;
    let load_ms = started.elapsed().as_secs_f64() * 1e3;
    anyhow::ensure!(
        engine.spec().context_tokens_max >= options.context_tokens,
        "the model's context holds {} tokens, {} are asked for",
        engine.spec().context_tokens_max,
        options.context_tokens
    );
    let (tokens, most) = (args.batch * (1 + args.guesses), engine.spec().step_tokens_max);
    anyhow::ensure!(
        args.guesses == 0 || tokens <= most,
        "--batch {} with --guesses {} makes steps of {tokens} tokens; a step has at most {most}",
        args.batch,
        args.guesses
    );
    let (first, timings) = args.measure(engine.as_mut())?;
    let measured = Measured {
        load_ms,
        first_token_ms: load_ms + first.prefill_ms,
        timings,
        report: engine.report().context("the engine cannot say what it holds")?,
        peak_rss_bytes: memory::peak_resident_bytes(),
        // After the timed steps, because it takes memory and time.
        speed: engine.memory_speed().context("the memory's speed cannot be measured")?,
    };
    let mut document = measured.document(args);
    document["model"] = json!(options.model_name());
    document["engine"] = json!(engine.spec().name);
    if let Some(n) = args.compare {
        let mut reference = progress::while_loading(|report| load_cpu(&options, report))?;
        document["compare"] = compare::compare(&mut reference, engine.as_mut(), n)?;
    }
    if args.json {
        output.json(&document)?;
        return Ok(ExitCode::SUCCESS);
    }
    let figures = document.as_object().context("the document above is an object")?;
    for (name, value) in figures.iter().filter(|(_, value)| !value.is_null()) {
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        output.line(format!("{name:<21} {text}"))?;
    }
    Ok(ExitCode::SUCCESS)
}

impl BenchArgs {
    fn check(&self) -> Result<(), UsageError> {
        for (name, value, allowed) in [
            ("--prompt-tokens", self.prompt_tokens, 1..=TOKENS_MAX),
            // The first token comes out of the prefill, so decode takes a second one.
            ("--new-tokens", self.new_tokens, 2..=TOKENS_MAX),
            ("--batch", self.batch, 1..=BATCH_MAX),
            ("--runs", self.runs, 1..=RUNS_MAX),
            ("--guesses", self.guesses, 0..=GUESSES_MAX),
            ("--compare", self.compare.unwrap_or(1), 1..=COMPARE_MAX),
        ] {
            if !allowed.contains(&value) {
                let (low, high) = allowed.into_inner();
                return Err(UsageError(format!("{name} is {value}; allowed: {low} to {high}")));
            }
        }
        Ok(())
    }

    /// The first repetition, which faults pages in and is not counted, and the others.
    fn measure(&self, engine: &mut dyn Engine) -> anyhow::Result<(Timing, Vec<Timing>)> {
        let work = Work {
            batch: self.batch,
            prompt_tokens: self.prompt_tokens,
            new_tokens: self.new_tokens,
            guesses: self.guesses,
        };
        let bar = progress::steps_bar("measuring", self.runs as u64 + 1);
        let mut repeat = || {
            let timing = work.run(engine);
            bar.inc(1);
            timing
        };
        let first = repeat()?;
        let timings = (0..self.runs).map(|_| repeat()).collect::<anyhow::Result<_>>()?;
        bar.finish_and_clear();
        Ok((first, timings))
    }
}

impl Measured {
    /// All figures. Those that an engine has nothing to say of are null.
    fn document(&self, args: &BenchArgs) -> Value {
        let of = |value: fn(&Timing) -> f64| median(self.timings.iter().map(value).collect());
        let prefill_ms = of(|timing| timing.prefill_ms);
        let steps = (args.new_tokens - 1) as f64;
        let step_ms = of(|timing| timing.decode_ms) / steps;
        let verify_ms = (args.guesses > 0).then(|| of(|timing| timing.verify_ms) / steps);
        let prompt_tokens = (args.prompt_tokens * args.batch) as f64;
        let EngineReport { device, step_bytes, memory, kernels } = &self.report;
        let MemorySpeed { copy, read } = self.speed;
        let gb_per_s = step_bytes.map(|bytes| bytes as f64 / step_ms / 1e6);
        let percent = |of: Option<f64>| Some(round(100.0 * gb_per_s? / of?));
        json!({
            "prompt_tokens": args.prompt_tokens,
            "new_tokens": args.new_tokens,
            "batch": args.batch,
            "runs": args.runs,
            "device": device,
            "load_ms": round(self.load_ms),
            "first_token_ms": round(self.first_token_ms),
            "kernels_compiled": kernels.map(|kernels| kernels.compiled),
            "kernels_ms": kernels.map(|kernels| round(kernels.ms)),
            "prefill_ms": round(prefill_ms),
            "prefill_tokens_per_s": round(prompt_tokens * 1e3 / prefill_ms),
            "decode_ms_per_token": round(step_ms),
            "guesses": (args.guesses > 0).then_some(args.guesses),
            "verify_ms_per_step": verify_ms.map(round),
            "tokens_per_s": round(args.batch as f64 * 1e3 / step_ms),
            "sentence_ms": round(of(|timing| timing.prefill_ms + timing.decode_ms)),
            "decode_gb_per_s": gb_per_s.map(round),
            "memory_copy_gb_per_s": copy.map(round),
            "memory_read_gb_per_s": read.map(round),
            "percent_of_copy": percent(copy),
            "percent_of_read": percent(read),
            "weights_mib": memory.map_or(*step_bytes, |memory| Some(memory.weights)).map(mib),
            "buffers_mib": memory.map(|memory| mib(memory.buffers)),
            "cache_mib": memory.map(|memory| mib(memory.cache)),
            "free_mib": memory.map(|memory| mib(memory.free)),
            "total_mib": memory.map(|memory| mib(memory.total)),
            "peak_rss_mib": self.peak_rss_bytes.map(mib),
        })
    }
}

pub(super) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

/// Four figures of a small value, two decimals of others; more would be noise.
pub(super) fn round(value: f64) -> f64 {
    let factor = if value < 10.0 { 1e4 } else { 1e2 };
    (value * factor).round() / factor
}

fn mib(bytes: u64) -> f64 {
    round(bytes as f64 / f64::from(1 << 20))
}
