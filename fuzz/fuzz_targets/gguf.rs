//! Any bytes as a GGUF file: an error, or sound ranges; configuration and tokenizer of what parses
//! are errors or usable, never a panic.
#![no_main]

use hymt_llm::config::ModelConfig;
use hymt_llm::format::gguf::{Gguf, HEADER_BYTES_MAX, TensorKind};
use hymt_llm::tokenizer::Tokenizer;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    assert!(data.len() <= HEADER_BYTES_MAX);
    let Ok(gguf) = Gguf::parse(data, data.len() as u64) else { return };
    let mut last_end = 0;
    let mut tensors: Vec<_> = gguf.tensors.iter().collect();
    tensors.sort_by_key(|tensor| tensor.bytes.start);
    for tensor in tensors.iter().filter(|tensor| !tensor.bytes.is_empty()) {
        assert!(data.get(tensor.bytes.clone()).is_some());
        assert!(tensor.bytes.start >= last_end, "tensors overlap");
        last_end = tensor.bytes.end;
        let n_elements: usize = tensor.shape.iter().product();
        match tensor.kind {
            TensorKind::Plain(dtype) => {
                assert_eq!(tensor.bytes.len() * 8, n_elements * dtype.bitsize());
            }
            TensorKind::Block(block) => assert_eq!(tensor.bytes.len(), block.bytes(n_elements)),
            TensorKind::Other(_) => unreachable!("has no bytes"),
        }
    }
    if let Ok(config) = ModelConfig::from_gguf(&gguf) {
        assert!(config.n_heads.is_multiple_of(config.n_kv_heads));
        assert!(config.head_dim.is_multiple_of(2));
        assert!(config.rope.base(config.head_dim).is_finite());
    }
    if let Ok(tokenizer) = Tokenizer::from_gguf(&gguf, "fuzz")
        && let Ok(ids) = tokenizer.encode("Hallo 你好 <|eos|> 123\n")
    {
        assert!(ids.iter().all(|id| !tokenizer.is_special(*id)), "text became a special token");
        tokenizer.decode(&ids);
    }
});
