//! The header of one safetensors file.
//!
//! Parsing is the `safetensors` crate's; this module adds the name of the file to its errors and
//! turns the result into byte ranges of the file. Writing is ours: the crate wants every tensor in
//! memory, and ours are written one after the other.

use std::collections::HashMap;
use std::ops::Range;

use ::safetensors::{Dtype, SafeTensorError, SafeTensors};
use serde_json::{Map, Value, json};

use crate::error::LoadError;

/// Most tensors in one file. A model of the largest accepted depth has fewer than 6,000.
pub const TENSORS_MAX: usize = 100_000;

/// Where one tensor lies in its file.
#[derive(Debug, Clone, PartialEq)]
pub struct TensorEntry {
    /// Type of the stored elements.
    pub dtype: Dtype,
    /// Shape, outermost dimension first.
    pub shape: Vec<usize>,
    /// Byte range in the file; its length matches type and shape.
    pub bytes: Range<usize>,
}

/// Reads the header of the safetensors file whose whole content is `data`.
///
/// # Errors
/// [`LoadError::Header`] when the header is damaged, absurdly large, does not fit the file, or
/// lists more than [`TENSORS_MAX`] tensors. `file` is the name used in the message.
pub fn parse_header(data: &[u8], file: &str) -> Result<HashMap<String, TensorEntry>, LoadError> {
    let damaged = |detail: String| LoadError::Header { file: file.to_owned(), detail };
    let (header_len, metadata) =
        SafeTensors::read_metadata(data).map_err(|error| damaged(describe(&error, data)))?;
    let data_start = header_len + size_of::<u64>();
    let tensors = metadata.tensors();
    if tensors.len() > TENSORS_MAX {
        return Err(damaged(format!("{} tensors; at most {TENSORS_MAX}", tensors.len())));
    }
    let entry = |info: &::safetensors::tensor::TensorInfo| TensorEntry {
        dtype: info.dtype,
        shape: info.shape.clone(),
        bytes: data_start + info.data_offsets.0..data_start + info.data_offsets.1,
    };
    Ok(tensors.iter().map(|(name, info)| (name.clone(), entry(info))).collect())
}

/// A tensor that is going to be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TensorHead<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its type as safetensors spells it: `I8`, `BF16`, `F32`.
    pub dtype: &'a str,
    /// Shape, outermost dimension first.
    pub shape: &'a [usize],
    /// Its size. Bytes.
    pub bytes: u64,
}

/// Length and JSON header of a file in which `tensors` follow one another without gaps, padded so that
/// they start at a multiple of 64 bytes (the library pads to 8).
pub fn header<'a>(tensors: impl IntoIterator<Item = TensorHead<'a>>) -> Vec<u8> {
    const ALIGNMENT: usize = 64;
    let mut map = Map::new();
    map.insert("__metadata__".to_owned(), json!({"format": "pt"}));
    let mut start = 0;
    for TensorHead { name, dtype, shape, bytes } in tensors {
        let end = start + bytes;
        let entry = json!({"dtype": dtype, "shape": shape, "data_offsets": [start, end]});
        map.insert(name.to_owned(), entry);
        start = end;
    }
    let mut json = Value::Object(map).to_string().into_bytes();
    let padded = (json.len() + size_of::<u64>()).next_multiple_of(ALIGNMENT) - size_of::<u64>();
    json.resize(padded, b' ');
    let mut header = (json.len() as u64).to_le_bytes().to_vec();
    header.append(&mut json);
    header
}

/// The crate's message, with the sizes that show what happened.
fn describe(error: &SafeTensorError, data: &[u8]) -> String {
    let file_len = data.len();
    let claimed = data.first_chunk().map(|bytes| u64::from_le_bytes(*bytes));
    match (error, claimed) {
        (SafeTensorError::HeaderTooLarge | SafeTensorError::InvalidHeaderLength, Some(len)) => {
            format!("the header claims {len} bytes, the file has {file_len}")
        }
        (SafeTensorError::MetadataIncompleteBuffer, _) => {
            format!("the tensors do not cover the {file_len} bytes of the file; was it cut short?")
        }
        _ => format!("{error} (file of {file_len} bytes)"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(header: &str, data_len: usize) -> Vec<u8> {
        let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
        bytes.extend_from_slice(header.as_bytes());
        bytes.resize(bytes.len() + data_len, 0);
        bytes
    }

    #[test]
    fn ranges_are_those_of_the_file() {
        let data = file(r#"{"a":{"dtype":"I8","shape":[2,3],"data_offsets":[0,6]}}"#, 6);
        let entries = parse_header(&data, "x").unwrap();
        assert_eq!(entries["a"].bytes, data.len() - 6..data.len());
        assert_eq!(entries["a"].shape, [2, 3]);
    }

    #[test]
    fn a_written_header_is_read_back_and_leaves_the_tensors_aligned() {
        let tensors = [
            TensorHead { name: "b", dtype: "F32", shape: &[3, 2], bytes: 24 },
            TensorHead { name: "a\"é", dtype: "I8", shape: &[5], bytes: 5 },
            TensorHead { name: "c", dtype: "BF16", shape: &[], bytes: 2 },
        ];
        for n in 0..=tensors.len() {
            let mut data = header(tensors[..n].iter().copied());
            assert_eq!(data.len() % 64, 0);
            let mut at = data.len();
            data.resize(at + tensors[..n].iter().map(|t| t.bytes as usize).sum::<usize>(), 0);
            let entries = parse_header(&data, "x").unwrap();
            assert_eq!(entries.len(), n);
            for TensorHead { name, dtype, shape, bytes } in &tensors[..n] {
                let entry = &entries[*name];
                assert_eq!((entry.bytes.start, entry.bytes.len()), (at, *bytes as usize));
                assert_eq!(
                    (entry.shape.as_slice(), format!("{:?}", entry.dtype).as_str()),
                    (*shape, *dtype)
                );
                at += entry.bytes.len();
            }
        }
    }

    #[test]
    fn damaged_files_are_refused_with_their_name() {
        let good = r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}"#;
        let cases: [(&str, Vec<u8>); 7] = [
            ("empty", Vec::new()),
            ("cut short", file(good, 4)),
            ("trailing bytes", file(good, 9)),
            ("header of 2^60 bytes", (1_u64 << 60).to_le_bytes().to_vec()),
            ("not JSON", file("hello", 0)),
            ("overlap", file(r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}}"#, 12)),
            (
                "overflowing shape",
                file(
                    r#"{"a":{"dtype":"F32","shape":[4294967296,4294967296,9],"data_offsets":[0,8]}}"#,
                    8,
                ),
            ),
        ];
        for (what, data) in cases {
            let message = parse_header(&data, "m.safetensors").unwrap_err().to_string();
            assert!(message.contains("m.safetensors"), "{what}: {message}");
        }
    }
}
