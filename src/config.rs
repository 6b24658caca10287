//! Typed configuration of the application.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use hymt_core::cache::CacheLimits;
use hymt_core::detect::DetectConfig;
use hymt_core::error::RequestError;
use hymt_core::glossary::{Glossary, GlossarySet};
use hymt_core::language::Language;
use hymt_core::request::{Limits, RequestDefaults, SourceChoice, parse_targets};
use hymt_core::speech::{ContextConfig, LanguageConfig, SpeechConfig, TargetMode};
use hymt_core::translator::TranslatorConfig;

use crate::app::{EngineOptions, ModelChoice};
use crate::ros::param_store::ParamSnapshot;
use crate::words::{nearest_word, shortened};

/// A word that is none of the allowed ones.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} '{given}' is not known; allowed: {allowed}{}", did_you_mean(.nearest))]
pub struct UnknownWord {
    what: &'static str,
    given: String,
    allowed: String,
    nearest: Option<&'static str>,
}

fn did_you_mean(nearest: &Option<&'static str>) -> String {
    nearest.map_or_else(String::new, |word| format!("; did you mean '{word}'?"))
}

/// An enum whose variants have names that users type.
macro_rules! words {
    ($(#[$meta:meta])* $name:ident, $what:literal, { $($(#[$doc:meta])* $variant:ident = $word:literal),* $(,)? }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
        pub enum $name { $($(#[$doc])* $variant),* }

        impl $name {
            /// What users type.
            pub const WORDS: &'static [&'static str] = &[$($word),*];
        }

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str(match self { $(Self::$variant => $word),* })
            }
        }

        impl FromStr for $name {
            type Err = UnknownWord;

            fn from_str(text: &str) -> Result<Self, UnknownWord> {
                match text {
                    $($word => Ok(Self::$variant),)*
                    given => Err(UnknownWord {
                        what: $what,
                        given: shortened(given),
                        allowed: Self::WORDS.join(", "),
                        nearest: nearest_word(given, Self::WORDS.iter().copied()),
                    }),
                }
            }
        }
    };
}

words! {
    /// Which engine runs the model.
    EngineChoice, "engine", {
        /// The best one that runs here; the log says which and why.
        #[default]
        Auto = "auto",
        /// The CPU.
        Cpu = "cpu",
        /// Own CUDA kernels on an NVIDIA GPU.
        Cuda = "cuda",
        /// A TensorRT plan, built on this machine.
        TensorRt = "tensorrt",
        /// No model: echoes, for tests of the ROS side.
        Scripted = "scripted",
    }
}

impl EngineChoice {
    /// Whether this build has the engine.
    ///
    /// # Errors
    /// What is missing, in words.
    pub fn available(self) -> Result<(), String> {
        let (has_cuda, tensorrt) = (cfg!(feature = "cuda"), crate::app::tensorrt::is_built());
        let why = match (self, &tensorrt) {
            (Self::Cuda, _) if !has_cuda => String::new(),
            (Self::TensorRt, Err(why)) => format!(" ({why})"),
            _ => return Ok(()),
        };
        Err(format!(
            "engine '{self}' is not part of this build{why}; available: auto, cpu,{}{} scripted",
            if has_cuda { " cuda," } else { "" },
            if tensorrt.is_ok() { " tensorrt," } else { "" }
        ))
    }
}

words! {
    /// What a TensorRT plan runs on.
    GpuDevice, "device", {
        /// The GPU.
        #[default]
        Gpu = "gpu",
        /// The first deep learning accelerator.
        Dla0 = "dla0",
        /// The second one.
        Dla1 = "dla1",
    }
}

words! {
    /// Where translations go.
    Targets, "target mode", {
        /// Into every target language.
        #[default]
        Fixed = "fixed",
        /// What is said in one of two languages goes into the other.
        OtherParty = "other_party",
    }
}

words! {
    /// How `output.log_file` is written.
    LogFormat, "log format", {
        /// One JSON object a line.
        #[default]
        Jsonl = "jsonl",
        /// WebVTT.
        Vtt = "vtt",
        /// SubRip.
        Srt = "srt",
        /// One line a text.
        Txt = "txt",
    }
}

impl LogFormat {
    /// True for subtitles: each language has a file of its own.
    pub fn is_per_language(self) -> bool {
        matches!(self, Self::Vtt | Self::Srt)
    }
}

words! {
    /// Where live speech comes from.
    InputMode, "input mode", {
        /// The topic `speech`.
        #[default]
        Topic = "topic",
        /// The voices of REP-155, `/humans/voices/*/speech`.
        Hri = "hri",
        /// Both.
        Both = "both",
    }
}

words! {
    /// Arithmetic of the engine.
    Precision, "precision", {
        /// INT8.
        #[default]
        Auto = "auto",
        /// 32-bit floats, for reference.
        F32 = "f32",
        /// 8-bit integers.
        Int8 = "int8",
    }
}

impl From<Precision> for hymt_llm::engine::cpu::Precision {
    fn from(precision: Precision) -> Self {
        match precision {
            Precision::Auto => Self::Auto,
            Precision::F32 => Self::F32,
            Precision::Int8 => Self::Int8,
        }
    }
}

words! {
    /// Which prompts the model understands.
    ModelFamily, "model family", {
        /// By the model's name; Hy-MT2 where it says nothing.
        #[default]
        Auto = "auto",
        /// HY-MT1.5.
        HyMt15 = "hy-mt1.5",
        /// Hy-MT2.
        HyMt2 = "hy-mt2",
    }
}

/// What the node is configured to do; made from its parameters.
#[derive(Debug, Clone, PartialEq)]
pub struct NodeConfig {
    /// Engine and model; fixed for the node's life.
    pub engine: EngineOptions,
    /// Texts and service requests that may wait for a worker.
    pub queue_limit: usize,
    /// Configure and activate at the start.
    pub autostart: bool,
    /// 95th percentile of latencies above which diagnostics warn. Milliseconds.
    pub latency_warn_ms: f32,
    /// Time between diagnostics. Seconds.
    pub diagnostics_period_s: f64,
    /// Diagnostics name the node with its namespace.
    pub diagnostics_use_fqn: bool,
    /// Where live speech comes from.
    pub input_mode: InputMode,
    /// Topic that tells whether the robot speaks; empty for none.
    pub is_speaking_topic: String,
    /// Partial texts have topics of their own.
    pub publish_partials: bool,
    /// What may change while it runs.
    pub live: LiveConfig,
}

/// A file that what is published is kept in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutputLog {
    /// Its path.
    pub file: String,
    /// How it is written.
    pub format: LogFormat,
}

/// The part of the configuration that may change while the node runs.
#[derive(Debug, Clone, PartialEq)]
pub struct LiveConfig {
    /// Languages of what is heard and published.
    pub defaults: RequestDefaults,
    /// Terms.
    pub terms: Glossary,
    /// Files with named glossaries.
    pub glossary_files: Vec<String>,
    /// Whether they are read again when they change.
    pub glossary_watch: bool,
    /// Name of the glossary of requests that name none; empty for none.
    pub glossary_default: String,
    /// Ask once more for terms that a translation lacks.
    pub enforce_terms: bool,
    /// How languages are detected.
    pub detect: DetectConfig,
    /// Longest text. Characters.
    pub input_chars_max: usize,
    /// How long a text heard on a topic may take.
    pub deadline: Option<Duration>,
    /// Keeps what is published in a file.
    pub output_log: Option<OutputLog>,
    /// Answers that are kept for exact repeats; 0 for none.
    pub cache_entries: usize,
    /// How live speech is conducted, its languages not counted.
    pub speech: SpeechConfig,
    /// Stamps follow `/clock`.
    pub use_sim_time: bool,
}

impl NodeConfig {
    /// Reads a snapshot of the parameters.
    ///
    /// # Errors
    /// The reason, in words that name parameter, value and what is allowed.
    pub fn from_parameters(values: &ParamSnapshot) -> Result<Self, String> {
        let engine: EngineChoice = values.parse("engine")?;
        engine.available()?;
        let path = values.string("model.path");
        let plan = values.string("gpu.plan");
        Ok(Self {
            engine: EngineOptions {
                model: match path {
                    "" => ModelChoice::Demo,
                    path => ModelChoice::Folder(PathBuf::from(path)),
                },
                engine,
                plan: (!plan.is_empty()).then(|| PathBuf::from(plan)),
                gpu_device: values.parse("gpu.device")?,
                precision: values.parse("precision")?,
                family: values.parse("model.family")?,
                threads: values.size("cpu.threads"),
                slots: values.size("cpu.slots"),
                context_tokens: values.size("model.context_tokens"),
                scripted_step_ms: values.size("scripted.step_ms") as u64,
                ..EngineOptions::default()
            },
            queue_limit: values.size("limits.queue"),
            autostart: values.bool("autostart"),
            latency_warn_ms: values.double("diagnostics.latency_warn_ms") as f32,
            diagnostics_period_s: values.double("diagnostic_updater.period"),
            diagnostics_use_fqn: values.bool("diagnostic_updater.use_fqn"),
            input_mode: values.parse("input.mode")?,
            is_speaking_topic: values.string("speech.ignore_while_speaking").to_owned(),
            publish_partials: values.bool("output.publish_partials"),
            live: LiveConfig::from_parameters(values)?,
        })
    }
}

impl LiveConfig {
    /// Reads a snapshot of the parameters.
    ///
    /// # Errors
    /// The reason, in words that name parameter, value and what is allowed.
    pub fn from_parameters(values: &ParamSnapshot) -> Result<Self, String> {
        let deadline_ms = values.size("limits.deadline_ms");
        let targets = target_locales(values.strings("target_locales"))?;
        let is_conversation = values.parse::<Targets>("target.mode")? == Targets::OtherParty;
        if is_conversation && targets.len() != 2 {
            return Err(format!(
                "target.mode 'other_party' is a conversation in two languages, but target_locales has {}; \
                 name the two, or set target.mode to 'fixed'",
                targets.len()
            ));
        }
        Ok(Self {
            defaults: RequestDefaults {
                source: source_locale(values.string("source_locale"))?,
                targets,
                is_conversation,
            },
            terms: glossary_terms(values.strings("glossary.terms"))?,
            glossary_files: values.strings("glossary.files").to_vec(),
            glossary_watch: values.bool("glossary.watch"),
            glossary_default: values.string("glossary.default").to_owned(),
            enforce_terms: values.bool("glossary.enforce"),
            detect: DetectConfig {
                allowed: allowed_locales(values.strings("detect.allowed"))?,
                min_confidence: values.double("detect.min_confidence") as f32,
            },
            input_chars_max: values.size("limits.max_input_chars"),
            deadline: (deadline_ms > 0).then(|| Duration::from_millis(deadline_ms as u64)),
            output_log: output_log(values)?,
            cache_entries: values.size("cache.entries"),
            speech: speech(values),
            use_sim_time: values.bool("use_sim_time"),
        })
    }

    /// The deadline in milliseconds; 0 for none.
    pub fn deadline_ms(&self) -> u64 {
        self.deadline.map_or(0, |deadline| u64::try_from(deadline.as_millis()).unwrap_or(u64::MAX))
    }

    /// How live speech is conducted.
    pub fn speech(&self) -> SpeechConfig {
        SpeechConfig {
            text_chars_max: self.input_chars_max,
            language: LanguageConfig {
                source: self.defaults.source,
                min_confidence: self.detect.min_confidence,
                targets: match (self.defaults.is_conversation, self.defaults.targets.as_slice()) {
                    (true, [a, b]) => TargetMode::OtherParty([*a, *b]),
                    (_, targets) => TargetMode::Fixed(targets.to_vec()),
                },
            },
            ..self.speech.clone()
        }
    }

    /// The translator's configuration, with what is said of the model taken from `of_model`.
    pub fn translator(
        &self,
        of_model: &TranslatorConfig,
        glossaries: GlossarySet,
    ) -> TranslatorConfig {
        TranslatorConfig {
            model: of_model.model.clone(),
            family: of_model.family,
            languages: of_model.languages.clone(),
            guards: of_model.guards,
            defaults: self.defaults.clone(),
            glossaries,
            enforce_terms: self.enforce_terms,
            detect: self.detect.clone(),
            source_fallback: None,
            limits: Limits { input_chars_max: self.input_chars_max, ..Limits::default() },
            cache: CacheLimits { entries_max: self.cache_entries, ..CacheLimits::default() },
        }
    }
}

fn output_log(values: &ParamSnapshot) -> Result<Option<OutputLog>, String> {
    let (file, format) = (values.string("output.log_file"), values.parse("output.log_format")?);
    Ok((!file.is_empty()).then(|| OutputLog { file: file.to_owned(), format }))
}

fn speech(values: &ParamSnapshot) -> SpeechConfig {
    let ms = |name: &str| Duration::from_millis(values.size(name) as u64);
    let default = SpeechConfig::default();
    SpeechConfig {
        translate_partials: values.bool("speech.translate_partials"),
        partial_agreement: values.size("speech.partial_agreement"),
        partial_min_interval: ms("speech.partial_min_interval_ms"),
        drafts: values.bool("speech.speculative"),
        final_timeout: Some(ms("speech.final_timeout_ms")).filter(|time| !time.is_zero()),
        context: ContextConfig { sentences: values.size("context.sentences"), ..default.context },
        ..default
    }
}

/// Reads `source_locale`.
pub(crate) fn source_locale(tag: &str) -> Result<SourceChoice, String> {
    if tag.trim().is_empty() || tag.trim().eq_ignore_ascii_case("auto") {
        return Ok(SourceChoice::Auto);
    }
    let language = Language::parse(tag);
    language.map(SourceChoice::Given).map_err(|error| format!("source_locale {error}; or 'auto'"))
}

/// Reads `target_locales`.
pub(crate) fn target_locales(tags: &[String]) -> Result<Vec<Language>, String> {
    parse_targets(tags).map_err(|error| match error {
        RequestError::UnknownTarget { index, unknown } => {
            format!("target_locales[{index}] {unknown}")
        }
        RequestError::DuplicateTarget { index, given } => {
            format!("target_locales[{index}] '{given}' given twice")
        }
        other => format!("target_locales: {other}"),
    })
}

/// Reads `detect.allowed`; empty allows all. That none may stand twice also bounds their number.
pub(crate) fn allowed_locales(tags: &[String]) -> Result<Vec<Language>, String> {
    let mut allowed = Vec::new();
    for (index, tag) in tags.iter().enumerate() {
        let language =
            Language::parse(tag).map_err(|error| format!("detect.allowed[{index}] {error}"))?;
        if allowed.contains(&language) {
            return Err(format!("detect.allowed[{index}] '{}' given twice", tag.trim()));
        }
        allowed.push(language);
    }
    Ok(allowed)
}

/// Reads `glossary.terms`.
pub(crate) fn glossary_terms(lines: &[String]) -> Result<Glossary, String> {
    Glossary::from_lines(lines).map_err(|error| format!("glossary.terms: {error}"))
}
