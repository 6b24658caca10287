//! `hymt quantize` as a user meets it: the real program, from a checkpoint to a translation.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[path = "support/ended.rs"]
mod ended;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

use crate::ended::{fails, ok};

fn hymt(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_hymt")).args(arguments).output().unwrap()
}

fn demo() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("models/demo/bf16")
}

#[test]
fn a_checkpoint_becomes_an_int8_model_that_translates() {
    let dir = tempfile::tempdir().unwrap();
    let (model, out) = (demo(), dir.path().join("Hy-MT2-demo-INT8"));
    let (model, out) = (model.to_str().unwrap(), out.to_str().unwrap());
    // Few tokens: an unoptimised build takes a minute for all of them.
    let quantize = ["quantize", "--model", model, "--out", out, "--calibration-tokens", "200"];
    let report: Value =
        serde_json::from_str(&ok(&hymt(&[&quantize[..], &["--json"]].concat()))).unwrap();
    assert_eq!(report["folds"], 24, "{report}");
    assert!(report["calibration_tokens"].as_u64().unwrap() > 100, "{report}");
    assert!(
        report["error"].as_f64().unwrap() < report["error_plain"].as_f64().unwrap(),
        "{report}"
    );
    assert!(!Path::new(&format!("{out}.partial")).exists());
    let sentence = "Where is the charging station?";
    let translate = ["translate", "--model", out, "--engine", "cpu", "--to", "de", sentence];
    assert!(ok(&hymt(&translate)).contains("Wo ist die Ladestation?"));

    fails(&hymt(&quantize), 1, &["exists", "--force"]);
    let again = dir.path().join("again");
    let again = again.to_str().unwrap();
    fails(&hymt(&["quantize", "--model", out, "--out", again]), 1, &["quantised already"]);
}

#[test]
fn synthetic_models_are_quantised_with_random_tokens() {
    let dir = tempfile::tempdir().unwrap();
    let (model, out) = (dir.path().join("random"), dir.path().join("random-int8"));
    let (model, out) = (model.to_str().unwrap(), out.to_str().unwrap());
    ok(&hymt(&["synth", "--shape", "tiny", "--out", model]));
    let quantize = ["quantize", "--model", model, "--out", out];
    fails(&hymt(&quantize), 1, &["--random-calibration"]);
    let random = ["--random-calibration", "--calibration-tokens", "300", "--kv-cache-scales"];
    assert!(ok(&hymt(&[&quantize[..], &random].concat())).contains("smoothed"));
    let bench =
        ["bench", "--model", out, "--prompt-tokens", "4", "--new-tokens", "2", "--runs", "1"];
    ok(&hymt(&bench));
}

#[test]
fn wrong_arguments_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (model, out) = (demo(), dir.path().join("out"));
    let (model, out) = (model.to_str().unwrap(), out.to_str().unwrap());
    let lines = dir.path().join("lines.txt");
    std::fs::write(&lines, "Hello\tklingon\n").unwrap();
    let lines = lines.to_str().unwrap();
    for (arguments, code, words) in [
        (&["--calibration-tokens", "0"][..], 2, &["1 to 16384"][..]),
        (&["--smoothing", "1.5"], 2, &["0 to 1"]),
        (&["--calibration", lines], 1, &["line 1", "klingon"]),
        (&["--calibration", "nowhere.txt"], 1, &["nowhere.txt"]),
        (&["--calibration-tokens", "5"], 1, &["within 5 tokens"]),
    ] {
        let all = [&["quantize", "--model", model, "--out", out][..], arguments].concat();
        fails(&hymt(&all), code, words);
        assert!(!Path::new(out).exists(), "{arguments:?}");
    }
    fails(&hymt(&["quantize", "--model", "nowhere", "--out", out]), 1, &["nowhere", "not found"]);
}
