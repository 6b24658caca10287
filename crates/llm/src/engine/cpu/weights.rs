//! Weights of the network: from tensors in files to what the forward pass reads.
//!
//! In INT8 every linear layer is INT8 once loaded. What is stored so is used where it lies in the
//! file; floats are quantised a few rows at a time, and the pages they came from are given back,
//! so that memory never holds the model twice.

use ::safetensors::Dtype;

use super::LoadProgress;
use super::matrix::{Arithmetic, Int8Values, Matrix, Values};
use super::pool::Pool;
use crate::TokenId;
use crate::config::ModelConfig;
use crate::error::LoadError;
use crate::quant::int8::{dequantize_row, quantize_row};
use crate::weights::{Tensor, Tensors};

/// Elements that are quantised between two returns of source pages: 16 MiB of bf16.
const QUANTIZE_ELEMENTS: usize = 8 << 20;

/// All weights. Shapes are `[out, in]`.
pub(super) struct Weights {
    /// `[vocab, hidden]`, for look-up.
    pub(super) embedding: Embedding,
    pub(super) layers: Vec<Layer>,
    /// `[hidden]`
    pub(super) final_norm: Vec<f32>,
    /// `[vocab, hidden]`, for the logits; made from the embedding when the two are tied.
    pub(super) head: Matrix,
}

/// One decoder layer.
pub(super) struct Layer {
    /// `[hidden]`
    pub(super) input_norm: Vec<f32>,
    /// `[n_heads * head_dim, hidden]`
    pub(super) q: Matrix,
    /// `[n_kv_heads * head_dim, hidden]`
    pub(super) k: Matrix,
    /// `[n_kv_heads * head_dim, hidden]`
    pub(super) v: Matrix,
    /// `[head_dim]`, shared by all query heads.
    pub(super) q_norm: Vec<f32>,
    /// `[head_dim]`, shared by all key heads.
    pub(super) k_norm: Vec<f32>,
    /// `[hidden, n_heads * head_dim]`
    pub(super) o: Matrix,
    /// `[hidden]`
    pub(super) post_attention_norm: Vec<f32>,
    /// `[intermediate, hidden]`
    pub(super) gate: Matrix,
    /// `[intermediate, hidden]`
    pub(super) up: Matrix,
    /// `[hidden, intermediate]`
    pub(super) down: Matrix,
}

/// The embedding as stored; rows are widened when they are looked up.
pub(super) enum Embedding {
    Float(Tensor),
    Int8 { tensor: Tensor, scales: Vec<f32> },
}

impl Embedding {
    pub(super) fn lookup(&self, token: TokenId, x: &mut [f32]) {
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

impl Weights {
    pub(super) fn load(
        tensors: &Tensors,
        config: &ModelConfig,
        arithmetic: Arithmetic,
        pool: &mut Pool,
        progress: &mut dyn FnMut(LoadProgress),
    ) -> Result<Self, LoadError> {
        let mut loader = Loader { tensors, config, arithmetic, pool };
        let total = config.n_layers + 1;
        let mut layers = Vec::with_capacity(config.n_layers);
        for index in 0..config.n_layers {
            progress(LoadProgress { done: index, total });
            layers.push(loader.layer(index)?);
        }
        progress(LoadProgress { done: config.n_layers, total });
        const EMBEDDING: &str = "model.embed_tokens.weight";
        let head = if config.tie_word_embeddings { EMBEDDING } else { "lm_head.weight" };
        let weights = Self {
            embedding: loader.embedding(EMBEDDING)?,
            layers,
            final_norm: loader.vector("model.norm.weight", config.hidden_size)?,
            head: loader.matrix(head, config.vocab_size, config.hidden_size)?,
        };
        progress(LoadProgress { done: total, total });
        Ok(weights)
    }
}

struct Loader<'a> {
    tensors: &'a Tensors,
    config: &'a ModelConfig,
    arithmetic: Arithmetic,
    pool: &'a mut Pool,
}

impl Loader<'_> {
    fn layer(&mut self, index: usize) -> Result<Layer, LoadError> {
        let c = self.config;
        let (hidden, ffn, q, kv) = (c.hidden_size, c.intermediate_size, c.q_size(), c.kv_size());
        let name = |part: &str| format!("model.layers.{index}.{part}.weight");
        Ok(Layer {
            input_norm: self.vector(&name("input_layernorm"), hidden)?,
            q: self.matrix(&name("self_attn.q_proj"), q, hidden)?,
            k: self.matrix(&name("self_attn.k_proj"), kv, hidden)?,
            v: self.matrix(&name("self_attn.v_proj"), kv, hidden)?,
            q_norm: self.vector(&name("self_attn.query_layernorm"), c.head_dim)?,
            k_norm: self.vector(&name("self_attn.key_layernorm"), c.head_dim)?,
            o: self.matrix(&name("self_attn.o_proj"), hidden, q)?,
            post_attention_norm: self.vector(&name("post_attention_layernorm"), hidden)?,
            gate: self.matrix(&name("mlp.gate_proj"), ffn, hidden)?,
            up: self.matrix(&name("mlp.up_proj"), ffn, hidden)?,
            down: self.matrix(&name("mlp.down_proj"), hidden, ffn)?,
        })
    }

    fn vector(&self, name: &str, len: usize) -> Result<Vec<f32>, LoadError> {
        let tensor = self.tensors.tensor(name)?.with_shape(&[len])?;
        let values = tensor.clone().to_f32()?;
        check_finite(&tensor, &values)?;
        Ok(values)
    }

    fn embedding(&self, name: &str) -> Result<Embedding, LoadError> {
        let shape = [self.config.vocab_size, self.config.hidden_size];
        let tensor = self.tensors.tensor(name)?.with_shape(&shape)?;
        if tensor.dtype() == Dtype::I8 {
            let scales = self.scales(&tensor, shape[0])?;
            return Ok(Embedding::Int8 { tensor, scales });
        }
        tensor.with_float_elements().map(Embedding::Float)
    }

    fn matrix(&mut self, name: &str, rows: usize, cols: usize) -> Result<Matrix, LoadError> {
        let tensor = self.tensors.tensor(name)?.with_shape(&[rows, cols])?;
        let values = if tensor.dtype() == Dtype::I8 {
            let scales = self.scales(&tensor, rows)?;
            match self.arithmetic {
                Arithmetic::Int8 => Values::Int8 { values: Int8Values::Stored(tensor), scales },
                Arithmetic::F32 => Values::F32(dequantize(&tensor, &scales, cols)),
            }
        } else {
            let tensor = tensor.with_float_elements()?;
            match self.arithmetic {
                Arithmetic::Int8 => self.quantize(&tensor, rows, cols)?,
                Arithmetic::F32 => {
                    let values = tensor.clone().to_f32()?;
                    check_finite(&tensor, &values)?;
                    Values::F32(values)
                }
            }
        };
        Ok(Matrix { rows, cols, values })
    }

    /// The scale of each row of a stored INT8 tensor, from `[]`, `[1]`, `[rows]` or `[rows, 1]`.
    fn scales(&self, tensor: &Tensor, rows: usize) -> Result<Vec<f32>, LoadError> {
        if self.config.quantization.is_none() {
            let expected = "BF16, F16 or F32 (config.json has no quantization_config)";
            return Err(tensor.wrong_dtype(expected, Dtype::I8));
        }
        let scale = self.tensors.tensor(&format!("{}_scale", tensor.name()))?;
        let per_row = match *scale.shape() {
            [] | [1] => false,
            [n] | [n, 1] if n == rows => true,
            _ => return Err(scale.wrong_shape(format!("[], [1], [{rows}] or [{rows}, 1]"))),
        };
        let values = scale.clone().to_f32()?;
        check_finite(&scale, &values)?;
        Ok(if per_row { values } else { vec![values[0]; rows] })
    }

    fn quantize(&mut self, tensor: &Tensor, rows: usize, cols: usize) -> Result<Values, LoadError> {
        let out_of_memory = |source| LoadError::Io { path: tensor.file().into(), source };
        let mut map = Int8Values::zeroed(rows * cols).map_err(out_of_memory)?;
        let mut scales = vec![0.0; rows];
        let chunk_rows = (QUANTIZE_ELEMENTS / cols).max(1);
        let values: &mut [i8] = bytemuck::cast_slice_mut(&mut map);
        let chunks = values.chunks_mut(chunk_rows * cols).zip(scales.chunks_mut(chunk_rows));
        for (chunk, (values, scales)) in chunks.enumerate() {
            let first = chunk * chunk_rows;
            self.pool.for_row_pairs(
                (values, cols),
                (&mut scales[..], 1),
                |index, values, scale| {
                    let row = first + index;
                    let mut x = vec![0.0; cols];
                    tensor.widen(row * cols..(row + 1) * cols, &mut x);
                    scale[0] = quantize_row(&x, values);
                },
            );
            if let Some(bad) = scales.iter().position(|scale| !scale.is_finite()) {
                return Err(tensor.not_finite(first + bad, scales[bad]));
            }
            tensor.forget_pages(first * cols..first * cols + values.len());
        }
        Ok(Values::Int8 { values: Int8Values::Made(map), scales })
    }
}

fn dequantize(tensor: &Tensor, scales: &[f32], cols: usize) -> Vec<f32> {
    let values: &[i8] = bytemuck::cast_slice(tensor.bytes());
    let mut out = vec![0.0; values.len()];
    let rows = out.chunks_exact_mut(cols).zip(values.chunks_exact(cols));
    for ((out, values), scale) in rows.zip(scales) {
        dequantize_row(values, *scale, out);
    }
    out
}

/// Refuses NaN and infinity: one such weight makes every logit NaN.
fn check_finite(tensor: &Tensor, values: &[f32]) -> Result<(), LoadError> {
    let Some(bad) = values.iter().position(|value| !value.is_finite()) else { return Ok(()) };
    let row_len: usize = tensor.shape().iter().skip(1).product();
    Err(tensor.not_finite(bad / row_len.max(1), values[bad]))
}
