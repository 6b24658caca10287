//! Causal attention: in f32, and over a cache of fine levels.

mod levels;

use self::levels::LevelAttention;
use super::float::exp;
use super::forward::Step;
use super::kernels::dot_f32;
use super::pool::Pool;
use super::state::LayerCache;
use crate::config::ModelConfig;

/// Causal attention of each token over its own sequence; `out` is `[n, n_heads * head_dim]`. The
/// cache of a layer decides the arithmetic.
pub(super) fn attend_rows<'a>(
    pool: &mut Pool,
    step: &Step<'_>,
    q: &[f32],
    cache: impl Fn(usize) -> &'a LayerCache + Sync,
    out: &mut [f32],
) {
    let c = step.config;
    // One piece of work is one token and one key/value head with the queries that share it.
    let group_width = c.n_heads / c.n_kv_heads * c.head_dim;
    pool.for_rows(out, group_width, |piece, out| {
        let (token, kv_head) = (&step.tokens[piece / c.n_kv_heads], piece % c.n_kv_heads);
        let n = token.position + 1;
        let queries = q[piece * group_width..][..group_width].chunks_exact(c.head_dim);
        let queries = queries.zip(out.chunks_exact_mut(c.head_dim));
        match cache(token.slot) {
            LayerCache::F32 { keys, values } => {
                let mut scores = vec![0.0; n];
                for (query, out) in queries {
                    attend(query, (keys, values), kv_head, c, &mut scores, out);
                }
            }
            LayerCache::Levels { keys, values } => {
                let mut attention =
                    LevelAttention::new(step.isa, keys.head(kv_head), values.head(kv_head));
                for (query, out) in queries {
                    attention.attend(query, n, out);
                }
            }
        }
    });
}

/// One query over `scores.len()` cached tokens, in f32.
fn attend(
    query: &[f32],
    (keys, values): (&[f32], &[f32]),
    kv_head: usize,
    config: &ModelConfig,
    scores: &mut [f32],
    out: &mut [f32],
) {
    let (d, width) = (config.head_dim, config.kv_size());
    let scale = 1.0 / (d as f32).sqrt();
    for (score, keys) in scores.iter_mut().zip(keys.chunks_exact(width)) {
        *score = dot_f32(query, &keys[kv_head * d..][..d]) * scale;
    }
    softmax(scores);
    out.fill(0.0);
    for (weight, values) in scores.iter().zip(values.chunks_exact(width)) {
        for (out, value) in out.iter_mut().zip(&values[kv_head * d..][..d]) {
            *out += weight * value;
        }
    }
}

fn softmax(scores: &mut [f32]) {
    let max = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    scores.iter_mut().for_each(|score| *score = exp(*score - max));
    let sum: f32 = scores.iter().sum();
    scores.iter_mut().for_each(|score| *score /= sum);
}

#[cfg(test)]
mod tests {
    use super::super::forward::NewToken;
    use super::super::kernels::Isa;
    use super::super::matrix::Arithmetic;
    use super::super::state::KvCache;
    use super::*;
    use crate::quant::levels::FINE_LEVEL_MAX;
    use crate::weights::ModelSource;
    use rand::rngs::SmallRng;
    use rand::{Rng, SeedableRng};

    /// Every element of q, k and v is at most this large.
    const MAGNITUDE: f32 = 2.0;

    fn config(group: usize, head_dim: usize) -> ModelConfig {
        let dir = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/f32");
        let config = ModelSource::Dir(dir).config().unwrap();
        ModelConfig { n_heads: 2 * group, n_kv_heads: 2, head_dim, n_layers: 1, ..config }
    }

    /// Softmax attention of one query in f64; rows are `[n, width]`, the head starts at `offset`.
    fn exact(q: &[f32], keys: &[f32], values: &[f32], width: usize, offset: usize) -> Vec<f64> {
        let d = q.len();
        let head = |row: &'_ [f32]| row[offset..][..d].iter().copied().map(f64::from).collect();
        let scores = keys.chunks_exact(width).map(|row| {
            let key: Vec<f64> = head(row);
            let dot: f64 = q.iter().zip(key).map(|(q, k)| f64::from(*q) * k).sum();
            dot / (d as f64).sqrt()
        });
        let weights: Vec<f64> = scores.map(f64::exp).collect();
        let sum: f64 = weights.iter().sum();
        let mut out = vec![0.0; d];
        for (weight, row) in weights.iter().zip(values.chunks_exact(width)) {
            let value: Vec<f64> = head(row);
            out.iter_mut().zip(value).for_each(|(out, v)| *out += weight / sum * v);
        }
        out
    }

    /// What attention may err by. A level is off by half a unit, and a unit is at most the largest
    /// magnitude over 8192. That moves a score by `sqrt(d) * MAGNITUDE^2` units of 1 at most, and the
    /// answer by twice as many of MAGNITUDE; half a unit for each of a split's 128 weights, whose sum
    /// is at least 1, and half a unit for the values come on top. f32 alone errs by a few 2^-24 of that.
    fn tolerance(arithmetic: Arithmetic, d: usize) -> f64 {
        let scores = f64::from(MAGNITUDE * MAGNITUDE) * (d as f64).sqrt();
        let units = 2.0 * scores + 64.5;
        match arithmetic {
            Arithmetic::Int8 => f64::from(MAGNITUDE) * units / f64::from(FINE_LEVEL_MAX / 2),
            Arithmetic::F32 => f64::from(MAGNITUDE) * units * 2_f64.powi(-24),
        }
    }

    #[test]
    fn attention_is_a_softmax_within_its_rounding() {
        let (mut rng, mut pool) = (SmallRng::seed_from_u64(1), Pool::new(2).unwrap());
        for (group, d) in [(1, 16), (4, 16), (2, 62), (8, 64), (3, 80), (4, 128), (2, 256)] {
            let c = config(group, d);
            for n in [1, 15, 16, 17, 127, 128, 129, 300, 600, 1100] {
                let mut random = |len: usize| -> Vec<f32> {
                    (0..len).map(|_| rng.random_range(-MAGNITUDE..MAGNITUDE)).collect()
                };
                let (q, keys, values) =
                    (random(c.q_size()), random(n * c.kv_size()), random(n * c.kv_size()));
                for arithmetic in [Arithmetic::F32, Arithmetic::Int8] {
                    let mut cache = KvCache::new(&c, 1);
                    cache.open(0, 0, n, |_| arithmetic);
                    let rows = keys.chunks_exact(c.kv_size()).zip(values.chunks_exact(c.kv_size()));
                    rows.for_each(|(keys, values)| cache.append(0, 0, keys, values));
                    let tokens = &[NewToken { id: 0, slot: 0, position: n - 1 }];
                    let mut bits = None;
                    for isa in Isa::available() {
                        let step = Step { config: &c, isa, tokens };
                        let mut out = vec![f32::NAN; c.q_size()];
                        attend_rows(&mut pool, &step, &q, |_| cache.layer(0, 0), &mut out);
                        for (head, out) in out.chunks_exact(d).enumerate() {
                            let (q, offset) = (&q[head * d..][..d], head / group * d);
                            let expected = exact(q, &keys, &values, c.kv_size(), offset);
                            let off = out.iter().zip(expected).map(|(a, b)| f64::from(*a) - b);
                            let worst = off.fold(0.0, |worst: f64, off| worst.max(off.abs()));
                            let allowed = tolerance(arithmetic, d);
                            assert!(worst < allowed, "{arithmetic:?} {d} {n}: {worst} {allowed}");
                        }
                        assert_eq!(*bits.get_or_insert(out.clone()), out, "{isa:?}");
                    }
                }
            }
        }
    }
}
