//! `hymt translate --file`: whole documents, with a bar, and able to go on where it was stopped.
//!
//! Units go to the translator in batches that fill the engine. What is finished is appended to a
//! [part file](super::part) beside the output, which a second run takes up. The output itself appears at
//! the end, at once.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use clap::Args;
use hymt_core::document::{Document, Fit, UNIT_CHARS_MAX};
use hymt_core::generate::GenerateOptions;
use hymt_core::glossary::Glossary;
use hymt_core::language::Language;
use hymt_core::request::{CONTEXT_CHARS_MAX, Limits, RawRequest, parse_targets};
use hymt_core::translator::{BATCH_TARGETS_MAX, Status, TranslateRequest, Translation};
use serde_json::{Value, json};

use super::part::{Finished, Part, fnv1a};
use super::paths::{format, out_paths, parse_options, read, write_whole};
use super::report::{Failed, OutputReport};
use super::{Session, TranslateArgs, raw_request, report};
use crate::cli::output::Output;
use crate::cli::{UsageError, progress};

/// Characters of the document that its language is detected from.
const SAMPLE_CHARS: usize = 4000;

/// Arguments of `hymt translate --file`.
#[derive(Debug, Default, Args)]
pub(super) struct FileArgs {
    /// Translate this document instead of a text: plain text, Markdown, HTML, SRT, VTT, JSON or PO.
    #[arg(long, value_name = "FILE", conflicts_with = "text")]
    pub(super) file: Option<PathBuf>,
    /// Where the translation goes; without it `name.de.srt` beside `name.srt`. With several languages
    /// each name gets its code.
    #[arg(long, value_name = "FILE", requires = "file")]
    pub(super) out: Option<PathBuf>,
    /// Format of the document; auto goes by the name.
    #[arg(
        long,
        default_value = "auto",
        value_name = "auto|text|md|html|srt|vtt|json|po",
        requires = "file"
    )]
    pub(super) format: String,
    /// Replace the output if it exists.
    #[arg(long, requires = "file")]
    pub(super) force: bool,
    /// Begin anew, even where an earlier run could be continued.
    #[arg(long, requires = "file")]
    pub(super) restart: bool,
    /// Translate only these strings of JSON, for example `/menu/*/title`; repeat for more.
    #[arg(long, value_name = "POINTER", requires = "file")]
    pub(super) json_include: Vec<String>,
    /// Translate PO entries again that have a translation.
    #[arg(long, requires = "file")]
    pub(super) po_overwrite: bool,
    /// Give this many texts before each one as its context.
    #[arg(long, default_value_t = 0, value_name = "N", requires = "file")]
    pub(super) previous: usize,
}

/// A document that is being translated.
struct Job<'a> {
    args: &'a TranslateArgs,
    input: &'a Path,
    document: Document,
    targets: Vec<Language>,
    /// Language of the document, as it goes into requests.
    source: String,
    parts: Vec<Part>,
    reports: Vec<OutputReport>,
    stop: Arc<AtomicBool>,
}

/// Translates a document and reports.
///
/// # Errors
/// When the arguments or the document are not valid, files cannot be read or written, the model cannot be
/// loaded, or the run was interrupted.
pub(super) fn run(
    args: &TranslateArgs,
    input: &Path,
    terms: Glossary,
    output: &mut Output,
) -> anyhow::Result<ExitCode> {
    let targets = parse_targets(&args.to).map_err(|error| UsageError(error.to_string()))?;
    let format = format(&args.file.format, input)?;
    let outs = out_paths(&args.file, input, &targets)?;
    let options = parse_options(&args.file)?;
    let text = read(input)?;
    let document = Document::parse(format, &text, &options)
        .map_err(|error| anyhow::anyhow!("{} {error}", input.display()))?;
    // Before anybody waits for a model to load and its work to be lost.
    let stop = Arc::new(AtomicBool::new(false));
    stop_on_signals(&stop)?;
    let limits = Limits { input_chars_max: UNIT_CHARS_MAX, ..Limits::default() };
    let session = Session::with_limits(&args.model, limits)?;
    let lines: Vec<String> = terms.entries().iter().map(|entry| format!("{entry:?}")).collect();
    session.set_terms(terms);
    let source = source_language(args, &document, &session);
    let settings = settings(args, &document, &source, &session, &lines);
    let restart = args.file.restart;
    let open = |(path, target): (PathBuf, &Language)| {
        let settings = json!({ "to": target.code(), "settings": settings });
        Part::open(path, &text, &settings, document.units().len(), restart)
    };
    let parts = outs.into_iter().zip(&targets).map(open).collect::<anyhow::Result<Vec<_>>>()?;
    let reports = targets.iter().map(|target| OutputReport::new(*target)).collect();
    let mut job = Job { args, input, document, targets, source, parts, reports, stop };
    job.translate(&session)?;
    job.write()?;
    report::print(&job.summary(&session), &job.reports, args.json, output)?;
    let failed = job.reports.iter().any(|report| !report.failed.is_empty());
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

impl Job<'_> {
    /// Translates what is not finished, batch by batch.
    fn translate(&mut self, session: &Session) -> anyhow::Result<()> {
        let n_units = self.document.units().len();
        for (part, report) in self.parts.iter().zip(&mut self.reports) {
            report.resumed = part.n_finished();
        }
        let open: Vec<usize> =
            (0..n_units).filter(|unit| !self.missing(*unit).is_empty()).collect();
        let bar = progress::texts_bar(&self.input.display().to_string(), n_units as u64);
        bar.set_position((n_units - open.len()) as u64);
        bar.reset_eta();
        let batch = (BATCH_TARGETS_MAX / self.targets.len()).max(1);
        for units in open.chunks(batch) {
            if !self.stop.load(Ordering::Acquire) {
                self.translate_batch(session, units)?;
            }
            bar.inc(units.len() as u64);
            if self.stop.load(Ordering::Acquire) {
                bar.abandon();
                anyhow::bail!(
                    "interrupted; what is finished is in '{}', the same command goes on",
                    self.parts[0].path().display()
                );
            }
        }
        bar.finish_and_clear();
        Ok(())
    }

    /// Indices of the targets that have no translation of a unit yet.
    fn missing(&self, unit: usize) -> Vec<usize> {
        (0..self.targets.len()).filter(|target| self.parts[*target].get(unit).is_none()).collect()
    }

    fn translate_batch(&mut self, session: &Session, units: &[usize]) -> anyhow::Result<()> {
        let (mut places, mut requests) = (Vec::new(), Vec::new());
        for unit in units {
            let missing = self.missing(*unit);
            match self.request(session, *unit, &missing) {
                Ok(request) => {
                    requests.push(request);
                    places.push((*unit, missing));
                }
                Err(reason) => {
                    missing.into_iter().for_each(|target| self.fail(target, *unit, &reason));
                }
            }
        }
        let options = GenerateOptions::default();
        let (stop, cancel) = (Arc::clone(&self.stop), options.cancel.clone());
        let mut watch = |_: usize, _: usize, _: &str| {
            if stop.load(Ordering::Acquire) {
                cancel.cancel();
            }
        };
        let results = session.translator.translate_all(&requests, &options, &mut watch);
        for ((unit, targets), results) in places.into_iter().zip(results) {
            for (target, result) in targets.into_iter().zip(results) {
                self.settle(target, unit, &result)?;
            }
        }
        self.parts.iter_mut().try_for_each(Part::flush)
    }

    fn request(
        &self,
        session: &Session,
        unit: usize,
        missing: &[usize],
    ) -> Result<TranslateRequest, String> {
        let targets: Vec<String> =
            missing.iter().map(|target| self.targets[*target].code().to_owned()).collect();
        let context = self.context(unit);
        let raw = RawRequest {
            source: &self.source,
            targets: &targets,
            context: "",
            ..raw_request(self.args, &self.document.units()[unit].text)
        };
        let request = session.translator.request(&raw).map_err(|error| error.to_string())?;
        Ok(request.with_context(&context, &session.translator.config().limits))
    }

    /// What a unit is told beside its text: what the command line says, its own hint, the units before.
    fn context(&self, unit: usize) -> String {
        let units = self.document.units();
        let first = unit.saturating_sub(self.args.file.previous);
        let hint = units[unit].context.as_deref().unwrap_or_default();
        let before = units[first..unit].iter().map(|unit| unit.text.as_str());
        let lines = [self.args.context.as_str(), hint].into_iter().chain(before);
        let lines: Vec<&str> = lines.filter(|line| !line.is_empty()).collect();
        lines.join("\n")
    }

    /// Takes over one translation.
    fn settle(&mut self, target: usize, unit: usize, result: &Translation) -> anyhow::Result<()> {
        if !result.status.is_success() {
            // What was stopped has not failed.
            if !self.stop.load(Ordering::Acquire) {
                self.fail(target, unit, &result.detail);
            }
            return Ok(());
        }
        let fit = self.document.fit(unit, &result.text);
        if let Fit::Broken { lost } = fit {
            let reason =
                format!("the translation lost or doubled code, an image or a placeholder ({lost})");
            self.fail(target, unit, &reason);
            return Ok(());
        }
        let report = &mut self.reports[target];
        report.translated += usize::from(result.status != Status::Passthrough);
        report.from_cache += usize::from(result.from_cache);
        let finished = Finished { unit, text: result.text.clone(), flag: flag(result, fit) };
        self.parts[target].push(finished)
    }

    fn fail(&mut self, target: usize, unit: usize, reason: &str) {
        let line = self.document.units()[unit].line;
        self.reports[target].failed.push(Failed { unit, line, reason: reason.to_owned() });
    }

    /// Writes the outputs; a part file stays only where something failed.
    fn write(&mut self) -> anyhow::Result<()> {
        for (target, part) in self.parts.iter_mut().enumerate() {
            let report = &mut self.reports[target];
            let texts: Vec<_> =
                (0..self.document.units().len()).map(|unit| part.get(unit)).collect();
            let rendered = self.document.render(&texts, Some(self.targets[target]));
            for unit in rendered.misfits {
                let line = self.document.units()[unit].line;
                let reason =
                    "the translation would change the structure of the document".to_owned();
                report.failed.push(Failed { unit, line, reason });
            }
            for (unit, flag) in part.flags() {
                report.flagged.push((self.document.units()[unit].line, flag.to_owned()));
            }
            report.failed.sort_by_key(|failed| failed.unit);
            write_whole(part.out(), &rendered.text)?;
            report.file = part.out().to_owned();
            if report.failed.is_empty() {
                part.remove()?;
            }
        }
        Ok(())
    }

    fn summary(&self, session: &Session) -> Value {
        json!({
            "model": session.about.model,
            "engine": session.about.engine,
            "file": self.input.display().to_string(),
            "format": self.document.format().name(),
            "source": self.source,
            "units": self.document.units().len(),
        })
    }
}

/// What a person should look at.
fn flag(result: &Translation, fit: Fit) -> Option<String> {
    let mut notes = Vec::new();
    // The translator says so itself where it knows why.
    if let Fit::Plainer { lost } = fit
        && result.detail.is_empty()
    {
        notes.push(format!("{lost} of its tags or emphases were lost"));
    }
    if result.status == Status::Truncated {
        notes.push("cut off at the output limit".to_owned());
    }
    if result.status != Status::Passthrough && !result.detail.is_empty() {
        notes.push(result.detail.clone());
    }
    notes.extend(
        result
            .glossary_missed
            .iter()
            .map(|term| format!("the term {}={} was not used", term.source(), term.target())),
    );
    (!notes.is_empty()).then(|| notes.join("; "))
}

/// The first signal lets the batch end early and keeps what is finished; a second one ends the process.
fn stop_on_signals(stop: &Arc<AtomicBool>) -> anyhow::Result<()> {
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::flag::register_conditional_shutdown(signal, 1, Arc::clone(stop))?;
        signal_hook::flag::register(signal, Arc::clone(stop))?;
    }
    Ok(())
}

/// The language given, or that of the document as a whole: a heading of one word says little by itself.
fn source_language(args: &TranslateArgs, document: &Document, session: &Session) -> String {
    if !matches!(args.from.trim(), "" | "auto") {
        return args.from.clone();
    }
    let (mut sample, mut chars) = (String::new(), 0);
    for unit in document.units() {
        sample.push_str(&unit.text);
        sample.push('\n');
        chars += unit.text.chars().count();
        if chars > SAMPLE_CHARS {
            break;
        }
    }
    let least = session.translator.config().detect.min_confidence;
    let guess = session.translator.guess(&sample).filter(|guess| guess.confidence >= least);
    guess.map_or("auto", |guess| guess.language.code()).to_owned()
}

/// Everything beside the document that decides about a translation.
fn settings(
    args: &TranslateArgs,
    document: &Document,
    source: &str,
    session: &Session,
    glossary: &[String],
) -> Value {
    // Another version of this program may cut a document into other texts.
    let texts: Vec<&str> = document.units().iter().map(|unit| unit.text.as_str()).collect();
    json!({
        "model": session.about.model,
        "engine": session.about.engine,
        "format": document.format().name(),
        "texts": format!("{:016x}", fnv1a(texts.join("\n").as_bytes())),
        "from": source,
        "term": args.term,
        "glossary": format!("{:016x}", fnv1a(glossary.join("\n").as_bytes())),
        "context": args.context,
        "json-include": args.file.json_include,
        "po-overwrite": args.file.po_overwrite,
        "previous": args.file.previous,
        "context limit": CONTEXT_CHARS_MAX,
    })
}
