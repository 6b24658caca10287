//! The file of what was published (`output.log_file`), written by a thread of its own: a slow disk must
//! not hold captions up.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread::JoinHandle;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TrySendError, bounded};

use crate::config::{LogFormat, OutputLog};
use crate::ros::wire::Translation;
use crate::transcript::{CUE_MAX, Entry, Transcript};

/// Translations that may wait to be written. Beyond it they are not written, which the log says.
const WAITING_MAX: usize = 1024;
/// Longest file. Bytes. What comes after is not written, which the log says.
const FILE_BYTES_MAX: u64 = 1 << 30;
/// Files of subtitles with the same name, numbered; beyond it something else is wrong.
const NUMBERED_MAX: usize = 10_000;

/// The file, while there is one.
#[derive(Default)]
pub(super) struct LogFile(Mutex<Option<Running>>);

struct Running {
    wanted: OutputLog,
    inbox: Sender<Translation>,
    was_full: AtomicBool,
    thread: Option<JoinHandle<()>>,
}

impl LogFile {
    /// Begins, ends or changes the file.
    pub(super) fn follow(&self, wanted: Option<&OutputLog>) {
        let mut running = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if running.as_ref().map(|running| &running.wanted) == wanted {
            return;
        }
        // Ends the thread that writes the old one.
        *running = None;
        *running = wanted.map(Running::start);
    }

    /// Hands a translation to the thread.
    pub(super) fn add(&self, translation: &Translation) {
        let running = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(running) = running.as_ref().filter(|_| translation.is_final) else { return };
        match running.inbox.try_send(translation.clone()) {
            Ok(()) => running.was_full.store(false, Ordering::Relaxed),
            Err(TrySendError::Full(_)) => {
                if !running.was_full.swap(true, Ordering::Relaxed) {
                    tracing::error!("output.log_file cannot be written fast enough; it has gaps");
                }
            }
            // It said why when it ended.
            Err(TrySendError::Disconnected(_)) => {}
        }
    }
}

impl Running {
    fn start(wanted: &OutputLog) -> Self {
        let (inbox, translations) = bounded(WAITING_MAX);
        let (path, format) = (PathBuf::from(&wanted.file), wanted.format);
        let thread = std::thread::Builder::new()
            .name("hymt-log-file".to_owned())
            .spawn(move || {
                if let Err(error) = write_all(&path, format, &translations) {
                    let path = path.display();
                    tracing::error!(%error, "output.log_file '{path}' is not written any more");
                }
            })
            .expect("the system can start one more thread");
        Self {
            wanted: wanted.clone(),
            inbox,
            was_full: AtomicBool::new(false),
            thread: Some(thread),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let (closed, _) = bounded(0);
        self.inbox = closed;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn write_all(path: &Path, format: LogFormat, inbox: &Receiver<Translation>) -> io::Result<()> {
    let mut transcript = Transcript::new(format);
    let mut files = Files { path, format, open: HashMap::new() };
    loop {
        match inbox.recv_timeout(CUE_MAX) {
            Ok(translation) => {
                if let Some(entry) = transcript.add(&translation) {
                    files.append(&entry)?;
                }
            }
            // Nothing came while the last cue was to be read, so nothing shortens it.
            Err(RecvTimeoutError::Timeout) => files.append_all(&transcript.flush())?,
            Err(RecvTimeoutError::Disconnected) => return files.append_all(&transcript.flush()),
        }
    }
}

/// The files of one log, by language.
struct Files<'a> {
    path: &'a Path,
    format: LogFormat,
    open: HashMap<String, (File, u64)>,
}

impl Files<'_> {
    fn append_all(&mut self, entries: &[Entry]) -> io::Result<()> {
        entries.iter().try_for_each(|entry| self.append(entry))
    }

    fn append(&mut self, (language, text): &Entry) -> io::Result<()> {
        if !self.open.contains_key(language) {
            let opened = self.open(language)?;
            self.open.insert(language.clone(), opened);
        }
        let (file, length) = self.open.get_mut(language).expect("it was opened above");
        *length += text.len() as u64;
        if *length > FILE_BYTES_MAX {
            return Err(io::Error::other(format!("it has {FILE_BYTES_MAX} bytes, the limit")));
        }
        // Entries are whole lines or cues, so whoever reads along never sees half of one.
        file.write_all(text.as_bytes())
    }

    fn open(&self, language: &str) -> io::Result<(File, u64)> {
        if !self.format.is_per_language() {
            let mut file = OpenOptions::new().create(true).append(true).open(self.path)?;
            let mut length = file.metadata()?.len();
            if length > 0 && !ends_line(self.path) {
                file.write_all(b"\n")?;
                length += 1;
            }
            return Ok((file, length));
        }
        // Times count from the beginning of a file, so an old one is left alone.
        for number in 1..=NUMBERED_MAX {
            let path = numbered(self.path, language, number);
            match OpenOptions::new().create_new(true).append(true).open(&path) {
                Ok(file) => return Ok((file, 0)),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
        Err(io::Error::other(format!("{NUMBERED_MAX} files of this name are there")))
    }
}

/// False for a file that ends in half a line, as a full disk or a power cut leaves it: what is appended to
/// that would be lost with it.
fn ends_line(path: &Path) -> bool {
    let last = || -> io::Result<u8> {
        let (mut file, mut last) = (File::open(path)?, [0]);
        file.seek(SeekFrom::End(-1))?;
        file.read_exact(&mut last)?;
        Ok(last[0])
    };
    // What cannot be read is written as it is.
    last().map_or(true, |last| last == b'\n')
}

/// `captions.vtt` becomes `captions.de.vtt`, `captions.de.2.vtt` and so on.
fn numbered(path: &Path, language: &str, number: usize) -> PathBuf {
    let name = path.file_stem().unwrap_or_default().to_string_lossy();
    let extension = match path.extension() {
        Some(extension) => format!(".{}", extension.to_string_lossy()),
        None => String::new(),
    };
    let number = if number == 1 { String::new() } else { format!(".{number}") };
    path.with_file_name(format!("{name}.{language}{number}{extension}"))
}

/// Whether a file could be written there.
///
/// # Errors
/// Why not.
pub(super) fn check(wanted: Option<&OutputLog>) -> Result<(), String> {
    let Some(OutputLog { file, .. }) = wanted else { return Ok(()) };
    let path = Path::new(file);
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new("."));
    match fs::metadata(folder) {
        _ if path.is_dir() => Err(format!("output.log_file '{file}' is a folder; name a file")),
        Ok(found) if found.is_dir() => Ok(()),
        _ => {
            let folder = folder.display();
            Err(format!("output.log_file '{file}': there is no folder '{folder}'; make it first"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(locale: &str, text: &str) -> Translation {
        Translation {
            is_final: true,
            target_locale: locale.to_owned(),
            text: text.to_owned(),
            ..Translation::default()
        }
    }

    #[test]
    fn lines_are_appended_and_subtitles_begin_anew() {
        let folder = tempfile::tempdir().unwrap();
        let log = |name: &str, format| OutputLog {
            file: folder.path().join(name).display().to_string(),
            format,
        };
        let read = |name: &str| fs::read_to_string(folder.path().join(name)).unwrap();
        let file = LogFile::default();
        for _ in 0..2 {
            for wanted in [log("all.txt", LogFormat::Txt), log("captions.vtt", LogFormat::Vtt)] {
                file.follow(Some(&wanted));
                file.add(&said("de", "Guten Tag."));
                file.add(&said("zh", "你好。"));
            }
            // What was handed over is in the file when it is closed.
            file.follow(None);
        }
        file.add(&said("de", "not kept"));
        assert_eq!(read("all.txt").lines().count(), 4);
        for name in ["captions.de.vtt", "captions.de.2.vtt", "captions.zh.vtt", "captions.zh.2.vtt"]
        {
            assert!(read(name).starts_with("WEBVTT\n\n1\n"), "{name}");
        }
    }

    #[test]
    fn half_a_line_spoils_no_other() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("all.jsonl");
        fs::write(&path, "{}\n{\"text\": \"cut o").unwrap();
        let wanted = OutputLog { file: path.display().to_string(), format: LogFormat::Jsonl };
        let file = LogFile::default();
        file.follow(Some(&wanted));
        file.add(&said("de", "Guten Tag."));
        file.follow(None);
        let text = fs::read_to_string(&path).unwrap();
        let last = text.lines().next_back().unwrap();
        let record: serde_json::Value = serde_json::from_str(last).unwrap();
        assert_eq!((text.lines().count(), &record["text"]), (3, &"Guten Tag.".into()), "{text}");
    }

    #[test]
    fn a_file_that_cannot_be_is_refused_with_the_way_out() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().display().to_string();
        let log = |file: String| Some(OutputLog { file, format: LogFormat::Jsonl });
        assert_eq!(check(None), Ok(()));
        assert_eq!(check(log(format!("{path}/log.jsonl")).as_ref()), Ok(()));
        assert!(check(log(path.clone()).as_ref()).unwrap_err().contains("is a folder"));
        let missing = check(log(format!("{path}/no/log.jsonl")).as_ref()).unwrap_err();
        assert!(missing.contains("there is no folder") && missing.contains("/no'"), "{missing}");
    }
}
