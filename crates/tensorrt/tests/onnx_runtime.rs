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
use hymt_llm::engine::cpu::{CpuEngine, CpuOptions};
use hymt_llm::engine::{BatchRow, Engine, LogitsWanted, Slot};
use hymt_llm::quant::activation_scales::{ActivationScales, observe_activations};
use hymt_llm::synth::{SynthDtype, SynthOptions, SynthShape, write_model};
use hymt_llm::weights::ModelSource;
use hymt_tensorrt::onnx::{ExportOptions, FloatType, WeightForm, export_model};
use serde_json::{Value, json};

/// Decode steps behind a prompt, the cache fed back after each.
const DECODE_STEPS: usize = 64;
/// Length of the cache.
const CONTEXT: usize = 96;

/// Largest difference of a logit, relative to the largest logit. Sums run in another order, some
/// 1e-6; now and then that tips an activation over the edge between two levels of INT8, which is
/// a 127th of the largest activation.
const F32_TOLERANCE: f32 = 1e-2;
/// The same with cache, attention, embedding and head in f16, whose numbers have 11 bits: each
/// difference of 5e-4 tips many more activations.
const F16_TOLERANCE: f32 = 6e-2;

/// A model, calibrated.
struct Subject {
    source: ModelSource,
    scales: ActivationScales,
    prompts: Vec<Vec<TokenId>>,
}

impl Subject {
    fn new(source: ModelSource, seed: u32) -> Self {
        let (config, tensors) = (source.config().unwrap(), source.tensors().unwrap());
        // Ragged: the longest is the batch's width, the others are padded.
        let id = |n: u32| (n.wrapping_mul(2_654_435_761) >> 8) % config.vocab_size as u32;
        let prompt = |which: u32, n: u32| (0..n).map(|i| id(seed + which * 1000 + i)).collect();
        let prompts: Vec<Vec<TokenId>> =
            [(1, 23), (2, 1), (3, 9)].map(|(which, n)| prompt(which, n)).into();
        let calibration: Vec<_> = (10..14).map(|which| prompt(which, 30)).collect();
        let go_on = &mut |_| ControlFlow::Continue(());
        let scales =
            observe_activations(&tensors, &config, &calibration, 4096, Some(2), go_on).unwrap();
        Self { source, scales, prompts }
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
            for _ in 0..=DECODE_STEPS {
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
    operators: Vec<String>,
}

fn run(python: &str, graph: &Path, prompts: &[Vec<TokenId>], optimise: bool) -> Run {
    let dir = tempfile::tempdir().unwrap();
    let (request, out) = (dir.path().join("request.json"), dir.path().join("out.json"));
    let content = json!({"prompts": prompts, "steps": DECODE_STEPS + 1, "optimise": optimise,
        "garbage": 50.0});
    std::fs::write(&request, content.to_string()).unwrap();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/onnx/run_graph.py");
    let done = Command::new(python).arg(script).args([graph, &request, &out]).output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let found: Value = serde_json::from_slice(&std::fs::read(&out).unwrap()).unwrap();
    let words = std::fs::read(dir.path().join("out.json.logits")).unwrap();
    Run {
        answers: serde_json::from_value(found["answers"].clone()).unwrap(),
        operators: serde_json::from_value(found["operators"].clone()).unwrap(),
        logits: words.as_chunks().0.iter().map(|word| f32::from_le_bytes(*word)).collect(),
    }
}

#[track_caller]
fn compare(subject: &Subject, graph: &Path, python: &str, optimise: bool, tolerance: f32) {
    let (answers, logits) = subject.reference();
    let found = run(python, graph, &subject.prompts, optimise);
    assert_eq!(found.logits.len(), logits.len());
    let largest = logits.iter().fold(0.0_f32, |all, one| all.max(one.abs()));
    let distance = logits.iter().zip(&found.logits).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    println!("{}: largest logit {largest}, largest difference {distance:e}", graph.display());
    println!("operators: {}", found.operators.join(" "));
    assert_eq!(found.answers, answers, "greedy tokens");
    assert!(largest > 1.0, "logits of a network that does nothing: {largest}");
    assert!(distance < tolerance * largest, "{distance} of {largest}");
}

fn tiny(dir: &Path, seed: u64) -> ModelSource {
    let options = SynthOptions { shape: SynthShape::Tiny, dtype: SynthDtype::Bf16, seed };
    write_model(dir, &options, &mut |_| {}).unwrap();
    ModelSource::Dir(dir.into())
}

fn demo() -> ModelSource {
    ModelSource::Dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../../models/demo/int8").into())
}

fn options() -> ExportOptions {
    ExportOptions { context: CONTEXT, ..ExportOptions::default() }
}

#[test]
fn a_tiny_random_model_means_the_same_in_onnx_runtime() {
    let Some(python) = python() else { return };
    let dir = tempfile::tempdir().unwrap();
    let subject = Subject::new(tiny(&dir.path().join("model"), 5), 0);
    let graph = subject.export(&dir.path().join("int8"), options());
    compare(&subject, &graph, &python, false, F32_TOLERANCE);
    compare(&subject, &graph, &python, true, F32_TOLERANCE);
    let float = ExportOptions { weights: WeightForm::Float, ..options() };
    let graph = subject.export(&dir.path().join("float"), float);
    compare(&subject, &graph, &python, false, F32_TOLERANCE);
    let half = ExportOptions { float: FloatType::F16, ..options() };
    let graph = subject.export(&dir.path().join("half"), half);
    compare(&subject, &graph, &python, false, F16_TOLERANCE);
}

#[test]
fn the_demo_model_means_the_same_in_onnx_runtime() {
    let Some(python) = python() else { return };
    let dir = tempfile::tempdir().unwrap();
    let subject = Subject::new(demo(), 7);
    let graph = subject.export(&dir.path().join("int8"), options());
    compare(&subject, &graph, &python, false, F32_TOLERANCE);
}
