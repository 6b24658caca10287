//! `hymt engine export-onnx` as a user meets it: the real program, from a model to a clean graph.
//! What the graph means is tested in `crates/tensorrt/tests/onnx_runtime.rs`.
#![cfg(feature = "tensorrt")]
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[path = "support/ended.rs"]
mod ended;

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

use crate::ended::{fails, ok};

fn export(arguments: &[&str]) -> Output {
    let program = Command::new(env!("CARGO_BIN_EXE_hymt"))
        .args(["engine", "export-onnx"])
        .args(arguments)
        .output();
    program.unwrap()
}

fn path(dir: &Path, name: &str) -> String {
    dir.join(name).to_str().unwrap().to_owned()
}

#[test]
fn the_embedded_model_is_calibrated_exported_and_found_clean() {
    let dir = tempfile::tempdir().unwrap();
    let out = path(dir.path(), "demo");
    let few = ["--calibration-tokens", "100", "--context", "64", "--out", &out];
    let text = ok(&export(&few));
    for word in ["model.onnx", "cache of 64 tokens", "calibration", "no known rule"] {
        assert!(text.contains(word), "{word:?} is missing in: {text}");
    }
    assert!(!Path::new(&format!("{out}.partial")).exists());
    fails(&export(&few), 1, &["exists", "--force"]);

    // Again with the same scales: the same bytes, whatever was there.
    let scales = path(dir.path(), "demo/activation_scales.safetensors");
    let again = path(dir.path(), "again");
    ok(&export(&["--scales", &scales, "--context", "64", "--out", &again]));
    for name in ["model.onnx", "model.onnx.data", "activation_scales.safetensors"] {
        let bytes = |folder| std::fs::read(dir.path().join(folder).join(name)).unwrap();
        assert!(bytes("demo") == bytes("again"), "{name} differs");
    }
    let scales = ["--scales", &scales, "--context", "32", "--out", &again, "--force"];
    let report: Value = serde_json::from_str(&ok(&export(
        &[&scales[..], &["--float", "f16", "--keep-float", "down,output", "--json"]].concat(),
    )))
    .unwrap();
    // Two of each of the six layers.
    assert_eq!(report["float_inputs"], 12, "{report}");
    assert_eq!(report["context"], 32, "{report}");
    assert_eq!(report["lint"]["findings"], serde_json::json!([]), "{report}");
    assert!(report["scales"].as_str().unwrap().ends_with("activation_scales.safetensors"));
}

#[test]
fn what_a_parser_refuses_is_named_and_fails() {
    let dir = tempfile::tempdir().unwrap();
    let (model, out) = (path(dir.path(), "model"), path(dir.path(), "out"));
    let synth = ["synth", "--shape", "tiny", "--out", &model];
    let made = Command::new(env!("CARGO_BIN_EXE_hymt")).args(synth).output().unwrap();
    ok(&made);
    let random = ["--model", &model, "--out", &out, "--context", "16", "--lint", "8.5"];
    fails(&export(&random), 1, &["tokenizer", "--random-calibration"]);
    let random = [&random[..], &["--random-calibration"]].concat();
    let refused = export(&random);
    fails(&refused, 1, &[]);
    let text = String::from_utf8_lossy(&refused.stdout);
    for word in ["TensorRT 8.5", "qdq-int8-constant", "float weights", "and 6 more"] {
        assert!(text.contains(word), "{word:?} is missing in: {text}");
    }
    ok(&export(&[&random[..], &["--float-weights", "--force"]].concat()));

    fails(&export(&["--out", &out, "--context", "0"]), 2, &["--context is 0", "32768"]);
    fails(&export(&["--out", &out, "--lint", "9"]), 2, &["8.5, 10.3, 10.13, 11"]);
    fails(&export(&["--out", &model, "--force"]), 1, &["no 'model.onnx'"]);
    fails(&export(&["--model", "/nowhere", "--out", &out]), 1, &["/nowhere"]);
}
