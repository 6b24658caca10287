//! Exported graphs, checked and run by ONNX's own tools, against the CPU engine under the same
//! static scales.
//!
//! This proves what the graph means, not that TensorRT accepts it; for that see `onnx::lint`.
//! `HYMT_ONNX_PYTHON` names a Python with `onnx`, `onnxruntime` and `numpy`; without it the tests say
//! so loudly and pass, or fail where `HYMT_REQUIRE_PEERS=1` asks for peers.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::io::Write as _;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::Command;

use hymt_llm::TokenId;
use hymt_llm::chat::{ChatFormat, Opener};
use hymt_llm::engine::cpu::{CpuEngine, CpuOptions};
use hymt_llm::engine::{BatchRow, Engine, LogitsWanted, Slot};
use hymt_llm::quant::activation_scales::{ActivationScales, observe_activations};
use hymt_llm::quant::smoothing::Fold;
use hymt_llm::synth::{SynthDtype, SynthOptions, SynthShape, write_model};
use hymt_llm::tokenizer::Tokenizer;
use hymt_llm::weights::ModelSource;
use hymt_tensorrt::onnx::{ExportOptions, FloatType, WeightForm, export_model};
use safetensors::SafeTensors;
use safetensors::tensor::TensorView;
use serde_json::{Value, json};

/// Decode steps of all models but the widest.
const DECODE_STEPS: usize = 64;
/// Length of the cache.
const CONTEXT: usize = 160;

/// How far two sets of logits may be apart, relative to the largest logit.
struct Tolerance {
    /// For half of all tokens.
    median: f32,
    /// For every token.
    largest: f32,
    /// Whether that also holds behind the end of an answer, where a model is a guesser.
    behind_end: bool,
}

/// Sums run in another order, some 1e-6. Now and then that tips an activation over the edge between
/// two levels of INT8, 1/127 of the largest one; what follows sees it through the cache.
const F32_TOLERANCE: Tolerance = Tolerance { median: 1e-5, largest: 5e-2, behind_end: true };
/// Cache, attention, embedding and head have 11 bits, and tip many activations.
const F16_TOLERANCE: Tolerance = Tolerance { median: 5e-2, largest: 1e-1, behind_end: false };

/// A model, calibrated.
struct Subject {
    source: ModelSource,
    scales: ActivationScales,
    prompts: Vec<Vec<TokenId>>,
    /// Tokens that end an answer.
    ends: Vec<TokenId>,
    /// Decode steps behind a prompt, the cache fed back after each.
    decode_steps: usize,
}

impl Subject {
    /// A random model on random prompts.
    fn tiny(dir: &Path) -> Self {
        let options = SynthOptions { shape: SynthShape::Tiny, dtype: SynthDtype::Bf16, seed: 5 };
        write_model(dir, &options, &mut |_| {}).unwrap();
        Self::random(ModelSource::Dir(dir.into()))
    }

    /// Random prompts. They are ragged: the longest is the batch's width, the others are padded.
    fn random(source: ModelSource) -> Self {
        let vocab = source.config().unwrap().vocab_size as u32;
        let id = |n: u32| (n.wrapping_mul(2_654_435_761) >> 8) % vocab;
        let prompt = |which: u32, n: u32| (0..n).map(|i| id(which * 1000 + i)).collect();
        let prompts = [(1, 23), (2, 1), (3, 9)].map(|(which, n)| prompt(which, n)).into();
        let calibration: Vec<_> = (10..14).map(|which| prompt(which, 30)).collect();
        Self::new(source, prompts, &calibration, &[])
    }

    /// The demo model on what it is for.
    fn demo() -> Self {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/demo");
        let texts: Value =
            serde_json::from_slice(&std::fs::read(dir.join("golden_prompts.json")).unwrap())
                .unwrap();
        let tokenizer = Tokenizer::from_file(&dir.join("int8/tokenizer.json")).unwrap();
        let chat = ChatFormat::detect(&tokenizer, Opener::default()).unwrap();
        let texts = texts.as_array().unwrap().iter().filter(|text| text["family"] == "hy-mt2");
        let mut prompts: Vec<_> = texts
            .map(|text| chat.render(&tokenizer, None, text["prompt"].as_str().unwrap()).unwrap())
            .collect();
        let calibration = prompts.split_off(4);
        assert!(calibration.len() > 4, "prompts to calibrate with");
        let source = ModelSource::Dir(dir.join("int8"));
        Self::new(source, prompts, &calibration, &chat.stop())
    }

    fn new(
        source: ModelSource,
        prompts: Vec<Vec<TokenId>>,
        calibration: &[Vec<TokenId>],
        ends: &[TokenId],
    ) -> Self {
        let (config, tensors) = (source.config().unwrap(), source.tensors().unwrap());
        let go_on = &mut |_| ControlFlow::Continue(());
        let scales =
            observe_activations(&tensors, &config, calibration, 4096, Some(2), go_on).unwrap();
        Self { source, scales, prompts, ends: ends.to_vec(), decode_steps: DECODE_STEPS }
    }

    fn keep_float(self, folds: &[Fold]) -> Self {
        Self { scales: self.scales.keep_float(folds), ..self }
    }

    fn export(&self, out: &Path, options: ExportOptions) -> PathBuf {
        let go_on = &mut |_| ControlFlow::Continue(());
        export_model(&self.source, &self.scales, out, &options, false, go_on).unwrap().graph
    }

    /// Greedy answers of the CPU engine, and the logits behind each of their tokens.
    fn reference(&self) -> (Vec<Vec<TokenId>>, Vec<f32>) {
        let options = CpuOptions { threads: Some(2), ..CpuOptions::default() };
        let mut engine =
            CpuEngine::load_with_static_scales(&self.source, &options, &self.scales, &mut |_| {})
                .unwrap();
        let (mut answers, mut all_logits) = (Vec::new(), Vec::new());
        for prompt in &self.prompts {
            let (mut answer, mut position, mut logits) = (Vec::new(), 0, Vec::new());
            let mut tokens = prompt.clone();
            for _ in 0..=self.decode_steps {
                let row = BatchRow {
                    slot: Slot(0),
                    position,
                    tokens: &tokens,
                    logits: LogitsWanted::Last,
                };
                engine.step(&[row], &mut logits).unwrap();
                position += tokens.len();
                tokens = vec![argmax(&logits)];
                answer.push(tokens[0]);
                all_logits.append(&mut logits);
            }
            answers.push(answer);
        }
        (answers, all_logits)
    }
}

fn argmax(logits: &[f32]) -> TokenId {
    (0..logits.len()).rev().max_by(|a, b| logits[*a].total_cmp(&logits[*b])).unwrap() as TokenId
}

/// A Python with ONNX's tools, or a loud skip.
fn python() -> Option<String> {
    let python = std::env::var("HYMT_ONNX_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let import = Command::new(&python).args(["-c", "import onnx, onnxruntime, numpy"]).output();
    if import.is_ok_and(|output| output.status.success()) {
        return Some(python);
    }
    let why = format!(
        "{python} cannot import onnx, onnxruntime and numpy; install them with pip, or name \
         another Python in HYMT_ONNX_PYTHON"
    );
    // Straight to the stream: the test runner swallows what the macros print when a test passes.
    let _ = writeln!(std::io::stderr(), "\n*** SKIPPED: {why} ***\n");
    let required = std::env::var("HYMT_REQUIRE_PEERS").is_ok_and(|value| value == "1");
    assert!(!required, "HYMT_REQUIRE_PEERS=1, but {why}");
    None
}

/// What ONNX Runtime answers.
struct Run {
    answers: Vec<Vec<TokenId>>,
    logits: Vec<f32>,
}

/// How ONNX Runtime is to run a graph.
#[derive(Clone, Copy)]
struct How {
    /// Most tokens of a prompt at a time.
    chunk: usize,
    /// Whether it may fuse and fold, or takes the graph as it is written.
    optimise: bool,
}

/// Whole prompts, the graph as it is written.
const PLAIN: How = How { chunk: usize::MAX >> 1, optimise: false };

/// Feeds `answers` after `prompts`.
fn run(
    python: &str,
    graph: &Path,
    prompts: &[Vec<TokenId>],
    answers: &[Vec<TokenId>],
    how: How,
) -> Run {
    let dir = tempfile::tempdir().unwrap();
    let (request, out) = (dir.path().join("request.json"), dir.path().join("out.json"));
    let content = json!({"prompts": prompts, "answers": answers, "chunk": how.chunk,
        "optimise": how.optimise, "garbage": 50.0});
    std::fs::write(&request, content.to_string()).unwrap();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/onnx/run_graph.py");
    let done = Command::new(python).arg(script).args([graph, &request, &out]).output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let found: Value = serde_json::from_slice(&std::fs::read(&out).unwrap()).unwrap();
    let words = std::fs::read(dir.path().join("out.json.logits")).unwrap();
    Run {
        answers: serde_json::from_value(found["answers"].clone()).unwrap(),
        logits: words.as_chunks().0.iter().map(|word| f32::from_le_bytes(*word)).collect(),
    }
}

#[track_caller]
fn compare(subject: &Subject, graph: &Path, python: &str, how: How, tolerance: &Tolerance) {
    let (answers, logits) = subject.reference();
    let found = run(python, graph, &subject.prompts, &answers, how);
    assert_eq!(found.logits.len(), logits.len());
    let size = largest(logits.iter().copied());
    assert!(size > 1.0, "logits of a network that does nothing: {size}");
    let (n_tokens, mut apart) = (subject.decode_steps + 1, Vec::new());
    let vocab = logits.len() / (answers.len() * n_tokens);
    let rows = logits.chunks_exact(vocab).zip(found.logits.chunks_exact(vocab));
    let all_apart: Vec<f32> =
        rows.map(|(a, b)| largest(a.iter().zip(b).map(|(a, b)| a - b)) / size).collect();
    for (index, (expected, got)) in answers.iter().zip(&found.answers).enumerate() {
        // Behind its end an answer is noise, in which the best two logits may be as close as the
        // tolerance; up to there every token must be the same.
        let is_end = |token: &TokenId| subject.ends.contains(token);
        let len = expected.iter().position(is_end).map_or(n_tokens, |at| at + 1);
        assert_eq!(got[..len], expected[..len], "greedy tokens");
        let counted = if tolerance.behind_end { n_tokens } else { len };
        apart.extend(&all_apart[index * n_tokens..][..counted]);
    }
    apart.sort_by(f32::total_cmp);
    let (median, last) = (apart[apart.len() / 2], apart[apart.len() - 1]);
    // Straight to the stream: these figures are worth seeing when the test passes.
    let shown = graph.parent().unwrap().file_name().unwrap().to_string_lossy().into_owned();
    let _ = writeln!(std::io::stderr(), "{shown}: median {median:.0e}, largest {last:.0e}");
    assert!(median < tolerance.median && last < tolerance.largest, "{median} {last}");
}

fn largest(values: impl Iterator<Item = f32>) -> f32 {
    values.fold(0.0, |all, one| all.max(one.abs()))
}

fn options() -> ExportOptions {
    ExportOptions { context: CONTEXT, ..ExportOptions::default() }
}

#[test]
fn a_tiny_random_model_means_the_same_in_onnx_runtime() {
    let Some(python) = python() else { return };
    let dir = tempfile::tempdir().unwrap();
    let subject = Subject::tiny(&dir.path().join("model"));
    let graph = subject.export(&dir.path().join("tiny"), options());
    compare(&subject, &graph, &python, PLAIN, &F32_TOLERANCE);
    compare(&subject, &graph, &python, How { optimise: true, ..PLAIN }, &F32_TOLERANCE);
    // The second prompt has one token and is idle from the second chunk on.
    compare(&subject, &graph, &python, How { chunk: 4, ..PLAIN }, &F32_TOLERANCE);
    let float = ExportOptions { weights: WeightForm::Float, ..options() };
    let graph = subject.export(&dir.path().join("tiny with float weights"), float);
    compare(&subject, &graph, &python, PLAIN, &F32_TOLERANCE);
    let half = ExportOptions { float: FloatType::F16, ..options() };
    let graph = subject.export(&dir.path().join("tiny in f16"), half);
    compare(&subject, &graph, &python, PLAIN, &F16_TOLERANCE);
    let kept = subject.keep_float(&[Fold::DownInput]);
    let graph = kept.export(&dir.path().join("tiny with down in floats"), options());
    compare(&kept, &graph, &python, PLAIN, &F32_TOLERANCE);
    let graph = kept.export(&dir.path().join("tiny with down in f16"), half);
    compare(&kept, &graph, &python, PLAIN, &F16_TOLERANCE);
    let kept = kept.keep_float(&Fold::ALL);
    let graph = kept.export(&dir.path().join("tiny without INT8"), options());
    compare(&kept, &graph, &python, PLAIN, &F32_TOLERANCE);
}

#[test]
fn the_demo_model_means_the_same_in_onnx_runtime() {
    let Some(python) = python() else { return };
    let dir = tempfile::tempdir().unwrap();
    let subject = Subject::demo();
    let graph = subject.export(&dir.path().join("demo"), options());
    compare(&subject, &graph, &python, PLAIN, &F32_TOLERANCE);
    let half = ExportOptions { float: FloatType::F16, ..options() };
    let graph = subject.export(&dir.path().join("demo in f16"), half);
    compare(&subject, &graph, &python, PLAIN, &F16_TOLERANCE);
}

/// Whatever the layout of a checkpoint, its graph computes what the engine computes from it.
#[test]
fn every_stored_layout_means_the_same_in_onnx_runtime() {
    let Some(python) = python() else { return };
    let dir = tempfile::tempdir().unwrap();
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("../llm/tests/golden");
    let untied = dir.path().join("untied");
    write_untied(&golden.join("f32"), &untied);
    let mut models = vec![untied, golden.join("formats/mixed.gguf")];
    for folder in [&golden, &golden.join("formats")] {
        let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        models.extend(entries.filter(|path| path.join("config.json").exists()));
    }
    assert!(models.len() > 10, "only {models:?}");
    for model in models {
        let name = model.file_name().unwrap().to_owned();
        let subject = Subject::random(ModelSource::Dir(model));
        let graph = subject.export(&dir.path().join("graphs").join(name), options());
        compare(&subject, &graph, &python, PLAIN, &F32_TOLERANCE);
    }
}

/// One layer as wide as those of the 1.8B models. With more of them some activation of every token
/// tips, and no tolerance would tell that from a mistake.
#[test]
fn a_layer_of_the_real_width_means_the_same_in_onnx_runtime() {
    let Some(python) = python() else { return };
    let dir = tempfile::tempdir().unwrap();
    let model = dir.path().join("model");
    let shape = SynthShape::B1_8Slice;
    let options = SynthOptions { shape, dtype: SynthDtype::Int8, seed: 5 };
    write_model(&model, &options, &mut |_| {}).unwrap();
    edit_config(&model, &model, |config| config["num_hidden_layers"] = json!(1));
    let subject = Subject { decode_steps: 4, ..Subject::random(ModelSource::Dir(model)) };
    let options = ExportOptions { context: 64, ..ExportOptions::default() };
    let graph = subject.export(&dir.path().join("wide"), options);
    compare(&subject, &graph, &python, PLAIN, &F32_TOLERANCE);
}

fn edit_config(from: &Path, to: &Path, edit: impl FnOnce(&mut Value)) {
    let json = std::fs::read(from.join("config.json")).unwrap();
    let mut config: Value = serde_json::from_slice(&json).unwrap();
    edit(&mut config);
    std::fs::write(to.join("config.json"), config.to_string()).unwrap();
}

/// A copy of `model` with a head of its own: the embedding, token by token in reverse.
fn write_untied(model: &Path, out: &Path) {
    std::fs::create_dir(out).unwrap();
    edit_config(model, out, |config| config["tie_word_embeddings"] = json!(false));
    let bytes = std::fs::read(model.join("model.safetensors")).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let embedding = tensors.tensor("model.embed_tokens.weight").unwrap();
    let row_bytes = embedding.data().len() / embedding.shape()[0];
    let reversed: Vec<u8> = embedding.data().chunks(row_bytes).rev().flatten().copied().collect();
    let head = TensorView::new(embedding.dtype(), embedding.shape().to_vec(), &reversed).unwrap();
    let mut all = tensors.tensors();
    all.retain(|(name, _)| name != "lm_head.weight");
    all.push(("lm_head.weight".to_owned(), head));
    safetensors::serialize_to_file(all, None, &out.join("model.safetensors")).unwrap();
}
