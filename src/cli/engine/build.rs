//! `hymt engine build`: a plan for this machine and a model.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::AtomicBool;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use anyhow::Context as _;
use clap::Args;
use hymt_tensorrt::build::preflight::MemoryNeed;
use hymt_tensorrt::build::supervisor::{CANCEL_PATIENCE, WorkerCommand};
use hymt_tensorrt::build::{BuildRequest, Message, WORKSPACE_MIB, worker};
use hymt_tensorrt::device::{DeviceInfo, probe};
use hymt_tensorrt::engine::limits::SLOTS_MAX;
use hymt_tensorrt::error::Version;
use hymt_tensorrt::onnx::export::{CONTEXT_TOKENS_MAX, GRAPH_FILE};
use hymt_tensorrt::onnx::lint::Parser;
use hymt_tensorrt::onnx::origin::check_origin;
use hymt_tensorrt::plan::fingerprint::Fingerprint;
use hymt_tensorrt::plan::prune::PLANS_MAX;
use hymt_tensorrt::plan::sidecar::SIDECAR_FORMAT;
use hymt_tensorrt::plan::{
    LayerReport, Lookup, PlanCache, PlanKey, PlanShapes, Sidecar, StoredPlan,
};
use hymt_tensorrt::safe::{Libraries, Library, log_to_tracing};
use indicatif::ProgressBar;
use serde_json::json;

use super::export::{self, ExportArgs, Float};
use crate::app::memory::available_bytes;
use crate::app::{self, EngineOptions, ModelChoice};
use crate::cli::output::{self, Output};
use crate::cli::progress;
use crate::cli::quantize::stop_flag;
use crate::config::{GpuDevice, ModelFamily};

/// Arguments of `hymt engine build`.
#[derive(Debug, Args)]
pub struct BuildArgs {
    /// Model folder (Hugging Face layout) or .gguf file; without it the embedded demo model.
    #[arg(long, value_name = "PATH")]
    model: Option<PathBuf>,
    /// Folder of `hymt engine export-onnx`; without it the model is exported for this build, and the
    /// export removed afterwards. One of another model is refused; its cache must be as long as
    /// --context says.
    #[arg(long, value_name = "DIR")]
    onnx: Option<PathBuf>,
    /// What the plan is for.
    #[arg(long, default_value = "gpu", value_name = "gpu|dla0|dla1")]
    device: GpuDevice,
    /// Layers that the DLA cannot run go to the GPU; the report says how many.
    #[arg(long)]
    allow_gpu_fallback: bool,
    /// Sequences at once.
    #[arg(long, default_value_t = PlanShapes::default().slots, value_name = "N")]
    slots: usize,
    /// Length of the cache, prompt and answer together. Tokens.
    #[arg(long, default_value_t = PlanShapes::default().context_tokens, value_name = "N")]
    context: usize,
    /// Scratch memory that one layer may take. MiB.
    #[arg(long, default_value_t = WORKSPACE_MIB, value_name = "MIB")]
    workspace_mib: usize,
    /// TensorRT's optimisation level: 0 builds fastest, 5 runs fastest.
    #[arg(long, value_name = "0-5", value_parser = clap::value_parser!(i32).range(0..=5))]
    level: Option<i32>,
    /// Calibrate the activations on random tokens: for models of `hymt synth`.
    #[arg(long)]
    random_calibration: bool,
    /// Folder for the plan; without it the user's cache, where the engine looks.
    #[arg(long, value_name = "DIR")]
    cache: Option<PathBuf>,
    /// Build although there is a fresh plan, or too little memory.
    #[arg(long)]
    force: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// The process that builds.
///
/// # Errors
/// When the request cannot be read.
pub fn work() -> anyhow::Result<ExitCode> {
    let is_built = worker::serve().context("hymt engine build-worker is started by build")?;
    Ok(if is_built { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Builds, unless there is a fresh plan.
///
/// # Errors
/// What is missing on this machine, or why the build failed.
pub fn run(args: &BuildArgs, output: &mut Output) -> anyhow::Result<ExitCode> {
    let library = Library::open(&Libraries::from_env(), log_to_tracing())?;
    let gpu = probe(0)?;
    let options = EngineOptions {
        model: args.model.clone().map_or(ModelChoice::Demo, ModelChoice::Folder),
        gpu_device: args.device,
        ..EngineOptions::default()
    };
    app::check_folder(&options.model)?;
    export::in_range("slots", args.slots, SLOTS_MAX)?;
    export::in_range("context", args.context, CONTEXT_TOKENS_MAX)?;
    let cache = args.cache.clone().map_or_else(PlanCache::of_user, PlanCache::new);
    let job = Job::new(args, &library, &gpu, &options, cache)?;
    match job.cache.look_up(&job.key) {
        Lookup::Fresh(plan) if !args.force => {
            return print(args, &plan, "this plan is fresh; --force builds it again", &[], output);
        }
        Lookup::Stale(stale) => output::note(
            &stale.explain().replace(": rebuild with `hymt engine build`", ": building"),
        ),
        Lookup::Fresh(_) | Lookup::Missing => {}
    }
    // The child opens TensorRT itself; here it would only take memory from it.
    drop(library);
    let stop = stop_flag()?;
    let (plan, removed) = job.run(args, &stop)?;
    print(args, &plan, "built", &removed, output)
}

/// One build.
struct Job {
    cache: PlanCache,
    key: PlanKey,
    model_files: Vec<hymt_tensorrt::plan::fingerprint::FileStamp>,
    typing: Numbers,
    version: Version,
}

/// What is not INT8, and how weights are stored.
#[derive(Clone, Copy)]
struct Numbers {
    float: Float,
    float_weights: bool,
}

impl Numbers {
    /// From TensorRT 10 the graph's own types count. 8.x chooses itself, and its documentation
    /// promises no INT8 constants.
    fn of(version: Version) -> (Self, &'static str) {
        match version.major {
            ..10 => (Self { float: Float::F32, float_weights: true }, "int8-weakly-typed"),
            10.. => (Self { float: Float::F16, float_weights: false }, "int8-f16"),
        }
    }
}

impl Job {
    fn new(
        args: &BuildArgs,
        library: &Library,
        gpu: &DeviceInfo,
        options: &EngineOptions,
        cache: PlanCache,
    ) -> anyhow::Result<Self> {
        let version = library.version();
        let (typing, precision) = Numbers::of(version);
        // What does not follow from the model is part of what the plan computes.
        let precision = match (&args.onnx, args.random_calibration) {
            (Some(onnx), _) => {
                let graph = Fingerprint::of(&onnx.join(GRAPH_FILE), [])?;
                format!("onnx-{}", &graph.hash[..12])
            }
            (None, true) => format!("{precision}-random-scales"),
            (None, false) => precision.to_owned(),
        };
        let (key, model) = app::tensorrt::plan_key(library, gpu, options)?;
        if let Some(onnx) = &args.onnx {
            check_origin(&onnx.join(GRAPH_FILE), &model.hash)?;
        }
        let key = PlanKey {
            gpu_fallback: args.allow_gpu_fallback,
            precision,
            shapes: PlanShapes::new(args.slots, args.context),
            level: args.level,
            workspace_mib: args.workspace_mib,
            ..key
        };
        Ok(Self { cache, key, model_files: model.files, typing, version })
    }

    /// The plan, and those that had to make room for it.
    fn run(
        &self,
        args: &BuildArgs,
        stop: &AtomicBool,
    ) -> anyhow::Result<(StoredPlan, Vec<PathBuf>)> {
        // Two exports into one folder would take each other's files away.
        let lock = self.cache.lock()?;
        let plan = match &args.onnx {
            Some(onnx) => self.build(args, onnx, stop)?,
            None => {
                let onnx = self.cache.export_path(&self.key);
                let built =
                    self.export(args, &onnx, stop).and_then(|()| self.build(args, &onnx, stop));
                let _ = std::fs::remove_dir_all(&onnx);
                built?
            }
        };
        let removed = self.cache.prune(&lock, &plan).unwrap_or_else(|error| {
            // The plan is there all the same.
            output::note(&format!("{error}: {}", error.source));
            Vec::new()
        });
        Ok((plan, removed))
    }

    fn export(&self, args: &BuildArgs, onnx: &Path, stop: &AtomicBool) -> anyhow::Result<()> {
        let lint = parser_of(self.version);
        let export = ExportArgs {
            model: args.model.clone(),
            out: onnx.to_owned(),
            calibration: None,
            random_calibration: args.random_calibration,
            scales: None,
            calibration_tokens: export::CALIBRATION_TOKENS,
            float: self.typing.float,
            keep_float: Vec::new(),
            float_weights: self.typing.float_weights,
            context: args.context,
            lint,
            family: ModelFamily::Auto,
            threads: 0,
            force: false,
            json: false,
        };
        let (scales, findings) = export::for_build(&export, stop)?;
        tracing::info!(scales, "exported the graph");
        for finding in &findings {
            output::note(&format!("{lint} may refuse the graph: {finding}"));
        }
        Ok(())
    }

    fn build(
        &self,
        args: &BuildArgs,
        onnx: &Path,
        stop: &AtomicBool,
    ) -> anyhow::Result<StoredPlan> {
        let workspace_bytes = args.workspace_mib << 20;
        let available = available_bytes();
        let need = MemoryNeed {
            weights_bytes: folder_bytes(onnx)?,
            workspace_bytes: workspace_bytes as u64,
        };
        match need.check(available.unwrap_or(u64::MAX)) {
            Err(error) if args.force => output::note(&error.to_string()),
            checked => checked?,
        }
        let request = BuildRequest {
            onnx: onnx.join(GRAPH_FILE),
            plan: self.cache.part_path(&self.key),
            timing_cache: self.cache.timing_path(&self.key),
            target: self.key.target,
            gpu_fallback: args.allow_gpu_fallback,
            shapes: self.key.shapes,
            workspace_bytes,
            level: args.level,
        };
        let worker = WorkerCommand {
            program: std::env::current_exe().context("cannot find this program's file")?,
            arguments: vec!["engine".into(), "build-worker".into()],
            patience: CANCEL_PATIENCE,
        };
        let (started, mut layers) = (Instant::now(), LayerReport::default());
        let bar = progress::spinner("TensorRT builds the plan");
        let built = worker.build(&request, available.unwrap_or(0), stop, &mut |message| {
            show(&bar, message, &mut layers);
        });
        bar.finish_and_clear();
        let plan_bytes = built?;
        let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let sidecar = Sidecar {
            format: SIDECAR_FORMAT,
            key: self.key.clone(),
            plan_bytes,
            built_at_s: since_1970.as_secs(),
            build_s: started.elapsed().as_secs_f64(),
            layers,
            model_files: self.model_files.clone(),
        };
        Ok(self.cache.adopt(&sidecar)?)
    }
}

/// Shows a message, and keeps what the plan's description wants of it.
fn show(bar: &ProgressBar, message: &Message, layers: &mut LayerReport) {
    match message {
        Message::Progress { phase, step, steps, .. } => {
            bar.set_message(format!("TensorRT: {phase} {step}/{steps}"));
        }
        Message::Layers(report) => layers.clone_from(report),
        Message::Log(text) => tracing::info!(target: "tensorrt", "{text}"),
        Message::Done { .. } | Message::Failed(_) => {}
    }
}

/// The nearest parser whose rules are known.
fn parser_of(version: Version) -> Parser {
    match (version.major, version.minor) {
        (..10, _) => Parser::V8_5,
        (10, ..13) => Parser::V10_3,
        (10, _) => Parser::V10_13,
        _ => Parser::V11,
    }
}

fn folder_bytes(folder: &Path) -> anyhow::Result<u64> {
    let cannot_read = || format!("cannot read the folder '{}'", folder.display());
    let entries = std::fs::read_dir(folder).with_context(cannot_read)?;
    let sizes = entries.map(|entry| Ok(entry?.metadata()?.len()));
    sizes.sum::<std::io::Result<u64>>().with_context(cannot_read)
}

fn print(
    args: &BuildArgs,
    plan: &StoredPlan,
    what: &str,
    removed: &[PathBuf],
    output: &mut Output,
) -> anyhow::Result<ExitCode> {
    let StoredPlan { path, sidecar } = plan;
    if args.json {
        let removed: Vec<_> = removed.iter().map(|plan| plan.to_string_lossy()).collect();
        output.json(&json!({
            "plan": path.to_string_lossy(), "result": what, "description": sidecar,
            "removed": removed,
        }))?;
        return Ok(ExitCode::SUCCESS);
    }
    output.line(format!("{}: {what}", path.display()))?;
    super::info::print_plan(plan, output)?;
    for plan in removed {
        let plan = plan.display();
        output
            .line(format!("removed {plan}: the newest {PLANS_MAX} are kept, and those in use"))?;
    }
    output.line("run it with `engine: tensorrt` and, outside the cache, `gpu.plan`")?;
    Ok(ExitCode::SUCCESS)
}
