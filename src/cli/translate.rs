//! `hymt translate`: translation without ROS.

mod file;
mod part;
pub(super) mod paths;
mod report;

use std::io::{BufRead, Read};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use clap::Args;
use hymt_core::generate::{GenerateOptions, Generator};
use hymt_core::language::Language;
use hymt_core::request::{Limits, RawRequest, RequestDefaults};
use hymt_core::translator::{Status, TranslateRequest, Translation, Translator, TranslatorConfig};
use serde_json::{Value, json};

use crate::app::{self, About};
use crate::cli::output::{self, Output, Style};
use crate::cli::{ModelArgs, UsageError, progress};

/// Most lines of standard input that are translated.
pub const STDIN_LINES_MAX: usize = 100_000;
/// Longest line of standard input. Bytes; a text has its own, smaller bound.
pub const STDIN_LINE_BYTES_MAX: u64 = 1 << 20;

/// Arguments of `hymt translate`.
#[derive(Debug, Args)]
pub struct TranslateArgs {
    /// Languages to translate into, for example zh,de.
    #[arg(long, required = true, value_delimiter = ',', value_name = "LANG,...")]
    to: Vec<String>,
    /// Language of the text.
    #[arg(long, default_value = "auto", value_name = "LANG")]
    from: String,
    /// A term that must be translated so, `source=target`; repeat for more.
    #[arg(long, value_name = "SOURCE=TARGET")]
    term: Vec<String>,
    /// A file of terms: TSV, CSV, TBX or TMX; repeat for more.
    #[arg(long, value_name = "FILE")]
    glossary: Vec<std::path::PathBuf>,
    /// Text that helps and is not translated.
    #[arg(long, default_value = "", value_name = "TEXT")]
    context: String,
    #[command(flatten)]
    model: ModelArgs,
    /// Print one JSON document.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    file: file::FileArgs,
    /// The text; `-` reads standard input, one text a line.
    #[arg(required_unless_present = "file")]
    text: Option<String>,
}

impl TranslateArgs {
    /// The text; empty where a file is given instead.
    fn text(&self) -> &str {
        self.text.as_deref().unwrap_or_default()
    }
}

/// Translates and prints.
///
/// # Errors
/// When the arguments are not valid or the model cannot be loaded.
pub fn run(args: &TranslateArgs, output: &mut Output) -> anyhow::Result<ExitCode> {
    check(args)?;
    let terms = super::glossary::read_all(&args.glossary)?;
    if let Some(input) = &args.file.file {
        return file::run(args, input, terms, output);
    }
    let translator = Session::start(&args.model)?;
    translator.set_terms(terms);
    let mut documents = Vec::new();
    let mut failed = false;
    let mut one = |text: &str, output: &mut Output| -> anyhow::Result<()> {
        let results = translator.translate(args, text)?;
        failed |= results.iter().any(|result| !result.status.is_success());
        if args.json {
            documents.push(json!({
                "text": text,
                "translations": results.iter().map(result_json).collect::<Vec<_>>(),
            }));
            return Ok(());
        }
        results.iter().try_for_each(|result| print(result, results.len() > 1, output))
    };
    if args.text() == "-" {
        for_each_line(&mut std::io::stdin().lock(), |line| one(line, output))?;
    } else {
        one(args.text(), output)?;
    }
    if args.json {
        let About { model, engine, .. } = &translator.about;
        output.json(&json!({ "model": model, "engine": engine, "results": documents }))?;
    }
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Says what is wrong with the arguments before a model is loaded, which may take a while.
fn check(args: &TranslateArgs) -> Result<(), UsageError> {
    let mut raw = raw_request(args, args.text());
    if args.text() == "-" || args.file.file.is_some() {
        // Stands for the lines or units, of which none has been read yet.
        raw.text = "text";
    }
    let checked = TranslateRequest::parse(&raw, &RequestDefaults::default(), &Limits::default());
    checked.map(drop).map_err(|error| UsageError(error.to_string()))
}

fn raw_request<'a>(args: &'a TranslateArgs, text: &'a str) -> RawRequest<'a> {
    RawRequest {
        text,
        source: &args.from,
        targets: &args.to,
        inline_terms: &args.term,
        context: &args.context,
        ..RawRequest::default()
    }
}

/// A loaded model with a translator.
pub(crate) struct Session {
    translator: Translator,
    pub(crate) about: About,
}

impl Session {
    /// Loads the model, with a progress bar where somebody waits.
    pub(crate) fn start(args: &ModelArgs) -> anyhow::Result<Self> {
        Self::with_limits(args, Limits::default())
    }

    fn with_limits(args: &ModelArgs, limits: Limits) -> anyhow::Result<Self> {
        let options = args.engine_options()?;
        let model = load_with_bar(&options)?;
        let config = TranslatorConfig { limits, ..model.translator() };
        let translator = Translator::new(model.generator as Arc<dyn Generator>, config);
        Ok(Self { translator, about: model.about })
    }

    /// Makes terms hold for every text.
    fn set_terms(&self, terms: hymt_core::glossary::Glossary) {
        let mut config = self.translator.config().as_ref().clone();
        config.glossaries.base = terms;
        self.translator.reconfigure(config);
    }

    fn translate(&self, args: &TranslateArgs, text: &str) -> anyhow::Result<Vec<Translation>> {
        let request = self
            .translator
            .request(&raw_request(args, text))
            .map_err(|error| UsageError(error.to_string()))?;
        Ok(self.translator.translate(&request, &GenerateOptions::default(), &mut |_, _| ()))
    }

    /// Translates one text with everything else at its default.
    pub(crate) fn translate_plain(&self, text: &str, to: &str) -> anyhow::Result<Translation> {
        let targets = [to.to_owned()];
        let raw = RawRequest { text, targets: &targets, ..RawRequest::default() };
        let request = self.translator.request(&raw)?;
        let mut results =
            self.translator.translate(&request, &GenerateOptions::default(), &mut |_, _| ());
        results.pop().context("one target has one result")
    }
}

/// Loads a model with a progress bar on a terminal.
pub(crate) fn load_with_bar(options: &app::EngineOptions) -> anyhow::Result<app::LoadedModel> {
    progress::while_loading(|report| app::load(options, report))
}

fn print(result: &Translation, name_target: bool, output: &mut Output) -> anyhow::Result<()> {
    if !result.status.is_success() {
        let (target, status, detail) = (result.target, result.status.name(), &result.detail);
        output::note(&format!("hymt: {target}: {status}: {detail}"));
        return Ok(());
    }
    let text = if name_target {
        format!("{} {}", output.styled(Style::Dim, &format!("{}:", result.target)), result.text)
    } else {
        result.text.clone()
    };
    output.line(text)?;
    if result.status == Status::Truncated {
        output::note(&format!("hymt: {}: cut off at the output limit", result.target));
    }
    for term in &result.glossary_missed {
        let (source, target) = (term.source(), term.target());
        output::note(&format!("hymt: {}: the term {source}={target} was not used", result.target));
    }
    Ok(())
}

fn result_json(result: &Translation) -> Value {
    let terms = |terms: &[hymt_core::glossary::Term]| -> Vec<String> {
        terms.iter().map(|term| format!("{}={}", term.source(), term.target())).collect()
    };
    json!({
        "target": result.target.code(),
        "text": result.text,
        "status": result.status.name(),
        "detail": result.detail,
        "source": result.source.map(Language::code),
        "source_confidence": result.source_confidence,
        "glossary_applied": terms(&result.glossary_applied),
        "glossary_missed": terms(&result.glossary_missed),
        "from_cache": result.from_cache,
        "tokens_in": result.tokens_in,
        "tokens_out": result.tokens_out,
        "total_ms": result.total_ms,
    })
}

/// Calls `act` for each line of standard input that is not blank.
fn for_each_line(
    input: &mut impl BufRead,
    mut act: impl FnMut(&str) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    for number in 1..=STDIN_LINES_MAX {
        let mut bytes = Vec::new();
        let n = input.by_ref().take(STDIN_LINE_BYTES_MAX).read_until(b'\n', &mut bytes)?;
        if n == 0 {
            return Ok(());
        }
        if !bytes.ends_with(b"\n") && n as u64 == STDIN_LINE_BYTES_MAX {
            return Err(UsageError(format!(
                "line {number} of standard input has {STDIN_LINE_BYTES_MAX} bytes or more; send \
                 it in parts"
            ))
            .into());
        }
        let line = std::str::from_utf8(&bytes).map_err(|error| {
            let at = error.valid_up_to();
            UsageError(format!(
                "line {number} of standard input is not UTF-8 from byte {at} on; convert it, for \
                 example with iconv"
            ))
        })?;
        if !line.trim().is_empty() {
            act(line.trim_end_matches(['\n', '\r']))
                .with_context(|| format!("line {number} of standard input"))?;
        }
    }
    if input.fill_buf()?.is_empty() {
        return Ok(());
    }
    let full = format!("more than {STDIN_LINES_MAX} lines on standard input; send them in parts");
    Err(UsageError(full).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_lines_as_the_limit_are_taken() {
        let lines = "a\n".repeat(STDIN_LINES_MAX);
        let mut n_lines = 0;
        let mut count = |_: &str| {
            n_lines += 1;
            Ok(())
        };
        for_each_line(&mut lines.as_bytes(), &mut count).unwrap();
        let more = lines.clone() + "a";
        let error = for_each_line(&mut more.as_bytes(), &mut count).unwrap_err().to_string();
        assert!(error.contains("more than 100000 lines"), "{error}");
        assert_eq!(n_lines, 2 * STDIN_LINES_MAX);
    }
}
