//! `hymt eval`: what a model's translations are worth, and what quantisation cost.
//!
//! First the test set is translated as the node would do it and scored against its references.
//! Then, with `--against`, both networks are led through the reference translations, and both
//! answer greedily. `docs/quality.md` says what each figure means.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use anyhow::Context as _;
use clap::Args;
use hymt_core::generate::{GenerateOptions, Generator};
use hymt_core::glossary::{self, Glossary};
use hymt_core::prompt::{self, PromptRequest};
use hymt_core::request::{Formality, RawRequest};
use hymt_core::translator::{BATCH_TARGETS_MAX, TranslateRequest, Translator};
use hymt_llm::engine::Engine;
use hymt_llm::weights::read_bounded;

use crate::app::network::{Asking, load_cpu};
use crate::app::{self, EngineOptions, ModelChoice};
use crate::cli::output::{self, Output};
use crate::cli::{ModelArgs, UsageError, progress};
use crate::config::{EngineChoice, Precision};
use crate::eval::network::{
    Agreement, GREEDY_TOKENS_MAX, LayerKl, Sequence, by_layer, compare, greedy,
    that_fit_layer_study,
};
use crate::eval::report::{AgainstScores, Report, Translations};
use crate::eval::rows::{self, Row};
use crate::eval::svg;

/// Largest test set. Bytes.
pub const DATA_BYTES_MAX: usize = 256 << 20;

/// Arguments of `hymt eval`.
#[derive(Debug, Args)]
pub struct EvalArgs {
    #[command(flatten)]
    model: ModelArgs,
    /// The same model before it was quantised; it runs in f32 on the CPU.
    #[arg(long, value_name = "DIR")]
    against: Option<PathBuf>,
    /// Test set, JSON lines or tab-separated; without it 460 held-out requests of the demo model.
    #[arg(long, value_name = "FILE")]
    data: Option<PathBuf>,
    /// Take only about so many texts, spread over the set.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    limit: Option<u32>,
    /// Write a plot of the divergence by layer; each layer costs two more runs of the network.
    #[arg(long, value_name = "FILE", requires = "against")]
    svg: Option<PathBuf>,
    /// Texts that the plot is made from.
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..))]
    layer_texts: u32,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Evaluates and prints.
///
/// # Errors
/// When the test set is not one, or a model cannot be loaded.
pub fn run(args: &EvalArgs, output: &mut Output) -> anyhow::Result<ExitCode> {
    let options = args.model.engine_options()?;
    if options.engine == EngineChoice::Scripted {
        let why = "the scripted engine echoes; there is nothing to evaluate, choose auto or cpu";
        return Err(UsageError(why.to_owned()).into());
    }
    let reference = args.against.as_deref().map(|folder| reference_options(&options, folder));
    // Loads little and so says early what would fail after an hour.
    let asking = Asking::load(&options)?;
    if let Some(reference) = &reference {
        same_tokens(&asking, &Asking::load(reference)?)?;
    }
    let (data, rows) = test_set(args)?;
    let mut report = translate(&options, &rows, data)?;
    if let Some(reference) = &reference {
        let sequences = sequences(&asking, &rows, &options)?;
        let against = against(args, &options, reference, &asking, &sequences)?;
        if let Some(path) = &args.svg {
            std::fs::write(path, svg::plot(&report.model, &against))
                .with_context(|| format!("cannot write '{}'", path.display()))?;
        }
        report.against = Some(against);
    }
    if args.json {
        output.json(&report)?;
    } else {
        report.table().iter().try_for_each(|line| output.line(line))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The reference is exact where it can be: f32, and on the CPU, which is the oracle of all engines.
fn reference_options(options: &EngineOptions, folder: &Path) -> EngineOptions {
    EngineOptions {
        model: ModelChoice::Folder(folder.to_owned()),
        engine: EngineChoice::Cpu,
        precision: Precision::F32,
        ..options.clone()
    }
}

fn same_tokens(model: &Asking, reference: &Asking) -> anyhow::Result<()> {
    let probe = "Tür 42, 门 – ドア!";
    let (ours, theirs) = (model.tokenizer.vocab_size(), reference.tokenizer.vocab_size());
    anyhow::ensure!(
        ours == theirs
            && model.tokenizer.encode(probe)? == reference.tokenizer.encode(probe)?
            && model.chat.stop() == reference.chat.stop(),
        "the two models have different tokenizers ({ours} and {theirs} entries), so their \
         distributions cannot be compared; give the model that this one was quantised from"
    );
    Ok(())
}

fn test_set(args: &EvalArgs) -> anyhow::Result<(String, Vec<Row>)> {
    let (name, mut rows) = match &args.data {
        None => ("the demo model's held-out sentences".to_owned(), rows::parse(rows::DEMO_SET)?),
        Some(path) => {
            let name = path.display().to_string();
            let bytes = read_bounded(path, DATA_BYTES_MAX)?;
            let text = String::from_utf8(bytes)
                .map_err(|_| UsageError(format!("'{name}' is not UTF-8; convert it with iconv")))?;
            let rows =
                rows::parse(&text).map_err(|error| UsageError(format!("{name}: {error}")))?;
            (name, rows)
        }
    };
    if rows.is_empty() {
        return Err(UsageError(format!("'{name}' holds no text")).into());
    }
    if let Some(limit) = args.limit {
        let every = rows.len().div_ceil(limit as usize);
        rows = rows.into_iter().step_by(every).collect();
    }
    Ok((name, rows))
}

/// Translates all rows with the whole pipeline, many at once.
fn translate(options: &EngineOptions, rows: &[Row], data: String) -> anyhow::Result<Report> {
    let options = EngineOptions { slots: BATCH_TARGETS_MAX, ..options.clone() };
    let model = progress::while_loading(|report| app::load(&options, report))?;
    let translator =
        Translator::new(Arc::clone(&model.generator) as Arc<dyn Generator>, model.translator());
    let requests: Vec<TranslateRequest> = rows
        .iter()
        .enumerate()
        .map(|(at, row)| {
            request(&translator, row).with_context(|| format!("text {} of the set", at + 1))
        })
        .collect::<anyhow::Result<_>>()?;
    let bar = progress::steps_bar("translating", rows.len() as u64);
    let mut done = Translations::default();
    let started = Instant::now();
    for (rows, requests) in rows.chunks(BATCH_TARGETS_MAX).zip(requests.chunks(BATCH_TARGETS_MAX)) {
        let results =
            translator.translate_all(requests, &GenerateOptions::default(), &mut |_, _, _| ());
        for (row, mut results) in rows.iter().zip(results) {
            let result = results.pop().context("one target has one result")?;
            done.add(row, &result);
            bar.inc(1);
        }
    }
    let seconds = started.elapsed().as_secs_f64();
    bar.finish_and_clear();
    Ok(Report::new(model.about.model, model.about.engine, data, &done, seconds))
}

fn request(translator: &Translator, row: &Row) -> anyhow::Result<TranslateRequest> {
    let targets = [row.target.code().to_owned()];
    let raw = RawRequest {
        text: &row.text,
        source: row.source.code(),
        targets: &targets,
        inline_terms: &term_lines(row),
        context: &row.context,
        ..RawRequest::default()
    };
    translator.request(&raw).map_err(|error| UsageError(error.to_string()).into())
}

fn term_lines(row: &Row) -> Vec<String> {
    row.terms.iter().map(|(source, target)| format!("{source}={target}")).collect()
}

/// The rows as tokens: the prompt, and the reference translation as the answer to it.
fn sequences(
    asking: &Asking,
    rows: &[Row],
    options: &EngineOptions,
) -> anyhow::Result<Vec<Sequence>> {
    let stop = asking.chat.stop();
    let end = stop.first().copied().context("a chat format has a stop token")?;
    let mut sequences = Vec::with_capacity(rows.len());
    for row in rows {
        let terms = Glossary::from_lines(term_lines(row))?;
        let terms = glossary::select(&[&terms], &row.text, Some(row.source), row.target).terms;
        let user = prompt::build(
            asking.family,
            &PromptRequest {
                source: Some(row.source),
                target: row.target,
                text: &row.text,
                terms: &terms,
                context: (!row.context.is_empty()).then_some(&row.context),
                formality: Formality::Default,
            },
        );
        let prompt = asking.chat.render(&asking.tokenizer, None, &user)?;
        let mut answer = asking.tokenizer.encode(&row.reference)?;
        answer.push(end);
        sequences.push(Sequence { prompt, answer });
    }
    let n = sequences.len();
    sequences.retain(|one| one.prompt.len() + one.positions() <= options.context_tokens);
    if sequences.len() < n {
        let (left_out, max) = (n - sequences.len(), options.context_tokens);
        output::note(&format!("hymt: {left_out} texts have more than {max} tokens: not compared"));
    }
    anyhow::ensure!(!sequences.is_empty(), "no text is short enough to be compared");
    Ok(sequences)
}

/// Compares the networks.
fn against(
    args: &EvalArgs,
    options: &EngineOptions,
    reference: &EngineOptions,
    asking: &Asking,
    sequences: &[Sequence],
) -> anyhow::Result<AgainstScores> {
    let cannot_load = || format!("cannot load the model '{}'", reference.model_name());
    let mut unquantised =
        progress::while_loading(|report| load_cpu(reference, report)).with_context(cannot_load)?;
    let (mut model, _) = progress::while_loading(|report| app::load_engine(options, report))?;
    let (ours, theirs) = (model.spec().vocab_size, unquantised.spec().vocab_size);
    anyhow::ensure!(
        ours == theirs,
        "the networks have {ours} and {theirs} logits, so they cannot be compared"
    );
    let n = sequences.len() as u64;
    let bar = progress::steps_bar("comparing distributions", n);
    let divergences = compare(&mut unquantised, model.as_mut(), sequences, &mut || bar.inc(1))?;
    bar.finish_and_clear();

    let bar = progress::steps_bar("comparing greedy answers", 2 * n);
    let prompts: Vec<_> = sequences.iter().map(|one| one.prompt.as_slice()).collect();
    let stop = asking.chat.stop();
    let answers = |engine: &mut dyn Engine| {
        greedy(engine, &prompts, &stop, GREEDY_TOKENS_MAX, &mut || bar.inc(1))
    };
    let (expected, got) = (answers(&mut unquantised)?, answers(model.as_mut())?);
    bar.finish_and_clear();
    let mut agreement = Agreement::default();
    expected.iter().zip(&got).for_each(|(expected, got)| agreement.add(expected, got));

    drop(model);
    let layers = if args.svg.is_some() {
        let texts = &sequences[..sequences.len().min(args.layer_texts as usize)];
        layers(options, &mut unquantised, that_fit_layer_study(texts, ours))?
    } else {
        Vec::new()
    };
    let engine = unquantised.spec().name.clone();
    Ok(AgainstScores::new(reference.model_name(), engine, &divergences, &agreement, &layers))
}

/// The study by layer, on the CPU: only its engine can exchange layers.
fn layers(
    options: &EngineOptions,
    reference: &mut hymt_llm::engine::cpu::CpuEngine,
    sequences: &[Sequence],
) -> anyhow::Result<Vec<LayerKl>> {
    let mut model = progress::while_loading(|report| load_cpu(options, report))?;
    let parts = reference.config().n_layers + 1;
    let bar = progress::steps_bar("quantising layer by layer", 2 * parts as u64);
    let layers = by_layer(reference, &mut model, sequences, &mut || bar.inc(1));
    bar.finish_and_clear();
    Ok(layers?)
}
