//! `hymt engine build` and `info` from the command line, against the FAKE TensorRT of
//! `crates/tensorrt/tests/fake`, which is the CUDA driver too. Nothing is learnt about TensorRT.

#![cfg(feature = "tensorrt-shim")]
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]
#![allow(clippy::print_stderr, reason = "what a test lacks is said aloud")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use hymt_llm::synth::{SynthDtype, SynthOptions, SynthShape, write_model};
use hymt_tensorrt::plan::prune::PLANS_MAX;
use serde_json::{Value, json};

/// Path of `libfake_nvinfer.so`.
const ENV_FAKE: &str = "HYMT_FAKE_TENSORRT";

/// A tiny model, an empty cache, and the fake.
struct Board {
    folder: tempfile::TempDir,
    fake: PathBuf,
}

impl Board {
    fn new() -> Option<Self> {
        let Some(fake) = std::env::var_os(ENV_FAKE) else {
            let how =
                format!("{ENV_FAKE} is not set; crates/tensorrt/tests/fake/build.sh builds it");
            assert!(std::env::var_os("HYMT_REQUIRE_PEERS").is_none(), "{how}");
            eprintln!("SKIPPED: {how}");
            return None;
        };
        let fake = PathBuf::from(fake).canonicalize().unwrap();
        let folder = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink(&fake, folder.path().join("libcuda.so.1")).unwrap();
        let board = Self { folder, fake };
        board.synth("model", 3);
        Some(board)
    }

    /// Writes a tiny model; all have the same shape.
    fn synth(&self, name: &str, seed: u64) {
        let synth = SynthOptions { shape: SynthShape::Tiny, dtype: SynthDtype::Bf16, seed };
        write_model(&self.folder.path().join(name), &synth, &mut |_| {}).unwrap();
    }

    /// Exports a model into a new folder.
    fn export(&self, model: &str, out: &str, arguments: &[&str]) -> PathBuf {
        let out = self.folder.path().join(out);
        let exported = Command::new(env!("CARGO_BIN_EXE_hymt"))
            .args(["engine", "export-onnx", "--random-calibration", "--context", "64"])
            .args(["--lint", "11"])
            .args(arguments)
            .args([Path::new("--model"), &self.folder.path().join(model)])
            .args([Path::new("--out"), &out])
            .output()
            .unwrap();
        assert!(exported.status.success(), "{}", String::from_utf8_lossy(&exported.stderr));
        out
    }

    fn cache(&self) -> PathBuf {
        self.folder.path().join("plans")
    }

    /// Runs `hymt engine` with this model and cache.
    fn engine(&self, arguments: &[&str], variables: &[(&str, &str)]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_hymt"))
            .arg("engine")
            .args(arguments)
            .arg("--model")
            .arg(self.folder.path().join("model"))
            .arg("--cache")
            .arg(self.cache())
            .env("LD_LIBRARY_PATH", self.folder.path())
            .env("HYMT_NVINFER", &self.fake)
            .env("HYMT_NVONNXPARSER", &self.fake)
            .envs(variables.iter().copied())
            .output()
            .unwrap()
    }

    fn build(&self, arguments: &[&str], variables: &[(&str, &str)]) -> Output {
        let fixed = ["build", "--random-calibration", "--context", "64"];
        self.engine(&[&fixed, arguments].concat(), variables)
    }

    /// Ends of the names of what is in the cache.
    fn kept(&self) -> Vec<String> {
        let entries = fs::read_dir(self.cache()).unwrap();
        let end = |path: &Path| path.extension().unwrap_or_default().to_string_lossy().into_owned();
        let mut ends: Vec<String> = entries.map(|entry| end(&entry.unwrap().path())).collect();
        ends.sort();
        ends
    }
}

fn json(output: &Output) -> Value {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn refusal(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stdout));
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[test]
fn a_plan_is_built_once_and_judged_afterwards() {
    let Some(board) = Board::new() else { return };
    let built = json(&board.build(&["--json"], &[]));
    assert_eq!(built["result"], "built");
    let key = &built["description"]["key"];
    assert_eq!((&key["device"], &key["sm"]), (&"Fake GPU".into(), &87.into()));
    assert!(built["description"]["layers"]["total"].as_u64().unwrap() > 10, "{built}");
    assert!(Path::new(built["plan"].as_str().unwrap()).is_file());
    assert_eq!(
        board.kept(),
        ["json", "lock", "plan", "timing"],
        "the export and parts of files are gone"
    );
    let again = json(&board.build(&["--json"], &[]));
    assert!(again["result"].as_str().unwrap().contains("fresh"), "{again}");
    assert_eq!(again["plan"], built["plan"]);

    let state = |variables: &[(&str, &str)]| {
        let info = json(&board.engine(&["info", "--json"], variables));
        assert_eq!(info["gpu"]["sm"], 87, "{info}");
        (info["plans"][0]["state"].clone(), info["plans"][0]["why"].clone())
    };
    assert_eq!(state(&[]), ("fresh".into(), Value::Null));
    let (word, why) = state(&[("HYMT_FAKE_GPU", "Another GPU")]);
    assert_eq!(word, "stale");
    let expected = "device name: built on Fake GPU, this is Another GPU: rebuild with";
    assert!(why.as_str().unwrap().starts_with(expected), "{why}");
    // Another file of the model is another model.
    fs::write(board.folder.path().join("model/extra.json"), "{}").unwrap();
    let (_, why) = state(&[]);
    assert!(why.as_str().unwrap().starts_with("the model's files changed"), "{why}");
}

#[test]
fn the_oldest_plan_makes_room() {
    let Some(board) = Board::new() else { return };
    let build = |slots: usize| json(&board.build(&["--json", "--slots", &slots.to_string()], &[]));
    let first = build(1);
    // Without relying on the clock's resolution.
    let file = fs::File::options().write(true).open(first["plan"].as_str().unwrap()).unwrap();
    file.set_modified(std::time::UNIX_EPOCH).unwrap();
    for slots in 2..=PLANS_MAX {
        assert_eq!(build(slots)["removed"], json!([]), "{slots}");
    }
    let one_more = build(PLANS_MAX + 1);
    assert_eq!(one_more["removed"], json!([first["plan"]]));
    assert_eq!(board.kept().iter().filter(|end| *end == "plan").count(), PLANS_MAX);
    assert!(Path::new(one_more["plan"].as_str().unwrap()).is_file());
}

#[test]
fn builds_that_cannot_be_say_why_and_leave_the_old_plan() {
    let Some(board) = Board::new() else { return };
    json(&board.build(&["--json"], &[]));
    let switches = |switches| [("HYMT_FAKE_TENSORRT_SET", switches)];
    for (arguments, variables, reason) in [
        (&["--force"][..], switches("kill=buildSerializedNetwork"), "killed by signal 9"),
        (&["--force"], switches("fail=buildSerializedNetwork"), "cannot build the engine"),
        (&["--device", "dla0"], switches("dla_cores=0"), "no DLA core 0"),
        (&["--device", "dla0"], switches("dla_cores=2"), "with --allow-gpu-fallback"),
        (&["--slots", "2", "--workspace-mib", "900000000"], switches(""), "MiB are free"),
    ] {
        let said = refusal(&board.build(arguments, &variables));
        assert!(said.contains(reason), "{arguments:?}: {said}");
        let mut kept = board.kept();
        kept.dedup();
        assert_eq!(kept, ["json", "lock", "plan", "timing"], "{arguments:?}");
    }
    let fallback = ["--device", "dla1", "--allow-gpu-fallback", "--json"];
    let built = json(&board.build(&fallback, &switches("dla_cores=2")));
    let layers = &built["description"]["layers"];
    let (on_dla, total) = (layers["on_dla"].as_u64().unwrap(), layers["total"].as_u64().unwrap());
    assert!(on_dla > 0 && on_dla < total, "{layers}");
    assert_eq!(built["description"]["key"]["target"], "dla1");
    let info =
        json(&board.engine(&["info", "--json", "--device", "dla1"], &switches("dla_cores=2")));
    assert_eq!(info["dla_cores"], 2, "{info}");
    let fresh = info["plans"].as_array().unwrap().iter().filter(|plan| plan["state"] == "fresh");
    assert_eq!(fresh.count(), 1, "{info}");
}

#[test]
fn the_plan_of_another_graph_is_another_plan() {
    let Some(board) = Board::new() else { return };
    let usual = json(&board.build(&["--json"], &[]));
    assert_eq!(usual["description"]["key"]["precision"], "int8-f16-random-scales");
    let graph = board.export("model", "graph", &["--keep-float", "down", "--float", "f16"]);
    let other = json(&board.build(&["--onnx", graph.to_str().unwrap(), "--json"], &[]));
    assert_eq!(other["result"], "built", "it passed for the usual one");
    assert_ne!(other["plan"], usual["plan"]);
}

#[test]
fn a_plan_of_another_level_or_workspace_is_another_plan() {
    let Some(board) = Board::new() else { return };
    let mut plans = vec![json(&board.build(&["--json"], &[]))["plan"].clone()];
    for arguments in [["--level", "5"], ["--level", "0"], ["--workspace-mib", "64"]] {
        let built = json(&board.build(&[&arguments[..], &["--json"]].concat(), &[]));
        assert_eq!(built["result"], "built", "{arguments:?} changed nothing");
        assert!(!plans.contains(&built["plan"]), "{arguments:?}");
        plans.push(built["plan"].clone());
        let again = json(&board.build(&[&arguments[..], &["--json"]].concat(), &[]));
        assert!(again["result"].as_str().unwrap().contains("fresh"), "{again}");
    }
    // The engine takes any of them.
    let info = json(&board.engine(&["info", "--json"], &[]));
    let fresh = info["plans"].as_array().unwrap().iter().filter(|plan| plan["state"] == "fresh");
    assert_eq!(fresh.count(), plans.len(), "{info}");
}

/// Of the same shape, so that nothing but the file itself says that it is another model's.
#[test]
fn the_graph_of_another_model_is_refused() {
    let Some(board) = Board::new() else { return };
    board.synth("other", 4);
    let graph = board.export("other", "graph", &[]);
    let said = refusal(&board.build(&["--onnx", graph.to_str().unwrap()], &[]));
    let named = format!("'{}' was exported from another model", graph.join("model.onnx").display());
    assert!(said.contains(&named) && said.contains("hymt engine export-onnx"), "{said}");
    assert!(!board.cache().exists(), "a plan of another model is kept");
}

#[test]
fn what_cannot_be_is_refused_before_the_export() {
    let Some(board) = Board::new() else { return };
    for (argument, value) in [("--slots", "0"), ("--slots", "70000"), ("--context", "0")] {
        let refused = board.engine(&["build", "--random-calibration", argument, value], &[]);
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(!refused.status.success() && said.contains("allowed: 1 to"), "{said}");
        assert!(!board.cache().exists(), "{argument}");
    }
    // A name that is no text ends the command with words, not with a panic.
    use std::os::unix::ffi::OsStrExt as _;
    let cache = board.folder.path().join(std::ffi::OsStr::from_bytes(b"pl\xffans"));
    let refused = Command::new(env!("CARGO_BIN_EXE_hymt"))
        .args(["engine", "build", "--random-calibration", "--context", "64", "--model"])
        .args([&board.folder.path().join("model"), Path::new("--cache"), &cache])
        .env("LD_LIBRARY_PATH", board.folder.path())
        .env("HYMT_NVINFER", &board.fake)
        .env("HYMT_NVONNXPARSER", &board.fake)
        .output()
        .unwrap();
    assert!(refusal(&refused).contains("UTF-8"));
}
