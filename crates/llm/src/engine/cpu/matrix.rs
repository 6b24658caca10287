//! Weight matrices in f32 or INT8, and their product with rows of activations.

use memmap2::{Advice, MmapMut};

use super::float::inverse_rms;
use super::kernels::{Isa, TILE_ROWS, TILE_TOKENS, TokenRow, dot_tile, dot_tile_f32, prefetch};
use super::pool::{Columns, Pool};
use crate::quant::int8::quantize_row_static;
use crate::quant::levels::to_levels8;
use crate::weights::Tensor;

/// Tokens that pass over a block of weights before the block is read again. Their activations,
/// at most 64 x 6144 bytes in INT8, stay in the second-level cache.
const TOKENS_PER_PASS: usize = 64;

/// The same for activations in f32: 32 x 6144 x 4 bytes.
const F32_TOKENS_PER_PASS: usize = 32;

/// Up to this many tokens, weights are prefetched by hand: one token streams them at memory speed,
/// and what the hardware fetches by itself is about 40 % slower. With 64 tokens the arithmetic
/// hides the memory and the hints cost 5 %. Measured on one core of a Zen 5.
const PREFETCH_TOKENS_MAX: usize = 16;

/// How linear layers compute, and attention between them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Arithmetic {
    F32,
    Int8,
}

/// A linear layer without bias, `[rows, cols]` row-major (`[out, in]`).
pub(crate) struct Matrix {
    pub(crate) rows: usize,
    pub(crate) cols: usize,
    pub(crate) values: Values,
}

impl Matrix {
    /// How products with this matrix are computed, which decides what its activations need.
    pub(super) fn arithmetic(&self) -> Arithmetic {
        match self.values {
            Values::F32(_) => Arithmetic::F32,
            Values::Int8 { .. } => Arithmetic::Int8,
        }
    }
}

/// Elements of a matrix.
pub(crate) enum Values {
    F32(Vec<f32>),
    /// `values[r][c] * scales[r]`.
    Int8 {
        values: Int8Values,
        scales: Vec<f32>,
    },
}

impl Matrix {
    /// The elements of a matrix in f32.
    ///
    /// # Panics
    /// When it is not in f32; calibration loads every layer so.
    pub(crate) fn floats(&self) -> &[f32] {
        match &self.values {
            Values::F32(values) => values,
            Values::Int8 { .. } => unreachable!("calibration loads layers in f32"),
        }
    }

    /// The elements of a matrix in f32, to be changed; panics as [`Self::floats`] does.
    pub(crate) fn floats_mut(&mut self) -> &mut [f32] {
        match &mut self.values {
            Values::F32(values) => values,
            Values::Int8 { .. } => unreachable!("calibration loads layers in f32"),
        }
    }
}

/// INT8 elements: made at load, or used where they lie in the mapped file.
pub(crate) enum Int8Values {
    Made(MmapMut),
    Stored(Tensor),
}

impl Int8Values {
    /// Zeroed memory of `len` bytes, in huge pages where the system gives them: a decode step
    /// streams through all weights, and address translation is part of its cost.
    pub(super) fn zeroed(len: usize) -> std::io::Result<MmapMut> {
        let map = MmapMut::map_anon(len)?;
        if let Err(error) = map.advise(Advice::HugePage) {
            tracing::debug!(%error, "no huge pages for weights");
        }
        Ok(map)
    }

    fn as_slice(&self) -> &[i8] {
        match self {
            Self::Made(map) => bytemuck::cast_slice(map),
            Self::Stored(tensor) => bytemuck::cast_slice(tensor.bytes()),
        }
    }
}

/// How the matrices that share an input take it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Input {
    F32,
    /// INT8, each row with a scale of its own.
    Int8,
    /// INT8, all rows with one scale that is given.
    Int8Static(f32),
}

impl Input {
    pub(super) fn of(matrix: &Matrix, static_scale: Option<f32>) -> Self {
        match (matrix.arithmetic(), static_scale) {
            (Arithmetic::F32, _) => Self::F32,
            (Arithmetic::Int8, None) => Self::Int8,
            (Arithmetic::Int8, Some(scale)) => Self::Int8Static(scale),
        }
    }
}

/// A norm that stands before matrices: `x / rms(x) * weight`, row by row.
#[derive(Clone, Copy)]
pub(super) struct Norm<'a> {
    /// `[width]`
    pub(super) weight: &'a [f32],
    pub(super) eps: f32,
}

/// Rows of activations, `[n, width]`, as matrices take them.
pub(super) struct Activations {
    width: usize,
    /// In f32; empty after [`Self::set_normed`] where nothing needs them.
    pub(super) rows: Vec<f32>,
    /// Filled for INT8.
    quantised: QuantisedRows,
}

/// Rows of activations in INT8.
#[derive(Default)]
struct QuantisedRows {
    /// `[n, width]`
    values: Vec<i8>,
    /// `[n]`
    scales: Vec<RowScale>,
}

#[derive(Clone, Copy, Default)]
struct RowScale {
    scale: f32,
    sum: i32,
}

impl Activations {
    pub(super) fn new(width: usize) -> Self {
        Self { width, rows: Vec::new(), quantised: QuantisedRows::default() }
    }

    /// Makes room for `n` rows; their content is unspecified.
    pub(super) fn resize(&mut self, n: usize) {
        self.rows.resize(n * self.width, 0.0);
        self.quantised.values.resize(n * self.width, 0);
        self.quantised.scales.resize(n, RowScale::default());
    }

    /// Takes the rows of `x` through `norm`, and does what the matrices need before they can read
    /// them.
    ///
    /// Where each row gets a scale of its own, `1 / rms` goes into that scale and changes no value:
    /// rows that are multiplied by the norm's weight are quantised, and none is written in f32.
    pub(super) fn set_normed(&mut self, pool: &mut Pool, x: &[f32], norm: Norm<'_>, input: Input) {
        let width = self.width;
        assert_eq!(norm.weight.len(), width, "a norm has a weight for each column");
        let row = |index: usize| &x[index * width..][..width];
        if input == Input::Int8 {
            self.rows.clear();
            self.quantised.fill(pool, width, |index, values| {
                let weighted = row(index).iter().zip(norm.weight).map(|(x, weight)| x * weight);
                to_levels8(weighted, values) * inverse_rms(row(index), norm.eps)
            });
            return;
        }
        self.rows.resize(self.n() * width, 0.0);
        pool.for_rows(&mut self.rows, width, |index, out| {
            let scale = inverse_rms(row(index), norm.eps);
            for ((out, x), weight) in out.iter_mut().zip(row(index)).zip(norm.weight) {
                *out = x * scale * weight;
            }
        });
        self.prepare(pool, input);
    }

    /// Does what the matrices need before they can read the rows that were written.
    pub(super) fn prepare(&mut self, pool: &mut Pool, input: Input) {
        let (rows, width) = (&self.rows, self.width);
        let row = |index: usize| &rows[index * width..][..width];
        match input {
            Input::F32 => {}
            Input::Int8 => self
                .quantised
                .fill(pool, width, |index, values| to_levels8(row(index).iter().copied(), values)),
            Input::Int8Static(scale) => self.quantised.fill(pool, width, |index, values| {
                quantize_row_static(row(index), scale, values);
                scale
            }),
        }
    }

    fn n(&self) -> usize {
        self.quantised.scales.len()
    }
}

impl QuantisedRows {
    /// Lets `quantize` write the values of each row, and keeps the scale that it returns.
    fn fill(
        &mut self,
        pool: &mut Pool,
        width: usize,
        quantize: impl Fn(usize, &mut [i8]) -> f32 + Sync,
    ) {
        let (values, scales) = (&mut self.values, &mut self.scales);
        pool.for_row_pairs((values, width), (scales, 1), |index, values, row_scale| {
            let scale = quantize(index, values);
            let sum = values.iter().map(|value| i32::from(*value)).sum();
            row_scale[0] = RowScale { scale, sum };
        });
    }
}

/// `out[t] = matrix * x[t]` for each pair of matrix and output, `[n, matrix.rows]`, in one loop
/// over the pool. `x` must have been quantised if a matrix is INT8.
///
/// The sum for one output element does not depend on how many tokens there are.
pub(super) fn matmul(
    pool: &mut Pool,
    isa: Isa,
    x: &Activations,
    products: &mut [(&Matrix, &mut [f32])],
) {
    let matrices: Vec<&Matrix> = products.iter().map(|(matrix, _)| *matrix).collect();
    let mut outputs: Vec<(&mut [f32], usize)> =
        products.iter_mut().map(|(matrix, out)| (&mut **out, matrix.rows)).collect();
    pool.for_columns(x.n(), &mut outputs, TILE_ROWS, |index, block| {
        let matrix = matrices[index];
        assert_eq!(matrix.cols, x.width, "activations are as wide as the matrix");
        match &matrix.values {
            Values::F32(values) => f32_block(isa, values, x, block),
            Values::Int8 { values, scales } => int8_block(isa, values.as_slice(), scales, x, block),
        }
    });
}

fn f32_block(isa: Isa, weights: &[f32], x: &Activations, block: &mut Columns<'_>) {
    let (cols, range) = (x.width, block.range());
    let tokens: Vec<&[f32]> = x.rows.chunks_exact(cols).collect();
    for (pass, tokens) in tokens.chunks(F32_TOKENS_PER_PASS).enumerate() {
        for start in range.clone().step_by(TILE_ROWS) {
            let rows = start..(start + TILE_ROWS).min(range.end);
            let weights = &weights[rows.start * cols..rows.end * cols];
            for (tile, tokens) in tokens.chunks(TILE_TOKENS).enumerate() {
                let mut sums = [[0.0; TILE_ROWS]; TILE_TOKENS];
                dot_tile_f32(isa, weights, tokens, &mut sums);
                let first = pass * F32_TOKENS_PER_PASS + tile * TILE_TOKENS;
                for (token, sums) in (first..first + tokens.len()).zip(&sums) {
                    block.row(token)[start - range.start..][..rows.len()]
                        .copy_from_slice(&sums[..rows.len()]);
                }
            }
        }
    }
}

fn int8_block(
    isa: Isa,
    all_weights: &[i8],
    scales: &[f32],
    x: &Activations,
    block: &mut Columns<'_>,
) {
    let (cols, range) = (x.width, block.range());
    let tokens: Vec<TokenRow<'_>> = x
        .quantised
        .values
        .chunks_exact(cols)
        .zip(&x.quantised.scales)
        .map(|(values, scale)| TokenRow { values, sum: scale.sum })
        .collect();
    for (pass, tokens) in tokens.chunks(TOKENS_PER_PASS).enumerate() {
        for start in range.clone().step_by(TILE_ROWS) {
            let rows = start..(start + TILE_ROWS).min(range.end);
            let weights = &all_weights[rows.start * cols..rows.end * cols];
            // While this block is multiplied, the next one is fetched, a piece for each tile.
            let fetched_rows = if tokens.len() <= PREFETCH_TOKENS_MAX { TILE_ROWS } else { 0 };
            let next = rows.end..(rows.end + fetched_rows).min(range.end);
            let next = &all_weights[next.start * cols..next.end * cols];
            let n_tiles = tokens.len().div_ceil(TILE_TOKENS);
            let mut pieces = next.chunks(next.len().div_ceil(n_tiles).max(1));
            for (tile, tokens) in tokens.chunks(TILE_TOKENS).enumerate() {
                prefetch(pieces.next().unwrap_or_default());
                let mut sums = [[0; TILE_ROWS]; TILE_TOKENS];
                dot_tile(isa, weights, tokens, &mut sums);
                let first = pass * TOKENS_PER_PASS + tile * TILE_TOKENS;
                for (token, sums) in (first..first + tokens.len()).zip(&sums) {
                    let out = &mut block.row(token)[start - range.start..][..rows.len()];
                    let token_scale = x.quantised.scales[token].scale;
                    for ((out, sum), scale) in out.iter_mut().zip(sums).zip(&scales[rows.clone()]) {
                        *out = *sum as f32 * (token_scale * scale);
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::rngs::SmallRng;
    use rand::{Rng, SeedableRng};

    const EPS: f32 = 1e-5;

    /// Three rows of `width` and the weight of a norm.
    fn rows(width: usize) -> (Vec<f32>, Vec<f32>) {
        let mut rng = SmallRng::seed_from_u64(width as u64);
        let mut random = |n: usize| (0..n).map(|_| rng.random_range(-2.0..2.0)).collect();
        (random(3 * width), random(width))
    }

    fn normed(x: &[f32], weight: &[f32], input: Input) -> Activations {
        let mut activations = Activations::new(weight.len());
        activations.resize(x.len() / weight.len());
        let mut pool = Pool::new(2).unwrap();
        activations.set_normed(&mut pool, x, Norm { weight, eps: EPS }, input);
        activations
    }

    #[test]
    fn a_norm_multiplies_by_its_weight_and_leaves_the_rest_to_the_scale() {
        for width in [64, 112, 128, 2048, 4097] {
            let (x, weight) = rows(width);
            let QuantisedRows { values, scales } = normed(&x, &weight, Input::Int8).quantised;
            for (t, x) in x.chunks_exact(width).enumerate() {
                let v: Vec<f32> = x.iter().zip(&weight).map(|(x, weight)| x * weight).collect();
                let top = v.iter().fold(0.0_f32, |top, v| top.max(v.abs()));
                let expected: Vec<i8> =
                    v.iter().map(|v| (v * (127.0 / top)).round_ties_even() as i8).collect();
                assert_eq!(values[t * width..][..width], expected);
                assert_eq!(scales[t].scale, top / 127.0 * inverse_rms(x, EPS));
                assert_eq!(scales[t].sum, expected.iter().map(|q| i32::from(*q)).sum::<i32>());
            }
        }
    }

    #[test]
    fn every_input_is_the_same_row_within_its_rounding() {
        let width = 300;
        let (x, weight) = rows(width);
        let floats = normed(&x, &weight, Input::F32).rows;
        let exact: Vec<f64> = x
            .chunks_exact(width)
            .flat_map(|x| {
                let squares: f64 = x.iter().map(|x| f64::from(*x).powi(2)).sum();
                let rms = (squares / width as f64 + f64::from(EPS)).sqrt();
                x.iter().zip(&weight).map(move |(x, w)| f64::from(*x) / rms * f64::from(*w))
            })
            .collect();
        let near = |a: f32, b: f64, tolerance: f64| (f64::from(a) - b).abs() <= tolerance;
        assert!(floats.iter().zip(&exact).all(|(a, b)| near(*a, *b, 1e-6)));
        for input in [Input::Int8, Input::Int8Static(0.03)] {
            let QuantisedRows { values, scales } = normed(&x, &weight, input).quantised;
            for (index, (value, exact)) in values.iter().zip(&exact).enumerate() {
                let scale = scales[index / width].scale;
                // Half a step, and what f32 adds.
                let tolerance = f64::from(scale) * 0.500_1;
                assert!(near(f32::from(*value) * scale, *exact, tolerance), "{input:?} {index}");
            }
        }
    }

    #[test]
    fn rows_without_a_norm_have_their_unit_as_scale() {
        let (x, weight) = rows(64);
        let mut activations = Activations::new(64);
        activations.resize(3);
        activations.rows.copy_from_slice(&x);
        activations.prepare(&mut Pool::new(1).unwrap(), Input::Int8);
        for (x, scale) in x.chunks_exact(64).zip(&activations.quantised.scales) {
            assert_eq!(scale.scale, x.iter().fold(0.0_f32, |top, x| top.max(x.abs())) / 127.0);
        }
        assert_eq!(activations.rows, x, "rows stay for those who look at them");
        assert!(normed(&x, &weight, Input::Int8).rows.is_empty());
    }
}
