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
    let path_of = |target: &Language| match out {
        None => input.with_file_name(name_of(input, target)),
        Some(out) if out.is_dir() => out.join(name_of(input, target)),
        Some(out) if targets.len() > 1 => out.with_file_name(name_of(out, target)),
        Some(out) => out.clone(),
    };
    let paths: Vec<PathBuf> = targets.iter().map(path_of).collect();
    for path in &paths {
        let shown = path.display();
        let is_input = path == input
            || path.canonicalize().is_ok_and(|path| input.canonicalize().is_ok_and(|i| i == path));
        if is_input {
            return Err(UsageError(format!("'{shown}' is the input; give another --out")).into());
        }
        if path.exists() && !force {
            return Err(UsageError(format!(
                "'{shown}' exists; give --force to replace it, or another --out"
            ))
            .into());
        }
    }
    Ok(paths)
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
pub(super) fn write_whole(path: &Path, text: &str) -> anyhow::Result<()> {
    let shown = path.display();
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".hymt-new");
    let new = path.with_file_name(name);
    let write = || -> std::io::Result<()> {
        let mut file = File::create(&new)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        std::fs::rename(&new, path)
    };
    write().with_context(|| format!("cannot write '{shown}'"))
}
