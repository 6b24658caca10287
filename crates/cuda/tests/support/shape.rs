//! Shapes of models that no file holds.

use hymt_llm::config::ModelConfig;

/// Of width, feed-forward width, layers, heads, key heads, head width, vocabulary.
pub(crate) fn config(
    [hidden, ffn, layers, heads, kv_heads, head_dim, vocab]: [usize; 7],
) -> ModelConfig {
    let json = format!(
        r#"{{"model_type": "hunyuan_v1_dense", "hidden_act": "silu", "hidden_size": {hidden},
        "intermediate_size": {ffn}, "num_hidden_layers": {layers}, "num_attention_heads": {heads},
        "num_key_value_heads": {kv_heads}, "head_dim": {head_dim}, "vocab_size": {vocab},
        "max_position_embeddings": 262144, "rms_norm_eps": 1e-5, "rope_theta": 10000.0,
        "use_qk_norm": true}}"#
    );
    ModelConfig::from_json(json.as_bytes()).unwrap()
}
