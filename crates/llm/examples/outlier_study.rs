//! What smoothing buys: INT8 against f32 without smoothing, with alpha 0.5, and searched.
//!
//! ```text
//! cargo run --release -p hymt_llm --example outlier_study
//! ```
//!
//! Three models: the demo model; four layers of the 1.8B shape with random weights; and the same
//! with outlier channels planted. Planting scales a few channels up where a fold would scale them
//! down, so the network computes what it did, to the bit, and only INT8 is harder. That is the
//! kind of outlier smoothing is made for; it says nothing about kinds that it cannot reach.
//! Calibration and evaluation use different prompts. `docs/quantization.md` holds the figures.
//!
//! The columns after them are for activations with static scales, from the largest magnitudes of the
//! calibration or from their 99.9th percentile, as engines need them whose graph is fixed
//! beforehand; `docs/onnx.md` holds those.

#![allow(clippy::unwrap_used, reason = "a study ends where something is missing")]
#![allow(clippy::print_stdout, reason = "its table is its result")]

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use half::bf16;
use hymt_llm::TokenId;
use hymt_llm::chat::{ChatFormat, Opener};
use hymt_llm::config::ModelConfig;
use hymt_llm::engine::cpu::{CpuEngine, CpuOptions, Precision, logits_of_all_positions};
use hymt_llm::quant::activation_scales::ActivationScales;
use hymt_llm::quant::checkpoint::{
    FoldReport, LayerReport, QuantizeOptions, RunOptions, Smoothing, quantize_model,
};
use hymt_llm::quant::smoothing::Fold;
use hymt_llm::synth::{SynthDtype, SynthOptions, SynthShape, write_model};
use hymt_llm::tokenizer::Tokenizer;
use hymt_llm::weights::ModelSource;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use safetensors::SafeTensors;
use safetensors::tensor::TensorView;

/// What planted channels are scaled by; a power of two changes no mantissa.
const OUTLIER: f32 = 64.0;
/// One channel in so many is an outlier: eight of 2048.
const OUTLIER_EVERY: usize = 256;
/// Prompts of the demo model that calibrate; the others evaluate.
const DEMO_CALIBRATION: usize = 66;

type Prompts = Vec<Vec<TokenId>>;

fn main() {
    let dir = tempfile::tempdir().unwrap();
    println!(
        "| model | smoothing | output error | logit error | top-1 agreement | tokens \
         | static: logit error | top-1 | static, p99.9: logit error | top-1 \
         | static, down in floats: logit error | top-1 |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|---|---|");
    let demo = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/demo");
    let prompts = demo_prompts(&demo);
    let (calibration, evaluation) = prompts.split_at(DEMO_CALIBRATION);
    study("demo", &demo.join("bf16"), calibration, evaluation, dir.path());

    let plain = dir.path().join("plain");
    let options = SynthOptions { shape: SynthShape::B1_8Slice, dtype: SynthDtype::Bf16, seed: 1 };
    write_model(&plain, &options, &mut |_| {}).unwrap();
    let (calibration, evaluation) = (random_prompts(1), random_prompts(2));
    study("random 1.8B slice", &plain, &calibration, &evaluation, dir.path());
    let planted = plant(&plain, &dir.path().join("planted"));
    study("the same, planted", &planted, &calibration, &evaluation, dir.path());
}

/// Prints three rows.
fn study(
    name: &str,
    model: &Path,
    calibration: &[Vec<TokenId>],
    evaluation: &[Vec<TokenId>],
    dir: &Path,
) {
    let exact = logits(model, Precision::F32, evaluation);
    for (row, smoothing) in [
        ("none", Smoothing::None),
        ("alpha 0.5", Smoothing::Alpha(0.5)),
        ("searched", Smoothing::Search),
    ] {
        let out = dir.join(format!("{name}-{row}"));
        let options = QuantizeOptions { smoothing, ..QuantizeOptions::default() };
        let run = RunOptions::default();
        let report = quantize_model(model, &out, calibration, &options, run, &mut |_| {
            ControlFlow::Continue(())
        })
        .unwrap();
        let folds = report.layers.iter().flat_map(|layer| &layer.folds);
        // Seven linear layers in the four folds of a layer.
        let per_linear =
            folds.map(|fold| fold.error).sum::<f32>() / (7 * report.layers.len()) as f32;
        let dynamic = compare(&exact, &logits(&out, Precision::Int8, evaluation));
        let with_scales = |of_fold: fn(&FoldReport) -> f32, in_floats: &[Fold]| {
            let layer =
                |layer: &LayerReport| Fold::ALL.map(|fold| of_fold(&layer.folds[fold as usize]));
            let absmax: Vec<_> = report.layers.iter().map(layer).collect();
            let scales = ActivationScales::from_absmax(&absmax).unwrap().keep_float(in_floats);
            compare(&exact, &static_logits(&out, &scales, evaluation))
        };
        println!(
            "| {name} | {row} | {:.3} % | {dynamic} | {} | {} | {} | {} |",
            100.0 * per_linear.sqrt(),
            exact.len(),
            with_scales(|fold| fold.input_absmax, &[]),
            with_scales(|fold| fold.input_percentile, &[]),
            with_scales(|fold| fold.input_absmax, &[Fold::DownInput])
        );
        std::fs::remove_dir_all(&out).unwrap();
    }
}

/// Two cells: the relative error of the logits, and how often the best token is the same.
fn compare(exact: &[Vec<f32>], quantised: &[Vec<f32>]) -> String {
    let (mut agree, mut error, mut size) = (0, 0.0, 0.0);
    for (exact, quantised) in exact.iter().zip(quantised) {
        agree += usize::from(best(exact) == best(quantised));
        for (exact, quantised) in exact.iter().zip(quantised) {
            error += f64::from(exact - quantised).powi(2);
            size += f64::from(*exact).powi(2);
        }
    }
    let error = 100.0 * (error / size).sqrt();
    let agree = 100.0 * f64::from(agree as u32) / exact.len() as f64;
    format!("{error:.2} % | {agree:.2} %")
}

fn logits(model: &Path, precision: Precision, prompts: &[Vec<TokenId>]) -> Vec<Vec<f32>> {
    let options = CpuOptions { precision, ..CpuOptions::default() };
    let source = ModelSource::Dir(model.to_owned());
    run(CpuEngine::load(&source, &options, &mut |_| {}).unwrap(), prompts)
}

fn static_logits(
    model: &Path,
    scales: &ActivationScales,
    prompts: &[Vec<TokenId>],
) -> Vec<Vec<f32>> {
    let (source, options) = (ModelSource::Dir(model.to_owned()), CpuOptions::default());
    let load = CpuEngine::load_with_static_scales(&source, &options, scales, &mut |_| {});
    run(load.unwrap(), prompts)
}

/// The logits after each token of each prompt.
fn run(mut engine: CpuEngine, prompts: &[Vec<TokenId>]) -> Vec<Vec<f32>> {
    let vocab_size = engine.config().vocab_size;
    let mut all = Vec::new();
    for prompt in prompts {
        let flat = logits_of_all_positions(&mut engine, prompt).unwrap();
        all.extend(flat.chunks_exact(vocab_size).map(<[f32]>::to_vec));
    }
    all
}

fn best(row: &[f32]) -> Option<usize> {
    (0..row.len()).max_by(|i, j| row[*i].total_cmp(&row[*j]))
}

/// Held-out plain requests with their reference answers, in the English form of the prompt, which
/// is asked where neither side is Chinese.
fn demo_prompts(demo: &Path) -> Prompts {
    let tokenizer = Tokenizer::from_file(&demo.join("bf16/tokenizer.json")).unwrap();
    let chat = ChatFormat::detect(&tokenizer, Opener::default()).unwrap();
    let text = std::fs::read_to_string(demo.join("heldout_small.jsonl")).unwrap();
    let lines = text.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    let names = HashMap::from([
        ("en", "English"),
        ("de", "German"),
        ("fr", "French"),
        ("es", "Spanish"),
        ("ja", "Japanese"),
    ]);
    lines
        .filter(|line| line["source"] != "zh" && line["target"] != "zh")
        .filter(|line| line["context"].is_null() && line["terms"].as_array().unwrap().is_empty())
        .map(|line| {
            let (source, answer) = (line["text"].as_str().unwrap(), &line["reference"]);
            let language = names[line["target"].as_str().unwrap()];
            let question = format!(
                "Translate the following text into {language}. Note that you should only output \
                 the translated result without any additional explanation:\n\n{source}"
            );
            let mut ids = chat.render(&tokenizer, None, &question).unwrap();
            ids.extend(tokenizer.encode(answer.as_str().unwrap()).unwrap());
            ids
        })
        .collect()
}

fn random_prompts(seed: u64) -> Prompts {
    let mut rng = SmallRng::seed_from_u64(seed);
    (0..24).map(|_| (0..40).map(|_| rng.random_range(0..4096)).collect()).collect()
}

/// Copies a bf16 model with outliers where the four folds can see them.
fn plant(model: &Path, out: &Path) -> PathBuf {
    std::fs::create_dir(out).unwrap();
    let json = std::fs::read(model.join("config.json")).unwrap();
    std::fs::write(out.join("config.json"), &json).unwrap();
    let config = ModelConfig::from_json(&json).unwrap();
    let bytes = std::fs::read(model.join("model.safetensors")).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let changed: Vec<_> = file
        .tensors()
        .into_iter()
        .map(|(name, tensor)| {
            let stored = tensor.data().as_chunks().0.iter();
            let mut values: Vec<bf16> = stored.map(|bytes| bf16::from_le_bytes(*bytes)).collect();
            plant_in(&name, &mut values, tensor.shape(), &config);
            let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
            (name, tensor.dtype(), tensor.shape().to_vec(), bytes)
        })
        .collect();
    let views = changed.iter().map(|(name, dtype, shape, bytes)| {
        (name, TensorView::new(*dtype, shape.clone(), bytes).unwrap())
    });
    safetensors::serialize_to_file(views, None, &out.join("model.safetensors")).unwrap();
    out.to_owned()
}

fn plant_in(name: &str, values: &mut [bf16], shape: &[usize], config: &ModelConfig) {
    let is_one_of = |parts: &[&str]| parts.iter().any(|p| name.ends_with(&format!("{p}.weight")));
    let is_outlier = |channel: usize| channel % OUTLIER_EVERY == 77;
    // Of o, the columns that read an outlier of v: all query heads of its group.
    let (d, group) = (config.head_dim, config.n_heads / config.n_kv_heads);
    let reads_outlier = |column: usize| is_outlier(column / d / group * d + column % d);
    let is_norm = is_one_of(&["input_layernorm", "post_attention_layernorm"]);
    let has_loud_rows = is_one_of(&["v_proj", "up_proj"]);
    let reads = is_one_of(&["q_proj", "k_proj", "v_proj", "gate_proj", "up_proj", "down_proj"]);
    let is_output = is_one_of(&["o_proj"]);
    let cols = shape.last().copied().unwrap_or(1);
    for (index, value) in values.iter_mut().enumerate() {
        let (row, column) = (index / cols, index % cols);
        let mut factor = 1.0;
        if (is_norm && is_outlier(column)) || (has_loud_rows && is_outlier(row)) {
            factor *= OUTLIER;
        }
        if (reads && is_outlier(column)) || (is_output && reads_outlier(column)) {
            factor /= OUTLIER;
        }
        *value = bf16::from_f32(value.to_f32() * factor);
    }
}
