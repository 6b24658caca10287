//! Which operators there are, and which of their inputs have to be constants.

use super::{Lint, Parser, Rule};
use crate::onnx::proto::NodeProto;

/// Operators that all four parsers read without restrictions that would matter here.
const OPERATORS: &[&str] = &[
    "Abs",
    "Add",
    "And",
    "Cast",
    "Ceil",
    "Clip",
    "Concat",
    "Constant",
    "ConstantOfShape",
    "Cos",
    "CumSum",
    "DequantizeLinear",
    "Div",
    "Equal",
    "Exp",
    "Expand",
    "Flatten",
    "Floor",
    "Gather",
    "GatherElements",
    "GatherND",
    "Gemm",
    "Greater",
    "GreaterOrEqual",
    "Identity",
    "Less",
    "LessOrEqual",
    "Log",
    "MatMul",
    "Max",
    "Min",
    "Mul",
    "Neg",
    "Not",
    "Or",
    "Pow",
    "QuantizeLinear",
    "Range",
    "Reciprocal",
    "ReduceMax",
    "ReduceMean",
    "ReduceSum",
    "Relu",
    "Reshape",
    "Shape",
    "Sigmoid",
    "Sin",
    "Slice",
    "Softmax",
    "Split",
    "Sqrt",
    "Squeeze",
    "Sub",
    "Tanh",
    "TopK",
    "Transpose",
    "Trilu",
    "Unsqueeze",
    "Where",
];

/// Operators that came later, with the first parser here that has them.
const LATER: &[(&str, Parser)] = &[
    ("LayerNormalization", Parser::V10_3),
    ("GroupNormalization", Parser::V10_3),
    ("Attention", Parser::V11),
    ("RMSNormalization", Parser::V11),
    ("RotaryEmbedding", Parser::V11),
    ("TensorScatter", Parser::V11),
];

/// Inputs that have to be constants, with the first parser that is content without.
const CONSTANT_INPUTS: &[(&str, usize, &str, Option<Parser>)] = &[
    ("Slice", 3, "axes", None),
    ("Squeeze", 1, "axes", None),
    ("Unsqueeze", 1, "axes", None),
    ("CumSum", 1, "axis", None),
    ("ReduceMax", 1, "axes", None),
    ("ReduceMean", 1, "axes", None),
    ("ReduceSum", 1, "axes", None),
    ("TopK", 1, "K", Some(Parser::V10_3)),
];

impl Lint<'_> {
    pub(super) fn operator(&mut self, node: &NodeProto) {
        if !matches!(node.domain.as_str(), "" | "ai.onnx") {
            let detail = format!("{} of '{}'", node.op_type, node.domain);
            return self.find(&node.name, Rule::Domain, detail);
        }
        let op = node.op_type.as_str();
        let later = LATER.iter().find(|(name, _)| *name == op);
        let is_read = match later {
            Some((_, first)) => self.parser >= *first,
            None => OPERATORS.contains(&op),
        };
        if !is_read {
            self.find(&node.name, Rule::Operator, format!("{op} is not in the table"));
        }
    }

    pub(super) fn constant_inputs(&mut self, node: &NodeProto) {
        for (op, index, input, free_from) in CONSTANT_INPUTS {
            let Some(name) = node.input.get(*index).filter(|name| !name.is_empty()) else {
                continue;
            };
            let applies = free_from.is_none_or(|first| self.parser < first);
            if node.op_type == *op && applies && self.constants.get(name).is_none() {
                let detail = format!("'{input}' of {op} is computed");
                self.find(&node.name, Rule::ConstantInput, detail);
            }
        }
    }
}
