//! What changes from step to step: the KV cache and the scratch buffers.

use std::ops::Range;

use super::kernels::levels::SPLIT_TOKENS;
use super::matrix::{Activations, Arithmetic};
use crate::config::ModelConfig;
use crate::quant::levels::to_fine_levels;

/// Tokens by which a slot's cache grows.
const GROW_TOKENS: usize = 64;

/// Keys and values of every slot. A slot without a sequence owns no memory.
pub(super) struct KvCache {
    slots: Vec<SlotCache>,
    n_layers: usize,
    n_kv_heads: usize,
    head_dim: usize,
}

#[derive(Default)]
struct SlotCache {
    n_tokens: usize,
    layers: Vec<LayerCache>,
}

/// One layer of one slot. Keys are stored after RoPE and after their norm.
pub(super) enum LayerCache {
    /// Both `[tokens, n_kv_heads * head_dim]`.
    F32 { keys: Vec<f32>, values: Vec<f32> },
    /// Half the memory; integer sums of levels are exact.
    Levels { keys: CachedLevels, values: CachedLevels },
}

impl LayerCache {
    fn new(arithmetic: Arithmetic, n_heads: usize, head_dim: usize) -> Self {
        let levels = || CachedLevels::new(n_heads, head_dim);
        match arithmetic {
            Arithmetic::F32 => Self::F32 { keys: Vec::new(), values: Vec::new() },
            Arithmetic::Int8 => Self::Levels { keys: levels(), values: levels() },
        }
    }

    /// Keeps `kept` tokens and makes room for `room` in all; a token is `n_heads` heads.
    fn resize(&mut self, kept: usize, room: usize, n_heads: usize, head_dim: usize) {
        match self {
            Self::F32 { keys, values } => {
                for rows in [keys, values] {
                    resize(rows, n_heads * head_dim, kept, room);
                }
            }
            Self::Levels { keys, values } => {
                for rows in [keys, values] {
                    resize(&mut rows.levels, n_heads * head_dim, kept, room);
                    resize(&mut rows.units, n_heads, kept, room);
                }
            }
        }
    }
}

/// Keeps `kept` rows of `width` elements and makes room for `room` in all.
fn resize<T>(buffer: &mut Vec<T>, width: usize, kept: usize, room: usize) {
    buffer.truncate(kept * width);
    if buffer.capacity() < room * width {
        buffer.reserve_exact(room * width - buffer.len());
    }
}

/// Keys or values of one layer as fine levels, with a unit for each token and head.
pub(super) struct CachedLevels {
    n_heads: usize,
    head_dim: usize,
    /// `[tokens, n_heads, head_dim]`.
    levels: Vec<i16>,
    /// `[tokens, n_heads]`.
    units: Vec<f32>,
}

impl CachedLevels {
    pub(super) fn new(n_heads: usize, head_dim: usize) -> Self {
        Self { n_heads, head_dim, levels: Vec::new(), units: Vec::new() }
    }

    /// Appends one token, `[n_heads, head_dim]`.
    pub(super) fn append(&mut self, row: &[f32]) {
        for head in row.chunks_exact(self.head_dim) {
            let start = self.levels.len();
            self.levels.resize(start + self.head_dim, 0);
            self.units.push(to_fine_levels(head, &mut self.levels[start..]));
        }
    }

    pub(super) fn head(&self, head: usize) -> HeadLevels<'_> {
        HeadLevels { all: self, head }
    }
}

/// One head of cached keys or values.
#[derive(Clone, Copy)]
pub(super) struct HeadLevels<'a> {
    all: &'a CachedLevels,
    head: usize,
}

impl<'a> HeadLevels<'a> {
    pub(super) fn head_dim(&self) -> usize {
        self.all.head_dim
    }

    pub(super) fn unit(&self, token: usize) -> f32 {
        self.all.units[token * self.all.n_heads + self.head]
    }

    /// The levels of up to [`SPLIT_TOKENS`] tokens, `[head_dim]` each; empty beyond those.
    pub(super) fn split(&self, tokens: Range<usize>) -> [&'a [i16]; SPLIT_TOKENS] {
        let (d, n_heads) = (self.all.head_dim, self.all.n_heads);
        let mut rows: [&[i16]; SPLIT_TOKENS] = [&[]; SPLIT_TOKENS];
        for (row, token) in rows.iter_mut().zip(tokens) {
            *row = &self.all.levels[(token * n_heads + self.head) * d..][..d];
        }
        rows
    }
}

impl KvCache {
    pub(super) fn new(config: &ModelConfig, n_slots: usize) -> Self {
        Self {
            slots: (0..n_slots).map(|_| SlotCache::default()).collect(),
            n_layers: config.n_layers,
            n_kv_heads: config.n_kv_heads,
            head_dim: config.head_dim,
        }
    }

    /// Tokens held by a slot.
    pub(super) fn n_tokens(&self, slot: usize) -> usize {
        self.slots[slot].n_tokens
    }

    /// Cuts the slot back to `position` tokens and makes room for `n` more. `attention` says how
    /// each layer attends, which must stay the same until the slot is released.
    pub(super) fn open(
        &mut self,
        slot: usize,
        position: usize,
        n: usize,
        attention: impl Fn(usize) -> Arithmetic,
    ) {
        let slot = &mut self.slots[slot];
        for layer in slot.layers.len()..self.n_layers {
            let arithmetic = attention(layer);
            slot.layers.push(LayerCache::new(arithmetic, self.n_kv_heads, self.head_dim));
        }
        let room = (position + n).next_multiple_of(GROW_TOKENS);
        for layer in &mut slot.layers {
            layer.resize(position, room, self.n_kv_heads, self.head_dim);
        }
        slot.n_tokens = position + n;
    }

    /// Appends one token's keys and values to one layer.
    pub(super) fn append(
        &mut self,
        slot: usize,
        layer: usize,
        new_keys: &[f32],
        new_values: &[f32],
    ) {
        match &mut self.slots[slot].layers[layer] {
            LayerCache::F32 { keys, values } => {
                keys.extend_from_slice(new_keys);
                values.extend_from_slice(new_values);
            }
            LayerCache::Levels { keys, values } => {
                keys.append(new_keys);
                values.append(new_values);
            }
        }
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
    /// The residual through a norm, input of the linear layers, `[n, hidden]`.
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
