//! `hymt doctor`: is this machine ready, and if not, what to do.

use std::process::ExitCode;

use clap::Args;
use serde_json::json;

use crate::cli::ModelArgs;
use crate::cli::output::{Output, Style};
use crate::cli::translate::Session;

/// Memory that the 1.8B model needs in INT8, with a short context. MiB; measured peak 1,740.
const MEMORY_MIB_1_8B: u64 = 2400;

/// Arguments of `hymt doctor`.
#[derive(Debug, Args)]
pub struct DoctorArgs {
    #[command(flatten)]
    model: ModelArgs,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// One line of the report.
struct Finding {
    what: &'static str,
    state: State,
    detail: String,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Ok,
    /// Works, but somebody should know.
    Note,
    Failed,
}

impl State {
    fn word(self) -> &'static str {
        match self {
            Self::Ok => "OK",
            Self::Note => "NOTE",
            Self::Failed => "FAIL",
        }
    }
}

/// Checks and reports.
///
/// # Errors
/// When the output cannot be written.
pub fn run(args: &DoctorArgs, output: &mut Output) -> anyhow::Result<ExitCode> {
    let mut findings = vec![processor(), memory(), gpu()];
    findings.extend(model(&args.model));
    findings.extend(network());
    let failed = findings.iter().any(|finding| finding.state == State::Failed);
    if args.json {
        let rows: Vec<_> = findings
            .iter()
            .map(|f| json!({ "what": f.what, "state": f.state.word(), "detail": f.detail }))
            .collect();
        output.json(&json!({ "ok": !failed, "findings": rows }))?;
    } else {
        for Finding { what, state, detail } in &findings {
            let style = match state {
                State::Ok => Style::Good,
                State::Note => Style::Bold,
                State::Failed => Style::Bad,
            };
            let word = output.styled(style, &format!("{:<4}", state.word()));
            output.line(format!("{word} {what:<10} {detail}"))?;
        }
    }
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn processor() -> Finding {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let (state, kernels) = kernels();
    Finding { what: "processor", state, detail: format!("{cores} cores; INT8 kernels: {kernels}") }
}

#[cfg(target_arch = "x86_64")]
fn kernels() -> (State, &'static str) {
    if is_x86_feature_detected!("avx512vnni") {
        (State::Ok, "AVX-512 VNNI")
    } else if is_x86_feature_detected!("avxvnni") {
        (State::Ok, "AVX-VNNI")
    } else if is_x86_feature_detected!("avx2") {
        (State::Ok, "AVX2")
    } else {
        (State::Note, "portable (no AVX2 here, so it is slow)")
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn kernels() -> (State, &'static str) {
    (State::Note, "portable (hand-written ones exist for x86-64 only)")
}

fn memory() -> Finding {
    let what = "memory";
    let available = std::fs::read_to_string("/proc/meminfo").ok().and_then(|text| {
        let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?.to_owned();
        let kib: u64 = line.split_whitespace().next()?.parse().ok()?;
        Some(kib / 1024)
    });
    match available {
        Some(mib) if mib >= MEMORY_MIB_1_8B => {
            let detail = format!("{mib} MiB free; the 1.8B model in INT8 takes {MEMORY_MIB_1_8B}");
            Finding { what, state: State::Ok, detail }
        }
        Some(mib) => {
            let detail = format!(
                "{mib} MiB free: enough for the demo model, not for the 1.8B model \
                 ({MEMORY_MIB_1_8B}); free some memory first"
            );
            Finding { what, state: State::Note, detail }
        }
        None => {
            let detail = "this system does not say how much is free".to_owned();
            Finding { what, state: State::Note, detail }
        }
    }
}

fn gpu() -> Finding {
    match crate::app::gpu::device() {
        Ok(name) => Finding { what: "gpu", state: State::Ok, detail: name },
        Err(why) => {
            let detail = format!("{why}; the CPU does the work");
            Finding { what: "gpu", state: State::Note, detail }
        }
    }
}

/// Loads the model and lets it translate one sentence.
fn model(args: &ModelArgs) -> Vec<Finding> {
    let what = "model";
    let session = match Session::start(args) {
        Ok(session) => session,
        Err(error) => {
            return vec![Finding { what, state: State::Failed, detail: format!("{error:#}") }];
        }
    };
    let about = &session.about;
    let state = if about.is_demo { State::Note } else { State::Ok };
    let (name, engine, ms) = (&about.model, &about.engine, about.load_ms);
    let mut findings =
        vec![Finding { what, state, detail: format!("{name}, {engine}, loaded in {ms:.0} ms") }];
    let sample = "Where is the charging station?";
    let (state, detail) = match session.translate_plain(sample, "de") {
        Ok(result) if result.status.is_success() => {
            (State::Ok, format!("\"{sample}\" -> \"{}\" in {:.0} ms", result.text, result.total_ms))
        }
        Ok(result) => (State::Failed, result.detail),
        Err(error) => (State::Failed, format!("{error:#}")),
    };
    findings.push(Finding { what: "translates", state, detail });
    findings
}

/// Joins the DDS domain of the environment and sends a text from one participant to another.
fn network() -> Vec<Finding> {
    use crate::ros::ContextOptions;

    let what = "ros 2";
    let options = match ContextOptions::from_env(&|name| std::env::var(name).ok()) {
        Ok(options) => options,
        Err(error) => {
            return vec![Finding { what, state: State::Failed, detail: error.to_string() }];
        }
    };
    let (domain, range) = (options.domain_id, options.discovery_range);
    let detail = format!("DDS domain {domain}, discovery {range:?}; no ROS installation needed");
    let environment = Finding { what, state: State::Ok, detail };
    let loopback = match round_trip(&options) {
        Ok(ms) => Finding {
            what: "loopback",
            state: State::Ok,
            detail: format!("two participants found each other and talked within {ms:.0} ms"),
        },
        Err(detail) => Finding { what: "loopback", state: State::Failed, detail },
    };
    vec![environment, loopback]
}

fn round_trip(options: &crate::ros::ContextOptions) -> Result<f64, String> {
    use std::time::{Duration, Instant};

    use crate::ros::qos::QosProfile;
    use crate::ros::wire::StringMsg;
    use crate::ros::{Context, Middleware};

    const PATIENCE: Duration = Duration::from_secs(15);
    let started = Instant::now();
    let words = |error: crate::ros::RosError| error.to_string();
    let topic = format!("/hymt_doctor_{}/ping", std::process::id());
    let middleware = Middleware::from_env(&|name| std::env::var(name).ok()).map_err(words)?;
    let (here, there) = (Context::new(middleware, options), Context::new(middleware, options));
    let (here, there) = (here.map_err(words)?, there.map_err(words)?);
    let listener = there.create_node("hymt_doctor_listener", "/").map_err(words)?;
    let talker = here.create_node("hymt_doctor_talker", "/").map_err(words)?;
    let (_subscription, messages) =
        listener.subscription_queue::<StringMsg>(&topic, &QosProfile::DEFAULT, 8).map_err(words)?;
    let publisher = talker.publisher(&topic, &QosProfile::DEFAULT).map_err(words)?;
    while started.elapsed() < PATIENCE {
        publisher.publish(&StringMsg::from("ping")).map_err(words)?;
        if messages.recv_timeout(Duration::from_millis(50)).is_ok() {
            return Ok(started.elapsed().as_secs_f64() * 1e3);
        }
    }
    Err(format!(
        "two participants did not find each other within {} s; allow UDP multicast on this \
         machine (firewall, VPN), or set ROS_AUTOMATIC_DISCOVERY_RANGE=LOCALHOST",
        PATIENCE.as_secs()
    ))
}
