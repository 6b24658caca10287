//! Which model a plan was built from: a hash of everything that the exporter reads.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use hymt_llm::weights::ModelSource;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::hex;
use super::sidecar::MODEL_FILES_MAX;

/// Pieces in which files are read. Bytes.
const CHUNK_BYTES: usize = 1 << 20;
/// Times up to this were set by somebody and not by a clock: the first day of 1970, and of 1980, where
/// ZIP begins. Nanoseconds since 1970.
const TELLING_NS: u64 = 3654 * 24 * 3600 * 1_000_000_000;

/// A file as the file system describes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileStamp {
    /// Its name, without folder.
    pub name: String,
    /// Its length.
    pub bytes: u64,
    /// When it was last written. Nanoseconds since 1970.
    pub modified_ns: u64,
}

/// A model's files and their hash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fingerprint {
    /// SHA-256 over names and contents, lower-case hexadecimal.
    pub hash: String,
    /// The files.
    pub files: Vec<FileStamp>,
}

/// The files could not be read.
#[derive(Debug, thiserror::Error)]
#[error("cannot read '{}'", path.display())]
pub struct FingerprintError {
    /// The file.
    pub path: PathBuf,
    /// What the system said.
    #[source]
    pub source: std::io::Error,
}

impl Fingerprint {
    /// Reads the files of a model: a folder's `*.safetensors`, `*.gguf` and `*.json`, or one file.
    /// `known` are earlier fingerprints: where names, lengths and times are the same, the hash is
    /// taken from there, because reading 1.8 GB takes seconds at every start.
    ///
    /// # Errors
    /// [`FingerprintError`].
    pub fn of<'a>(
        model: &Path,
        known: impl IntoIterator<Item = (&'a [FileStamp], &'a str)>,
    ) -> Result<Self, FingerprintError> {
        let paths = files(model)?;
        let files = paths.iter().map(|path| stamp(path)).collect::<Result<Vec<_>, _>>()?;
        // A model in memory has no files and no times, so neither says that two are the same. Nor does
        // a time of 0: systems that are built reproducibly give it, or 1 s, to every file.
        let is_telling = !files.is_empty() && files.iter().all(|f| f.modified_ns > TELLING_NS);
        let same = known.into_iter().find(|(stamps, _)| is_telling && *stamps == files);
        if let Some((_, hash)) = same {
            return Ok(Self { hash: hash.to_owned(), files });
        }
        let mut hash = Sha256::new();
        for (path, stamp) in paths.iter().zip(&files) {
            hash.update(format!("{}:{} {}\n", stamp.name.len(), stamp.name, stamp.bytes));
            update(&mut hash, path)?;
        }
        Ok(Self { hash: hex(&hash.finalize()), files })
    }

    /// Reads a model wherever it lies; `known` is for files, as for [`Self::of`].
    ///
    /// # Errors
    /// [`FingerprintError`].
    pub fn of_source<'a>(
        source: &ModelSource,
        known: impl IntoIterator<Item = (&'a [FileStamp], &'a str)>,
    ) -> Result<Self, FingerprintError> {
        match source {
            ModelSource::Dir(path) => Self::of(path, known),
            ModelSource::Embedded { config, weights } => {
                Ok(Self::of_parts([("config", *config), ("weights", *weights)]))
            }
        }
    }

    /// The fingerprint of a model in memory.
    pub fn of_parts<'a>(parts: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> Self {
        let mut hash = Sha256::new();
        for (name, bytes) in parts {
            hash.update(format!("{}:{name} {}\n", name.len(), bytes.len()));
            hash.update(bytes);
        }
        Self { hash: hex(&hash.finalize()), files: Vec::new() }
    }
}

fn files(model: &Path) -> Result<Vec<PathBuf>, FingerprintError> {
    let error = |source| FingerprintError { path: model.to_owned(), source };
    if !model.is_dir() {
        return Ok(vec![model.to_owned()]);
    }
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(model).map_err(error)? {
        let path = entry.map_err(error)?.path();
        // The loader takes extensions in any case, so this does too.
        let matters = path.extension().is_some_and(|extension| {
            ["safetensors", "gguf", "json"].iter().any(|e| extension.eq_ignore_ascii_case(e))
        });
        if matters && path.is_file() {
            paths.push(path);
        }
    }
    paths.sort();
    if paths.len() > MODEL_FILES_MAX {
        let message = format!("{} files; at most {MODEL_FILES_MAX}", paths.len());
        return Err(error(std::io::Error::other(message)));
    }
    Ok(paths)
}

fn stamp(path: &Path) -> Result<FileStamp, FingerprintError> {
    let error = |source| FingerprintError { path: path.to_owned(), source };
    let metadata = std::fs::metadata(path).map_err(error)?;
    let modified = metadata.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    let modified_ns = modified.and_then(|since| u64::try_from(since.as_nanos()).ok()).unwrap_or(0);
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    Ok(FileStamp { name, bytes: metadata.len(), modified_ns })
}

fn update(hash: &mut Sha256, path: &Path) -> Result<(), FingerprintError> {
    let error = |source| FingerprintError { path: path.to_owned(), source };
    let mut file = File::open(path).map_err(error)?;
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        match file.read(&mut chunk).map_err(error)? {
            0 => return Ok(()),
            n => hash.update(&chunk[..n]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_and_every_byte_counts() {
        let folder = tempfile::tempdir().unwrap();
        let write =
            |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
        let hash = || Fingerprint::of(folder.path(), []).unwrap().hash;
        write("model.safetensors", "abc");
        write("config.json", "{}");
        let first = hash();
        write("README.md", "words change nothing");
        assert_eq!(hash(), first);
        write("model.safetensors", "abd");
        let second = hash();
        assert_ne!(second, first, "a byte of the weights");
        write("model.safetensors", "abc");
        assert_eq!(hash(), first);
        write("activation_scales.json", "[1]");
        assert_ne!(hash(), first, "another file");
    }

    #[test]
    fn unchanged_files_are_not_read_again() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("a.gguf"), "abc").unwrap();
        let first = Fingerprint::of(folder.path(), []).unwrap();
        let known = || [(first.files.as_slice(), "remembered")];
        assert_eq!(Fingerprint::of(folder.path(), known()).unwrap().hash, "remembered");
        std::fs::write(folder.path().join("a.gguf"), "abcd").unwrap();
        assert_ne!(Fingerprint::of(folder.path(), known()).unwrap().hash, "remembered");
    }

    #[test]
    fn weights_count_however_their_extension_is_written() {
        let folder = tempfile::tempdir().unwrap();
        let hash_with = |weights: &str| {
            std::fs::write(folder.path().join("HY-MT.GGUF"), weights).unwrap();
            Fingerprint::of(folder.path(), []).unwrap().hash
        };
        assert_ne!(hash_with("of one model"), hash_with("of another"));
    }

    #[test]
    fn files_that_tell_nothing_are_read() {
        let folder = tempfile::tempdir().unwrap();
        // A model in memory has no files.
        let known: [(&[FileStamp], &str); 1] = [(&[], "the demo model")];
        assert_ne!(Fingerprint::of(folder.path(), known).unwrap().hash, "the demo model");
        let path = folder.path().join("model.safetensors");
        let hash_with = |weights: &str, known: &[FileStamp]| {
            std::fs::write(&path, weights).unwrap();
            let file = File::options().write(true).open(&path).unwrap();
            // As in an image that was built reproducibly: all models have these names and times.
            file.set_modified(UNIX_EPOCH + std::time::Duration::from_secs(1)).unwrap();
            Fingerprint::of(folder.path(), [(known, "remembered")]).unwrap()
        };
        let first = hash_with("abc", &[]);
        assert_ne!(hash_with("abd", &first.files).hash, "remembered");
    }

    #[test]
    fn a_missing_model_is_named() {
        let error = Fingerprint::of(Path::new("/nonexistent/model.gguf"), []).unwrap_err();
        assert_eq!(error.to_string(), "cannot read '/nonexistent/model.gguf'");
    }
}
