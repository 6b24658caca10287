//! Parts of the network that every engine reads in the same way: vectors and the embedding.

use super::{StoredMatrix, Tensor, Tensors};
use crate::TokenId;
use crate::config::ModelConfig;
use crate::error::LoadError;
use crate::quant::activation_scales::is_scale;

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
}

impl Tensors {
    /// The static scale `name` of an activation, one number, with no zero point beside it.
    pub(crate) fn activation_scale(&self, name: &str) -> Result<f32, LoadError> {
        let stored = self.tensor(name)?;
        let values = stored.to_finite_f32()?;
        let [scale] = values[..] else { return Err(stored.wrong_shape("[] or [1]".to_owned())) };
        if !is_scale(scale) {
            return Err(stored.refuse(format!("is {scale}; a scale is positive")));
        }
        let zero_point = name.replace("input_scale", "input_zero_point");
        if self.contains(&zero_point) {
            let stored = self.tensor(&zero_point)?;
            if stored.bytes().iter().any(|byte| *byte != 0) {
                let detail = "must be zero: only symmetric activations are read";
                return Err(stored.refuse(detail.to_owned()));
            }
        }
        Ok(scale)
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
pub struct Embedding(StoredMatrix);

impl Embedding {
    /// The embedding of a model.
    ///
    /// # Errors
    /// When it is missing, has another shape or element type, or its scales are not valid.
    pub fn load(tensors: &Tensors, config: &ModelConfig) -> Result<Self, LoadError> {
        tensors.matrix(EMBEDDING, [config.vocab_size, config.hidden_size], config).map(Self)
    }

    /// Writes the row of `token` into `x`, `[hidden]`.
    pub fn lookup(&self, token: TokenId, x: &mut [f32]) {
        self.0.row(token as usize, x);
    }
}
