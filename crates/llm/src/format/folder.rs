//! Folders that come whole: written beside their place, then put there.

use std::io;
use std::path::{Path, PathBuf};

/// `path` with `suffix` behind its last name.
pub fn beside(path: &Path, suffix: &str) -> PathBuf {
    // Components drop a trailing slash, which would put the folder inside the other.
    let mut name = path.components().collect::<PathBuf>().into_os_string();
    name.push(suffix);
    name.into()
}

/// Puts the folder `partial` where `out` is, or was to be.
///
/// # Errors
/// What the system said, and of which folder.
pub fn put_in_place(partial: &Path, out: &Path) -> Result<(), (PathBuf, io::Error)> {
    let of = |path: &Path| {
        let path = path.to_owned();
        move |error| (path, error)
    };
    let old = beside(out, ".old");
    let replaces = out.exists();
    if replaces {
        if old.exists() {
            // Of a run that ended while it removed this.
            std::fs::remove_dir_all(&old).map_err(of(&old))?;
        }
        std::fs::rename(out, &old).map_err(of(&old))?;
    }
    std::fs::rename(partial, out).map_err(of(out))?;
    if replaces {
        std::fs::remove_dir_all(&old).map_err(of(&old))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_there_is_replaced_also_after_a_run_that_was_cut() {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("out");
        for (run, cut) in [("first", false), ("second", false), ("third", true)] {
            let partial = beside(&out, ".partial");
            std::fs::create_dir(&partial).unwrap();
            std::fs::write(partial.join("file"), run).unwrap();
            if cut {
                std::fs::create_dir(beside(&out, ".old")).unwrap();
            }
            put_in_place(&partial, &out).unwrap();
            assert_eq!(std::fs::read_to_string(out.join("file")).unwrap(), run);
            assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "nothing beside it");
        }
    }
}
