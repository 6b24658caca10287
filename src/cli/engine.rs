//! `hymt engine`: what the TensorRT engine needs, from the ONNX file to the plan.

pub mod build;
pub mod export;
pub mod info;

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
    /// Build a plan for this machine and a model, and keep it for `engine: tensorrt`.
    Build(Box<build::BuildArgs>),
    /// Say what TensorRT is here, and which plans are good for it.
    Info(info::InfoArgs),
    /// The process that `build` starts.
    #[command(hide = true)]
    BuildWorker,
}

/// Runs the named command.
///
/// # Errors
/// What the command reports.
pub fn run(args: EngineArgs, output: &mut Output) -> anyhow::Result<ExitCode> {
    match args.command {
        EngineCommand::ExportOnnx(args) => export::run(&args, output),
        EngineCommand::Build(args) => build::run(&args, output),
        EngineCommand::Info(args) => info::run(&args, output),
        EngineCommand::BuildWorker => build::work(),
    }
}
