//! The header of a GGUF file: metadata and where each tensor lies.
//!
//! Our own reader, after a look at four on crates.io in November 2026. `ggus` 0.5 unwraps the size of
//! a length near 2^63, `gguf-rs` 0.1 reaches an `unreachable!` for type 40 (which HY-MT's 1.25-bit
//! files have) and takes BF16 for blocks of 256, and neither it nor `gguf` 0.1 holds tensors against
//! the file. `gguf-rs-lib` 0.3 has budgets, but refuses a whole file for one type it does not know,
//! without naming the tensor, and makes a value of every token and merge. This one borrows
//! everything from the bytes it is given: what it allocates is one entry for each key and tensor
//! that is really there, and every count, length, offset and product is checked against the file.
//!
//! Source: `docs/gguf.md` of ggml-org/ggml, versions 2 and 3, little endian.

mod value;

use std::collections::HashMap;
use std::ops::Range;

use safetensors::Dtype;

use super::block::BlockType;
use crate::format::gguf::value::Reader;

pub use value::{Array, ScalarKind, Value};

/// Most bytes before the tensor data. The 1.8B model's tokenizer takes about 6 MB.
pub const HEADER_BYTES_MAX: usize = 64 << 20;
/// Most metadata keys.
pub const KEYS_MAX: u64 = 4096;
/// Most tensors.
pub const TENSORS_MAX: u64 = 100_000;
/// Longest key (the specification's bound). Bytes.
pub const KEY_BYTES_MAX: usize = 65_535;
/// Longest name of a tensor; ggml itself stops at 64. Bytes.
pub const NAME_BYTES_MAX: usize = 256;
/// Most dimensions of a tensor.
pub const DIMENSIONS_MAX: u32 = 4;
/// Largest alignment of tensor data. Bytes.
pub const ALIGNMENT_MAX: u64 = 1 << 20;

/// Why a header was refused.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum GgufError {
    /// The bytes end inside the header. More of the file may help.
    #[error("the header goes on after {have} bytes; was the file cut short?")]
    Cut {
        /// Bytes there were.
        have: usize,
    },
    /// Not a GGUF file, or none of a version that is read.
    #[error("{found}; GGUF versions 2 and 3, little endian, are read")]
    NotGguf {
        /// What the file begins with.
        found: String,
    },
    /// A field is out of its bounds.
    #[error("{what} is {value}; allowed: {allowed}")]
    Bound {
        /// The field.
        what: String,
        /// Its value.
        value: String,
        /// The bound.
        allowed: String,
    },
    /// A name that must be unique appears again.
    #[error("{what} '{name}' appears twice")]
    Twice {
        /// Key or tensor.
        what: &'static str,
        /// The name.
        name: String,
    },
    /// Tensor data outside the file or inside another tensor.
    #[error("tensor '{tensor}' {detail}")]
    Data {
        /// The tensor.
        tensor: String,
        /// What is wrong, with numbers.
        detail: String,
    },
}

/// A parsed header; it borrows from the bytes of the file.
#[derive(Debug)]
pub struct Gguf<'a> {
    /// 2 or 3.
    pub version: u32,
    metadata: HashMap<&'a str, Value<'a>>,
    /// In the order of the file.
    pub tensors: Vec<TensorInfo<'a>>,
}

/// Where a tensor lies and what it is made of.
#[derive(Debug, Clone, PartialEq)]
pub struct TensorInfo<'a> {
    /// Name in the file, for example `blk.0.attn_q.weight`.
    pub name: &'a str,
    /// Outermost dimension first, as everywhere in this crate; the file has the reverse.
    pub shape: Vec<usize>,
    /// Element type.
    pub kind: TensorKind,
    /// Byte range in the file; empty for types that are not read.
    pub bytes: Range<usize>,
}

/// Element type of a tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TensorKind {
    /// F32, F16 or BF16.
    Plain(Dtype),
    /// A block format that is read.
    Block(BlockType),
    /// A `ggml_type` that is not read.
    Other(u32),
}

/// What this crate reads, for messages.
pub const KINDS_READ: &str = "F32, F16, BF16, Q8_0, Q4_0, Q4_K, Q5_K, Q6_K";

impl TensorKind {
    fn of(ggml_type: u32) -> Self {
        match ggml_type {
            0 => Self::Plain(Dtype::F32),
            1 => Self::Plain(Dtype::F16),
            2 => Self::Block(BlockType::Q4_0),
            8 => Self::Block(BlockType::Q8_0),
            12 => Self::Block(BlockType::Q4_K),
            13 => Self::Block(BlockType::Q5_K),
            14 => Self::Block(BlockType::Q6_K),
            30 => Self::Plain(Dtype::BF16),
            other => Self::Other(other),
        }
    }

    /// Name for people; types that are not read by their usual name and number.
    pub fn name(self) -> String {
        match self {
            Self::Plain(dtype) => format!("{dtype:?}"),
            Self::Block(block) => block.to_string(),
            Self::Other(number) => match other_name(number) {
                Some(name) => format!("{name} (ggml type {number})"),
                None => format!("ggml type {number}"),
            },
        }
    }

    /// Elements and bytes of a block, where the type is read.
    fn block(self) -> Option<(usize, usize)> {
        match self {
            Self::Plain(dtype) => Some((1, dtype.bitsize() / 8)),
            Self::Block(block) => Some((block.block_len(), block.block_bytes())),
            Self::Other(_) => None,
        }
    }
}

fn other_name(ggml_type: u32) -> Option<&'static str> {
    const NAMES: &[(u32, &str)] = &[
        (3, "Q4_1"),
        (6, "Q5_0"),
        (7, "Q5_1"),
        (9, "Q8_1"),
        (10, "Q2_K"),
        (11, "Q3_K"),
        (15, "Q8_K"),
        (16, "IQ2_XXS"),
        (17, "IQ2_XS"),
        (18, "IQ3_XXS"),
        (19, "IQ1_S"),
        (20, "IQ4_NL"),
        (21, "IQ3_S"),
        (22, "IQ2_S"),
        (23, "IQ4_XS"),
        (24, "I8"),
        (25, "I16"),
        (26, "I32"),
        (27, "I64"),
        (28, "F64"),
        (29, "IQ1_M"),
        (34, "TQ1_0"),
        (35, "TQ2_0"),
        (39, "MXFP4"),
        // llama.cpp gave these numbers to other types after HY-MT's 1.25-bit files were made.
        (40, "NVFP4, or STQ1_0 of the 1.25-bit checkpoints"),
        (41, "Q1_0"),
        (42, "Q2_0, or STQ1_0 of early 1.25-bit checkpoints"),
    ];
    NAMES.iter().find(|(number, _)| *number == ggml_type).map(|(_, name)| *name)
}

impl<'a> Gguf<'a> {
    /// Reads the header at the start of `data`, the first bytes of a file of `file_len` bytes.
    ///
    /// # Errors
    /// [`GgufError`]; [`GgufError::Cut`] when `data` ends inside the header.
    pub fn parse(data: &'a [u8], file_len: u64) -> Result<Self, GgufError> {
        let mut reader = Reader::new(data);
        let version = version(&mut reader)?;
        let n_tensors = reader.u64()?;
        bounded("the number of tensors", n_tensors, 0, TENSORS_MAX)?;
        let n_keys = reader.u64()?;
        bounded("the number of keys", n_keys, 0, KEYS_MAX)?;
        let metadata = metadata(&mut reader, n_keys)?;
        let alignment = alignment(&metadata)?;
        // Grown as tensors are found: the count is a claim of the file.
        let mut claims = Vec::new();
        for _ in 0..n_tensors {
            claims.push(claim(&mut reader)?);
        }
        let data_start = (reader.position() as u64).next_multiple_of(alignment);
        let tensors = claims
            .into_iter()
            .map(|claim| claim.locate(data_start, alignment, file_len))
            .collect::<Result<Vec<_>, _>>()?;
        check_disjoint(&tensors)?;
        Ok(Self { version, metadata, tensors })
    }

    /// The value of a metadata key.
    pub fn get(&self, key: &str) -> Option<&Value<'a>> {
        self.metadata.get(key)
    }
}

fn version(reader: &mut Reader<'_>) -> Result<u32, GgufError> {
    let magic = reader.take(4)?;
    if magic != b"GGUF" {
        return Err(GgufError::NotGguf { found: format!("the file begins with {magic:?}") });
    }
    match reader.u32()? {
        version @ (2 | 3) => Ok(version),
        version if matches!(version.swap_bytes(), 1..=3) => {
            Err(GgufError::NotGguf { found: "the file is big endian".to_owned() })
        }
        version => Err(GgufError::NotGguf { found: format!("the file has version {version}") }),
    }
}

fn metadata<'a>(
    reader: &mut Reader<'a>,
    n_keys: u64,
) -> Result<HashMap<&'a str, Value<'a>>, GgufError> {
    let mut metadata = HashMap::new();
    for _ in 0..n_keys {
        let key = reader.text("a key", KEY_BYTES_MAX)?;
        let value = reader.value(key)?;
        if metadata.insert(key, value).is_some() {
            return Err(GgufError::Twice { what: "key", name: key.to_owned() });
        }
    }
    Ok(metadata)
}

fn alignment(metadata: &HashMap<&str, Value<'_>>) -> Result<u64, GgufError> {
    const KEY: &str = "general.alignment";
    const DEFAULT: u64 = 32;
    let Some(value) = metadata.get(KEY) else { return Ok(DEFAULT) };
    value
        .as_u64()
        .filter(|alignment| alignment.is_power_of_two() && *alignment <= ALIGNMENT_MAX)
        .ok_or_else(|| GgufError::Bound {
            what: KEY.to_owned(),
            value: value.describe(),
            allowed: format!("a power of two up to {ALIGNMENT_MAX}"),
        })
}

/// What the header says of a tensor.
struct Claim<'a> {
    name: &'a str,
    shape: Vec<usize>,
    n_elements: usize,
    kind: TensorKind,
    offset: u64,
}

fn claim<'a>(reader: &mut Reader<'a>) -> Result<Claim<'a>, GgufError> {
    let name = reader.text("the name of a tensor", NAME_BYTES_MAX)?;
    let refuse = |what: &str, value: String, allowed: String| GgufError::Bound {
        what: format!("{what} of tensor '{name}'"),
        value,
        allowed,
    };
    let n_dimensions = reader.u32()?;
    if !(1..=DIMENSIONS_MAX).contains(&n_dimensions) {
        let allowed = format!("1 to {DIMENSIONS_MAX}");
        return Err(refuse("the number of dimensions", n_dimensions.to_string(), allowed));
    }
    let mut shape = Vec::new();
    for _ in 0..n_dimensions {
        shape.push(reader.u64()?);
    }
    let kind = TensorKind::of(reader.u32()?);
    let offset = reader.u64()?;
    let n_elements = shape
        .iter()
        .try_fold(1_u64, |product, n| product.checked_mul(*n))
        .and_then(|product| usize::try_from(product).ok())
        .filter(|product| *product > 0 && *product <= isize::MAX as usize)
        .ok_or_else(|| {
            let allowed = "dimensions from 1 whose product can be addressed".to_owned();
            refuse("the shape", format!("{shape:?}"), allowed)
        })?;
    if let Some((block_len, _)) = kind.block()
        && !shape[0].is_multiple_of(block_len as u64)
    {
        let allowed = format!("a multiple of {block_len} for {}", kind.name());
        return Err(refuse("the row length", shape[0].to_string(), allowed));
    }
    // The product fits, and no dimension is zero, so each of them does.
    let shape = shape.iter().rev().map(|n| *n as usize).collect();
    Ok(Claim { name, shape, n_elements, kind, offset })
}

impl<'a> Claim<'a> {
    fn locate(
        self,
        data_start: u64,
        alignment: u64,
        file_len: u64,
    ) -> Result<TensorInfo<'a>, GgufError> {
        let (name, offset) = (self.name, self.offset);
        let bad = |detail| GgufError::Data { tensor: name.to_owned(), detail };
        if !offset.is_multiple_of(alignment) {
            return Err(bad(format!("lies at offset {offset}, no multiple of {alignment}")));
        }
        let bytes = match self.kind.block() {
            None => 0..0,
            Some((block_len, block_bytes)) => {
                let range = data_start.checked_add(offset).and_then(|start| {
                    let len = (self.n_elements / block_len).checked_mul(block_bytes)?;
                    let end = start.checked_add(len as u64).filter(|end| *end <= file_len)?;
                    Some(usize::try_from(start).ok()?..usize::try_from(end).ok()?)
                });
                range.ok_or_else(|| {
                    bad(format!(
                        "of {} elements of {} at offset {offset} ends after the {file_len} bytes \
                         of the file; was it cut short?",
                        self.n_elements,
                        self.kind.name()
                    ))
                })?
            }
        };
        Ok(TensorInfo { name, shape: self.shape, kind: self.kind, bytes })
    }
}

/// No two tensors share a name or a byte.
fn check_disjoint(tensors: &[TensorInfo<'_>]) -> Result<(), GgufError> {
    let mut by_place: Vec<_> = tensors.iter().filter(|tensor| !tensor.bytes.is_empty()).collect();
    by_place.sort_by_key(|tensor| tensor.bytes.start);
    for pair in by_place.windows(2) {
        if pair[0].bytes.end > pair[1].bytes.start {
            let detail = format!("overlaps tensor '{}'", pair[0].name);
            return Err(GgufError::Data { tensor: pair[1].name.to_owned(), detail });
        }
    }
    let mut names: Vec<_> = tensors.iter().map(|tensor| tensor.name).collect();
    names.sort_unstable();
    match names.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => Err(GgufError::Twice { what: "tensor", name: pair[0].to_owned() }),
        None => Ok(()),
    }
}

fn bounded(what: &str, value: u64, min: u64, max: u64) -> Result<(), GgufError> {
    if (min..=max).contains(&value) {
        return Ok(());
    }
    let (value, allowed) = (value.to_string(), format!("{min} to {max}"));
    Err(GgufError::Bound { what: what.to_owned(), value, allowed })
}

#[cfg(test)]
pub(crate) mod tests;
