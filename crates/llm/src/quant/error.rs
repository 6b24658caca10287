//! Why a checkpoint could not be quantised.

use std::path::PathBuf;

use super::folder::WriteError;
use crate::TokenId;
use crate::error::LoadError;

/// A checkpoint could not be quantised.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum QuantizeError {
    /// The source cannot be read.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// A file could not be written.
    #[error("cannot write '{}'", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The source has lost precision already.
    #[error(
        "'{}' is quantised already; quantise the bf16 original it was made from", path.display()
    )]
    Quantised {
        /// The source.
        path: PathBuf,
    },
    /// The source has no `config.json` and tokenizer files to go with the result.
    #[error("'{}' is a GGUF file; give the Hugging Face folder with the bf16 weights", path.display())]
    Gguf {
        /// The source.
        path: PathBuf,
    },
    /// There is something where the result should go.
    #[error("'{}' exists; choose another folder, or replace the model in it with --force", path.display())]
    Exists {
        /// The folder.
        path: PathBuf,
    },
    /// There is something that is not a model, or not the remains of a run, so it is never removed.
    #[error("'{}' was not made by this tool; move it away or choose another folder", path.display())]
    NotOurs {
        /// The folder.
        path: PathBuf,
    },
    /// A run with another source, other prompts or other options was cut off.
    #[error(
        "'{}' holds another run, of other weights, calibration or options; finish that one, or \
         discard it with --force",
        partial.display()
    )]
    OtherRun {
        /// Its folder.
        partial: PathBuf,
    },
    /// No prompt fits.
    #[error(
        "no calibration: of {prompts} prompts none is non-empty and within {tokens_max} tokens"
    )]
    NoCalibration {
        /// Prompts that were given.
        prompts: usize,
        /// The bound. Tokens.
        tokens_max: usize,
    },
    /// A calibration prompt is not of this model's vocabulary.
    #[error("calibration token {token} is not below the vocabulary's {vocab_size}")]
    UnknownToken {
        /// The token.
        token: TokenId,
        /// Size of the vocabulary.
        vocab_size: usize,
    },
    /// An option is out of bounds.
    #[error("option '{option}' is {value}; allowed: {allowed}")]
    Option {
        /// Its name.
        option: &'static str,
        /// Its value.
        value: String,
        /// The allowed range.
        allowed: String,
    },
    /// A value of a folded matrix is not finite, so it has no scale.
    #[error("'{matrix}' is not finite once smoothed; quantise without smoothing")]
    NotFinite {
        /// The linear layer.
        matrix: String,
    },
    /// An input of linear layers is always zero, or not finite, so it has no static scale.
    #[error(
        "'{input}' cannot be made: the largest magnitude over the calibration is {absmax}; calibrate \
         on more text"
    )]
    NoScale {
        /// The scale.
        input: String,
        /// What was seen.
        absmax: f32,
    },
    /// The caller asked to stop, and there is nothing to go on from.
    #[error("stopped; nothing was written")]
    Interrupted,
    /// The caller asked to stop.
    #[error("stopped after {layers} layers; the same command goes on from '{}'", partial.display())]
    Stopped {
        /// What is done.
        partial: PathBuf,
        /// Layers that are done.
        layers: usize,
    },
}

impl From<WriteError> for QuantizeError {
    fn from(WriteError { path, source }: WriteError) -> Self {
        Self::Io { path, source }
    }
}
