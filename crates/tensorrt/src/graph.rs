//! Names and shapes of the exported graph's inputs and outputs.
//!
//! One graph serves prompts and decoding. The cache is a read-only input of fixed length; the graph
//! returns only the new keys and values, and the engine copies them to their place. So nothing is
//! aliased, nothing grows, and a decode step always has the same shapes.
//!
//! `batch` rows are slots `0..batch`: a row without work has `past_lengths` 0 and any token. Prompts
//! of different lengths are padded on the right; what a padded token yields is not used.
//!
//! Who is seen goes by position: a query sees the new tokens whose position is not beyond its own.
//! So padding must count on behind the prompt, even past the end of the cache. The part of the cache
//! beyond a row's length is masked, which stops neither NaN nor infinity: it must hold finite numbers, zeros
//! at first.
//! `docs/onnx.md` describes the graph.

/// Token ids, `i32 [batch, tokens]`.
pub const TOKEN_IDS: &str = "token_ids";
/// Position of each token, `i32 [batch, tokens]`: `past_lengths` + 0, 1, 2 ..., also for padding.
pub const POSITIONS: &str = "positions";
/// Tokens of the cache that count, `i32 [batch]`.
pub const PAST_LENGTHS: &str = "past_lengths";
/// Which tokens of a row get logits, as indices into `tokens`, `i32 [batch, rows]`; 0 where there
/// is nothing to ask.
pub const LOGITS_AT: &str = "logits_at";
/// Logits, `f32 [batch, rows, vocab]`.
pub const LOGITS: &str = "logits";

/// Keys of a layer so far, rotated and normalised, `[batch, kv_heads, context, head_dim]`; f32, or
/// f16 in an export with half floats, as all four of these are.
pub fn past_key(layer: usize) -> String {
    format!("past_key_{layer}")
}

/// Values of a layer so far, `[batch, kv_heads, context, head_dim]`.
pub fn past_value(layer: usize) -> String {
    format!("past_value_{layer}")
}

/// Keys of the new tokens, `[batch, kv_heads, tokens, head_dim]`.
pub fn new_key(layer: usize) -> String {
    format!("new_key_{layer}")
}

/// Values of the new tokens, `[batch, kv_heads, tokens, head_dim]`.
pub fn new_value(layer: usize) -> String {
    format!("new_value_{layer}")
}
