//! `hymt synth`: model folders with random weights.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use hymt_llm::synth::{SynthDtype, SynthOptions, SynthShape, write_model};

use crate::cli::output::Output;
use crate::cli::progress;

/// A shape to write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Shape {
    /// HY-MT1.5-1.8B and Hy-MT2-1.8B.
    #[value(name = "1.8b")]
    B1_8,
    /// HY-MT1.5-7B and Hy-MT2-7B.
    #[value(name = "7b")]
    B7,
    /// A few thousand weights.
    Tiny,
}

/// How linear layers are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Dtype {
    /// 32-bit floats.
    F32,
    /// 16-bit floats, as the model is published.
    Bf16,
    /// compressed-tensors `int-quantized`.
    Int8,
}

/// Arguments of `hymt synth`.
#[derive(Debug, Args)]
pub struct SynthArgs {
    /// Shape of the model.
    #[arg(long)]
    shape: Shape,
    /// Folder to write; it is made if it is missing.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// How the linear layers are stored; 1.8b takes 3.6 GB in bf16, 2.0 GB in int8; 7b 15 and 8.
    #[arg(long, default_value = "bf16")]
    dtype: Dtype,
    /// Same seed, same weights.
    #[arg(long, default_value_t = 0)]
    seed: u64,
}

/// Writes the folder.
///
/// # Errors
/// When the disk refuses.
pub fn run(args: &SynthArgs, output: &mut Output) -> anyhow::Result<ExitCode> {
    let options = SynthOptions {
        shape: match args.shape {
            Shape::B1_8 => SynthShape::B1_8,
            Shape::B7 => SynthShape::B7,
            Shape::Tiny => SynthShape::Tiny,
        },
        dtype: match args.dtype {
            Dtype::F32 => SynthDtype::F32,
            Dtype::Bf16 => SynthDtype::Bf16,
            Dtype::Int8 => SynthDtype::Int8,
        },
        seed: args.seed,
    };
    let bar = progress::bytes_bar("writing random weights", 0);
    write_model(&args.out, &options, &mut |step| {
        bar.set_length(step.total);
        bar.set_position(step.done);
    })?;
    bar.finish_and_clear();
    output.line(format!(
        "{} holds random weights: good for benchmarks, useless for translation; try\n  \
         hymt bench --model {0}",
        args.out.display()
    ))?;
    Ok(ExitCode::SUCCESS)
}
