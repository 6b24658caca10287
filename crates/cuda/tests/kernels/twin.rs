//! What each kernel computes, written plainly: the order of sums is the kernels', so results are equal
//! to the bit, unless an exponential is in them; those are computed in f64.

use half::f16;

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
pub(crate) fn silu_times(gate: f32, up: f32) -> f64 {
    let (gate, up) = (f64::from(gate), f64::from(up));
    gate / (1.0 + (-gate).exp()) * up
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

/// Attention of one query over keys and values of `[n][head_dim]`.
pub(crate) fn attention(q: &[f32], keys: &[f16], values: &[f16]) -> Vec<f64> {
    let head_dim = q.len();
    let dot = |key: &[f16]| -> f64 {
        let products = q.iter().zip(key).map(|(q, k)| f64::from(*q) * f64::from(*k));
        products.sum::<f64>() / (head_dim as f64).sqrt()
    };
    let scores: Vec<f64> = keys.chunks_exact(head_dim).map(dot).collect();
    let top = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let weights: Vec<f64> = scores.iter().map(|score| (score - top).exp()).collect();
    let sum: f64 = weights.iter().sum();
    let mut out = vec![0.0; head_dim];
    for (weight, value) in weights.iter().zip(values.chunks_exact(head_dim)) {
        out.iter_mut().zip(value).for_each(|(out, v)| *out += weight / sum * f64::from(*v));
    }
    out
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
    fn one_key_is_its_value_and_equal_keys_average() {
        let halves = |values: &[f32]| values.iter().map(|v| f16::from_f32(*v)).collect::<Vec<_>>();
        let values = halves(&[1.0, 2.0, 3.0, 6.0]);
        assert_eq!(attention(&[0.5, -1.0], &halves(&[1.0, 1.0]), &values[..2]), [1.0, 2.0]);
        let keys = halves(&[1.0, 1.0, 1.0, 1.0]);
        assert_eq!(attention(&[0.5, -1.0], &keys, &values), [2.0, 4.0]);
    }
}
