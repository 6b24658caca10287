//! The TensorRT engine, where this build has it: which plan is good for this machine and model.

use std::path::PathBuf;

use hymt_llm::config::ModelConfig;
use hymt_llm::engine::Engine;

use super::EngineOptions;
use crate::board::PlanState;
#[cfg(feature = "tensorrt")]
pub(crate) use with_tensorrt::plan_key;
#[cfg(feature = "tensorrt")]
use with_tensorrt::{load_plan, state_of_plan};

/// An engine that runs a plan.
pub(super) struct Loaded {
    pub(super) engine: Box<dyn Engine>,
    pub(super) config: ModelConfig,
    /// What it runs on.
    pub(super) device: String,
    /// The plan.
    pub(super) plan: PathBuf,
}

/// Runs the plan that was named, or the one of the cache that is good for this machine and model.
///
/// # Errors
/// What is missing: TensorRT, a GPU, a plan; or why the plan that is there is stale.
pub(super) fn load(options: &EngineOptions) -> anyhow::Result<Loaded> {
    #[cfg(feature = "tensorrt")]
    return load_plan(options);
    #[cfg(not(feature = "tensorrt"))]
    {
        let _ = options;
        anyhow::bail!("engine 'tensorrt' is not part of this build")
    }
}

/// For `auto`: whether somebody built plans here. Nothing is opened for it.
pub(super) fn has_plans(options: &EngineOptions) -> bool {
    #[cfg(feature = "tensorrt")]
    return hymt_tensorrt::safe::headers().is_ok()
        && (options.plan.is_some()
            || !hymt_tensorrt::plan::PlanCache::of_user().list().plans.is_empty());
    #[cfg(not(feature = "tensorrt"))]
    {
        let _ = options;
        false
    }
}

/// What the doctor says of the plan for a model; `None` where none was named.
pub(crate) fn plan_state(options: Option<&EngineOptions>) -> PlanState {
    if is_built().is_err() {
        return PlanState::NoEngine;
    }
    #[cfg(feature = "tensorrt")]
    if let Some(options) = options {
        return state_of_plan(options);
    }
    let _ = options;
    PlanState::NoModel
}

/// DLA cores as TensorRT counts them; `None` where it cannot be asked.
pub(crate) fn dla_cores() -> Option<usize> {
    #[cfg(feature = "tensorrt")]
    {
        use hymt_tensorrt::safe::{Libraries, Library, log_to_tracing};

        let libraries = Libraries::from_env().without_parser();
        let library = Library::open(&libraries, log_to_tracing()).ok()?;
        let cores = library.runtime().ok()?.dla_cores().ok()?;
        usize::try_from(cores).ok()
    }
    #[cfg(not(feature = "tensorrt"))]
    None
}

/// Whether this build has the engine.
///
/// # Errors
/// What is missing, in words.
pub(crate) fn is_built() -> Result<(), String> {
    #[cfg(feature = "tensorrt")]
    return hymt_tensorrt::safe::headers().map(drop).map_err(|error| error.to_string());
    #[cfg(not(feature = "tensorrt"))]
    return Err("it needs the feature tensorrt-shim".to_owned());
}

#[cfg(feature = "tensorrt")]
mod with_tensorrt {
    use anyhow::Context as _;
    use hymt_tensorrt::build::WORKSPACE_MIB;
    use hymt_tensorrt::device::{DeviceInfo, probe};
    use hymt_tensorrt::engine::load::GpuEngine;
    use hymt_tensorrt::plan::fingerprint::Fingerprint;
    use hymt_tensorrt::plan::{GRAPH_VERSION, Lookup, PlanCache, PlanKey, PlanShapes, StoredPlan};
    use hymt_tensorrt::safe::{Libraries, Library, board_model, log_to_tracing};

    use super::super::{EngineOptions, ModelChoice};
    use super::Loaded;
    use crate::board::PlanState;
    use crate::config::{GpuDevice, Precision};

    impl From<GpuDevice> for hymt_tensorrt::plan::Target {
        fn from(device: GpuDevice) -> Self {
            match device {
                GpuDevice::Gpu => Self::Gpu,
                GpuDevice::Dla0 => Self::Dla0,
                GpuDevice::Dla1 => Self::Dla1,
            }
        }
    }

    /// What a plan for this machine and model depends on, the choices of its builder left at their
    /// defaults.
    ///
    /// # Errors
    /// When the model cannot be read.
    pub(crate) fn plan_key(
        library: &Library,
        gpu: &DeviceInfo,
        options: &EngineOptions,
    ) -> anyhow::Result<(PlanKey, Fingerprint)> {
        let model = fingerprint(options)?;
        let key = PlanKey {
            tensorrt: library.version().to_string(),
            sm: gpu.arch,
            // The GPUs of all Orin boards may have one name.
            device: match board_model() {
                Some(board) => format!("{} ({board})", gpu.name),
                None => gpu.name.clone(),
            },
            target: options.gpu_device.into(),
            gpu_fallback: false,
            model: model.hash.clone(),
            precision: String::new(),
            shapes: PlanShapes::default(),
            level: None,
            workspace_mib: WORKSPACE_MIB,
            graph: GRAPH_VERSION,
        };
        Ok((key, model))
    }

    fn fingerprint(options: &EngineOptions) -> anyhow::Result<Fingerprint> {
        let plans = PlanCache::of_user().list().plans;
        let known = plans
            .iter()
            .map(|plan| (plan.sidecar.model_files.as_slice(), plan.sidecar.key.model.as_str()));
        Ok(Fingerprint::of_source(&options.source(), known)?)
    }

    pub(super) fn state_of_plan(options: &EngineOptions) -> PlanState {
        let build = match &options.model {
            ModelChoice::Demo => "hymt engine build".to_owned(),
            ModelChoice::Folder(folder) => {
                format!("hymt engine build --model {}", folder.display())
            }
        };
        let found = || -> anyhow::Result<Lookup> {
            let libraries = Libraries::from_env().without_parser();
            let library = Library::open(&libraries, log_to_tracing())?;
            look_up(&library, &probe(0)?, options)
        };
        match found() {
            Ok(Lookup::Fresh(StoredPlan { path, sidecar })) => {
                let (shapes, key) = (&sidecar.key.shapes, &sidecar.key);
                let (slots, context) = (shapes.slots, shapes.context_tokens);
                let (path, version) = (path.display(), &key.tensorrt);
                let about = format!(
                    "'{path}': {slots} slots of {context} tokens, {}, TensorRT {version}",
                    key.target
                );
                PlanState::Ready { about }
            }
            Ok(Lookup::Stale(stale)) => PlanState::Stale { reason: stale.explain(), build },
            Ok(Lookup::Missing) => PlanState::Missing { build },
            Err(error) => PlanState::Stale { reason: format!("{error:#}"), build },
        }
    }

    pub(super) fn load_plan(options: &EngineOptions) -> anyhow::Result<Loaded> {
        anyhow::ensure!(
            options.precision != Precision::F32,
            "engine tensorrt computes in INT8; choose precision auto or int8, or engine cpu"
        );
        let libraries = Libraries::from_env().without_parser();
        let library = Library::open(&libraries, log_to_tracing())?;
        let gpu = probe(0)?;
        let plan = find(&library, &gpu, options)?;
        let config = options.source().config()?;
        let target = options.gpu_device.into();
        let engine = GpuEngine::load(&library, &plan.path, target, &gpu, &config)
            .with_context(|| format!("cannot run the plan '{}'", plan.path.display()))?;
        let on_dla = plan.sidecar.layers.on_dla;
        let device = match options.gpu_device {
            GpuDevice::Gpu => gpu.name,
            dla => {
                format!("{dla} ({on_dla} of {} layers) and {}", plan.sidecar.layers.total, gpu.name)
            }
        };
        let (context, wanted) = (engine.limits().context, options.context_tokens);
        if context < wanted {
            tracing::info!(context, wanted, "the plan decides how long a sequence may be");
        }
        Ok(Loaded { engine: Box::new(engine), config, device, plan: plan.path })
    }

    /// What there is for this machine and model: the plan that was named, or the cache.
    fn look_up(
        library: &Library,
        gpu: &DeviceInfo,
        options: &EngineOptions,
    ) -> anyhow::Result<Lookup> {
        let (wanted, _) = plan_key(library, gpu, options)?;
        let Some(path) = &options.plan else {
            return Ok(PlanCache::of_user().look_up_for_engine(&wanted));
        };
        let plan = StoredPlan::at(path).with_context(|| {
            let path = path.display();
            format!("gpu.plan is '{path}', which needs its .json beside it")
        })?;
        Ok(plan.judge_for_engine(&wanted).map_or_else(Lookup::Stale, Lookup::Fresh))
    }

    fn find(
        library: &Library,
        gpu: &DeviceInfo,
        options: &EngineOptions,
    ) -> anyhow::Result<StoredPlan> {
        match look_up(library, gpu, options)? {
            Lookup::Fresh(plan) => Ok(plan),
            Lookup::Stale(stale) => anyhow::bail!(
                "no plan for this machine and model; the nearest is '{}': {}",
                stale.plan.path.display(),
                stale.explain()
            ),
            Lookup::Missing => anyhow::bail!(
                "no plan in '{}'; build one on this machine with `hymt engine build`{}",
                PlanCache::of_user().folder().display(),
                match &options.model {
                    ModelChoice::Demo => String::new(),
                    ModelChoice::Folder(folder) => format!(" --model {}", folder.display()),
                }
            ),
        }
    }
}
