//! A float checkpoint becomes an INT8 one: `hymt quantize`.
//!
//! The result is a compressed-tensors folder, `int-quantized` W8A8: INT8 weights with one scale
//! for each output channel, activations quantised token by token at run time. Embedding, output
//! head and norms stay floats.
//!
//! One layer is in memory at a time. It is read in f32; the calibration tokens pass through it as
//! it is, which gives the residual stream for the next layer and what enters each linear layer;
//! then each of its four smoothing folds is chosen ([`super::smoothing`]), and its matrices are
//! quantised and written. The order of every sum is fixed, so the bytes depend on the source, the
//! prompts and the options, and on nothing else: not on threads, processor or interruptions.

use std::ops::ControlFlow;
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::folder::{Shards, write_vectors};
use super::int8::quantization_config;
use super::layer::{Observed, quantise, scale_of};
use super::plan::{float_tensors, matrices, plan, weight_name};
use super::resume::{Identity, PROGRESS_FILE, Partial, replace};
use super::smoothing::Fold;
use crate::TokenId;
use crate::config::{CONFIG_BYTES_MAX, ModelConfig};
use crate::engine::cpu::layer_run::LayerRun;
use crate::engine::cpu::weights::Layer;
use crate::format::folder::{beside, put_in_place};
use crate::weights::{Container, EMBEDDING, Embedding, ModelSource, Tensors, read_bounded};

pub use super::error::QuantizeError;
pub use super::layer::{FoldReport, LayerReport, PERCENTILE, Smoothing};
pub use super::search::SEARCH_TOKENS_MAX;

/// Most calibration tokens that may be asked for.
pub const CALIBRATION_TOKENS_MAX: usize = 16_384;
/// Tensor bytes of one shard, unless the options say otherwise.
pub const SHARD_BYTES_MAX: u64 = 2_000_000_000;
/// Static scales of the activations, for engines that want them. Not part of the checkpoint:
/// transformers reads the folder as one with dynamic scales.
pub const ACTIVATION_SCALES_FILE: &str = "activation_scales.safetensors";
/// Static scales of the KV cache, where they were asked for.
pub const KV_CACHE_SCALES_FILE: &str = "kv_cache_scales.safetensors";
/// What was chosen and seen, layer by layer.
pub const REPORT_FILE: &str = "quantize_report.json";

/// Files that are copied as they are when the source has them.
const SIDE_FILES: &[&str] = &[
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "hy.tiktoken",
    "chat_template.jinja",
    "generation_config.json",
    "LICENSE",
    "LICENSE.txt",
    "NOTICE",
];

/// Bytes of a float tensor that are copied at a time.
const COPY_BYTES: usize = 16 << 20;

/// What to do. Everything here decides about the result.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct QuantizeOptions {
    /// How activations are smoothed.
    pub smoothing: Smoothing,
    /// Calibration tokens in use, 1 to [`CALIBRATION_TOKENS_MAX`]; whole prompts, from the first.
    pub tokens_max: usize,
    /// Whether to record scales for an INT8 KV cache too.
    pub kv_cache_scales: bool,
    /// Most bytes of tensors in one file.
    pub shard_bytes_max: u64,
}

impl Default for QuantizeOptions {
    fn default() -> Self {
        Self {
            smoothing: Smoothing::Search,
            tokens_max: 4096,
            kv_cache_scales: false,
            shard_bytes_max: SHARD_BYTES_MAX,
        }
    }
}

/// How to do it. Nothing here changes the result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RunOptions {
    /// Threads; `None` takes one for each CPU this process may use.
    pub threads: Option<usize>,
    /// Replace a model that is already there, and the remains of another run.
    pub force: bool,
}

/// How far quantising is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QuantizeProgress {
    /// Steps done; each layer has [`STEPS_PER_LAYER`].
    pub done: usize,
    /// Steps in all.
    pub total: usize,
    /// The layer at hand.
    pub layer: usize,
}

/// How far a pass over the layers is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LayerProgress {
    /// Layers done.
    pub done: usize,
    /// Layers in all.
    pub total: usize,
}

/// Steps of one layer: reading it and running it, each fold, writing it.
pub const STEPS_PER_LAYER: usize = 3 + Fold::ALL.len();

/// What was chosen and seen.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct QuantizeReport {
    /// Calibration tokens that were used.
    pub calibration_tokens: usize,
    /// Calibration prompts that were used.
    pub calibration_prompts: usize,
    /// How activations were to be smoothed.
    pub smoothing: Smoothing,
    /// One for each layer.
    pub layers: Vec<LayerReport>,
}

/// Bytes that quantising a model takes at its peak, with `n_tokens` calibration tokens: one layer
/// in f32, what the tokens look like inside it, and the candidates of a fold.
pub fn memory_needed(config: &ModelConfig, n_tokens: usize) -> u64 {
    let (hidden, ffn, q, kv) =
        (config.hidden_size, config.intermediate_size, config.q_size(), config.kv_size());
    let weights = 2 * hidden * q + 2 * hidden * kv + 3 * hidden * ffn;
    // Residual stream, norm output and block output; queries, keys and values, the latter two also
    // cached; gate and up; then the copies of what enters the linear layers, and one byte beside
    // each of these inputs for INT8.
    let of_engine = 4 * hidden + q + 4 * kv + 2 * ffn;
    let inputs = 2 * hidden + q + ffn;
    let of_search = 2 * ffn + ffn.max(q);
    const FLOAT: usize = size_of::<f32>();
    let bytes = FLOAT * weights
        + n_tokens * (FLOAT * (of_engine + inputs) + inputs)
        + SEARCH_TOKENS_MAX * FLOAT * of_search
        + hidden * ffn
        + (128 << 20);
    bytes as u64
}

/// Quantises the model in folder `source` into the new folder `out`.
///
/// `prompts` are token ids as the model will see them. `progress` is told after each step and may
/// break, which leaves everything so that the same call goes on later, as does any other end.
/// Meanwhile the result grows in `out` with `.partial` after its name.
///
/// # Errors
/// [`QuantizeError`].
pub fn quantize_model(
    source: &Path,
    out: &Path,
    prompts: &[Vec<TokenId>],
    options: &QuantizeOptions,
    run_options: RunOptions,
    progress: &mut dyn FnMut(QuantizeProgress) -> ControlFlow<()>,
) -> Result<QuantizeReport, QuantizeError> {
    check_options(options)?;
    check_destination(out, run_options.force)?;
    let (config, tensors) = open_source(source)?;
    let prompts = calibration(prompts, options.tokens_max, config.vocab_size)?;
    let io = |path: &Path| {
        let path = path.to_owned();
        move |source| QuantizeError::Io { path, source }
    };
    let identity = Identity::of(source, prompts, options).map_err(io(source))?;
    let partial = Partial::open(&beside(out, ".partial"), identity, run_options.force)?;
    let plan = plan(&tensors, &config)?;
    let shards = Shards::open(&partial.dir, &plan, options.shard_bytes_max)?;
    let run = LayerRun::new(&config, prompts, run_options.threads)?;
    let mut job = Job { tensors, config, options, run, shards, partial };
    job.layers(progress)?;
    job.float_tensors()?;
    let report = QuantizeReport {
        calibration_tokens: job.run.n_tokens(),
        calibration_prompts: prompts.len(),
        smoothing: options.smoothing,
        layers: job.partial.layers.clone(),
    };
    job.side_files(source, &report)?;
    finish(&job.partial, out, run_options.force)?;
    Ok(report)
}

/// Everything a run works on.
struct Job<'a> {
    tensors: Tensors,
    config: ModelConfig,
    options: &'a QuantizeOptions,
    run: LayerRun,
    shards: Shards,
    partial: Partial,
}

impl Job<'_> {
    fn layers(
        &mut self,
        progress: &mut dyn FnMut(QuantizeProgress) -> ControlFlow<()>,
    ) -> Result<(), QuantizeError> {
        let n_layers = self.config.n_layers;
        let first = self.partial.layers.len();
        if first == n_layers {
            return Ok(());
        }
        let mut hidden = if first == 0 {
            let hidden = self.run.embed(&Embedding::load(&self.tensors, &self.config)?);
            // Each row that was looked up has brought its neighbours into memory.
            let table = self.tensors.tensor(EMBEDDING)?;
            table.forget_bytes(0..table.bytes().len());
            hidden
        } else {
            self.partial.hidden(self.run.n_tokens() * self.config.hidden_size)?
        };
        for index in first..n_layers {
            let mut steps = 0;
            let partial = self.partial.dir.clone();
            let mut step = || {
                let done = index * STEPS_PER_LAYER + steps;
                steps += 1;
                let total = n_layers * STEPS_PER_LAYER;
                match progress(QuantizeProgress { done, total, layer: index }) {
                    ControlFlow::Continue(()) => Ok(()),
                    ControlFlow::Break(()) => {
                        Err(QuantizeError::Stopped { partial: partial.clone(), layers: index })
                    }
                }
            };
            self.layer(index, &mut hidden, &mut step)?;
        }
        Ok(())
    }

    fn layer(
        &mut self,
        index: usize,
        hidden: &mut Vec<f32>,
        step: &mut dyn FnMut() -> Result<(), QuantizeError>,
    ) -> Result<(), QuantizeError> {
        step()?;
        let mut layer = self.run.load(&self.tensors, index)?;
        step()?;
        let mut observed = Observed::default();
        let with_cache = self.options.kv_cache_scales;
        self.run.run(&layer, hidden, &mut |site, rows| observed.keep(site, rows, with_cache));
        let mut folds = Vec::new();
        for fold in Fold::ALL {
            step()?;
            let (smoothing, run) = (self.options.smoothing, &mut self.run);
            folds.push(observed.smooth(fold, &mut layer, smoothing, run, &self.config));
        }
        step()?;
        self.write_layer(index, &layer)?;
        self.shards.sync()?;
        self.partial.advance(observed.report(folds, &self.config), hidden)
    }

    fn write_layer(&mut self, index: usize, layer: &Layer) -> Result<(), QuantizeError> {
        for (part, matrix) in matrices(layer) {
            let name = weight_name(index, part);
            let quantised = quantise(&mut self.run, matrix);
            if quantised.scales.iter().any(|scale| !scale.is_finite()) {
                return Err(QuantizeError::NotFinite { matrix: name });
            }
            self.shards.write(&name, 0, bytemuck::cast_slice(&quantised.values))?;
            self.write_floats(&format!("{name}_scale"), &quantised.scales)?;
        }
        for (part, values) in [
            ("input_layernorm", &layer.input_norm),
            ("self_attn.query_layernorm", &layer.q_norm),
            ("self_attn.key_layernorm", &layer.k_norm),
            ("post_attention_layernorm", &layer.post_attention_norm),
        ] {
            self.write_floats(&weight_name(index, part), values)?;
        }
        Ok(())
    }

    fn write_floats(&mut self, name: &str, values: &[f32]) -> Result<(), QuantizeError> {
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        Ok(self.shards.write(name, 0, &bytes)?)
    }

    /// Copies what stays as it is: embedding, final norm, and a head of its own.
    fn float_tensors(&mut self) -> Result<(), QuantizeError> {
        for (tensor, _) in float_tensors(&self.tensors, &self.config)? {
            let len = tensor.bytes().len();
            for start in (0..len).step_by(COPY_BYTES) {
                let range = start..(start + COPY_BYTES).min(len);
                self.shards.write(tensor.name(), start as u64, &tensor.bytes()[range.clone()])?;
                tensor.forget_bytes(range);
            }
        }
        Ok(self.shards.sync()?)
    }

    fn side_files(&self, source: &Path, report: &QuantizeReport) -> Result<(), QuantizeError> {
        let dir = &self.partial.dir;
        let pretty = |value: &Value| format!("{value:#}\n").into_bytes();
        let json = read_bounded(&source.join("config.json"), CONFIG_BYTES_MAX)?;
        let mut config: Value = serde_json::from_slice(&json).expect("it was parsed before");
        config["quantization_config"] = quantization_config();
        replace(&dir.join("config.json"), &pretty(&config))?;
        if let Some(index) = self.shards.index() {
            replace(&dir.join("model.safetensors.index.json"), &pretty(index))?;
        }
        let report = serde_json::to_value(report).expect("names and numbers are valid JSON");
        replace(&dir.join(REPORT_FILE), &pretty(&report))?;
        self.scales_files(dir)?;
        for name in SIDE_FILES {
            let (from, to) = (source.join(name), dir.join(name));
            if from.exists() {
                std::fs::copy(&from, &to)
                    .map_err(|source| QuantizeError::Io { path: to, source })?;
            }
        }
        Ok(())
    }

    fn scales_files(&self, dir: &Path) -> Result<(), QuantizeError> {
        let (mut activations, mut cache) = (Vec::new(), Vec::new());
        for (index, layer) in self.partial.layers.iter().enumerate() {
            for fold in &layer.folds {
                for reader in fold.fold.readers() {
                    let name = |kind| format!("model.layers.{index}.{reader}.{kind}");
                    activations.push((name("input_scale"), vec![scale_of(fold.input_absmax)]));
                    activations
                        .push((name("input_scale_p999"), vec![scale_of(fold.input_percentile)]));
                }
            }
            for (name, absmax) in
                [("k_scale", &layer.keys_absmax), ("v_scale", &layer.values_absmax)]
            {
                let scales: Vec<f32> = absmax.iter().copied().map(scale_of).collect();
                cache.push((format!("model.layers.{index}.self_attn.{name}"), scales));
            }
        }
        let write = |name: &str, vectors: &[(String, Vec<f32>)]| {
            let path = dir.join(name);
            write_vectors(&path, vectors).map_err(|source| QuantizeError::Io { path, source })
        };
        write(ACTIVATION_SCALES_FILE, &activations)?;
        if self.options.kv_cache_scales {
            write(KV_CACHE_SCALES_FILE, &cache)?;
        }
        Ok(())
    }
}

fn check_options(options: &QuantizeOptions) -> Result<(), QuantizeError> {
    let refuse = |option, value: String, allowed: String| {
        Err(QuantizeError::Option { option, value, allowed })
    };
    if !(1..=CALIBRATION_TOKENS_MAX).contains(&options.tokens_max) {
        let allowed = format!("1 to {CALIBRATION_TOKENS_MAX}");
        return refuse("tokens_max", options.tokens_max.to_string(), allowed);
    }
    match options.smoothing {
        Smoothing::Alpha(alpha) if !(0.0..=1.0).contains(&alpha) => {
            refuse("alpha", alpha.to_string(), "0 to 1".to_owned())
        }
        _ => Ok(()),
    }
}

fn open_source(source: &Path) -> Result<(ModelConfig, Tensors), QuantizeError> {
    let model = ModelSource::Dir(source.to_owned());
    if let Container::Gguf(path) = model.container()? {
        return Err(QuantizeError::Gguf { path });
    }
    let config = model.config()?;
    if config.quantization.is_some() {
        return Err(QuantizeError::Quantised { path: source.to_owned() });
    }
    Ok((config, model.tensors()?))
}

/// Whole prompts from the first, as many as `tokens_max` allows.
pub(super) fn calibration(
    prompts: &[Vec<TokenId>],
    tokens_max: usize,
    vocab_size: usize,
) -> Result<&[Vec<TokenId>], QuantizeError> {
    let mut n_tokens = 0;
    let fits = |prompt: &&Vec<TokenId>| {
        n_tokens += prompt.len();
        n_tokens <= tokens_max
    };
    let taken = &prompts[..prompts.iter().take_while(fits).count()];
    if taken.iter().all(Vec::is_empty) {
        return Err(QuantizeError::NoCalibration { prompts: prompts.len(), tokens_max });
    }
    match taken.iter().flatten().find(|token| **token as usize >= vocab_size) {
        Some(token) => Err(QuantizeError::UnknownToken { token: *token, vocab_size }),
        None => Ok(taken),
    }
}

/// Refuses to write where something is, unless it is a model that may be replaced.
fn check_destination(out: &Path, force: bool) -> Result<(), QuantizeError> {
    let exists = out.symlink_metadata().is_ok();
    let is_empty = || std::fs::read_dir(out).is_ok_and(|mut entries| entries.next().is_none());
    if !exists || is_empty() {
        return Ok(());
    }
    if !force {
        return Err(QuantizeError::Exists { path: out.to_owned() });
    }
    if out.join(REPORT_FILE).is_file() && out.join("config.json").is_file() {
        return Ok(());
    }
    Err(QuantizeError::NotOurs { path: out.to_owned() })
}

/// Puts the finished folder in its place.
fn finish(partial: &Partial, out: &Path, force: bool) -> Result<(), QuantizeError> {
    partial.remove_hidden();
    check_destination(out, force)?;
    let io = |path: &Path| {
        let path = path.to_owned();
        move |source| QuantizeError::Io { path, source }
    };
    put_in_place(&partial.dir, out).map_err(|(path, source)| QuantizeError::Io { path, source })?;
    // Last, so that a cut before the renaming still finds its way.
    let progress = out.join(PROGRESS_FILE);
    std::fs::remove_file(&progress).map_err(io(&progress))
}
