//! Where a model comes from, and which container holds it.

use std::path::{Path, PathBuf};

use super::{Tensors, WeightFile, read_bounded};
use crate::config::{CONFIG_BYTES_MAX, ModelConfig};
use crate::error::LoadError;
use crate::format::shard_index::{INDEX_BYTES_MAX, shard_names};
use crate::weights::gguf::GgufHeader;

/// Most entries of a model folder that are looked at.
const FOLDER_ENTRIES_MAX: usize = 10_000;

/// Where a model comes from.
#[derive(Debug, Clone)]
pub enum ModelSource {
    /// A folder, or a GGUF file; [`ModelSource::container`] says which folders.
    Dir(PathBuf),
    /// A model that is part of the program (`include_bytes!`).
    Embedded {
        /// Content of `config.json`.
        config: &'static [u8],
        /// Content of `model.safetensors`.
        weights: &'static [u8],
    },
}

/// What a source turns out to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Container {
    /// A Hugging Face folder: `config.json` beside safetensors files.
    Folder(PathBuf),
    /// One GGUF file, which holds configuration and tokenizer too.
    Gguf(PathBuf),
    /// Part of the program.
    Embedded,
}

impl ModelSource {
    /// Which container this is. A path to a file is a GGUF file. A folder with `config.json` and
    /// safetensors files, or with neither they nor a GGUF file, is a Hugging Face folder. Any
    /// other folder must hold exactly one `*.gguf`.
    ///
    /// # Errors
    /// [`LoadError`] when the folder cannot be read, or several GGUF files leave a choice.
    pub fn container(&self) -> Result<Container, LoadError> {
        let Self::Dir(path) = self else { return Ok(Container::Embedded) };
        if path.is_file() {
            return Ok(Container::Gguf(path.clone()));
        }
        if path.join("config.json").exists() && !safetensors_in(path)?.is_empty() {
            return Ok(Container::Folder(path.clone()));
        }
        let mut found = files_with_extension(path, "gguf")?;
        match found.len() {
            0 => Ok(Container::Folder(path.clone())),
            1 => Ok(Container::Gguf(found.remove(0))),
            _ => Err(LoadError::SeveralGguf { dir: path.clone(), found: names(&found) }),
        }
    }

    /// Reads and checks the configuration.
    ///
    /// # Errors
    /// [`LoadError`] names the file and the key.
    pub fn config(&self) -> Result<ModelConfig, LoadError> {
        let (file, parsed) = match (self, self.container()?) {
            (_, Container::Gguf(path)) => return GgufHeader::read(&path)?.config(),
            (_, Container::Folder(dir)) => {
                let path = dir.join("config.json");
                let json = read_bounded(&path, CONFIG_BYTES_MAX)?;
                let gptq = dir.join("quantize_config.json");
                let parsed = if gptq.exists() {
                    let gptq = read_bounded(&gptq, CONFIG_BYTES_MAX)?;
                    ModelConfig::from_json_with_gptq(&json, &gptq)
                } else {
                    ModelConfig::from_json(&json)
                };
                (path.display().to_string(), parsed)
            }
            (Self::Embedded { config, .. }, _) => {
                ("embedded config.json".to_owned(), ModelConfig::from_json(config))
            }
            (Self::Dir(_), Container::Embedded) => unreachable!("a path is no part of the program"),
        };
        parsed.map_err(|source| LoadError::Config { file, source })
    }

    /// Maps the weight files and reads their headers; no tensor is read yet.
    ///
    /// # Errors
    /// [`LoadError`] when a file is missing or damaged.
    pub fn tensors(&self) -> Result<Tensors, LoadError> {
        let files = match (self, self.container()?) {
            (_, Container::Gguf(path)) => return Tensors::from_gguf(&path),
            (_, Container::Folder(dir)) => map_dir(&dir)?,
            (Self::Embedded { weights, .. }, _) => vec![WeightFile::embedded(weights)],
            (Self::Dir(_), Container::Embedded) => unreachable!("a path is no part of the program"),
        };
        Tensors::new(files)
    }
}

fn map_dir(dir: &Path) -> Result<Vec<WeightFile>, LoadError> {
    let index = dir.join("model.safetensors.index.json");
    let single = dir.join("model.safetensors");
    if !single.exists() && index.exists() {
        let json = read_bounded(&index, INDEX_BYTES_MAX)?;
        return shard_names(&json, &index.display().to_string())?
            .iter()
            .map(|name| WeightFile::map(&dir.join(name)))
            .collect();
    }
    let found = safetensors_in(dir)?;
    match &found[..] {
        [] => Err(LoadError::NoWeights { dir: dir.to_owned() }),
        [file] => Ok(vec![WeightFile::map(file)?]),
        _ => Err(LoadError::SeveralWeights { dir: dir.to_owned(), found: names(&found) }),
    }
}

/// `model.safetensors` where it exists, else the index as a stand-in for its shards, else every
/// safetensors file that holds weights: GPTQ tools name theirs after themselves.
fn safetensors_in(dir: &Path) -> Result<Vec<PathBuf>, LoadError> {
    for name in ["model.safetensors", "model.safetensors.index.json"] {
        let path = dir.join(name);
        if path.exists() {
            return Ok(vec![path]);
        }
    }
    let mut found = files_with_extension(dir, "safetensors")?;
    // Scales of an FP8 KV cache, which no engine here has.
    found.retain(|path| path.file_name().is_none_or(|name| name != "kv_cache_scales.safetensors"));
    Ok(found)
}

/// Files of `dir` with this extension, sorted. A folder that does not exist has none.
fn files_with_extension(dir: &Path, extension: &str) -> Result<Vec<PathBuf>, LoadError> {
    let io = |source| LoadError::Io { path: dir.to_owned(), source };
    if !dir.is_dir() {
        return Ok(Vec::new());
    }
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(io)?.take(FOLDER_ENTRIES_MAX) {
        let path = entry.map_err(io)?.path();
        if path.extension().is_some_and(|found| found.eq_ignore_ascii_case(extension)) {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

fn names(paths: &[PathBuf]) -> String {
    const SHOWN_MAX: usize = 8;
    let shown = paths.iter().take(SHOWN_MAX);
    let names: Vec<_> =
        shown.filter_map(|path| path.file_name()).map(|n| n.to_string_lossy()).collect();
    names.join(", ")
}
