//! The report: for people to read, with all of it once more as JSON for programs.

use std::fmt::Write as _;

use serde::Serialize;

use super::redact::Redactor;
use crate::app::memory;
use crate::board::{Finding, State, System};
use crate::cli::bench::round;

/// The first line, by which an earlier report is known.
pub(super) const HEADING: &str = "# hymt selftest";
/// Longest text of one check. Characters.
const DETAIL_CHARS_MAX: usize = 600;

/// How a check ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub(super) enum Outcome {
    Pass,
    /// Could not be run; the detail says why.
    Skip,
    Fail,
}

impl Outcome {
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Pass => "PASS",
            Self::Skip => "SKIP",
            Self::Fail => "FAIL",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct CheckReport {
    pub(super) name: &'static str,
    pub(super) outcome: Outcome,
    pub(super) detail: String,
    pub(super) ms: f64,
}

/// One measurement.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct BenchReport {
    /// Shape of the network: its folder may have a private name.
    pub(super) model: String,
    pub(super) batch: usize,
    pub(super) prompt_tokens: usize,
    pub(super) new_tokens: usize,
    pub(super) load_ms: f64,
    pub(super) prefill_ms: f64,
    pub(super) decode_ms_per_token: f64,
    pub(super) tokens_per_s: f64,
}

/// What an engine has on its device, as far as it can say. MiB, GB/s, milliseconds.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct DeviceReport {
    pub(super) weights_mib: Option<u64>,
    pub(super) buffers_mib: Option<u64>,
    pub(super) cache_mib: Option<u64>,
    pub(super) free_mib: Option<u64>,
    pub(super) total_mib: Option<u64>,
    pub(super) kernels_compiled: Option<usize>,
    pub(super) kernels_ms: Option<f64>,
    pub(super) copy_gb_per_s: Option<f64>,
    pub(super) read_gb_per_s: Option<f64>,
}

impl DeviceReport {
    /// The figures that there are, with their names.
    fn figures(&self) -> Vec<String> {
        let of = |name: &str, value: Option<f64>| Some(format!("{name} {}", value?));
        let mib = |name, value: Option<u64>| of(name, value.map(|mib| mib as f64));
        let compiled = self.kernels_compiled.map(|compiled| compiled as f64);
        [
            mib("MiB of weights", self.weights_mib),
            mib("of buffers", self.buffers_mib),
            mib("of cache", self.cache_mib),
            mib("free", self.free_mib),
            mib("in all", self.total_mib),
            of("kernels compiled", compiled),
            of("in ms", self.kernels_ms),
            of("GB/s copying", self.copy_gb_per_s),
            of("GB/s reading", self.read_gb_per_s),
        ]
        .into_iter()
        .flatten()
        .collect()
    }
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct EngineReport {
    pub(super) engine: String,
    pub(super) device: String,
    pub(super) checks: Vec<CheckReport>,
    pub(super) bench: Vec<BenchReport>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) memory: Option<DeviceReport>,
}

impl EngineReport {
    pub(super) fn add(&mut self, name: &'static str, outcome: Outcome, detail: &str, ms: f64) {
        let detail = detail.chars().map(|c| if c.is_control() { ' ' } else { c });
        let detail = detail.take(DETAIL_CHARS_MAX).collect();
        self.checks.push(CheckReport { name, outcome, detail, ms: round(ms) });
    }
}

/// All of it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Report {
    /// Counts up when a field changes its meaning.
    format: u32,
    version: &'static str,
    target: String,
    is_optimised: bool,
    features: Vec<&'static str>,
    system: String,
    kernel: String,
    /// False in a file that a crash has left behind.
    finished: bool,
    /// What was running when the file was written.
    pub(super) running: Option<String>,
    /// Whether no check and no finding failed.
    pub(super) ok: bool,
    machine: Vec<Finding>,
    pub(super) engines: Vec<EngineReport>,
    peak_rss_mib: Option<u64>,
}

impl Report {
    pub(super) fn new(machine: Vec<Finding>) -> Self {
        let system = System::here();
        let os_release = system.text("/etc/os-release").unwrap_or_default();
        let name = os_release.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="));
        Self {
            format: 1,
            version: env!("CARGO_PKG_VERSION"),
            target: format!("{}-{}", std::env::consts::ARCH, std::env::consts::OS),
            is_optimised: !cfg!(debug_assertions),
            features: [("dds", cfg!(feature = "dds")), ("cuda", cfg!(feature = "cuda"))]
                .into_iter()
                .filter_map(|(name, is_on)| is_on.then_some(name))
                .collect(),
            system: name.unwrap_or("unknown").trim_matches('"').chars().take(80).collect(),
            kernel: system.line("/proc/sys/kernel/osrelease"),
            finished: false,
            running: None,
            ok: false,
            machine,
            engines: Vec::new(),
            peak_rss_mib: None,
        }
    }

    pub(super) fn finish(&mut self) {
        let mut checks = self.engines.iter().flat_map(|engine| &engine.checks);
        self.ok = checks.all(|check| check.outcome != Outcome::Fail)
            && self.machine.iter().all(|finding| finding.state != State::Failed);
        (self.finished, self.running) = (true, None);
        self.peak_rss_mib = memory::peak_resident_bytes().map(|bytes| bytes >> 20);
    }

    /// All of it for programs, without what names its author.
    pub(super) fn json(&self, redactor: &Redactor) -> anyhow::Result<String> {
        let mut document = serde_json::to_value(self)?;
        redactor.redact_json(&mut document);
        Ok(document.to_string())
    }

    /// The file, without what names its author.
    pub(super) fn markdown(&self, redactor: &Redactor) -> anyhow::Result<String> {
        let mut text = format!("{HEADING}\n\n{}\n\n", self.verdict());
        let Self { version, target, system, kernel, .. } = self;
        let build = if self.is_optimised { "optimised" } else { "NOT optimised" };
        writeln!(text, "hymt {version} ({target}, {build}), {system}, kernel {kernel}\n")?;
        writeln!(text, "## Machine\n\n| | | |\n|---|---|---|")?;
        for Finding { what, state, detail, fix } in &self.machine {
            let fix = fix.as_ref().map(|fix| format!(" `{}`", cell(fix))).unwrap_or_default();
            writeln!(text, "| {} | {what} | {}{fix} |", state.word(), cell(detail))?;
        }
        for engine in &self.engines {
            engine_section(&mut text, engine)?;
        }
        let (text, json) = (redactor.redact(&text), self.json(redactor)?);
        Ok(format!("{text}\n## Data\n\n```json\n{json}\n```\n"))
    }

    fn verdict(&self) -> String {
        let all = || self.engines.iter().flat_map(|engine| &engine.checks);
        let count = |outcome| all().filter(|check| check.outcome == outcome).count();
        let (passed, failed, skipped) =
            (count(Outcome::Pass), count(Outcome::Fail), count(Outcome::Skip));
        match (&self.running, self.finished) {
            (Some(running), _) => format!(
                "**Not finished: when this was written, '{running}' ran. If no hymt runs now, it \
                 crashed there.**"
            ),
            (None, false) => "**Not finished.**".to_owned(),
            (None, true) => format!(
                "**{}**: {passed} checks passed, {failed} failed, {skipped} skipped.",
                if self.ok { "OK" } else { "FAILED" }
            ),
        }
    }
}

fn engine_section(text: &mut String, report: &EngineReport) -> std::fmt::Result {
    let EngineReport { engine, device, checks, bench, memory } = report;
    writeln!(
        text,
        "\n## Engine {engine}: {}\n\n| | check | ms | |\n|---|---|---|---|",
        cell(device)
    )?;
    for CheckReport { name, outcome, detail, ms } in checks {
        writeln!(text, "| {} | {name} | {ms} | {} |", outcome.word(), cell(detail))?;
    }
    if !bench.is_empty() {
        let head =
            "model | batch | prompt, new tokens | load ms | prefill ms | ms/token | tokens/s";
        writeln!(text, "\n| {head} |\n|---|---|---|---|---|---|---|")?;
    }
    for run in bench {
        let BenchReport { model, batch, prompt_tokens, new_tokens, .. } = run;
        let BenchReport { load_ms, prefill_ms, decode_ms_per_token, tokens_per_s, .. } = run;
        writeln!(
            text,
            "| {model} | {batch} | {prompt_tokens}, {new_tokens} | {load_ms} | {prefill_ms} | \
             {decode_ms_per_token} | {tokens_per_s} |"
        )?;
    }
    match memory {
        Some(memory) => writeln!(text, "\nMemory: {}.", memory.figures().join(", ")),
        None => Ok(()),
    }
}

/// Inside a table.
fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace(['\n', '\r'], " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        let mut report = Report::new(vec![Finding::ok("board", "a | b")]);
        let mut engine = EngineReport {
            engine: "cpu".to_owned(),
            device: "2 cores".to_owned(),
            checks: Vec::new(),
            bench: Vec::new(),
            memory: None,
        };
        engine.add("loads", Outcome::Pass, "", 1.234_5);
        engine.add("is here", Outcome::Skip, "no GPU\u{7}", 0.0);
        report.engines.push(engine);
        report
    }

    fn markdown(report: &Report) -> String {
        report.markdown(&Redactor::of_this_process(std::iter::empty())).unwrap()
    }

    fn json(markdown: &str) -> serde_json::Value {
        let (_, rest) = markdown.split_once("```json\n").unwrap();
        serde_json::from_str(rest.split_once("\n```").unwrap().0).unwrap()
    }

    #[test]
    fn a_skipped_check_is_no_failure_and_a_failed_one_is() {
        let mut report = report();
        report.finish();
        let text = markdown(&report);
        assert!(text.starts_with(HEADING), "{text}");
        assert!(text.contains("**OK**: 1 checks passed, 0 failed, 1 skipped."), "{text}");
        assert!(text.contains("| OK | board | a \\| b |"), "{text}");
        assert!(text.contains("| SKIP | is here | 0 | no GPU  |"), "{text}");
        assert_eq!(json(&text)["engines"][0]["checks"][0]["ms"], 1.2345);
        report.engines[0].add("x", Outcome::Fail, &"y".repeat(9999), 0.0);
        report.finish();
        let text = markdown(&report);
        assert!(text.contains("**FAILED**: 1 checks passed, 1 failed, 1 skipped."), "{text}");
        assert!(text.len() < 9999, "details are bounded");
        assert_eq!(json(&text)["ok"], false);
    }

    #[test]
    fn a_failed_finding_fails_the_report() {
        let mut report = report();
        report.machine.push(Finding::failed("gpu", "none"));
        report.finish();
        assert!(!report.ok);
    }

    #[test]
    fn a_crash_leaves_the_name_of_the_check() {
        let mut report = report();
        report.running = Some("cuda: loads".to_owned());
        let text = markdown(&report);
        assert!(
            text.contains("**Not finished: when this was written, 'cuda: loads' ran."),
            "{text}"
        );
        assert_eq!(json(&text)["finished"], false);
    }
}
