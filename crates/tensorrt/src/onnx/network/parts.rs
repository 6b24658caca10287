//! What the network is put together from: norms, linear layers, and single operators.

use hymt_llm::quant::smoothing::Fold;

use super::{Network, Shared};
use crate::onnx::builder::{Value, int, ints};
use crate::onnx::export::{ExportError, FloatType, WeightForm};
use crate::onnx::proto::DataType;
use crate::onnx::weights::{Int8Matrix, OUTPUT_AXIS, float_matrix, floats, int8, transposed};

/// What linear layers read.
pub(super) struct Input {
    value: Value,
    /// Whether it stays a float, of the type of the export.
    is_float: bool,
}

impl Network<'_> {
    /// `x / rms(x) * weight` over the last dimension.
    pub(super) fn norm(&mut self, at: &str, x: &Value, width: usize) -> Result<Value, ExportError> {
        self.scaled_norm(at, x, width, 1.0)
    }

    pub(super) fn scaled_norm(
        &mut self,
        at: &str,
        x: &Value,
        width: usize,
        scale: f32,
    ) -> Result<Value, ExportError> {
        let name = format!("{at}.weight");
        let weight: Vec<f32> =
            self.tensors.vector(&name, width)?.iter().map(|weight| weight * scale).collect();
        let weight = self.graph.floats(name, &[width], &weight)?;
        let eps = self.graph.scalar("rms_norm_eps", self.config.rms_norm_eps)?;
        let squares = self.graph.op("Mul", format!("{at}.squares"), &[x, x]);
        let attributes = vec![ints("axes", &[-1]), int("keepdims", 1)];
        let mean = self.graph.op_with("ReduceMean", format!("{at}.mean"), &[&squares], attributes);
        let mean = self.graph.op("Add", format!("{at}.mean_eps"), &[&mean, &eps]);
        let rms = self.graph.op("Sqrt", format!("{at}.rms"), &[&mean]);
        let factor = self.graph.op("Reciprocal", format!("{at}.factor"), &[&rms]);
        let normed = self.graph.op("Mul", format!("{at}.unit"), &[x, &factor]);
        Ok(self.graph.op("Mul", at, &[&normed, &weight]))
    }

    /// What linear layers read: `x` quantised with its static scale and back, or as it is where it
    /// has none and stays a float.
    pub(super) fn quantised(
        &mut self,
        layer: usize,
        fold: Fold,
        shared: &Shared,
        x: &Value,
    ) -> Result<Input, ExportError> {
        let at = format!("model.layers.{layer}.{}.input", fold.readers()[0]);
        let Some(scale) = self.scales.layer(layer)[fold as usize] else {
            return Ok(Input { value: self.narrowed(&at, x.clone()), is_float: true });
        };
        let scale = self.graph.floats(format!("{at}_scale"), &[], &[scale])?;
        let zero_point = &shared.zero_point;
        let quantised =
            self.graph.op("QuantizeLinear", format!("{at}_int8"), &[x, &scale, zero_point]);
        let inputs = [&quantised, &scale, zero_point];
        let value = self.graph.op("DequantizeLinear", at, &inputs);
        Ok(Input { value, is_float: false })
    }

    /// A linear layer without bias, `[b, t, inputs]` to `[b, t, outputs]`.
    pub(super) fn linear(
        &mut self,
        at: &str,
        x: &Input,
        outputs: usize,
        inputs: usize,
    ) -> Result<Value, ExportError> {
        let name = format!("{at}.weight");
        let stored = self.tensors.matrix(&name, [outputs, inputs], self.config)?;
        if x.is_float {
            let weight = float_matrix(self.graph, name, &stored, self.options.float)?;
            let name = match self.options.float {
                FloatType::F32 => at.to_owned(),
                FloatType::F16 => format!("{at}_f16"),
            };
            let product = self.graph.op("MatMul", name, &[&x.value, &weight]);
            return Ok(self.widened(at, product));
        }
        let Int8Matrix { values, scales } = int8(&stored)?;
        let scale = self.graph.floats(format!("{name}_scale"), &[outputs], &scales)?;
        let zero_point = self.graph.zero_points(outputs)?;
        let axis = || vec![int("axis", OUTPUT_AXIS)];
        let quantised = match self.options.weights {
            WeightForm::Int8 => {
                let bytes: Vec<u8> =
                    transposed(&values, outputs, inputs).iter().map(|v| *v as u8).collect();
                self.graph.constant(name.clone(), &[inputs, outputs], DataType::Int8, bytes)?
            }
            WeightForm::Float => {
                drop(values);
                let values = transposed(&floats(&stored)?, outputs, inputs);
                let weight = self.graph.floats(name.clone(), &[inputs, outputs], &values)?;
                let (op, inputs) = ("QuantizeLinear", [&weight, &scale, &zero_point]);
                self.graph.op_with(op, format!("{name}_int8"), &inputs, axis())
            }
        };
        let inputs = [&quantised, &scale, &zero_point];
        let weight = self.graph.op_with("DequantizeLinear", format!("{name}_f32"), &inputs, axis());
        Ok(self.graph.op("MatMul", at, &[&x.value, &weight]))
    }

    pub(super) fn reshape(
        &mut self,
        name: &str,
        x: &Value,
        shape: &[i64],
    ) -> Result<Value, ExportError> {
        let shape = self.graph.integers(shape)?;
        Ok(self.graph.op("Reshape", name, &[x, &shape]))
    }

    pub(super) fn transpose(&mut self, name: &str, x: &Value, perm: &[i64]) -> Value {
        self.graph.op_with("Transpose", name, &[x], vec![ints("perm", perm)])
    }

    /// Columns `start..end` of the last of four dimensions.
    pub(super) fn columns(
        &mut self,
        name: &str,
        x: &Value,
        start: i64,
        end: i64,
    ) -> Result<Value, ExportError> {
        let starts = self.graph.integers(&[start])?;
        let ends = self.graph.integers(&[end])?;
        let axes = self.graph.integers(&[3])?;
        Ok(self.graph.op("Slice", name, &[x, &starts, &ends, &axes]))
    }

    /// From the float type of the export to f32.
    pub(super) fn widened(&mut self, name: &str, x: Value) -> Value {
        self.cast(name, x, DataType::Float)
    }

    /// From f32 to the float type of the export.
    pub(super) fn narrowed(&mut self, name: &str, x: Value) -> Value {
        self.cast(name, x, self.options.float.data_type())
    }

    /// Nothing where the export is all f32.
    pub(super) fn cast(&mut self, name: &str, x: Value, kind: DataType) -> Value {
        match self.options.float {
            FloatType::F32 => x,
            FloatType::F16 => self.graph.op_with("Cast", name, &[&x], vec![int("to", kind as i64)]),
        }
    }
}
