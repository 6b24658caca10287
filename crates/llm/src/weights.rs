//! Memory-mapped model weights.
//!
//! One of the files with `unsafe`: mapping a file is unsafe because another process may cut it
//! short while it is mapped.
#![allow(unsafe_code)]

mod network;

use std::collections::HashMap;
use std::fs::File;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ::safetensors::Dtype;
use half::{bf16, f16};
use memmap2::{Mmap, UncheckedAdvice};

use crate::config::{CONFIG_BYTES_MAX, ModelConfig};
use crate::error::LoadError;
use crate::format::safetensors::{TensorEntry, parse_header};
use crate::format::shard_index::{INDEX_BYTES_MAX, shard_names};

pub use network::{EMBEDDING, Embedding};

/// Where a model comes from.
#[derive(Debug, Clone)]
pub enum ModelSource {
    /// A Hugging Face folder: `config.json` beside `model.safetensors`, or beside shards and
    /// `model.safetensors.index.json`.
    Dir(PathBuf),
    /// A model that is part of the program (`include_bytes!`).
    Embedded {
        /// Content of `config.json`.
        config: &'static [u8],
        /// Content of `model.safetensors`.
        weights: &'static [u8],
    },
}

impl ModelSource {
    /// Reads and checks the configuration.
    ///
    /// # Errors
    /// [`LoadError`] names the file and the key.
    pub fn config(&self) -> Result<ModelConfig, LoadError> {
        let (file, bytes) = match self {
            Self::Dir(dir) => {
                let path = dir.join("config.json");
                (path.display().to_string(), read_bounded(&path, CONFIG_BYTES_MAX)?)
            }
            Self::Embedded { config, .. } => ("embedded config.json".to_owned(), config.to_vec()),
        };
        ModelConfig::from_json(&bytes).map_err(|source| LoadError::Config { file, source })
    }

    /// Maps the weight files and reads their headers; no tensor is read yet.
    ///
    /// # Errors
    /// [`LoadError`] when a file is missing or damaged.
    pub fn tensors(&self) -> Result<Tensors, LoadError> {
        let files = match self {
            Self::Dir(dir) => map_dir(dir)?,
            Self::Embedded { weights, .. } => {
                let name = "embedded model.safetensors".to_owned();
                vec![WeightFile { name, data: Data::Embedded(weights) }]
            }
        };
        Tensors::new(files)
    }
}

/// The tensors of a model, by name.
#[derive(Debug)]
pub struct Tensors {
    /// File names for messages that concern no particular shard.
    all_files: String,
    entries: HashMap<String, (Arc<WeightFile>, TensorEntry)>,
}

impl Tensors {
    fn new(files: Vec<WeightFile>) -> Result<Self, LoadError> {
        let all_files = files.first().map(|file| file.name.clone()).unwrap_or_default();
        let mut entries = HashMap::new();
        for file in files {
            let header = parse_header(file.bytes(), &file.name)?;
            let file = Arc::new(file);
            for (name, entry) in header {
                if entries.contains_key(&name) {
                    let detail = format!("tensor '{name}' is also in another shard");
                    return Err(LoadError::Header { file: file.name.clone(), detail });
                }
                entries.insert(name, (Arc::clone(&file), entry));
            }
        }
        Ok(Self { all_files, entries })
    }

    /// Whether a tensor of this name is stored.
    pub fn contains(&self, name: &str) -> bool {
        self.entries.contains_key(name)
    }

    /// The tensor `name`, whatever its shape and type.
    ///
    /// # Errors
    /// [`LoadError::MissingTensor`].
    pub fn tensor(&self, name: &str) -> Result<Tensor, LoadError> {
        let (file, entry) = self.entries.get(name).ok_or_else(|| LoadError::MissingTensor {
            file: self.all_files.clone(),
            tensor: name.to_owned(),
        })?;
        Ok(Tensor { name: name.to_owned(), file: Arc::clone(file), entry: entry.clone() })
    }
}

/// One stored tensor. Keeps its file mapped.
#[derive(Debug, Clone)]
pub struct Tensor {
    name: String,
    file: Arc<WeightFile>,
    entry: TensorEntry,
}

impl Tensor {
    /// Name in the checkpoint.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The file that holds it.
    pub fn file(&self) -> &str {
        &self.file.name
    }

    /// Stored element type.
    pub fn dtype(&self) -> Dtype {
        self.entry.dtype
    }

    /// Stored shape.
    pub fn shape(&self) -> &[usize] {
        &self.entry.shape
    }

    /// The stored bytes, little endian.
    pub fn bytes(&self) -> &[u8] {
        &self.file.bytes()[self.entry.bytes.clone()]
    }

    /// Checks the shape.
    ///
    /// # Errors
    /// [`LoadError::WrongShape`].
    pub fn with_shape(self, expected: &[usize]) -> Result<Self, LoadError> {
        if self.shape() == expected {
            Ok(self)
        } else {
            Err(self.wrong_shape(format!("{expected:?}")))
        }
    }

    /// Checks that the elements are bf16, f16 or f32.
    ///
    /// # Errors
    /// [`LoadError::WrongDtype`].
    pub fn with_float_elements(self) -> Result<Self, LoadError> {
        match self.dtype() {
            Dtype::BF16 | Dtype::F16 | Dtype::F32 => Ok(self),
            got => Err(self.wrong_dtype("BF16, F16 or F32", got)),
        }
    }

    /// Widens elements `range` of the flattened tensor to f32. The elements must be floats, which
    /// [`Self::with_float_elements`] has checked.
    pub fn widen(&self, range: Range<usize>, out: &mut [f32]) {
        debug_assert_eq!(range.len(), out.len());
        let width = self.dtype().bitsize() / 8;
        let bytes = &self.bytes()[range.start * width..range.end * width];
        match self.dtype() {
            Dtype::F32 => {
                for (x, b) in out.iter_mut().zip(bytes.as_chunks().0) {
                    *x = f32::from_le_bytes(*b);
                }
            }
            Dtype::BF16 => {
                for (x, b) in out.iter_mut().zip(bytes.as_chunks().0) {
                    *x = bf16::from_le_bytes(*b).to_f32();
                }
            }
            Dtype::F16 => {
                for (x, b) in out.iter_mut().zip(bytes.as_chunks().0) {
                    *x = f16::from_le_bytes(*b).to_f32();
                }
            }
            _ => unreachable!("with_float_elements admits only these types"),
        }
    }

    /// All elements widened to f32.
    ///
    /// # Errors
    /// [`LoadError::WrongDtype`] when they are not floats.
    pub fn to_f32(self) -> Result<Vec<f32>, LoadError> {
        let tensor = self.with_float_elements()?;
        let n = tensor.shape().iter().product();
        let mut out = vec![0.0; n];
        tensor.widen(0..n, &mut out);
        Ok(out)
    }

    /// Gives the memory of elements `range` back; they are read from the file again when touched.
    pub fn forget_pages(&self, range: Range<usize>) {
        let width = self.dtype().bitsize() / 8;
        let start = self.entry.bytes.start;
        self.file.forget_pages(start + range.start * width..start + range.end * width);
    }

    pub(crate) fn wrong_shape(&self, expected: String) -> LoadError {
        LoadError::WrongShape {
            file: self.file.name.clone(),
            tensor: self.name.clone(),
            expected,
            got: self.shape().to_vec(),
        }
    }

    pub(crate) fn wrong_dtype(&self, expected: &'static str, got: Dtype) -> LoadError {
        LoadError::WrongDtype {
            file: self.file.name.clone(),
            tensor: self.name.clone(),
            expected,
            got: format!("{got:?}"),
        }
    }

    /// The error for a value of row `row` that is not finite.
    pub fn not_finite(&self, row: usize, value: f32) -> LoadError {
        LoadError::NotFinite { file: self.file.name.clone(), tensor: self.name.clone(), row, value }
    }
}

/// Reads a whole file of at most `max` bytes.
///
/// # Errors
/// [`LoadError::Io`] or [`LoadError::FileTooLarge`].
pub fn read_bounded(path: &Path, max: usize) -> Result<Vec<u8>, LoadError> {
    let io = |source| LoadError::Io { path: path.to_owned(), source };
    let len = std::fs::metadata(path).map_err(io)?.len();
    if len > max as u64 {
        return Err(LoadError::FileTooLarge {
            file: path.display().to_string(),
            len,
            max: max as u64,
        });
    }
    std::fs::read(path).map_err(io)
}

#[derive(Debug)]
struct WeightFile {
    name: String,
    data: Data,
}

#[derive(Debug)]
enum Data {
    Mapped(Mmap),
    Embedded(&'static [u8]),
}

impl WeightFile {
    fn map(path: &Path) -> Result<Self, LoadError> {
        let io = |source| LoadError::Io { path: path.to_owned(), source };
        let file = File::open(path).map_err(io)?;
        // SAFETY: the mapping is read-only and private to this value. If another process cuts the
        // file short meanwhile, reading past the new end raises SIGBUS, which ends the process and
        // corrupts nothing; changed bytes are only ever used as numbers, never as offsets, lengths
        // or enum values after the header has been copied out. A model folder is installed once
        // and replaced by renaming, as every download tool does.
        let map = unsafe { Mmap::map(&file) }.map_err(io)?;
        Ok(Self { name: path.display().to_string(), data: Data::Mapped(map) })
    }

    fn bytes(&self) -> &[u8] {
        match &self.data {
            Data::Mapped(map) => map,
            Data::Embedded(bytes) => bytes,
        }
    }

    fn forget_pages(&self, range: Range<usize>) {
        const PAGE_BYTES: usize = 4096;
        let Data::Mapped(map) = &self.data else { return };
        // Only whole pages inside the range; its neighbours may be in use.
        let start = range.start.next_multiple_of(PAGE_BYTES);
        let end = range.end / PAGE_BYTES * PAGE_BYTES;
        if start >= end {
            return;
        }
        // SAFETY: DONTNEED on a read-only file mapping only drops page-table entries; the next
        // access reads the same bytes from the file again. The range lies inside the mapping.
        let advised =
            unsafe { map.unchecked_advise_range(UncheckedAdvice::DontNeed, start, end - start) };
        if let Err(error) = advised {
            tracing::debug!(%error, file = self.name, "cannot give pages back");
        }
    }
}

fn map_dir(dir: &Path) -> Result<Vec<WeightFile>, LoadError> {
    let single = dir.join("model.safetensors");
    if single.exists() {
        return Ok(vec![WeightFile::map(&single)?]);
    }
    let index = dir.join("model.safetensors.index.json");
    if !index.exists() {
        return Err(LoadError::NoWeights { dir: dir.to_owned() });
    }
    let json = read_bounded(&index, INDEX_BYTES_MAX)?;
    shard_names(&json, &index.display().to_string())?
        .iter()
        .map(|name| WeightFile::map(&dir.join(name)))
        .collect()
}
