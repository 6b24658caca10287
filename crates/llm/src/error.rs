//! Why a model folder could not be loaded.

use std::path::PathBuf;

use crate::config::ConfigError;
use crate::format::gguf::GgufError;

/// A model could not be loaded. Each variant names the file and, where there is one, the tensor.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// A file could not be opened, read or mapped.
    #[error("cannot read '{}'", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The folder holds no weights this crate can read.
    #[error(
        "no model.safetensors or model.safetensors.index.json, no other *.safetensors and no \
         *.gguf in '{}'", dir.display()
    )]
    NoWeights {
        /// The model folder.
        dir: PathBuf,
    },
    /// The folder holds several safetensors files and nothing says how they belong together.
    #[error(
        "several safetensors files in '{}' ({found}) and no model.safetensors.index.json that \
         says which tensor lies where", dir.display()
    )]
    SeveralWeights {
        /// The model folder.
        dir: PathBuf,
        /// Their names.
        found: String,
    },
    /// The folder holds several GGUF files.
    #[error("several GGUF files in '{}' ({found}); give the path of one of them", dir.display())]
    SeveralGguf {
        /// The model folder.
        dir: PathBuf,
        /// Their names.
        found: String,
    },
    /// A file is larger than any sound file of its kind.
    #[error("'{file}' has {len} bytes; at most {max} are allowed")]
    FileTooLarge {
        /// The file.
        file: String,
        /// Its size in bytes.
        len: u64,
        /// The bound in bytes.
        max: u64,
    },
    /// `config.json` was refused.
    #[error("bad model configuration in '{file}'")]
    Config {
        /// The file.
        file: String,
        /// Which key and why.
        #[source]
        source: ConfigError,
    },
    /// The header of a safetensors file is damaged, or does not fit the length of the file.
    #[error("damaged safetensors file '{file}': {detail}")]
    Header {
        /// The file.
        file: String,
        /// What is wrong, with sizes.
        detail: String,
    },
    /// The header of a GGUF file is damaged, or does not fit the length of the file.
    #[error("damaged GGUF file '{file}'")]
    Gguf {
        /// The file.
        file: String,
        /// What is wrong, with sizes.
        #[source]
        source: GgufError,
    },
    /// `model.safetensors.index.json` is damaged.
    #[error("bad shard index '{file}': {detail}")]
    Index {
        /// The index file.
        file: String,
        /// What is wrong.
        detail: String,
    },
    /// A tensor the configuration asks for is in none of the files.
    #[error("tensor '{tensor}' is missing from '{file}'")]
    MissingTensor {
        /// The file, or the first of several shards.
        file: String,
        /// Name of the tensor.
        tensor: String,
    },
    /// A tensor's shape does not follow from the configuration.
    #[error("tensor '{tensor}' in '{file}' has shape {got:?}, expected {expected}")]
    WrongShape {
        /// The file.
        file: String,
        /// Name of the tensor.
        tensor: String,
        /// What the configuration asks for.
        expected: String,
        /// What the file says.
        got: Vec<usize>,
    },
    /// A tensor is stored in a type that cannot be used in its place.
    #[error("tensor '{tensor}' in '{file}' has type {got}, expected {expected}")]
    WrongDtype {
        /// The file.
        file: String,
        /// Name of the tensor.
        tensor: String,
        /// The types that are allowed.
        expected: String,
        /// What the file says.
        got: String,
    },
    /// A tensor does not fit those beside it.
    #[error("tensor '{tensor}' in '{file}' {detail}")]
    BadTensor {
        /// The file.
        file: String,
        /// Name of the tensor.
        tensor: String,
        /// What is wrong.
        detail: String,
    },
    /// A stored value would turn every result into NaN.
    #[error("tensor '{tensor}' in '{file}' holds {value} in row {row}; values must be finite")]
    NotFinite {
        /// The file.
        file: String,
        /// Name of the tensor.
        tensor: String,
        /// Row (output channel) of the value.
        row: usize,
        /// The value.
        value: f32,
    },
    /// An option of the engine is out of bounds.
    #[error("option '{option}' is {value}; allowed: {allowed}")]
    Option {
        /// Name of the option.
        option: &'static str,
        /// Its value.
        value: usize,
        /// The allowed range.
        allowed: String,
    },
}
