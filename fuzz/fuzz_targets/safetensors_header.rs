//! Any bytes as a safetensors file, and as a shard index: an error or sound ranges, never a panic.
#![no_main]

use hymt_llm::format::safetensors::parse_header;
use hymt_llm::format::shard_index::shard_names;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Ok(entries) = parse_header(data, "fuzz") {
        for entry in entries.values() {
            let elements: usize = entry.shape.iter().product();
            assert_eq!(entry.bytes.len() * 8, elements * entry.dtype.bitsize());
            assert!(data.get(entry.bytes.clone()).is_some());
        }
    }
    if let Ok(names) = shard_names(data, "fuzz") {
        assert!(names.iter().all(|name| !name.contains('/') && name != ".."));
    }
});
