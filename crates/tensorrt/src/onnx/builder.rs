//! Nodes and constants of a graph that grows.
//!
//! Every node has one output, which bears the node's name; so a name is all it takes to refer to a
//! value.

use std::collections::HashSet;

use super::data::DataFile;
use super::export::ExportError;
use super::proto::{
    AttributeKind, AttributeProto, DataType, Dimension, DimensionProto, GraphProto, NodeProto,
    TensorProto, TensorShapeProto, TensorTypeProto, TypeProto, ValueInfoProto,
};

/// Constants of at most so many bytes stand in the graph itself: shapes, axes and scalar scales,
/// which parsers look at while they read. The others go to the file of weights.
const INLINE_BYTES_MAX: usize = 1024;

/// Name of a value: an input, a constant, or what a node yields.
pub(super) type Value = String;

/// A dimension of an input or output.
#[derive(Clone, Copy)]
pub(super) enum Dim {
    Fixed(usize),
    Named(&'static str),
}

pub(super) struct GraphBuilder {
    graph: GraphProto,
    data: DataFile,
    /// Names of constants that are written once, however often they are asked for.
    shared: HashSet<Value>,
}

impl GraphBuilder {
    pub(super) fn new(name: &str, data: DataFile) -> Self {
        let graph = GraphProto { name: name.to_owned(), ..GraphProto::default() };
        Self { graph, data, shared: HashSet::new() }
    }

    /// The graph, and the file of weights to be finished.
    pub(super) fn finish(self) -> (GraphProto, DataFile) {
        (self.graph, self.data)
    }

    pub(super) fn input(&mut self, name: &str, kind: DataType, dims: &[Dim]) -> Value {
        self.graph.input.push(value_info(name, kind, dims));
        name.to_owned()
    }

    pub(super) fn output(&mut self, name: &str, kind: DataType, dims: &[Dim]) {
        self.graph.output.push(value_info(name, kind, dims));
    }

    pub(super) fn op(&mut self, op: &str, name: impl Into<Value>, inputs: &[&Value]) -> Value {
        self.op_with(op, name, inputs, Vec::new())
    }

    pub(super) fn op_with(
        &mut self,
        op: &str,
        name: impl Into<Value>,
        inputs: &[&Value],
        attribute: Vec<AttributeProto>,
    ) -> Value {
        let name = name.into();
        self.graph.node.push(NodeProto {
            input: inputs.iter().map(|input| (*input).clone()).collect(),
            output: vec![name.clone()],
            name: name.clone(),
            op_type: op.to_owned(),
            attribute,
            domain: String::new(),
        });
        name
    }

    /// A constant from its little-endian bytes.
    pub(super) fn constant(
        &mut self,
        name: impl Into<Value>,
        dims: &[usize],
        kind: DataType,
        bytes: Vec<u8>,
    ) -> Result<Value, ExportError> {
        if bytes.len() > INLINE_BYTES_MAX {
            return self.streamed(name, dims, kind, |append| append(&bytes));
        }
        let name = name.into();
        self.graph.initializer.push(TensorProto {
            dims: dims.iter().map(|dim| *dim as i64).collect(),
            data_type: kind as i32,
            name: name.clone(),
            raw_data: bytes,
            ..TensorProto::default()
        });
        Ok(name)
    }

    /// A constant whose bytes `write` passes on piece by piece.
    pub(super) fn streamed(
        &mut self,
        name: impl Into<Value>,
        dims: &[usize],
        kind: DataType,
        write: impl FnOnce(&mut dyn FnMut(&[u8]) -> Result<(), ExportError>) -> Result<(), ExportError>,
    ) -> Result<Value, ExportError> {
        let name = name.into();
        let start = self.data.start()?;
        write(&mut |bytes| self.data.append(bytes))?;
        let tensor = self.data.tensor(&name, dims, kind, start);
        self.graph.initializer.push(tensor);
        Ok(name)
    }

    pub(super) fn floats(
        &mut self,
        name: impl Into<Value>,
        dims: &[usize],
        values: &[f32],
    ) -> Result<Value, ExportError> {
        let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.constant(name, dims, DataType::Float, bytes)
    }

    pub(super) fn int32s(
        &mut self,
        name: impl Into<Value>,
        dims: &[usize],
        values: &[i32],
    ) -> Result<Value, ExportError> {
        let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.constant(name, dims, DataType::Int32, bytes)
    }

    /// A list of i64, as shapes and axes have to be; the same list is one constant.
    pub(super) fn integers(&mut self, values: &[i64]) -> Result<Value, ExportError> {
        let words: Vec<String> = values.iter().map(i64::to_string).collect();
        let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        let name = format!("integers_{}", words.join("_"));
        self.shared_constant(name, &[values.len()], DataType::Int64, bytes)
    }

    /// One f32 that every caller of this name means alike.
    pub(super) fn scalar(&mut self, name: &str, value: f32) -> Result<Value, ExportError> {
        let bytes = value.to_le_bytes().to_vec();
        self.shared_constant(name.to_owned(), &[], DataType::Float, bytes)
    }

    /// INT8 zeros, one for each of `n` output channels.
    pub(super) fn zero_points(&mut self, n: usize) -> Result<Value, ExportError> {
        self.shared_constant(format!("zero_points_{n}"), &[n], DataType::Int8, vec![0; n])
    }

    fn shared_constant(
        &mut self,
        name: Value,
        dims: &[usize],
        kind: DataType,
        bytes: Vec<u8>,
    ) -> Result<Value, ExportError> {
        if !self.shared.insert(name.clone()) {
            return Ok(name);
        }
        self.constant(name, dims, kind, bytes)
    }
}

pub(super) fn int(name: &str, i: i64) -> AttributeProto {
    let kind = AttributeKind::Int as i32;
    AttributeProto { name: name.to_owned(), i, r#type: kind, ..AttributeProto::default() }
}

pub(super) fn ints(name: &str, ints: &[i64]) -> AttributeProto {
    let (ints, kind) = (ints.to_vec(), AttributeKind::Ints as i32);
    AttributeProto { name: name.to_owned(), ints, r#type: kind, ..AttributeProto::default() }
}

fn value_info(name: &str, kind: DataType, dims: &[Dim]) -> ValueInfoProto {
    let dim = |dim: &Dim| DimensionProto {
        value: Some(match *dim {
            Dim::Fixed(size) => Dimension::Value(size as i64),
            Dim::Named(name) => Dimension::Param(name.to_owned()),
        }),
    };
    let shape = TensorShapeProto { dim: dims.iter().map(dim).collect() };
    let tensor_type = TensorTypeProto { elem_type: kind as i32, shape: Some(shape) };
    let r#type = Some(TypeProto { tensor_type: Some(tensor_type) });
    ValueInfoProto { name: name.to_owned(), r#type }
}
