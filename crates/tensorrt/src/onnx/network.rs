//! The forward pass of HunYuanDenseV1 as operators, in reading order.
//!
//! It is the network of `hymt_llm`'s CPU engine with static activation scales, which is the oracle
//! that the tests hold the graph against. Shapes below: `b` batch, `t` new tokens of each row, `c`
//! the fixed length of the cache, `r` rows of logits, `h` query heads, `n` key/value heads, `d` the
//! width of a head.
//!
//! The order inside attention is this family's trap: queries and keys are normalised AFTER the
//! rotation. Reference: `modeling_hunyuan_v1_dense.py` of Hugging Face transformers.

mod attention;
mod parts;

use hymt_llm::config::ModelConfig;
use hymt_llm::quant::activation_scales::ActivationScales;
use hymt_llm::quant::smoothing::Fold;
use hymt_llm::weights::{EMBEDDING, Tensors};

use super::builder::{Dim, GraphBuilder, Value, int, ints};
use super::export::{ExportError, ExportOptions, FloatType};
use super::proto::DataType;
use super::weights::float_table;
use crate::graph;

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
}
