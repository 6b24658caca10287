//! `hymt engine info`: what TensorRT is here, and which plans are good for it.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use hymt_tensorrt::device::{DeviceInfo, probe};
use hymt_tensorrt::plan::{PlanCache, PlanKey, StoredPlan};
use hymt_tensorrt::safe::{Libraries, Library, headers, log_to_tracing};
use serde_json::{Value, json};

use crate::app::tensorrt::plan_key;
use crate::app::{self, EngineOptions, ModelChoice};
use crate::cli::output::{Output, Style};
use crate::config::GpuDevice;

/// Arguments of `hymt engine info`.
#[derive(Debug, Args)]
pub struct InfoArgs {
    /// Model that plans are held against; without it the embedded demo model.
    #[arg(long, value_name = "PATH")]
    model: Option<PathBuf>,
    /// What the engine is to run on.
    #[arg(long, default_value = "gpu", value_name = "gpu|dla0|dla1")]
    device: GpuDevice,
    /// Folder with plans; without it the user's cache.
    #[arg(long, value_name = "DIR")]
    cache: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Reports. What is missing is part of the report, not a failure.
///
/// # Errors
/// When the model cannot be read or the output cannot be written.
pub fn run(args: &InfoArgs, output: &mut Output) -> anyhow::Result<ExitCode> {
    let options = EngineOptions {
        model: args.model.clone().map_or(ModelChoice::Demo, ModelChoice::Folder),
        gpu_device: args.device,
        ..EngineOptions::default()
    };
    app::check_folder(&options.model)?;
    let cache = args.cache.clone().map_or_else(PlanCache::of_user, PlanCache::new);
    let library = Library::open(&Libraries::from_env(), log_to_tracing());
    let gpu = probe(0);
    let here = Here {
        headers: headers().map(|version| version.to_string()).map_err(|error| error.to_string()),
        tensorrt: library
            .as_ref()
            .map(|library| (library.version().to_string(), library.path().to_owned()))
            .map_err(ToString::to_string),
        dla_cores: dla_cores(&library),
        gpu: gpu.as_ref().map(DeviceInfo::clone).map_err(ToString::to_string),
        wanted: match (&library, &gpu) {
            (Ok(library), Ok(gpu)) => Some(plan_key(library, gpu, &options)?.0),
            _ => None,
        },
    };
    if args.json {
        here.json(&cache, output)?;
    } else {
        here.print(&cache, output)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// What this machine has; each error is in words.
struct Here {
    headers: Result<String, String>,
    /// Version and path.
    tensorrt: Result<(String, String), String>,
    dla_cores: Result<i32, String>,
    gpu: Result<DeviceInfo, String>,
    /// What a plan must be good for; `None` where there is no telling.
    wanted: Option<PlanKey>,
}

/// TensorRT counts them, which takes a GPU.
fn dla_cores(
    library: &Result<Library, hymt_tensorrt::error::TensorRtError>,
) -> Result<i32, String> {
    let library = library.as_ref().map_err(|_| "unknown without TensorRT".to_owned())?;
    let cores = library.runtime().and_then(|mut runtime| runtime.dla_cores());
    cores.map_err(|error| error.to_string())
}

impl Here {
    /// Why a plan is no good here; `None` when it is good, an error where there is no telling.
    fn staleness(&self, plan: &StoredPlan) -> Result<Option<String>, String> {
        let Some(wanted) = &self.wanted else {
            return Err("cannot be judged without TensorRT and a GPU".to_owned());
        };
        Ok(plan.clone().judge_for_engine(wanted).err().map(|stale| stale.explain()))
    }

    fn print(&self, cache: &PlanCache, output: &mut Output) -> anyhow::Result<()> {
        let words = |found: &Result<String, String>| match found {
            Ok(text) => text.clone(),
            Err(why) => format!("none: {why}"),
        };
        output.line(format!("headers   {}", words(&self.headers)))?;
        let tensorrt = self.tensorrt.clone().map(|(version, path)| format!("{version} ({path})"));
        output.line(format!("TensorRT  {}", words(&tensorrt)))?;
        output
            .line(format!("DLA cores {}", words(&self.dla_cores.clone().map(|n| n.to_string()))))?;
        let gpu = self.gpu.clone().map(|gpu| format!("{}, sm_{}", gpu.name, gpu.arch));
        output.line(format!("GPU       {}", words(&gpu)))?;
        let listing = cache.list();
        let (n, folder) = (listing.plans.len(), cache.folder().display());
        output.line(format!("{n} plans in {folder}"))?;
        for plan in &listing.plans {
            let (style, word) = match self.staleness(plan) {
                Ok(None) => (Style::Good, "fresh".to_owned()),
                Ok(Some(why)) => (Style::Bad, format!("stale: {why}")),
                Err(why) => (Style::Bold, why),
            };
            let word = output.styled(style, &word);
            output.line(format!("{}: {word}", plan.path.display()))?;
            print_plan(plan, output)?;
        }
        for error in &listing.refused {
            output.line(format!("refused: {error}"))?;
        }
        Ok(())
    }

    fn json(&self, cache: &PlanCache, output: &mut Output) -> anyhow::Result<()> {
        let listing = cache.list();
        let plans: Vec<Value> = listing
            .plans
            .iter()
            .map(|plan| {
                let (state, why) = match self.staleness(plan) {
                    Ok(None) => ("fresh", None),
                    Ok(Some(why)) => ("stale", Some(why)),
                    Err(why) => ("unknown", Some(why)),
                };
                json!({ "plan": plan.path.to_string_lossy(), "state": state, "why": why, "description": plan.sidecar })
            })
            .collect();
        let refused: Vec<String> = listing.refused.iter().map(ToString::to_string).collect();
        let outcome = |found: Result<Value, &String>| match found {
            Ok(value) => value,
            Err(why) => json!({ "missing": why }),
        };
        output.json(&json!({
            "headers": outcome(self.headers.as_ref().map(|version| json!(version))),
            "tensorrt": outcome(self.tensorrt.as_ref().map(|(version, path)| {
                json!({ "version": version, "path": path })
            })),
            "dla_cores": outcome(self.dla_cores.as_ref().map(|cores| json!(cores))),
            "gpu": outcome(self.gpu.as_ref().map(|gpu| json!({ "name": gpu.name, "sm": gpu.arch }))),
            "folder": cache.folder().to_string_lossy(),
            "plans": plans,
            "refused": refused,
        }))
    }
}

/// What is known of a plan, in a few lines.
pub(super) fn print_plan(plan: &StoredPlan, output: &mut Output) -> anyhow::Result<()> {
    let sidecar = &plan.sidecar;
    let (key, shapes, layers) = (&sidecar.key, &sidecar.key.shapes, &sidecar.layers);
    output.line(format!(
        "  {} MiB, {} layers, built in {:.0} s for {} (sm_{}, {}) by TensorRT {}",
        sidecar.plan_bytes >> 20,
        layers.total,
        sidecar.build_s,
        key.device,
        key.sm,
        key.target,
        key.tensorrt
    ))?;
    output.line(format!(
        "  {} slots of {} tokens, prompts of up to {} tokens a pass, {}, level {}, {} MiB of workspace",
        shapes.slots,
        shapes.context_tokens,
        shapes.prefill_tokens,
        key.precision,
        key.level.map_or("by default".to_owned(), |level| level.to_string()),
        key.workspace_mib
    ))?;
    if key.target.dla_core().is_some() {
        let off = layers.off_dla.join(", ");
        let (on, total) = (layers.on_dla, layers.total);
        output.line(format!("  {on} of {total} layers on the DLA; the first on the GPU: {off}"))?;
    }
    Ok(())
}
