//! Composition root: configuration to engine to inference thread to translator.
//!
//! Everything that has to know both [`hymt_core`] and [`hymt_llm`] is here.

mod demo_model;
mod generator;
pub(crate) mod gpu;
pub mod logging;
pub mod memory;
pub mod network;
pub(crate) mod tensorrt;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use hymt_core::guard::Guards;
use hymt_core::language::Language;
use hymt_core::prompt::PromptFamily;
use hymt_core::translator::TranslatorConfig;
use hymt_llm::chat::{ChatFormat, Opener};
use hymt_llm::config::ModelConfig;
use hymt_llm::engine::Engine;
use hymt_llm::engine::cpu::{CpuEngine, CpuOptions, LoadProgress, weights_bytes};
use hymt_llm::engine::scripted::ScriptedEngine;
use hymt_llm::thread::{InferenceHandle, InferenceThread, Rebuild, ThreadConfig};
use hymt_llm::tokenizer::Tokenizer;
use hymt_llm::weights::{Container, ModelSource, read_bounded};

pub use self::generator::LlmGenerator;
use crate::config::{EngineChoice, GpuDevice, ModelFamily, Precision};

/// Name of the embedded model in logs and messages.
pub const DEMO_MODEL_NAME: &str = "demo (embedded, small phrasebook)";

/// Largest `generation_config.json` or other side file that is read. Bytes.
const SIDE_FILE_BYTES_MAX: usize = 1 << 20;

/// Which model to load.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ModelChoice {
    /// The model that is part of this program.
    Demo,
    /// A Hugging Face folder, a GGUF file, or a folder with one.
    Folder(PathBuf),
}

/// How to set an engine up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineOptions {
    /// The model.
    pub model: ModelChoice,
    /// The engine.
    pub engine: EngineChoice,
    /// A TensorRT plan's file; `None` looks for one in the cache.
    pub plan: Option<PathBuf>,
    /// What a TensorRT plan runs on.
    pub gpu_device: GpuDevice,
    /// Arithmetic.
    pub precision: Precision,
    /// Prompt family.
    pub family: ModelFamily,
    /// Threads of the CPU engine; 0 takes every core.
    pub threads: usize,
    /// Sequences in flight at once.
    pub slots: usize,
    /// Longest sequence, prompt and output together. Tokens.
    pub context_tokens: usize,
    /// Requests that may wait.
    pub queue_limit: usize,
    /// How long each step of the scripted engine takes. Milliseconds.
    pub scripted_step_ms: u64,
}

impl Default for EngineOptions {
    fn default() -> Self {
        let cpu = CpuOptions::default();
        Self {
            model: ModelChoice::Demo,
            engine: EngineChoice::Auto,
            plan: None,
            gpu_device: GpuDevice::Gpu,
            precision: Precision::Auto,
            family: ModelFamily::Auto,
            threads: 0,
            slots: cpu.slots,
            context_tokens: cpu.context_tokens_max,
            queue_limit: ThreadConfig::default().queue_limit,
            scripted_step_ms: 0,
        }
    }
}

/// An engine that runs, and what it is.
#[derive(Debug, Clone)]
pub struct LoadedModel {
    /// Completes prompts.
    pub generator: Arc<LlmGenerator>,
    /// How the model wants to be asked.
    pub family: PromptFamily,
    /// Languages that it knows; empty for all.
    pub languages: Vec<Language>,
    /// Whether its answers are watched; those of an echo are not.
    pub guards: Guards,
    /// For people.
    pub about: About,
}

/// What was loaded and why, for the log, `hymt doctor` and the node's banner.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct About {
    /// Name of the model.
    pub model: String,
    /// True for the embedded demo model.
    pub is_demo: bool,
    /// Engine and arithmetic, for example `cpu-int8`.
    pub engine: String,
    /// What the engine runs on.
    pub device: String,
    /// Why this engine.
    pub reason: String,
    /// Longest sequence. Tokens.
    pub context_tokens: usize,
    /// Sequences at once.
    pub slots: usize,
    /// Time to load. Milliseconds.
    pub load_ms: f64,
}

impl LoadedModel {
    /// What a translator has to know of the model, with everything else at its default.
    pub fn translator(&self) -> TranslatorConfig {
        TranslatorConfig {
            model: self.about.identity(),
            family: self.family,
            languages: self.languages.clone(),
            guards: self.guards,
            ..TranslatorConfig::default()
        }
    }
}

impl About {
    /// What distinguishes the answers of one model from those of another: the model and the arithmetic.
    pub fn identity(&self) -> String {
        format!("{} {}", self.model, self.engine)
    }
}

impl EngineOptions {
    /// The model's files.
    pub fn source(&self) -> ModelSource {
        match &self.model {
            ModelChoice::Demo => demo_model::source(),
            ModelChoice::Folder(folder) => ModelSource::Dir(folder.clone()),
        }
    }

    /// Name of the model: its folder's last component.
    pub fn model_name(&self) -> String {
        match &self.model {
            ModelChoice::Demo => DEMO_MODEL_NAME.to_owned(),
            ModelChoice::Folder(folder) => {
                folder.canonicalize().ok().as_deref().unwrap_or(folder).file_name().map_or_else(
                    || folder.display().to_string(),
                    |n| n.to_string_lossy().into_owned(),
                )
            }
        }
    }

    fn cpu(&self) -> CpuOptions {
        CpuOptions {
            precision: self.precision.into(),
            slots: self.slots,
            context_tokens_max: self.context_tokens,
            threads: (self.threads > 0).then_some(self.threads),
            ..CpuOptions::default()
        }
    }
}

/// Loads the engine alone, without tokenizer, for `inspect` and `bench`.
///
/// # Errors
/// When the engine is not in this build, this machine lacks what it needs, or the model cannot be
/// loaded.
pub fn load_engine(
    options: &EngineOptions,
    progress: &mut dyn FnMut(LoadProgress),
) -> anyhow::Result<(Box<dyn Engine>, ModelConfig)> {
    choose_engine(options, progress).map(|chosen| (chosen.engine, chosen.config))
}

/// An engine that was taken, and why.
struct Chosen {
    engine: Box<dyn Engine>,
    /// Never `Auto`.
    choice: EngineChoice,
    config: ModelConfig,
    /// Name of the GPU, where it is one.
    gpu: Option<String>,
    /// The TensorRT plan that it runs.
    plan: Option<PathBuf>,
    reason: String,
}

/// The engine asked for, or the best one that runs here.
fn choose_engine(
    options: &EngineOptions,
    progress: &mut dyn FnMut(LoadProgress),
) -> anyhow::Result<Chosen> {
    options.engine.available().map_err(anyhow::Error::msg)?;
    anyhow::ensure!(
        options.engine != EngineChoice::Scripted,
        "engine 'scripted' has no weights; choose auto or cpu"
    );
    check_folder(&options.model)?;
    let name = options.model_name();
    let cannot_load = || format!("cannot load the model '{name}'");
    let mut reason = "asked for".to_owned();
    let no_plan = match choose_plan(options).with_context(cannot_load)? {
        Ok(chosen) => return Ok(chosen),
        Err(why) => why,
    };
    if options.engine == EngineChoice::Cuda {
        let (engine, config) = gpu::load(options, progress).with_context(cannot_load)?;
        let (choice, gpu) = (options.engine, gpu::device().ok());
        return Ok(Chosen { engine, choice, config, gpu, plan: None, reason });
    }
    if options.engine == EngineChoice::Auto {
        reason = match gpu::usable(options) {
            Err(why) => format!("auto: {why}{no_plan}"),
            Ok(device) => match gpu::load(options, progress) {
                Ok((engine, config)) => {
                    let reason = format!("auto: {device} is usable{no_plan}");
                    let (choice, gpu) = (EngineChoice::Cuda, Some(device));
                    return Ok(Chosen { engine, choice, config, gpu, plan: None, reason });
                }
                Err(error) => format!("auto: {device} is there, but: {error:#}{no_plan}"),
            },
        };
    }
    check_memory(options).with_context(cannot_load)?;
    let engine =
        CpuEngine::load(&options.source(), &options.cpu(), progress).with_context(cannot_load)?;
    let config = engine.config().clone();
    let (engine, choice) = (Box::new(engine), EngineChoice::Cpu);
    Ok(Chosen { engine, choice, config, gpu: None, plan: None, reason })
}

/// The TensorRT engine where it was asked for, or where `auto` finds a fresh plan. Otherwise why there
/// is none, for the reason of another engine; empty where nobody ever built a plan.
fn choose_plan(options: &EngineOptions) -> anyhow::Result<Result<Chosen, String>> {
    let is_auto = options.engine == EngineChoice::Auto;
    let is_dla = options.gpu_device != GpuDevice::Gpu;
    anyhow::ensure!(
        !is_dla || is_auto || options.engine == EngineChoice::TensorRt,
        "gpu.device is {}, which only engine tensorrt can use; engine is {}",
        options.gpu_device,
        options.engine
    );
    let chosen = |loaded: tensorrt::Loaded, reason| {
        let tensorrt::Loaded { engine, config, device, plan } = loaded;
        tracing::info!(plan = %plan.display(), "the TensorRT plan in use");
        let (choice, gpu) = (EngineChoice::TensorRt, Some(device));
        Chosen { engine, choice, config, gpu, plan: Some(plan), reason }
    };
    // A DLA that was asked for is TensorRT or an error.
    if options.engine == EngineChoice::TensorRt || (is_auto && is_dla) {
        return Ok(Ok(chosen(tensorrt::load(options)?, "asked for".to_owned())));
    }
    if !is_auto || options.precision == Precision::F32 || !tensorrt::has_plans(options) {
        return Ok(Err(String::new()));
    }
    Ok(match tensorrt::load(options) {
        Ok(loaded) => {
            let reason = format!("auto: '{}' is a fresh plan", loaded.plan.display());
            Ok(chosen(loaded, reason))
        }
        Err(error) => Err(format!("; no TensorRT: {error:#}")),
    })
}

/// Refuses a model whose weights do not fit, before the system ends something to make room.
fn check_memory(options: &EngineOptions) -> anyhow::Result<()> {
    const MIB: u64 = 1 << 20;
    let needed = weights_bytes(&options.source().config()?, options.precision.into());
    let Some(available) = memory::available_bytes() else { return Ok(()) };
    anyhow::ensure!(
        needed <= available,
        "its weights take {} MiB in {}, {} MiB are free; free some, or choose a smaller model",
        needed / MIB,
        if options.precision == Precision::F32 { "f32" } else { "INT8" },
        available / MIB
    );
    Ok(())
}

/// Loads a model and starts its inference thread.
///
/// # Errors
/// When the engine is not in this build, or a file of the model is missing or damaged.
pub fn load(
    options: &EngineOptions,
    progress: &mut dyn FnMut(LoadProgress),
) -> anyhow::Result<LoadedModel> {
    if options.engine == EngineChoice::Scripted {
        return load_scripted(options, |engine| engine);
    }
    let started = Instant::now();
    // The quick one first, so that a folder without tokenizer is refused at once.
    check_folder(&options.model)?;
    let tokenizer = load_tokenizer(options)?;
    let Chosen { engine, choice, gpu, plan, reason, .. } = choose_engine(options, progress)?;
    let about = About {
        model: options.model_name(),
        is_demo: options.model == ModelChoice::Demo,
        engine: engine.spec().name.clone(),
        device: gpu.unwrap_or_else(|| device(options)),
        reason,
        context_tokens: engine.spec().context_tokens_max,
        slots: engine.spec().slots,
        load_ms: 0.0,
    };
    // The same plan again: a newer one may have other slots, and would be refused.
    let plan = plan.or_else(|| options.plan.clone());
    let again = EngineOptions { engine: choice, plan, ..options.clone() };
    let rebuild: Rebuild = Box::new(move || {
        let chosen = choose_engine(&again, &mut |_| {});
        chosen.map(|chosen| chosen.engine).map_err(Into::into)
    });
    start(options, engine, Some(rebuild), tokenizer, about, started)
}

/// An echo in place of a model, as `change` makes it: slow or faulty, for tests of everything
/// around it.
///
/// # Errors
/// Never in practice.
pub fn load_scripted(
    options: &EngineOptions,
    change: impl FnOnce(ScriptedEngine) -> ScriptedEngine,
) -> anyhow::Result<LoadedModel> {
    let started = Instant::now();
    let tokenizer = Tokenizer::bytes();
    let chat = ChatFormat::detect(&tokenizer, Opener::default())?;
    let stop = chat.stop().first().copied().context("a chat format has a stop token")?;
    let delay = Duration::from_millis(options.scripted_step_ms);
    let engine = change(ScriptedEngine::echo(&tokenizer, stop).with_delay(delay));
    let about = About {
        model: "none (scripted echo)".to_owned(),
        is_demo: false,
        engine: engine.spec().name.clone(),
        device: "nothing".to_owned(),
        reason: "asked for; it echoes and translates nothing".to_owned(),
        context_tokens: engine.spec().context_tokens_max,
        slots: engine.spec().slots,
        load_ms: 0.0,
    };
    let model = start(options, Box::new(engine), None, tokenizer, about, started)?;
    Ok(LoadedModel { guards: Guards::Off, ..model })
}

/// Starts the inference thread on an engine.
fn start(
    options: &EngineOptions,
    engine: Box<dyn Engine>,
    rebuild: Option<Rebuild>,
    tokenizer: Tokenizer,
    about: About,
    started: Instant,
) -> anyhow::Result<LoadedModel> {
    let spec = engine.spec().clone();
    anyhow::ensure!(
        tokenizer.vocab_size() <= spec.vocab_size,
        "the tokenizer has {} entries, the network only {}: they do not belong together",
        tokenizer.vocab_size(),
        spec.vocab_size
    );
    let chat = ChatFormat::detect(&tokenizer, Opener::default())?;
    let tokenizer = Arc::new(tokenizer);
    let config = ThreadConfig { queue_limit: options.queue_limit, ..ThreadConfig::default() };
    let entries = Arc::clone(&tokenizer);
    let handle: InferenceHandle = match rebuild {
        Some(rebuild) => InferenceThread::spawn_rebuilding(engine, rebuild, entries, config),
        None => InferenceThread::spawn(engine, entries, config),
    };
    Ok(LoadedModel {
        generator: Arc::new(LlmGenerator::new(handle, tokenizer, chat, spec)),
        family: family(options),
        guards: Guards::On,
        languages: if about.is_demo { demo_model::LANGUAGES.to_vec() } else { Vec::new() },
        about: About { load_ms: started.elapsed().as_secs_f64() * 1e3, ..about },
    })
}

/// What the engine runs on, in words.
fn device(options: &EngineOptions) -> String {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let threads = if options.threads == 0 { cores } else { options.threads };
    format!("CPU, {threads} threads")
}

/// The prompt family asked for, or the one that the model's name suggests.
pub(crate) fn family(options: &EngineOptions) -> PromptFamily {
    match options.family {
        ModelFamily::HyMt15 => PromptFamily::HyMt15,
        ModelFamily::HyMt2 => PromptFamily::HyMt2,
        ModelFamily::Auto => PromptFamily::from_model_hint(&options.model_name()),
    }
}

/// The model's tokenizer, from wherever its container keeps it.
pub(crate) fn load_tokenizer(options: &EngineOptions) -> anyhow::Result<Tokenizer> {
    let cannot_load = || format!("cannot load the model '{}'", options.model_name());
    let container = options.source().container().with_context(cannot_load)?;
    match Tokenizer::of(&container).with_context(cannot_load)? {
        Some(tokenizer) => Ok(tokenizer),
        None => Ok(Tokenizer::from_bytes(demo_model::TOKENIZER)?),
    }
}

/// Says early and plainly when the path is no model.
pub(crate) fn check_folder(model: &ModelChoice) -> anyhow::Result<()> {
    const GIVE: &str = "give a Hugging Face folder with config.json and *.safetensors, or a .gguf \
                        file";
    let ModelChoice::Folder(folder) = model else { return Ok(()) };
    let shown = folder.display();
    anyhow::ensure!(
        folder.exists(),
        "model folder '{shown}' not found; {GIVE}, or leave it out for the embedded demo model"
    );
    let is_gguf = folder.extension().is_some_and(|e| e.eq_ignore_ascii_case("gguf"));
    anyhow::ensure!(folder.is_dir() || is_gguf, "'{shown}' is a file, but no .gguf file; {GIVE}");
    let not_a_model = || format!("'{shown}' is not a model folder");
    match ModelSource::Dir(folder.clone()).container().with_context(not_a_model)? {
        Container::Folder(dir) => {
            read_bounded(&dir.join("config.json"), SIDE_FILE_BYTES_MAX)
                .with_context(not_a_model)?;
        }
        Container::Gguf(_) | Container::Embedded => {}
    }
    Ok(())
}
