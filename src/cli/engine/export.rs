//! `hymt engine export-onnx`: a model becomes an ONNX graph with explicit INT8.

mod scales;

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};

use clap::{Args, ValueEnum};
use hymt_llm::quant::checkpoint::CALIBRATION_TOKENS_MAX;
use hymt_llm::quant::smoothing::Fold;
use hymt_tensorrt::onnx::export::CONTEXT_TOKENS_MAX;
use hymt_tensorrt::onnx::lint::{Finding, Parser, lint_file};
use hymt_tensorrt::onnx::{ExportOptions, ExportReport, FloatType, WeightForm, export_model};
use serde_json::json;

use self::scales::Scales;
use crate::app::memory::peak_resident_bytes;
use crate::app::{self, EngineOptions, ModelChoice};
use crate::cli::output::Output;
use crate::cli::quantize::stop_flag;
use crate::cli::{UsageError, progress};
use crate::config::ModelFamily;

/// Calibration tokens unless asked otherwise: enough for all sixteen languages of the sentences
/// that come with this program, and half a minute for a 1.8B model on two cores.
pub(super) const CALIBRATION_TOKENS: usize = 1024;
/// Findings that are printed; the JSON has all of them.
const FINDINGS_SHOWN_MAX: usize = 8;

/// Types of what is not INT8.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Float {
    /// Everything that is not INT8 in 32 bits; what the tests hold against the CPU engine.
    F32,
    /// Cache, attention, embedding and head in 16 bits: half the memory.
    F16,
}

/// Inputs of linear layers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Input {
    /// Of q, k and v.
    Qkv,
    /// Of o.
    Output,
    /// Of gate and up.
    FeedForward,
    /// Of down: in most models the one that a static scale fits worst.
    Down,
}

impl Input {
    fn fold(self) -> Fold {
        match self {
            Self::Qkv => Fold::QkvInput,
            Self::Output => Fold::OutputInput,
            Self::FeedForward => Fold::FeedForwardInput,
            Self::Down => Fold::DownInput,
        }
    }
}

/// Arguments of `hymt engine export-onnx`.
#[derive(Debug, Args)]
pub struct ExportArgs {
    /// Model folder (Hugging Face layout) or .gguf file; without it the embedded demo model.
    #[arg(long, value_name = "PATH")]
    pub(super) model: Option<PathBuf>,
    /// Folder to write; it must not exist.
    #[arg(long, value_name = "DIR")]
    pub(super) out: PathBuf,
    /// Calibrate the activations on this text, one sentence a line, optionally a tab and the
    /// language to translate it into, even where the model brings scales. Without it the scales
    /// come from the model's input_scale tensors, else from the activation_scales.safetensors that
    /// `hymt quantize` wrote beside it, else from 160 sentences that come with this program.
    #[arg(long, value_name = "FILE")]
    pub(super) calibration: Option<PathBuf>,
    /// Calibrate on random tokens: for models of `hymt synth`, which have no tokenizer.
    #[arg(long, conflicts_with = "calibration")]
    pub(super) random_calibration: bool,
    /// Take the scales of an earlier export.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["calibration", "random_calibration"])]
    pub(super) scales: Option<PathBuf>,
    /// Most calibration tokens.
    #[arg(long, default_value_t = CALIBRATION_TOKENS, value_name = "N")]
    pub(super) calibration_tokens: usize,
    /// Type of what is not INT8.
    #[arg(long, default_value = "f32")]
    pub(super) float: Float,
    /// Leave linear layers with these inputs out of INT8, in all layers; several with commas.
    #[arg(long, value_delimiter = ',', value_name = "INPUT")]
    pub(super) keep_float: Vec<Input>,
    /// Keep float weights with Q and DQ, four times the size: for TensorRT 8.x.
    #[arg(long)]
    pub(super) float_weights: bool,
    /// Length of the cache, fixed in the graph: prompt and answer together, in tokens.
    #[arg(long, default_value_t = ExportOptions::default().context, value_name = "N")]
    pub(super) context: usize,
    /// Version of TensorRT whose parser the graph is checked against.
    #[arg(long, default_value = "10.3", value_name = "8.5|10.3|10.13|11")]
    pub(super) lint: Parser,
    /// Prompt family of the model, for calibration; auto goes by the model's name.
    #[arg(long, default_value = "auto", value_name = "auto|hy-mt1.5|hy-mt2")]
    pub(super) family: ModelFamily,
    /// Threads of the calibration; 0 takes every core. The result does not depend on it.
    #[arg(long, default_value_t = 0)]
    pub(super) threads: usize,
    /// Replace a graph that is in DIR already.
    #[arg(long)]
    pub(super) force: bool,
    /// Print JSON.
    #[arg(long)]
    pub(super) json: bool,
}

/// Exports.
///
/// # Errors
/// When the arguments are out of bounds, the model cannot be read, or the folder cannot be
/// written.
pub fn run(args: &ExportArgs, output: &mut Output) -> anyhow::Result<ExitCode> {
    let stop = stop_flag()?;
    let (report, scales, findings) = export(args, &stop)?;
    print(args, &report, &scales, &findings, output)?;
    Ok(if findings.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Exports for a build: where the scales came from, and what a parser may refuse.
pub(super) fn for_build(
    args: &ExportArgs,
    stop: &AtomicBool,
) -> anyhow::Result<(String, Vec<Finding>)> {
    let (_, scales, findings) = export(args, stop)?;
    Ok((scales.origin.to_string(), findings))
}

fn export(
    args: &ExportArgs,
    stop: &AtomicBool,
) -> anyhow::Result<(ExportReport, Scales, Vec<Finding>)> {
    in_range("context", args.context, CONTEXT_TOKENS_MAX)?;
    in_range("calibration-tokens", args.calibration_tokens, CALIBRATION_TOKENS_MAX)?;
    let model = EngineOptions {
        model: args.model.clone().map_or(ModelChoice::Demo, ModelChoice::Folder),
        family: args.family,
        threads: args.threads,
        ..EngineOptions::default()
    };
    app::check_folder(&model.model)?;
    let mut scales = Scales::find(args, &model, stop)?;
    let kept: Vec<_> = args.keep_float.iter().map(|input| input.fold()).collect();
    scales.values = scales.values.keep_float(&kept);
    let options = ExportOptions {
        context: args.context,
        float: match args.float {
            Float::F32 => FloatType::F32,
            Float::F16 => FloatType::F16,
        },
        weights: if args.float_weights { WeightForm::Float } else { WeightForm::Int8 },
    };
    let bar = progress::steps_bar("exporting", 0);
    let source = model.source();
    let report =
        export_model(&source, &scales.values, &args.out, &options, args.force, &mut |step| {
            bar.set_length(step.total as u64);
            bar.set_position(step.done as u64);
            go_on(stop)
        });
    bar.finish_and_clear();
    let report = report?;
    let findings = lint_file(&report.graph, args.lint)?;
    Ok((report, scales, findings))
}

fn go_on(stop: &AtomicBool) -> ControlFlow<()> {
    if stop.load(Ordering::Relaxed) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
}

pub(super) fn in_range(argument: &str, value: usize, max: usize) -> Result<(), UsageError> {
    if (1..=max).contains(&value) {
        return Ok(());
    }
    Err(UsageError(format!("--{argument} is {value}; allowed: 1 to {max}")))
}

fn print(
    args: &ExportArgs,
    report: &ExportReport,
    scales: &Scales,
    findings: &[Finding],
    output: &mut Output,
) -> anyhow::Result<()> {
    let peak_mib = peak_resident_bytes().map(|bytes| bytes >> 20);
    if args.json {
        let finding = |finding: &Finding| {
            json!({"node": finding.node, "rule": finding.rule.name(),
                "detail": finding.detail, "fix": finding.rule.fix()})
        };
        return output.json(&json!({
            "graph": report.graph.to_string_lossy(),
            "nodes": report.nodes,
            "initializers": report.initializers,
            "graph_bytes": report.graph_bytes,
            "data_bytes": report.data_bytes,
            "context": args.context,
            "scales": scales.origin.to_string(),
            "float_inputs": scales.values.n_float(),
            "lint": {"tensorrt": args.lint.name(),
                "findings": findings.iter().map(finding).collect::<Vec<_>>()},
            "peak_mib": peak_mib,
        }));
    }
    output.line(format!(
        "{}: {} operators, {} MB of weights, a cache of {} tokens",
        report.graph.display(),
        report.nodes,
        report.data_bytes / 1_000_000,
        args.context
    ))?;
    output.line(format!("activation scales from {}", scales.origin))?;
    if scales.values.n_float() > 0 {
        output.line(format!("{} inputs of linear layers stay floats", scales.values.n_float()))?;
    }
    if findings.is_empty() {
        output.line(format!("no known rule of {}'s parser is broken", args.lint))?;
    }
    for finding in findings.iter().take(FINDINGS_SHOWN_MAX) {
        output.line(finding.to_string())?;
    }
    if findings.len() > FINDINGS_SHOWN_MAX {
        output.line(format!("and {} more", findings.len() - FINDINGS_SHOWN_MAX))?;
    }
    if let Some(peak_mib) = peak_mib {
        output.line(format!("peak memory {peak_mib} MiB"))?;
    }
    Ok(())
}
