//! Attention: who sees whom, rotations, scores, and what the cache gets.

use hymt_llm::quant::smoothing::Fold;

use super::{Network, Shared};
use crate::graph;
use crate::onnx::builder::{Value, int};
use crate::onnx::export::{ExportError, FloatType};

/// Added to the score of what may not be seen. Far below any score, and a number in f16 too, so
/// that an engine may compute scores in either: `exp` of it is 0 in both.
const HIDDEN_SCORE: f32 = -30_000.0;

impl Network<'_> {
    /// Cosine and sine of each new token, `[b, t, 1, d / 2]`, from a table of all positions. The
    /// angle is rounded to f32 before its cosine is taken in f64, as the CPU engine does; computed
    /// on a GPU, the cosine of an angle of thousands would be as good as its library.
    pub(super) fn rotations(&mut self, positions: &Value) -> Result<(Value, Value), ExportError> {
        let (context, half) = (self.options.context, self.config.head_dim / 2);
        let base = self.config.rope.base(self.config.head_dim);
        let frequency = |i: usize| base.powf(-2.0 * i as f64 / self.config.head_dim as f64) as f32;
        let angles: Vec<f64> = (0..context)
            .flat_map(|p| (0..half).map(move |i| f64::from(p as f32 * frequency(i))))
            .collect();
        // Padding may count on beyond the table.
        let last = self.graph.int32s("position_max", &[], &[context as i32 - 1])?;
        let rows = self.graph.op("Min", "position_row", &[positions, &last]);
        let axes = self.graph.integers(&[2])?;
        let mut gather = |name: &str, of: fn(f64) -> f64| -> Result<Value, ExportError> {
            let values: Vec<f32> = angles.iter().map(|angle| of(*angle) as f32).collect();
            let table = self.graph.floats(format!("{name}_table"), &[context, half], &values)?;
            let attribute = vec![int("axis", 0)];
            let row =
                self.graph.op_with("Gather", format!("{name}_row"), &[&table, &rows], attribute);
            Ok(self.graph.op("Unsqueeze", name, &[&row, &axes]))
        };
        Ok((gather("cos", f64::cos)?, gather("sin", f64::sin)?))
    }

    /// Zero for the tokens that the cache holds, [`HIDDEN_SCORE`] for the rest, `[b, 1, 1, c]`.
    pub(super) fn past_bias(&mut self, past_lengths: &Value) -> Result<Value, ExportError> {
        let context = self.options.context;
        let index: Vec<i32> = (0..context as i32).collect();
        let index = self.graph.int32s("cache_index", &[1, 1, 1, context], &index)?;
        let axes = self.graph.integers(&[1, 2, 3])?;
        let lengths = self.graph.op("Unsqueeze", "past_lengths_column", &[past_lengths, &axes]);
        let held = self.graph.op("Less", "past_held", &[&index, &lengths]);
        let (zero, hidden) = self.bias_values()?;
        Ok(self.graph.op("Where", "past_bias", &[&held, &zero, &hidden]))
    }

    /// Zero for tokens up to the query's own, `[b, 1, h / n * t, t]`: once for each query head of a
    /// group, as attention lays its queries out.
    pub(super) fn new_bias(&mut self, positions: &Value) -> Result<Value, ExportError> {
        let group = self.config.n_heads / self.config.n_kv_heads;
        let (row, column) = (self.graph.integers(&[1])?, self.graph.integers(&[2])?);
        let keys = self.graph.op("Unsqueeze", "key_positions", &[positions, &row]);
        let queries = self.graph.op("Unsqueeze", "query_positions", &[positions, &column]);
        let later = self.graph.op("Greater", "later", &[&keys, &queries]);
        let later = self.graph.op("Unsqueeze", "later_for_heads", &[&later, &row]);
        let (zero, hidden) = self.bias_values()?;
        let bias = self.graph.op("Where", "new_bias_of_one", &[&later, &hidden, &zero]);
        let attribute = vec![int("axis", 2)];
        Ok(self.graph.op_with("Concat", "new_bias", &vec![&bias; group], attribute))
    }

    fn bias_values(&mut self) -> Result<(Value, Value), ExportError> {
        let mut scalar = |name: &str, value| self.graph.scalar(name, value);
        Ok((scalar("seen", 0.0)?, scalar("hidden", HIDDEN_SCORE)?))
    }

    /// Attention of the new tokens over the cache and each other; `[b, t, h * d]`.
    ///
    /// Scores of the cache and of the new tokens are computed apart and meet in the softmax, so
    /// that the cache is read where it lies and never copied. The queries of a group of heads are
    /// rows of one matrix, so that a key is read once for all of them.
    pub(super) fn attention(
        &mut self,
        index: usize,
        shared: &Shared,
        x: &Value,
    ) -> Result<Value, ExportError> {
        let at = format!("model.layers.{index}.self_attn");
        let c = self.config;
        let (heads, width) = (c.n_kv_heads as i64, c.head_dim as i64);
        let group = (c.n_heads / c.n_kv_heads) as i64;
        let (hidden, q_size, kv_size) = (c.hidden_size, c.q_size(), c.kv_size());

        let input = self.quantised(index, Fold::QkvInput, shared, x)?;
        let q = self.linear(&format!("{at}.q_proj"), &input, q_size, hidden)?;
        let k = self.linear(&format!("{at}.k_proj"), &input, kv_size, hidden)?;
        let v = self.linear(&format!("{at}.v_proj"), &input, kv_size, hidden)?;

        // Softmax of q k / sqrt(d): the factor is in the weight of the queries' norm.
        let scale = 1.0 / (width as f32).sqrt();
        let q = self.rotated(&format!("{at}.query_layernorm"), &q, c.n_heads, shared, scale)?;
        let q = self.reshape(&format!("{at}.q_groups"), &q, &[0, 0, heads, group, width])?;
        let q = self.transpose(&format!("{at}.q_by_head"), &q, &[0, 2, 3, 1, 4]);
        let q = self.reshape(&format!("{at}.q_rows"), &q, &[0, 0, -1, width])?;
        let q = self.narrowed(&format!("{at}.q_float"), q);

        let k = self.rotated(&format!("{at}.key_layernorm"), &k, c.n_kv_heads, shared, 1.0)?;
        let k = self.cached(&graph::new_key(index), &k);
        let v = self.reshape(&format!("{at}.v_heads"), &v, &[0, 0, heads, width])?;
        let v = self.cached(&graph::new_value(index), &v);

        let past = graph::past_key(index);
        let past = self.scores(&format!("{at}.past"), &q, &past, &shared.past_bias);
        let new = self.scores(&format!("{at}.new"), &q, &k, &shared.new_bias);
        let attribute = vec![int("axis", 3)];
        let all = self.graph.op_with("Concat", format!("{at}.scores"), &[&past, &new], attribute);
        let attribute = vec![int("axis", -1)];
        let all = self.graph.op_with("Softmax", format!("{at}.softmax"), &[&all], attribute);
        let all = self.narrowed(&format!("{at}.softmax_float"), all);

        let context = self.options.context as i64;
        let past = self.columns(&format!("{at}.past_share"), &all, 0, context)?;
        let new = self.columns(&format!("{at}.new_share"), &all, context, i64::from(i32::MAX))?;
        let value = graph::past_value(index);
        let past = self.graph.op("MatMul", format!("{at}.past_values"), &[&past, &value]);
        let new = self.graph.op("MatMul", format!("{at}.new_values"), &[&new, &v]);
        let out = self.graph.op("Add", format!("{at}.attended"), &[&past, &new]);
        let out = self.widened(&format!("{at}.attended_f32"), out);

        let out = self.reshape(&format!("{at}.out_by_head"), &out, &[0, 0, group, -1, width])?;
        let out = self.transpose(&format!("{at}.out_groups"), &out, &[0, 3, 1, 2, 4]);
        self.reshape(&format!("{at}.out"), &out, &[0, 0, q_size as i64])
    }

    /// Heads of `x`, `[b, t, n * d]`, rotated and then normalised, `[b, t, n, d]`; the norm's
    /// weight is multiplied by `scale`.
    fn rotated(
        &mut self,
        at: &str,
        x: &Value,
        n_heads: usize,
        shared: &Shared,
        scale: f32,
    ) -> Result<Value, ExportError> {
        let width = self.config.head_dim;
        let half = width as i64 / 2;
        let x = self.reshape(&format!("{at}.heads"), x, &[0, 0, n_heads as i64, width as i64])?;
        let first = self.columns(&format!("{at}.first_half"), &x, 0, half)?;
        let second = self.columns(&format!("{at}.second_half"), &x, half, 2 * half)?;
        let mut product = |name: &str, x: &Value, by: &Value| {
            self.graph.op("Mul", format!("{at}.{name}"), &[x, by])
        };
        let first_cos = product("first_cos", &first, &shared.cos);
        let second_sin = product("second_sin", &second, &shared.sin);
        let second_cos = product("second_cos", &second, &shared.cos);
        let first_sin = product("first_sin", &first, &shared.sin);
        let first = self.graph.op("Sub", format!("{at}.rotated_first"), &[&first_cos, &second_sin]);
        let second =
            self.graph.op("Add", format!("{at}.rotated_second"), &[&second_cos, &first_sin]);
        let attribute = vec![int("axis", -1)];
        let x =
            self.graph.op_with("Concat", format!("{at}.rotated"), &[&first, &second], attribute);
        self.scaled_norm(at, &x, width, scale)
    }

    /// `[b, t, n, d]` to what is cached, `[b, n, t, d]`.
    fn cached(&mut self, name: &str, x: &Value) -> Value {
        match self.options.float {
            FloatType::F32 => self.transpose(name, x, &[0, 2, 1, 3]),
            FloatType::F16 => {
                let x = self.transpose(&format!("{name}_f32"), x, &[0, 2, 1, 3]);
                self.narrowed(name, x)
            }
        }
    }

    /// `q * keys^T + bias` in f32, `[b, n, h / n * t, columns]`.
    fn scores(&mut self, at: &str, q: &Value, keys: &Value, bias: &Value) -> Value {
        let keys = self.transpose(&format!("{at}_keys"), keys, &[0, 1, 3, 2]);
        let scores = self.graph.op("MatMul", format!("{at}_products"), &[q, &keys]);
        let scores = self.widened(&format!("{at}_products_f32"), scores);
        self.graph.op("Add", format!("{at}_scores"), &[&scores, bias])
    }
}
