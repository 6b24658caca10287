//! Values of constants, wherever they are stored.

use std::collections::HashMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Component, Path, PathBuf};

use crate::onnx::proto::{DataType, EXTERNAL, GraphProto, TensorProto};

/// Most bytes of one constant that are looked at: scales of the widest layer, and more.
const BYTES_MAX: u64 = 16 << 20;

/// The constants of a graph: initialisers and outputs of `Constant`.
pub(super) struct Constants<'a> {
    tensors: HashMap<&'a str, &'a TensorProto>,
    dir: &'a Path,
}

/// Where a constant lies in another file.
pub(super) struct External {
    pub(super) location: String,
    pub(super) offset: u64,
    pub(super) length: Option<u64>,
}

impl<'a> Constants<'a> {
    pub(super) fn new(graph: &'a GraphProto, dir: &'a Path) -> Self {
        let initializers = graph.initializer.iter().map(|tensor| (tensor.name.as_str(), tensor));
        let nodes = graph.node.iter().filter(|node| node.op_type == "Constant");
        let from_nodes = nodes.filter_map(|node| {
            let tensor = node.attribute.iter().find_map(|attribute| attribute.t.as_ref())?;
            Some((node.output.first()?.as_str(), tensor))
        });
        Self { tensors: initializers.chain(from_nodes).collect(), dir }
    }

    pub(super) fn get(&self, name: &str) -> Option<&'a TensorProto> {
        self.tensors.get(name).copied()
    }

    /// Number of elements; `None` also where the shape is beyond all numbers.
    pub(super) fn count(&self, name: &str) -> Option<i64> {
        self.get(name)?.dims.iter().try_fold(1_i64, |all, dim| all.checked_mul(*dim))
    }

    /// Elements of an f32 constant; `None` where it is no such thing, or cannot be read.
    pub(super) fn floats(&self, name: &str) -> Option<Vec<f32>> {
        let tensor = self.get(name).filter(|tensor| tensor.data_type == DataType::Float as i32)?;
        if !tensor.float_data.is_empty() {
            return Some(tensor.float_data.clone());
        }
        let words = self.bytes(tensor)?;
        Some(words.as_chunks().0.iter().map(|word| f32::from_le_bytes(*word)).collect())
    }

    /// Elements of an integer constant, likewise.
    pub(super) fn integers(&self, name: &str) -> Option<Vec<i64>> {
        let tensor = self.get(name)?;
        if !tensor.int32_data.is_empty() {
            return Some(tensor.int32_data.iter().map(|value| i64::from(*value)).collect());
        }
        if !tensor.int64_data.is_empty() {
            return Some(tensor.int64_data.clone());
        }
        let bytes = self.bytes(tensor)?;
        Some(match DataType::try_from(tensor.data_type).ok()? {
            DataType::Int8 => bytes.iter().map(|byte| i64::from(*byte as i8)).collect(),
            DataType::Uint8 | DataType::Bool => bytes.into_iter().map(i64::from).collect(),
            DataType::Int32 => bytes
                .as_chunks()
                .0
                .iter()
                .map(|word| i64::from(i32::from_le_bytes(*word)))
                .collect(),
            DataType::Int64 => {
                bytes.as_chunks().0.iter().map(|word| i64::from_le_bytes(*word)).collect()
            }
            _ => return None,
        })
    }

    fn bytes(&self, tensor: &TensorProto) -> Option<Vec<u8>> {
        if tensor.data_location != EXTERNAL {
            return Some(tensor.raw_data.clone());
        }
        let external = external(tensor);
        let length = external.length.filter(|length| *length <= BYTES_MAX)?;
        let mut file = File::open(beside(self.dir, &external.location)?).ok()?;
        file.seek(SeekFrom::Start(external.offset)).ok()?;
        let mut bytes = Vec::new();
        file.take(length).read_to_end(&mut bytes).ok()?;
        (bytes.len() as u64 == length).then_some(bytes)
    }
}

/// What the entries of an external constant say; what is not there is at the start of nothing.
pub(super) fn external(tensor: &TensorProto) -> External {
    let entry = |key: &str| {
        let found = tensor.external_data.iter().find(|entry| entry.key == key);
        found.map(|entry| entry.value.clone())
    };
    let number = |key: &str| entry(key).and_then(|value| value.parse().ok());
    External {
        location: entry("location").unwrap_or_default(),
        offset: number("offset").unwrap_or_default(),
        length: number("length"),
    }
}

/// The path of `location`, where that is a plain file name or below `dir`.
pub(super) fn beside(dir: &Path, location: &str) -> Option<PathBuf> {
    let is_plain = |part: Component<'_>| matches!(part, Component::Normal(_));
    let path = Path::new(location);
    (!location.is_empty() && path.components().all(is_plain)).then(|| dir.join(path))
}
