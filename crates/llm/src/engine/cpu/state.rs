//! What changes from step to step: the KV cache and the scratch buffers.

use super::matrix::Activations;
use crate::config::ModelConfig;

/// Tokens by which a slot's cache grows.
const GROW_TOKENS: usize = 64;

/// Keys and values of every slot. A slot without a sequence owns no memory.
///
/// Keys are stored after RoPE and after their norm, in f32: at 100 tokens a 1.8B model reads 13 MB
/// of cache beside 1.8 GB of weights, so a narrower type would save memory but no time.
pub(super) struct KvCache {
    slots: Vec<SlotCache>,
    n_layers: usize,
    /// Width of one token's keys (or values) in one layer.
    width: usize,
}

#[derive(Default)]
struct SlotCache {
    n_tokens: usize,
    layers: Vec<LayerCache>,
}

/// One layer of one slot.
#[derive(Default)]
pub(super) struct LayerCache {
    /// `[tokens, n_kv_heads * head_dim]`.
    pub(super) keys: Vec<f32>,
    /// `[tokens, n_kv_heads * head_dim]`.
    pub(super) values: Vec<f32>,
}

impl KvCache {
    pub(super) fn new(config: &ModelConfig, n_slots: usize) -> Self {
        let slots = (0..n_slots).map(|_| SlotCache::default()).collect();
        Self { slots, n_layers: config.n_layers, width: config.kv_size() }
    }

    /// Tokens held by a slot.
    pub(super) fn n_tokens(&self, slot: usize) -> usize {
        self.slots[slot].n_tokens
    }

    /// Cuts the slot back to `position` tokens and makes room for `n` more.
    pub(super) fn open(&mut self, slot: usize, position: usize, n: usize) {
        let slot = &mut self.slots[slot];
        slot.layers.resize_with(self.n_layers, LayerCache::default);
        let room = (position + n).next_multiple_of(GROW_TOKENS) * self.width;
        for layer in &mut slot.layers {
            for buffer in [&mut layer.keys, &mut layer.values] {
                buffer.truncate(position * self.width);
                if buffer.capacity() < room {
                    buffer.reserve_exact(room - buffer.len());
                }
            }
        }
        slot.n_tokens = position + n;
    }

    /// Appends one token's keys and values to one layer.
    pub(super) fn append(&mut self, slot: usize, layer: usize, keys: &[f32], values: &[f32]) {
        let layer = &mut self.slots[slot].layers[layer];
        layer.keys.extend_from_slice(keys);
        layer.values.extend_from_slice(values);
    }

    pub(super) fn layer(&self, slot: usize, layer: usize) -> &LayerCache {
        &self.slots[slot].layers[layer]
    }

    pub(super) fn release(&mut self, slot: usize) {
        self.slots[slot] = SlotCache::default();
    }
}

/// Buffers of one forward pass over `n` tokens, reused from step to step.
pub(super) struct Scratch {
    /// Residual stream, `[n, hidden]`.
    pub(super) x: Vec<f32>,
    /// Normalised residual, input of the linear layers, `[n, hidden]`.
    pub(super) h: Activations,
    /// What a block adds to the residual stream, `[n, hidden]`.
    pub(super) delta: Vec<f32>,
    /// Queries, `[n, n_heads * head_dim]`.
    pub(super) q: Vec<f32>,
    /// New keys, `[n, n_kv_heads * head_dim]`.
    pub(super) k: Vec<f32>,
    /// New values, `[n, n_kv_heads * head_dim]`.
    pub(super) v: Vec<f32>,
    /// Output of attention, `[n, n_heads * head_dim]`.
    pub(super) attended: Activations,
    /// Gate, then silu(gate) * up, `[n, intermediate]`.
    pub(super) gated: Activations,
    /// Up projection, `[n, intermediate]`.
    pub(super) up: Vec<f32>,
    /// Rotations, `[n, head_dim / 2]` pairs of cosine and sine.
    pub(super) rotations: Vec<(f32, f32)>,
}

impl Scratch {
    pub(super) fn new(config: &ModelConfig) -> Self {
        Self {
            x: Vec::new(),
            h: Activations::new(config.hidden_size),
            delta: Vec::new(),
            q: Vec::new(),
            k: Vec::new(),
            v: Vec::new(),
            attended: Activations::new(config.q_size()),
            gated: Activations::new(config.intermediate_size),
            up: Vec::new(),
            rotations: Vec::new(),
        }
    }

    /// Makes room for `n` tokens.
    pub(super) fn resize(&mut self, config: &ModelConfig, n: usize) {
        self.x.resize(n * config.hidden_size, 0.0);
        self.h.resize(n);
        self.delta.resize(n * config.hidden_size, 0.0);
        self.q.resize(n * config.q_size(), 0.0);
        self.k.resize(n * config.kv_size(), 0.0);
        self.v.resize(n * config.kv_size(), 0.0);
        self.attended.resize(n);
        self.gated.resize(n);
        self.up.resize(n * config.intermediate_size, 0.0);
        self.rotations.resize(n * config.head_dim / 2, (1.0, 0.0));
    }
}
