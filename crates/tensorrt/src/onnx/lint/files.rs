//! Where weights may lie.

use std::path::Path;

use super::constants::{beside, external};
use super::{Lint, Rule};
use crate::onnx::proto::{DataType, EXTERNAL, GraphProto, TensorProto};

/// A message of protocol buffers has at most so many bytes.
const MESSAGE_BYTES_MAX: usize = (2 << 30) - 1;

impl Lint<'_> {
    pub(super) fn files(&mut self, graph: &GraphProto, dir: &Path) {
        let inside: usize = graph.initializer.iter().map(bytes_inside).sum();
        if inside > MESSAGE_BYTES_MAX {
            let detail = format!("{inside} bytes of weights inside; at most {MESSAGE_BYTES_MAX}");
            self.find("model", Rule::ExternalData, detail);
        }
        let outside = graph.initializer.iter().filter(|tensor| tensor.data_location == EXTERNAL);
        for tensor in outside {
            if let Err(detail) = is_whole(tensor, dir) {
                self.find(&tensor.name, Rule::ExternalData, detail);
            }
        }
    }
}

fn bytes_inside(tensor: &TensorProto) -> usize {
    tensor.raw_data.len()
        + 4 * (tensor.float_data.len() + tensor.int32_data.len())
        + 8 * tensor.int64_data.len()
}

/// Whether a constant in another file is there, and as long as its shape says.
fn is_whole(tensor: &TensorProto, dir: &Path) -> Result<(), String> {
    let found = external(tensor);
    let location = &found.location;
    let path = beside(dir, location)
        .ok_or_else(|| format!("'{location}' does not lie beside the graph"))?;
    let file_len = std::fs::metadata(&path)
        .map_err(|error| format!("'{location}' cannot be read: {error}"))?
        .len();
    let width = DataType::try_from(tensor.data_type).map_or(0, DataType::width) as u64;
    let size = |all: u64, dim: &i64| all.checked_mul(u64::try_from(*dim).ok()?);
    let wanted = tensor.dims.iter().try_fold(width, size).ok_or("the shape has no size")?;
    let length = found.length.unwrap_or(wanted);
    if length != wanted {
        return Err(format!("{length} bytes for the shape {:?}", tensor.dims));
    }
    match found.offset.checked_add(length) {
        Some(end) if end <= file_len => Ok(()),
        _ => Err(format!("'{location}' ends at {file_len}, before it does")),
    }
}
