//! The command line, `hymt`: one file per command.
//!
//! Every command that prints results takes `--json`. Exit codes: 0 success, 1 failure (the reason
//! is on standard error), 2 wrong usage.

pub mod bench;
#[cfg(feature = "dds")]
pub mod demo;
pub mod doctor;
#[cfg(feature = "tensorrt")]
pub mod engine;
pub mod eval;
pub mod fetch;
pub mod glossary;
pub mod inspect;
pub mod languages;
pub mod node;
pub mod output;
pub mod progress;
pub mod quantize;
pub mod selftest;
pub mod synth;
pub mod translate;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::app::{EngineOptions, ModelChoice};
use crate::cli::output::Output;
use crate::config::{EngineChoice, ModelFamily, Precision};

/// Translates between 38 languages on this machine, as a ROS 2 node or from the command line.
#[derive(Debug, Parser)]
#[command(name = "hymt", version, arg_required_else_help = true, propagate_version = true)]
struct Cli {
    /// Print what happens inside; repeat for more. User text appears only from -vv on.
    #[arg(short, long, action = clap::ArgAction::Count, global = true)]
    verbose: u8,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Start a node and a talker joined only by ROS 2 topics, and show live captions.
    #[cfg(feature = "dds")]
    Demo(demo::DemoArgs),
    /// Run the ROS 2 node; takes everything after it as ROS arguments (`--ros-args ...`).
    #[command(disable_help_flag = true)]
    Node(node::NodeArgs),
    /// Translate a text, or the lines of standard input, without ROS.
    Translate(Box<translate::TranslateArgs>),
    /// Check glossary files (TSV, CSV, TBX, TMX), or convert them to TSV or CSV.
    Glossary(glossary::GlossaryArgs),
    /// List the languages with their codes, names and aliases.
    Languages(languages::LanguagesArgs),
    /// Check this machine (of a Jetson also board, JetPack, power, TensorRT), the model and the ROS 2
    /// network; each line OK or the fix.
    Doctor(doctor::DoctorArgs),
    /// Describe a model folder or GGUF file; with --tokens and --logits also what it computes.
    Inspect(inspect::InspectArgs),
    /// Score translations of a test set; with --against also what quantisation cost.
    Eval(eval::EvalArgs),
    /// Fetch a model folder from the Hugging Face hub or a mirror, checked and resumable.
    Fetch(fetch::FetchArgs),
    /// Hold every engine that runs here against its rules, and write a report for an issue.
    Selftest(selftest::SelftestArgs),
    /// Measure prefill and decode of a model on this machine.
    Bench(bench::BenchArgs),
    /// Turn a bf16 model folder into an INT8 one, calibrated and smoothed.
    Quantize(quantize::QuantizeArgs),
    /// Prepare the TensorRT engine: export a model as ONNX.
    #[cfg(feature = "tensorrt")]
    Engine(engine::EngineArgs),
    /// Write a model folder with random weights of a real shape, for benchmarks.
    Synth(synth::SynthArgs),
}

/// Which model to run and how; shared by the commands that run one.
#[derive(Debug, Clone, Args)]
pub struct ModelArgs {
    /// Model folder (Hugging Face layout) or .gguf file; without it the embedded demo model answers.
    #[arg(long, value_name = "PATH")]
    pub model: Option<PathBuf>,
    /// Engine that runs it.
    #[arg(long, default_value = "auto", value_name = "auto|cpu|cuda|tensorrt|scripted")]
    pub engine: EngineChoice,
    /// Arithmetic: auto is int8.
    #[arg(long, default_value = "auto", value_name = "auto|f32|int8")]
    pub precision: Precision,
    /// Prompt family of the model; auto goes by the model's name.
    #[arg(long, default_value = "auto", value_name = "auto|hy-mt1.5|hy-mt2")]
    pub family: ModelFamily,
    /// Threads of the CPU engine; 0 takes every core.
    #[arg(long, default_value_t = 0)]
    pub threads: usize,
}

impl ModelArgs {
    /// The engine options these arguments ask for, with the defaults of everything else.
    ///
    /// # Errors
    /// When the engine is not part of this build.
    pub fn engine_options(&self) -> Result<EngineOptions, UsageError> {
        self.engine.available().map_err(UsageError)?;
        Ok(EngineOptions {
            model: self.model.clone().map_or(ModelChoice::Demo, ModelChoice::Folder),
            engine: self.engine,
            precision: self.precision,
            family: self.family,
            threads: self.threads,
            ..EngineOptions::default()
        })
    }
}

/// Runs the command line on the process's arguments.
pub fn run() -> ExitCode {
    run_with(std::env::args_os(), &mut Output::stdout())
}

/// Runs the command line on `arguments` (program name first), results going to `output`.
pub fn run_with(arguments: impl IntoIterator<Item = OsString>, output: &mut Output) -> ExitCode {
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version also arrive here; clap knows which stream and code they want.
            let code = if error.use_stderr() { ExitCode::from(2) } else { ExitCode::SUCCESS };
            let _ = error.print();
            return code;
        }
    };
    if needs_plain_logging(&cli.command) {
        crate::app::logging::init_cli(cli.verbose);
    }
    match dispatch(cli.command, output) {
        Ok(code) => code,
        // A reader that closes the pipe early (`hymt languages | head`) is no failure.
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            output::error(&error);
            ExitCode::from(if error.is::<UsageError>() { 2 } else { 1 })
        }
    }
}

/// The node sets up its own logging, because `--ros-args --log-level` decides about it.
fn needs_plain_logging(command: &Command) -> bool {
    !matches!(command, Command::Node(_))
}

fn dispatch(command: Command, output: &mut Output) -> anyhow::Result<ExitCode> {
    match command {
        #[cfg(feature = "dds")]
        Command::Demo(args) => demo::run(&args, output),
        Command::Node(args) => node::run(&args.arguments),
        Command::Translate(args) => translate::run(&args, output),
        Command::Glossary(args) => glossary::run(&args, output),
        Command::Languages(args) => languages::run(&args, output),
        Command::Doctor(args) => doctor::run(&args, output),
        Command::Inspect(args) => inspect::run(&args, output),
        Command::Eval(args) => eval::run(&args, output),
        Command::Fetch(args) => fetch::run(&args, output),
        Command::Selftest(args) => selftest::run(&args, output),
        Command::Bench(args) => bench::run(&args, output),
        Command::Quantize(args) => quantize::run(&args, output),
        #[cfg(feature = "tensorrt")]
        Command::Engine(args) => engine::run(args, output),
        Command::Synth(args) => synth::run(&args, output),
    }
}

/// A mistake in how the command was called, as opposed to a failure of what it does.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct UsageError(pub String);

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error
        .downcast_ref::<std::io::Error>()
        .is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
}
