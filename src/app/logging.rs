//! Logging: `tracing` to standard error, and from a node also to `/rosout`.

use std::fmt::Write as _;
use std::io::IsTerminal as _;
use std::sync::{Mutex, PoisonError};

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::filter::EnvFilter;
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::ros::args::{LogSeverity, RosArgs};

/// One line for `/rosout`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLine {
    /// Its severity.
    pub level: Level,
    /// The text.
    pub text: String,
    /// Source file.
    pub file: &'static str,
    /// Module.
    pub module: &'static str,
    /// Line in the file.
    pub line: u32,
}

/// What the middleware's own messages are limited to.
#[cfg(feature = "dds")]
const MIDDLEWARE: &str = crate::ros::dds::LOG_DIRECTIVES;
#[cfg(not(feature = "dds"))]
const MIDDLEWARE: &str = "";

/// Lines of the middleware that would only frighten.
#[cfg(feature = "dds")]
const HARMLESS: &[&str] = crate::ros::dds::HARMLESS_LOGS;
#[cfg(not(feature = "dds"))]
const HARMLESS: &[&str] = &[];

type Sink = Box<dyn Fn(&LogLine) + Send>;

/// Where lines go besides standard error; one node a process.
static ROSOUT: Mutex<Option<Sink>> = Mutex::new(None);

/// Sends what is logged from now on to `sink` too; `None` ends it.
pub fn set_rosout(sink: Option<Sink>) {
    *ROSOUT.lock().unwrap_or_else(PoisonError::into_inner) = sink;
}

/// Sets logging up for a command: warnings, and more with each `-v`.
pub fn init_cli(verbose: u8) {
    let level = match verbose {
        0 => "warn",
        1 => "info",
        2 => "debug",
        _ => "trace",
    };
    init(EnvFilter::new(format!("{level}{MIDDLEWARE}")), true);
}

/// Sets logging up for a node, as `--log-level` says; without it `RUST_LOG`, or info.
pub fn init_node(args: &RosArgs) {
    let filter = match args.log_level {
        Some(level) => EnvFilter::new(directives(level)),
        None => {
            // An empty variable would silence everything, which nobody means.
            let given = std::env::var(EnvFilter::DEFAULT_ENV).unwrap_or_default();
            let default = || EnvFilter::new(directives(LogSeverity::Info));
            Some(given.trim())
                .filter(|given| !given.is_empty())
                .and_then(|given| EnvFilter::try_new(given).ok())
                .unwrap_or_else(default)
        }
    };
    init(filter, args.stdout.unwrap_or(true));
}

fn directives(level: LogSeverity) -> String {
    let level = match level {
        LogSeverity::Debug => "debug",
        LogSeverity::Info => "info",
        LogSeverity::Warn => "warn",
        LogSeverity::Error | LogSeverity::Fatal => "error",
    };
    format!("{level}{MIDDLEWARE}")
}

fn init(filter: EnvFilter, console: bool) {
    let printer = console.then(|| {
        let colors = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        tracing_subscriber::fmt::layer()
            .with_writer(std::io::stderr)
            .with_ansi(colors && std::io::stderr().is_terminal())
            .with_target(false)
            .compact()
    });
    // Tests start several nodes in one process; the first one decides.
    let _ = tracing_subscriber::registry()
        .with(filter)
        .with(Harmless)
        .with(printer)
        .with(RosoutLayer)
        .try_init();
}

/// Keeps [`HARMLESS`] lines from all others.
struct Harmless;

impl<S: Subscriber> Layer<S> for Harmless {
    fn event_enabled(&self, event: &Event<'_>, _: Context<'_, S>) -> bool {
        // A filter by target would silence real errors of the same module.
        if HARMLESS.is_empty() || *event.metadata().level() != tracing::Level::ERROR {
            return true;
        }
        let mut text = Text(String::new());
        event.record(&mut text);
        !HARMLESS.contains(&text.0.as_str())
    }
}

/// Hands events to the sink of [`set_rosout`].
struct RosoutLayer;

impl<S: Subscriber> Layer<S> for RosoutLayer {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let metadata = event.metadata();
        let module = metadata.module_path().unwrap_or_default();
        // What the middleware says about sending must not be sent.
        let is_edge = ["hymt_ros::ros::dds", "hymt_ros::ros::r2r"]
            .iter()
            .any(|edge| module.starts_with(edge));
        if is_edge || metadata.target().starts_with("rustdds") {
            return;
        }
        let Ok(sink) = ROSOUT.try_lock() else { return };
        let Some(sink) = sink.as_ref() else { return };
        let mut text = Text(String::new());
        event.record(&mut text);
        sink(&LogLine {
            level: *metadata.level(),
            text: text.0,
            file: metadata.file().unwrap_or_default(),
            module,
            line: metadata.line().unwrap_or_default(),
        });
    }
}

/// Message first, then the fields as `name=value`.
struct Text(String);

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        if field.name() == "message" {
            let rest = std::mem::take(&mut self.0);
            let _ = write!(self.0, "{value:?}{rest}");
        } else if !field.name().starts_with("log.") {
            let _ = write!(self.0, " {}={value:?}", field.name());
        }
    }
}

#[cfg(all(test, feature = "dds"))]
mod tests {
    use super::*;
    use std::sync::Arc;

    /// Counts the events that come through.
    struct Count(Arc<Mutex<usize>>);

    impl<S: Subscriber> Layer<S> for Count {
        fn on_event(&self, _: &Event<'_>, _: Context<'_, S>) {
            *self.0.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        }
    }

    #[test]
    fn only_what_is_harmless_is_kept_back() {
        let count = Arc::new(Mutex::new(0));
        let subscriber =
            tracing_subscriber::registry().with(Harmless).with(Count(Arc::clone(&count)));
        tracing::subscriber::with_default(subscriber, || {
            tracing::error!("{}", HARMLESS[0]);
            tracing::error!("{} Really.", HARMLESS[0]);
            tracing::error!("dp_event_loop poll failed");
        });
        assert_eq!(*count.lock().unwrap_or_else(PoisonError::into_inner), 2);
    }
}
