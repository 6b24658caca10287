//! How the node is, in the words of `diagnostic_msgs`: four statuses from plain figures.
//!
//! Pure: it is told the time and the figures; `node/health.rs` gathers and publishes them.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use hymt_core::guard::GuardStats;

use crate::lifecycle::State;

/// How far back latencies count.
pub const LATENCY_WINDOW: Duration = Duration::from_secs(60);

/// Latencies that are remembered; beyond it the oldest go first, and the window is shorter.
pub const LATENCY_SAMPLES_MAX: usize = 4096;

/// Publishers of an input that are named when they do not fit; more are only counted.
pub const MISMATCHES_NAMED_MAX: usize = 4;

/// An error from this many times the warning threshold on.
const LATENCY_ERROR_FACTOR: f32 = 3.0;

/// Severity; numbers as in `diagnostic_msgs/DiagnosticStatus`. Stale is never sent by a live node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Level {
    /// All is well.
    Ok = 0,
    /// Something needs attention.
    Warn = 1,
    /// Something does not work.
    Error = 2,
}

/// How one part is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// Which part, without the node's name.
    pub part: &'static str,
    /// How bad.
    pub level: Level,
    /// In words.
    pub message: String,
    /// Figures, as `name, value`.
    pub values: Vec<(&'static str, String)>,
}

/// Latencies of the last minute.
#[derive(Debug, Default)]
pub struct LatencyWindow {
    samples: VecDeque<(Instant, f32)>,
}

/// What [`LatencyWindow`] says. Milliseconds; 0 where nothing was heard.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct LatencySummary {
    /// Number of texts.
    pub n_samples: usize,
    /// Median.
    pub p50_ms: f32,
    /// 95th percentile.
    pub p95_ms: f32,
    /// The longest.
    pub max_ms: f32,
}

impl LatencyWindow {
    /// A text took `ms` from hearing to publishing.
    pub fn add(&mut self, now: Instant, ms: f32) {
        if self.samples.len() == LATENCY_SAMPLES_MAX {
            self.samples.pop_front();
        }
        self.samples.push_back((now, ms));
    }

    /// Percentiles by the nearest-rank method.
    pub fn summary(&mut self, now: Instant) -> LatencySummary {
        let is_old = |at: &Instant| now.saturating_duration_since(*at) >= LATENCY_WINDOW;
        while self.samples.front().is_some_and(|(at, _)| is_old(at)) {
            self.samples.pop_front();
        }
        let mut sorted: Vec<f32> = self.samples.iter().map(|(_, ms)| *ms).collect();
        sorted.sort_by(f32::total_cmp);
        let rank = |percent: usize| {
            let index = (sorted.len() * percent).div_ceil(100).saturating_sub(1);
            sorted.get(index).copied().unwrap_or_default()
        };
        LatencySummary {
            n_samples: sorted.len(),
            p50_ms: rank(50),
            p95_ms: rank(95),
            max_ms: rank(100),
        }
    }
}

/// Figures about the engine.
#[derive(Debug, Clone, PartialEq)]
pub struct EngineFigures {
    /// Where the node is in its life.
    pub state: State,
    /// Name of the model; empty while none is loaded.
    pub model: String,
    /// Engine and arithmetic.
    pub engine: String,
    /// What it runs on.
    pub device: String,
    /// True for the embedded demo model.
    pub is_demo: bool,
    /// Resident memory of the process. Bytes.
    pub memory_bytes: u64,
    /// Time to load. Milliseconds.
    pub load_ms: f64,
    /// Requests that run now.
    pub running: usize,
    /// Tokens produced since the model was loaded.
    pub tokens_out: u64,
    /// Engines made anew after a fault of the device since the model was loaded.
    pub rebuilds: u64,
    /// How often answers were not as they should be.
    pub guards: GuardStats,
    /// What went wrong last; empty for nothing.
    pub last_error: String,
}

/// Figures about latency and load.
#[derive(Debug, Clone, PartialEq)]
pub struct LatencyFigures {
    /// The last minute.
    pub summary: LatencySummary,
    /// Warning threshold, for the 95th percentile. Milliseconds.
    pub warn_ms: f32,
    /// Jobs that wait.
    pub queue_depth: usize,
    /// Jobs that may wait.
    pub queue_limit: usize,
    /// Texts refused because the queue was full, since the last status.
    pub overflowed: u64,
}

/// Figures about one input.
#[derive(Debug, Clone, PartialEq)]
pub struct InputFigures {
    /// Fully qualified topic.
    pub topic: String,
    /// Publishers that are heard.
    pub matched: usize,
    /// Publishers that cannot be heard, and why: `node: reason`.
    pub mismatches: Vec<String>,
    /// Messages since the last status, per second.
    pub rate_hz: f64,
    /// Since the last message; `None` for never.
    pub last_age: Option<Duration>,
    /// Samples that were no message, since the start.
    pub malformed: u64,
    /// Samples that never came, since the start.
    pub missed: u64,
    /// Texts that were our own output, since the start.
    pub own_output: u64,
}

/// Figures about glossaries.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct GlossaryFigures {
    /// Files.
    pub files: usize,
    /// Named glossaries.
    pub glossaries: usize,
    /// Entries of all of them.
    pub entries: usize,
    /// Terms that were sent and used, since the start.
    pub applied: u64,
    /// Terms that were sent and not used, since the start.
    pub missed: u64,
    /// Why a watched file that changed was not taken; empty when all were.
    pub problem: String,
}

/// The engine.
#[must_use]
pub fn engine(figures: &EngineFigures) -> Status {
    let (level, message) = match figures.state {
        State::Active if figures.is_demo => (
            Level::Warn,
            format!("active, with the demo model '{}'; set model.path", figures.model),
        ),
        State::Active if figures.rebuilds > 0 => (
            Level::Warn,
            format!(
                "active: {}, made anew {} times after a fault",
                figures.engine, figures.rebuilds
            ),
        ),
        State::Active => (Level::Ok, format!("active: {}", figures.engine)),
        State::ErrorProcessing => (Level::Error, figures.last_error.clone()),
        State::Unconfigured if !figures.last_error.is_empty() => {
            (Level::Error, format!("unconfigured; {}", figures.last_error))
        }
        // A manager may mean it so.
        state => (Level::Ok, state.label().to_owned()),
    };
    let values = vec![
        ("state", figures.state.label().to_owned()),
        ("model", figures.model.clone()),
        ("engine", figures.engine.clone()),
        ("device", figures.device.clone()),
        ("memory MiB", mib(figures.memory_bytes)),
        ("load ms", format!("{:.0}", figures.load_ms)),
        ("running", figures.running.to_string()),
        ("tokens out", figures.tokens_out.to_string()),
        ("faulty answers", figures.guards.faults().to_string()),
        ("endless answers", figures.guards.loops.to_string()),
        ("asked again", figures.guards.retries.to_string()),
        ("answers refused", figures.guards.refused.to_string()),
        ("last error", figures.last_error.clone()),
    ];
    Status { part: "Engine", level, message, values }
}

/// Latency.
#[must_use]
pub fn latency(figures: &LatencyFigures) -> Status {
    let LatencySummary { n_samples, p50_ms, p95_ms, max_ms } = figures.summary;
    let warn_ms = figures.warn_ms;
    let (level, message) = if figures.overflowed > 0 {
        (Level::Error, format!("the queue is full ({} jobs)", figures.queue_limit))
    } else if p95_ms > warn_ms * LATENCY_ERROR_FACTOR {
        let limit = warn_ms * LATENCY_ERROR_FACTOR;
        (Level::Error, format!("p95 is above {limit:.0} ms (3 x diagnostics.latency_warn_ms)"))
    } else if p95_ms > warn_ms {
        (Level::Warn, format!("p95 is above {warn_ms:.0} ms (diagnostics.latency_warn_ms)"))
    } else if n_samples == 0 {
        (Level::Ok, "nothing heard in the last minute".to_owned())
    } else {
        (Level::Ok, "in time".to_owned())
    };
    let values = vec![
        ("p50 ms", format!("{p50_ms:.1}")),
        ("p95 ms", format!("{p95_ms:.1}")),
        ("max ms", format!("{max_ms:.1}")),
        ("texts", n_samples.to_string()),
        ("queue depth", figures.queue_depth.to_string()),
        ("queue limit", figures.queue_limit.to_string()),
        ("overflowed", figures.overflowed.to_string()),
    ];
    Status { part: "Latency", level, message, values }
}

/// The inputs; the worst of them decides.
#[must_use]
pub fn input(inputs: &[InputFigures]) -> Status {
    let mut status =
        Status { part: "Input", level: Level::Ok, message: String::new(), values: Vec::new() };
    let n_matched: usize = inputs.iter().map(|input| input.matched).sum();
    let mismatches: Vec<_> = inputs
        .iter()
        .flat_map(|input| input.mismatches.iter().map(|why| format!("{}: {why}", input.topic)))
        .collect();
    let topics: Vec<_> = inputs.iter().map(|input| input.topic.as_str()).collect();
    if !mismatches.is_empty() {
        status.level = Level::Warn;
        let named: Vec<_> = mismatches.iter().take(MISMATCHES_NAMED_MAX).cloned().collect();
        status.message = format!("not heard because of QoS: {}", named.join("; "));
    } else if n_matched == 0 {
        status.level = Level::Warn;
        status.message = format!("nobody publishes on {}", topics.join(", "));
    } else {
        status.message = format!("{n_matched} publishers");
    }
    for input in inputs {
        let age = match input.last_age {
            Some(age) => format!("{:.1} s ago", age.as_secs_f64()),
            None => "never".to_owned(),
        };
        status.values.extend([
            ("topic", input.topic.clone()),
            ("publishers", input.matched.to_string()),
            ("messages/s", format!("{:.2}", input.rate_hz)),
            ("last message", age),
            ("malformed", input.malformed.to_string()),
            ("missed", input.missed.to_string()),
            ("own output dropped", input.own_output.to_string()),
        ]);
    }
    status
}

/// The glossaries.
#[must_use]
pub fn glossary(figures: &GlossaryFigures) -> Status {
    let GlossaryFigures { files, glossaries, entries, applied, missed, ref problem } = *figures;
    let values = vec![
        ("files", files.to_string()),
        ("glossaries", glossaries.to_string()),
        ("entries", entries.to_string()),
        ("terms applied", applied.to_string()),
        ("terms missed", missed.to_string()),
    ];
    let (level, message) = if problem.is_empty() {
        (Level::Ok, format!("{entries} entries in {glossaries} glossaries"))
    } else {
        (Level::Warn, format!("a changed file is not taken, the old one stays: {problem}"))
    };
    Status { part: "Glossary", level, message, values }
}

/// Tells what has changed since it last looked, so that each change makes one line in the log.
#[derive(Debug, Default)]
pub struct Changes {
    seen: BTreeMap<&'static str, (Level, String)>,
}

impl Changes {
    /// The statuses whose level changed, or whose words did while they are not well. The first
    /// look at a part that is well says nothing.
    pub fn since<'a>(&mut self, statuses: &'a [Status]) -> Vec<&'a Status> {
        let mut changed = Vec::new();
        for status in statuses {
            let now = (status.level, status.message.clone());
            let before = self.seen.insert(status.part, now.clone());
            let is_news = match before {
                None => status.level > Level::Ok,
                Some(before) => {
                    before.0 != now.0 || (status.level > Level::Ok && before.1 != now.1)
                }
            };
            if is_news {
                changed.push(status);
            }
        }
        changed
    }
}

fn mib(bytes: u64) -> String {
    format!("{:.0}", bytes as f64 / f64::from(1 << 20))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures() -> LatencyFigures {
        LatencyFigures {
            summary: LatencySummary { n_samples: 9, p50_ms: 10.0, p95_ms: 90.0, max_ms: 99.0 },
            warn_ms: 100.0,
            queue_depth: 0,
            queue_limit: 256,
            overflowed: 0,
        }
    }

    fn text(matched: usize, mismatches: &[&str]) -> InputFigures {
        InputFigures {
            topic: "/text".to_owned(),
            matched,
            mismatches: mismatches.iter().map(|&why| why.to_owned()).collect(),
            rate_hz: 0.0,
            last_age: None,
            malformed: 0,
            missed: 0,
            own_output: 0,
        }
    }

    #[test]
    fn the_window_slides_and_is_bounded() {
        let (mut window, start) = (LatencyWindow::default(), Instant::now());
        assert_eq!(window.summary(start), LatencySummary::default());
        for ms in 1..=100u8 {
            window.add(start, f32::from(ms));
        }
        let summary = window.summary(start);
        assert_eq!((summary.p50_ms, summary.p95_ms, summary.max_ms), (50.0, 95.0, 100.0));
        window.add(start + LATENCY_WINDOW / 2, 7.0);
        let later = window.summary(start + LATENCY_WINDOW);
        assert_eq!((later.n_samples, later.p50_ms, later.max_ms), (1, 7.0, 7.0));
        for _ in 0..2 * LATENCY_SAMPLES_MAX {
            window.add(start + LATENCY_WINDOW, 1.0);
        }
        assert_eq!(window.summary(start + LATENCY_WINDOW).n_samples, LATENCY_SAMPLES_MAX);
    }

    #[test]
    fn latency_warns_at_its_threshold_and_errs_at_three_times() {
        let level = |p95_ms: f32, overflowed: u64| {
            let summary = LatencySummary { p95_ms, ..figures().summary };
            latency(&LatencyFigures { summary, overflowed, ..figures() }).level
        };
        assert_eq!(level(100.0, 0), Level::Ok);
        assert_eq!(level(100.1, 0), Level::Warn);
        assert_eq!(level(300.1, 0), Level::Error);
        assert_eq!(level(1.0, 1), Level::Error);
    }

    #[test]
    fn inputs_name_who_is_not_heard() {
        assert_eq!(input(&[text(1, &[])]).level, Level::Ok);
        let alone = input(&[text(0, &[])]);
        assert_eq!(
            (alone.level, alone.message.as_str()),
            (Level::Warn, "nobody publishes on /text")
        );
        let unfit = input(&[text(1, &["/asr: it offers best_effort, reliable is asked for"])]);
        assert_eq!(unfit.level, Level::Warn);
        assert!(unfit.message.contains("/text: /asr: it offers best_effort"), "{}", unfit.message);
    }

    #[test]
    fn a_change_is_told_once() {
        let mut changes = Changes::default();
        let ok = [latency(&figures())];
        let late = LatencySummary { p95_ms: 150.0, ..figures().summary };
        let warn = [latency(&LatencyFigures { summary: late, ..figures() })];
        assert!(changes.since(&ok).is_empty(), "a good start is no news");
        assert_eq!(changes.since(&warn).len(), 1);
        assert!(changes.since(&warn).is_empty());
        assert_eq!(changes.since(&ok).len(), 1, "that it is well again is news");
    }

    #[test]
    fn an_engine_that_failed_is_an_error_until_it_is_loaded_again() {
        let figures = |state, last_error: &str| EngineFigures {
            state,
            model: "m".to_owned(),
            engine: "cpu-int8".to_owned(),
            device: String::new(),
            is_demo: false,
            memory_bytes: 3 << 20,
            load_ms: 1.0,
            running: 0,
            tokens_out: 0,
            rebuilds: 0,
            guards: GuardStats::default(),
            last_error: last_error.to_owned(),
        };
        assert_eq!(engine(&figures(State::Unconfigured, "")).level, Level::Ok);
        assert_eq!(engine(&figures(State::Unconfigured, "boom")).level, Level::Error);
        let active = engine(&figures(State::Active, "boom"));
        assert_eq!(active.level, Level::Ok);
        assert!(active.values.contains(&("memory MiB", "3".to_owned())));
        let rebuilt = engine(&EngineFigures { rebuilds: 2, ..figures(State::Active, "") });
        assert_eq!(rebuilt.level, Level::Warn);
        assert!(rebuilt.message.contains("cpu-int8, made anew 2 times"), "{}", rebuilt.message);
    }
}
