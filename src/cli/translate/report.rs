//! What `hymt translate --file` says at its end.

use std::path::PathBuf;

use hymt_core::language::Language;
use serde_json::{Value, json};

use crate::cli::output::{self, Output};

/// Most lines about single texts that are printed; `--json` has all.
const NOTES_MAX: usize = 20;

/// A text that stays as it was.
#[derive(Debug)]
pub(super) struct Failed {
    pub(super) unit: usize,
    /// Of the document, from 1.
    pub(super) line: usize,
    pub(super) reason: String,
}

/// What became of one output.
#[derive(Debug)]
pub(super) struct OutputReport {
    pub(super) target: Language,
    pub(super) file: PathBuf,
    /// In this run.
    pub(super) translated: usize,
    pub(super) from_cache: usize,
    /// Finished in an earlier run.
    pub(super) resumed: usize,
    /// Line, and what a person should look at.
    pub(super) flagged: Vec<(usize, String)>,
    pub(super) failed: Vec<Failed>,
}

impl OutputReport {
    pub(super) fn new(target: Language) -> Self {
        Self {
            target,
            file: PathBuf::new(),
            translated: 0,
            from_cache: 0,
            resumed: 0,
            flagged: Vec::new(),
            failed: Vec::new(),
        }
    }

    fn json(&self) -> Value {
        let flagged = self.flagged.iter().map(|(line, why)| json!({ "line": line, "detail": why }));
        let failed = self.failed.iter().map(|f| json!({ "line": f.line, "reason": f.reason }));
        json!({
            "target": self.target.code(),
            "file": self.file.display().to_string(),
            "translated": self.translated,
            "from_cache": self.from_cache,
            "resumed": self.resumed,
            "flagged": flagged.collect::<Vec<_>>(),
            "failed": failed.collect::<Vec<_>>(),
        })
    }

    fn line(&self, n_units: &Value) -> String {
        let mut line =
            format!("{}: {} of {n_units} texts translated", self.file.display(), self.translated);
        for (n, what) in [
            (self.resumed, "from an earlier run"),
            (self.flagged.len(), "to look at"),
            (self.failed.len(), "left as they were"),
        ] {
            if n > 0 {
                line.push_str(&format!(", {n} {what}"));
            }
        }
        line
    }
}

/// Prints the report: one line for each output, and on standard error what to look at.
///
/// # Errors
/// What the stream reports.
pub(super) fn print(
    summary: &Value,
    reports: &[OutputReport],
    as_json: bool,
    output: &mut Output,
) -> anyhow::Result<()> {
    if as_json {
        let mut document = summary.clone();
        document["outputs"] = reports.iter().map(OutputReport::json).collect();
        return output.json(&document);
    }
    let input = summary["file"].as_str().unwrap_or_default();
    for report in reports {
        output.line(report.line(&summary["units"]))?;
        let failed = report.failed.iter().map(|f| (f.line, f.reason.as_str(), "left as it was: "));
        let flagged = report.flagged.iter().map(|(line, why)| (*line, why.as_str(), ""));
        let n = report.failed.len() + report.flagged.len();
        for (line, why, lead) in failed.chain(flagged).take(NOTES_MAX) {
            output::note(&format!("hymt: {input} line {line}: {}: {lead}{why}", report.target));
        }
        if n > NOTES_MAX {
            output::note(&format!("hymt: and {} more; --json lists all", n - NOTES_MAX));
        }
        if !report.failed.is_empty() {
            output::note("hymt: the same command with --force tries again what failed");
        }
    }
    Ok(())
}
