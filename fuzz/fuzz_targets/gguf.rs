//! Any bytes as the header of a GGUF file: an error, or sound ranges, and a configuration that is safe
//! to compute with.
#![no_main]

use hymt_llm::config::ModelConfig;
use hymt_llm::format::gguf::{Gguf, HEADER_BYTES_MAX, TensorKind};
use libfuzzer_sys::fuzz_target;

/// Length of a file that begins with the header, so that seeds need no tensor data.
const FILE_LEN: u64 = 1 << 40;

fuzz_target!(|data: &[u8]| {
    assert!(data.len() <= HEADER_BYTES_MAX);
    check(data, data.len() as u64);
    check(data, FILE_LEN);
});

fn check(data: &[u8], file_len: u64) {
    let Ok(gguf) = Gguf::parse(data, file_len) else { return };
    let mut last_end = 0;
    let mut tensors: Vec<_> = gguf.tensors.iter().collect();
    tensors.sort_by_key(|tensor| tensor.bytes.start);
    for tensor in tensors.iter().filter(|tensor| !tensor.bytes.is_empty()) {
        assert!(tensor.bytes.end as u64 <= file_len);
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
}
