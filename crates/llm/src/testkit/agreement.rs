//! How far an engine is from another one that is trusted.
//!
//! The conformance suite compares an engine with itself, so kernels that are wrong in the same way
//! every time pass it. This compares the logits with those of the CPU engine, the oracle of all.

use crate::TokenId;
use crate::engine::cpu::logits_of_all_positions;
use crate::engine::{Engine, EngineError};

/// Largest [`Agreement::relative_error`] of two engines that run the same INT8 weights with different
/// roundings, as TensorRT has them: with a KV cache of f16 instead of f32 small models were at 0.013 to
/// 0.019, and a wrong scale or a swapped matrix is off by far more than this.
pub const RELATIVE_ERROR_MAX: f64 = 0.05;

/// What the comparison came to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Agreement {
    /// Positions that were compared.
    pub positions: usize,
    /// Positions at which both have the same likeliest token.
    pub same_best: usize,
    /// Length of the difference of all logits by the length of the oracle's.
    pub relative_error: f64,
}

impl Agreement {
    /// Whether no logit differs: so it is where both follow `docs/arithmetic.md`.
    pub fn is_exact(&self) -> bool {
        self.relative_error == 0.0
    }

    /// Whether the difference is within [`RELATIVE_ERROR_MAX`].
    pub fn is_close(&self) -> bool {
        self.relative_error <= RELATIVE_ERROR_MAX
    }
}

/// Runs `tokens` through both engines and compares the logits after each of them. Both must have the
/// vocabulary of the same model, and a context of `tokens.len()`.
///
/// # Errors
/// When either engine fails.
pub fn compare(
    engine: &mut dyn Engine,
    oracle: &mut dyn Engine,
    tokens: &[TokenId],
) -> Result<Agreement, EngineError> {
    let vocab_size = oracle.spec().vocab_size;
    let expected = logits_of_all_positions(oracle, tokens)?;
    let got = logits_of_all_positions(engine, tokens)?;
    if got.len() != expected.len() {
        let (n, wanted) = (got.len(), expected.len());
        let detail = format!("{n} logits, the oracle has {wanted}: not the same model");
        return Err(EngineError::InvalidBatch { detail });
    }
    let (mut difference, mut size) = (0.0_f64, 0.0_f64);
    for (a, b) in got.iter().zip(&expected) {
        difference += (f64::from(*a) - f64::from(*b)).powi(2);
        size += f64::from(*b).powi(2);
    }
    let rows = got.chunks_exact(vocab_size).zip(expected.chunks_exact(vocab_size));
    let same_best = rows.filter(|(a, b)| best(a) == best(b)).count();
    // A vector of zeros has no length to divide by; then any difference is a large one.
    let relative_error = (difference / size.max(f64::MIN_POSITIVE)).sqrt();
    Ok(Agreement { positions: tokens.len(), same_best, relative_error })
}

fn best(row: &[f32]) -> Option<usize> {
    (0..row.len()).max_by(|a, b| row[*a].total_cmp(&row[*b]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::cpu::{CpuEngine, CpuOptions, Precision};
    use crate::weights::ModelSource;

    fn engine(precision: Precision) -> CpuEngine {
        let dir = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/f32");
        let options = CpuOptions { precision, context_tokens_max: 80, ..CpuOptions::default() };
        CpuEngine::load(&ModelSource::Dir(dir), &options, &mut |_| {}).unwrap()
    }

    #[test]
    fn an_engine_agrees_with_itself_and_less_with_another_arithmetic() {
        let tokens: Vec<TokenId> = (0..40).map(|i| i * 7 % 60).collect();
        let same =
            compare(&mut engine(Precision::F32), &mut engine(Precision::F32), &tokens).unwrap();
        assert_eq!(same, Agreement { positions: 40, same_best: 40, relative_error: 0.0 });
        let int8 =
            compare(&mut engine(Precision::Int8), &mut engine(Precision::F32), &tokens).unwrap();
        assert!(int8.relative_error > 0.0 && int8.same_best <= 40, "{int8:?}");
    }
}
