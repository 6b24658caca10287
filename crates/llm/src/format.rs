//! File formats.

pub mod safetensors;
pub mod shard_index;
