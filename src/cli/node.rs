//! `hymt node`: the ROS 2 node.

use std::ffi::OsString;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use hymt_core::language::Language;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::app::{check_folder, logging};
use crate::cli::UsageError;
use crate::cli::output::{self, Output};
use crate::cli::translate::load_with_bar;
use crate::config::NodeConfig;
use crate::lifecycle::State;
use crate::node::{NODE_NAME, TranslatorNode};
use crate::parameters;
use crate::ros::args::RosArgs;
use crate::ros::{Context, ContextOptions, Middleware, QosOverrides};

/// How long work that was taken may go on after a signal.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(2);

const HELP: &str = "\
Runs the translator node until SIGINT or SIGTERM.

Usage: hymt node [--ros-args [-r FROM:=TO] [-p NAME:=VALUE] [--params-file FILE]
                  [--log-level LEVEL] ...]

  -r __node:=NAME, -r __ns:=/NAMESPACE   rename the node, put it into a namespace
  -r text:=/whisper/text                 hear another topic
  -p target_locales:=\"['fr', 'ja']\"      set a parameter
  --params-file config/translator.yaml   read parameters from a file
  --log-level debug                      debug, info, warn, error or fatal

Environment: ROS_DOMAIN_ID, ROS_LOCALHOST_ONLY, ROS_AUTOMATIC_DISCOVERY_RANGE,
HYMT_MIDDLEWARE (dds or r2r, where both are built in), RUST_LOG.
";

/// Arguments of `hymt node`.
#[derive(Debug, Args)]
pub struct NodeArgs {
    /// ROS arguments.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, num_args = 0..)]
    pub arguments: Vec<String>,
}

/// Entry of the `hymt_node` executable.
pub fn main() -> ExitCode {
    let arguments = std::env::args_os().skip(1).map(OsString::into_string);
    let outcome = match arguments.collect::<Result<Vec<_>, _>>() {
        Ok(arguments) => run(&arguments),
        Err(bad) => Err(UsageError(format!("argument {} is not UTF-8", bad.display())).into()),
    };
    outcome.unwrap_or_else(|error| {
        output::error(&error);
        ExitCode::from(if error.is::<UsageError>() { 2 } else { 1 })
    })
}

/// Runs the node until a signal comes.
///
/// # Errors
/// When an argument, a parameter or the model is not valid, or the middleware refuses.
pub fn run(arguments: &[String]) -> anyhow::Result<ExitCode> {
    let (args, rest) = RosArgs::parse(arguments).map_err(|error| UsageError(error.to_string()))?;
    match rest.first().map(String::as_str) {
        None => {}
        Some("-h" | "--help") => {
            Output::stdout().line(format!("{HELP}\n{}", parameters::help()))?;
            return Ok(ExitCode::SUCCESS);
        }
        Some(other) => {
            let hint = "the node takes only --ros-args; see hymt node --help";
            return Err(UsageError(format!("unexpected argument '{other}'; {hint}")).into());
        }
    }
    logging::init_node(&args);
    // Before anything slow, so that a signal during loading also ends it cleanly.
    let mut signals = Signals::new([SIGINT, SIGTERM]).context("signals cannot be handled")?;
    let second = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        signal_hook::flag::register_conditional_shutdown(signal, 1, Arc::clone(&second))?;
        signal_hook::flag::register(signal, Arc::clone(&second))?;
    }
    let running = Running::start(&args)?;
    let signal = signals.forever().next();
    tracing::info!(signal, "shutting down");
    running.stop();
    Ok(ExitCode::SUCCESS)
}

/// The node with its context, which must outlive it.
struct Running {
    node: TranslatorNode,
    context: Context,
}

impl Running {
    fn start(args: &RosArgs) -> anyhow::Result<Self> {
        let names = args.resolver(NODE_NAME, "/")?;
        let overrides = args.overrides(&names)?;
        let (qos, overrides) =
            QosOverrides::split(overrides).map_err(|reasons| UsageError(reasons.join("; ")))?;
        let (store, remarks) =
            parameters::declare(&overrides).map_err(|reasons| UsageError(reasons.join("; ")))?;
        remarks.iter().for_each(|remark| tracing::warn!("{remark}"));
        let values = store.snapshot();
        let config = NodeConfig::from_parameters(&values).map_err(UsageError)?;
        // What is plainly wrong is said before anything joins the graph.
        check_folder(&config.engine.model)?;
        let env = |name: &str| std::env::var(name).ok();
        let middleware =
            Middleware::from_env(&env).map_err(|error| UsageError(error.to_string()))?;
        let options =
            ContextOptions::from_env(&env).map_err(|error| UsageError(error.to_string()))?;
        let context = Context::new(middleware, &options).context("cannot join the ROS graph")?;
        let node = TranslatorNode::start(&context, names, store, qos, Arc::new(load_with_bar))?;
        if args.rosout.unwrap_or(true) {
            node.forward_logs();
        }
        let running = Self { node, context };
        if config.autostart {
            running.node.bring_up()?;
        }
        running.introduce(&config.live.defaults.targets)?;
        Ok(running)
    }

    /// Says what this is.
    fn introduce(&self, targets: &[Language]) -> anyhow::Result<()> {
        tracing::info!(
            "hymt_ros {} on {}, domain {}",
            env!("CARGO_PKG_VERSION"),
            self.context.middleware().name(),
            self.context.domain_id()
        );
        for line in self.node.interface()? {
            tracing::info!("{line}");
        }
        let codes: Vec<_> = targets.iter().map(|target| target.code()).collect();
        tracing::info!("targets    {}", codes.join(", "));
        match self.node.state() {
            State::Active => tracing::info!("ready"),
            state => tracing::info!("{}; waiting for a lifecycle manager", state.label()),
        }
        Ok(())
    }

    fn stop(self) {
        let left = self.node.shutdown(SHUTDOWN_GRACE);
        if left > 0 {
            tracing::warn!(left, "jobs were given up");
        }
        // Takes leave of the other participants, so that no ghost stays in their graphs.
        self.context.shutdown();
    }
}
