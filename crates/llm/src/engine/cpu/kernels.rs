//! Dot products: the arithmetic that takes all the time.
//!
//! INT8 sums are exact in i32, so every instruction set, tile and thread count gives the same
//! result. f32 sums always run over one fixed tree, whatever the tile, for the same reason.
//!
//! NEON is not written: aarch64 runs the portable kernels, which the compiler vectorises.

pub(crate) mod levels;
#[cfg(target_arch = "x86_64")]
mod x86;

/// Weight rows of one INT8 tile.
pub(crate) const TILE_ROWS: usize = 4;
/// Tokens of one INT8 tile. 4 x 4 sums and 4 weight rows fit the vector registers.
pub(crate) const TILE_TOKENS: usize = 4;

/// Partial sums of a dot product in f32: one AVX-512 register.
const F32_LANES: usize = 16;

/// Sums of one tile, `[token][row]`.
pub(crate) type TileSums = [[i32; TILE_ROWS]; TILE_TOKENS];

/// Instruction set of the kernels, best first. All that have a name have AVX2.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Isa {
    /// 64 multiply-adds an instruction.
    #[cfg(target_arch = "x86_64")]
    Avx512Vnni,
    /// 32 multiply-adds an instruction.
    #[cfg(target_arch = "x86_64")]
    AvxVnni,
    /// 32 multiply-adds in two instructions.
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// Plain Rust.
    Portable,
}

impl Isa {
    /// The best one this machine has.
    pub(crate) fn detect() -> Self {
        Self::available()[0]
    }

    /// The best one that also takes activations of -128, which static scales saturate to. AVX2
    /// cannot: it moves the sign of a weight to the activation, and there is no 128.
    pub(crate) fn detect_for_saturated() -> Self {
        match Self::detect() {
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => Self::Portable,
            isa => isa,
        }
    }

    /// All this machine has, best first; never empty.
    pub(crate) fn available() -> Vec<Self> {
        let mut all = Vec::new();
        #[cfg(target_arch = "x86_64")]
        {
            let avx2 = is_x86_feature_detected!("avx2");
            let avx512 = is_x86_feature_detected!("avx512bw");
            if avx2 && avx512 && is_x86_feature_detected!("avx512vnni") {
                all.push(Self::Avx512Vnni);
            }
            if avx2 && is_x86_feature_detected!("avxvnni") {
                all.push(Self::AvxVnni);
            }
            if avx2 {
                all.push(Self::Avx2);
            }
        }
        all.push(Self::Portable);
        all
    }
}

/// Quantised activations of one token.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TokenRow<'a> {
    /// `[cols]`, each in -127..=127, or also -128 with [`Isa::detect_for_saturated`].
    pub(crate) values: &'a [i8],
    /// Sum of `values`.
    pub(crate) sum: i32,
}

/// Dot products of up to [`TILE_ROWS`] weight rows, `[n, cols]`, with up to [`TILE_TOKENS`]
/// tokens. Sums beyond what was passed are left as they are.
///
/// # Panics
/// When the lengths do not fit together.
pub(crate) fn dot_tile(isa: Isa, weights: &[i8], tokens: &[TokenRow<'_>], sums: &mut TileSums) {
    let cols = tokens.first().map_or(0, |token| token.values.len());
    assert!(tokens.iter().all(|token| token.values.len() == cols), "tokens of one width");
    assert!(cols > 0 && weights.len().is_multiple_of(cols), "weights are whole rows of {cols}");
    let n_rows = weights.len() / cols;
    assert!(n_rows <= TILE_ROWS && tokens.len() <= TILE_TOKENS, "one tile at most");
    match isa {
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512Vnni => x86::dot_tile_avx512vnni(weights, cols, tokens, sums),
        #[cfg(target_arch = "x86_64")]
        Isa::AvxVnni => x86::dot_tile_avxvnni(weights, cols, tokens, sums),
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2 => x86::dot_tile_avx2(weights, cols, tokens, sums),
        Isa::Portable => {
            for (row, weights) in weights.chunks_exact(cols).enumerate() {
                for (sums, token) in sums.iter_mut().zip(tokens) {
                    sums[row] = dot_i8(weights, token.values);
                }
            }
        }
    }
}

/// Asks for `values` to be brought into the cache; does nothing where that cannot be asked for.
pub(crate) fn prefetch(values: &[i8]) {
    #[cfg(target_arch = "x86_64")]
    x86::prefetch(values);
    #[cfg(not(target_arch = "x86_64"))]
    let _ = values;
}

/// Exact dot product of two i8 vectors.
fn dot_i8(a: &[i8], b: &[i8]) -> i32 {
    a.iter().zip(b).map(|(a, b)| i32::from(*a) * i32::from(*b)).sum()
}

/// Dot products in f32 of up to [`TILE_ROWS`] weight rows, `[n, cols]`, with up to [`TILE_TOKENS`]
/// tokens. Each sum has the bits of [`dot_f32`]: products and sums are rounded one by one, so no
/// instruction set may fuse them.
///
/// # Panics
/// When the lengths do not fit together.
pub(crate) fn dot_tile_f32(
    isa: Isa,
    weights: &[f32],
    tokens: &[&[f32]],
    sums: &mut [[f32; TILE_ROWS]; TILE_TOKENS],
) {
    let cols = tokens.first().map_or(0, |token| token.len());
    assert!(tokens.iter().all(|token| token.len() == cols), "tokens of one width");
    assert!(cols > 0 && weights.len().is_multiple_of(cols), "weights are whole rows of {cols}");
    let n_rows = weights.len() / cols;
    assert!(n_rows <= TILE_ROWS && tokens.len() <= TILE_TOKENS, "one tile at most");
    #[cfg(target_arch = "x86_64")]
    if isa == Isa::Avx512Vnni && n_rows == TILE_ROWS && tokens.len() == TILE_TOKENS {
        return x86::dot_tile_f32_avx512(weights, cols, tokens, sums);
    }
    let _ = isa;
    for (row, weights) in weights.chunks_exact(cols).enumerate() {
        for (sums, token) in sums.iter_mut().zip(tokens) {
            sums[row] = dot_f32(weights, token);
        }
    }
}

/// Dot product in f32 over 16 lanes, added up in a fixed order.
pub(crate) fn dot_f32(a: &[f32], b: &[f32]) -> f32 {
    let ((a_chunks, a_tail), (b_chunks, b_tail)) =
        (a.as_chunks::<F32_LANES>(), b.as_chunks::<F32_LANES>());
    let mut lanes = [0.0_f32; F32_LANES];
    for (a, b) in a_chunks.iter().zip(b_chunks) {
        for ((lane, a), b) in lanes.iter_mut().zip(a).zip(b) {
            *lane += a * b;
        }
    }
    for ((lane, a), b) in lanes.iter_mut().zip(a_tail).zip(b_tail) {
        *lane += a * b;
    }
    sum_lanes(lanes)
}

/// The sum of all lanes, whose number is a power of two: halved until one is left.
pub(super) fn sum_lanes<const N: usize>(mut lanes: [f32; N]) -> f32 {
    let mut width = N / 2;
    while width > 0 {
        for i in 0..width {
            lanes[i] += lanes[i + width];
        }
        width /= 2;
    }
    lanes[0]
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::rngs::SmallRng;
    use rand::{Rng, SeedableRng};

    /// Widths that leave every tail of the 64- and 32-byte kernels, and the real ones.
    fn widths() -> impl Iterator<Item = usize> {
        (1..=130).chain([191, 192, 193, 2048, 6144])
    }

    fn tokens(values: &[Vec<i8>]) -> Vec<TokenRow<'_>> {
        let sum = |v: &Vec<i8>| v.iter().map(|v| i32::from(*v)).sum();
        values.iter().map(|v| TokenRow { values: v, sum: sum(v) }).collect()
    }

    #[test]
    fn every_kernel_equals_the_plain_sum() {
        let mut rng = SmallRng::seed_from_u64(1);
        for isa in Isa::available() {
            for cols in widths() {
                for (n_rows, n_tokens) in [(1, 1), (4, 1), (3, 2), (2, 3), (4, 4), (1, 4)] {
                    let weights: Vec<i8> = (0..n_rows * cols).map(|_| rng.random()).collect();
                    let x: Vec<Vec<i8>> = (0..n_tokens)
                        .map(|_| (0..cols).map(|_| rng.random_range(-127..=127)).collect())
                        .collect();
                    let mut sums = [[i32::MIN; TILE_ROWS]; TILE_TOKENS];
                    dot_tile(isa, &weights, &tokens(&x), &mut sums);
                    for (t, x) in x.iter().enumerate() {
                        for r in 0..n_rows {
                            let row = &weights[r * cols..][..cols];
                            let expected: i64 =
                                row.iter().zip(x).map(|(w, x)| i64::from(*w) * i64::from(*x)).sum();
                            assert_eq!(i64::from(sums[t][r]), expected, "{isa:?} cols {cols}");
                        }
                    }
                    assert!(sums[n_tokens..].iter().flatten().all(|sum| *sum == i32::MIN));
                }
            }
        }
    }

    #[test]
    fn extreme_values_do_not_saturate() {
        let ordinary = [(-128_i8, -127_i8), (-128, 127), (127, 127), (127, -127)];
        let saturated = [(-128, -128), (127, -128), (-1, -128)];
        let of_saturated = |isa: &Isa| match *isa {
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => false,
            _ => true,
        };
        assert!(of_saturated(&Isa::detect_for_saturated()));
        for isa in Isa::available() {
            let more = if of_saturated(&isa) { &saturated[..] } else { &[] };
            for (w, x) in ordinary.iter().chain(more).copied() {
                let cols = 6144;
                let (weights, x) = (vec![w; TILE_ROWS * cols], vec![vec![x; cols]; TILE_TOKENS]);
                let mut sums = [[0; TILE_ROWS]; TILE_TOKENS];
                dot_tile(isa, &weights, &tokens(&x), &mut sums);
                let expected = i32::from(w) * i32::from(x[0][0]) * cols as i32;
                assert_eq!(sums, [[expected; TILE_ROWS]; TILE_TOKENS], "{isa:?}");
            }
        }
    }

    #[test]
    fn every_f32_tile_has_the_bits_of_one_dot_product() {
        let mut rng = SmallRng::seed_from_u64(3);
        for isa in Isa::available() {
            for cols in [1, 15, 16, 17, 64, 100, 2048, 2051] {
                for (n_rows, n_tokens) in [(4, 4), (1, 4), (4, 1), (3, 2)] {
                    let mut random = |n: usize| -> Vec<f32> {
                        (0..n).map(|_| rng.random_range(-1.0..1.0)).collect()
                    };
                    let (weights, x) = (random(n_rows * cols), random(n_tokens * cols));
                    let tokens: Vec<&[f32]> = x.chunks_exact(cols).collect();
                    let mut sums = [[f32::NAN; TILE_ROWS]; TILE_TOKENS];
                    dot_tile_f32(isa, &weights, &tokens, &mut sums);
                    for (t, token) in tokens.iter().enumerate() {
                        for (r, row) in weights.chunks_exact(cols).enumerate() {
                            let expected = dot_f32(row, token).to_bits();
                            assert_eq!(sums[t][r].to_bits(), expected, "{isa:?} cols {cols}");
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn dot_f32_matches_a_sum_in_f64() {
        let mut rng = SmallRng::seed_from_u64(2);
        for n in 0..200 {
            let a: Vec<f32> = (0..n).map(|_| rng.random_range(-1.0..1.0)).collect();
            let b: Vec<f32> = (0..n).map(|_| rng.random_range(-1.0..1.0)).collect();
            let exact: f64 = a.iter().zip(&b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum();
            assert!((f64::from(dot_f32(&a, &b)) - exact).abs() < 1e-5, "{n}");
        }
    }
}
