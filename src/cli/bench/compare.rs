//! How far an engine is from the CPU engine on the same weights.

use hymt_llm::TokenId;
use hymt_llm::engine::Engine;
use hymt_llm::engine::cpu::logits_of_all_positions;
use serde_json::{Value, json};

use crate::eval::divergence::top;

/// Tokens of one sequence.
pub(super) const SEQUENCE_TOKENS: usize = 50;

/// Leads both engines through `n` tokens, in sequences of [`SEQUENCE_TOKENS`], and compares the
/// logits after each.
pub(super) fn compare(
    reference: &mut dyn Engine,
    engine: &mut dyn Engine,
    n: usize,
) -> anyhow::Result<Value> {
    let vocab_size = engine.spec().vocab_size;
    let (mut same, mut gap_max) = (0, 0.0_f32);
    let (mut difference, mut size) = (0.0_f64, 0.0_f64);
    for first in (0..n).step_by(SEQUENCE_TOKENS) {
        let end = (first + SEQUENCE_TOKENS).min(n);
        let tokens: Vec<_> = (first..end).map(|i| (i * 7919 % vocab_size) as TokenId).collect();
        let expected = logits_of_all_positions(reference, &tokens)?;
        let got = logits_of_all_positions(engine, &tokens)?;
        let rows = expected.chunks_exact(vocab_size).zip(got.chunks_exact(vocab_size));
        for (expected, got) in rows {
            let (right, best) = (top(expected), top(got));
            same += usize::from(right == best);
            gap_max = gap_max.max(expected[right] - expected[best]);
            for (a, b) in got.iter().zip(expected) {
                difference += f64::from(a - b).powi(2);
                size += f64::from(*b).powi(2);
            }
        }
    }
    Ok(json!({
        "reference": reference.spec().name,
        "positions": n,
        "same_best_token": same,
        "relative_error": (difference / size).sqrt(),
        "logits_rms": (size / (n * vocab_size) as f64).sqrt(),
        // Where the best tokens differ, how much better the reference found its own.
        "gap_max": gap_max,
    }))
}
