//! The forward pass of HunYuanDenseV1 as operators, in reading order.
//!
//! It is the network of `hymt_llm`'s CPU engine with static activation scales, which is the oracle
//! that the tests hold the graph against. Shapes below: `b` batch, `t` new tokens of each row, `c`
//! the fixed length of the cache, `r` rows of logits, `h` query heads, `n` key/value heads, `d` the
//! width of a head.
//!
//! The order inside attention is this family's trap: queries and keys are normalised AFTER the
//! rotation. Reference: `modeling_hunyuan_v1_dense.py` of Hugging Face transformers.

use hymt_llm::config::ModelConfig;
use hymt_llm::quant::activation_scales::ActivationScales;
use hymt_llm::quant::smoothing::Fold;
use hymt_llm::weights::{EMBEDDING, Tensors};

use super::builder::{Dim, GraphBuilder, Value, int, ints};
use super::export::{ExportError, ExportOptions, FloatType, WeightForm};
use super::proto::DataType;
use super::weights::{Int8Matrix, OUTPUT_AXIS, float_table, floats, int8, transposed};
use crate::graph;

/// Added to the score of what may not be seen. Far below any score, and a number in f16 too, so
/// that an engine may compute scores in either: `exp` of it is 0 in both.
const HIDDEN_SCORE: f32 = -30_000.0;

/// Everything that is needed to write the network.
pub(super) struct Network<'a> {
    pub(super) graph: &'a mut GraphBuilder,
    pub(super) config: &'a ModelConfig,
    pub(super) tensors: &'a Tensors,
    pub(super) scales: &'a ActivationScales,
    pub(super) options: &'a ExportOptions,
}

/// Values that all layers share.
pub(super) struct Shared {
    /// Cosine and sine of each pair of a head, `[b, t, 1, d / 2]`.
    cos: Value,
    sin: Value,
    /// What is added to scores of the cache, `[b, 1, 1, c]`.
    past_bias: Value,
    /// What is added to scores of the new tokens, `[b, 1, h / n * t, t]`.
    new_bias: Value,
    /// An INT8 zero for activations.
    zero_point: Value,
    /// The embedding, which is also the head where the two are tied.
    embedding: Value,
    logits_at: Value,
}

impl Network<'_> {
    /// Inputs and what all layers read; with the residual stream `[b, t, hidden]`.
    pub(super) fn begin(&mut self) -> Result<(Shared, Value), ExportError> {
        let (batch, tokens) = (Dim::Named("batch"), Dim::Named("tokens"));
        let kind = DataType::Int32;
        let ids = self.graph.input(graph::TOKEN_IDS, kind, &[batch, tokens]);
        let positions = self.graph.input(graph::POSITIONS, kind, &[batch, tokens]);
        let past_lengths = self.graph.input(graph::PAST_LENGTHS, kind, &[batch]);
        let logits_at = self.graph.input(graph::LOGITS_AT, kind, &[batch, Dim::Named("rows")]);
        let cache = self.cache_dims(Dim::Fixed(self.options.context));
        for layer in 0..self.config.n_layers {
            for name in [graph::past_key(layer), graph::past_value(layer)] {
                self.graph.input(&name, self.options.float.data_type(), &cache);
            }
        }

        let table = [self.config.vocab_size, self.config.hidden_size];
        let stored = self.tensors.matrix(EMBEDDING, table, self.config)?;
        let embedding = float_table(self.graph, EMBEDDING, &stored, self.options.float)?;
        let rows = self.graph.op_with("Gather", "embed", &[&embedding, &ids], vec![int("axis", 0)]);
        let x = self.widened("embed_f32", rows);

        let (cos, sin) = self.rotations(&positions)?;
        let shared = Shared {
            cos,
            sin,
            past_bias: self.past_bias(&past_lengths)?,
            new_bias: self.new_bias(&positions)?,
            zero_point: self.graph.constant("zero_point", &[], DataType::Int8, vec![0])?,
            embedding,
            logits_at,
        };
        Ok((shared, x))
    }

    /// One decoder layer; `x` is `[b, t, hidden]`.
    pub(super) fn layer(
        &mut self,
        index: usize,
        shared: &Shared,
        x: &Value,
    ) -> Result<Value, ExportError> {
        let at = format!("model.layers.{index}");
        let (hidden, ffn) = (self.config.hidden_size, self.config.intermediate_size);

        let normed = self.norm(&format!("{at}.input_layernorm"), x, hidden)?;
        let attended = self.attention(index, shared, &normed)?;
        let attended = self.quantised(index, Fold::OutputInput, shared, &attended)?;
        let delta = self.linear(
            &format!("{at}.self_attn.o_proj"),
            &attended,
            hidden,
            self.config.q_size(),
        )?;
        let x = self.graph.op("Add", format!("{at}.self_attn.residual"), &[x, &delta]);

        let normed = self.norm(&format!("{at}.post_attention_layernorm"), &x, hidden)?;
        let input = self.quantised(index, Fold::FeedForwardInput, shared, &normed)?;
        let gate = self.linear(&format!("{at}.mlp.gate_proj"), &input, ffn, hidden)?;
        let up = self.linear(&format!("{at}.mlp.up_proj"), &input, ffn, hidden)?;
        let sigmoid = self.graph.op("Sigmoid", format!("{at}.mlp.sigmoid"), &[&gate]);
        let silu = self.graph.op("Mul", format!("{at}.mlp.silu"), &[&gate, &sigmoid]);
        let gated = self.graph.op("Mul", format!("{at}.mlp.gated"), &[&silu, &up]);
        let gated = self.quantised(index, Fold::DownInput, shared, &gated)?;
        let delta = self.linear(&format!("{at}.mlp.down_proj"), &gated, hidden, ffn)?;
        Ok(self.graph.op("Add", format!("{at}.mlp.residual"), &[&x, &delta]))
    }

    /// Final norm and output head, for the wanted tokens only.
    pub(super) fn finish(&mut self, shared: &Shared, x: &Value) -> Result<(), ExportError> {
        let (hidden, vocab) = (self.config.hidden_size, self.config.vocab_size);
        // GatherElements takes i32 where GatherND wants i64, which older parsers narrow.
        let axes = self.graph.integers(&[2])?;
        let at = self.graph.op("Unsqueeze", "logits_at_column", &[&shared.logits_at, &axes]);
        let ones = self.graph.int32s("hidden_ones", &[1, 1, hidden], &vec![1; hidden])?;
        let at = self.graph.op("Mul", "logits_at_elements", &[&at, &ones]);
        let attribute = vec![int("axis", 1)];
        let x = self.graph.op_with("GatherElements", "wanted", &[x, &at], attribute);
        let x = self.norm("model.norm", &x, hidden)?;

        let head = if self.config.tie_word_embeddings {
            shared.embedding.clone()
        } else {
            let name = "lm_head.weight";
            let stored = self.tensors.matrix(name, [vocab, hidden], self.config)?;
            float_table(self.graph, name, &stored, self.options.float)?
        };
        let head = self.graph.op_with("Transpose", "head", &[&head], vec![ints("perm", &[1, 0])]);
        match self.options.float {
            FloatType::F32 => {
                self.graph.op("MatMul", graph::LOGITS, &[&x, &head]);
            }
            FloatType::F16 => {
                let x = self.narrowed("wanted_f16", x);
                let logits = self.graph.op("MatMul", "logits_f16", &[&x, &head]);
                self.widened(graph::LOGITS, logits);
            }
        }
        let dims = [Dim::Named("batch"), Dim::Named("rows"), Dim::Fixed(vocab)];
        self.graph.output(graph::LOGITS, DataType::Float, &dims);
        let cache = self.cache_dims(Dim::Named("tokens"));
        for layer in 0..self.config.n_layers {
            for name in [graph::new_key(layer), graph::new_value(layer)] {
                self.graph.output(&name, self.options.float.data_type(), &cache);
            }
        }
        Ok(())
    }

    fn cache_dims(&self, tokens: Dim) -> [Dim; 4] {
        let (heads, width) = (self.config.n_kv_heads, self.config.head_dim);
        [Dim::Named("batch"), Dim::Fixed(heads), tokens, Dim::Fixed(width)]
    }

    /// Cosine and sine of each new token, `[b, t, 1, d / 2]`, from a table of all positions. The
    /// angle is rounded to f32 before its cosine is taken in f64, as the CPU engine does; computed
    /// on a GPU, the cosine of an angle of thousands would be as good as its library.
    fn rotations(&mut self, positions: &Value) -> Result<(Value, Value), ExportError> {
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
    fn past_bias(&mut self, past_lengths: &Value) -> Result<Value, ExportError> {
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
    fn new_bias(&mut self, positions: &Value) -> Result<Value, ExportError> {
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
    fn attention(
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

    /// `x / rms(x) * weight` over the last dimension.
    fn norm(&mut self, at: &str, x: &Value, width: usize) -> Result<Value, ExportError> {
        self.scaled_norm(at, x, width, 1.0)
    }

    fn scaled_norm(
        &mut self,
        at: &str,
        x: &Value,
        width: usize,
        scale: f32,
    ) -> Result<Value, ExportError> {
        let name = format!("{at}.weight");
        let weight: Vec<f32> =
            self.tensors.vector(&name, width)?.iter().map(|weight| weight * scale).collect();
        let weight = self.graph.floats(name, &[width], &weight)?;
        let eps = self.graph.scalar("rms_norm_eps", self.config.rms_norm_eps)?;
        let squares = self.graph.op("Mul", format!("{at}.squares"), &[x, x]);
        let attributes = vec![ints("axes", &[-1]), int("keepdims", 1)];
        let mean = self.graph.op_with("ReduceMean", format!("{at}.mean"), &[&squares], attributes);
        let mean = self.graph.op("Add", format!("{at}.mean_eps"), &[&mean, &eps]);
        let rms = self.graph.op("Sqrt", format!("{at}.rms"), &[&mean]);
        let factor = self.graph.op("Reciprocal", format!("{at}.factor"), &[&rms]);
        let normed = self.graph.op("Mul", format!("{at}.unit"), &[x, &factor]);
        Ok(self.graph.op("Mul", at, &[&normed, &weight]))
    }

    /// What linear layers read: `x` quantised with its static scale and back.
    fn quantised(
        &mut self,
        layer: usize,
        fold: Fold,
        shared: &Shared,
        x: &Value,
    ) -> Result<Value, ExportError> {
        let at = format!("model.layers.{layer}.{}.input", fold.readers()[0]);
        let scale = self.scales.layer(layer)[fold as usize];
        let scale = self.graph.floats(format!("{at}_scale"), &[], &[scale])?;
        let zero_point = &shared.zero_point;
        let quantised =
            self.graph.op("QuantizeLinear", format!("{at}_int8"), &[x, &scale, zero_point]);
        let inputs = [&quantised, &scale, zero_point];
        Ok(self.graph.op("DequantizeLinear", at, &inputs))
    }

    /// A linear layer without bias, `[b, t, inputs]` to `[b, t, outputs]`.
    fn linear(
        &mut self,
        at: &str,
        x: &Value,
        outputs: usize,
        inputs: usize,
    ) -> Result<Value, ExportError> {
        let name = format!("{at}.weight");
        let stored = self.tensors.matrix(&name, [outputs, inputs], self.config)?;
        let Int8Matrix { values, scales } = int8(&stored)?;
        let scale = self.graph.floats(format!("{name}_scale"), &[outputs], &scales)?;
        let zero_point = self.graph.zero_points(outputs)?;
        let axis = || vec![int("axis", OUTPUT_AXIS)];
        let quantised = match self.options.weights {
            WeightForm::Int8 => {
                let bytes: Vec<u8> =
                    transposed(&values, outputs, inputs).iter().map(|v| *v as u8).collect();
                self.graph.constant(name.clone(), &[inputs, outputs], DataType::Int8, bytes)?
            }
            WeightForm::Float => {
                drop(values);
                let values = transposed(&floats(&stored)?, outputs, inputs);
                let weight = self.graph.floats(name.clone(), &[inputs, outputs], &values)?;
                let (op, inputs) = ("QuantizeLinear", [&weight, &scale, &zero_point]);
                self.graph.op_with(op, format!("{name}_int8"), &inputs, axis())
            }
        };
        let inputs = [&quantised, &scale, &zero_point];
        let weight = self.graph.op_with("DequantizeLinear", format!("{name}_f32"), &inputs, axis());
        Ok(self.graph.op("MatMul", at, &[x, &weight]))
    }

    fn reshape(&mut self, name: &str, x: &Value, shape: &[i64]) -> Result<Value, ExportError> {
        let shape = self.graph.integers(shape)?;
        Ok(self.graph.op("Reshape", name, &[x, &shape]))
    }

    fn transpose(&mut self, name: &str, x: &Value, perm: &[i64]) -> Value {
        self.graph.op_with("Transpose", name, &[x], vec![ints("perm", perm)])
    }

    /// Columns `start..end` of the last of four dimensions.
    fn columns(
        &mut self,
        name: &str,
        x: &Value,
        start: i64,
        end: i64,
    ) -> Result<Value, ExportError> {
        let starts = self.graph.integers(&[start])?;
        let ends = self.graph.integers(&[end])?;
        let axes = self.graph.integers(&[3])?;
        Ok(self.graph.op("Slice", name, &[x, &starts, &ends, &axes]))
    }

    /// From the float type of the export to f32.
    fn widened(&mut self, name: &str, x: Value) -> Value {
        self.cast(name, x, DataType::Float)
    }

    /// From f32 to the float type of the export.
    fn narrowed(&mut self, name: &str, x: Value) -> Value {
        self.cast(name, x, self.options.float.data_type())
    }

    /// Nothing where the export is all f32.
    fn cast(&mut self, name: &str, x: Value, kind: DataType) -> Value {
        match self.options.float {
            FloatType::F32 => x,
            FloatType::F16 => self.graph.op_with("Cast", name, &[&x], vec![int("to", kind as i64)]),
        }
    }
}
