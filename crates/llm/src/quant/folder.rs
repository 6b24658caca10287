//! The files of the folder that is written.
//!
//! All shapes are known before the first weight is read, so every shard gets its header and its
//! full length at once, and layers are written to their place as they finish. Continuing a run
//! that was cut off is then no more than opening the same files again.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use crate::format::safetensors::{self, TensorHead};

/// Where one tensor will lie.
#[derive(Debug, Clone, PartialEq)]
struct Place {
    shard: usize,
    /// From the start of the file. Bytes.
    offset: u64,
    len: u64,
}

/// One tensor to be written.
pub(super) struct TensorPlan {
    pub(super) name: String,
    /// As safetensors spells it: `I8`, `BF16`, `F32`.
    pub(super) dtype: &'static str,
    pub(super) shape: Vec<usize>,
}

impl TensorPlan {
    fn width(&self) -> usize {
        match self.dtype {
            "I8" => 1,
            "BF16" | "F16" => 2,
            _ => 4,
        }
    }

    fn bytes(&self) -> u64 {
        (self.shape.iter().product::<usize>() * self.width()) as u64
    }

    fn head(&self) -> TensorHead<'_> {
        let Self { name, dtype, shape } = self;
        TensorHead { name, dtype, shape, bytes: self.bytes() }
    }
}

/// The shards of a folder, open for writing.
pub(super) struct Shards {
    files: Vec<(PathBuf, File)>,
    places: BTreeMap<String, Place>,
    index: Option<Value>,
}

/// A file could not be written.
pub(super) struct WriteError {
    pub(super) path: PathBuf,
    pub(super) source: std::io::Error,
}

impl Shards {
    /// Lays `tensors` out in order, in shards of at most `shard_bytes_max` of tensors (or of one
    /// larger tensor), and opens the files. What they hold already is kept.
    pub(super) fn open(
        dir: &Path,
        tensors: &[TensorPlan],
        shard_bytes_max: u64,
    ) -> Result<Self, WriteError> {
        let groups = group(tensors, shard_bytes_max);
        let (mut files, mut places) = (Vec::new(), BTreeMap::new());
        let mut weight_map = Map::new();
        for (shard, tensors) in groups.iter().enumerate() {
            let name = shard_name(shard, groups.len());
            let path = dir.join(&name);
            let (file, of_shard) = open_shard(&path, tensors)
                .map_err(|source| WriteError { path: path.clone(), source })?;
            files.push((path, file));
            for (tensor, (offset, len)) in of_shard {
                weight_map.insert(tensor.clone(), name.clone().into());
                places.insert(tensor, Place { shard, offset, len });
            }
        }
        let total: u64 = tensors.iter().map(TensorPlan::bytes).sum();
        let index = json!({"metadata": {"total_size": total}, "weight_map": weight_map});
        Ok(Self { files, places, index: (groups.len() > 1).then_some(index) })
    }

    /// The content of `model.safetensors.index.json`; one file needs none.
    pub(super) fn index(&self) -> Option<&Value> {
        self.index.as_ref()
    }

    /// Writes the `bytes` of tensor `name` that start at byte `start` of it.
    ///
    /// # Panics
    /// When there is no such tensor, or the bytes do not fit into it.
    pub(super) fn write(&mut self, name: &str, start: u64, bytes: &[u8]) -> Result<(), WriteError> {
        let place = &self.places[name];
        assert!(start + bytes.len() as u64 <= place.len, "{name}: more bytes than planned");
        let (path, file) = &mut self.files[place.shard];
        let written =
            file.seek(SeekFrom::Start(place.offset + start)).and_then(|_| file.write_all(bytes));
        written.map_err(|source| WriteError { path: path.clone(), source })
    }

    /// Waits until everything written is on the disk.
    pub(super) fn sync(&self) -> Result<(), WriteError> {
        for (path, file) in &self.files {
            file.sync_data().map_err(|source| WriteError { path: path.clone(), source })?;
        }
        Ok(())
    }
}

/// Writes a small safetensors file of f32 vectors.
pub(super) fn write_vectors(path: &Path, vectors: &[(String, Vec<f32>)]) -> std::io::Result<()> {
    let plans: Vec<_> = vectors
        .iter()
        .map(|(name, values)| TensorPlan {
            name: name.clone(),
            dtype: "F32",
            shape: vec![values.len()],
        })
        .collect();
    let mut bytes = header(&plans.iter().collect::<Vec<_>>()).0;
    for (_, values) in vectors {
        bytes.extend(values.iter().flat_map(|value| value.to_le_bytes()));
    }
    std::fs::write(path, bytes)
}

fn shard_name(shard: usize, n_shards: usize) -> String {
    match n_shards {
        1 => "model.safetensors".to_owned(),
        _ => format!("model-{:05}-of-{n_shards:05}.safetensors", shard + 1),
    }
}

fn group(tensors: &[TensorPlan], shard_bytes_max: u64) -> Vec<Vec<&TensorPlan>> {
    let mut groups: Vec<Vec<&TensorPlan>> = vec![Vec::new()];
    let mut bytes = 0;
    for tensor in tensors {
        let last = groups.last_mut().expect("there is always a group");
        if !last.is_empty() && bytes + tensor.bytes() > shard_bytes_max {
            groups.push(vec![tensor]);
            bytes = 0;
        } else {
            last.push(tensor);
        }
        bytes += tensor.bytes();
    }
    // Widest first, as the safetensors library itself orders them, so that all stay aligned.
    for group in &mut groups {
        group.sort_by_key(|tensor| std::cmp::Reverse(tensor.width()));
    }
    groups
}

type Offsets = Vec<(String, (u64, u64))>;

fn open_shard(path: &Path, tensors: &[&TensorPlan]) -> std::io::Result<(File, Offsets)> {
    let (header, offsets) = header(tensors);
    let len = header.len() as u64 + tensors.iter().map(|tensor| tensor.bytes()).sum::<u64>();
    let mut file = OpenOptions::new().create(true).truncate(false).write(true).open(path)?;
    file.set_len(len)?;
    file.write_all(&header)?;
    Ok((file, offsets))
}

/// The header of a shard; and where each tensor starts in the file, with its length.
fn header(tensors: &[&TensorPlan]) -> (Vec<u8>, Offsets) {
    let bytes = safetensors::header(tensors.iter().map(|tensor| tensor.head()));
    let (mut at, mut offsets) = (bytes.len() as u64, Vec::new());
    for tensor in tensors {
        offsets.push((tensor.name.clone(), (at, tensor.bytes())));
        at += tensor.bytes();
    }
    (bytes, offsets)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::safetensors::parse_header;

    fn plan(name: &str, dtype: &'static str, shape: &[usize]) -> TensorPlan {
        TensorPlan { name: name.to_owned(), dtype, shape: shape.to_vec() }
    }

    #[test]
    fn shards_hold_what_was_written_and_keep_it_when_opened_again() {
        let dir = tempfile::tempdir().unwrap();
        let plans = [plan("a", "I8", &[3, 2]), plan("b", "F32", &[2]), plan("c", "BF16", &[2, 2])];
        for (name, start, bytes) in
            [("a", 0, &[1, 2, 3][..]), ("a", 3, &[4, 5, 6]), ("c", 0, &[7; 8])]
        {
            let mut shards = Shards::open(dir.path(), &plans, 14).ok().unwrap();
            shards.write(name, start, bytes).ok().unwrap();
            shards.sync().ok().unwrap();
            assert_eq!(
                shards.index().unwrap()["weight_map"]["c"],
                "model-00002-of-00002.safetensors"
            );
        }
        let first = std::fs::read(dir.path().join("model-00001-of-00002.safetensors")).unwrap();
        let entries = parse_header(&first, "first").unwrap();
        assert_eq!(first[entries["a"].bytes.clone()], [1, 2, 3, 4, 5, 6]);
        assert_eq!(entries["b"].shape, [2]);
        let second = std::fs::read(dir.path().join("model-00002-of-00002.safetensors")).unwrap();
        assert_eq!(second[parse_header(&second, "second").unwrap()["c"].bytes.clone()], [7; 8]);
    }
}
