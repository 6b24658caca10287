//! Smoothing folds: moving outlier channels from activations into weights, exactly.
//!
//! A linear layer computes the same from `x / s` with `W * s`, column by column. Where what makes
//! `x` is linear up to its end, the division by `s` is folded into it, and nothing is left to do
//! at run time. HunYuanDenseV1 has four such places:
//!
//! | [`Fold`] | divided by `s` | multiplied by `s` |
//! |---|---|---|
//! | [`Fold::QkvInput`] | `input_layernorm` | columns of q, k, v |
//! | [`Fold::OutputInput`] | rows of v | columns of o, `s` shared by the query heads of a group |
//! | [`Fold::FeedForwardInput`] | `post_attention_layernorm` | columns of gate, up |
//! | [`Fold::DownInput`] | rows of up | columns of down: `silu(gate) * up` is linear in up |
//!
//! `s_j = max|x_j|^alpha / max|W_j|^(1 - alpha)` is SmoothQuant's (Xiao et al., 2023, equation 4).

use serde::{Deserialize, Serialize};

use crate::config::ModelConfig;
use crate::engine::cpu::layer_run::Site;
use crate::engine::cpu::matrix::Matrix;
use crate::engine::cpu::weights::Layer;

/// Largest factor, and the inverse of the smallest. 2^12 keeps every folded norm and weight far
/// from the limits of bf16 and f16.
pub const FACTOR_MAX: f32 = 4096.0;

/// A place where smoothing is exact; the module's table says what each one changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fold {
    /// From the norm before attention to q, k and v.
    QkvInput,
    /// From v to o.
    OutputInput,
    /// From the norm before the feed-forward block to gate and up.
    FeedForwardInput,
    /// From up to down.
    DownInput,
}

impl Fold {
    /// All folds of a layer, in the order in which the network meets them.
    pub const ALL: [Self; 4] =
        [Self::QkvInput, Self::OutputInput, Self::FeedForwardInput, Self::DownInput];

    /// Names of the linear layers that read what this fold divides, inside their layer.
    pub fn readers(self) -> &'static [&'static str] {
        match self {
            Self::QkvInput => &["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"],
            Self::OutputInput => &["self_attn.o_proj"],
            Self::FeedForwardInput => &["mlp.gate_proj", "mlp.up_proj"],
            Self::DownInput => &["mlp.down_proj"],
        }
    }

    /// The fold whose readers see the rows of `site`.
    pub(super) fn at(site: Site) -> Option<Self> {
        match site {
            Site::QkvInput => Some(Self::QkvInput),
            Site::OutputInput => Some(Self::OutputInput),
            Site::FeedForwardInput => Some(Self::FeedForwardInput),
            Site::DownInput => Some(Self::DownInput),
            Site::Keys | Site::Values => None,
        }
    }

    pub(super) fn readers_of(self, layer: &Layer) -> Vec<&Matrix> {
        match self {
            Self::QkvInput => vec![&layer.q, &layer.k, &layer.v],
            Self::OutputInput => vec![&layer.o],
            Self::FeedForwardInput => vec![&layer.gate, &layer.up],
            Self::DownInput => vec![&layer.down],
        }
    }

    /// The factor that belongs to each input column, `[width]`.
    pub(super) fn factor_of_columns(self, config: &ModelConfig) -> Vec<usize> {
        match self {
            Self::QkvInput | Self::FeedForwardInput => (0..config.hidden_size).collect(),
            Self::DownInput => (0..config.intermediate_size).collect(),
            Self::OutputInput => {
                let (d, group) = (config.head_dim, config.n_heads / config.n_kv_heads);
                (0..config.q_size()).map(|column| column / d / group * d + column % d).collect()
            }
        }
    }

    /// Folds `factors` into `layer`. What the layer computes stays the same.
    pub(super) fn apply(self, layer: &mut Layer, factors: &[f32], config: &ModelConfig) {
        let of_columns = self.factor_of_columns(config);
        let by_column: Vec<f32> = of_columns.iter().map(|index| factors[*index]).collect();
        match self {
            Self::QkvInput => {
                divide(&mut layer.input_norm, factors);
                for matrix in [&mut layer.q, &mut layer.k, &mut layer.v] {
                    multiply_columns(matrix, &by_column);
                }
            }
            Self::OutputInput => {
                divide_rows(&mut layer.v, factors);
                multiply_columns(&mut layer.o, &by_column);
            }
            Self::FeedForwardInput => {
                divide(&mut layer.post_attention_norm, factors);
                for matrix in [&mut layer.gate, &mut layer.up] {
                    multiply_columns(matrix, &by_column);
                }
            }
            Self::DownInput => {
                divide_rows(&mut layer.up, factors);
                multiply_columns(&mut layer.down, &by_column);
            }
        }
    }
}

/// SmoothQuant's factors from the largest magnitudes of each input channel and of its weights,
/// scaled to a geometric mean of 1, since a factor common to all channels changes nothing. A
/// channel that is always zero, or that nobody reads, keeps the factor 1.
pub fn factors(activation_absmax: &[f32], weight_absmax: &[f32], alpha: f32) -> Vec<f32> {
    let is_live = |a: f32, w: f32| a > 0.0 && w > 0.0;
    let log = |a: f32, w: f32| alpha * a.ln() - (1.0 - alpha) * w.ln();
    let pairs = || activation_absmax.iter().copied().zip(weight_absmax.iter().copied());
    let (mut sum, mut n) = (0.0_f64, 0_usize);
    for (a, w) in pairs().filter(|(a, w)| is_live(*a, *w)) {
        sum += f64::from(log(a, w));
        n += 1;
    }
    let mean = (sum / n.max(1) as f64) as f32;
    pairs()
        .map(|(a, w)| {
            if is_live(a, w) {
                (log(a, w) - mean).exp().clamp(1.0 / FACTOR_MAX, FACTOR_MAX)
            } else {
                1.0
            }
        })
        .collect()
}

/// Largest magnitude of what each factor belongs to, over the rows of `values`, `[n, columns]`.
pub(super) fn absmax_by_factor(
    values: &[f32],
    factor_of_columns: &[usize],
    n_factors: usize,
) -> Vec<f32> {
    let mut by_column = vec![0.0_f32; factor_of_columns.len()];
    for row in values.chunks_exact(factor_of_columns.len()) {
        for (largest, value) in by_column.iter_mut().zip(row) {
            *largest = largest.max(value.abs());
        }
    }
    let mut by_factor = vec![0.0_f32; n_factors];
    for (index, value) in factor_of_columns.iter().zip(by_column) {
        by_factor[*index] = by_factor[*index].max(value);
    }
    by_factor
}

fn divide(values: &mut [f32], factors: &[f32]) {
    for (value, factor) in values.iter_mut().zip(factors) {
        *value /= factor;
    }
}

fn divide_rows(matrix: &mut Matrix, factors: &[f32]) {
    let cols = matrix.cols;
    for (row, factor) in matrix.floats_mut().chunks_exact_mut(cols).zip(factors) {
        row.iter_mut().for_each(|value| *value /= factor);
    }
}

fn multiply_columns(matrix: &mut Matrix, factors: &[f32]) {
    for row in matrix.floats_mut().chunks_exact_mut(factors.len()) {
        for (value, factor) in row.iter_mut().zip(factors) {
            *value *= factor;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::cpu::kernels::dot_f32;
    use crate::engine::cpu::layer_run::LayerRun;
    use crate::weights::{EMBEDDING, Embedding, ModelSource};
    use rand::rngs::SmallRng;
    use rand::{Rng, SeedableRng};

    /// Largest change of a logit that folding may cause, relative to the largest logit. Each
    /// product `(x / s) * (w * s)` rounds three times more than `x * w`, six layers deep.
    const FOLD_TOLERANCE: f32 = 1e-4;

    /// Logits of some tokens of the demo model, with or without factors folded into every layer.
    fn logits(folded: bool) -> Vec<f32> {
        let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/../../models/demo/bf16");
        let source = ModelSource::Dir(dir.into());
        let (config, tensors) = (source.config().unwrap(), source.tensors().unwrap());
        let prompts: Vec<Vec<_>> =
            (1..4_u32).map(|n| (0..10).map(|i| (i * i * 97 + n * 389) % 3500).collect()).collect();
        let mut run = LayerRun::new(&config, &prompts, Some(2)).unwrap();
        let mut hidden = run.embed(&Embedding::load(&tensors, &config).unwrap());
        let mut rng = SmallRng::seed_from_u64(7);
        for index in 0..config.n_layers {
            let mut layer = run.load(&tensors, index).unwrap();
            for fold in Fold::ALL {
                let n = fold.factor_of_columns(&config).iter().max().unwrap() + 1;
                // From 1/30 to 30, as outliers call for.
                let factors: Vec<f32> =
                    (0..n).map(|_| rng.random_range(-3.4_f32..3.4).exp()).collect();
                if folded {
                    fold.apply(&mut layer, &factors, &config);
                }
            }
            run.run(&layer, &mut hidden, &mut |_, _| {});
        }
        let norm = tensors.vector("model.norm.weight", config.hidden_size).unwrap();
        let head = tensors.tensor(EMBEDDING).unwrap().to_f32().unwrap();
        let mut logits = Vec::new();
        for x in hidden.chunks_exact(config.hidden_size) {
            let scale = 1.0 / (dot_f32(x, x) / x.len() as f32 + config.rms_norm_eps).sqrt();
            let x: Vec<f32> = x.iter().zip(&norm).map(|(x, weight)| x * scale * weight).collect();
            logits.extend(head.chunks_exact(config.hidden_size).map(|row| dot_f32(&x, row)));
        }
        logits
    }

    #[test]
    fn folding_changes_no_logit() {
        let (plain, folded) = (logits(false), logits(true));
        let largest = plain.iter().fold(0.0_f32, |all, one| all.max(one.abs()));
        let change = plain.iter().zip(&folded).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        println!("largest logit {largest}, largest change {change:e}");
        assert!(largest > 1.0 && change > 0.0 && change < FOLD_TOLERANCE * largest, "{change}");
    }

    #[test]
    fn factors_follow_the_outliers_and_have_mean_one() {
        let s = factors(&[1.0, 100.0, 1.0, 0.0], &[0.1, 0.1, 0.1, 0.1], 0.5);
        assert!((s[1] / s[0] - 10.0).abs() < 1e-4, "{s:?}");
        let product: f32 = s.iter().product();
        assert!((product - 1.0).abs() < 1e-5 && s[3] == 1.0, "{s:?}");
    }

    #[test]
    fn factors_of_extreme_channels_stay_finite() {
        let s = factors(&[1e-38, 1e38, f32::MIN_POSITIVE, 1.0], &[1e38, 1e-38, 1.0, 0.0], 0.9);
        assert!(s.iter().all(|s| (1.0 / FACTOR_MAX..=FACTOR_MAX).contains(s)), "{s:?}");
    }
}
