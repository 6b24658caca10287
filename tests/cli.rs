//! The command line as a user meets it: the real program, its two streams and its exit code.
//!
//! 0 is success, 1 a failure of what was asked for, 2 wrong usage. What fails says so in one
//! readable line on standard error and prints nothing on standard output.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
#[cfg(feature = "dds")]
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

const SENTENCE: &str = "Where is the charging station?";
/// Bytes of the length field in front of a safetensors header.
const HEADER_AT: usize = 8;

/// How a command ended.
struct Ended {
    code: Option<i32>,
    out: String,
    err: String,
}

impl Ended {
    fn new(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).unwrap();
        let ended =
            Self { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) };
        for word in ["panicked", "RUST_BACKTRACE", "stack backtrace"] {
            assert!(!ended.err.contains(word), "{}", ended.err);
        }
        ended
    }

    #[track_caller]
    fn ok(self) -> String {
        assert_eq!(self.code, Some(0), "{}", self.err);
        assert_eq!(self.err, "", "nothing to say beside the result");
        self.out
    }

    #[track_caller]
    fn json(self) -> Value {
        serde_json::from_str(&self.ok()).unwrap()
    }

    /// Failed with `code`, one line, no output, and a message with all of `words`.
    #[track_caller]
    fn fails(self, code: i32, words: &[&str]) {
        self.refused(code, words);
        assert_eq!(self.err.lines().count(), 1, "{}", self.err);
        assert!(self.err.starts_with("hymt: error: "), "{}", self.err);
    }

    /// As [`Self::fails`], in the argument parser's own words, which take several lines.
    #[track_caller]
    fn refused(&self, code: i32, words: &[&str]) {
        assert_eq!(self.code, Some(code), "{}{}", self.out, self.err);
        assert_eq!(self.out, "", "{}", self.err);
        for word in words {
            assert!(self.err.contains(word), "'{word}' is not in: {}", self.err);
        }
    }
}

fn hymt(arguments: &[&str]) -> Ended {
    Ended::new(command(arguments).stdin(Stdio::null()).output().unwrap())
}

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hymt"));
    // What the developer's shell has set must not decide; backtraces are asked for to see that
    // nobody gets one.
    for name in ["RUST_LOG", "ROS_LOCALHOST_ONLY"] {
        command.env_remove(name);
    }
    command.env("ROS_DOMAIN_ID", "205").env("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST");
    command.env("RUST_BACKTRACE", "1").args(arguments);
    command
}

/// Runs with `input` on standard input.
fn hymt_reading(arguments: &[&str], input: &[u8]) -> Ended {
    let mut command = command(arguments);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let (mut stdin, input) = (child.stdin.take().unwrap(), input.to_vec());
    // It may stop reading early; then the rest finds no reader.
    let writer = std::thread::spawn(move || drop(stdin.write_all(&input)));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    Ended::new(output)
}

/// A tiny model folder with random weights and no tokenizer.
fn synth(dtype: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    hymt(&["synth", "--shape", "tiny", "--dtype", dtype, "--out", text(folder.path())]).ok();
    folder
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[cfg(feature = "dds")]
#[test]
fn demo_shows_translations_that_travelled() {
    let started = Instant::now();
    let ended = hymt(&["demo"]);
    let elapsed = started.elapsed();
    assert_eq!(ended.code, Some(0), "{}{}", ended.out, ended.err);
    assert!(!ended.err.contains("ERROR") && !ended.err.contains("error"), "{}", ended.err);
    assert!(elapsed < Duration::from_secs(60), "the demo took {elapsed:?}");
    for shown in [
        "de  Wo ist die Ladestation?",
        "zh  充电站在哪里？",
        "de  Wo ist die Stromtankstelle?",
        "\nNext\n",
        "translate --to zh",
    ] {
        assert!(ended.out.contains(shown), "'{shown}' is not in:\n{}", ended.out);
    }
}

#[cfg(feature = "dds")]
#[test]
fn demo_refuses_an_unknown_language() {
    hymt(&["demo", "--to", "klingon"]).fails(2, &["klingon", "allowed", "zh-Hant"]);
}

#[test]
fn translates_there_and_back() {
    let chinese = hymt(&["translate", "--to", "zh", SENTENCE]).ok();
    assert_eq!(chinese, "充电站在哪里？\n");
    assert_eq!(hymt(&["translate", "--to", "en", chinese.trim()]).ok(), format!("{SENTENCE}\n"));
}

#[test]
fn the_demo_model_says_which_languages_it_knows() {
    let ended = hymt(&["translate", "--to", "ko", SENTENCE]);
    assert_eq!((ended.code, ended.out.as_str()), (Some(1), ""));
    assert!(ended.err.contains("'ko' (Korean); it knows en, zh, de, fr, es, ja"), "{}", ended.err);
}

#[test]
fn several_targets_are_named() {
    let lines = hymt(&["translate", "--to", "de,zh", "--to", "Spanish", SENTENCE]).ok();
    let lines: Vec<_> = lines.lines().collect();
    assert_eq!(lines[..2], ["de: Wo ist die Ladestation?", "zh: 充电站在哪里？"]);
    assert!(lines.len() == 3 && lines[2].starts_with("es: ¿"), "{lines:?}");
}

#[test]
fn a_term_changes_the_output_and_is_reported() {
    let run = |extra: &[&str]| {
        let base = ["translate", "--to", "de", "--json", SENTENCE];
        let mut document = hymt(&[&base[..], extra].concat()).json();
        document["results"][0]["translations"][0].take()
    };
    let plain = run(&[]);
    assert_eq!(plain["text"], "Wo ist die Ladestation?");
    assert_eq!(plain["glossary_applied"], json!([]));
    // The second one does not occur.
    let with = run(&["--term", "charging station=Stromtankstelle", "--term", "elevator=Fahrstuhl"]);
    assert_eq!(with["text"], "Wo ist die Stromtankstelle?");
    assert_eq!(with["glossary_applied"], json!(["charging station=Stromtankstelle"]));
    assert_eq!(with["glossary_missed"], json!([]));
    assert_eq!(with["status"], "OK");
    assert_eq!(with["source"], "en");
    assert!(with["tokens_in"].as_u64() > plain["tokens_in"].as_u64());
}

#[test]
fn a_context_decides_what_it_means() {
    let german = |context| {
        hymt(&["translate", "--from", "en", "--to", "de", "--context", context, "I see it."]).ok()
    };
    // A German jacket is feminine, an umbrella masculine; without either, "it" stays neuter.
    assert_eq!(german("I am looking for a jacket."), "Ich sehe sie.\n");
    assert_eq!(german("I am looking for an umbrella."), "Ich sehe ihn.\n");
    assert_eq!(german(""), "Ich sehe es.\n");
}

#[test]
fn reads_one_text_a_line() {
    let input = "Hello.\r\n\n   \nPlease follow me.\nThank you.".as_bytes();
    let lines = hymt_reading(&["translate", "--from", "en", "--to", "de", "-"], input).ok();
    assert_eq!(lines.lines().count(), 3, "{lines}");
    let document =
        hymt_reading(&["translate", "--from", "en", "--to", "de", "--json", "-"], input).json();
    let results = document["results"].as_array().unwrap();
    let texts: Vec<_> = results.iter().map(|r| r["text"].as_str().unwrap()).collect();
    assert_eq!(texts, ["Hello.", "Please follow me.", "Thank you."]);
    for (result, line) in results.iter().zip(lines.lines()) {
        assert_eq!(result["translations"][0]["text"], line);
    }
}

#[test]
fn languages_are_listed() {
    assert_eq!(hymt(&["languages"]).ok().lines().count(), 38);
    let document = hymt(&["languages", "--json"]).json();
    let rows = document["languages"].as_array().unwrap();
    assert_eq!(rows.len(), 38);
    assert!(rows.iter().any(|row| row["code"] == "de" && row["english"] == "German"));
}

#[test]
fn a_reader_that_leaves_early_is_no_failure() {
    for arguments in [&["languages"][..], &["translate", "--help"]] {
        let mut child = command(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut first = String::new();
        BufReader::with_capacity(1, child.stdout.take().unwrap()).read_line(&mut first).unwrap();
        assert!(!first.trim().is_empty());
        let mut err = String::new();
        child.stderr.take().unwrap().read_to_string(&mut err).unwrap();
        assert_eq!((child.wait().unwrap().code(), err.as_str()), (Some(0), ""), "{arguments:?}");
    }
}

#[test]
fn doctor_finds_this_machine_ready() {
    let document = hymt(&["doctor", "--json"]).json();
    assert_eq!(document["ok"], true, "{document}");
    let findings = document["findings"].as_array().unwrap();
    for what in ["processor", "memory", "model", "translates", "loopback"] {
        let finding = findings.iter().find(|finding| finding["what"] == what);
        assert!(finding.is_some_and(|finding| finding["state"] != "FAIL"), "{what}: {document}");
    }
}

#[test]
fn doctor_reports_a_model_that_is_not_there() {
    let ended = hymt(&["doctor", "--model", "/no/such/model"]);
    assert_eq!(ended.code, Some(1));
    assert!(ended.out.contains("FAIL model      model folder '/no/such/model' not found"));
}

#[test]
fn inspect_describes_a_model() {
    let folder = synth("bf16");
    let document = hymt(&["inspect", "--model", text(folder.path()), "--json"]).json();
    let config: Value =
        serde_json::from_slice(&std::fs::read(folder.path().join("config.json")).unwrap()).unwrap();
    assert_eq!(document["layers"], config["num_hidden_layers"]);
    assert_eq!(document["vocabulary"], config["vocab_size"]);
    let demo = hymt(&["inspect"]).ok();
    assert!(demo.contains("vocabulary    3584"), "{demo}");
}

#[test]
fn inspect_names_format_quantisation_and_family() {
    let formats = Path::new(env!("CARGO_MANIFEST_DIR")).join("crates/llm/tests/golden/formats");
    for (name, format, stored_as) in [
        ("fp8", "safetensors", "FP8 E4M3"),
        ("gptq-v1", "safetensors", "GPTQ v1 INT4"),
        ("gptq-v2-desc-act", "safetensors", "GPTQ v2 INT4"),
        ("packed-int4", "safetensors", "compressed-tensors packed INT4"),
        ("int8-group", "safetensors", "compressed-tensors INT8"),
        ("mixed.gguf", "GGUF", "Q4_0, Q4_K, Q5_K, Q6_K, Q8_0"),
    ] {
        let path = formats.join(name);
        let document = hymt(&["inspect", "--model", text(&path), "--json"]).json();
        assert_eq!(document["format"], format, "{name}");
        assert_eq!(document["stored_as"], stored_as, "{name}");
        assert_eq!(document["quantized"], true, "{name}");
        let family = document["family"].as_str().unwrap();
        let expected = if format == "GGUF" { "HY-MT 1.8B" } else { "unknown: " };
        assert!(family.starts_with(expected), "{name}: {family}");
    }
    let demo = hymt(&["inspect", "--json"]).json();
    assert_eq!(demo["family"], "HY-MT 1.8B (hy_User, hy_Assistant)");
    let folder = synth("bf16");
    let plain = hymt(&["inspect", "--model", text(folder.path()), "--json"]).json();
    assert_eq!(
        (&plain["stored_as"], &plain["quantized"]),
        (&json!("not quantised"), &json!(false))
    );
}

#[test]
fn a_gguf_file_is_a_model() {
    let file =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("crates/llm/tests/golden/formats/mixed.gguf");
    let arguments = ["--to", "de", "--from", "en", "--model", text(&file), "hi"];
    // Its weights are random, so that it runs is all there is to see.
    let out = hymt(&[&["translate", "--json"][..], &arguments[..]].concat());
    assert_ne!(out.code, Some(2));
    assert!(!out.err.contains("cannot load"), "{}", out.err);
    let folder = tempfile::tempdir().unwrap();
    let cut = folder.path().join("cut.gguf");
    std::fs::write(&cut, &std::fs::read(&file).unwrap()[..100_000]).unwrap();
    hymt(&["inspect", "--model", text(&cut)]).fails(1, &["cut.gguf", "was it cut short"]);
}

#[test]
fn inspect_prints_logits_without_a_tokenizer() {
    for dtype in ["f32", "bf16", "int8"] {
        let folder = synth(dtype);
        assert!(!folder.path().join("tokenizer.json").exists());
        let run = |tokens| {
            let model = ["inspect", "--model", text(folder.path())];
            hymt(&[&model[..], &["--tokens", tokens, "--logits", "--json"]].concat()).json()
        };
        let document = run("1,2,3");
        assert_eq!(document.as_object().unwrap().len(), 1, "logits and nothing else");
        let rows = document["logits"].as_array().unwrap();
        assert_eq!(rows.len(), 3);
        for row in rows {
            let row = row.as_array().unwrap();
            assert_eq!(row.len(), vocab_size(folder.path()));
            assert!(row.iter().all(|logit| logit.as_f64().is_some_and(f64::is_finite)));
        }
        // What comes later does not change what came before.
        let other = run("1,2,9");
        assert_eq!(other["logits"][1], document["logits"][1]);
        assert_ne!(other["logits"][2], document["logits"][2]);
    }
}

fn vocab_size(folder: &Path) -> usize {
    let bytes = std::fs::read(folder.join("config.json")).unwrap();
    let config: Value = serde_json::from_slice(&bytes).unwrap();
    config["vocab_size"].as_u64().unwrap() as usize
}

#[test]
fn inspect_refuses_tokens_outside_the_vocabulary() {
    let folder = synth("f32");
    let model = text(folder.path());
    hymt(&["inspect", "--model", model, "--tokens", "1,300"]).fails(1, &["300", "vocabulary"]);
    hymt(&["inspect", "--model", model, "--tokens", "1,two"]).refused(2, &["two", "--tokens"]);
    hymt(&["inspect", "--model", model, "--logits"]).refused(2, &["--tokens"]);
}

#[test]
fn bench_measures_every_stored_type() {
    for dtype in ["f32", "bf16", "int8"] {
        let folder = synth(dtype);
        let sizes = ["--prompt-tokens", "8", "--new-tokens", "4", "--batch", "2", "--runs", "1"];
        let also = ["--guesses", "3", "--compare", "60"];
        let bench = [&["bench", "--json", "--model", text(folder.path())], &also[..]].concat();
        let document = hymt(&[&bench[..], &sizes].concat()).json();
        let figure = |key: &str| {
            let value = document[key].as_f64();
            value.unwrap_or_else(|| panic!("{key}: {document}"))
        };
        for key in ["load_ms", "prefill_ms", "decode_ms_per_token", "decode_gb_per_s"] {
            assert!(figure(key) >= 0.0, "{key}: {document}");
        }
        assert_eq!(document["guesses"], 3);
        assert!(figure("verify_ms_per_step") > 0.0);
        for key in ["tokens_per_s", "peak_rss_mib", "memory_read_gb_per_s", "weights_mib"] {
            assert!(figure(key) > 0.0, "{key}: {document}");
        }
        assert!(figure("first_token_ms") > figure("load_ms"));
        assert!(figure("sentence_ms") > figure("prefill_ms"));
        // Of a GPU only.
        for key in ["device", "memory_copy_gb_per_s", "percent_of_copy", "free_mib"] {
            assert!(document[key].is_null(), "{key}: {document}");
        }
        // The CPU engine against itself.
        assert_eq!(document["compare"]["positions"], 60, "{document}");
        assert_eq!(document["compare"]["same_best_token"], 60, "{document}");
        assert_eq!(document["compare"]["relative_error"], 0.0, "{document}");
    }
    // One new token comes out of the prefill, so there would be nothing to measure.
    hymt(&["bench", "--new-tokens", "1"]).fails(2, &["--new-tokens", "1", "2 to 8192"]);
    hymt(&["bench", "--batch", "65"]).fails(2, &["--batch", "65", "1 to 64"]);
    hymt(&["bench", "--batch", "64", "--guesses", "8"]).fails(1, &["--guesses 8", "576", "512"]);
    hymt(&["bench", "--guesses", "33"]).fails(2, &["--guesses", "33", "0 to 32"]);
    hymt(&["bench", "--compare", "0"]).fails(2, &["--compare", "0", "1 to 10000"]);
}

#[test]
fn synth_writes_the_same_bytes_for_the_same_seed() {
    let weights =
        |folder: &TempDir| std::fs::read(folder.path().join("model.safetensors")).unwrap();
    assert_eq!(weights(&synth("bf16")), weights(&synth("bf16")));
    let folder = synth("int8");
    let file = folder.path().join("config.json");
    hymt(&["synth", "--shape", "tiny", "--out", text(&file)]).fails(1, &["cannot write", "config"]);
    hymt(&["synth", "--shape", "huge", "--out", "x"]).refused(2, &["huge", "1.8b", "tiny"]);
}

/// The command in the README, word for word, up to the line in which the node is ready.
#[cfg(feature = "dds")]
#[test]
fn the_node_starts_as_the_readme_says() {
    use std::io::BufRead as _;

    let readme = std::fs::read_to_string("README.md").unwrap();
    let line = readme.lines().find(|line| line.starts_with("cargo run --release -- node")).unwrap();
    let arguments = line.strip_prefix("cargo run --release -- ").unwrap();
    let program = env!("CARGO_BIN_EXE_hymt");
    let mut node = std::process::Command::new("sh")
        // `exec`, so that the signal below reaches the node.
        .args(["-c", &format!("exec {program} {arguments}")])
        .env("ROS_DOMAIN_ID", (110 + std::process::id() % 91).to_string())
        .env("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
        .env_remove("RUST_LOG")
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let lines = std::io::BufReader::new(node.stderr.take().unwrap()).lines();
    let mut seen = Vec::new();
    for line in lines.map_while(Result::ok) {
        let is_ready = line.ends_with("ready");
        seen.push(line);
        if is_ready {
            break;
        }
    }
    let _ = node.kill();
    let _ = node.wait();
    let seen = seen.join("\n");
    assert!(seen.ends_with("ready"), "{seen}");
    for part in ["hears      /whisper/text", "/translator/fr/text", "targets    fr, ja"] {
        assert!(seen.contains(part), "{part}: {seen}");
    }
}

#[cfg(feature = "dds")]
#[test]
fn node_help_names_every_parameter() {
    let help = hymt(&["node", "--help"]).ok();
    let (store, _) = hymt_ros::parameters::declare(&[]).unwrap();
    let declarations = store.declarations();
    assert!(declarations.len() > 10);
    for name in declarations.iter().map(|declaration| &declaration.name) {
        assert!(help.contains(&format!("  {name} (")), "{name} is not in the help");
    }
    hymt(&["node", "--nonsense"]).fails(2, &["--nonsense", "--ros-args"]);
}

#[test]
fn wrong_usage_is_refused() {
    let translate = |arguments: &[&str]| hymt(&[&["translate"], arguments].concat());
    translate(&["--too", "de", "hi"]).refused(2, &["error:", "'--too'", "--to"]);
    translate(&["hi"]).refused(2, &["error:", "--to <LANG,...>"]);
    translate(&["--to", "grman", "hi"]).fails(2, &["'grman'", "did you mean 'de'", "allowed: zh"]);
    translate(&["--to", "de", "--from", "englsh", "hi"]).fails(2, &["'englsh'", "'en'", "auto"]);
    translate(&["--to", "de,German", "hi"]).fails(2, &["German", "twice"]);
    translate(&["--to", "de", ""]).fails(2, &["text is empty"]);
    translate(&["--to", "de", " \t "]).fails(2, &["text is empty"]);
    translate(&["--to", "de", "--term", "dock", "hi"])
        .fails(2, &["'dock'", "'='", "source=target"]);
    translate(&["--to", "de", "--term", "=x", "hi"]).fails(2, &["'=x'", "empty source"]);
    translate(&["--to", "de", "--engine", "cdua", "hi"]).refused(2, &["'cdua'", "'cuda'?", "cpu"]);
    hymt(&["tranlate"]).refused(2, &["tranlate", "translate"]);
}

#[cfg(not(feature = "tensorrt-shim"))]
#[test]
fn an_engine_that_is_not_built_is_refused_everywhere() {
    let words = ["'tensorrt'", "not part of this build", "available: auto, cpu,"];
    hymt(&["translate", "--to", "de", "--engine", "tensorrt", "hi"]).fails(2, &words);
    for command in ["inspect", "bench"] {
        hymt(&[command, "--engine", "tensorrt"]).fails(2, &words);
    }
    #[cfg(feature = "dds")]
    hymt(&["demo", "--engine", "tensorrt"]).fails(2, &words);
    #[cfg(feature = "dds")]
    hymt(&["node", "--ros-args", "-p", "engine:=tensorrt"]).fails(2, &words);
}

/// Where TensorRT cannot be opened, `build` says what is missing and `info` makes it its report.
#[cfg(all(feature = "tensorrt", not(feature = "tensorrt-shim")))]
#[test]
fn what_tensorrt_lacks_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let cache = folder.path().to_str().unwrap();
    let missing = "libnvinfer-dev";
    hymt(&["engine", "build", "--cache", cache]).fails(1, &["built without TensorRT", missing]);
    hymt(&["engine", "build", "--device", "dla2"]).refused(2, &["'dla2'", "dla0, dla1"]);
    std::fs::write(folder.path().join("hymt-1.json"), "{}").unwrap();
    let report = hymt(&["engine", "info", "--cache", cache, "--json"]).json();
    assert!(report["headers"]["missing"].as_str().unwrap().contains(missing), "{report}");
    assert_eq!(report["plans"], json!([]));
    assert_eq!(report["refused"].as_array().unwrap().len(), 1, "{report}");
    let dla = ["translate", "--to", "de", "--engine", "cpu", "--gpu-device", "dla0", "hi"];
    hymt(&dla).fails(1, &["gpu.device is dla0", "engine is cpu"]);
    let dla = ["translate", "--to", "de", "--gpu-device", "dla0", "hi"];
    hymt(&dla).fails(1, &["built without TensorRT"]);
}

#[test]
fn bad_standard_input_is_refused() {
    let read = |input: &[u8]| hymt_reading(&["translate", "--to", "de", "-"], input);
    read(b"a\0b\n").fails(2, &["line 1", "U+0000", "remove it"]);
    read(b"caf\xe9\n").fails(2, &["line 1", "not UTF-8", "byte 3"]);
    read(&[b'a'; 1_000_000]).fails(2, &["line 1", "1000000 characters", "limit is 4000"]);
    read(&[b'a'; (1 << 20) + 5]).fails(2, &["line 1", "1048576 bytes", "parts"]);
}

/// What a damaged model folder holds.
struct Damage {
    folder: TempDir,
}

impl Damage {
    fn new() -> Self {
        Self { folder: synth("f32") }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn config(self, change: impl FnOnce(&mut serde_json::Map<String, Value>)) -> Self {
        let path = self.file("config.json");
        let mut config: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        change(config.as_object_mut().unwrap());
        std::fs::write(path, config.to_string()).unwrap();
        self
    }

    fn weights(self, change: impl FnOnce(&mut Vec<u8>)) -> Self {
        let path = self.file("model.safetensors");
        let mut bytes = std::fs::read(&path).unwrap();
        change(&mut bytes);
        std::fs::write(path, bytes).unwrap();
        self
    }

    /// The engine's own commands refuse the folder for the reason in `words`.
    #[track_caller]
    fn fails(&self, words: &[&str]) {
        let model = text(self.folder.path());
        hymt(&["inspect", "--model", model, "--tokens", "1"]).fails(1, words);
        hymt(&["bench", "--model", model, "--json"]).fails(1, words);
    }
}

#[test]
fn damaged_models_are_refused() {
    let damaged = |change: fn(&mut serde_json::Map<String, Value>)| Damage::new().config(change);
    damaged(|c| drop(c.remove("hidden_size"))).fails(&["config.json", "'hidden_size' is missing"]);
    damaged(|c| drop(c.insert("vocab_size".into(), json!(1u64 << 60)))).fails(&[
        "config.json",
        "'vocab_size' is 1152921504606846976",
        "allowed",
    ]);
    damaged(|c| drop(c.insert("intermediate_size".into(), json!(64)))).fails(&[
        "mlp",
        "model.safetensors",
        "has shape",
        "expected",
    ]);
    Damage::new().weights(|bytes| bytes.truncate(bytes.len() / 2)).fails(&["model.safetensors"]);
    Damage::new().weights(|bytes| bytes.truncate(5)).fails(&["damaged", "model.safetensors"]);
    Damage::new().weights(|bytes| bytes[HEADER_AT] = b'x').fails(&["damaged", "model.safetensors"]);
    Damage::new()
        .weights(|bytes| bytes[..HEADER_AT].fill(0xff))
        .fails(&["damaged", "model.safetensors"]);
}

#[test]
fn what_is_no_model_folder_is_refused() {
    let translate = |model: &Path| {
        hymt(&["translate", "--to", "de", "--from", "en", "--model", text(model), "hi"])
    };
    translate(Path::new("/no/such/model")).fails(1, &["'/no/such/model' not found", "config.json"]);
    hymt(&["inspect", "--model", "/no/such/model"]).fails(1, &["'/no/such/model' not found"]);
    let damage = Damage::new();
    translate(&damage.file("config.json")).fails(1, &["config.json' is a file", "folder"]);
    // A complete folder but for the tokenizer, which only translation needs.
    translate(damage.folder.path()).fails(1, &["tokenizer.json", text(damage.folder.path())]);
    std::fs::remove_file(damage.file("config.json")).unwrap();
    translate(damage.folder.path()).fails(1, &["not a model folder", "config.json"]);
    std::fs::write(damage.file("config.json"), "{\"a\": ").unwrap();
    damage.fails(&["config.json", "not valid JSON", "line 1"]);
}
