//! `hymt inspect`: what a model folder or GGUF file holds, and what it computes.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Args;
use hymt_llm::TokenId;
use hymt_llm::chat::{ChatFamily, ChatFormat, Opener};
use hymt_llm::config::ModelConfig;
use hymt_llm::engine::cpu::logits_of_all_positions;
use hymt_llm::weights::{Container, ModelSource};
use serde_json::json;

use crate::app::{self, EngineOptions, ModelChoice};
use crate::cli::output::Output;
use crate::cli::{ModelArgs, UsageError};

/// Most tokens of `--tokens`.
pub const TOKENS_MAX: usize = 4096;

/// Arguments of `hymt inspect`.
#[derive(Debug, Args)]
pub struct InspectArgs {
    #[command(flatten)]
    model: ModelArgs,
    /// Token ids to run, for example 1,2,3; needs no tokenizer.
    #[arg(long, value_delimiter = ',', value_name = "ID,...")]
    tokens: Vec<TokenId>,
    /// Print the logits after each of the tokens: `{"logits": [[...], ...]}`.
    #[arg(long, requires = "tokens")]
    logits: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Inspects a model.
///
/// # Errors
/// When the model cannot be loaded or a token is not in its vocabulary.
pub fn run(args: &InspectArgs, output: &mut Output) -> anyhow::Result<ExitCode> {
    if args.tokens.len() > TOKENS_MAX {
        let count = args.tokens.len();
        return Err(UsageError(format!("{count} tokens given, at most {TOKENS_MAX}")).into());
    }
    let mut options = args.model.engine_options()?;
    options.slots = 1;
    options.context_tokens = options.context_tokens.max(args.tokens.len());
    if args.tokens.is_empty() {
        app::check_folder(&options.model)?;
        let config = options.source().config()?;
        describe(&options, &config, args.json, output)?;
        return Ok(ExitCode::SUCCESS);
    }
    let (mut engine, _) = app::load_engine(&options, &mut |_| ())?;
    let vocab_size = engine.spec().vocab_size;
    let flat = logits_of_all_positions(engine.as_mut(), &args.tokens)
        .context("the tokens could not be run")?;
    let rows: Vec<_> = flat.chunks_exact(vocab_size).map(<[f32]>::to_vec).collect();
    if args.json {
        let document = if args.logits {
            json!({ "logits": rows })
        } else {
            json!({ "best": best_ids(&rows) })
        };
        output.json(&document)?;
        return Ok(ExitCode::SUCCESS);
    }
    for ((position, row), best) in rows.iter().enumerate().zip(best_ids(&rows)) {
        let shown = if args.logits {
            row.iter().map(f32::to_string).collect::<Vec<_>>().join(" ")
        } else {
            format!("{}", row.get(best).copied().unwrap_or_default())
        };
        output.line(format!("{position}: best {best}: {shown}"))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn best_ids(rows: &[Vec<f32>]) -> Vec<usize> {
    let best = |row: &Vec<f32>| {
        // Among equals the lowest id, as greedy decoding does.
        let mut best = 0;
        for (id, logit) in row.iter().enumerate() {
            if *logit > row[best] {
                best = id;
            }
        }
        best
    };
    rows.iter().map(best).collect()
}

fn describe(
    options: &EngineOptions,
    config: &ModelConfig,
    json: bool,
    output: &mut Output,
) -> anyhow::Result<()> {
    let n_parameters = n_parameters(config);
    let path = match &options.model {
        ModelChoice::Demo => None,
        ModelChoice::Folder(folder) => Some(PathBuf::from(folder)),
    };
    let source = options.source();
    let stored = stored(&source, config)?;
    let document = json!({
        "name": options.model_name(),
        "path": path,
        "format": stored.format,
        "stored_as": stored.quantization,
        "tensors": stored.tensors,
        "family": family(options),
        "layers": config.n_layers,
        "hidden": config.hidden_size,
        "intermediate": config.intermediate_size,
        "heads": config.n_heads,
        "kv_heads": config.n_kv_heads,
        "head_dim": config.head_dim,
        "vocabulary": config.vocab_size,
        "positions": config.max_positions,
        "rope_base": config.rope.base(config.head_dim),
        "parameters": n_parameters,
        "quantized": stored.is_quantized,
    });
    if json {
        return output.json(&document);
    }
    let fields = document.as_object().context("the document above is an object")?;
    for (name, value) in fields.iter().filter(|(_, value)| !value.is_null()) {
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        output.line(format!("{name:<13} {text}"))?;
    }
    Ok(())
}

/// How a model is stored.
struct Stored {
    format: &'static str,
    /// The scheme of the configuration, or the most frequent block format.
    quantization: String,
    is_quantized: bool,
    /// How many tensors of which element type.
    tensors: String,
}

fn stored(source: &ModelSource, config: &ModelConfig) -> anyhow::Result<Stored> {
    let format = match source.container()? {
        Container::Folder(_) => "safetensors",
        Container::Gguf(_) => "GGUF",
        Container::Embedded => "safetensors, embedded",
    };
    let types = source.tensors()?.element_types();
    let tensors = types.iter().map(|(name, n)| format!("{n} x {name}")).collect::<Vec<_>>();
    let is_float = |name: &str| matches!(name, "F32" | "F16" | "BF16");
    let codes: Vec<_> = types.keys().filter(|name| !is_float(name)).cloned().collect();
    let quantization = match &config.quantization {
        Some(quantization) => quantization.scheme.to_string(),
        None if codes.is_empty() => "not quantised".to_owned(),
        None => codes.join(", "),
    };
    let is_quantized = config.quantization.is_some() || !codes.is_empty();
    Ok(Stored { format, quantization, is_quantized, tensors: tensors.join(", ") })
}

/// Which of HY-MT's two vocabularies the tokenizer has, or why that is not known.
fn family(options: &EngineOptions) -> String {
    let format = app::load_tokenizer(options)
        .and_then(|tokenizer| Ok(ChatFormat::detect(&tokenizer, Opener::default())?));
    match format.map(|format| format.family()) {
        Ok(ChatFamily::Small) => "HY-MT 1.8B (hy_User, hy_Assistant)".to_owned(),
        Ok(ChatFamily::Large) => "HY-MT 7B (startoftext, extra_0)".to_owned(),
        Err(error) => format!("unknown: {error:#}"),
    }
}

/// Weights of the network; an output head that is the embedding counts once.
fn n_parameters(config: &ModelConfig) -> usize {
    let hidden = config.hidden_size;
    let attention = 2 * hidden * config.q_size() + 2 * hidden * config.kv_size();
    let norms = 2 * hidden + 2 * config.head_dim;
    let layer = attention + 3 * hidden * config.intermediate_size + norms;
    let n_tables = if config.tie_word_embeddings { 1 } else { 2 };
    config.n_layers * layer + n_tables * config.vocab_size * hidden + hidden
}
