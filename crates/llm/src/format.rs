//! File formats.

pub mod block;
pub mod float8;
pub mod folder;
pub mod gguf;
pub mod safetensors;
pub mod shard_index;
