//! The forward pass of HunYuanDenseV1, in reading order.
//!
//! The order inside attention is this family's trap: queries and keys are normalised AFTER the
//! rotation. Reference: `modeling_hunyuan_v1_dense.py` of Hugging Face transformers.

use super::attention::attend_rows;
use super::float::{exp, inverse_rms_of_head};
use super::kernels::Isa;
use super::matrix::{Input, Norm, matmul};
use super::pool::Pool;
use super::state::{KvCache, Scratch};
use super::weights::{Layer, Weights};
use crate::TokenId;
use crate::config::ModelConfig;
use crate::quant::smoothing::Fold;

/// Elements of one piece of an element-wise loop.
const PIECE: usize = 512;

/// One new token: which, and where it goes.
#[derive(Clone, Copy)]
pub(super) struct NewToken {
    pub(super) id: TokenId,
    pub(super) slot: usize,
    pub(super) position: usize,
}

/// What a forward pass reads and does not change.
pub(super) struct Model {
    pub(super) config: ModelConfig,
    pub(super) weights: Weights,
    /// Angle per position of each pair of a head, `[head_dim / 2]`.
    pub(super) inverse_frequencies: Vec<f32>,
    pub(super) isa: Isa,
}

/// Runs `tokens`, of any number of sequences, through the network; appends their keys and values
/// to `cache`; writes `[wanted.len(), vocab]` to `logits`, for the tokens indexed by `wanted`.
pub(super) fn forward(
    model: &Model,
    pool: &mut Pool,
    cache: &mut KvCache,
    s: &mut Scratch,
    tokens: &[NewToken],
    wanted: &[usize],
    logits: &mut Vec<f32>,
) {
    let (c, isa) = (&model.config, model.isa);
    let n = tokens.len();
    s.resize(c, n);

    for (token, x) in tokens.iter().zip(s.x.chunks_exact_mut(c.hidden_size)) {
        model.weights.embedding.lookup(token.id, x);
    }
    rotations_of(&model.inverse_frequencies, tokens, &mut s.rotations);

    let step = Step { config: c, isa, tokens };
    for (index, layer) in model.weights.layers.iter().enumerate() {
        run_layer(&step, layer, index, pool, cache, s, &mut |_, _| {});
    }

    // Output head, for the wanted tokens only.
    logits.clear();
    logits.resize(wanted.len() * c.vocab_size, 0.0);
    if wanted.is_empty() {
        return;
    }
    for (row, token) in wanted.iter().enumerate() {
        s.x.copy_within(token * c.hidden_size..(token + 1) * c.hidden_size, row * c.hidden_size);
    }
    s.h.resize(wanted.len());
    let x = &s.x[..wanted.len() * c.hidden_size];
    let norm = Norm { weight: &model.weights.final_norm, eps: c.rms_norm_eps };
    s.h.set_normed(pool, x, norm, Input::of(&model.weights.head, None));
    matmul(pool, isa, &s.h, &mut [(&model.weights.head, logits)]);
}

/// What all layers of one forward pass share.
pub(super) struct Step<'a> {
    pub(super) config: &'a ModelConfig,
    pub(super) isa: Isa,
    pub(super) tokens: &'a [NewToken],
}

/// Rows inside a layer that calibration looks at, in f32. Of a layer in INT8 the inputs that come
/// from a norm are not there to be seen: they are empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Site {
    /// Input of q, k and v, `[n, hidden]`.
    QkvInput,
    /// Keys as they are cached, `[n, n_kv_heads * head_dim]`.
    Keys,
    /// Values as they are cached, `[n, n_kv_heads * head_dim]`.
    Values,
    /// Input of o, `[n, n_heads * head_dim]`.
    OutputInput,
    /// Input of gate and up, `[n, hidden]`.
    FeedForwardInput,
    /// Input of down, `[n, intermediate]`.
    DownInput,
}

/// Runs the tokens of `s.x` through one layer, which is number `index` of `cache`. Shows `observe`
/// what passes by.
pub(super) fn run_layer(
    step: &Step<'_>,
    layer: &Layer,
    index: usize,
    pool: &mut Pool,
    cache: &mut KvCache,
    s: &mut Scratch,
    observe: &mut impl FnMut(Site, &[f32]),
) {
    let (c, isa) = (step.config, step.isa);

    // Attention.
    let norm = Norm { weight: &layer.input_norm, eps: c.rms_norm_eps };
    s.h.set_normed(pool, &s.x, norm, layer.input(Fold::QkvInput, &layer.q));
    observe(Site::QkvInput, &s.h.rows);
    matmul(
        pool,
        isa,
        &s.h,
        &mut [(&layer.q, &mut s.q), (&layer.k, &mut s.k), (&layer.v, &mut s.v)],
    );
    rotate_and_norm_rows(pool, &s.rotations, &layer.q_norm, c, &mut s.q, c.q_size());
    rotate_and_norm_rows(pool, &s.rotations, &layer.k_norm, c, &mut s.k, c.kv_size());
    observe(Site::Keys, &s.k);
    observe(Site::Values, &s.v);
    let new = s.k.chunks_exact(c.kv_size()).zip(s.v.chunks_exact(c.kv_size()));
    for (token, (keys, values)) in step.tokens.iter().zip(new) {
        cache.append(token.slot, index, keys, values);
    }
    attend_rows(pool, step, &s.q, |slot| cache.layer(slot, index), &mut s.attended.rows);
    observe(Site::OutputInput, &s.attended.rows);
    s.attended.prepare(pool, layer.input(Fold::OutputInput, &layer.o));
    matmul(pool, isa, &s.attended, &mut [(&layer.o, &mut s.delta)]);
    add(&mut s.x, &s.delta);

    // Feed-forward.
    let norm = Norm { weight: &layer.post_attention_norm, eps: c.rms_norm_eps };
    s.h.set_normed(pool, &s.x, norm, layer.input(Fold::FeedForwardInput, &layer.gate));
    observe(Site::FeedForwardInput, &s.h.rows);
    matmul(pool, isa, &s.h, &mut [(&layer.gate, &mut s.gated.rows), (&layer.up, &mut s.up)]);
    silu_times_up(pool, &mut s.gated.rows, &s.up);
    observe(Site::DownInput, &s.gated.rows);
    s.gated.prepare(pool, layer.input(Fold::DownInput, &layer.down));
    matmul(pool, isa, &s.gated, &mut [(&layer.down, &mut s.delta)]);
    add(&mut s.x, &s.delta);
}

/// Angle per position of each pair of a head: `base^(-2i / d)`, the base being static.
pub(super) fn inverse_frequencies(config: &ModelConfig) -> Vec<f32> {
    let d = config.head_dim as f64;
    let base = config.rope.base(config.head_dim);
    (0..config.head_dim / 2).map(|i| base.powf(-2.0 * i as f64 / d) as f32).collect()
}

/// The rotations of each token, `[n, head_dim / 2]`.
pub(super) fn rotations_of(
    inverse_frequencies: &[f32],
    tokens: &[NewToken],
    rotations: &mut [(f32, f32)],
) {
    for (token, out) in tokens.iter().zip(rotations.chunks_exact_mut(inverse_frequencies.len())) {
        rotations_at(inverse_frequencies, token.position, out);
    }
}

/// Cosine and sine of each pair at one position. The angle is rounded to f32 before its cosine is
/// taken, as the reference does.
fn rotations_at(inverse_frequencies: &[f32], position: usize, out: &mut [(f32, f32)]) {
    for (out, frequency) in out.iter_mut().zip(inverse_frequencies) {
        let angle = f64::from(position as f32 * frequency);
        *out = (angle.cos() as f32, angle.sin() as f32);
    }
}

/// Rotates and then normalises every head of `rows`, `[n, width]`.
fn rotate_and_norm_rows(
    pool: &mut Pool,
    rotations: &[(f32, f32)],
    norm_weight: &[f32],
    config: &ModelConfig,
    rows: &mut [f32],
    width: usize,
) {
    let (d, half) = (config.head_dim, config.head_dim / 2);
    pool.for_rows(rows, width, |token, row| {
        let rotations = &rotations[token * half..][..half];
        for head in row.chunks_exact_mut(d) {
            rotate(head, rotations);
            let scale = inverse_rms_of_head(head, config.rms_norm_eps);
            for (x, weight) in head.iter_mut().zip(norm_weight) {
                *x *= scale * weight;
            }
        }
    });
}

/// Rotates one head; element `i` pairs with `i + d / 2`.
fn rotate(head: &mut [f32], rotations: &[(f32, f32)]) {
    let (first, second) = head.split_at_mut(rotations.len());
    for ((a, b), (cos, sin)) in first.iter_mut().zip(second).zip(rotations) {
        (*a, *b) = (*a * cos - *b * sin, *b * cos + *a * sin);
    }
}

/// `gate = silu(gate) * up`, element by element.
fn silu_times_up(pool: &mut Pool, gate: &mut [f32], up: &[f32]) {
    // Pieces need not follow rows here; the last one may be short, so it is done apart.
    let whole = gate.len() / PIECE * PIECE;
    let (pieces, rest) = gate.split_at_mut(whole);
    let silu = |gate: &mut [f32], up: &[f32]| {
        for (gate, up) in gate.iter_mut().zip(up) {
            *gate = *gate / (1.0 + exp(-*gate)) * up;
        }
    };
    pool.for_rows(pieces, PIECE, |index, gate| silu(gate, &up[index * PIECE..][..PIECE]));
    silu(rest, &up[whole..]);
}

fn add(x: &mut [f32], delta: &[f32]) {
    for (x, delta) in x.iter_mut().zip(delta) {
        *x += delta;
    }
}
