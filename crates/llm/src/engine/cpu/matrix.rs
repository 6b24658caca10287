//! Weight matrices in f32 or INT8, and their product with rows of activations.

use memmap2::{Advice, MmapMut};

use super::kernels::{Isa, TILE_ROWS, TILE_TOKENS, TokenRow, dot_tile, dot_tile_f32, prefetch};
use super::pool::{Columns, Pool};
use crate::quant::int8::{quantize_row, quantize_row_static};
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

/// How the linear layers compute.
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

/// Rows of activations, `[n, width]`, with the quantised form beside them where it is needed.
pub(super) struct Activations {
    width: usize,
    pub(super) rows: Vec<f32>,
    /// Filled by [`Self::prepare`] for INT8, `[n, width]`.
    quantised: Vec<i8>,
    scales: Vec<RowScale>,
}

#[derive(Clone, Copy, Default)]
struct RowScale {
    scale: f32,
    sum: i32,
}

impl Activations {
    pub(super) fn new(width: usize) -> Self {
        Self { width, rows: Vec::new(), quantised: Vec::new(), scales: Vec::new() }
    }

    /// Makes room for `n` rows; their content is unspecified.
    pub(super) fn resize(&mut self, n: usize) {
        self.rows.resize(n * self.width, 0.0);
        self.quantised.resize(n * self.width, 0);
        self.scales.resize(n, RowScale::default());
    }

    /// Does what the linear layers need before they can read the rows. `static_scale` replaces the
    /// scale that each row would get by itself.
    pub(super) fn prepare(
        &mut self,
        arithmetic: Arithmetic,
        static_scale: Option<f32>,
        pool: &mut Pool,
    ) {
        if arithmetic == Arithmetic::Int8 {
            self.quantize(static_scale, pool);
        }
    }

    /// Quantises each row, by its own largest magnitude unless a scale is given.
    fn quantize(&mut self, static_scale: Option<f32>, pool: &mut Pool) {
        let (rows, width) = (&self.rows, self.width);
        pool.for_row_pairs(
            (&mut self.quantised, width),
            (&mut self.scales, 1),
            |index, values, scale| {
                let x = &rows[index * width..][..width];
                let row_scale = match static_scale {
                    None => quantize_row(x, values),
                    Some(scale) => {
                        quantize_row_static(x, scale, values);
                        scale
                    }
                };
                let sum = values.iter().map(|value| i32::from(*value)).sum();
                scale[0] = RowScale { scale: row_scale, sum };
            },
        );
    }

    fn n(&self) -> usize {
        self.scales.len()
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
        .chunks_exact(cols)
        .zip(&x.scales)
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
                    let token_scale = x.scales[token].scale;
                    for ((out, sum), scale) in out.iter_mut().zip(sums).zip(&scales[rows.clone()]) {
                        *out = *sum as f32 * (token_scale * scale);
                    }
                }
            }
        }
    }
}
