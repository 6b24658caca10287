//! What each kernel computes, written plainly: the order of sums is the kernels', so results are equal
//! to the bit (`docs/arithmetic.md`).

/// Keys of a split, as `SPLIT` of the kernels.
const SPLIT: usize = 128;
/// Splits that are added up at once.
const SPLITS_AT_ONCE: usize = 4;

/// Adds 1.5 * 2^23, which rounds half to even; the low byte is the integer.
fn level(v: f32, factor: f32) -> i8 {
    (v * factor + 12_582_912.0).to_bits() as u8 as i8
}

/// Adds up as the lanes of a warp do in pairs: the upper half on the lower, until one is left.
fn pairwise(mut values: Vec<f32>) -> f32 {
    while values.len() > 1 {
        let upper = values.split_off(values.len() / 2);
        values.iter_mut().zip(upper).for_each(|(a, b)| *a += b);
    }
    values[0]
}

/// 1 / sqrt(mean of squares + eps). A lane adds four squares, a warp 128, one warp the rest.
fn inverse_rms(x: &[f32], eps: f32) -> f32 {
    let sums: Vec<f32> = x
        .chunks(128)
        .map(|chunk| {
            let four = |v: &[f32]| (v[0] * v[0] + v[1] * v[1]) + (v[2] * v[2] + v[3] * v[3]);
            let mut lanes: Vec<f32> = chunk.chunks_exact(4).map(four).collect();
            lanes.resize(32, 0.0);
            pairwise(lanes)
        })
        .collect();
    let lane = |lane: usize| sums.iter().skip(lane).step_by(32).fold(0.0, |sum, one| sum + one);
    let mean = pairwise((0..32).map(lane).collect()) / x.len() as f32;
    1.0 / (mean + eps).sqrt()
}

/// A row of activations as levels, padded with zeros to `padded`, and its scale. With a norm the row is
/// multiplied by its weight, and the scale is divided by the root mean square.
pub(crate) fn quantized(x: &[f32], norm: Option<(&[f32], f32)>, padded: usize) -> (Vec<i8>, f32) {
    let v: Vec<f32> = match norm {
        None => x.to_vec(),
        Some((weight, _)) => x.iter().zip(weight).map(|(x, w)| x * w).collect(),
    };
    let top = v.iter().fold(0.0_f32, |top, v| if v.is_nan() { *v } else { top.max(v.abs()) });
    let unit = top / 127.0;
    let (unit, factor) = if unit < f32::MIN_POSITIVE { (0.0, 0.0) } else { (unit, 127.0 / top) };
    let mut levels: Vec<i8> = v.iter().map(|v| level(*v, factor)).collect();
    levels.resize(padded, 0);
    let scale = norm.map_or(unit, |(_, eps)| unit * inverse_rms(x, eps));
    (levels, scale)
}

/// One element of a product: exact in integers, then one rounding each.
pub(crate) fn product(w: &[i8], w_scale: f32, x: &[i8], x_scale: f32) -> f32 {
    let sum: i32 = w.iter().zip(x).map(|(w, x)| i32::from(*w) * i32::from(*x)).sum();
    sum as f32 * (x_scale * w_scale)
}

/// `silu(gate) * up`.
pub(crate) fn silu_times(gate: f32, up: f32) -> f32 {
    gate / (1.0 + exponential(-gate)) * up
}

/// e^x, each operation rounded by itself: no `mul_add`.
#[expect(clippy::excessive_precision, reason = "the coefficients as Cephes prints them")]
pub(crate) fn exponential(x: f32) -> f32 {
    const MAGIC: f32 = 12_582_912.0;
    const POLYNOMIAL: [f32; 6] = [
        1.987_569_150_0e-4,
        1.398_199_950_7e-3,
        8.333_451_907_3e-3,
        4.166_579_589_4e-2,
        1.666_666_545_9e-1,
        5.000_000_120_1e-1,
    ];
    if x < -87.0 {
        return 0.0;
    }
    let least = if x > 88.0 { 88.0 } else { x };
    let shifted = least * std::f32::consts::LOG2_E + MAGIC;
    let n = shifted - MAGIC;
    let r = least - n * 0.693_359_375 - n * -2.121_944_40e-4;
    let p = POLYNOMIAL[1..].iter().fold(POLYNOMIAL[0], |p, next| p * r + next);
    let power = shifted.to_bits().wrapping_sub(MAGIC.to_bits()).wrapping_add(127) << 23;
    ((p * (r * r) + r) + 1.0) * f32::from_bits(power)
}

/// A vector as whole numbers of a power of two, the largest from 2^13 to 2^14, and that power.
pub(crate) fn fine_levels(v: &[f32]) -> (Vec<i32>, f32) {
    let top = v.iter().fold(0.0_f32, |top, v| top.max(v.abs()));
    let unit = match top {
        top if top < 2.0_f32.powi(-113) => 0.0,
        top => 2.0_f32.powi(top.log2().floor() as i32 - 13),
    };
    // Exact, whatever the logarithm was rounded to.
    let unit = if top / unit >= 16384.0 { 2.0 * unit } else { unit };
    let unit = if top / unit < 8192.0 { 0.5 * unit } else { unit };
    let level = |v: &f32| if unit == 0.0 { 0 } else { (v / unit).round_ties_even() as i32 };
    (v.iter().map(level).collect(), unit)
}

/// Rotates a head, then normalises it: this family's order.
pub(crate) fn rope_norm(head: &[f32], rotation: &[f32], weight: &[f32], eps: f32) -> Vec<f32> {
    let half = head.len() / 2;
    let (cosines, sines) = rotation.split_at(half);
    let rotated: Vec<(f32, f32)> = (0..half)
        .map(|i| {
            let (x, y) = (head[i], head[i + half]);
            (x * cosines[i] - y * sines[i], y * cosines[i] + x * sines[i])
        })
        .collect();
    let lane = |lane: usize| {
        let pairs = rotated.iter().skip(lane).step_by(32);
        pairs.fold(0.0, |sum: f32, (a, b)| sum + (a * a + b * b))
    };
    let mean = pairwise((0..32).map(lane).collect()) / head.len() as f32;
    let scale = 1.0 / (mean + eps).sqrt();
    let first = (0..half).map(|i| rotated[i].0 * (scale * weight[i]));
    let second = (0..half).map(|i| rotated[i].1 * (scale * weight[i + half]));
    first.chain(second).collect()
}

/// A head of a query, key or value: levels, and their unit.
pub(crate) type Head = (Vec<i32>, f32);

/// What some keys give: their largest score, the sum of e^(score - top), and that of the values.
struct Part {
    top: f32,
    sum: f32,
    total: Vec<f32>,
}

/// Attention of one query over keys and values.
pub(crate) fn attention(q: &Head, keys: &[Head], values: &[Head]) -> Vec<f32> {
    let unit = (1.0 / (q.0.len() as f32).sqrt()) * q.1;
    let dot = |a: &[i32], b: &[i32]| -> f32 {
        let products = a.iter().zip(b).map(|(a, b)| i64::from(*a) * i64::from(*b));
        products.sum::<i64>() as f32
    };
    let scores: Vec<f32> = keys.iter().map(|key| dot(&q.0, &key.0) * (unit * key.1)).collect();
    let splits: Vec<Part> = scores
        .chunks(SPLIT)
        .zip(values.chunks(SPLIT))
        .map(|(scores, values)| split(scores, values))
        .collect();
    if let [one] = &splits[..] {
        return one.total.iter().map(|total| total * (1.0 / one.sum)).collect();
    }
    let mut all = Part { top: f32::NEG_INFINITY, sum: 0.0, total: vec![0.0; q.0.len()] };
    for some in splits.chunks(SPLITS_AT_ONCE) {
        let top = some.iter().fold(all.top, |top, one| top.max(one.top));
        let before = exponential(all.top - top);
        let total = all.total.iter().map(|total| total * before).collect();
        all = some.iter().fold(Part { top, sum: all.sum * before, total }, add);
    }
    all.total.iter().map(|total| total / all.sum).collect()
}

fn add(mut all: Part, one: &Part) -> Part {
    let weight = exponential(one.top - all.top);
    all.sum += weight * one.sum;
    all.total.iter_mut().zip(&one.total).for_each(|(all, one)| *all += weight * one);
    all
}

/// Up to [`SPLIT`] keys.
fn split(scores: &[f32], values: &[Head]) -> Part {
    let top = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let mut weights: Vec<f32> = scores.iter().map(|score| exponential(score - top)).collect();
    weights.resize(SPLIT, 0.0);
    let four = |w: &[f32]| (w[0] + w[1]) + (w[2] + w[3]);
    let sum = pairwise(weights.chunks_exact(4).map(four).collect());
    let weighted: Vec<f32> = weights.iter().zip(values).map(|(w, value)| w * value.1).collect();
    let (levels, unit) = fine_levels(&weighted);
    let element = |i: usize| {
        let products = levels
            .iter()
            .zip(values)
            .map(|(level, value)| i64::from(*level) * i64::from(value.0[i]));
        unit * products.sum::<i64>() as f32
    };
    Part { top, sum, total: (0..values[0].0.len()).map(element).collect() }
}

/// Where byte `byte` of a token's cached key lies in its row: `in_key` of `kernels/attention.cu`.
pub(crate) fn in_key(token: usize, byte: usize, head_dim: usize) -> usize {
    let turn = (token % 2 * 4) & (2 * head_dim / 16 - 1);
    byte ^ (turn * 16)
}

/// Where the high or low byte of an element of a token's cached value lies, from the first token's:
/// `in_values` of `kernels/attention.cu`.
pub(crate) fn in_values(token: usize, is_low: usize, element: usize, head_dim: usize) -> usize {
    let turn = (token / 4 % 4) & (head_dim / 8 - 1);
    token / 4 * 8 * head_dim + is_low * 4 * head_dim + ((element * 4) ^ (turn * 32)) + token % 4
}

/// Where row `row`, column `col` of a matrix lies in its tiles of 16 rows, whose rows have `padded`
/// columns: as `kernels/matrix.cu` wants them.
pub(crate) fn tile_offset(row: usize, col: usize, padded: usize) -> usize {
    let (g, high) = (row % 8, row / 8 % 2);
    let (t, j) = (col % 32 / 8, col % 8);
    let in_block = (g * 4 + t) * 16 + j / 4 * 8 + high * 4 + j % 4;
    row / 16 * 16 * padded + col / 32 * 512 + in_block
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiles_hold_each_element_once() {
        let mut seen = vec![false; 48 * 128];
        for row in 0..48 {
            for col in 0..128 {
                let at = tile_offset(row, col, 128);
                assert!(!std::mem::replace(&mut seen[at], true), "{row}, {col}");
            }
        }
        assert!(seen.iter().all(|seen| *seen));
    }

    #[test]
    fn the_cache_holds_each_byte_once() {
        const TOKENS: usize = 32;
        for d in [16, 32, 64, 128, 256] {
            let keys = (0..TOKENS)
                .flat_map(|token| (0..2 * d).map(move |at| token * 2 * d + in_key(token, at, d)));
            let values = (0..TOKENS)
                .flat_map(|token| (0..2 * d).map(move |at| in_values(token, at / d, at % d, d)));
            for mut places in [keys.collect::<Vec<_>>(), values.collect()] {
                places.sort_unstable();
                assert!(places.into_iter().eq(0..TOKENS * 2 * d), "head_dim {d}");
            }
        }
    }

    /// Against attention in f64, from one key to several splits. A level is off by half a unit at most,
    /// 2^-14 of the largest element: of scores up to 15 as here that is some 5e-4, and so of a weight.
    #[test]
    fn attention_in_levels_is_attention() {
        let mut state = 1_u64;
        let mut random = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 40) as f32 / (1 << 23) as f32 - 1.0
        };
        let d = 32_i32;
        let mut head = |size: f32| (0..d).map(|_| size * random()).collect::<Vec<f32>>();
        for n in [1, 3, 16, 17, 128, 129, 700] {
            let q = head(4.0);
            let (keys, values): (Vec<_>, Vec<_>) = (0..n).map(|_| (head(2.0), head(1.0))).unzip();
            let levels =
                |heads: &[Vec<f32>]| heads.iter().map(|h| fine_levels(h)).collect::<Vec<_>>();
            let got = attention(&fine_levels(&q), &levels(&keys), &levels(&values));
            let score = |key: &Vec<f32>| -> f64 {
                let products = q.iter().zip(key).map(|(q, k)| f64::from(*q) * f64::from(*k));
                (products.sum::<f64>() / f64::from(d).sqrt()).exp()
            };
            let weights: Vec<f64> = keys.iter().map(score).collect();
            let sum: f64 = weights.iter().sum();
            for (i, got) in got.iter().enumerate() {
                let weighted = weights.iter().zip(&values).map(|(w, v)| w / sum * f64::from(v[i]));
                let want: f64 = weighted.sum();
                assert!((f64::from(*got) - want).abs() < 1e-3, "{n} keys: {got} for {want}");
            }
        }
    }

    #[test]
    fn exponentials_are_exponentials() {
        for i in -87_000..=88_000 {
            let x = i as f32 / 1000.0;
            let want = f64::from(x).exp();
            let error = (f64::from(exponential(x)) - want).abs() / want;
            assert!(error < 3e-7, "{x}: {error}");
        }
        assert_eq!(exponential(f32::NEG_INFINITY), 0.0);
        assert!(exponential(f32::NAN).is_nan());
    }
}
