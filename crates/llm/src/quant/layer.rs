//! One layer: observe, choose, fold, quantise.

use serde::{Deserialize, Serialize};

use super::int8::{LEVEL_MAX, quantize_row};
use super::search::{ALPHAS, Candidate, candidates};
use super::smoothing::{Fold, absmax_by_factor};
use crate::config::ModelConfig;
use crate::engine::cpu::layer_run::{LayerRun, Site};
use crate::engine::cpu::matrix::Matrix;
use crate::engine::cpu::weights::Layer;

/// The quantile of magnitudes that is recorded beside the largest one.
pub const PERCENTILE: f32 = 0.999;

/// How activations are smoothed before they are quantised.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Smoothing {
    /// Not at all.
    None,
    /// With one alpha, 0 to 1, everywhere.
    Alpha(f32),
    /// For each fold of each layer with the alpha, or without, whatever errs least.
    Search,
}

/// What was chosen for one layer, and what was seen there.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LayerReport {
    /// One for each of [`Fold::ALL`].
    pub folds: Vec<FoldReport>,
    /// Largest magnitude of the cached keys of each key/value head; empty unless asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub keys_absmax: Vec<f32>,
    /// The same of the cached values.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub values_absmax: Vec<f32>,
}

/// One fold of one layer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FoldReport {
    /// Which.
    pub fold: Fold,
    /// The alpha in use; none where smoothing does not pay.
    pub alpha: Option<f32>,
    /// Relative squared error of the outputs without smoothing, summed over the linear layers.
    pub error_plain: f32,
    /// The same with the alpha in use.
    pub error: f32,
    /// Largest magnitude that entered the linear layers, after the fold.
    pub input_absmax: f32,
    /// The [`PERCENTILE`] of the magnitudes that entered, after the fold.
    pub input_percentile: f32,
}

/// What entered the linear layers of one layer, over all calibration tokens.
#[derive(Default)]
pub(super) struct Observed {
    /// `[n, width]` for each of [`Fold::ALL`].
    inputs: [Vec<f32>; Fold::ALL.len()],
    keys: Vec<f32>,
    values: Vec<f32>,
}

impl Observed {
    /// Keeps what the layer shows; keys and values only where they are asked for.
    pub(super) fn keep(&mut self, site: Site, rows: &[f32], with_cache: bool) {
        match (Fold::at(site), site) {
            (Some(fold), _) => self.inputs[fold as usize] = rows.to_vec(),
            (None, Site::Keys) if with_cache => self.keys = rows.to_vec(),
            (None, Site::Values) if with_cache => self.values = rows.to_vec(),
            (None, _) => {}
        }
    }

    /// Chooses for one fold, folds it into `layer`, and says what was chosen.
    pub(super) fn smooth(
        &mut self,
        fold: Fold,
        layer: &mut Layer,
        smoothing: Smoothing,
        run: &mut LayerRun,
        config: &ModelConfig,
    ) -> FoldReport {
        let alphas: &[f32] = match &smoothing {
            Smoothing::None => &[],
            Smoothing::Alpha(alpha) => std::slice::from_ref(alpha),
            Smoothing::Search => &ALPHAS,
        };
        let inputs = &mut self.inputs[fold as usize];
        let mut all = candidates(run, config, layer, fold, inputs, alphas);
        let error_plain = all[0].error;
        let chosen = match smoothing {
            Smoothing::Alpha(_) => all.swap_remove(1),
            Smoothing::None | Smoothing::Search => least(all),
        };
        if let Some(factors) = &chosen.factors {
            fold.apply(layer, factors, config);
            let of_columns = fold.factor_of_columns(config);
            for row in inputs.chunks_exact_mut(of_columns.len()) {
                row.iter_mut().zip(&of_columns).for_each(|(x, index)| *x /= factors[*index]);
            }
            // The factors of v's rows are those of the cached values.
            if fold == Fold::OutputInput {
                for row in self.values.chunks_exact_mut(factors.len()) {
                    row.iter_mut().zip(factors).for_each(|(x, factor)| *x /= factor);
                }
            }
        }
        let (input_absmax, input_percentile) = magnitudes(&mut self.inputs[fold as usize]);
        FoldReport {
            fold,
            alpha: chosen.alpha,
            error_plain,
            error: chosen.error,
            input_absmax,
            input_percentile,
        }
    }

    /// The report of a layer whose folds are done.
    pub(super) fn report(self, folds: Vec<FoldReport>, config: &ModelConfig) -> LayerReport {
        let by_head = |rows: &[f32]| {
            if rows.is_empty() {
                return Vec::new();
            }
            let head_of_columns: Vec<_> =
                (0..config.kv_size()).map(|c| c / config.head_dim).collect();
            absmax_by_factor(rows, &head_of_columns, config.n_kv_heads)
        };
        LayerReport {
            folds,
            keys_absmax: by_head(&self.keys),
            values_absmax: by_head(&self.values),
        }
    }
}

/// A matrix in INT8 with the scale of each row.
pub(super) struct QuantisedMatrix {
    pub(super) values: Vec<i8>,
    pub(super) scales: Vec<f32>,
}

/// Quantises a matrix row by row.
pub(super) fn quantise(run: &mut LayerRun, matrix: &Matrix) -> QuantisedMatrix {
    let (weights, cols) = (matrix.floats(), matrix.cols);
    let mut values = vec![0; weights.len()];
    let mut scales = vec![0.0; matrix.rows];
    run.pool.for_row_pairs((&mut values, cols), (&mut scales, 1), |row, values, scale| {
        scale[0] = quantize_row(&weights[row * cols..][..cols], values);
    });
    QuantisedMatrix { values, scales }
}

/// The scale that a largest magnitude asks for.
pub(super) fn scale_of(absmax: f32) -> f32 {
    absmax / LEVEL_MAX
}

/// The candidate with the least error; among equals the first, so plain wins a tie.
fn least(all: Vec<Candidate>) -> Candidate {
    all.into_iter()
        .reduce(|best, next| if next.error < best.error { next } else { best })
        .expect("the plain layer is always measured")
}

/// Largest magnitude and percentile; the values become magnitudes in another order.
fn magnitudes(values: &mut [f32]) -> (f32, f32) {
    values.iter_mut().for_each(|value| *value = value.abs());
    let at = ((values.len() - 1) as f64 * f64::from(PERCENTILE)).round() as usize;
    let (_, percentile, above) = values.select_nth_unstable_by(at, f32::total_cmp);
    let percentile = *percentile;
    (above.iter().copied().fold(percentile, f32::max), percentile)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn magnitudes_are_the_largest_and_the_percentile() {
        let mut values: Vec<f32> =
            (0..=1000).map(|i| if i % 2 == 0 { i as f32 } else { -(i as f32) }).collect();
        assert_eq!(magnitudes(&mut values), (1000.0, 999.0));
        assert_eq!(magnitudes(&mut [-3.0]), (3.0, 3.0));
    }
}
