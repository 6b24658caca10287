//! What a quantised folder holds: its tensors, and how its configuration announces them.

use super::error::QuantizeError;
use super::folder::TensorPlan;
use crate::config::ModelConfig;
use crate::engine::cpu::matrix::Matrix;
use crate::engine::cpu::weights::Layer;
use crate::weights::{EMBEDDING, Elements, Tensor, Tensors};

/// The linear layers of a layer, by their names in it.
pub(super) fn matrices(layer: &Layer) -> [(&'static str, &Matrix); 7] {
    [
        ("self_attn.q_proj", &layer.q),
        ("self_attn.k_proj", &layer.k),
        ("self_attn.v_proj", &layer.v),
        ("self_attn.o_proj", &layer.o),
        ("mlp.gate_proj", &layer.gate),
        ("mlp.up_proj", &layer.up),
        ("mlp.down_proj", &layer.down),
    ]
}

pub(super) fn weight_name(layer: usize, part: &str) -> String {
    format!("model.layers.{layer}.{part}.weight")
}

/// What stays a float, with the name safetensors has for its type.
pub(super) fn float_tensors(
    tensors: &Tensors,
    config: &ModelConfig,
) -> Result<Vec<(Tensor, &'static str)>, QuantizeError> {
    let table = [config.vocab_size, config.hidden_size];
    let mut wanted = vec![(EMBEDDING, table.to_vec())];
    // Tencent stores a copy of the embedding as the head; tied models are written without it.
    if !config.tie_word_embeddings {
        wanted.push(("lm_head.weight", table.to_vec()));
    }
    wanted.push(("model.norm.weight", vec![config.hidden_size]));
    let mut found = Vec::new();
    for (name, shape) in wanted {
        let tensor = tensors.tensor(name)?.with_shape(&shape)?.with_float_elements()?;
        let dtype = match tensor.dtype() {
            Elements::Plain(::safetensors::Dtype::BF16) => "BF16",
            Elements::Plain(::safetensors::Dtype::F16) => "F16",
            _ => "F32",
        };
        found.push((tensor, dtype));
    }
    Ok(found)
}

/// Every tensor of the result, in the order of the network.
pub(super) fn plan(
    tensors: &Tensors,
    config: &ModelConfig,
) -> Result<Vec<TensorPlan>, QuantizeError> {
    let (hidden, ffn, q, kv) =
        (config.hidden_size, config.intermediate_size, config.q_size(), config.kv_size());
    let mut plan: Vec<_> = float_tensors(tensors, config)?
        .into_iter()
        .map(|(tensor, dtype)| TensorPlan {
            name: tensor.name().to_owned(),
            dtype,
            shape: tensor.shape().to_vec(),
        })
        .collect();
    for layer in 0..config.n_layers {
        for (part, rows, cols) in [
            ("self_attn.q_proj", q, hidden),
            ("self_attn.k_proj", kv, hidden),
            ("self_attn.v_proj", kv, hidden),
            ("self_attn.o_proj", hidden, q),
            ("mlp.gate_proj", ffn, hidden),
            ("mlp.up_proj", ffn, hidden),
            ("mlp.down_proj", hidden, ffn),
        ] {
            let name = weight_name(layer, part);
            let scale = format!("{name}_scale");
            plan.push(TensorPlan { name: scale, dtype: "F32", shape: vec![rows, 1] });
            plan.push(TensorPlan { name, dtype: "I8", shape: vec![rows, cols] });
        }
        for (part, width) in [
            ("input_layernorm", hidden),
            ("self_attn.query_layernorm", config.head_dim),
            ("self_attn.key_layernorm", config.head_dim),
            ("post_attention_layernorm", hidden),
        ] {
            // In f32 whatever the source has: a folded norm is not a bf16 number any more.
            let name = weight_name(layer, part);
            plan.push(TensorPlan { name, dtype: "F32", shape: vec![width] });
        }
    }
    Ok(plan)
}
