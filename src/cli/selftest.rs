//! `hymt selftest`: does everything do here what it should, and what does it cost?
//!
//! The tests of this repository run on the machines of those who wrote it. This runs the part that
//! depends on hardware on the machine at hand, for each engine that is there, and writes one file
//! that its owner can read and attach to an issue.

mod engines;
mod redact;
mod report;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Args;
use indicatif::ProgressBar;

use self::engines::Subject;
use self::redact::Redactor;
use self::report::{Outcome, Report};
use crate::cli::output::{Output, Style};
use crate::cli::{UsageError, doctor, progress};
use crate::config::EngineChoice;

/// Arguments of `hymt selftest`.
#[derive(Debug, Args)]
#[command(after_help = "Runs the conformance suite, a comparison with the CPU engine, sentences \
                        with a known translation and a short benchmark, on the CPU and on every \
                        other engine that this machine has. The report holds versions, board, \
                        results and timings; no text of yours, no host or user name and no path \
                        outside the system's own. A crash leaves a report that names the check \
                        that ran. Exit code 1 when a check failed.")]
pub struct SelftestArgs {
    /// Test one engine only; then it is a failure when this machine lacks it.
    #[arg(long, default_value = "auto", value_name = "auto|cpu|cuda|tensorrt")]
    engine: EngineChoice,
    /// Also measure this model, a folder or a .gguf file.
    #[arg(long, value_name = "PATH")]
    model: Option<PathBuf>,
    /// Where the report goes.
    #[arg(long, value_name = "FILE", default_value = "hymt-selftest.md")]
    out: PathBuf,
    /// Threads of the CPU engine; 0 takes every core.
    #[arg(long, default_value_t = 0)]
    threads: usize,
    /// Also print the report's data as JSON.
    #[arg(long)]
    json: bool,
}

/// Tests and writes the report.
///
/// # Errors
/// When the arguments are not valid or the report cannot be written.
pub fn run(args: &SelftestArgs, output: &mut Output) -> anyhow::Result<ExitCode> {
    if args.engine == EngineChoice::Scripted {
        let why = "the scripted engine is no engine to test; choose auto, cpu, cuda or tensorrt";
        return Err(UsageError(why.to_owned()).into());
    }
    check_out(&args.out)?;
    let mut run = Run::new(args);
    run.save()?;
    for subject in engines::subjects(args.engine) {
        run.engine(&subject)?;
    }
    let ok = run.finish()?;
    if args.json {
        output.line(run.report.json(&run.redactor)?)?;
    } else {
        summary(&run, &args.out, output)?;
    }
    Ok(if ok { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Nobody's file is overwritten but an earlier report.
fn check_out(out: &Path) -> Result<(), UsageError> {
    use std::io::Read as _;

    let mut beginning = Vec::new();
    let shown = out.display();
    let file = match std::fs::File::open(out) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => {
            return Err(UsageError(format!(
                "'{shown}' cannot be read ({error}); choose another --out"
            )));
        }
    };
    let is_report = file
        .take(report::HEADING.len() as u64)
        .read_to_end(&mut beginning)
        .is_ok_and(|_| beginning == report::HEADING.as_bytes());
    if is_report {
        return Ok(());
    }
    Err(UsageError(format!("'{shown}' is no report of an earlier run; choose another --out")))
}

/// A run in progress.
struct Run<'a> {
    args: &'a SelftestArgs,
    report: Report,
    redactor: Redactor,
    bar: ProgressBar,
}

impl<'a> Run<'a> {
    fn new(args: &'a SelftestArgs) -> Self {
        let named = [args.model.as_deref(), Some(args.out.as_path())].into_iter().flatten();
        Self {
            args,
            // Without the model: the line about memory would show its name.
            report: Report::new(doctor::machine(args.engine, None)),
            redactor: Redactor::of_this_process(named),
            bar: progress::steps_bar("testing", 0),
        }
    }

    /// Everything about one engine.
    fn engine(&mut self, subject: &Subject) -> anyhow::Result<()> {
        let at = self.report.engines.len();
        self.report.engines.push(subject.report());
        if let Err(why) = subject.is_here() {
            let outcome = if subject.is_named { Outcome::Fail } else { Outcome::Skip };
            self.report.engines[at].add("is here", outcome, &why, 0.0);
            return Ok(());
        }
        let checks = subject.checks(self.args.threads, self.args.model.as_deref());
        self.bar.inc_length(checks.len() as u64);
        for check in checks {
            self.report.running = Some(format!("{}: {}", subject.choice, check.name));
            self.save()?;
            check.run(&mut self.report.engines[at]);
            self.bar.inc(1);
        }
        self.report.running = None;
        Ok(())
    }

    fn finish(&mut self) -> anyhow::Result<bool> {
        self.bar.finish_and_clear();
        self.report.finish();
        self.save()?;
        Ok(self.report.ok)
    }

    /// Writes what is known so far, whole or not at all.
    fn save(&self) -> anyhow::Result<()> {
        let out = &self.args.out;
        let text = self.report.markdown(&self.redactor)?;
        let mut partial = out.clone().into_os_string();
        partial.push(".partial");
        std::fs::write(&partial, text)
            .and_then(|()| std::fs::rename(&partial, out))
            .with_context(|| format!("cannot write '{}'", out.display()))
    }
}

fn summary(run: &Run<'_>, out: &Path, output: &mut Output) -> anyhow::Result<()> {
    for engine in &run.report.engines {
        for check in &engine.checks {
            let style = match check.outcome {
                Outcome::Pass => Style::Good,
                Outcome::Skip => Style::Dim,
                Outcome::Fail => Style::Bad,
            };
            let word = output.styled(style, check.outcome.word());
            let detail = if check.detail.is_empty() { "" } else { ": " };
            let (name, said) = (check.name, &check.detail);
            output.line(format!("{word} {:<8} {name}{detail}{said}", engine.engine))?;
        }
    }
    output.line(format!("report: {}; read it, and attach it to an issue", out.display()))?;
    Ok(())
}
