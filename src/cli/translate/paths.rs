//! The files of `hymt translate --file`: which there are, reading and writing them.

use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use hymt_core::document::{DOCUMENT_BYTES_MAX, DocumentFormat, JsonPointer, ParseOptions};
use hymt_core::language::Language;

use super::file::FileArgs;
use crate::cli::UsageError;

/// Most units before one that are its context.
const PREVIOUS_MAX: usize = 8;

pub(super) fn format(given: &str, input: &Path) -> Result<DocumentFormat, UsageError> {
    let names = || DocumentFormat::ALL.map(DocumentFormat::name).join(", ");
    if given != "auto" {
        return DocumentFormat::from_name(given).ok_or_else(|| {
            UsageError(format!("format '{given}' is not known; allowed: auto, {}", names()))
        });
    }
    let extension = input.extension().map(|extension| extension.to_string_lossy().into_owned());
    extension.as_deref().and_then(DocumentFormat::from_name).ok_or_else(|| {
        let input = input.display();
        UsageError(format!("the name '{input}' says no format; give --format, one of {}", names()))
    })
}

pub(super) fn parse_options(args: &FileArgs) -> Result<ParseOptions, UsageError> {
    if args.previous > PREVIOUS_MAX {
        let given = args.previous;
        return Err(UsageError(format!("--previous {given} is too many; 0 to {PREVIOUS_MAX}")));
    }
    let pointers = args.json_include.iter().map(|given| JsonPointer::parse(given));
    let json_include = pointers.collect::<Result<Vec<_>, _>>();
    let json_include = json_include.map_err(|error| UsageError(error.to_string()))?;
    Ok(ParseOptions { json_include, po_overwrite: args.po_overwrite })
}

/// One output for each target, none of which exists unless it may be replaced.
pub(super) fn out_paths(
    args: &FileArgs,
    input: &Path,
    targets: &[Language],
) -> anyhow::Result<Vec<PathBuf>> {
    let FileArgs { out, force, .. } = args;
    let name_of = |path: &Path, target: &Language| {
        let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        // A template becomes a catalogue.
        let extension = path.extension().map(|extension| extension.to_string_lossy().into_owned());
        let extension =
            extension.map(|e| if e == "pot" { ".po".to_owned() } else { format!(".{e}") });
        format!("{stem}.{target}{}", extension.unwrap_or_default())
    };
    let is_folder = |path: &Path| path.to_string_lossy().ends_with(std::path::is_separator);
    if let Some(out) = out.as_ref().filter(|out| !out.is_dir()) {
        let shown = out.display();
        if is_folder(out) {
            return Err(UsageError(format!("there is no folder '{shown}'; make it first")).into());
        }
        if out.file_name().is_none() {
            return Err(UsageError(format!("--out '{shown}' names no file")).into());
        }
    }
    let path_of = |target: &Language| match out {
        None => input.with_file_name(name_of(input, target)),
        Some(out) if out.is_dir() => out.join(name_of(input, target)),
        Some(out) if targets.len() > 1 => out.with_file_name(name_of(out, target)),
        Some(out) => out.clone(),
    };
    let paths: Vec<PathBuf> = targets.iter().map(path_of).collect();
    paths.iter().try_for_each(|path| check_out(path, input, *force))?;
    Ok(paths)
}

/// Says what would go wrong at the end of a long run before it begins.
fn check_out(path: &Path, input: &Path, force: bool) -> Result<(), UsageError> {
    let shown = path.display();
    if is_same(path, input) {
        return Err(UsageError(format!("'{shown}' is the input; give another --out")));
    }
    // A device or a folder must not be replaced, whatever is forced.
    if path.exists() && !path.is_file() {
        return Err(UsageError(format!("'{shown}' is no plain file; give another --out")));
    }
    if path.exists() && !force {
        return Err(UsageError(format!(
            "'{shown}' exists; give --force to replace it, or another --out"
        )));
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    match folder.filter(|folder| !folder.is_dir()) {
        Some(folder) => {
            let folder = folder.display();
            Err(UsageError(format!("there is no folder '{folder}' for '{shown}'; make it first")))
        }
        None => Ok(()),
    }
}

/// True when both lead to one file.
pub(in crate::cli) fn is_same(path: &Path, other: &Path) -> bool {
    let whole = |path: &Path| path.canonicalize().ok();
    path == other || whole(path).is_some_and(|path| whole(other) == Some(path))
}

pub(super) fn read(input: &Path) -> anyhow::Result<String> {
    let shown = input.display();
    let file = File::open(input).with_context(|| format!("cannot read '{shown}'"))?;
    let mut bytes = Vec::new();
    file.take(DOCUMENT_BYTES_MAX as u64 + 1)
        .read_to_end(&mut bytes)
        .with_context(|| format!("cannot read '{shown}'"))?;
    ensure!(
        bytes.len() <= DOCUMENT_BYTES_MAX,
        "{shown}: more than {DOCUMENT_BYTES_MAX} bytes; translate it in parts"
    );
    String::from_utf8(bytes).map_err(|error| {
        let valid = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = valid.iter().filter(|byte| **byte == b'\n').count() + 1;
        anyhow::anyhow!("{shown} line {line}: not UTF-8; convert it, for example with iconv")
    })
}

/// Writes a file so that it is there whole or not at all.
pub(in crate::cli) fn write_whole(path: &Path, text: &str) -> anyhow::Result<()> {
    let shown = path.display();
    // A link goes on leading to its file, which is the one that is replaced.
    let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".hymt-new");
    let new = path.with_file_name(name);
    let write = || -> std::io::Result<()> {
        let mut file = File::create(&new)?;
        // Whoever could not read the old one cannot read the new one.
        if let Ok(old) = std::fs::metadata(&path) {
            file.set_permissions(old.permissions())?;
        }
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        std::fs::rename(&new, &path)
    };
    let written = write();
    if written.is_err() {
        // Half a file on a full disk helps nobody.
        let _ = std::fs::remove_file(&new);
    }
    written.with_context(|| format!("cannot write '{shown}'"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outputs_that_cannot_be_written_are_refused_before_the_work() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::write(at("a.txt"), "Hello.").unwrap();
        let refused = |out: PathBuf, words: &str| {
            let args = FileArgs { out: Some(out), force: true, ..FileArgs::default() };
            let error = out_paths(&args, &at("a.txt"), &[Language::German]).unwrap_err();
            assert!(error.is::<UsageError>() && error.to_string().contains(words), "{error}");
        };
        refused(at("german/"), "there is no folder");
        refused(at("german/a.txt"), "there is no folder");
        refused(PathBuf::new(), "names no file");
        refused(at("a.txt"), "is the input");
        std::fs::create_dir(at("a.de.txt")).unwrap();
        refused(folder.path().to_owned(), "is no plain file");
        #[cfg(unix)]
        refused(PathBuf::from("/dev/null"), "is no plain file");
    }

    #[cfg(unix)]
    #[test]
    fn a_replaced_file_keeps_its_link_and_its_permissions() {
        use std::os::unix::fs::{PermissionsExt as _, symlink};
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::write(at("real"), "old").unwrap();
        let mode = std::fs::Permissions::from_mode(0o600);
        std::fs::set_permissions(at("real"), mode).unwrap();
        symlink("real", at("link")).unwrap();
        write_whole(&at("link"), "new").unwrap();
        assert_eq!(std::fs::read_to_string(at("real")).unwrap(), "new");
        assert!(at("link").is_symlink());
        assert_eq!(at("real").metadata().unwrap().permissions().mode() & 0o777, 0o600);
        // What cannot be written leaves nothing behind.
        std::fs::create_dir(at("folder")).unwrap();
        write_whole(&at("folder"), "new").unwrap_err();
        assert!(!at("folder.hymt-new").exists());
    }
}
