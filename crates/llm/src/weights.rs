//! Memory-mapped model weights.
//!
//! One of the files with `unsafe`: mapping a file is unsafe because another process may cut it
//! short while it is mapped.
#![allow(unsafe_code)]

mod gguf;
mod matrix;
mod network;
mod source;

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use ::safetensors::Dtype;
use half::{bf16, f16};
use memmap2::{Mmap, UncheckedAdvice};

use crate::error::LoadError;
use crate::format::block::BlockType;
use crate::format::gguf::{KINDS_READ, TensorKind};
use crate::format::safetensors::parse_header;

pub use gguf::GgufHeader;
pub use matrix::StoredMatrix;
pub use network::{EMBEDDING, Embedding};
pub use source::{Container, ModelSource};

/// What the elements of a tensor are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Elements {
    /// One after the other.
    Plain(Dtype),
    /// In blocks with their scales.
    Block(BlockType),
    /// A `ggml_type` that is not read.
    Unread(u32),
}

impl PartialEq<Dtype> for Elements {
    fn eq(&self, dtype: &Dtype) -> bool {
        *self == Self::Plain(*dtype)
    }
}

impl std::fmt::Display for Elements {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let kind = match *self {
            Self::Plain(dtype) => TensorKind::Plain(dtype),
            Self::Block(block) => TensorKind::Block(block),
            Self::Unread(number) => TensorKind::Other(number),
        };
        formatter.write_str(&kind.name())
    }
}

/// The tensors of a model, by name.
#[derive(Debug)]
pub struct Tensors {
    /// File names for messages that concern no particular shard.
    all_files: String,
    entries: HashMap<String, StoredTensor>,
    /// Names in messages are those of GGUF.
    is_gguf: bool,
}

#[derive(Debug, Clone)]
struct StoredTensor {
    /// Name in its file.
    name: String,
    file: Arc<WeightFile>,
    elements: Elements,
    shape: Vec<usize>,
    bytes: Range<usize>,
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
                let elements = Elements::Plain(entry.dtype);
                let (shape, bytes, file) = (entry.shape, entry.bytes, Arc::clone(&file));
                let stored = StoredTensor { name: name.clone(), file, elements, shape, bytes };
                entries.insert(name, stored);
            }
        }
        Ok(Self { all_files, entries, is_gguf: false })
    }

    /// The tensors of one safetensors file.
    ///
    /// # Errors
    /// [`LoadError`] when it is missing or damaged.
    pub fn from_safetensors(path: &Path) -> Result<Self, LoadError> {
        Self::new(vec![WeightFile::map(path)?])
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
        self.entries.get(name).cloned().map(Tensor).ok_or_else(|| {
            let gguf_name = self.is_gguf.then(|| gguf::gguf_name(name)).flatten();
            let tensor = gguf_name.unwrap_or_else(|| name.to_owned());
            LoadError::MissingTensor { file: self.all_files.clone(), tensor }
        })
    }

    /// How many tensors there are of each element type, by its name.
    pub fn element_types(&self) -> BTreeMap<String, usize> {
        let mut counts = BTreeMap::new();
        for entry in self.entries.values() {
            *counts.entry(entry.elements.to_string()).or_default() += 1;
        }
        counts
    }
}

/// One stored tensor. Keeps its file mapped.
#[derive(Debug, Clone)]
pub struct Tensor(StoredTensor);

impl Tensor {
    /// Name in the checkpoint.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// The file that holds it.
    pub fn file(&self) -> &str {
        &self.0.file.name
    }

    /// Stored element type.
    pub fn dtype(&self) -> Elements {
        self.0.elements
    }

    /// Stored shape.
    pub fn shape(&self) -> &[usize] {
        &self.0.shape
    }

    /// The stored bytes, little endian.
    pub fn bytes(&self) -> &[u8] {
        &self.0.file.bytes()[self.0.bytes.clone()]
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
            Elements::Plain(Dtype::BF16 | Dtype::F16 | Dtype::F32) => Ok(self),
            _ => Err(self.wrong_dtype("BF16, F16 or F32".to_owned())),
        }
    }

    /// Checks that the elements are such that a matrix may be made of.
    fn with_readable_elements(self) -> Result<Self, LoadError> {
        match self.dtype() {
            Elements::Unread(_) => Err(self.wrong_dtype(KINDS_READ.to_owned())),
            Elements::Plain(Dtype::BF16 | Dtype::F16 | Dtype::F32 | Dtype::I8 | Dtype::F8_E4M3)
            | Elements::Block(_) => Ok(self),
            Elements::Plain(_) => Err(self.wrong_dtype("BF16, F16, F32, I8 or F8_E4M3".to_owned())),
        }
    }

    /// Checks the element type.
    fn with_elements(self, wanted: Dtype, name: &str) -> Result<Self, LoadError> {
        if self.dtype() == wanted { Ok(self) } else { Err(self.wrong_dtype(name.to_owned())) }
    }

    /// All elements of a small tensor of I32 or I64.
    fn integers(&self) -> Result<Vec<i64>, LoadError> {
        match self.dtype() {
            Elements::Plain(Dtype::I32) => {
                let words = self.bytes().as_chunks::<4>().0;
                Ok(words.iter().map(|word| i64::from(i32::from_le_bytes(*word))).collect())
            }
            Elements::Plain(Dtype::I64) => {
                let words = self.bytes().as_chunks::<8>().0;
                Ok(words.iter().map(|word| i64::from_le_bytes(*word)).collect())
            }
            _ => Err(self.wrong_dtype("I32 or I64".to_owned())),
        }
    }

    /// Widens elements `range` of the flattened tensor to f32. The elements must be floats, which
    /// [`Self::with_float_elements`] has checked.
    pub fn widen(&self, range: Range<usize>, out: &mut [f32]) {
        debug_assert_eq!(range.len(), out.len());
        let Elements::Plain(dtype) = self.dtype() else {
            unreachable!("with_float_elements admits only plain elements")
        };
        let width = dtype.bitsize() / 8;
        let bytes = &self.bytes()[range.start * width..range.end * width];
        match dtype {
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

    /// Gives the memory of bytes `range` back; they are read from the file again when touched.
    pub fn forget_bytes(&self, range: Range<usize>) {
        let start = self.0.bytes.start;
        self.0.file.forget_pages(start + range.start..start + range.end);
    }

    pub(crate) fn wrong_shape(&self, expected: String) -> LoadError {
        LoadError::WrongShape {
            file: self.file().to_owned(),
            tensor: self.name().to_owned(),
            expected,
            got: self.shape().to_vec(),
        }
    }

    fn wrong_dtype(&self, expected: String) -> LoadError {
        LoadError::WrongDtype {
            file: self.file().to_owned(),
            tensor: self.name().to_owned(),
            expected,
            got: self.dtype().to_string(),
        }
    }

    fn refuse(&self, detail: String) -> LoadError {
        LoadError::BadTensor {
            file: self.file().to_owned(),
            tensor: self.name().to_owned(),
            detail,
        }
    }

    /// The error for a value of row `row` that is not finite.
    pub fn not_finite(&self, row: usize, value: f32) -> LoadError {
        let (file, tensor) = (self.file().to_owned(), self.name().to_owned());
        LoadError::NotFinite { file, tensor, row, value }
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
    fn embedded(bytes: &'static [u8]) -> Self {
        Self { name: "embedded model.safetensors".to_owned(), data: Data::Embedded(bytes) }
    }

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
