//! `hymt doctor`: is this machine ready, and if not, what to do.

mod engines;
mod model;
mod network;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use hymt_llm::engine::cpu::weights_bytes;
use serde_json::json;

use crate::app::{EngineOptions, tensorrt};
use crate::board::{self, Finding, Machine, PlanState, State, System, Wants};
use crate::cli::output::{Output, Style};
use crate::cli::{ModelArgs, UsageError};
use crate::config::EngineChoice;

const MIB: u64 = 1 << 20;
/// Memory that the 1.8B model needs in INT8, with a short context; measured peak 1,740 MiB.
const MEMORY_1_8B: u64 = 2400 * MIB;
/// What a model takes beside its weights: the same figure less the 1,708 MiB of its weights.
const BESIDE_WEIGHTS: u64 = MEMORY_1_8B - 1708 * MIB;

/// Arguments of `hymt doctor`.
#[derive(Debug, Args)]
#[command(
    after_help = "Each line is OK, NOTE (works, but you should know) or FAIL (what was asked \
                        for does not work), and where something is amiss the next line is the \
                        command that mends it. On a Jetson it also looks at board, JetPack, power \
                        mode, heat, CUDA, TensorRT and DLA cores. With --engine cuda or tensorrt, \
                        what that engine lacks is a failure. Exit code 1 when a line says FAIL."
)]
pub struct DoctorArgs {
    #[command(flatten)]
    model: ModelArgs,
    /// Look at files of another machine that were copied below this folder, and at nothing else.
    #[arg(long, value_name = "FOLDER")]
    root: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Checks and reports.
///
/// # Errors
/// When the output cannot be written.
pub fn run(args: &DoctorArgs, output: &mut Output) -> anyhow::Result<ExitCode> {
    let findings = match &args.root {
        Some(root) if !root.is_dir() => {
            let shown = root.display();
            return Err(UsageError(format!("'{shown}' is no folder with a machine's files")).into());
        }
        Some(root) => {
            let machine = Machine::examine(&System::below(root));
            let mut wants = wants(args.model.engine, Some(&args.model));
            // Plans and TensorRT are here and not below the folder.
            wants.dla_cores = None;
            if wants.plan != PlanState::NoEngine {
                wants.plan = PlanState::NoModel;
            }
            board::findings(&machine, &wants)
        }
        None => all(&args.model),
    };
    let failed = findings.iter().any(|finding| finding.state == State::Failed);
    if args.json {
        output.json(&json!({ "ok": !failed, "findings": findings }))?;
    } else {
        findings.iter().try_for_each(|finding| print(finding, output))?;
    }
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Everything that can be said of this machine.
fn all(args: &ModelArgs) -> Vec<Finding> {
    let mut findings = machine(args.engine, Some(args));
    findings.extend(model::findings(args));
    findings.extend(network::findings());
    findings
}

/// What there is to say without loading a model or joining a network: what `engine` lacks, and whether
/// `model` has room.
pub(super) fn machine(engine: EngineChoice, model: Option<&ModelArgs>) -> Vec<Finding> {
    let machine = Machine::examine(&System::here());
    let mut findings = board::findings(&machine, &wants(engine, model));
    findings.push(engines::processor());
    findings.push(engines::gpu(engine == EngineChoice::Cuda));
    findings.extend(engines::compiler(&machine));
    findings
}

fn wants(engine: EngineChoice, model: Option<&ModelArgs>) -> Wants {
    let named = model.filter(|args| args.model.is_some());
    let plan = tensorrt::plan_state(named.and_then(|args| args.engine_options().ok()).as_ref());
    let common = || ("the 1.8B model in INT8".to_owned(), MEMORY_1_8B);
    let (model, model_bytes) = model.and_then(memory_needed).unwrap_or_else(common);
    Wants {
        needs_tensorrt: engine == EngineChoice::TensorRt,
        needs_cuda: engine == EngineChoice::Cuda,
        model,
        model_bytes,
        plan,
        dla_cores: tensorrt::dla_cores(),
    }
}

/// Name and need of the model, where one was named and can be read.
fn memory_needed(args: &ModelArgs) -> Option<(String, u64)> {
    args.model.as_ref()?;
    let options: EngineOptions = args.engine_options().ok()?;
    let config = options.source().config().ok()?;
    let bytes = weights_bytes(&config, options.precision.into()) + BESIDE_WEIGHTS;
    Some((format!("'{}'", options.model_name()), bytes))
}

fn print(finding: &Finding, output: &mut Output) -> std::io::Result<()> {
    let Finding { what, state, detail, fix } = finding;
    let style = match state {
        State::Ok => Style::Good,
        State::Note => Style::Bold,
        State::Failed => Style::Bad,
    };
    let word = output.styled(style, &format!("{:<4}", state.word()));
    output.line(format!("{word} {what:<10} {detail}"))?;
    match fix {
        Some(fix) => output.line(format!("     {:<10} {}", "->", output.styled(Style::Bold, fix))),
        None => Ok(()),
    }
}
