//! The GPU engine, where this build has it.

use hymt_llm::config::ModelConfig;
use hymt_llm::engine::Engine;
use hymt_llm::engine::cpu::LoadProgress;

use super::{EngineOptions, ModelChoice};
use crate::config::Precision;

/// The device that this build would use, by name.
///
/// # Errors
/// Why there is none, in words.
pub(crate) fn device() -> Result<String, String> {
    #[cfg(feature = "cuda")]
    return hymt_cuda::device::probe(0).map(|info| info.name).map_err(|error| error.to_string());
    #[cfg(not(feature = "cuda"))]
    return Err("this build has no GPU engine".to_owned());
}

/// The device, when `auto` should take it for this model.
///
/// # Errors
/// Why not, in words.
pub(super) fn usable(options: &EngineOptions) -> Result<String, String> {
    let device = device()?;
    if options.model == ModelChoice::Demo {
        return Err(format!("the demo model is too small to gain from {device}"));
    }
    if options.precision == Precision::F32 {
        return Err(format!("precision f32 runs on the CPU only, not on {device}"));
    }
    Ok(device)
}

/// Loads the model on the GPU.
///
/// # Errors
/// When this build, this machine or the model does not allow it.
pub(super) fn load(
    options: &EngineOptions,
    progress: &mut dyn FnMut(LoadProgress),
) -> anyhow::Result<(Box<dyn Engine>, ModelConfig)> {
    anyhow::ensure!(
        options.precision != Precision::F32,
        "engine cuda computes in INT8; choose precision auto or int8, or engine cpu"
    );
    #[cfg(feature = "cuda")]
    {
        let cuda = hymt_cuda::CudaOptions {
            slots: options.slots,
            context_tokens_max: options.context_tokens,
            ..hymt_cuda::CudaOptions::default()
        };
        let engine = hymt_cuda::CudaEngine::load(&options.source(), &cuda, progress)?;
        let config = engine.config().clone();
        Ok((Box::new(engine), config))
    }
    #[cfg(not(feature = "cuda"))]
    {
        let _ = progress;
        anyhow::bail!("engine 'cuda' is not part of this build")
    }
}
