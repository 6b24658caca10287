//! `hymt glossary`: checks and converts files of terms.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Args, Subcommand};
use hymt_core::glossary::export::{Exported, export};
use hymt_core::glossary::import::{self, Format, IMPORT_BYTES_MAX, Imported};
use hymt_core::glossary::{Glossary, LanguagePair};
use hymt_core::language::Language;
use serde_json::{Value, json};

use crate::cli::UsageError;
use crate::cli::output::{self, Output, Style};
use crate::cli::translate::paths::{is_same, write_whole};

/// Arguments of `hymt glossary`.
#[derive(Debug, Args)]
pub struct GlossaryArgs {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Read files and tell their entries and their problems by line.
    Check(CheckArgs),
    /// Write a glossary as .tsv or .csv.
    Convert(ConvertArgs),
}

#[derive(Debug, Args)]
struct CheckArgs {
    #[command(flatten)]
    pair: PairArgs,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    /// Files: .tsv, .csv, .tbx or .tmx; others are told by their content.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
}

#[derive(Debug, Args)]
struct ConvertArgs {
    #[command(flatten)]
    pair: PairArgs,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    /// File to read.
    #[arg(value_name = "IN")]
    input: PathBuf,
    /// File to write, .tsv or .csv.
    #[arg(value_name = "OUT")]
    output: PathBuf,
}

#[derive(Debug, Args)]
struct PairArgs {
    /// Source language, for files that do not say it, or to take only this one.
    #[arg(long, value_name = "LANG")]
    from: Option<Language>,
    /// Target language, likewise.
    #[arg(long, value_name = "LANG")]
    to: Option<Language>,
}

impl PairArgs {
    fn pair(&self) -> LanguagePair {
        LanguagePair { source: self.from, target: self.to }
    }
}

/// Checks or converts.
///
/// # Errors
/// When a file cannot be converted, or the output cannot be written.
pub fn run(args: &GlossaryArgs, output: &mut Output) -> anyhow::Result<ExitCode> {
    match &args.command {
        Command::Check(args) => check(args, output),
        Command::Convert(args) => convert(args, output),
    }
}

/// Reads a file of terms.
///
/// # Errors
/// What is wrong with it, each with the name of the file and the line.
pub(crate) fn read(path: &Path, pair: LanguagePair) -> Result<Imported, Vec<String>> {
    let file = path.display().to_string();
    let one = |what: String| vec![format!("{file}: {what}")];
    let mut bytes = Vec::new();
    std::fs::File::open(path)
        .and_then(|opened| opened.take(IMPORT_BYTES_MAX as u64 + 1).read_to_end(&mut bytes))
        .map_err(|error| one(format!("cannot be read: {error}")))?;
    let content = import::decode(&bytes).map_err(|problem| vec![problem.in_file(&file)])?;
    let format = Format::named_or_sniffed(extension(path), &content)
        .map_err(|error| one(error.to_string()))?;
    import::import(format, &content, pair)
        .map_err(|problems| problems.iter().map(|problem| problem.in_file(&file)).collect())
}

/// Reads the files of `--glossary` as the terms of `hymt translate`.
///
/// # Errors
/// When one has a problem, or there are too many terms.
pub(crate) fn read_all(paths: &[PathBuf]) -> anyhow::Result<Glossary> {
    let mut all = Glossary::default();
    for path in paths {
        let read = read(path, LanguagePair::default())
            .map_err(|problems| anyhow::anyhow!(problems.join("\n")))?;
        for note in &read.notes {
            output::note(&format!("hymt: {}", note.in_file(&path.display().to_string())));
        }
        read.glossary.entries().iter().try_for_each(|entry| all.insert(entry.clone()))?;
    }
    Ok(all)
}

fn extension(path: &Path) -> &str {
    path.extension().and_then(|extension| extension.to_str()).unwrap_or_default()
}

fn check(args: &CheckArgs, output: &mut Output) -> anyhow::Result<ExitCode> {
    let mut is_fine = true;
    let mut documents = Vec::new();
    for path in &args.files {
        let file = path.display().to_string();
        let read = read(path, args.pair.pair());
        is_fine &= read.is_ok();
        if args.json {
            documents.push(document(&file, &read));
        } else {
            print(&file, &read, output)?;
        }
    }
    if args.json {
        output.json(&json!({ "files": documents }))?;
    }
    Ok(if is_fine { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn print(
    file: &str,
    read: &Result<Imported, Vec<String>>,
    output: &mut Output,
) -> anyhow::Result<()> {
    match read {
        Ok(Imported { glossary, notes }) => {
            output.line(format!(
                "{} {} entries",
                output.styled(Style::Good, &format!("{file}:")),
                glossary.len()
            ))?;
            for (pair, n_entries) in counts(glossary) {
                output.line(format!("  {pair:<16} {n_entries}"))?;
            }
            notes.iter().try_for_each(|note| {
                output.line(output.styled(Style::Dim, &format!("  {}", note.in_file(file))))
            })?;
        }
        Err(problems) => problems
            .iter()
            .try_for_each(|problem| output.line(output.styled(Style::Bad, problem)))?,
    }
    Ok(())
}

fn document(file: &str, read: &Result<Imported, Vec<String>>) -> Value {
    let (entries, notes, problems) = match read {
        Ok(Imported { glossary, notes }) => {
            let notes: Vec<String> = notes.iter().map(ToString::to_string).collect();
            (counts(glossary), notes, Vec::new())
        }
        Err(problems) => (BTreeMap::new(), Vec::new(), problems.clone()),
    };
    json!({ "file": file, "entries": entries, "notes": notes, "problems": problems })
}

/// Entries of each pair, as in `en>de`.
fn counts(glossary: &Glossary) -> BTreeMap<String, usize> {
    let code = |language: Option<Language>| language.map_or("*", Language::code);
    let mut counts = BTreeMap::new();
    for entry in glossary.entries() {
        let pair = format!("{}>{}", code(entry.pair.source), code(entry.pair.target));
        *counts.entry(pair).or_default() += 1;
    }
    counts
}

fn convert(args: &ConvertArgs, output: &mut Output) -> anyhow::Result<ExitCode> {
    let format: Format = extension(&args.output).parse().map_err(|error| {
        UsageError(format!(
            "{}: {error}; a glossary is written as tsv or csv",
            args.output.display()
        ))
    })?;
    if is_same(&args.output, &args.input) {
        let shown = args.output.display();
        return Err(UsageError(format!("'{shown}' is the input; write to another file")).into());
    }
    let Imported { glossary, notes } = read(&args.input, args.pair.pair())
        .map_err(|problems| anyhow::anyhow!(problems.join("\n")))?;
    let Exported { content, n_case_rules_lost } = export(format, &glossary)
        .with_context(|| format!("{} is not written", args.output.display()))?;
    write_whole(&args.output, &content)?;
    let input = args.input.display().to_string();
    let mut notes: Vec<String> = notes.iter().map(|note| note.in_file(&input)).collect();
    if n_case_rules_lost > 0 {
        notes.push(format!(
            "{n_case_rules_lost} terms asked for exact case, which {format} cannot say"
        ));
    }
    if args.json {
        let written = args.output.display().to_string();
        output.json(&json!({ "file": written, "entries": counts(&glossary), "notes": notes }))?;
    } else {
        notes.iter().for_each(|note| output::note(&format!("hymt: {note}")));
        output.line(format!("{}: {} entries", args.output.display(), glossary.len()))?;
    }
    Ok(ExitCode::SUCCESS)
}
