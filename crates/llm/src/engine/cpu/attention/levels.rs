//! Attention over fine levels, with exact sums.
//!
//! Queries, keys, values and the weights of the values are levels with one unit for a head, or for
//! a split's weights. Tokens go in splits of 128, each with its own largest score, since a GPU takes
//! them side by side; `docs/arithmetic.md` gives the order in which they meet, and this file
//! follows it.

use std::ops::Range;

use crate::engine::cpu::float::{LANES, exp};
use crate::engine::cpu::kernels::levels::{Halves, SPLIT_TOKENS, dots, weighted_sums};
use crate::engine::cpu::kernels::{Isa, sum_lanes};
use crate::engine::cpu::state::HeadLevels;
use crate::quant::levels::to_fine_levels;

/// Splits that are merged at a time.
const MERGED_SPLITS: usize = 4;

/// Attention over one head of a cache, and its buffers.
pub(super) struct LevelAttention<'a> {
    isa: Isa,
    keys: HeadLevels<'a>,
    values: HeadLevels<'a>,
    query_levels: Vec<i16>,
    query: Halves,
    /// What turns the product with a key into a score, but for the key's unit.
    scale: f32,
    weights: Halves,
    /// `[MERGED_SPLITS, head_dim]`, once there are several splits.
    splits: Vec<f32>,
}

/// A part of a softmax: its largest score, and the sum of `e^(score - top)`.
#[derive(Clone, Copy)]
struct Softmax {
    top: f32,
    sum: f32,
}

impl<'a> LevelAttention<'a> {
    pub(super) fn new(isa: Isa, keys: HeadLevels<'a>, values: HeadLevels<'a>) -> Self {
        let d = keys.head_dim();
        Self {
            isa,
            keys,
            values,
            query_levels: vec![0; d],
            query: Halves::new(d),
            scale: 0.0,
            weights: Halves::new(SPLIT_TOKENS),
            splits: Vec::new(),
        }
    }

    /// One query over the first `n` cached tokens; `out` is `[head_dim]`.
    pub(super) fn attend(&mut self, query: &[f32], n: usize, out: &mut [f32]) {
        let unit = to_fine_levels(query, &mut self.query_levels);
        self.query.set(&self.query_levels);
        self.scale = unit * (1.0 / (query.len() as f32).sqrt());
        if n <= SPLIT_TOKENS {
            let factor = 1.0 / self.split(0..n, out).sum;
            out.iter_mut().for_each(|out| *out *= factor);
        } else {
            let sum = self.merged_splits(n, out);
            out.iter_mut().for_each(|out| *out /= sum);
        }
    }

    /// Leaves the weighted sum of all values in `out` and returns the sum of the weights.
    fn merged_splits(&mut self, n: usize, out: &mut [f32]) -> f32 {
        let d = out.len();
        let mut splits = std::mem::take(&mut self.splits);
        splits.resize(MERGED_SPLITS * d, 0.0);
        let mut all = Softmax { top: f32::NEG_INFINITY, sum: 0.0 };
        out.fill(0.0);
        for start in (0..n).step_by(MERGED_SPLITS * SPLIT_TOKENS) {
            let mut parts = [Softmax { top: f32::NEG_INFINITY, sum: 0.0 }; MERGED_SPLITS];
            let starts = (start..n).step_by(SPLIT_TOKENS);
            let n_parts = starts.len().min(MERGED_SPLITS);
            for ((part, start), out) in parts.iter_mut().zip(starts).zip(splits.chunks_mut(d)) {
                *part = self.split(start..(start + SPLIT_TOKENS).min(n), out);
            }
            let top = parts.iter().fold(all.top, |top, part| top.max(part.top));
            let kept = exp(all.top - top);
            all = Softmax { top, sum: all.sum * kept };
            out.iter_mut().for_each(|out| *out *= kept);
            for (part, weighted) in parts[..n_parts].iter().zip(splits.chunks_exact(d)) {
                let factor = exp(part.top - top);
                all.sum += factor * part.sum;
                add_scaled(out, factor, weighted);
            }
        }
        self.splits = splits;
        all.sum
    }

    /// The softmax of up to [`SPLIT_TOKENS`] tokens, and in `out` the sum of their values with its
    /// weights.
    fn split(&mut self, tokens: Range<usize>, out: &mut [f32]) -> Softmax {
        let n = tokens.len();
        // Tokens that are not there have a score of -inf, thus no weight.
        let mut weights = [f32::NEG_INFINITY; SPLIT_TOKENS];
        dots(self.isa, &self.query, &self.keys.split(tokens.clone())[..n], &mut weights);
        for (score, token) in weights.iter_mut().zip(tokens.clone()) {
            *score *= self.scale * self.keys.unit(token);
        }
        let top = max(&weights);
        weights.iter_mut().for_each(|score| *score = exp(*score - top));
        let mut lanes = [0.0; LANES];
        for (lane, [a, b, c, d]) in lanes.iter_mut().zip(weights.as_chunks().0) {
            *lane = (a + b) + (c + d);
        }
        for (weight, token) in weights.iter_mut().zip(tokens.clone()) {
            *weight *= self.values.unit(token);
        }
        let mut levels = [0; SPLIT_TOKENS];
        let unit = to_fine_levels(&weights, &mut levels);
        self.weights.set(&levels);
        weighted_sums(self.isa, &self.weights, &self.values.split(tokens)[..n], out);
        out.iter_mut().for_each(|out| *out *= unit);
        Softmax { top, sum: sum_lanes(lanes) }
    }
}

/// The largest; NaN is not looked at.
fn max(x: &[f32]) -> f32 {
    x.iter().copied().fold(f32::NEG_INFINITY, f32::max)
}

fn add_scaled(out: &mut [f32], factor: f32, x: &[f32]) {
    for (out, x) in out.iter_mut().zip(x) {
        *out += factor * x;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::cpu::state::CachedLevels;
    use rand::rngs::SmallRng;
    use rand::{Rng, SeedableRng};

    /// Levels and their unit, by the words of the specification.
    fn levels(x: &[f32]) -> (Vec<i64>, f32) {
        let top = x.iter().fold(0.0_f32, |top, x| top.max(x.abs()));
        let unit = (-126..=114)
            .map(|exponent| 2_f32.powi(exponent))
            .find(|unit| top / unit < 16_384.0)
            .unwrap();
        (x.iter().map(|x| (x / unit).round_ties_even() as i64).collect(), unit)
    }

    /// The specification, for one head of `[n][d]` and with its own order of loops.
    fn plain(query: &[f32], keys: &[Vec<f32>], values: &[Vec<f32>]) -> Vec<f32> {
        let d = query.len();
        let (q, q_unit) = levels(query);
        let scale = q_unit * (1.0 / (d as f32).sqrt());
        let keys: Vec<_> = keys.iter().map(|key| levels(key)).collect();
        let values: Vec<_> = values.iter().map(|value| levels(value)).collect();
        let scores: Vec<f32> = keys
            .iter()
            .map(|(key, unit)| {
                let t: i64 = q.iter().zip(key).map(|(q, k)| q * k).sum();
                t as f32 * (scale * unit)
            })
            .collect();

        type Part = (f32, f32, Vec<f32>);
        let splits = scores.chunks(128).zip(values.chunks(128)).map(|(scores, values)| -> Part {
            let top = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            let mut e = [0.0; 128];
            e.iter_mut().zip(scores).for_each(|(e, score)| *e = exp(score - top));
            let quad = |l: usize| (e[4 * l] + e[4 * l + 1]) + (e[4 * l + 2] + e[4 * l + 3]);
            let mut s: Vec<f32> = (0..32).map(quad).collect();
            while s.len() > 1 {
                let upper = s.split_off(s.len() / 2);
                s.iter_mut().zip(upper).for_each(|(a, b)| *a += b);
            }
            let weights: Vec<f32> = e.iter().zip(values).map(|(e, (_, unit))| e * unit).collect();
            let (weights, unit) = levels(&weights);
            let column = |i: usize| -> i64 {
                weights.iter().zip(values).map(|(weight, (value, _))| weight * value[i]).sum()
            };
            (top, s[0], (0..d).map(|i| column(i) as f32 * unit).collect())
        });
        let splits: Vec<Part> = splits.collect();

        let together = |start: Part, top: f32, parts: &[Part]| {
            parts.iter().fold(start, |(_, sum, out), part| {
                let c = exp(part.0 - top);
                let out = out.iter().zip(&part.2).map(|(out, x)| out + c * x).collect();
                (top, sum + c * part.1, out)
            })
        };
        let top_of = |parts: &[Part]| parts.iter().map(|part| part.0).fold(f32::MIN, f32::max);
        let nothing = || (f32::NEG_INFINITY, 0.0, vec![0.0; d]);
        if let [(_, sum, out)] = splits.as_slice() {
            return out.iter().map(|out| out * (1.0 / sum)).collect();
        }
        let mut all = nothing();
        for splits in splits.chunks(4) {
            let top = top_of(splits).max(all.0);
            let b = exp(all.0 - top);
            let kept = (top, all.1 * b, all.2.iter().map(|out| out * b).collect());
            all = together(kept, top, splits);
        }
        all.2.iter().map(|out| out / all.1).collect()
    }

    #[test]
    fn every_bit_is_the_specified_one() {
        let mut rng = SmallRng::seed_from_u64(1);
        for d in [16, 62, 64, 128, 256] {
            for n in [1, 2, 15, 16, 17, 127, 128, 129, 300, 512, 513, 600, 1100] {
                let mut row = |magnitude: f32| -> Vec<f32> {
                    (0..d).map(|_| rng.random_range(-magnitude..magnitude)).collect()
                };
                let query = row(3.0);
                let keys: Vec<Vec<f32>> = (0..n).map(|_| row(3.0)).collect();
                // Units that differ by token, so that their place in the formulas shows.
                let values: Vec<Vec<f32>> = (0..n).map(|j| row(0.1 + (j % 7) as f32)).collect();
                let expected: Vec<u32> =
                    plain(&query, &keys, &values).iter().map(|x| x.to_bits()).collect();
                let cached = |rows: &[Vec<f32>]| {
                    let mut cached = CachedLevels::new(1, d);
                    rows.iter().for_each(|row| cached.append(row));
                    cached
                };
                let (keys, values) = (cached(&keys), cached(&values));
                for isa in Isa::available() {
                    let mut attention = LevelAttention::new(isa, keys.head(0), values.head(0));
                    for _ in ["fresh", "again with the same buffers"] {
                        let mut out = vec![f32::NAN; d];
                        attention.attend(&query, n, &mut out);
                        let bits: Vec<u32> = out.iter().map(|x| x.to_bits()).collect();
                        assert_eq!(bits, expected, "{isa:?}, {d} wide, {n} tokens");
                    }
                }
            }
        }
    }

    #[test]
    fn what_is_not_finite_shows() {
        let d = 16;
        for bad in [f32::NAN, f32::INFINITY] {
            let (mut keys, mut values) = (CachedLevels::new(1, d), CachedLevels::new(1, d));
            for token in 0..200 {
                keys.append(&vec![if token == 150 { bad } else { 1.0 }; d]);
                values.append(&vec![1.0; d]);
            }
            let mut attention = LevelAttention::new(Isa::detect(), keys.head(0), values.head(0));
            let mut out = vec![0.0; d];
            attention.attend(&vec![1.0; d], 200, &mut out);
            assert!(out.iter().all(|x| !x.is_finite()), "{out:?}");
            attention.attend(&vec![1.0; d], 150, &mut out);
            assert!(out.iter().all(|x| x.is_finite()), "{out:?}");
        }
    }
}
