//! `hymt engine`: what the TensorRT engine needs, from the ONNX file to the plan.

pub mod export;

use std::process::ExitCode;

use clap::{Args, Subcommand};

use crate::cli::output::Output;

/// Arguments of `hymt engine`.
#[derive(Debug, Args)]
pub struct EngineArgs {
    #[command(subcommand)]
    command: EngineCommand,
}

#[derive(Debug, Subcommand)]
enum EngineCommand {
    /// Write a model as ONNX with explicit INT8, for TensorRT to build a plan from.
    ExportOnnx(Box<export::ExportArgs>),
}

/// Runs the named command.
///
/// # Errors
/// What the command reports.
pub fn run(args: EngineArgs, output: &mut Output) -> anyhow::Result<ExitCode> {
    match args.command {
        EngineCommand::ExportOnnx(args) => export::run(&args, output),
    }
}
