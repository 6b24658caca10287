//! What a run that was cut off leaves behind, and how the next one goes on.
//!
//! Beside the shards lie `quantize-progress.json`, which says what the run was about and which
//! layers are done, and the residual stream that enters the next layer. Both are replaced by
//! renaming, the stream first, so a cut at any moment loses one layer's work and nothing else.

use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::checkpoint::QuantizeOptions;
use super::error::QuantizeError;
use super::layer::LayerReport;
use crate::TokenId;

/// Name of the progress file.
pub(super) const PROGRESS_FILE: &str = "quantize-progress.json";
/// Most bytes of a progress file. A report of 256 layers has 300 kB.
const PROGRESS_BYTES_MAX: u64 = 16 << 20;
/// Changes when runs of different versions of this code must not be mixed.
const VERSION: u32 = 1;

/// What a run is about. Two runs with the same write the same bytes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Identity {
    version: u32,
    source: Vec<FileStamp>,
    prompts: String,
    options: QuantizeOptions,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct FileStamp {
    name: String,
    bytes: u64,
    modified_ns: String,
}

impl Identity {
    pub(super) fn of(
        source: &Path,
        prompts: &[Vec<TokenId>],
        options: &QuantizeOptions,
    ) -> std::io::Result<Self> {
        let mut stamps = Vec::new();
        for entry in std::fs::read_dir(source)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if name == "config.json" || name.ends_with(".safetensors") {
                // Follows links, as Hugging Face's cache is full of them.
                let about = std::fs::metadata(entry.path())?;
                let modified = about.modified()?.duration_since(std::time::UNIX_EPOCH);
                stamps.push(FileStamp {
                    name,
                    bytes: about.len(),
                    modified_ns: modified.map_or(0, |age| age.as_nanos()).to_string(),
                });
            }
        }
        stamps.sort_by(|a, b| a.name.cmp(&b.name));
        let prompts = format!("{:016x}", fingerprint(prompts));
        Ok(Self { version: VERSION, source: stamps, prompts, options: options.clone() })
    }
}

/// FNV-1a over the ids, each prompt preceded by its length.
fn fingerprint(prompts: &[Vec<TokenId>]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let mut add = |word: u32| {
        for byte in word.to_le_bytes() {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    };
    for prompt in prompts {
        add(prompt.len() as u32);
        prompt.iter().for_each(|id| add(*id));
    }
    hash
}

#[derive(Serialize, Deserialize)]
struct ProgressFile {
    identity: Identity,
    layers: Vec<LayerReport>,
}

/// The folder of one run, until it is complete.
pub(super) struct Partial {
    pub(super) dir: PathBuf,
    identity: Identity,
    /// Of the layers that are done.
    pub(super) layers: Vec<LayerReport>,
}

impl Partial {
    /// Opens `dir`: goes on with the same run, or starts one where nothing is.
    pub(super) fn open(dir: &Path, identity: Identity, force: bool) -> Result<Self, QuantizeError> {
        let fresh = |identity| Self { dir: dir.to_owned(), identity, layers: Vec::new() };
        let io = |source| QuantizeError::Io { path: dir.to_owned(), source };
        let is_new = !dir.exists() || std::fs::read_dir(dir).map_err(io)?.next().is_none();
        if is_new {
            std::fs::create_dir_all(dir).map_err(io)?;
            let partial = fresh(identity);
            partial.save()?;
            return Ok(partial);
        }
        let found = read_progress(&dir.join(PROGRESS_FILE));
        match found {
            Some(found) if found.identity == identity => {
                Ok(Self { layers: found.layers, ..fresh(identity) })
            }
            // Only what this tool began is ever removed.
            Some(_) if force => {
                std::fs::remove_dir_all(dir).map_err(io)?;
                Self::open(dir, identity, false)
            }
            Some(_) => Err(QuantizeError::OtherRun { partial: dir.to_owned() }),
            None => Err(QuantizeError::NotOurs { path: dir.to_owned() }),
        }
    }

    /// Records that one more layer is done and that `hidden` enters the next.
    pub(super) fn advance(
        &mut self,
        report: LayerReport,
        hidden: &[f32],
    ) -> Result<(), QuantizeError> {
        let before = self.hidden_path(self.layers.len());
        let after = self.hidden_path(self.layers.len() + 1);
        replace(&after, bytemuck::cast_slice(hidden))?;
        self.layers.push(report);
        self.save()?;
        // The first layer has nothing before it, and a stale file does no harm.
        let _ = std::fs::remove_file(before);
        Ok(())
    }

    /// The residual stream that enters the next layer, `[len]`.
    pub(super) fn hidden(&self, len: usize) -> Result<Vec<f32>, QuantizeError> {
        let path = self.hidden_path(self.layers.len());
        let io = |source| QuantizeError::Io { path: path.clone(), source };
        let mut hidden = vec![0.0_f32; len];
        let mut file = File::open(&path).map_err(io)?;
        file.read_exact(bytemuck::cast_slice_mut(&mut hidden)).map_err(io)?;
        Ok(hidden)
    }

    /// Removes what only a continued run needs, except the progress file.
    pub(super) fn remove_hidden(&self) {
        let _ = std::fs::remove_file(self.hidden_path(self.layers.len()));
    }

    fn hidden_path(&self, n_layers: usize) -> PathBuf {
        self.dir.join(format!("quantize-hidden-{n_layers}.f32"))
    }

    fn save(&self) -> Result<(), QuantizeError> {
        let file = ProgressFile { identity: self.identity.clone(), layers: self.layers.clone() };
        let json = serde_json::to_vec(&file).expect("names and numbers are valid JSON");
        replace(&self.dir.join(PROGRESS_FILE), &json)
    }
}

fn read_progress(path: &Path) -> Option<ProgressFile> {
    let len = std::fs::metadata(path).ok()?.len();
    if len > PROGRESS_BYTES_MAX {
        return None;
    }
    serde_json::from_slice(&std::fs::read(path).ok()?).ok()
}

/// Writes a file beside `path` and puts it in its place once it is on the disk.
pub(super) fn replace(path: &Path, bytes: &[u8]) -> Result<(), QuantizeError> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    let beside = PathBuf::from(beside);
    let write = || -> std::io::Result<()> {
        let mut file = File::create(&beside)?;
        file.write_all(bytes)?;
        file.sync_data()?;
        std::fs::rename(&beside, path)
    };
    write().map_err(|source| QuantizeError::Io { path: path.to_owned(), source })
}
