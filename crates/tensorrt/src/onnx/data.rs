//! The file of weights beside the graph: tensors one after the other, streamed to disk.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use super::export::ExportError;
use super::proto::{DataType, EXTERNAL, StringStringEntryProto, TensorProto};

/// Tensors start at multiples of this, so that a reader can map each of them.
const ALIGNMENT: u64 = 4096;
/// Bytes between two writes to the system.
const BUFFER_BYTES: usize = 1 << 20;

/// The growing file.
pub(super) struct DataFile {
    path: PathBuf,
    /// File name, as the graph gives it.
    name: String,
    writer: BufWriter<File>,
    len: u64,
}

impl DataFile {
    pub(super) fn create(path: &Path) -> Result<Self, ExportError> {
        let file = File::create(path).map_err(ExportError::io(path))?;
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
        Ok(Self {
            path: path.to_owned(),
            name: name.unwrap_or_default(),
            writer: BufWriter::with_capacity(BUFFER_BYTES, file),
            len: 0,
        })
    }

    /// Starts a tensor; what is appended until the next call is its content.
    pub(super) fn start(&mut self) -> Result<u64, ExportError> {
        let start = self.len.next_multiple_of(ALIGNMENT);
        self.append(&vec![0; (start - self.len) as usize])?;
        Ok(start)
    }

    pub(super) fn append(&mut self, bytes: &[u8]) -> Result<(), ExportError> {
        self.writer.write_all(bytes).map_err(ExportError::io(&self.path))?;
        self.len += bytes.len() as u64;
        Ok(())
    }

    /// The constant whose content lies between `start` and the end of the file so far.
    ///
    /// # Panics
    /// When what was appended is not what the shape asks for: a mistake in this crate.
    pub(super) fn tensor(
        &self,
        name: &str,
        dims: &[usize],
        kind: DataType,
        start: u64,
    ) -> TensorProto {
        let length = self.len - start;
        let wanted = (dims.iter().product::<usize>() * kind.width()) as u64;
        assert_eq!(length, wanted, "'{name}' has the bytes of its shape {dims:?}");
        let entry =
            |key: &str, value: String| StringStringEntryProto { key: key.to_owned(), value };
        TensorProto {
            dims: dims.iter().map(|dim| *dim as i64).collect(),
            data_type: kind as i32,
            name: name.to_owned(),
            external_data: vec![
                entry("location", self.name.clone()),
                entry("offset", start.to_string()),
                entry("length", length.to_string()),
            ],
            data_location: EXTERNAL,
            ..TensorProto::default()
        }
    }

    /// Writes out what is buffered, and waits until it is on the disk.
    pub(super) fn finish(self) -> Result<u64, ExportError> {
        let io = ExportError::io(&self.path);
        match self.writer.into_inner() {
            Ok(file) => file.sync_all().map_err(io)?,
            Err(error) => return Err(io(error.into_error())),
        }
        Ok(self.len)
    }
}
