//! From a listing to a folder: which files, in parts where need be, checked, and all or nothing.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use sha2::{Digest, Sha256};

use super::hub::{Hub, RemoteFile};
use super::name::{PART_SUFFIX, RepoName, fits};
use super::{FILES_MAX, FetchError, TOTAL_BYTES_MAX};

/// Attempts without a single new byte before a download gives up.
const ATTEMPTS_MAX: u32 = 5;
/// Bytes that are read, written and hashed at a time.
const CHUNK_BYTES: usize = 1 << 18;
/// File that a running download holds, so that a second one does not write into it.
const LOCK_FILE: &str = ".lock";

/// What a model folder needs when nothing else is asked for, at the top of the repository.
const DEFAULT_PATTERNS: &[&str] = &[
    "*.safetensors",
    "*.safetensors.index.json",
    "config.json",
    "generation_config.json",
    "quantize_config.json",
    "hf_quant_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "hy.tiktoken",
    "chat_template.jinja",
    "LICENSE*",
    "License*",
];

/// The files that are wanted: those that fit one of `include`, or what the loader needs.
///
/// # Errors
/// When there are none, or more than is allowed.
pub fn wanted(files: Vec<RemoteFile>, include: &[String]) -> Result<Vec<RemoteFile>, FetchError> {
    let is_wanted = |file: &RemoteFile| match include {
        [] => !file.path.contains('/') && DEFAULT_PATTERNS.iter().any(|p| fits(p, &file.path)),
        include => include.iter().any(|pattern| fits(pattern, &file.path)),
    };
    let has_weights = |file: &RemoteFile| file.path.ends_with(".safetensors");
    let (wanted, others): (Vec<_>, Vec<_>) = files.into_iter().partition(is_wanted);
    if wanted.is_empty() || (include.is_empty() && !wanted.iter().any(has_weights)) {
        return Err(FetchError::NothingWanted { detail: nothing_wanted(&others, include) });
    }
    let total = wanted.iter().fold(0u64, |sum, file| sum.saturating_add(file.size));
    if wanted.len() > FILES_MAX || total > TOTAL_BYTES_MAX {
        return Err(FetchError::Listing {
            detail: format!(
                "{} files of {total} bytes are wanted; at most {FILES_MAX} files and \
                 {TOTAL_BYTES_MAX} bytes, choose some with --include",
                wanted.len()
            ),
        });
    }
    Ok(wanted)
}

fn nothing_wanted(others: &[RemoteFile], include: &[String]) -> String {
    if !include.is_empty() {
        return format!("no file of the repository fits --include {}", include.join(" "));
    }
    let gguf: Vec<_> =
        others.iter().map(|file| file.path.as_str()).filter(|p| p.ends_with(".gguf")).collect();
    if gguf.is_empty() {
        "the repository has no *.safetensors; is it a model? choose files with --include".to_owned()
    } else {
        let shown = gguf.iter().take(12).copied().collect::<Vec<_>>().join(", ");
        format!("the repository has GGUF files; choose one with --include: {shown}")
    }
}

/// What is to be downloaded, and where to.
#[derive(Debug)]
pub struct Download<'a> {
    /// Where from.
    pub hub: &'a Hub,
    /// Which repository.
    pub repo: &'a RepoName,
    /// At which commit.
    pub commit: &'a str,
    /// Which files.
    pub files: &'a [RemoteFile],
    /// The folder that holds them in the end.
    pub folder: &'a Path,
    /// Wait before the second attempt; it doubles from one to the next.
    pub retry_wait: Duration,
}

/// How a download ended well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The folder is new.
    Fetched,
    /// The folder was there, and every file in it is as listed.
    WasComplete,
}

impl Download<'_> {
    /// Downloads what is missing. `progress` is told how many bytes are there, of all files.
    ///
    /// # Errors
    /// What went wrong; what is there already stays and is used by the next attempt, except for a
    /// file whose checksum is wrong.
    pub fn run(&self, progress: &mut dyn FnMut(u64)) -> Result<Outcome, FetchError> {
        if fs::read_dir(self.folder).is_ok_and(|mut folder| folder.next().is_some()) {
            return self.check_existing(progress);
        }
        let unfinished = self.unfinished_folder();
        fs::create_dir_all(&unfinished).map_err(io_error(&unfinished))?;
        let lock_path = unfinished.join(LOCK_FILE);
        let _lock = Lock::take(&lock_path)?;
        let mut done = 0;
        for file in self.files {
            let path = unfinished.join(&file.path);
            if let Some(parent) = path.parent() {
                fs::create_dir_all(parent).map_err(io_error(parent))?;
            }
            // It got this name only after it had been checked.
            if !fs::metadata(&path).is_ok_and(|meta| meta.is_file() && meta.len() == file.size) {
                self.file(file, &path, &mut |bytes| progress(done + bytes))?;
            }
            done += file.size;
            progress(done);
        }
        fs::remove_file(&lock_path).map_err(io_error(&lock_path))?;
        // An empty folder of that name may be there.
        let _ = fs::remove_dir(self.folder);
        fs::rename(&unfinished, self.folder).map_err(io_error(self.folder))?;
        Ok(Outcome::Fetched)
    }

    /// The folder's name until everything is there. The commit is part of it, so that files of two
    /// revisions never mix.
    pub fn unfinished_folder(&self) -> PathBuf {
        let mut name = self.folder.as_os_str().to_owned();
        name.push(format!(".{}{PART_SUFFIX}", self.commit.get(..12).unwrap_or(self.commit)));
        PathBuf::from(name)
    }

    fn check_existing(&self, progress: &mut dyn FnMut(u64)) -> Result<Outcome, FetchError> {
        let mut done = 0;
        for file in self.files {
            let path = self.folder.join(&file.path);
            let is_there = fs::metadata(&path).is_ok_and(|meta| meta.len() == file.size);
            if !is_there || check(&path, file, "").is_err() {
                let why = "is there, but holds something else than the repository now; move it \
                           away or name another with --out";
                return Err(FetchError::Folder { folder: self.folder.to_owned(), why });
            }
            done += file.size;
            progress(done);
        }
        Ok(Outcome::WasComplete)
    }

    /// Downloads one file, with as many attempts as make progress, checks it and names it.
    fn file(
        &self,
        file: &RemoteFile,
        path: &Path,
        progress: &mut dyn FnMut(u64),
    ) -> Result<(), FetchError> {
        let part = PathBuf::from(format!("{}{PART_SUFFIX}", path.display()));
        let mut wait = self.retry_wait;
        let mut attempts = 0;
        loop {
            let before = length(&part);
            let error = match self.attempt(file, &part, progress) {
                Ok(()) => break,
                Err(error) => error,
            };
            if length(&part) > before {
                (attempts, wait) = (0, self.retry_wait);
            }
            attempts += 1;
            if !error.is_transient() || attempts >= ATTEMPTS_MAX {
                return Err(error);
            }
            tracing::debug!(file = file.path, %error, "interrupted; trying again");
            std::thread::sleep(wait);
            wait *= 2;
        }
        let hint = "what came was deleted, so run the same command again; if it stays so, the \
                    mirror is damaged";
        if let Err(error) = check(&part, file, hint) {
            fs::remove_file(&part).map_err(io_error(&part))?;
            return Err(error);
        }
        fs::rename(&part, path).map_err(io_error(path))
    }

    /// Appends to what is there of a file until it has its length or the connection ends.
    fn attempt(
        &self,
        file: &RemoteFile,
        part: &Path,
        progress: &mut dyn FnMut(u64),
    ) -> Result<(), FetchError> {
        let mut have = length(part);
        if have > file.size {
            fs::remove_file(part).map_err(io_error(part))?;
            have = 0;
        }
        if have == file.size && have > 0 {
            return Ok(());
        }
        let (mut body, begins) = self.hub.open(self.repo, self.commit, &file.path, have)?;
        let mut out = OpenOptions::new()
            .create(true)
            .append(begins > 0)
            .write(true)
            .truncate(begins == 0)
            .open(part)
            .map_err(io_error(part))?;
        let mut got = begins;
        let mut chunk = vec![0; CHUNK_BYTES];
        progress(got);
        loop {
            let n = body.read(&mut chunk).map_err(|error| FetchError::Unreachable {
                url: file.path.clone(),
                detail: format!("the connection broke after {got} of {} bytes: {error}", file.size),
            })?;
            if n == 0 {
                break;
            }
            got += n as u64;
            if got > file.size {
                // A server that goes on for ever must not fill the disk.
                drop(out);
                fs::remove_file(part).map_err(io_error(part))?;
                let hint = "the rest was not read; the mirror is damaged";
                return Err(size_error(file, got, hint));
            }
            out.write_all(&chunk[..n]).map_err(io_error(part))?;
            progress(got);
        }
        if got < file.size {
            return Err(FetchError::Unreachable {
                url: file.path.clone(),
                detail: format!("the connection ended after {got} of {} bytes", file.size),
            });
        }
        out.sync_all().map_err(io_error(part))
    }
}

/// Holds the unfinished folder for one download.
struct Lock(File);

impl Lock {
    fn take(path: &Path) -> Result<Self, FetchError> {
        let file = File::create(path).map_err(io_error(path))?;
        if file.try_lock().is_err() {
            let folder = path.parent().unwrap_or(path).to_owned();
            let why = "is being written by another `hymt fetch`; wait for it";
            return Err(FetchError::Folder { folder, why });
        }
        Ok(Self(file))
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Closing is not enough: a process that another thread is just starting shares the file.
        if let Err(error) = self.0.unlock() {
            tracing::debug!(%error, "the lock ends with the process");
        }
    }
}

/// Compares a file with what the listing says of it.
fn check(path: &Path, file: &RemoteFile, hint: &'static str) -> Result<(), FetchError> {
    let size = length(path);
    if size != file.size {
        return Err(size_error(file, size, hint));
    }
    let Some(expected) = &file.sha256 else { return Ok(()) };
    let mut input = File::open(path).map_err(io_error(path))?;
    let (mut hash, mut chunk) = (Sha256::new(), vec![0; CHUNK_BYTES]);
    loop {
        match input.read(&mut chunk).map_err(io_error(path))? {
            0 => break,
            n => hash.update(&chunk[..n]),
        }
    }
    let got: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    if got == *expected {
        return Ok(());
    }
    Err(FetchError::Checksum { file: file.path.clone(), got, expected: expected.clone(), hint })
}

fn size_error(file: &RemoteFile, got: u64, hint: &'static str) -> FetchError {
    FetchError::Size { file: file.path.clone(), got, expected: file.size, hint }
}

/// Bytes of a file; 0 where there is none.
fn length(path: &Path) -> u64 {
    fs::metadata(path).map_or(0, |meta| meta.len())
}

fn io_error(path: &Path) -> impl FnOnce(io::Error) -> FetchError + use<> {
    let path = path.to_owned();
    move |source| FetchError::Io { path, source }
}
