//! Parts of the network that every engine reads in the same way: vectors, the scales of stored
//! INT8 rows, and the embedding. Matrices are each engine's own.

use ::safetensors::Dtype;

use super::{Tensor, Tensors};
use crate::TokenId;
use crate::config::ModelConfig;
use crate::error::LoadError;
use crate::quant::int8::dequantize_row;

/// Name of the embedding, which is also the head where the two are tied.
pub const EMBEDDING: &str = "model.embed_tokens.weight";

impl Tensors {
    /// The vector `name`, `[len]`, as f32.
    ///
    /// # Errors
    /// When it is missing, has another shape, or a value that is not finite.
    pub fn vector(&self, name: &str, len: usize) -> Result<Vec<f32>, LoadError> {
        self.tensor(name)?.with_shape(&[len])?.to_finite_f32()
    }

    /// The scale of each row of a stored INT8 tensor, `[rows]`, from `[]`, `[1]`, `[rows]` or
    /// `[rows, 1]`.
    ///
    /// # Errors
    /// When the model says of no quantisation, or the scales are missing, of another shape or not
    /// finite.
    pub fn row_scales(
        &self,
        tensor: &Tensor,
        rows: usize,
        config: &ModelConfig,
    ) -> Result<Vec<f32>, LoadError> {
        if config.quantization.is_none() {
            let expected = "BF16, F16 or F32 (config.json has no quantization_config)";
            return Err(tensor.wrong_dtype(expected, Dtype::I8));
        }
        let scale = self.tensor(&format!("{}_scale", tensor.name()))?;
        let per_row = match *scale.shape() {
            [] | [1] => false,
            [n] | [n, 1] if n == rows => true,
            _ => return Err(scale.wrong_shape(format!("[], [1], [{rows}] or [{rows}, 1]"))),
        };
        let values = scale.to_finite_f32()?;
        Ok(if per_row { values } else { vec![values[0]; rows] })
    }
}

impl Tensor {
    /// All elements as f32.
    ///
    /// # Errors
    /// When they are no floats, or one is not finite.
    pub fn to_finite_f32(&self) -> Result<Vec<f32>, LoadError> {
        let values = self.clone().to_f32()?;
        let Some(bad) = values.iter().position(|value| !value.is_finite()) else {
            return Ok(values);
        };
        let row_len: usize = self.shape().iter().skip(1).product();
        Err(self.not_finite(bad / row_len.max(1), values[bad]))
    }
}

/// The embedding as stored, `[vocab, hidden]`; rows are widened when they are looked up.
pub enum Embedding {
    /// Floats.
    Float(Tensor),
    /// INT8 with a scale for each row.
    Int8 {
        /// The values.
        tensor: Tensor,
        /// `[vocab]`
        scales: Vec<f32>,
    },
}

impl Embedding {
    /// The embedding of a model.
    ///
    /// # Errors
    /// When it is missing, has another shape or element type, or its scales are not valid.
    pub fn load(tensors: &Tensors, config: &ModelConfig) -> Result<Self, LoadError> {
        let shape = [config.vocab_size, config.hidden_size];
        let tensor = tensors.tensor(EMBEDDING)?.with_shape(&shape)?;
        if tensor.dtype() == Dtype::I8 {
            let scales = tensors.row_scales(&tensor, shape[0], config)?;
            return Ok(Self::Int8 { tensor, scales });
        }
        tensor.with_float_elements().map(Self::Float)
    }

    /// Writes the row of `token` into `x`, `[hidden]`.
    pub fn lookup(&self, token: TokenId, x: &mut [f32]) {
        let row = token as usize;
        match self {
            Self::Float(tensor) => tensor.widen(row * x.len()..(row + 1) * x.len(), x),
            Self::Int8 { tensor, scales } => {
                let values: &[i8] = bytemuck::cast_slice(tensor.bytes());
                dequantize_row(&values[row * x.len()..][..x.len()], scales[row], x);
            }
        }
    }
}
