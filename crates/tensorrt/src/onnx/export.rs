//! A model becomes a folder with its ONNX graph: what there is to choose, and the files.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use hymt_llm::config::ModelConfig;
use hymt_llm::error::LoadError;
use hymt_llm::format::folder;
use hymt_llm::quant::activation_scales::ActivationScales;
use hymt_llm::quant::checkpoint::ACTIVATION_SCALES_FILE;
use hymt_llm::weights::ModelSource;
use prost::Message as _;

use super::builder::GraphBuilder;
use super::data::DataFile;
use super::network::Network;
use super::origin;
use super::proto::{
    GraphProto, IR_VERSION, ModelProto, OPSET, OperatorSetIdProto, StringStringEntryProto,
};
use crate::plan::fingerprint::{Fingerprint, FingerprintError};

/// The graph.
pub const GRAPH_FILE: &str = "model.onnx";
/// Its weights: more than the 2 GiB that a message may have.
pub const DATA_FILE: &str = "model.onnx.data";
/// Longest cache. Tokens.
pub const CONTEXT_TOKENS_MAX: usize = 32_768;

/// What the parts of the network are that are not INT8.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum FloatType {
    /// f32 throughout.
    #[default]
    F32,
    /// f16 for the cache, the products of attention, the embedding, the head and linear layers that
    /// are not quantised; f32 for the residual stream, norms, softmax and what Q/DQ reads and
    /// yields, which opset 13 has in f32 only.
    F16,
}

/// How the weights of linear layers are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WeightForm {
    /// INT8 constants with a DQ: a quarter of the size.
    #[default]
    Int8,
    /// f32 constants with Q and DQ, which TensorRT folds: for 8.x, whose documentation promises no
    /// INT8 constants.
    Float,
}

/// What there is to choose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExportOptions {
    /// Length of the cache, fixed in the graph: prompt and output together. Tokens.
    pub context: usize,
    /// What is not INT8.
    pub float: FloatType,
    /// How weights are stored.
    pub weights: WeightForm,
}

impl Default for ExportOptions {
    fn default() -> Self {
        Self { context: 1024, float: FloatType::F32, weights: WeightForm::Int8 }
    }
}

/// How far exporting is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExportProgress {
    /// Parts written: the embedding, each layer, the head.
    pub done: usize,
    /// Parts in all.
    pub total: usize,
}

/// What was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExportReport {
    /// Path of the graph.
    pub graph: PathBuf,
    /// Operators.
    pub nodes: usize,
    /// Constants.
    pub initializers: usize,
    /// Bytes of the graph.
    pub graph_bytes: u64,
    /// Bytes of the weights.
    pub data_bytes: u64,
}

/// A model could not be exported.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExportError {
    /// The model cannot be read.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The model cannot be hashed, which its plans are known by.
    #[error(transparent)]
    Fingerprint(#[from] FingerprintError),
    /// A file could not be written.
    #[error("cannot write '{}'", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// There is something where the result should go.
    #[error("'{}' exists; choose another folder, or replace the graph in it with --force", path.display())]
    Exists {
        /// The folder.
        path: PathBuf,
    },
    /// There is something that is no exported graph, so it is never removed.
    #[error("'{}' holds no '{GRAPH_FILE}'; move it away or choose another folder", path.display())]
    NotOurs {
        /// The folder.
        path: PathBuf,
    },
    /// The cache would be too short or too long.
    #[error("a context of {context} tokens; allowed: 1 to {max}")]
    Context {
        /// What was asked for.
        context: usize,
        /// The bound: of this program, or what the model was made for.
        max: usize,
    },
    /// The scales are those of another network.
    #[error("static scales of {scales} layers for a model of {layers}")]
    Layers {
        /// Layers with scales.
        scales: usize,
        /// Layers of the model.
        layers: usize,
    },
    /// A weight is too large for half floats.
    #[error("'{tensor}' holds {value}, which is beyond f16; export in f32")]
    BeyondF16 {
        /// The tensor.
        tensor: String,
        /// The weight.
        value: f32,
    },
    /// The caller asked to stop.
    #[error("stopped; nothing was written")]
    Interrupted,
}

impl ExportError {
    pub(super) fn io(path: &Path) -> impl Fn(std::io::Error) -> Self + use<> {
        let path = path.to_owned();
        move |source| Self::Io { path: path.clone(), source }
    }
}

/// Writes the graph of a model into the new folder `out`: [`GRAPH_FILE`], [`DATA_FILE`] and the
/// scales. Meanwhile the folder is called `out` with `.partial` after its name. Whatever the model,
/// one matrix is in memory at a time.
///
/// # Errors
/// [`ExportError`].
pub fn export_model(
    source: &ModelSource,
    scales: &ActivationScales,
    out: &Path,
    options: &ExportOptions,
    force: bool,
    progress: &mut dyn FnMut(ExportProgress) -> ControlFlow<()>,
) -> Result<ExportReport, ExportError> {
    let config = source.config()?;
    check(&config, scales, options)?;
    check_destination(out, force)?;
    let partial = folder::beside(out, ".partial");
    if partial.exists() {
        std::fs::remove_dir_all(&partial).map_err(ExportError::io(&partial))?;
    }
    std::fs::create_dir_all(&partial).map_err(ExportError::io(&partial))?;
    let written = write(source, &config, scales, &partial, options, progress);
    let (mut report, partial) = match written {
        Ok(report) => (report, partial),
        Err(error) => {
            // What is there is useless; the error of before is the one to be heard.
            let _ = std::fs::remove_dir_all(&partial);
            return Err(error);
        }
    };
    put_in_place(&partial, out, force)?;
    report.graph = out.join(GRAPH_FILE);
    Ok(report)
}

fn write(
    source: &ModelSource,
    config: &ModelConfig,
    scales: &ActivationScales,
    dir: &Path,
    options: &ExportOptions,
    progress: &mut dyn FnMut(ExportProgress) -> ControlFlow<()>,
) -> Result<ExportReport, ExportError> {
    let tensors = source.tensors()?;
    let mut graph = GraphBuilder::new("hunyuan_v1_dense", DataFile::create(&dir.join(DATA_FILE))?);
    let total = config.n_layers + 2;
    let mut step = |done| match progress(ExportProgress { done, total }) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(()) => Err(ExportError::Interrupted),
    };
    let mut network = Network { graph: &mut graph, config, tensors: &tensors, scales, options };
    step(0)?;
    let (shared, mut x) = network.begin()?;
    for layer in 0..config.n_layers {
        step(layer + 1)?;
        x = network.layer(layer, &shared, &x)?;
    }
    step(config.n_layers + 1)?;
    network.finish(&shared, &x)?;
    let (graph, data) = graph.finish();
    let (nodes, initializers) = (graph.node.len(), graph.initializer.len());
    let data_bytes = data.finish()?;
    let origin = Fingerprint::of_source(source, [])?.hash;
    let bytes = model(graph, options, &origin).encode_to_vec();
    let path = dir.join(GRAPH_FILE);
    std::fs::write(&path, &bytes).map_err(ExportError::io(&path))?;
    let path = dir.join(ACTIVATION_SCALES_FILE);
    scales.write(&path).map_err(ExportError::io(&path))?;
    let graph = dir.join(GRAPH_FILE);
    Ok(ExportReport { graph, nodes, initializers, graph_bytes: bytes.len() as u64, data_bytes })
}

fn model(graph: GraphProto, options: &ExportOptions, origin: &str) -> ModelProto {
    let fact =
        |key: &str, value: String| StringStringEntryProto { key: format!("hymt.{key}"), value };
    let (float, weights) = (options.float, options.weights);
    ModelProto {
        ir_version: IR_VERSION,
        producer_name: "hymt".to_owned(),
        producer_version: env!("CARGO_PKG_VERSION").to_owned(),
        doc_string: "HunYuanDenseV1 with explicit INT8 and a cache that is fed".to_owned(),
        graph: Some(graph),
        opset_import: vec![OperatorSetIdProto { domain: String::new(), version: OPSET }],
        metadata_props: vec![
            fact("context", options.context.to_string()),
            fact("float", float.name().to_owned()),
            fact("weights", weights.name().to_owned()),
            origin::fact(origin),
        ],
    }
}

impl FloatType {
    /// Short name, as the command line takes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
        }
    }
}

impl WeightForm {
    /// Short name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Int8 => "int8",
            Self::Float => "float",
        }
    }
}

fn check(
    config: &ModelConfig,
    scales: &ActivationScales,
    options: &ExportOptions,
) -> Result<(), ExportError> {
    let max = CONTEXT_TOKENS_MAX.min(config.max_positions);
    if !(1..=max).contains(&options.context) {
        return Err(ExportError::Context { context: options.context, max });
    }
    if scales.n_layers() != config.n_layers {
        return Err(ExportError::Layers { scales: scales.n_layers(), layers: config.n_layers });
    }
    Ok(())
}

/// Refuses to write where something is, unless it is a graph that may be replaced.
fn check_destination(out: &Path, force: bool) -> Result<(), ExportError> {
    let is_empty = || std::fs::read_dir(out).is_ok_and(|mut entries| entries.next().is_none());
    if out.symlink_metadata().is_err() || is_empty() {
        return Ok(());
    }
    let path = out.to_owned();
    match (force, out.join(GRAPH_FILE).is_file()) {
        (false, _) => Err(ExportError::Exists { path }),
        (true, false) => Err(ExportError::NotOurs { path }),
        (true, true) => Ok(()),
    }
}

fn put_in_place(partial: &Path, out: &Path, force: bool) -> Result<(), ExportError> {
    check_destination(out, force)?;
    folder::put_in_place(partial, out).map_err(|(path, source)| ExportError::Io { path, source })
}
