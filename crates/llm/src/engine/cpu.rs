//! The CPU engine: reference and fallback.
//!
//! Runs HunYuanDenseV1 in f32 or in INT8. Read `forward` first (the network), then `attention`,
//! `state` and `weights` (what it works on), then `matrix`, `kernels` and `pool` (how it gets
//! fast). In INT8 the logits are those of `docs/arithmetic.md`, to the bit.

mod attention;
mod float;
mod forward;
pub(crate) mod kernels;
pub(crate) mod layer_run;
pub(crate) mod matrix;
mod memory_speed;
pub(crate) mod pool;
mod state;
pub(crate) mod weights;

use std::num::NonZero;
use std::ops::RangeInclusive;

use self::forward::{Model, NewToken, forward, inverse_frequencies};
use self::kernels::Isa;
use self::matrix::Arithmetic;
use self::pool::Pool;
use self::state::{KvCache, Scratch};
use self::weights::Weights;
use super::{
    BatchRow, Engine, EngineError, EngineReport, EngineSpec, LogitsWanted, MemorySpeed, Slot,
};
use crate::TokenId;
use crate::config::{ModelConfig, POSITIONS_MAX};
use crate::error::LoadError;
use crate::quant::activation_scales::ActivationScales;
use crate::weights::ModelSource;

/// Most slots of one engine.
pub const SLOTS_MAX: usize = 256;
/// Most tokens of one step.
pub const STEP_TOKENS_MAX: usize = 8192;
/// Most threads of one engine.
pub const THREADS_MAX: usize = 256;

/// Arithmetic of the linear layers and of attention.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Precision {
    /// INT8 on this engine.
    #[default]
    Auto,
    /// f32: four bytes a weight, for reference.
    F32,
    /// INT8 weights and activations, and attention over 16-bit levels; exact sums.
    Int8,
}

/// How to set an engine up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CpuOptions {
    /// Arithmetic of the linear layers and of attention.
    pub precision: Precision,
    /// Sequences in flight at once, 1 to [`SLOTS_MAX`]. An idle slot costs nothing.
    pub slots: usize,
    /// Longest sequence of a slot, prompt and output together, in tokens. Cut down to what the
    /// model was made for.
    pub context_tokens_max: usize,
    /// Most tokens of one step, 1 to [`STEP_TOKENS_MAX`].
    pub step_tokens_max: usize,
    /// Threads, 1 to [`THREADS_MAX`]; `None` takes one for each CPU this process may use.
    pub threads: Option<usize>,
}

impl Default for CpuOptions {
    fn default() -> Self {
        Self {
            precision: Precision::Auto,
            slots: 8,
            context_tokens_max: 4096,
            step_tokens_max: 512,
            threads: None,
        }
    }
}

/// How far loading is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LoadProgress {
    /// Parts loaded: layers, and the output head as the last part.
    pub done: usize,
    /// Parts in all.
    pub total: usize,
}

/// HunYuanDenseV1 on the CPU.
pub struct CpuEngine {
    spec: EngineSpec,
    precision: Precision,
    model: Model,
    pool: Pool,
    cache: KvCache,
    scratch: Scratch,
}

impl CpuEngine {
    /// Loads a model. A float checkpoint is quantised on the way when the precision is INT8.
    ///
    /// # Errors
    /// [`LoadError`] when a file is missing or damaged, when a tensor does not fit the
    /// configuration, or when an option is out of bounds.
    pub fn load(
        source: &ModelSource,
        options: &CpuOptions,
        progress: &mut dyn FnMut(LoadProgress),
    ) -> Result<Self, LoadError> {
        let spec = spec(&source.config()?, options)?;
        Self::load_as(source, options, spec, None, progress)
    }

    /// Loads a model for INT8 with static activation scales and a head in f32: what an exported
    /// graph with explicit Q/DQ computes. To compare such engines with; slower and less exact than
    /// [`Self::load`]. The precision of `options` is not looked at.
    ///
    /// # Errors
    /// As [`Self::load`], and when there are scales for another number of layers.
    pub fn load_with_static_scales(
        source: &ModelSource,
        options: &CpuOptions,
        scales: &ActivationScales,
        progress: &mut dyn FnMut(LoadProgress),
    ) -> Result<Self, LoadError> {
        let config = source.config()?;
        in_range("layers with scales", scales.n_layers(), config.n_layers..=config.n_layers)?;
        let options = CpuOptions { precision: Precision::Int8, ..options.clone() };
        let spec = EngineSpec { name: "cpu-int8-static".to_owned(), ..spec(&config, &options)? };
        Self::load_as(source, &options, spec, Some(scales), progress)
    }

    fn load_as(
        source: &ModelSource,
        options: &CpuOptions,
        spec: EngineSpec,
        scales: Option<&ActivationScales>,
        progress: &mut dyn FnMut(LoadProgress),
    ) -> Result<Self, LoadError> {
        let config = source.config()?;
        let mut pool = pool(options.threads)?;
        let precision = arithmetic(options.precision);
        let tensors = source.tensors()?;
        let weights = Weights::load(&tensors, &config, precision, scales, &mut pool, progress)?;
        let isa = match scales {
            None => Isa::detect(),
            Some(_) => Isa::detect_for_saturated(),
        };
        tracing::debug!(engine = spec.name, threads = pool.threads(), ?isa, "model loaded");
        Ok(Self {
            cache: KvCache::new(&config, spec.slots),
            scratch: Scratch::new(&config),
            model: Model {
                inverse_frequencies: inverse_frequencies(&config),
                config,
                weights,
                isa,
            },
            spec,
            precision: options.precision,
            pool,
        })
    }

    /// Exchanges one part with another engine of the same shape: a layer, or, as part `n_layers`,
    /// the final norm with the output head. Folds that quantisers make stay inside a layer, so a
    /// network of parts from two checkpoints of one model is that model, partly quantised; this is
    /// how `hymt eval` finds the layer that quantisation hurts. A layer brings the arithmetic of its
    /// attention along. Both engines forget their sequences.
    ///
    /// # Errors
    /// [`EngineError::InvalidBatch`] when the shapes differ or there is no such part.
    pub fn swap_part(&mut self, other: &mut Self, part: usize) -> Result<(), EngineError> {
        let shape = |c: &ModelConfig| {
            let heads = (c.n_heads, c.n_kv_heads, c.head_dim);
            (c.n_layers, c.hidden_size, c.intermediate_size, c.vocab_size, heads)
        };
        let (ours, theirs) = (shape(&self.model.config), shape(&other.model.config));
        if ours != theirs {
            let detail = format!("engines of different shapes: {ours:?} and {theirs:?}");
            return Err(EngineError::InvalidBatch { detail });
        }
        let n_layers = self.model.config.n_layers;
        if part > n_layers {
            let detail = format!("part {part}; there are {n_layers} layers and the output head");
            return Err(EngineError::InvalidBatch { detail });
        }
        self.model.weights.swap_part(&mut other.model.weights, part);
        for engine in [self, other] {
            (0..engine.spec.slots).for_each(|slot| engine.cache.release(slot));
        }
        Ok(())
    }

    /// The hyper-parameters of the loaded model.
    pub fn config(&self) -> &ModelConfig {
        &self.model.config
    }
}

impl Engine for CpuEngine {
    fn spec(&self) -> &EngineSpec {
        &self.spec
    }

    fn step(&mut self, batch: &[BatchRow<'_>], logits: &mut Vec<f32>) -> Result<(), EngineError> {
        logits.clear();
        self.spec.check_batch(batch, |slot| self.cache.n_tokens(slot))?;
        let (mut tokens, mut wanted) = (Vec::new(), Vec::new());
        for row in batch {
            let slot = usize::from(row.slot.0);
            let layers = &self.model.weights.layers;
            self.cache.open(slot, row.position, row.tokens.len(), |i| layers[i].attention());
            tokens.extend((row.position..).zip(row.tokens).map(|(position, id)| NewToken {
                id: *id,
                slot,
                position,
            }));
            wanted.extend(tokens.len() - row.logits_rows()..tokens.len());
        }
        if !tokens.is_empty() {
            let (cache, scratch) = (&mut self.cache, &mut self.scratch);
            forward(&self.model, &mut self.pool, cache, scratch, &tokens, &wanted, logits);
        }
        Ok(())
    }

    fn release(&mut self, slot: Slot) {
        if usize::from(slot.0) < self.spec.slots {
            self.cache.release(usize::from(slot.0));
        }
    }

    fn report(&self) -> Result<EngineReport, EngineError> {
        let step_bytes = Some(weights_bytes(&self.model.config, self.precision));
        Ok(EngineReport { step_bytes, ..EngineReport::default() })
    }

    fn memory_speed(&self) -> Result<MemorySpeed, EngineError> {
        let read = memory_speed::read_speed(self.pool.threads());
        Ok(MemorySpeed { read: Some(read), copy: None })
    }
}

/// Logits after every token of one sequence, `[tokens.len(), vocab]`, in slot 0 of any engine.
/// For `hymt inspect`: what the slot held is replaced, and the slot is released afterwards.
///
/// # Errors
/// [`EngineError`], for example when the sequence is longer than a slot or an id is unknown.
pub fn logits_of_all_positions(
    engine: &mut dyn Engine,
    tokens: &[TokenId],
) -> Result<Vec<f32>, EngineError> {
    let mut all = Vec::new();
    let mut chunk_logits = Vec::new();
    let chunk_len = engine.spec().step_tokens_max;
    for (index, chunk) in tokens.chunks(chunk_len).enumerate() {
        let row = BatchRow {
            slot: Slot(0),
            position: index * chunk_len,
            tokens: chunk,
            logits: LogitsWanted::All,
        };
        engine.step(&[row], &mut chunk_logits)?;
        all.append(&mut chunk_logits);
    }
    engine.release(Slot(0));
    Ok(all)
}

/// Bytes that the weights of a model take in this engine; its embedding stays in the file, and the
/// sequences come on top.
pub fn weights_bytes(config: &ModelConfig, precision: Precision) -> u64 {
    let hidden = config.hidden_size;
    let attention = 2 * hidden * (config.q_size() + config.kv_size());
    let feed_forward = 3 * hidden * config.intermediate_size;
    let weights = config.n_layers * (attention + feed_forward) + config.vocab_size * hidden;
    let bytes = match arithmetic(precision) {
        Arithmetic::F32 => size_of::<f32>(),
        Arithmetic::Int8 => 1,
    };
    (weights * bytes) as u64
}

fn spec(config: &ModelConfig, options: &CpuOptions) -> Result<EngineSpec, LoadError> {
    in_range("slots", options.slots, 1..=SLOTS_MAX)?;
    in_range("context_tokens_max", options.context_tokens_max, 1..=POSITIONS_MAX)?;
    in_range("step_tokens_max", options.step_tokens_max, 1..=STEP_TOKENS_MAX)?;
    let name = match arithmetic(options.precision) {
        Arithmetic::F32 => "cpu-f32",
        Arithmetic::Int8 => "cpu-int8",
    };
    Ok(EngineSpec {
        name: name.to_owned(),
        vocab_size: config.vocab_size,
        slots: options.slots,
        context_tokens_max: options.context_tokens_max.min(config.max_positions),
        step_tokens_max: options.step_tokens_max,
    })
}

fn arithmetic(precision: Precision) -> Arithmetic {
    match precision {
        Precision::F32 => Arithmetic::F32,
        Precision::Auto | Precision::Int8 => Arithmetic::Int8,
    }
}

/// A pool of so many threads; `None` takes one for each CPU this process may use.
fn pool(threads: Option<usize>) -> Result<Pool, LoadError> {
    let available = || std::thread::available_parallelism().map_or(1, NonZero::get);
    let threads = threads.unwrap_or_else(|| available().min(THREADS_MAX));
    in_range("threads", threads, 1..=THREADS_MAX)?;
    Pool::new(threads).map_err(|source| LoadError::Io { path: "threads".into(), source })
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testkit::conformance::run_conformance;

    fn golden() -> ModelSource {
        let dir = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/f32");
        ModelSource::Dir(dir)
    }

    #[test]
    fn static_scales_conform_and_need_every_layer() {
        let options = CpuOptions {
            threads: Some(2),
            slots: 5,
            context_tokens_max: 80,
            step_tokens_max: 48,
            ..CpuOptions::default()
        };
        let source = golden();
        let n_layers = source.config().unwrap().n_layers;
        let load = |layers: usize| {
            let scales = ActivationScales::from_absmax(&vec![[4.0; 4]; layers]).unwrap();
            CpuEngine::load_with_static_scales(&source, &options, &scales, &mut |_| {})
        };
        run_conformance(&mut || Box::new(load(n_layers).unwrap()));
        assert_eq!(load(n_layers).unwrap().spec().name, "cpu-int8-static");
        let message = load(n_layers + 1).err().unwrap().to_string();
        assert!(message.contains("layers with scales"), "{message}");
    }

    #[test]
    fn the_cpu_engine_conforms() {
        for (precision, threads) in
            [(Precision::F32, 1), (Precision::F32, 3), (Precision::Int8, 1), (Precision::Int8, 3)]
        {
            let options = CpuOptions {
                precision,
                threads: Some(threads),
                slots: 5,
                context_tokens_max: 80,
                step_tokens_max: 48,
            };
            run_conformance(&mut || {
                Box::new(CpuEngine::load(&golden(), &options, &mut |_| {}).unwrap())
            });
        }
    }
}
