//! Which smoothing a fold gets: the one whose INT8 outputs come closest to those in f32.

use super::int8::quantize_row;
use super::smoothing::{Fold, absmax_by_factor, factors};
use crate::config::ModelConfig;
use crate::engine::cpu::kernels::{TILE_ROWS, TILE_TOKENS, TokenRow, dot_tile, dot_tile_f32};
use crate::engine::cpu::layer_run::LayerRun;
use crate::engine::cpu::matrix::Matrix;
use crate::engine::cpu::weights::Layer;

/// The grid of alphas. At 1 the weights would not count at all.
pub(super) const ALPHAS: [f32; 10] = [0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9];

/// Tokens on which candidates are compared, taken evenly from all calibration tokens.
pub const SEARCH_TOKENS_MAX: usize = 512;

/// What is known about a candidate: its factors, if it smooths, and its error.
pub(super) struct Candidate {
    pub(super) alpha: Option<f32>,
    /// One for each factor; none for the layer as it is.
    pub(super) factors: Option<Vec<f32>>,
    /// Sum over the linear layers of `||X W^T - Q(X) Q(W)^T||^2 / ||X W^T||^2`.
    pub(super) error: f32,
}

/// Measures the layer as it is and smoothed with each of `alphas`; the first is the former.
pub(super) fn candidates(
    run: &mut LayerRun,
    config: &ModelConfig,
    layer: &Layer,
    fold: Fold,
    inputs: &[f32],
    alphas: &[f32],
) -> Vec<Candidate> {
    let of_columns = fold.factor_of_columns(config);
    let n_factors = of_columns.iter().max().map_or(0, |last| last + 1);
    let readers = fold.readers_of(layer);
    let activations = absmax_by_factor(inputs, &of_columns, n_factors);
    let mut weights = vec![0.0_f32; n_factors];
    for matrix in &readers {
        let of_matrix = absmax_by_factor(matrix.floats(), &of_columns, n_factors);
        weights.iter_mut().zip(of_matrix).for_each(|(all, one)| *all = all.max(one));
    }
    let sample = sample(inputs, of_columns.len());
    let exact: Vec<_> = readers.iter().map(|matrix| outputs(run, matrix, &sample)).collect();
    let mut measure = |alpha, factors: Option<Vec<f32>>| {
        let by_column = |factors: &Vec<f32>| of_columns.iter().map(|i| factors[*i]).collect();
        let by_column: Option<Vec<f32>> = factors.as_ref().map(by_column);
        let quantised = Inputs::new(run, &sample, by_column.as_deref());
        let errors = readers.iter().zip(&exact).map(|(matrix, exact)| {
            relative_error(run, matrix, &quantised, by_column.as_deref(), exact)
        });
        Candidate { alpha, error: errors.sum::<f64>() as f32, factors }
    };
    let mut all = vec![measure(None, None)];
    for alpha in alphas {
        all.push(measure(Some(*alpha), Some(factors(&activations, &weights, *alpha))));
    }
    all
}

/// Rows taken evenly from `inputs`, `[n, width]`, at most [`SEARCH_TOKENS_MAX`].
fn sample(inputs: &[f32], width: usize) -> Vec<&[f32]> {
    let n = inputs.len() / width;
    let taken = n.min(SEARCH_TOKENS_MAX);
    (0..taken).map(|index| &inputs[index * n / taken * width..][..width]).collect()
}

/// Tokens quantised as the engine does, after the division.
struct Inputs {
    values: Vec<i8>,
    scales: Vec<(f32, i32)>,
    width: usize,
}

impl Inputs {
    fn new(run: &mut LayerRun, sample: &[&[f32]], factors: Option<&[f32]>) -> Self {
        let width = sample[0].len();
        let mut values = vec![0; sample.len() * width];
        let mut scales = vec![(0.0, 0); sample.len()];
        run.pool.for_row_pairs((&mut values, width), (&mut scales, 1), |token, values, scale| {
            let mut x = sample[token].to_vec();
            if let Some(factors) = factors {
                x.iter_mut().zip(factors).for_each(|(x, factor)| *x /= factor);
            }
            let row_scale = quantize_row(&x, values);
            scale[0] = (row_scale, values.iter().map(|value| i32::from(*value)).sum());
        });
        Self { values, scales, width }
    }

    fn tokens(&self) -> Vec<TokenRow<'_>> {
        let rows = self.values.chunks_exact(self.width).zip(&self.scales);
        rows.map(|(values, scale)| TokenRow { values, sum: scale.1 }).collect()
    }
}

/// Outputs in f32, `[blocks of TILE_ROWS rows][token][row of the block]`.
fn outputs(run: &mut LayerRun, matrix: &Matrix, sample: &[&[f32]]) -> Vec<f32> {
    let (rows, cols, isa) = (matrix.rows, matrix.cols, run.isa);
    let weights = matrix.floats();
    let width = TILE_ROWS * sample.len();
    let mut out = vec![0.0; rows.div_ceil(TILE_ROWS) * width];
    run.pool.for_rows(&mut out, width, |block, out| {
        let weights = rows_of_block(weights, block, rows, cols);
        let tiles = out.chunks_mut(TILE_ROWS * TILE_TOKENS).zip(sample.chunks(TILE_TOKENS));
        for (out, tokens) in tiles {
            let mut sums = [[0.0; TILE_ROWS]; TILE_TOKENS];
            dot_tile_f32(isa, weights, tokens, &mut sums);
            out.copy_from_slice(&sums.as_flattened()[..out.len()]);
        }
    });
    out
}

/// `||exact - quantised||^2 / ||exact||^2` for one matrix.
fn relative_error(
    run: &mut LayerRun,
    matrix: &Matrix,
    inputs: &Inputs,
    factors: Option<&[f32]>,
    exact: &[f32],
) -> f64 {
    let (rows, cols, isa) = (matrix.rows, matrix.cols, run.isa);
    let (weights, tokens) = (matrix.floats(), inputs.tokens());
    let width = TILE_ROWS * tokens.len();
    // Added up block by block, so that the sum does not depend on which thread had which block.
    let mut sums = vec![(0.0_f64, 0.0_f64); rows.div_ceil(TILE_ROWS)];
    run.pool.for_rows(&mut sums, 1, |block, sums| {
        let block_weights = rows_of_block(weights, block, rows, cols);
        let (values, scales) = quantised_rows(block_weights, cols, factors);
        let exact = &exact[block * width..][..width];
        let tiles = exact.chunks(TILE_ROWS * TILE_TOKENS).zip(tokens.chunks(TILE_TOKENS));
        for (tile, (exact, tokens)) in tiles.enumerate() {
            let mut products = [[0; TILE_ROWS]; TILE_TOKENS];
            dot_tile(isa, &values, tokens, &mut products);
            let token_scales = &inputs.scales[tile * TILE_TOKENS..];
            let of_tokens = exact.chunks_exact(TILE_ROWS).zip(&products).zip(token_scales);
            for ((exact, products), (token_scale, _)) in of_tokens {
                for ((exact, product), scale) in exact.iter().zip(products).zip(&scales) {
                    let difference = exact - *product as f32 * (token_scale * scale);
                    sums[0].0 += f64::from(difference * difference);
                    sums[0].1 += f64::from(exact * exact);
                }
            }
        }
    });
    let (error, size) = sums.iter().fold((0.0, 0.0), |all, one| (all.0 + one.0, all.1 + one.1));
    if size > 0.0 { error / size } else { 0.0 }
}

fn rows_of_block(weights: &[f32], block: usize, rows: usize, cols: usize) -> &[f32] {
    let first = block * TILE_ROWS;
    &weights[first * cols..(first + TILE_ROWS).min(rows) * cols]
}

/// Rows multiplied by `factors` and quantised, with their scales.
fn quantised_rows(weights: &[f32], cols: usize, factors: Option<&[f32]>) -> (Vec<i8>, Vec<f32>) {
    let mut values = vec![0; weights.len()];
    let rows = weights.chunks_exact(cols).zip(values.chunks_exact_mut(cols));
    let scales = rows.map(|(row, values)| match factors {
        None => quantize_row(row, values),
        Some(factors) => {
            let scaled: Vec<f32> = row.iter().zip(factors).map(|(w, factor)| w * factor).collect();
            quantize_row(&scaled, values)
        }
    });
    let scales = scales.collect();
    (values, scales)
}
