//! THE table of ROS parameters.
//!
//! Declaration, validation, `config/translator.yaml`, `docs/parameters.md` and the text of
//! `hymt node --help` all come from [`table`]; `tests/parameters.rs` holds them together.

mod text;

use crate::config::{
    EngineChoice, GpuDevice, InputMode, LogFormat, ModelFamily, NodeConfig, Precision, Targets,
    allowed_locales, glossary_terms, source_locale, target_locales,
};
use crate::ros::param_store::{Changes, Declaration, ParamSnapshot, ParameterStore, Range};
use crate::ros::param_value::ParamValue;

pub use self::text::{help, reference_page, yaml};

/// Every parameter of the node, in the order of the documentation.
pub fn table() -> Vec<Declaration> {
    vec![
        Declaration {
            constraints: "1 to 16 languages, none twice; `hymt languages` lists them",
            check: |value| strings(value, |tags| target_locales(tags).map(drop)),
            ..live("target_locales", list(&["de", "zh"]), TARGET_LOCALES)
        },
        Declaration {
            constraints: "fixed, or other_party with exactly two target_locales",
            check: |value| word(value, parses::<Targets>),
            ..live("target.mode", text("fixed"), TARGET_MODE)
        },
        Declaration {
            constraints: "auto or a language",
            check: |value| word(value, |tag| source_locale(tag).map(drop)),
            ..live("source_locale", text("auto"), SOURCE_LOCALE)
        },
        Declaration {
            constraints: "entries `source=target`; `[de] source=target` for one target language",
            check: |value| strings(value, |lines| glossary_terms(lines).map(drop)),
            ..live("glossary.terms", list(&[]), GLOSSARY_TERMS)
        },
        Declaration {
            constraints: "readable .tsv, .csv, .tbx or .tmx files, each with another name",
            ..live("glossary.files", list(&[]), GLOSSARY_FILES)
        },
        Declaration {
            constraints: "true or false",
            ..live("glossary.watch", ParamValue::Bool(false), GLOSSARY_WATCH)
        },
        Declaration {
            constraints: "empty, or the name of a glossary",
            ..live("glossary.default", text(""), GLOSSARY_DEFAULT)
        },
        Declaration {
            constraints: "true or false",
            ..live("glossary.enforce", ParamValue::Bool(false), GLOSSARY_ENFORCE)
        },
        Declaration {
            constraints: "languages; empty allows all",
            check: |value| strings(value, |tags| allowed_locales(tags).map(drop)),
            ..live("detect.allowed", list(&[]), DETECT_ALLOWED)
        },
        Declaration {
            constraints: "0.0 to 1.0",
            range: Some(Range::Double { from: 0.0, to: 1.0 }),
            ..live("detect.min_confidence", ParamValue::Double(0.6), DETECT_MIN_CONFIDENCE)
        },
        Declaration {
            constraints: "true or false",
            ..live("speech.translate_partials", ParamValue::Bool(true), TRANSLATE_PARTIALS)
        },
        Declaration {
            constraints: "1 (translate each update) to 5",
            range: Some(Range::Integer { from: 1, to: 5 }),
            ..live("speech.partial_agreement", ParamValue::Integer(2), PARTIAL_AGREEMENT)
        },
        Declaration {
            constraints: "0 to 5000 ms",
            range: Some(Range::Integer { from: 0, to: 5000 }),
            ..live("speech.partial_min_interval_ms", ParamValue::Integer(400), PARTIAL_INTERVAL)
        },
        Declaration {
            constraints: "0 (never) to 30000 ms",
            range: Some(Range::Integer { from: 0, to: 30_000 }),
            ..live("speech.final_timeout_ms", ParamValue::Integer(2500), FINAL_TIMEOUT)
        },
        Declaration {
            constraints: "true or false",
            ..live("speech.speculative", ParamValue::Bool(true), SPECULATIVE)
        },
        Declaration {
            constraints: "empty, or a std_msgs/Bool topic",
            changes: Changes::Never,
            ..fixed("speech.ignore_while_speaking", text(""), IGNORE_WHILE_SPEAKING)
        },
        Declaration {
            constraints: "topic, hri or both",
            check: |value| word(value, parses::<InputMode>),
            changes: Changes::Never,
            ..fixed("input.mode", text("topic"), INPUT_MODE)
        },
        Declaration {
            constraints: "0 (none) to 16",
            range: Some(Range::Integer { from: 0, to: 16 }),
            ..live("context.sentences", ParamValue::Integer(0), CONTEXT_SENTENCES)
        },
        Declaration {
            constraints: "true or false",
            changes: Changes::Never,
            ..fixed("output.publish_partials", ParamValue::Bool(true), PUBLISH_PARTIALS)
        },
        Declaration {
            constraints: "empty, or a file in a folder that is there",
            ..live("output.log_file", text(""), LOG_FILE)
        },
        Declaration {
            constraints: "jsonl, vtt, srt or txt",
            check: |value| word(value, parses::<LogFormat>),
            ..live("output.log_format", text("jsonl"), LOG_FORMAT)
        },
        Declaration {
            constraints: "1 to 100000 characters",
            range: Some(Range::Integer { from: 1, to: 100_000 }),
            ..live("limits.max_input_chars", ParamValue::Integer(4000), MAX_INPUT_CHARS)
        },
        Declaration {
            constraints: "0 (none) to 60000 ms",
            range: Some(Range::Integer { from: 0, to: 60_000 }),
            ..live("limits.deadline_ms", ParamValue::Integer(0), DEADLINE_MS)
        },
        Declaration {
            constraints: "0 (none) to 1000000",
            range: Some(Range::Integer { from: 0, to: 1_000_000 }),
            ..live("cache.entries", ParamValue::Integer(1024), CACHE_ENTRIES)
        },
        Declaration {
            constraints: "1 to 4096",
            range: Some(Range::Integer { from: 1, to: 4096 }),
            ..fixed("limits.queue", ParamValue::Integer(256), QUEUE)
        },
        Declaration {
            constraints: "auto, cpu, cuda, tensorrt or scripted; `hymt doctor` says which run here",
            check: |value| {
                word(value, |name| {
                    let choice: EngineChoice = name.parse().map_err(|e| format!("{e}"))?;
                    choice.available()
                })
            },
            ..fixed("engine", text("auto"), ENGINE)
        },
        Declaration {
            constraints: "empty (the cache), or a .plan file with its .json beside it",
            ..fixed("gpu.plan", text(""), GPU_PLAN)
        },
        Declaration {
            constraints: "gpu, dla0 or dla1; dla0 and dla1 with engine tensorrt or auto only",
            check: |value| word(value, parses::<GpuDevice>),
            ..fixed("gpu.device", text("gpu"), GPU_DEVICE)
        },
        Declaration {
            constraints: "empty (the embedded demo model), a Hugging Face folder or a .gguf file",
            ..fixed("model.path", text(""), MODEL_PATH)
        },
        Declaration {
            constraints: "auto, hy-mt1.5 or hy-mt2",
            check: |value| word(value, parses::<ModelFamily>),
            ..fixed("model.family", text("auto"), MODEL_FAMILY)
        },
        Declaration {
            constraints: "64 to 262144 tokens; cut down to what the model was made for",
            range: Some(Range::Integer { from: 64, to: 262_144 }),
            ..fixed("model.context_tokens", ParamValue::Integer(4096), CONTEXT_TOKENS)
        },
        Declaration {
            constraints: "auto (int8), int8 or f32",
            check: |value| word(value, parses::<Precision>),
            ..fixed("precision", text("auto"), PRECISION)
        },
        Declaration {
            constraints: "0 (every core) to 256",
            range: Some(Range::Integer { from: 0, to: 256 }),
            ..fixed("cpu.threads", ParamValue::Integer(0), CPU_THREADS)
        },
        Declaration {
            constraints: "1 to 64",
            range: Some(Range::Integer { from: 1, to: 64 }),
            ..fixed("cpu.slots", ParamValue::Integer(8), CPU_SLOTS)
        },
        Declaration {
            constraints: "0 to 10000 ms",
            range: Some(Range::Integer { from: 0, to: 10_000 }),
            ..fixed("scripted.step_ms", ParamValue::Integer(0), SCRIPTED_STEP)
        },
        Declaration {
            constraints: "true or false",
            changes: Changes::Never,
            ..fixed("autostart", ParamValue::Bool(true), AUTOSTART)
        },
        Declaration {
            constraints: "1.0 to 600000.0 ms",
            range: Some(Range::Double { from: 1.0, to: 600_000.0 }),
            ..live("diagnostics.latency_warn_ms", ParamValue::Double(1500.0), LATENCY_WARN)
        },
        Declaration {
            constraints: "0.1 to 60.0 s",
            range: Some(Range::Double { from: 0.1, to: 60.0 }),
            ..live("diagnostic_updater.period", ParamValue::Double(1.0), UPDATER_PERIOD)
        },
        Declaration {
            constraints: "true or false",
            ..live("diagnostic_updater.use_fqn", ParamValue::Bool(false), UPDATER_USE_FQN)
        },
        Declaration {
            constraints: "true or false",
            ..live("use_sim_time", ParamValue::Bool(false), USE_SIM_TIME)
        },
    ]
}

const TARGET_LOCALES: &str = "Languages to translate into. Each has its own topic ~/<locale>/text. \
    A change applies from the next text on.";
const TARGET_MODE: &str = "fixed translates everything into every language of target_locales. \
    other_party is a conversation: what is said in one of the two goes into the other; what is in \
    neither goes into both.";
const SOURCE_LOCALE: &str = "Language of what is heard; auto detects it.";
const GLOSSARY_TERMS: &str = "Terms that must be translated in a given way. Only those that occur \
    in a text are sent to the model.";
const GLOSSARY_FILES: &str = "Files of named glossaries: hotel.tsv makes the glossary `hotel`. \
    docs/glossaries.md has the formats. ~/reload_glossaries reads them again.";
const GLOSSARY_WATCH: &str = "Read a file of glossary.files again when it changes; looked at every \
    2 s. A file with a mistake is reported and the old one stays.";
const GLOSSARY_DEFAULT: &str = "Glossary of texts on topics and of requests that name none.";
const GLOSSARY_ENFORCE: &str = "Ask once more when a translation lacks terms that were sent. The \
    translation with more of them is kept and says what it lacks; no text is ever rewritten.";
const DETECT_ALLOWED: &str = "Languages that detection may answer; naming the few that are spoken \
    around the robot avoids most mistakes.";
const DETECT_MIN_CONFIDENCE: &str = "Below this, a detected language is not used and the model \
    finds out by itself.";
const TRANSLATE_PARTIALS: &str = "Translate live speech while it grows; false waits for its end.";
const PARTIAL_AGREEMENT: &str = "How many updates of live speech must begin alike before that \
    beginning is translated. More are steadier and later.";
const PARTIAL_INTERVAL: &str = "Time between two translations of growing speech of one speaker.";
const FINAL_TIMEOUT: &str = "Silence after which growing speech counts as ended.";
const SPECULATIVE: &str = "Growing speech is translated with its last translation as a draft, which \
    the model verifies instead of writing everything again. The text is the same; it comes sooner.";
const IGNORE_WHILE_SPEAKING: &str = "Topic that is true while the robot speaks; what is heard \
    meanwhile is its own voice and is dropped.";
const INPUT_MODE: &str = "Where live speech comes from: the topic `speech`, the voices of REP-155 \
    (/humans/voices/*/speech), or both. The topic `text` is always heard.";
const CONTEXT_SENTENCES: &str = "Sentences of the same speaker that the model sees before the one \
    it translates; the topic `text` is one speaker. The demo model was not trained with any.";
const PUBLISH_PARTIALS: &str = "Growing translations also on ~/<locale>/partial; ~/translation \
    has them either way.";
const LOG_FILE: &str = "File that keeps every final translation, appended to. Subtitles have one for \
    each language, captions.de.vtt beside captions.zh.vtt, and begin a new one at every start. The \
    texts are in it: mind who may read it.";
const LOG_FORMAT: &str = "How that file is written: objects with everything that is known, subtitles, \
    or plain lines.";
const MAX_INPUT_CHARS: &str = "Longest text. A longer one is refused, never cut.";
const DEADLINE_MS: &str = "How long the translation of a text heard on a topic may take, waiting \
    included; later it is of no use and is given up.";
const QUEUE: &str = "Texts and service requests that may wait. Beyond it they are refused, with a \
    counter and a message.";
const CACHE_ENTRIES: &str = "Answers that are kept, in at most 16 MiB of memory, and given again to exactly the same \
    question: text, languages, terms and context alike. ~/clear_cache forgets them.";
const ENGINE: &str = "What runs the model; auto says in the log what it took and why. scripted \
    echoes the text and translates nothing.";
const GPU_PLAN: &str = "Plan that the TensorRT engine runs, as `hymt engine build` makes it on \
    this machine; a stale one is refused with the reason.";
const GPU_DEVICE: &str = "What the TensorRT engine runs on: the GPU, or a core of the deep learning \
    accelerator, which can run parts of such a model at most.";
const MODEL_PATH: &str = "Model folder with config.json, tokenizer.json and *.safetensors; or a \
    .gguf file, or a folder with one.";
const MODEL_FAMILY: &str = "Which prompts the model understands; auto goes by the folder's name.";
const CONTEXT_TOKENS: &str = "Longest sequence, prompt and answer together. Memory for it is taken \
    as sequences grow.";
const PRECISION: &str = "Arithmetic of the engine.";
const CPU_THREADS: &str = "Threads of the CPU engine.";
const CPU_SLOTS: &str = "Translations computed at the same time.";
const SCRIPTED_STEP: &str = "For tests: how long the scripted engine takes for each character.";
const AUTOSTART: &str = "Configure and activate at the start. With false the node waits for a \
    lifecycle manager or `ros2 lifecycle set`.";
const LATENCY_WARN: &str = "Diagnostics warn when the 95th percentile of the last minute is above \
    this, and report an error above three times this.";
const UPDATER_PERIOD: &str = "Time between two messages on /diagnostics and ~/status.";
const UPDATER_USE_FQN: &str = "Diagnostics name the node with its namespace.";
const USE_SIM_TIME: &str = "Stamps follow /clock, for bags and simulations. Latencies and time-outs \
    stay on the steady clock.";

/// Declares the table and applies `overrides`; see [`ParameterStore::new`].
///
/// # Errors
/// The reasons of all values that are refused.
pub fn declare(
    overrides: &[(String, ParamValue)],
) -> Result<(ParameterStore, Vec<String>), Vec<String>> {
    ParameterStore::new(table(), cross_check, overrides)
}

/// The values must make a configuration together.
fn cross_check(values: &ParamSnapshot) -> Result<(), String> {
    NodeConfig::from_parameters(values).map(drop)
}

fn declaration(
    name: &'static str,
    default: ParamValue,
    description: &'static str,
    changes: Changes,
) -> Declaration {
    let check = |_: &ParamValue| Ok(());
    Declaration { name, default, description, constraints: "", changes, range: None, check }
}

/// A parameter that may change while the node runs.
fn live(name: &'static str, default: ParamValue, description: &'static str) -> Declaration {
    declaration(name, default, description, Changes::Live)
}

/// A parameter that is fixed while the node is configured.
fn fixed(name: &'static str, default: ParamValue, description: &'static str) -> Declaration {
    declaration(name, default, description, Changes::Unconfigured)
}

fn text(value: &str) -> ParamValue {
    ParamValue::String(value.to_owned())
}

fn list(values: &[&str]) -> ParamValue {
    ParamValue::StringArray(values.iter().map(|value| (*value).to_owned()).collect())
}

/// Applies `check` to a string; the type was checked before.
fn word(value: &ParamValue, check: impl Fn(&str) -> Result<(), String>) -> Result<(), String> {
    match value {
        ParamValue::String(value) => check(value),
        _ => Ok(()),
    }
}

/// Applies `check` to a string array; the type was checked before.
fn strings(
    value: &ParamValue,
    check: impl Fn(&[String]) -> Result<(), String>,
) -> Result<(), String> {
    match value {
        ParamValue::StringArray(values) => check(values),
        _ => Ok(()),
    }
}

fn parses<T: std::str::FromStr<Err: std::fmt::Display>>(word: &str) -> Result<(), String> {
    word.parse::<T>().map(drop).map_err(|error| error.to_string())
}
