//! Any bytes as `config.json`: an error, or a configuration that is safe to compute with.
#![no_main]

use hymt_llm::config::{ModelConfig, WIDTH_MAX};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Ok(config) = ModelConfig::from_json(data) {
        assert!(config.n_heads.is_multiple_of(config.n_kv_heads));
        assert!(config.head_dim.is_multiple_of(2));
        assert!((1..=WIDTH_MAX).contains(&config.q_size()));
        assert!(config.rope.base(config.head_dim).is_finite());
    }
});
