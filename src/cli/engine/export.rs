//! `hymt engine export-onnx`: a model folder becomes an ONNX graph with explicit INT8.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use crate::cli::output::Output;

/// Arguments of `hymt engine export-onnx`.
#[derive(Debug, Args)]
pub struct ExportArgs {
    /// Model folder (Hugging Face layout) or .gguf file.
    #[arg(long, value_name = "PATH")]
    model: PathBuf,
    /// Folder to write; it must not hold a graph yet.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Exports.
///
/// # Errors
/// When the model cannot be read or the folder cannot be written.
pub fn run(args: &ExportArgs, _output: &mut Output) -> anyhow::Result<ExitCode> {
    anyhow::bail!(
        "exporting '{}' to '{}' (JSON {}) is not part of this build yet",
        args.model.display(),
        args.out.display(),
        args.json
    )
}
