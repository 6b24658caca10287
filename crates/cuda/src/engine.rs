//! The engine: batches in, logits out.
//!
//! Two ways through the network, with the same bits: up to eight tokens, of as many sequences or of fewer
//! with drafts, run in one persistent kernel ([`crate::program::DECODE_SIZES`]); everything else, prompts
//! above all, runs one launch an operation.

mod exchange;
mod memory;
mod run;

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use hymt_llm::config::{ModelConfig, POSITIONS_MAX};
use hymt_llm::engine::cpu::{LoadProgress, SLOTS_MAX, STEP_TOKENS_MAX};
use hymt_llm::engine::{
    BatchRow, Engine, EngineError, EngineReport, EngineSpec, KernelReport, MemoryReport,
    MemorySpeed, Shortlist, Slot,
};
use hymt_llm::error::LoadError;
use hymt_llm::weights::ModelSource;

use self::memory::KvPages;
use self::run::{Buffers, Kernels};
use crate::device::{DeviceInfo, Gpu, Module, probe};
use crate::error::CudaError;
use crate::nvrtc::Nvrtc;
use crate::program::{Program, Shape, Target, default_cache};
use crate::weights::{Loader, Weights};

/// How to set an engine up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CudaOptions {
    /// Number of the device.
    pub device: usize,
    /// Sequences in flight at once, 1 to [`SLOTS_MAX`]. An idle slot costs nothing.
    pub slots: usize,
    /// Longest sequence of a slot, prompt and output together. Tokens.
    pub context_tokens_max: usize,
    /// Most tokens of one step, 1 to [`STEP_TOKENS_MAX`].
    pub step_tokens_max: usize,
    /// Most of the device's memory that weights, buffers and KV cache may take together; `None` leaves
    /// it to the device. Bytes.
    pub memory_bytes_max: Option<usize>,
    /// File of the compiler's library; `None` looks for it by name.
    pub nvrtc: Option<PathBuf>,
    /// Folder for compiled kernels; `None` compiles at every start.
    pub cache: Option<PathBuf>,
}

impl Default for CudaOptions {
    fn default() -> Self {
        Self {
            device: 0,
            slots: 8,
            context_tokens_max: 4096,
            step_tokens_max: 512,
            memory_bytes_max: None,
            nvrtc: None,
            cache: default_cache(),
        }
    }
}

/// HunYuanDenseV1 on an NVIDIA GPU. Fields are dropped in this order.
pub struct CudaEngine {
    spec: EngineSpec,
    shape: Shape,
    device: DeviceInfo,
    pages: KvPages,
    buffers: Buffers,
    weights: Weights,
    kernels: Kernels,
    module: Module,
    gpu: Arc<Gpu>,
    made: KernelReport,
    rotations: Rotations,
    /// Whether decode kernels run; tests compare them with the way of prompts.
    decodes: bool,
    /// Tokens of the last step whose logits it left on the device.
    with_logits: Vec<usize>,
}

impl CudaEngine {
    /// Loads a model. A float checkpoint is quantised on the way.
    ///
    /// # Errors
    /// [`CudaError`]: what is missing on this machine, what does not fit it, or what is wrong with
    /// the model's files.
    pub fn load(
        source: &ModelSource,
        options: &CudaOptions,
        progress: &mut dyn FnMut(LoadProgress),
    ) -> Result<Self, CudaError> {
        let config = source.config()?;
        let spec = spec(&config, options)?;
        let shape = Shape::new(&config)?;
        let device = probe(options.device)?;
        let gpu = Gpu::open(&device, options.memory_bytes_max)?;
        let target = Target { arch: device.arch, shared_bytes: device.shared_bytes };
        let program = Program::new(&shape, &target);
        let nvrtc = Nvrtc::open(options.nvrtc.as_deref())?;
        let cache = options.cache.as_deref();
        let mut module = Module::new(&gpu);
        let tensors = source.tensors()?;
        let started = Instant::now();
        // The kernels of steps are compiled while the weights go to the device.
        let (weights, steps, made) = std::thread::scope(|scope| {
            let steps = scope.spawn(|| {
                let steps = program.steps_code(&nvrtc, cache);
                steps.map(|steps| (steps, started.elapsed().as_secs_f64() * 1e3))
            });
            let loading = program.loading.machine_code(&nvrtc, cache)?;
            module.load(&loading.cubin)?;
            let weights = Loader::new(&gpu, &module, &tensors, &shape)?.load(progress)?;
            let (steps, ms) = steps.join().expect("compiling never panics")?;
            let all = steps.iter().chain([&loading]);
            let compiled = all.filter(|code| code.compiled_in.is_some()).count();
            let made = KernelReport { compiled, total: 1 + steps.len(), ms };
            Ok::<_, CudaError>((weights, steps, made))
        })?;
        steps.iter().try_for_each(|code| module.load(&code.cubin))?;
        let kernels = Kernels::new(&module, &program.decode_sizes)?;
        let pages = KvPages::new(&gpu, &shape, spec.slots, spec.context_tokens_max)?;
        let buffers = Buffers::new(&gpu, &shape, &spec, pages.pages_max(), device.multiprocessors)?;
        let KernelReport { compiled, total, ms } = made;
        tracing::info!(device = device.name, arch = device.arch, "model loaded on the GPU");
        tracing::debug!(compiled, total, ms, "kernels");
        let rotations = Rotations::new(&config);
        Ok(Self {
            spec,
            shape,
            device,
            pages,
            buffers,
            weights,
            kernels,
            module,
            gpu,
            made,
            rotations,
            decodes: true,
            with_logits: Vec::new(),
        })
    }

    /// The hyper-parameters of the loaded model.
    pub fn config(&self) -> &ModelConfig {
        &self.shape.config
    }

    /// The device in use.
    pub fn device(&self) -> &DeviceInfo {
        &self.device
    }

    #[cfg(feature = "testing")]
    pub(crate) fn limit_blocks(&mut self, blocks: usize) {
        self.buffers.limit_blocks(blocks);
    }

    #[cfg(feature = "testing")]
    pub(crate) fn set_decodes(&mut self, decodes: bool) {
        self.decodes = decodes;
    }

    #[cfg(feature = "testing")]
    pub(crate) fn gpu(&self) -> &Arc<Gpu> {
        &self.gpu
    }

    #[cfg(feature = "testing")]
    pub(crate) fn poison_workspace(&self, byte: u8) -> Result<(), CudaError> {
        self.gpu.bind()?;
        self.buffers.poison(byte)?;
        self.gpu.synchronize()
    }

    #[cfg(feature = "testing")]
    pub(crate) fn poison_cache(&self, byte: u8) -> Result<(), CudaError> {
        self.gpu.bind()?;
        self.pages.poison_free(byte)?;
        self.gpu.synchronize()
    }

    fn fatal(&self, error: CudaError) -> EngineError {
        EngineError::Device { engine: self.spec.name.clone(), source: Box::new(error) }
    }

    /// True when the batch fits a decode kernel.
    fn is_decode(&self, batch: &[BatchRow<'_>]) -> bool {
        let multiprocessors = self.buffers.multiprocessors;
        self.decodes && self.kernels.decode_for(run::n_tokens(batch), multiprocessors).is_some()
    }

    fn advance(
        &mut self,
        batch: &[BatchRow<'_>],
        logits: Option<&mut Vec<f32>>,
    ) -> Result<(), EngineError> {
        self.with_logits.clear();
        let (is_decode, wanted) = (self.is_decode(batch), run::wanted_tokens(batch));
        let opened = self.gpu.bind().and_then(|()| self.open_pages(batch));
        let result = match opened {
            // Nothing has run, and what other sequences hold is as it was.
            Err(error @ CudaError::OutOfMemory { .. }) => Err(EngineError::OutOfMemory {
                engine: self.spec.name.clone(),
                source: Box::new(error),
            }),
            Err(error) => Err(self.fatal(error)),
            Ok(()) => match is_decode {
                true => self.decode(batch, &wanted, logits),
                false => self.prefill(batch, &wanted, logits),
            }
            .map_err(|error| self.fatal(error)),
        };
        match result {
            Ok(()) if is_decode => self.with_logits = wanted,
            Ok(()) => {}
            Err(_) => batch.iter().for_each(|row| self.pages.release(usize::from(row.slot.0))),
        }
        result
    }

    fn open_pages(&mut self, batch: &[BatchRow<'_>]) -> Result<(), CudaError> {
        for row in batch {
            self.pages.open(usize::from(row.slot.0), row.position, row.tokens.len())?;
        }
        self.pages.upload()
    }
}

impl Engine for CudaEngine {
    fn spec(&self) -> &EngineSpec {
        &self.spec
    }

    fn step(&mut self, batch: &[BatchRow<'_>], logits: &mut Vec<f32>) -> Result<(), EngineError> {
        logits.clear();
        self.spec.check_batch(batch, |slot| self.pages.n_tokens(slot))?;
        if batch.is_empty() {
            return Ok(());
        }
        self.advance(batch, Some(logits))
    }

    fn step_shortlist(
        &mut self,
        batch: &[BatchRow<'_>],
        kept: usize,
        shortlists: &mut Vec<Shortlist>,
    ) -> Result<bool, EngineError> {
        shortlists.clear();
        self.spec.check_batch(batch, |slot| self.pages.n_tokens(slot))?;
        if batch.is_empty() || !self.is_decode(batch) {
            return Ok(false);
        }
        self.advance(batch, None)?;
        self.buffers.shortlists(&self.with_logits, kept, self.spec.vocab_size, shortlists);
        Ok(true)
    }

    fn logits_of(&mut self, row: usize, logits: &mut Vec<f32>) -> Result<(), EngineError> {
        let Some(token) = self.with_logits.get(row) else {
            let rows = self.with_logits.len();
            let detail = format!("logits of row {row} asked for; the last step left {rows}");
            return Err(EngineError::InvalidBatch { detail });
        };
        let vocab_size = self.spec.vocab_size;
        logits.resize(vocab_size, 0.0);
        let bytes = bytemuck::cast_slice_mut(logits);
        self.gpu.bind().map_err(|error| self.fatal(error))?;
        self.buffers.logits.read(token * vocab_size * 4, bytes).map_err(|error| self.fatal(error))
    }

    /// What the decode kernels take at once; more goes the way of prompts, at 3 ms instead of 1 for
    /// HY-MT 1.8B on an H200 (`docs/kernels.md`).
    fn cheap_step_tokens(&self) -> usize {
        self.kernels.decode_tokens_max(self.buffers.multiprocessors)
    }

    fn release(&mut self, slot: Slot) {
        if usize::from(slot.0) < self.spec.slots {
            self.pages.release(usize::from(slot.0));
        }
    }

    fn report(&self) -> Result<EngineReport, EngineError> {
        let (free, total) = self.gpu.memory().map_err(|error| self.fatal(error))?;
        Ok(EngineReport {
            device: Some(self.device.name.clone()),
            step_bytes: Some(self.weights.bytes() as u64),
            memory: Some(MemoryReport {
                weights: self.weights.bytes() as u64,
                buffers: self.buffers.bytes() as u64,
                cache: self.pages.bytes() as u64,
                free: free as u64,
                total: total as u64,
            }),
            kernels: Some(self.made),
        })
    }

    fn memory_speed(&self) -> Result<MemorySpeed, EngineError> {
        let (gpu, blocks) = (&self.gpu, self.device.multiprocessors);
        let (copy, read) =
            run::memory_speed(gpu, &self.module, blocks).map_err(|error| self.fatal(error))?;
        Ok(MemorySpeed { copy: Some(copy), read: Some(read) })
    }
}

fn spec(config: &ModelConfig, options: &CudaOptions) -> Result<EngineSpec, LoadError> {
    in_range("slots", options.slots, 1..=SLOTS_MAX)?;
    in_range("context_tokens_max", options.context_tokens_max, 1..=POSITIONS_MAX)?;
    in_range("step_tokens_max", options.step_tokens_max, 1..=STEP_TOKENS_MAX)?;
    Ok(EngineSpec {
        name: "cuda-int8".to_owned(),
        vocab_size: config.vocab_size,
        slots: options.slots,
        context_tokens_max: options.context_tokens_max.min(config.max_positions),
        step_tokens_max: options.step_tokens_max,
    })
}

fn in_range(
    option: &'static str,
    value: usize,
    range: RangeInclusive<usize>,
) -> Result<(), LoadError> {
    if range.contains(&value) {
        return Ok(());
    }
    let allowed = format!("{} to {}", range.start(), range.end());
    Err(LoadError::Option { option, value, allowed })
}

/// Cosines, then sines, of each position's angles, as the CPU engine computes them. Kept, for their
/// computation takes longer than all else that a step does on the host.
struct Rotations {
    /// Angle per position of each pair of a head.
    inverse_frequencies: Vec<f32>,
    /// `[positions so far][head_dim]`
    known: Vec<f32>,
}

impl Rotations {
    fn new(config: &ModelConfig) -> Self {
        let d = config.head_dim as f64;
        let base = config.rope.base(config.head_dim);
        let frequency = |i: usize| base.powf(-2.0 * i as f64 / d) as f32;
        Self {
            inverse_frequencies: (0..config.head_dim / 2).map(frequency).collect(),
            known: Vec::new(),
        }
    }

    /// Of one position, `[head_dim]`.
    fn of(&mut self, position: usize) -> &[f32] {
        let head_dim = 2 * self.inverse_frequencies.len();
        for position in self.known.len() / head_dim..=position {
            // The angle is rounded to f32 before its cosine is taken, as the reference does.
            let angle = |frequency: &f32| f64::from(position as f32 * frequency);
            let angles = self.inverse_frequencies.iter().map(angle);
            self.known.extend(angles.clone().map(|angle| angle.cos() as f32));
            self.known.extend(angles.map(|angle| angle.sin() as f32));
        }
        &self.known[position * head_dim..][..head_dim]
    }
}
