//! `model.safetensors.index.json`: which shard holds which tensor.

use std::collections::{BTreeSet, HashMap};
use std::path::{Component, Path};

use serde::Deserialize;

use crate::error::LoadError;

/// Most bytes of an index file.
pub const INDEX_BYTES_MAX: usize = 16 << 20;
/// Most shards of one model.
pub const SHARDS_MAX: usize = 1024;

#[derive(Deserialize)]
struct Index {
    weight_map: HashMap<String, String>,
}

/// The distinct shard file names of an index, sorted.
///
/// # Errors
/// [`LoadError::Index`] when it is not such a file, names no shard, more than [`SHARDS_MAX`], or
/// one that is not a plain file name: a checkpoint must not reach outside its own folder.
pub fn shard_names(json: &[u8], file: &str) -> Result<Vec<String>, LoadError> {
    let bad = |detail: String| LoadError::Index { file: file.to_owned(), detail };
    if json.len() > INDEX_BYTES_MAX {
        return Err(bad(format!("{} bytes; at most {INDEX_BYTES_MAX}", json.len())));
    }
    let index: Index = serde_json::from_slice(json).map_err(|error| bad(error.to_string()))?;
    for (tensor, shard) in &index.weight_map {
        if !is_plain_file_name(shard) {
            return Err(bad(format!(
                "tensor '{tensor}' lies in '{shard}', which is not a file name in this folder"
            )));
        }
    }
    let names: BTreeSet<String> = index.weight_map.into_values().collect();
    if names.is_empty() || names.len() > SHARDS_MAX {
        return Err(bad(format!("{} shards; allowed: 1 to {SHARDS_MAX}", names.len())));
    }
    Ok(names.into_iter().collect())
}

fn is_plain_file_name(name: &str) -> bool {
    let mut parts = Path::new(name).components();
    let plain = matches!(parts.next(), Some(Component::Normal(part)) if part == name);
    plain && parts.next().is_none() && !name.contains(['\\', '\0'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_distinct_and_sorted() {
        let json = br#"{"weight_map":{"a":"m-2","b":"m-1","c":"m-2"}}"#;
        assert_eq!(shard_names(json, "i").unwrap(), ["m-1", "m-2"]);
    }

    #[test]
    fn paths_are_refused() {
        for shard in ["../m", "/etc/passwd", "a/b", "..", ".", "", "a\\\\b", "a/", "./a"] {
            let json = format!(r#"{{"weight_map":{{"t":"{shard}"}}}}"#);
            let error = shard_names(json.as_bytes(), "index").unwrap_err().to_string();
            assert!(error.contains("not a file name"), "{shard}: {error}");
        }
    }

    #[test]
    fn damaged_indexes_are_refused() {
        for json in ["", "[]", "{}", r#"{"weight_map":{}}"#, r#"{"weight_map":{"a":3}}"#] {
            assert!(shard_names(json.as_bytes(), "index").is_err(), "{json}");
        }
    }
}
