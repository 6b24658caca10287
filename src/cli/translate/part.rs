//! What is finished of a document: a file beside the output that a later run goes on from.
//!
//! JSON lines. The first pins everything that decides about the translations; each of the others is a unit.
//! A line that was cut off while it was written is dropped. While a run writes one it is locked: two runs
//! would write into each other's lines.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{BufWriter, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::cli::UsageError;

/// Largest part file. Bytes: translations of the largest document, with room for flags.
const PART_BYTES_MAX: u64 = 256 << 20;
/// Version of the format.
const VERSION: u64 = 1;

/// A unit that is translated.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Finished {
    /// Its index in the document.
    pub(super) unit: usize,
    /// The translation.
    pub(super) text: String,
    /// What a person should look at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) flag: Option<String>,
}

/// The finished units of one output.
#[derive(Debug)]
pub(super) struct Part {
    out: PathBuf,
    path: PathBuf,
    file: BufWriter<File>,
    /// One per unit of the document.
    finished: Vec<Option<Finished>>,
}

impl Part {
    /// Opens the part of the output `out`, made from `source` with `settings`, for a document of so many
    /// units.
    ///
    /// # Errors
    /// When there is one of another document or with other settings, another run writes it, or files cannot
    /// be read or written.
    pub(super) fn open(
        out: PathBuf,
        source: &str,
        settings: &Value,
        n_units: usize,
        restart: bool,
    ) -> anyhow::Result<Self> {
        let mut name = out.file_name().unwrap_or_default().to_owned();
        name.push(".hymt-part");
        let path = out.with_file_name(name);
        let header = json!({
            "hymt_part": VERSION,
            "bytes": source.len(),
            "fnv1a": format!("{:016x}", fnv1a(source.as_bytes())),
            "with": settings,
        });
        let shown = path.display().to_string();
        let file =
            OpenOptions::new().create(true).read(true).write(true).truncate(false).open(&path);
        let file = file.with_context(|| format!("cannot write '{shown}'"))?;
        // Not every file system can lock, which is no reason to translate nothing.
        if matches!(file.try_lock(), Err(TryLockError::WouldBlock)) {
            bail!("another run writes '{shown}'; wait for it, or give another --out");
        }
        let old = if restart { Vec::new() } else { read(&file, &shown)? };
        let mut finished = vec![None; n_units];
        let kept = take_over(&old, &header, &mut finished)
            .map_err(|why| UsageError(format!("'{shown}' {why}; --restart begins anew")))?;
        file.set_len(kept as u64).with_context(|| format!("cannot write '{shown}'"))?;
        let mut part = Self { out, path, file: BufWriter::new(file), finished };
        part.seek_to_end()?;
        if kept == 0 {
            part.write_line(&header)?;
            part.flush()?;
        }
        Ok(part)
    }

    /// Where the whole document goes.
    pub(super) fn out(&self) -> &Path {
        &self.out
    }

    /// Where this part is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The translation of a unit.
    pub(super) fn get(&self, unit: usize) -> Option<&str> {
        self.finished[unit].as_ref().map(|finished| finished.text.as_str())
    }

    /// How many units are translated.
    pub(super) fn n_finished(&self) -> usize {
        self.finished.iter().flatten().count()
    }

    /// Units that a person should look at, and why.
    pub(super) fn flags(&self) -> impl Iterator<Item = (usize, &str)> {
        let finished = self.finished.iter().flatten();
        finished.filter_map(|finished| Some((finished.unit, finished.flag.as_deref()?)))
    }

    /// Adds a unit.
    pub(super) fn push(&mut self, finished: Finished) -> anyhow::Result<()> {
        self.write_line(&finished)?;
        let unit = finished.unit;
        self.finished[unit] = Some(finished);
        Ok(())
    }

    /// Hands what was added to the system, so that it outlives this process.
    pub(super) fn flush(&mut self) -> anyhow::Result<()> {
        self.file.flush().with_context(|| format!("cannot write '{}'", self.path.display()))
    }

    /// Takes the file away.
    pub(super) fn remove(&self) -> anyhow::Result<()> {
        let shown = self.path.display();
        match std::fs::remove_file(&self.path) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            removed => removed.with_context(|| format!("cannot remove '{shown}'")),
        }
    }

    fn seek_to_end(&mut self) -> anyhow::Result<()> {
        use std::io::{Seek as _, SeekFrom};
        self.file.seek(SeekFrom::End(0)).map(drop)?;
        Ok(())
    }

    fn write_line(&mut self, value: &impl Serialize) -> anyhow::Result<()> {
        let shown = self.path.display();
        let line = serde_json::to_string(value)? + "\n";
        self.file.write_all(line.as_bytes()).with_context(|| format!("cannot write '{shown}'"))
    }
}

/// The file's bytes.
fn read(file: &File, shown: &str) -> anyhow::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let read = file.take(PART_BYTES_MAX + 1).read_to_end(&mut bytes);
    read.with_context(|| format!("cannot read '{shown}'"))?;
    if bytes.len() as u64 > PART_BYTES_MAX {
        bail!("'{shown}' has more than {PART_BYTES_MAX} bytes; --restart begins anew");
    }
    Ok(bytes)
}

/// Takes over the units of an earlier run; says how many bytes of it are whole lines, or why it is of no
/// use.
fn take_over(
    old: &[u8],
    header: &Value,
    finished: &mut [Option<Finished>],
) -> Result<usize, String> {
    let mut kept = 0;
    for (index, line) in old.split_inclusive(|byte| *byte == b'\n').enumerate() {
        let Some(line_whole) = line.strip_suffix(b"\n") else { break };
        if kept == 0 {
            check_header(line_whole, header)?;
        } else {
            let damaged = || format!("is damaged in line {}", index + 1);
            let unit: Finished = serde_json::from_slice(line_whole).map_err(|_| damaged())?;
            let place = finished.get_mut(unit.unit).ok_or_else(damaged)?;
            *place = Some(unit);
        }
        kept += line.len();
    }
    Ok(kept)
}

fn check_header(line: &[u8], header: &Value) -> Result<(), String> {
    let Ok(old) = serde_json::from_slice::<Value>(line) else {
        return Err("is none of this program's".to_owned());
    };
    if old["hymt_part"] != header["hymt_part"] {
        return Err("is of another version of this program".to_owned());
    }
    if old["bytes"] != header["bytes"] || old["fnv1a"] != header["fnv1a"] {
        return Err("belongs to another document, or the document has changed since".to_owned());
    }
    let (was, is) = (&old["with"]["settings"], &header["with"]["settings"]);
    let names = is.as_object().into_iter().flatten().map(|(name, _)| name);
    if let Some(name) = names.into_iter().find(|name| was[name.as_str()] != is[name.as_str()]) {
        let (was, is) = (&was[name.as_str()], &is[name.as_str()]);
        return Err(format!("was begun with {name} {was}, not {is}"));
    }
    if old["with"] != header["with"] {
        return Err("was begun for another language".to_owned());
    }
    Ok(())
}

/// Tells documents apart that somebody mistook for each other; no protection against forgery.
/// (Fowler, Noll and Vo, 64 bits, variant 1a.)
pub(super) fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(out: &Path, restart: bool) -> anyhow::Result<Part> {
        Part::open(out.to_owned(), "source", &json!({ "to": "de", "settings": {} }), 3, restart)
    }

    fn finished(unit: usize) -> Finished {
        Finished { unit, text: format!("text {unit}"), flag: None }
    }

    #[test]
    fn two_runs_do_not_write_one_part() {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("a.de.txt");
        let mut first = open(&out, false).unwrap();
        first.push(finished(1)).unwrap();
        first.flush().unwrap();
        for restart in [false, true] {
            let error = open(&out, restart).unwrap_err().to_string();
            assert!(error.contains("another run writes") && error.contains("--out"), "{error}");
        }
        drop(first);
        let second = open(&out, false).unwrap();
        assert_eq!((second.n_finished(), second.get(1)), (1, Some("text 1")));
        std::fs::remove_file(second.path()).unwrap();
        second.remove().unwrap();
    }

    #[test]
    fn damage_is_told_by_its_line() {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("a.de.txt");
        let mut part = open(&out, false).unwrap();
        (0..3).for_each(|unit| part.push(finished(unit)).unwrap());
        part.flush().unwrap();
        let path = part.path().to_owned();
        drop(part);
        let whole = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, whole.replace("\"unit\":1", "\"unit\":9")).unwrap();
        let error = open(&out, false).unwrap_err().to_string();
        assert!(error.contains("is damaged in line 3"), "{error}");
        // A line that was cut off is none.
        std::fs::write(&path, &whole[..whole.len() - 4]).unwrap();
        assert_eq!(open(&out, false).unwrap().n_finished(), 2);
    }
}
