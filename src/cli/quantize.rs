//! `hymt quantize`: a float checkpoint becomes an INT8 one.

pub(in crate::cli) mod calibration;

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Context as _;
use clap::Args;
use hymt_llm::quant::checkpoint::{
    CALIBRATION_TOKENS_MAX, QuantizeOptions, QuantizeReport, RunOptions, Smoothing, memory_needed,
    quantize_model,
};
use serde_json::json;
use signal_hook::consts::{SIGINT, SIGTERM};

use crate::app::memory::{available_bytes, peak_resident_bytes};
use crate::app::{self, EngineOptions, ModelChoice};
use crate::cli::output::Output;
use crate::cli::{UsageError, progress};
use crate::config::ModelFamily;

/// Arguments of `hymt quantize`.
#[derive(Debug, Args)]
pub struct QuantizeArgs {
    /// Model folder in bf16, f16 or f32 (Hugging Face layout).
    #[arg(long, value_name = "DIR")]
    model: PathBuf,
    /// Folder to write; it must not exist. Until it is complete it is called DIR.partial, and the
    /// same command goes on there after an interruption.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Text to calibrate with, one sentence a line, optionally a tab and the language to translate
    /// it into; without it, 160 sentences in 16 languages that come with this program.
    #[arg(long, value_name = "FILE")]
    calibration: Option<PathBuf>,
    /// Calibrate on random tokens: for models of `hymt synth`, which have no tokenizer.
    #[arg(long, conflicts_with = "calibration")]
    random_calibration: bool,
    /// Most calibration tokens.
    #[arg(long, default_value_t = QuantizeOptions::default().tokens_max, value_name = "N")]
    calibration_tokens: usize,
    /// Smoothing of outlier channels: search for each layer, one alpha from 0 to 1, or none.
    #[arg(long, default_value = "search", value_name = "search|ALPHA|none", value_parser = smoothing)]
    smoothing: Smoothing,
    /// Record scales for an INT8 KV cache too.
    #[arg(long)]
    kv_cache_scales: bool,
    /// Prompt family of the model; auto goes by the model's name.
    #[arg(long, default_value = "auto", value_name = "auto|hy-mt1.5|hy-mt2")]
    family: ModelFamily,
    /// Threads; 0 takes every core. The result does not depend on it.
    #[arg(long, default_value_t = 0)]
    threads: usize,
    /// Replace a model that this command wrote to DIR before, and discard an unfinished one.
    #[arg(long)]
    force: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Quantises.
///
/// # Errors
/// When the arguments are out of bounds, the model cannot be read, memory is too small, or the
/// folder cannot be written.
pub fn run(args: &QuantizeArgs, output: &mut Output) -> anyhow::Result<ExitCode> {
    if !(1..=CALIBRATION_TOKENS_MAX).contains(&args.calibration_tokens) {
        let tokens = args.calibration_tokens;
        let message =
            format!("--calibration-tokens is {tokens}; allowed: 1 to {CALIBRATION_TOKENS_MAX}");
        return Err(UsageError(message).into());
    }
    let model = EngineOptions {
        model: ModelChoice::Folder(args.model.clone()),
        family: args.family,
        ..EngineOptions::default()
    };
    app::check_folder(&model.model)?;
    check_memory(&model, args.calibration_tokens)?;
    let prompts = if args.random_calibration {
        calibration::random(model.source().config()?.vocab_size, args.calibration_tokens)
    } else {
        calibration::prompts(&model, args.calibration.as_deref())
            .context("calibration texts cannot be made; without tokenizer: --random-calibration")?
    };
    let options = QuantizeOptions {
        smoothing: args.smoothing,
        tokens_max: args.calibration_tokens,
        kv_cache_scales: args.kv_cache_scales,
        ..QuantizeOptions::default()
    };
    let run_options =
        RunOptions { threads: (args.threads > 0).then_some(args.threads), force: args.force };
    let stop = stop_flag()?;
    let bar = progress::steps_bar("quantising", 0);
    let report =
        quantize_model(&args.model, &args.out, &prompts, &options, run_options, &mut |step| {
            bar.set_length(step.total as u64);
            bar.set_position(step.done as u64);
            bar.set_message(format!("quantising layer {}", step.layer));
            if stop.load(Ordering::Relaxed) {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        });
    bar.finish_and_clear();
    print(args, &report?, output)?;
    Ok(ExitCode::SUCCESS)
}

fn smoothing(text: &str) -> Result<Smoothing, String> {
    match text {
        "search" => Ok(Smoothing::Search),
        "none" => Ok(Smoothing::None),
        alpha => match alpha.parse() {
            Ok(alpha) if (0.0..=1.0).contains(&alpha) => Ok(Smoothing::Alpha(alpha)),
            _ => Err("allowed: search, none, or an alpha from 0 to 1".to_owned()),
        },
    }
}

/// Better refused at once than killed by the system after an hour.
pub(in crate::cli) fn check_memory(model: &EngineOptions, n_tokens: usize) -> anyhow::Result<()> {
    const MIB: u64 = 1 << 20;
    let config = model.source().config()?;
    let needed = memory_needed(&config, n_tokens);
    let Some(available) = available_bytes() else { return Ok(()) };
    anyhow::ensure!(
        needed <= available,
        "calibrating this model with {n_tokens} calibration tokens takes {} MiB, {} MiB are free; \
         free some, or lower --calibration-tokens",
        needed / MIB,
        available / MIB
    );
    Ok(())
}

/// Becomes true on the first interrupt; a second one ends the process, as without us.
pub(in crate::cli) fn stop_flag() -> anyhow::Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        // The order matters: the default action runs when the flag is set already.
        signal_hook::flag::register_conditional_default(signal, Arc::clone(&stop))
            .and_then(|_| signal_hook::flag::register(signal, Arc::clone(&stop)))
            .context("cannot listen for interrupts")?;
    }
    Ok(stop)
}

fn print(args: &QuantizeArgs, report: &QuantizeReport, output: &mut Output) -> anyhow::Result<()> {
    let peak_mib = peak_resident_bytes().map(|bytes| bytes >> 20);
    let folds = || report.layers.iter().flat_map(|layer| &layer.folds);
    let n_smoothed = folds().filter(|fold| fold.alpha.is_some()).count();
    let (before, after) = folds().fold((0.0, 0.0), |(before, after), fold| {
        (before + f64::from(fold.error_plain), after + f64::from(fold.error))
    });
    if args.json {
        return output.json(&json!({
            "out": args.out,
            "calibration_tokens": report.calibration_tokens,
            "calibration_prompts": report.calibration_prompts,
            "folds": folds().count(),
            "folds_smoothed": n_smoothed,
            "error_plain": before,
            "error": after,
            "peak_mib": peak_mib,
        }));
    }
    output.line(format!(
        "{}: INT8 in {} layers, calibrated on {} tokens of {} prompts",
        args.out.display(),
        report.layers.len(),
        report.calibration_tokens,
        report.calibration_prompts
    ))?;
    let change = if before > 0.0 { 100.0 * (after / before - 1.0) } else { 0.0 };
    output.line(format!(
        "smoothed {n_smoothed} of {} folds; squared output error {change:+.1} % against none",
        folds().count()
    ))?;
    if let Some(peak_mib) = peak_mib {
        output.line(format!("peak memory {peak_mib} MiB"))?;
    }
    output.line(format!("try\n  hymt translate --model {} --to de Hello", args.out.display()))?;
    Ok(())
}
