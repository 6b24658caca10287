//! Rules of QuantizeLinear and DequantizeLinear.

use super::{Lint, Parser, Rule};
use crate::onnx::proto::{DataType, NodeProto};

impl Lint<'_> {
    pub(super) fn quantisation(&mut self, node: &NodeProto) {
        let [data, scale, zero_point] = &node.input[..] else {
            let detail = format!("{} inputs; allowed: 3", node.input.len());
            return self.find(&node.name, Rule::QdqInputs, detail);
        };
        if [data, scale, zero_point].into_iter().any(String::is_empty) {
            return self.find(&node.name, Rule::QdqInputs, "an input is left out");
        }
        for (input, name) in [("scale", scale), ("zero point", zero_point)] {
            if self.constants.get(name).is_none() {
                self.find(&node.name, Rule::QdqConstant, format!("the {input} is computed"));
            }
        }
        self.scale(node, scale);
        self.zero_point(node, zero_point);
        let counts = (self.constants.count(scale), self.constants.count(zero_point));
        if let (Some(scales), Some(zero_points)) = counts
            && scales != zero_points
        {
            let detail = format!("{scales} scales and {zero_points} zero points");
            self.find(&node.name, Rule::QdqSize, detail);
        }
        self.quantised_type(node, data, zero_point);
        if counts.0.is_some_and(|scales| scales != 1) {
            self.per_axis(node, data, counts.0.unwrap_or_default());
        }
        let is_constant = self.constants.get(data).is_some();
        if node.op_type == "DequantizeLinear" && is_constant && self.parser < Parser::V10_3 {
            self.find(&node.name, Rule::QdqInt8Constant, "an INT8 constant");
        }
    }

    fn scale(&mut self, node: &NodeProto, scale: &str) {
        let Some(tensor) = self.constants.get(scale) else { return };
        if tensor.data_type != DataType::Float as i32 {
            // Of opset 19 on there are others, which older parsers do not read.
            return self.find(&node.name, Rule::QdqScale, "the scale is not f32");
        }
        let Some(values) = self.constants.floats(scale) else {
            return self.find(&node.name, Rule::QdqScale, "the scale cannot be read");
        };
        if values.is_empty() {
            self.find(&node.name, Rule::QdqScale, "there is no scale");
        }
        if let Some(bad) = values.iter().find(|scale| !(scale.is_finite() && **scale > 0.0)) {
            self.find(&node.name, Rule::QdqScale, format!("a scale is {bad}"));
        }
    }

    fn zero_point(&mut self, node: &NodeProto, zero_point: &str) {
        if self.constants.get(zero_point).is_none() {
            return;
        }
        let Some(values) = self.constants.integers(zero_point) else {
            return self.find(&node.name, Rule::QdqZeroPoint, "the zero point cannot be read");
        };
        if let Some(bad) = values.iter().find(|value| **value != 0) {
            self.find(&node.name, Rule::QdqZeroPoint, format!("a zero point is {bad}"));
        }
    }

    fn quantised_type(&mut self, node: &NodeProto, data: &str, zero_point: &str) {
        let mut quantised = vec![("zero point", zero_point)];
        if node.op_type == "DequantizeLinear" {
            quantised.push(("data", data));
        }
        for (input, name) in quantised {
            let kind = self.constants.get(name).map(|tensor| tensor.data_type);
            if let Some(kind) = kind.filter(|kind| *kind != DataType::Int8 as i32) {
                let kind = DataType::try_from(kind).unwrap_or(DataType::Undefined);
                let detail = format!("the {input} is of type {kind:?}");
                self.find(&node.name, Rule::QdqType, detail);
            }
        }
    }

    /// Several scales: the data is a weight, as it is or out of a Q, and has as many channels.
    fn per_axis(&mut self, node: &NodeProto, data: &str, scales: i64) {
        let source = self.producers.get(data).filter(|node| node.op_type == "QuantizeLinear");
        let weight = source.and_then(|node| node.input.first()).map_or(data, String::as_str);
        let Some(tensor) = self.constants.get(weight) else {
            let detail = format!("{scales} scales for an activation");
            return self.find(&node.name, Rule::QdqPerAxis, detail);
        };
        let Some(axis) = node.attribute.iter().find(|attribute| attribute.name == "axis") else {
            // ONNX's default is 1, that of the parsers 0.
            let detail = format!("{scales} scales along no named axis");
            return self.find(&node.name, Rule::QdqPerAxis, detail);
        };
        let axis = axis.i;
        let rank = tensor.dims.len() as i64;
        let index = if axis < 0 { axis + rank } else { axis };
        let channels = usize::try_from(index).ok().and_then(|index| tensor.dims.get(index));
        if channels != Some(&scales) {
            let detail = format!("{scales} scales along axis {axis} of {:?}", tensor.dims);
            self.find(&node.name, Rule::QdqPerAxis, detail);
        }
    }
}
