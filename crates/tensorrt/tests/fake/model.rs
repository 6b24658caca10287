//! The FAKE language model without a cache (the arithmetic of `tests/fake/model.cpp`), and an ONNX file
//! with the names and shapes of the exported graph.

use std::path::{Path, PathBuf};

use hymt_tensorrt::graph;

/// Sizes of a fake model.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FakeModel {
    pub(crate) layers: usize,
    pub(crate) kv_heads: usize,
    pub(crate) head_dim: usize,
    pub(crate) context: usize,
    pub(crate) vocab: usize,
}

/// ONNX numbers of element types.
const F32: u64 = 1;
const I32: u64 = 6;
const F16: u64 = 10;

/// A dimension in the file.
#[derive(Clone, Copy)]
enum Dim {
    Named(&'static str),
    Fixed(usize),
}

impl FakeModel {
    /// Logits after the last of `tokens`, as if they had been seen at once.
    pub(crate) fn logits(&self, tokens: &[u32]) -> Vec<f32> {
        let mut state = 0;
        for (position, token) in tokens.iter().enumerate() {
            let part = self.part_of(u64::from(*token), position as u64);
            state = (state + (position as u64 + 1) * part) % 1_000_003;
        }
        let last = u64::from(*tokens.last().unwrap());
        let logit = |entry: u64| state % 65_521 * (entry * 7 + 3) + last * 11 + entry * entry;
        (0..self.vocab as u64).map(|entry| (logit(entry) % 1009) as f32 / 16.0).collect()
    }

    fn part_of(&self, token: u64, position: u64) -> u64 {
        let mut sum = 0;
        for layer in 0..self.layers as u64 {
            for head in 0..self.kv_heads as u64 {
                for place in 0..self.head_dim as u64 {
                    let weight = 1 + (layer * 131 + head * 17 + place * 3) % 61;
                    let key = token * 31 + position * 17 + layer * 7 + head * 5 + place * 3;
                    let value = token * 13 + position * 29 + layer * 11 + head * 3 + place * 5;
                    sum += weight * (key % 97 + 2 * (value % 89));
                }
            }
        }
        sum
    }

    /// Writes `fake.onnx` with a node for each of `ops`.
    pub(crate) fn write_onnx(&self, folder: &Path, ops: &[&str]) -> PathBuf {
        self.write_onnx_with(folder, ops, &[])
    }

    /// The same, with a weight in another file.
    pub(crate) fn write_onnx_with(
        &self,
        folder: &Path,
        ops: &[&str],
        external: &[(&str, u64)],
    ) -> PathBuf {
        let mut graph = Vec::new();
        for (index, op) in ops.iter().enumerate() {
            let mut node = text(3, &format!("node_{index}"));
            node.extend(text(4, op));
            graph.extend(bytes(1, &node));
        }
        for (location, length) in external {
            let entry = |key, value: &str| bytes(13, &[text(1, key), text(2, value)].concat());
            let length = length.to_string();
            let fields = [entry("location", location), entry("length", &length), number(14, 1)];
            graph.extend(bytes(5, &fields.concat()));
        }
        for (field, name, elem_type, dims) in self.values() {
            graph.extend(bytes(field, &value_info(&name, elem_type, &dims)));
        }
        let path = folder.join("fake.onnx");
        std::fs::write(&path, bytes(7, &graph)).unwrap();
        path
    }

    /// Inputs (field 11) and outputs (field 12) of the exported graph.
    fn values(&self) -> Vec<(u64, String, u64, Vec<Dim>)> {
        let (batch, tokens, rows) = (Dim::Named("batch"), Dim::Named("tokens"), Dim::Named("rows"));
        let cache =
            |length| vec![batch, Dim::Fixed(self.kv_heads), length, Dim::Fixed(self.head_dim)];
        let past = Dim::Fixed(self.context);
        let mut values = vec![
            (11, graph::TOKEN_IDS.to_owned(), I32, vec![batch, tokens]),
            (11, graph::POSITIONS.to_owned(), I32, vec![batch, tokens]),
            (11, graph::PAST_LENGTHS.to_owned(), I32, vec![batch]),
            (11, graph::LOGITS_AT.to_owned(), I32, vec![batch, rows]),
            (12, graph::LOGITS.to_owned(), F32, vec![batch, rows, Dim::Fixed(self.vocab)]),
        ];
        for layer in 0..self.layers {
            values.push((11, graph::past_key(layer), F16, cache(past)));
            values.push((11, graph::past_value(layer), F16, cache(past)));
            values.push((12, graph::new_key(layer), F16, cache(tokens)));
            values.push((12, graph::new_value(layer), F16, cache(tokens)));
        }
        values
    }
}

/// ValueInfoProto: name, type { tensor_type { elem_type, shape { dim } } }.
fn value_info(name: &str, elem_type: u64, dims: &[Dim]) -> Vec<u8> {
    let mut shape = Vec::new();
    for dim in dims {
        let dim = match dim {
            Dim::Named(name) => text(2, name),
            Dim::Fixed(size) => number(1, *size as u64),
        };
        shape.extend(bytes(1, &dim));
    }
    let tensor_type = [number(1, elem_type), bytes(2, &shape)].concat();
    [text(1, name), bytes(2, &bytes(1, &tensor_type))].concat()
}

fn varint(mut value: u64) -> Vec<u8> {
    let mut out = Vec::new();
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
    out
}

fn number(field: u64, value: u64) -> Vec<u8> {
    [varint(field << 3), varint(value)].concat()
}

fn bytes(field: u64, content: &[u8]) -> Vec<u8> {
    [varint(field << 3 | 2), varint(content.len() as u64), content.to_vec()].concat()
}

fn text(field: u64, content: &str) -> Vec<u8> {
    bytes(field, content.as_bytes())
}
