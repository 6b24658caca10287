//! A GGUF file as a model: its header, and its tensors under the names of the safetensors
//! checkpoints.

use std::collections::HashMap;
use std::fs::File;
use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;

use super::{Elements, StoredTensor, Tensors, WeightFile};
use crate::config::ModelConfig;
use crate::error::LoadError;
use crate::format::gguf::{Gguf, GgufError, HEADER_BYTES_MAX, TensorKind};
use crate::weights::EMBEDDING;

/// How much of the file is read before the first attempt to parse the header.
const FIRST_READ_BYTES: usize = 1 << 20;

/// The first bytes of a GGUF file, which hold its whole header.
///
/// A copy, unlike the tensors, which stay mapped: text that has been checked must not change.
/// Takes at most twice the header, and never more than [`HEADER_BYTES_MAX`].
pub struct GgufHeader {
    file: String,
    file_len: u64,
    bytes: Vec<u8>,
}

impl GgufHeader {
    /// Reads as much of the file as its header needs.
    ///
    /// # Errors
    /// [`LoadError::Io`] or [`LoadError::Gguf`].
    pub fn read(path: &Path) -> Result<Self, LoadError> {
        let io = |source| LoadError::Io { path: path.to_owned(), source };
        let mut file = File::open(path).map_err(io)?;
        let file_len = file.metadata().map_err(io)?.len();
        let mut header = Self { file: path.display().to_string(), file_len, bytes: Vec::new() };
        let mut wanted = FIRST_READ_BYTES;
        loop {
            let more = (wanted - header.bytes.len()) as u64;
            file.by_ref().take(more).read_to_end(&mut header.bytes).map_err(io)?;
            let is_whole = header.bytes.len() < wanted || wanted == HEADER_BYTES_MAX;
            match Gguf::parse(&header.bytes, file_len) {
                Err(GgufError::Cut { .. }) if !is_whole => {
                    wanted = (2 * wanted).min(HEADER_BYTES_MAX);
                }
                Err(source) => return Err(header.damaged(source)),
                Ok(_) => return Ok(header),
            }
        }
    }

    /// The parsed header.
    ///
    /// # Errors
    /// [`LoadError::Gguf`]; never after [`Self::read`] has succeeded.
    pub fn gguf(&self) -> Result<Gguf<'_>, LoadError> {
        Gguf::parse(&self.bytes, self.file_len).map_err(|source| self.damaged(source))
    }

    /// The hyper-parameters.
    ///
    /// # Errors
    /// [`LoadError::Config`] names the key.
    pub fn config(&self) -> Result<ModelConfig, LoadError> {
        ModelConfig::from_gguf(&self.gguf()?)
            .map_err(|source| LoadError::Config { file: self.file.clone(), source })
    }

    /// Name of the file, for messages.
    pub fn file(&self) -> &str {
        &self.file
    }

    fn damaged(&self, source: GgufError) -> LoadError {
        LoadError::Gguf { file: self.file.clone(), source }
    }
}

impl Tensors {
    /// Maps a GGUF file.
    ///
    /// # Errors
    /// [`LoadError`] when it is missing, damaged or cut short.
    pub(super) fn from_gguf(path: &Path) -> Result<Self, LoadError> {
        let header = GgufHeader::read(path)?;
        let file = Arc::new(WeightFile::map(path)?);
        let gguf = header.gguf()?;
        let mut entries = HashMap::new();
        for tensor in &gguf.tensors {
            // The file may have been replaced between reading its header and mapping it.
            if tensor.bytes.end > file.bytes().len() {
                let detail = "became shorter while it was opened".to_owned();
                let source = GgufError::Data { tensor: tensor.name.to_owned(), detail };
                return Err(header.damaged(source));
            }
            let elements = match tensor.kind {
                TensorKind::Plain(dtype) => Elements::Plain(dtype),
                TensorKind::Block(block) => Elements::Block(block),
                TensorKind::Other(number) => Elements::Unread(number),
            };
            let (shape, bytes) = (tensor.shape.clone(), tensor.bytes.clone());
            let name = tensor.name.to_owned();
            let stored = StoredTensor { name, file: Arc::clone(&file), elements, shape, bytes };
            entries.insert(checkpoint_name(tensor.name), stored);
        }
        Ok(Self { all_files: file.name.clone(), entries, is_gguf: true })
    }
}

/// Parts of a layer: the name in the checkpoint, and in GGUF.
const LAYER_PARTS: [(&str, &str); 11] = [
    ("input_layernorm", "attn_norm"),
    ("self_attn.q_proj", "attn_q"),
    ("self_attn.k_proj", "attn_k"),
    ("self_attn.v_proj", "attn_v"),
    ("self_attn.o_proj", "attn_output"),
    ("self_attn.query_layernorm", "attn_q_norm"),
    ("self_attn.key_layernorm", "attn_k_norm"),
    ("post_attention_layernorm", "ffn_norm"),
    ("mlp.gate_proj", "ffn_gate"),
    ("mlp.up_proj", "ffn_up"),
    ("mlp.down_proj", "ffn_down"),
];

/// Everything outside the layers.
const OUTER: [(&str, &str); 3] = [
    (EMBEDDING, "token_embd.weight"),
    ("model.norm.weight", "output_norm.weight"),
    ("lm_head.weight", "output.weight"),
];

/// The checkpoint's name for a tensor of a GGUF file; others keep their own.
fn checkpoint_name(name: &str) -> String {
    if let Some((checkpoint, _)) = OUTER.iter().find(|(_, gguf)| *gguf == name) {
        return (*checkpoint).to_owned();
    }
    let part = name.strip_prefix("blk.").and_then(|rest| rest.split_once('.'));
    let Some((index, part)) = part else { return name.to_owned() };
    let part = part.strip_suffix(".weight").unwrap_or(part);
    match LAYER_PARTS.iter().find(|(_, gguf)| *gguf == part) {
        Some((checkpoint, _)) => format!("model.layers.{index}.{checkpoint}.weight"),
        None => name.to_owned(),
    }
}

/// The GGUF name of a tensor, for messages.
pub(super) fn gguf_name(checkpoint: &str) -> Option<String> {
    if let Some((_, gguf)) = OUTER.iter().find(|(name, _)| *name == checkpoint) {
        return Some((*gguf).to_owned());
    }
    let rest = checkpoint.strip_prefix("model.layers.")?.strip_suffix(".weight")?;
    let (index, part) = rest.split_once('.')?;
    let (_, gguf) = LAYER_PARTS.iter().find(|(name, _)| *name == part)?;
    Some(format!("blk.{index}.{gguf}.weight"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_go_both_ways() {
        for (checkpoint, gguf) in OUTER {
            assert_eq!(checkpoint_name(gguf), checkpoint);
            assert_eq!(gguf_name(checkpoint).unwrap(), gguf);
        }
        for (checkpoint, gguf) in LAYER_PARTS {
            let checkpoint = format!("model.layers.31.{checkpoint}.weight");
            let gguf = format!("blk.31.{gguf}.weight");
            assert_eq!(checkpoint_name(&gguf), checkpoint);
            assert_eq!(gguf_name(&checkpoint).unwrap(), gguf);
        }
        assert_eq!(checkpoint_name("rope_freqs.weight"), "rope_freqs.weight");
        assert_eq!(gguf_name("model.layers.0.x.weight"), None);
    }
}
