//! What the ONNX parsers of TensorRT refuse, found without TensorRT.
//!
//! ONNX's own checker and ONNX Runtime accept far more than a parser of TensorRT does: Q/DQ with two
//! inputs, UINT8, a zero point that is not zero, newer operators. The parser is only on the device;
//! a graph that fails there has cost a copy of gigabytes. So its rules are written down here, each
//! with the versions that have it, from `docs/operators.md` and the importers of onnx-tensorrt
//! (branches 8.5-GA and 10.1-GA) and the opset guide of TensorRT 11. For 10.13 the table of 10.0
//! stands, which later 10.x only widen.
//!
//! No finding means that no rule below is broken; it does not mean that the parser agrees.

mod constants;
mod files;
mod operators;
mod quantisation;

use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use prost::Message as _;

use self::constants::Constants;
use super::proto::{DataType, GraphProto, ModelProto, NodeProto};

/// Largest graph that is read; its weights lie beside it. Bytes.
pub const GRAPH_BYTES_MAX: u64 = 512 << 20;

/// A parser whose rules are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Parser {
    /// JetPack 5.1.
    V8_5,
    /// JetPack 6.1 and 6.2.
    V10_3,
    /// JetPack 7.0 and 7.1.
    V10_13,
    /// JetPack 7.2.2 and later.
    V11,
}

impl Parser {
    /// All of them, oldest first.
    pub const ALL: [Self; 4] = [Self::V8_5, Self::V10_3, Self::V10_13, Self::V11];

    /// Version of TensorRT, as the command line takes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::V8_5 => "8.5",
            Self::V10_3 => "10.3",
            Self::V10_13 => "10.13",
            Self::V11 => "11",
        }
    }

    /// The newest operator set it reads. 10.13 is given what the documentation of 10.9 says.
    fn opset_max(self) -> i64 {
        match self {
            Self::V8_5 => 17,
            Self::V10_3 => 20,
            Self::V10_13 => 22,
            Self::V11 => 25,
        }
    }
}

impl fmt::Display for Parser {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "TensorRT {}", self.name())
    }
}

impl FromStr for Parser {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let known = Self::ALL.into_iter().find(|parser| parser.name() == text);
        known.ok_or_else(|| format!("allowed: {}", Self::ALL.map(Self::name).join(", ")))
    }
}

/// A rule of a parser.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rule {
    /// The operator set is one that the parser reads.
    Opset,
    /// Operators are ONNX's own.
    Domain,
    /// Operators are among those the parser has.
    Operator,
    /// Axes and counts that shape the network are constants.
    ConstantInput,
    /// Q and DQ have a data, a scale and a zero-point input.
    QdqInputs,
    /// Scale and zero point are constants.
    QdqConstant,
    /// Zero points are zero.
    QdqZeroPoint,
    /// Scales are positive numbers.
    QdqScale,
    /// There are as many zero points as scales.
    QdqSize,
    /// Quantised values are INT8.
    QdqType,
    /// Only weights have a scale for each channel, as many as there are channels.
    QdqPerAxis,
    /// Weights are floats with Q and DQ.
    QdqInt8Constant,
    /// Elements are of a type that the parser has.
    ElementType,
    /// Integers of 64 bits fit into 32.
    Int64,
    /// Weights beyond 2 GiB are in a file beside the graph, which holds them whole.
    ExternalData,
}

impl Rule {
    /// Short name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Opset => "opset",
            Self::Domain => "domain",
            Self::Operator => "operator",
            Self::ConstantInput => "constant-input",
            Self::QdqInputs => "qdq-inputs",
            Self::QdqConstant => "qdq-constant",
            Self::QdqZeroPoint => "qdq-zero-point",
            Self::QdqScale => "qdq-scale",
            Self::QdqSize => "qdq-size",
            Self::QdqType => "qdq-type",
            Self::QdqPerAxis => "qdq-per-axis",
            Self::QdqInt8Constant => "qdq-int8-constant",
            Self::ElementType => "element-type",
            Self::Int64 => "int64",
            Self::ExternalData => "external-data",
        }
    }

    /// What to do about it.
    pub fn fix(self) -> &'static str {
        match self {
            Self::Opset => "export with opset 13",
            Self::Domain => "write it with ONNX's own operators",
            Self::Operator => "decompose it into operators of the table",
            Self::ConstantInput => "make that input an initialiser",
            Self::QdqInputs => "give data, scale and zero point",
            Self::QdqConstant => "make scale and zero point initialisers",
            Self::QdqZeroPoint => "quantise symmetrically, with zero points of 0",
            Self::QdqScale => "calibrate again; a channel of zeros takes any positive scale",
            Self::QdqSize => "give as many zero points as scales",
            Self::QdqType => "use INT8",
            Self::QdqPerAxis => "use one scale for activations, one for each channel of weights",
            Self::QdqInt8Constant => "export with float weights",
            Self::ElementType => "cast to f32, f16, i32 or bool",
            Self::Int64 => "use i32",
            Self::ExternalData => "write the weights to one file beside the graph",
        }
    }
}

/// A broken rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The node, constant, input or output.
    pub node: String,
    /// The rule.
    pub rule: Rule,
    /// Who has it.
    pub parser: Parser,
    /// What there is.
    pub detail: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { node, rule, parser, detail } = self;
        write!(formatter, "{node}: {detail} ({parser}, {}): {}", rule.name(), rule.fix())
    }
}

/// A graph could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LintError {
    /// The file cannot be read.
    #[error("cannot read '{}'", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The file is larger than [`GRAPH_BYTES_MAX`].
    #[error("'{}' has {len} bytes; at most {GRAPH_BYTES_MAX} are read", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Its length.
        len: u64,
    },
    /// The file is no ONNX graph.
    #[error("'{}' is not an ONNX file", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where it breaks.
        #[source]
        source: prost::DecodeError,
    },
}

/// Reads a graph and looks for broken rules.
///
/// # Errors
/// [`LintError`] when there is no graph to look at.
pub fn lint_file(path: &Path, parser: Parser) -> Result<Vec<Finding>, LintError> {
    let dir = path.parent().unwrap_or(Path::new("."));
    Ok(lint(&read_graph(path)?, dir, parser))
}

/// Reads a graph, without its file of weights.
pub(super) fn read_graph(path: &Path) -> Result<ModelProto, LintError> {
    let io = |source| LintError::Io { path: path.to_owned(), source };
    let len = std::fs::metadata(path).map_err(io)?.len();
    if len > GRAPH_BYTES_MAX {
        return Err(LintError::TooLarge { path: path.to_owned(), len });
    }
    let bytes = std::fs::read(path).map_err(io)?;
    ModelProto::decode(&bytes[..])
        .map_err(|source| LintError::Damaged { path: path.to_owned(), source })
}

/// Looks for broken rules, in the order of the graph. `dir` is where the file of weights lies.
pub fn lint(model: &ModelProto, dir: &Path, parser: Parser) -> Vec<Finding> {
    let empty = GraphProto::default();
    let graph = model.graph.as_ref().unwrap_or(&empty);
    let mut lint = Lint {
        parser,
        constants: Constants::new(graph, dir),
        producers: graph
            .node
            .iter()
            .flat_map(|node| node.output.iter().map(move |output| (output.as_str(), node)))
            .collect(),
        findings: Vec::new(),
    };
    lint.opset(model);
    for node in &graph.node {
        lint.operator(node);
        lint.constant_inputs(node);
        if matches!(node.op_type.as_str(), "QuantizeLinear" | "DequantizeLinear") {
            lint.quantisation(node);
        }
    }
    lint.types(graph);
    lint.files(graph, dir);
    lint.findings
}

/// A run over one graph.
struct Lint<'a> {
    parser: Parser,
    constants: Constants<'a>,
    /// The node that yields a value.
    producers: HashMap<&'a str, &'a NodeProto>,
    findings: Vec<Finding>,
}

impl Lint<'_> {
    fn find(&mut self, node: &str, rule: Rule, detail: impl Into<String>) {
        let (node, detail) = (node.to_owned(), detail.into());
        self.findings.push(Finding { node, rule, parser: self.parser, detail });
    }

    fn opset(&mut self, model: &ModelProto) {
        /// The oldest that parsers promise to read.
        const OPSET_MIN: i64 = 9;
        let max = self.parser.opset_max();
        for import in &model.opset_import {
            let is_own = matches!(import.domain.as_str(), "" | "ai.onnx");
            if is_own && !(OPSET_MIN..=max).contains(&import.version) {
                let detail = format!("opset {}; allowed: {OPSET_MIN} to {max}", import.version);
                self.find("model", Rule::Opset, detail);
            }
        }
    }

    /// Types of constants, inputs and outputs.
    fn types(&mut self, graph: &GraphProto) {
        for tensor in &graph.initializer {
            self.element_type(&tensor.name, tensor.data_type);
            if self.parser < Parser::V10_3 && tensor.data_type == DataType::Int64 as i32 {
                let values = self.constants.integers(&tensor.name).unwrap_or_default();
                if let Some(bad) = values.iter().find(|value| i32::try_from(**value).is_err()) {
                    self.find(&tensor.name, Rule::Int64, format!("holds {bad}"));
                }
            }
        }
        for value in graph.input.iter().chain(&graph.output) {
            let tensor = value.r#type.as_ref().and_then(|kind| kind.tensor_type.as_ref());
            let kind = tensor.map_or(DataType::Undefined as i32, |tensor| tensor.elem_type);
            self.element_type(&value.name, kind);
            if self.parser < Parser::V10_3 && kind == DataType::Int64 as i32 {
                self.find(&value.name, Rule::Int64, "is an i64 input or output");
            }
        }
    }

    fn element_type(&mut self, name: &str, kind: i32) {
        let known = DataType::try_from(kind).unwrap_or(DataType::Undefined);
        let is_read = match known {
            DataType::Float
            | DataType::Float16
            | DataType::Int32
            | DataType::Int64
            | DataType::Int8
            | DataType::Bool => true,
            DataType::Bfloat16 => self.parser >= Parser::V10_3,
            _ => false,
        };
        if !is_read {
            self.find(name, Rule::ElementType, format!("elements of type {known:?} ({kind})"));
        }
    }
}

#[cfg(test)]
mod tests;
