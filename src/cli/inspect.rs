//! `hymt inspect`: what a model folder holds, and what it computes.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Args;
use hymt_llm::TokenId;
use hymt_llm::config::ModelConfig;
use hymt_llm::engine::cpu::logits_of_all_positions;
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
    let document = json!({
        "name": options.model_name(),
        "path": path,
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
        "quantized": config.quantization.is_some(),
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

/// Weights of the network; an output head that is the embedding counts once.
fn n_parameters(config: &ModelConfig) -> usize {
    let hidden = config.hidden_size;
    let attention = 2 * hidden * config.q_size() + 2 * hidden * config.kv_size();
    let norms = 2 * hidden + 2 * config.head_dim;
    let layer = attention + 3 * hidden * config.intermediate_size + norms;
    let n_tables = if config.tie_word_embeddings { 1 } else { 2 };
    config.n_layers * layer + n_tables * config.vocab_size * hidden + hidden
}
