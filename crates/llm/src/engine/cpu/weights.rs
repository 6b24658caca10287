//! Weights of the network: from tensors in files to what the forward pass reads.
//!
//! In INT8 every linear layer is INT8 once loaded. What is stored so is used where it lies in the
//! file; every other layout is widened and quantised a few rows at a time, and the pages it came
//! from are given back, so that memory never holds the model twice.

use super::LoadProgress;
use super::matrix::{Arithmetic, Input, Int8Values, Matrix, Values};
use super::pool::Pool;
use crate::config::ModelConfig;
use crate::error::LoadError;
use crate::quant::activation_scales::{ActivationScales, LayerScales};
use crate::quant::int8::quantize_row;
use crate::quant::smoothing::Fold;
use crate::weights::{EMBEDDING, Embedding, StoredMatrix, Tensors};

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
pub(crate) struct Layer {
    /// `[hidden]`
    pub(crate) input_norm: Vec<f32>,
    /// `[n_heads * head_dim, hidden]`
    pub(crate) q: Matrix,
    /// `[n_kv_heads * head_dim, hidden]`
    pub(crate) k: Matrix,
    /// `[n_kv_heads * head_dim, hidden]`
    pub(crate) v: Matrix,
    /// `[head_dim]`, shared by all query heads.
    pub(crate) q_norm: Vec<f32>,
    /// `[head_dim]`, shared by all key heads.
    pub(crate) k_norm: Vec<f32>,
    /// `[hidden, n_heads * head_dim]`
    pub(crate) o: Matrix,
    /// `[hidden]`
    pub(crate) post_attention_norm: Vec<f32>,
    /// `[intermediate, hidden]`
    pub(crate) gate: Matrix,
    /// `[intermediate, hidden]`
    pub(crate) up: Matrix,
    /// `[hidden, intermediate]`
    pub(crate) down: Matrix,
    /// Static scales of what enters the matrices, where a model runs with such: an input without
    /// one then has matrices in f32.
    pub(crate) input_scales: Option<LayerScales>,
}

impl Layer {
    /// How `matrix`, which stands behind `fold`, takes its input.
    pub(super) fn input(&self, fold: Fold, matrix: &Matrix) -> Input {
        Input::of(matrix, self.input_scales.and_then(|scales| scales[fold as usize]))
    }

    /// How the layer attends. The graphs that static scales are for attend in floats.
    pub(super) fn attention(&self) -> Arithmetic {
        match self.input_scales {
            None => self.q.arithmetic(),
            Some(_) => Arithmetic::F32,
        }
    }
}

impl Weights {
    pub(super) fn load(
        tensors: &Tensors,
        config: &ModelConfig,
        arithmetic: Arithmetic,
        static_scales: Option<&ActivationScales>,
        pool: &mut Pool,
        progress: &mut dyn FnMut(LoadProgress),
    ) -> Result<Self, LoadError> {
        let mut loader = Loader { tensors, config, arithmetic, static_scales, pool };
        let total = config.n_layers + 1;
        let mut layers = Vec::with_capacity(config.n_layers);
        for index in 0..config.n_layers {
            progress(LoadProgress { done: index, total });
            layers.push(loader.layer(index)?);
        }
        progress(LoadProgress { done: config.n_layers, total });
        // The graphs that static scales are for keep their head in floats.
        let of_head = if static_scales.is_some() { Arithmetic::F32 } else { arithmetic };
        let head = if config.tie_word_embeddings { EMBEDDING } else { "lm_head.weight" };
        let weights = Self {
            embedding: Embedding::load(tensors, config)?,
            layers,
            final_norm: tensors.vector("model.norm.weight", config.hidden_size)?,
            head: loader.matrix(of_head, head, config.vocab_size, config.hidden_size)?,
        };
        progress(LoadProgress { done: total, total });
        Ok(weights)
    }
}

impl Weights {
    /// Exchanges layer `part`, or the final norm and the head when there is no such layer.
    pub(super) fn swap_part(&mut self, other: &mut Self, part: usize) {
        match (self.layers.get_mut(part), other.layers.get_mut(part)) {
            (Some(ours), Some(theirs)) => std::mem::swap(ours, theirs),
            _ => {
                std::mem::swap(&mut self.final_norm, &mut other.final_norm);
                std::mem::swap(&mut self.head, &mut other.head);
            }
        }
    }
}

/// One layer in f32, for calibration.
pub(super) fn load_layer_f32(
    tensors: &Tensors,
    config: &ModelConfig,
    pool: &mut Pool,
    index: usize,
) -> Result<Layer, LoadError> {
    let arithmetic = Arithmetic::F32;
    Loader { tensors, config, arithmetic, static_scales: None, pool }.layer(index)
}

struct Loader<'a> {
    tensors: &'a Tensors,
    config: &'a ModelConfig,
    arithmetic: Arithmetic,
    static_scales: Option<&'a ActivationScales>,
    pool: &'a mut Pool,
}

impl Loader<'_> {
    fn layer(&mut self, index: usize) -> Result<Layer, LoadError> {
        let c = self.config;
        let (hidden, ffn, q, kv) = (c.hidden_size, c.intermediate_size, c.q_size(), c.kv_size());
        let name = |part: &str| format!("model.layers.{index}.{part}.weight");
        let vector = |name: &str, len: usize| self.tensors.vector(name, len);
        let input_scales = self.static_scales.map(|scales| *scales.layer(index));
        let arithmetic = self.arithmetic;
        let at = |fold: Fold| match input_scales {
            Some(scales) if scales[fold as usize].is_none() => Arithmetic::F32,
            _ => arithmetic,
        };
        Ok(Layer {
            input_norm: vector(&name("input_layernorm"), hidden)?,
            q: self.matrix(at(Fold::QkvInput), &name("self_attn.q_proj"), q, hidden)?,
            k: self.matrix(at(Fold::QkvInput), &name("self_attn.k_proj"), kv, hidden)?,
            v: self.matrix(at(Fold::QkvInput), &name("self_attn.v_proj"), kv, hidden)?,
            q_norm: vector(&name("self_attn.query_layernorm"), c.head_dim)?,
            k_norm: vector(&name("self_attn.key_layernorm"), c.head_dim)?,
            o: self.matrix(at(Fold::OutputInput), &name("self_attn.o_proj"), hidden, q)?,
            post_attention_norm: vector(&name("post_attention_layernorm"), hidden)?,
            gate: self.matrix(at(Fold::FeedForwardInput), &name("mlp.gate_proj"), ffn, hidden)?,
            up: self.matrix(at(Fold::FeedForwardInput), &name("mlp.up_proj"), ffn, hidden)?,
            down: self.matrix(at(Fold::DownInput), &name("mlp.down_proj"), hidden, ffn)?,
            input_scales,
        })
    }

    fn matrix(
        &mut self,
        arithmetic: Arithmetic,
        name: &str,
        rows: usize,
        cols: usize,
    ) -> Result<Matrix, LoadError> {
        let stored = self.tensors.matrix(name, [rows, cols], self.config)?;
        let values = match (arithmetic, stored.int8()) {
            (Arithmetic::Int8, Some((tensor, scales))) => {
                Values::Int8 { values: Int8Values::Stored(tensor.clone()), scales: scales.to_vec() }
            }
            (Arithmetic::Int8, None) => self.quantize(&stored)?,
            (Arithmetic::F32, _) => Values::F32(widen(&stored)?),
        };
        Ok(Matrix { rows, cols, values })
    }

    fn quantize(&mut self, stored: &StoredMatrix) -> Result<Values, LoadError> {
        let [rows, cols] = stored.shape();
        let out_of_memory = |source| LoadError::Io { path: stored.tensor().file().into(), source };
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
                    let mut x = vec![0.0; cols];
                    stored.row(first + index, &mut x);
                    scale[0] = quantize_row(&x, values);
                },
            );
            if let Some(bad) = scales.iter().position(|scale| !scale.is_finite()) {
                return Err(stored.not_finite(first + bad, scales[bad]));
            }
            stored.forget_rows(first..first + scales.len());
        }
        Ok(Values::Int8 { values: Int8Values::Made(map), scales })
    }
}

fn widen(stored: &StoredMatrix) -> Result<Vec<f32>, LoadError> {
    let [rows, cols] = stored.shape();
    let mut out = vec![0.0; rows * cols];
    for (row, x) in out.chunks_exact_mut(cols).enumerate() {
        stored.row(row, x);
        if let Some(value) = x.iter().find(|value| !value.is_finite()) {
            return Err(stored.not_finite(row, *value));
        }
    }
    stored.forget_rows(0..rows);
    Ok(out)
}
