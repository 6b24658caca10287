//! From a plan's file to an engine that runs on the GPU.
//!
//! One of the files with `unsafe`: it maps the plan. A plan is as large as the weights, and a board
//! that shares its memory with the GPU has no room for a second copy that nobody can evict.
#![allow(unsafe_code)]

use std::path::Path;

use hymt_cuda::device::DeviceInfo;
use hymt_llm::config::ModelConfig;
use memmap2::Mmap;

use super::limits::Limits;
use super::{Graphs, SetupError, TensorRtEngine};
use crate::device::cuda::CudaDevice;
use crate::plan::{Target, prune};
use crate::safe::{self, Library};

/// The engine of this machine.
pub type GpuEngine = TensorRtEngine<safe::Engine, CudaDevice>;

impl GpuEngine {
    /// Deserialises a plan and takes memory for it.
    ///
    /// # Errors
    /// [`SetupError`].
    pub fn load(
        library: &Library,
        plan: &Path,
        target: Target,
        gpu: &DeviceInfo,
        config: &ModelConfig,
    ) -> Result<Self, SetupError> {
        // The device first: it makes CUDA's primary context current, in which TensorRT works.
        let device = CudaDevice::open(gpu)?;
        let io = |source| SetupError::Io { path: plan.to_owned(), source };
        let file = prune::open_held(plan).map_err(io)?;
        // SAFETY: plans are replaced by renaming, never written in place; cutting one short while it
        // is read ends the process, as for the weights of the other engines.
        let bytes = unsafe { Mmap::map(&file) }.map_err(io)?;
        let mut runtime = library.runtime()?;
        if let Some(core) = target.dla_core() {
            runtime.set_dla_core(core)?;
        }
        let engine = runtime.deserialise(&bytes)?;
        let plan_bytes = bytes.len() as u64;
        drop(bytes);
        // The engine keeps it, and so it goes before the device also when what follows fails.
        drop(runtime);
        // What runs partly on DLA cannot be captured into a CUDA graph.
        let graphs = if target == Target::Gpu { Graphs::On } else { Graphs::Off };
        let made = Self::new(engine, device, graphs)?;
        let this = Self { plan_bytes, _plan_file: Some(file), ..made };
        check_model(this.limits(), config)?;
        Ok(this)
    }
}

/// A plan of another model would answer, in nonsense.
fn check_model(limits: &Limits, config: &ModelConfig) -> Result<(), SetupError> {
    for (what, plan, model) in [
        ("a vocabulary of", limits.vocab, config.vocab_size),
        ("layers:", limits.layers, config.n_layers),
        ("key/value heads:", limits.kv_heads, config.n_kv_heads),
        ("heads as wide as", limits.head_dim, config.head_dim),
    ] {
        if plan != model {
            return Err(SetupError::OtherModel { what, plan, model });
        }
    }
    Ok(())
}
