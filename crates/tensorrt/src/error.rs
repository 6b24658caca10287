//! Why TensorRT cannot be had, or said no.

use std::fmt;
use std::path::PathBuf;

/// A version of TensorRT.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version {
    /// Changes what plans, headers and tables of functions are.
    pub major: i32,
    /// Adds.
    pub minor: i32,
    /// Mends.
    pub patch: i32,
    /// Build number; 0 for headers and libraries of 8.x, which do not tell.
    pub build: i32,
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { major, minor, patch, build } = self;
        write!(f, "{major}.{minor}.{patch}")?;
        if *build == 0 { Ok(()) } else { write!(f, ".{build}") }
    }
}

/// One complaint of the ONNX parser.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParserError {
    /// Index of the node in the graph, where known.
    pub node: Option<usize>,
    /// Name of the node; empty where unknown (8.x).
    pub node_name: String,
    /// Operator of the node; empty where unknown (8.x).
    pub op: String,
    /// What is wrong with it.
    pub text: String,
}

impl fmt::Display for ParserError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(node) = self.node {
            write!(f, "node {node} ")?;
        }
        if !self.op.is_empty() || !self.node_name.is_empty() {
            write!(f, "({} '{}') ", self.op, self.node_name)?;
        }
        f.write_str(&self.text)
    }
}

/// TensorRT cannot be had, or said no.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TensorRtError {
    /// This program has no shim.
    #[error(
        "built without TensorRT: install TensorRT's headers (on a Jetson: sudo apt install \
         libnvinfer-dev libnvonnxparsers-dev) and rebuild; colcon then finds them by itself, cargo \
         wants --features tensorrt-shim"
    )]
    NotBuilt,
    /// The compiled shim and the Rust that calls it are of different sources.
    #[error("the shim speaks ABI {found}, this program {wanted}; rebuild with cargo clean first")]
    Abi {
        /// ABI of the shim.
        found: i32,
        /// ABI of the declarations in Rust.
        wanted: i32,
    },
    /// No candidate could be opened.
    #[error(
        "{library} cannot be opened (on a Jetson: sudo apt install nvidia-jetpack; in another place: \
         HYMT_NVINFER and HYMT_NVONNXPARSER name the files); tried {}",
        tried.join("; ")
    )]
    LibraryMissing {
        /// The library without version, for example `libnvinfer`.
        library: &'static str,
        /// Each path with the loader's reason.
        tried: Vec<String>,
    },
    /// The file is a library, but not the right one; or a runtime without the part asked for.
    #[error("not what is needed of TensorRT: {detail}")]
    SymbolMissing {
        /// The file and the symbol it lacks.
        detail: String,
    },
    /// The shim was compiled for another version.
    #[error(
        "{path} is TensorRT {library}, this program was built with the headers of {headers}: the \
         major version must be the same and the library not older; rebuild on this machine"
    )]
    WrongVersion {
        /// What the shim was compiled against.
        headers: Version,
        /// What was opened.
        library: Version,
        /// The file.
        path: String,
    },
    /// No driver, or no GPU.
    #[error("TensorRT needs an NVIDIA GPU: {detail}")]
    NoCuda {
        /// Which of the two is missing, and what the driver said.
        detail: String,
    },
    /// TensorRT handed out an address that is no object.
    #[error("TensorRT is not usable here: {detail}")]
    BogusPointer {
        /// The call, the address, and what TensorRT logged.
        detail: String,
    },
    /// The board has no such DLA core.
    #[error(
        "no DLA core {core}: TensorRT {version} counts {cores} on {board}; set gpu.device to gpu \
         (docs/tensorrt.md says which boards have DLA)"
    )]
    DlaUnavailable {
        /// The core that was asked for.
        core: i32,
        /// The cores that TensorRT counts.
        cores: i32,
        /// The board, as its device tree names it; `this machine` where it has none.
        board: String,
        /// The TensorRT that counted.
        version: Version,
    },
    /// The plan was refused.
    #[error(
        "TensorRT refuses the plan: {detail}; rebuild it on this machine with hymt engine build"
    )]
    Plan {
        /// What TensorRT logged.
        detail: String,
    },
    /// A tensor, a shape, an address or a profile's range.
    #[error("TensorRT refuses a tensor: {detail}")]
    Tensor {
        /// The tensor and what is wrong with it.
        detail: String,
    },
    /// A run failed.
    #[error("a run of the TensorRT engine failed: {detail}")]
    Enqueue {
        /// What TensorRT logged.
        detail: String,
    },
    /// The ONNX file was refused.
    #[error("TensorRT cannot read {}: {detail}", path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// The first complaint, with what TensorRT logged.
        detail: String,
        /// Every complaint, at most [`PARSER_ERRORS_MAX`].
        errors: Vec<ParserError>,
    },
    /// The build failed.
    #[error("TensorRT cannot build the engine: {detail}")]
    Build {
        /// What TensorRT logged.
        detail: String,
    },
    /// The build was ended by whoever watched it.
    #[error("the build was cancelled")]
    Cancelled,
    /// The headers know no such thing.
    #[error("not with this TensorRT: {detail}")]
    Unsupported {
        /// What it has not.
        detail: String,
    },
    /// TensorRT said no.
    #[error("TensorRT refused: {detail}")]
    Refused {
        /// What was refused, with what TensorRT logged.
        detail: String,
    },
    /// A number out of range, or an empty handle: a fault of the caller.
    #[error("wrong use of TensorRT: {detail}")]
    Argument {
        /// What is out of range.
        detail: String,
    },
    /// A C++ exception.
    #[error("a C++ exception in TensorRT: {detail}")]
    Exception {
        /// Its text.
        detail: String,
    },
}

/// Complaints of the parser that are kept.
pub const PARSER_ERRORS_MAX: usize = 32;
