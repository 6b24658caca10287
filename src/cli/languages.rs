//! `hymt languages`

use std::process::ExitCode;

use clap::Args;
use hymt_core::language::Language;
use serde_json::json;

use crate::cli::output::Output;

/// Arguments of `hymt languages`.
#[derive(Debug, Args)]
pub struct LanguagesArgs {
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Lists the languages.
///
/// # Errors
/// When the output cannot be written.
pub fn run(args: &LanguagesArgs, output: &mut Output) -> anyhow::Result<ExitCode> {
    if args.json {
        let rows: Vec<_> = Language::all()
            .map(|language| {
                json!({
                    "code": language.code(),
                    "topic_name": language.topic_name(),
                    "english": language.english_name(),
                    "chinese": language.chinese_name(),
                    "aliases": language.aliases(),
                })
            })
            .collect();
        output.json(&json!({ "languages": rows }))?;
        return Ok(ExitCode::SUCCESS);
    }
    for language in Language::all() {
        let aliases = language.aliases().join(", ");
        let line = format!("{:<8} {:<20} {aliases}", language.code(), language.english_name());
        output.line(line.trim_end())?;
    }
    Ok(ExitCode::SUCCESS)
}
