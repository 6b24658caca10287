//! The only I/O of this part: bounded reading of files below a root folder.
//!
//! Links are followed inside the root only, so that a copied tree, in which `/proc/device-tree` is an
//! absolute link as on the board, is never completed with files of the machine that looks at it.

use std::io::{ErrorKind, Read as _};
use std::path::{Component, Path, PathBuf};

/// Longest file that is read unless a reader names another bound. Bytes; the real ones have less than
/// 20 KB.
pub const FILE_BYTES_MAX: u64 = 256 << 10;
/// Most entries of a folder that are looked at; more are left out.
pub const ENTRIES_MAX: usize = 8192;
/// Most links on the way to one file, as in Linux.
const LINKS_MAX: usize = 40;

/// The files of a machine.
#[derive(Debug, Clone)]
pub struct System {
    root: PathBuf,
}

/// Why a file was not read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unread {
    /// There is none.
    #[error("there is none")]
    Missing,
    /// There is something else under that name.
    #[error("it is no regular file")]
    NoFile,
    /// It is longer than it should be.
    #[error("it has more than {bytes_max} bytes")]
    TooLong {
        /// The bound.
        bytes_max: u64,
    },
    /// The system refuses.
    #[error("it cannot be read: {reason}")]
    Refused {
        /// What the system said.
        reason: String,
    },
}

impl System {
    /// This machine.
    pub fn here() -> Self {
        Self::below("/")
    }

    /// Another one, whose files were copied below `root`.
    pub fn below(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// A small file as text; bytes that are no UTF-8 become U+FFFD.
    ///
    /// # Errors
    /// [`Unread`].
    pub fn text(&self, path: &str) -> Result<String, Unread> {
        self.text_up_to(path, FILE_BYTES_MAX)
    }

    /// A file of at most `bytes_max` bytes as text.
    ///
    /// # Errors
    /// [`Unread`].
    pub fn text_up_to(&self, path: &str, bytes_max: u64) -> Result<String, Unread> {
        let path = self.resolve(path).ok_or(Unread::Missing)?;
        let refused = |error: std::io::Error| match error.kind() {
            ErrorKind::NotFound => Unread::Missing,
            _ => Unread::Refused { reason: error.to_string() },
        };
        // Looked at before it is opened: opening a pipe waits for its other end.
        if !std::fs::symlink_metadata(&path).map_err(refused)?.is_file() {
            return Err(Unread::NoFile);
        }
        let file = std::fs::File::open(&path).map_err(refused)?;
        let mut bytes = Vec::new();
        file.take(bytes_max + 1).read_to_end(&mut bytes).map_err(refused)?;
        if bytes.len() as u64 > bytes_max {
            return Err(Unread::TooLong { bytes_max });
        }
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// A small file as text, trimmed of white space and NUL; empty where it cannot be read.
    pub fn line(&self, path: &str) -> String {
        let text = self.text(path).unwrap_or_default();
        text.trim_matches(|c: char| c == '\0' || c.is_whitespace()).to_owned()
    }

    /// Names of a folder's entries, sorted; none where there is no such folder.
    pub fn entries(&self, path: &str) -> Vec<String> {
        let Some(entries) = self.resolve(path).and_then(|path| std::fs::read_dir(path).ok()) else {
            return Vec::new();
        };
        let names = entries.take(ENTRIES_MAX).flatten();
        let mut names: Vec<_> = names.filter_map(|e| e.file_name().into_string().ok()).collect();
        names.sort();
        names
    }

    /// Whether a file is there, at the end of its links.
    pub fn has_file(&self, path: &str) -> bool {
        self.resolve(path).is_some_and(|path| path.is_file())
    }

    /// Name of the file at the end of a link's links; its own name where it is none.
    pub fn final_name(&self, path: &str) -> Option<String> {
        Some(self.resolve(path)?.file_name()?.to_str()?.to_owned())
    }

    /// Where `path` leads, links included, without leaving the root. The last component need not be
    /// there.
    fn resolve(&self, path: &str) -> Option<PathBuf> {
        let mut left: Vec<_> = components(Path::new(path));
        left.reverse();
        let (mut at, mut links) = (PathBuf::new(), 0);
        while let Some(name) = left.pop() {
            if name == ".." {
                at.pop();
                continue;
            }
            let Ok(target) = std::fs::read_link(self.root.join(&at).join(&name)) else {
                at.push(name);
                continue;
            };
            links += 1;
            if links > LINKS_MAX {
                return None;
            }
            if target.has_root() {
                at.clear();
            }
            left.extend(components(&target).into_iter().rev());
        }
        Some(self.root.join(at))
    }
}

/// The names of a path, `..` among them, without its root.
fn components(path: &Path) -> Vec<String> {
    let name = |component: Component<'_>| match component {
        Component::Normal(name) => Some(name.to_string_lossy().into_owned()),
        Component::ParentDir => Some("..".to_owned()),
        _ => None,
    };
    path.components().filter_map(name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn links_stay_inside_the_root() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        std::fs::write(root.join("outside"), "secret").unwrap();
        let inside = root.join("root");
        std::fs::create_dir_all(inside.join("sys/base")).unwrap();
        std::fs::create_dir(inside.join("proc")).unwrap();
        std::fs::write(inside.join("sys/base/model"), "a board\0").unwrap();
        symlink("/sys/base", inside.join("proc/tree")).unwrap();
        symlink("../../../../../outside", inside.join("proc/escape")).unwrap();
        symlink("loop", inside.join("proc/loop")).unwrap();
        let system = System::below(&inside);
        assert_eq!(system.line("/proc/tree/model"), "a board");
        assert_eq!(system.text("/proc/escape"), Err(Unread::Missing));
        assert_eq!(system.text("/../outside"), Err(Unread::Missing));
        assert_eq!(system.text("/proc/loop"), Err(Unread::Missing));
        assert_eq!(system.entries("/proc/tree"), ["model"]);
        assert_eq!(system.final_name("/proc/tree/model").unwrap(), "model");
    }

    #[test]
    fn what_is_no_small_file_is_not_read() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("large"), vec![b'x'; 101]).unwrap();
        std::fs::write(dir.path().join("garbage"), [0xff, b'a']).unwrap();
        std::fs::create_dir(dir.path().join("folder")).unwrap();
        let pipe = dir.path().join("pipe");
        let made = std::process::Command::new("mkfifo").arg(&pipe).status().unwrap();
        assert!(made.success());
        let system = System::below(dir.path());
        assert_eq!(system.text_up_to("/large", 100), Err(Unread::TooLong { bytes_max: 100 }));
        assert_eq!(system.text_up_to("/large", 101).unwrap().len(), 101);
        assert_eq!(system.text("/folder"), Err(Unread::NoFile));
        assert_eq!(system.text("/pipe"), Err(Unread::NoFile));
        assert_eq!(system.text("/garbage").unwrap(), "\u{fffd}a");
        assert_eq!(system.line("/nothing"), "");
    }
}
