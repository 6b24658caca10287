//! What an export refuses, and what it leaves behind: nothing.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::ops::ControlFlow;
use std::path::Path;

use half::bf16;
use hymt_llm::quant::activation_scales::ActivationScales;
use hymt_llm::synth::{SynthDtype, SynthOptions, SynthShape, write_model};
use hymt_llm::weights::ModelSource;
use hymt_tensorrt::onnx::export::{GRAPH_FILE, export_model};
use hymt_tensorrt::onnx::origin::check_origin;
use hymt_tensorrt::onnx::{ExportError, ExportOptions, ExportReport, FloatType};
use hymt_tensorrt::plan::fingerprint::Fingerprint;

fn tiny(dir: &Path) -> ModelSource {
    let options = SynthOptions { shape: SynthShape::Tiny, dtype: SynthDtype::Bf16, seed: 2 };
    write_model(dir, &options, &mut |_| {}).unwrap();
    ModelSource::Dir(dir.into())
}

fn scales(n_layers: usize) -> ActivationScales {
    ActivationScales::from_absmax(&vec![[2.0; 4]; n_layers]).unwrap()
}

/// Exports and breaks off before step `stop_at`.
fn export(
    source: &ModelSource,
    out: &Path,
    options: &ExportOptions,
    force: bool,
    stop_at: usize,
) -> Result<ExportReport, ExportError> {
    let scales = scales(source.config().unwrap().n_layers);
    export_model(source, &scales, out, options, force, &mut |step| {
        if step.done < stop_at { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })
}

/// Names of everything in `dir`.
fn names(dir: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name());
    let mut names: Vec<_> = entries.map(|name| name.into_string().unwrap()).collect();
    names.sort();
    names
}

fn options(context: usize) -> ExportOptions {
    ExportOptions { context, ..ExportOptions::default() }
}

#[test]
fn an_export_that_is_broken_off_leaves_nothing_and_replaces_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let source = tiny(&dir.path().join("model"));
    let out = dir.path().join("out/");
    for stop_at in 0..4 {
        let error = export(&source, &out, &options(16), false, stop_at).unwrap_err();
        assert!(matches!(error, ExportError::Interrupted), "{error}");
        assert_eq!(names(dir.path()), ["model"], "stopped at {stop_at}");
    }
    let report = export(&source, &out, &options(16), false, usize::MAX).unwrap();
    assert_eq!(names(dir.path()), ["model", "out"]);
    assert_eq!(report.graph, out.join(GRAPH_FILE));
    let before = std::fs::read(&report.graph).unwrap();
    let error = export(&source, &out, &options(24), false, usize::MAX).unwrap_err();
    assert!(matches!(error, ExportError::Exists { .. }), "{error}");
    export(&source, &out, &options(24), true, 2).unwrap_err();
    assert_eq!(std::fs::read(&report.graph).unwrap(), before);
    export(&source, &out, &options(24), true, usize::MAX).unwrap();
    assert_ne!(std::fs::read(&report.graph).unwrap(), before);
    assert_eq!(names(dir.path()), ["model", "out"]);

    let model = dir.path().join("model");
    let error = export(&source, &model, &options(16), true, usize::MAX).unwrap_err();
    assert!(matches!(error, ExportError::NotOurs { .. }), "{error}");
}

#[test]
fn a_graph_says_which_model_it_is_of() {
    let dir = tempfile::tempdir().unwrap();
    let source = tiny(&dir.path().join("model"));
    let graph = export(&source, &dir.path().join("out"), &options(16), false, usize::MAX);
    let graph = graph.unwrap().graph;
    let hash = Fingerprint::of(&dir.path().join("model"), []).unwrap().hash;
    check_origin(&graph, &hash).unwrap();
    damaged(&dir.path().join("other"), "model.embed_tokens.weight", 1.0);
    let hash = Fingerprint::of(&dir.path().join("other"), []).unwrap().hash;
    assert!(check_origin(&graph, &hash).unwrap_err().to_string().contains("another model"));
}

#[test]
fn what_cannot_be_exported_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let source = tiny(&dir.path().join("model"));
    let out = dir.path().join("out");
    for context in [0, 40_000] {
        let error = export(&source, &out, &options(context), false, usize::MAX).unwrap_err();
        let message = error.to_string();
        assert!(message.contains(&format!("{context} tokens; allowed: 1 to")), "{message}");
    }
    let go_on = &mut |_| ControlFlow::Continue(());
    let error = export_model(&source, &scales(7), &out, &options(16), false, go_on).unwrap_err();
    assert!(error.to_string().contains("7 layers for a model of 2"), "{error}");

    // The first number of the embedding, then of a matrix.
    for (tensor, value, float) in [
        ("model.embed_tokens.weight", 70_000.0, FloatType::F16),
        ("model.embed_tokens.weight", f32::NAN, FloatType::F32),
        ("model.layers.1.mlp.down_proj.weight", f32::INFINITY, FloatType::F32),
    ] {
        let source = damaged(&dir.path().join("damaged"), tensor, value);
        let options = ExportOptions { float, ..options(16) };
        let error = export(&source, &out, &options, false, usize::MAX).unwrap_err();
        let is_f16 = matches!(error, ExportError::BeyondF16 { .. });
        assert_eq!(is_f16, float == FloatType::F16, "{error}");
        assert!(error.to_string().contains(tensor), "{error}");
        assert_eq!(names(dir.path()), ["damaged", "model"]);
    }
}

/// A tiny model whose tensor `name` starts with `value`.
fn damaged(dir: &Path, name: &str, value: f32) -> ModelSource {
    let source = tiny(dir);
    let path = dir.join("model.safetensors");
    let mut bytes = std::fs::read(&path).unwrap();
    let header_len = u64::from_le_bytes(*bytes.first_chunk().unwrap()) as usize;
    let header: serde_json::Value = serde_json::from_slice(&bytes[8..8 + header_len]).unwrap();
    let start = header[name]["data_offsets"][0].as_u64().unwrap() as usize;
    bytes[8 + header_len + start..][..2].copy_from_slice(&bf16::from_f32(value).to_le_bytes());
    std::fs::write(path, bytes).unwrap();
    source
}
