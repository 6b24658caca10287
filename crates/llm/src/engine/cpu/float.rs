//! Functions of floats that fix every rounding, so that another engine can give the same bits.
//!
//! The specification is `docs/arithmetic.md`. Each operation rounds by itself, and sums run over a
//! fixed tree: neither a thread count, nor an instruction set, nor a library changes a bit.

use super::kernels::sum_lanes;
use crate::quant::int8::SHIFT;

/// Lanes of a sum: one warp of a GPU.
pub(super) const LANES: usize = 32;

/// Elements of a row that the lanes add up at a time, four each.
const BLOCK: usize = 4 * LANES;

/// `e^x` with a relative error below 3e-7; 0 below -87, and as at 88 above it. The reduction and
/// the polynomial are those of `expf` in Cephes. No branch and no library, so that loops of it
/// vectorise.
#[inline]
#[expect(clippy::excessive_precision, reason = "the coefficients as Cephes prints them")]
pub(super) fn exp(x: f32) -> f32 {
    const LN_2_HIGH: f32 = 0.693_359_375;
    const LN_2_LOW: f32 = -2.121_944_40e-4;
    const EXPONENT_BIAS: u32 = 127;
    const MANTISSA_BITS: u32 = 23;

    let vanishes = x < -87.0;
    // Not `min`, which would lose NaN.
    let x = if x > 88.0 { 88.0 } else { x };
    let shifted = x * std::f32::consts::LOG2_E + SHIFT;
    let n = shifted - SHIFT;
    let r = x - n * LN_2_HIGH;
    let r = r - n * LN_2_LOW;
    let mut p = 1.987_569_150_0e-4;
    for coefficient in [
        1.398_199_950_7e-3,
        8.333_451_907_3e-3,
        4.166_579_589_4e-2,
        1.666_666_545_9e-1,
        5.000_000_120_1e-1,
    ] {
        p = p * r + coefficient;
    }
    let y = (p * (r * r) + r) + 1.0;
    // The low bits of `shifted` are n, which is in -126..=127 for every x that counts.
    let exponent = shifted.to_bits().wrapping_sub(SHIFT.to_bits()).wrapping_add(EXPONENT_BIAS);
    let power = y * f32::from_bits(exponent << MANTISSA_BITS);
    if vanishes { 0.0 } else { power }
}

/// `1 / sqrt(mean(x^2) + eps)` of a row.
///
/// A lane adds up four squares, the lanes a block of 128; the blocks go round the lanes in turn,
/// and these add up the whole row.
pub(super) fn inverse_rms(x: &[f32], eps: f32) -> f32 {
    let mut lanes = [0.0; LANES];
    let (blocks, rest) = x.as_chunks::<BLOCK>();
    let mut padded = [0.0; BLOCK];
    padded[..rest.len()].copy_from_slice(rest);
    let last = (!rest.is_empty()).then_some(&padded);
    for (index, block) in blocks.iter().chain(last).enumerate() {
        lanes[index % LANES] += sum_of_squares(block);
    }
    inverse_rms_of(lanes, x.len(), eps)
}

fn sum_of_squares(block: &[f32; BLOCK]) -> f32 {
    let mut lanes = [0.0; LANES];
    for (lane, [a, b, c, d]) in lanes.iter_mut().zip(block.as_chunks().0) {
        *lane = (a * a + b * b) + (c * c + d * d);
    }
    sum_lanes(lanes)
}

/// The same of one head, whose elements `i` and `i + d / 2` stand in one lane, as the rotation
/// pairs them.
pub(super) fn inverse_rms_of_head(head: &[f32], eps: f32) -> f32 {
    let (first, second) = head.split_at(head.len() / 2);
    let mut lanes = [0.0; LANES];
    for (first, second) in first.chunks(LANES).zip(second.chunks(LANES)) {
        for ((lane, a), b) in lanes.iter_mut().zip(first).zip(second) {
            *lane += a * a + b * b;
        }
    }
    inverse_rms_of(lanes, head.len(), eps)
}

fn inverse_rms_of(lanes: [f32; LANES], n: usize, eps: f32) -> f32 {
    1.0 / (sum_lanes(lanes) / n as f32 + eps).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::rngs::SmallRng;
    use rand::{Rng, SeedableRng};

    #[test]
    fn exp_errs_by_less_than_3e_7() {
        const STEPS: i32 = 2_000_000;
        let mut worst = 0.0_f64;
        for step in 0..=STEPS {
            let x = -87.0 + 175.0 * step as f32 / STEPS as f32;
            let exact = f64::from(x).exp();
            worst = worst.max((f64::from(exp(x)) / exact - 1.0).abs());
        }
        println!("largest relative error: {worst:e}");
        assert!(worst < 3e-7, "{worst:e}");
    }

    #[test]
    fn exp_at_its_ends() {
        assert_eq!(exp(0.0), 1.0);
        assert_eq!(exp(-0.0), 1.0);
        assert!(exp(-87.0) >= f32::MIN_POSITIVE);
        for x in [(-87.0_f32).next_down(), -1e30, f32::NEG_INFINITY] {
            assert_eq!(exp(x).to_bits(), 0, "{x}");
        }
        for x in [88.1, 1e30, f32::INFINITY] {
            assert_eq!(exp(x), exp(88.0), "{x}");
        }
        assert!(exp(88.0).is_finite());
        assert!(exp(f32::NAN).is_nan() && exp(-f32::NAN).is_nan());
    }

    #[test]
    fn exp_has_these_bits() {
        // Worked out with numpy's float32, one operation after the other.
        for (x, bits) in [
            (-87.0, 0x00b3_3687),
            (-50.25, 0x1b35_981c),
            (-10.1, 0x382c_4cd2),
            (-1.0, 0x3ebc_5ab2),
            (-0.3, 0x3f3d_a643),
            (0.001, 0x3f80_20c9),
            (0.5, 0x3fd3_094c),
            (2.7, 0x416e_1362),
            (20.0, 0x4de7_5844),
            (61.7, 0x6c01_4612),
            (88.0, 0x7ef8_82b7),
        ] {
            assert_eq!(exp(x).to_bits(), bits, "{x}");
        }
    }

    /// As the specification words it: the upper half on the lower, until one is left.
    fn butterfly(mut v: Vec<f32>) -> f32 {
        for h in [16, 8, 4, 2, 1] {
            for i in 0..h {
                v[i] += v[i + h];
            }
        }
        v[0]
    }

    #[test]
    fn the_sum_of_a_row_is_the_specified_tree() {
        let mut rng = SmallRng::seed_from_u64(1);
        for n in [4_usize, 64, 100, 112, 126, 127, 128, 129, 1000, 2048, 4096, 4097, 6144, 12_800] {
            let x: Vec<f32> = (0..n).map(|_| rng.random_range(-3.0..3.0)).collect();
            let at = |i: usize| x.get(i).copied().unwrap_or(0.0);
            let square = |i: usize| at(i) * at(i);
            let sums: Vec<f32> = (0..n.div_ceil(128))
                .map(|b| {
                    let lane = |l: usize| {
                        let i = 128 * b + 4 * l;
                        (square(i) + square(i + 1)) + (square(i + 2) + square(i + 3))
                    };
                    butterfly((0..32).map(lane).collect())
                })
                .collect();
            let total = |i: usize| sums.iter().skip(i).step_by(32).fold(0.0, |sum, one| sum + one);
            let mean = butterfly((0..32).map(total).collect()) / n as f32;
            let expected = 1.0 / (mean + 1e-5).sqrt();
            assert_eq!(inverse_rms(&x, 1e-5).to_bits(), expected.to_bits(), "{n}");
            let exact: f64 = x.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>() / n as f64;
            assert!((f64::from(expected) * (exact + 1e-5).sqrt() - 1.0).abs() < 1e-6, "{n}");
        }
    }

    #[test]
    fn the_sum_of_a_head_is_the_specified_tree() {
        let mut rng = SmallRng::seed_from_u64(2);
        for d in [4, 16, 62, 64, 66, 80, 128, 192, 256, 512] {
            let x: Vec<f32> = (0..d).map(|_| rng.random_range(-3.0..3.0)).collect();
            let lane = |l: usize| {
                let pairs = (0..).map(|i| i * 32 + l).take_while(|i| *i < d / 2);
                pairs.fold(0.0, |sum: f32, i| sum + (x[i] * x[i] + x[i + d / 2] * x[i + d / 2]))
            };
            let mean = butterfly((0..32).map(lane).collect()) / d as f32;
            let expected = 1.0 / (mean + 1e-5).sqrt();
            assert_eq!(inverse_rms_of_head(&x, 1e-5).to_bits(), expected.to_bits(), "{d}");
        }
    }
}
