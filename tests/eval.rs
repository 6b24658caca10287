//! The figures of `hymt eval` against what we did not write (sacreBLEU and numpy, by the golden
//! files of `tests/eval/make_golden.py`), and the command on the demo model.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use hymt_ros::eval::bleu::{BleuStats, Tokenizer};
use hymt_ros::eval::chrf::{CHRF_PP_SIGNATURE, CHRF_SIGNATURE, ChrfStats};
use hymt_ros::eval::divergence::{Divergences, divergence};
use serde_json::Value;

/// Largest difference of a score from sacreBLEU's, which both compute in f64. Points of 100.
const SCORE_TOLERANCE: f64 = 1e-9;
/// Largest relative difference of a divergence from numpy's, which adds pairwise.
const KL_TOLERANCE: f64 = 1e-9;
/// A sum of a hundred terms near 1 that cancel is no more exact than this. Nats.
const KL_ROUNDING: f64 = 1e-13;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn golden(name: &str) -> Value {
    let text = std::fs::read_to_string(root().join("tests/eval").join(name)).unwrap();
    serde_json::from_str(&text).unwrap()
}

#[test]
fn scores_equal_those_of_sacrebleu() {
    let golden = golden("scores.json");
    let corpora = golden["corpora"].as_array().unwrap();
    assert!(corpora.len() > 300, "only {} corpora", corpora.len());
    for corpus in corpora {
        let pairs: Vec<(&str, &str)> =
            corpus["pairs"].as_array().unwrap().iter().map(pair).collect();
        let expect = |name: &str, got: f64, signature: &str| {
            let score = corpus[name].as_f64().unwrap();
            let at = &pairs[..pairs.len().min(2)];
            assert!((got - score).abs() <= SCORE_TOLERANCE, "{name}: {got}, {score} of {at:?}");
            let metric = name.trim_start_matches("bleu_");
            assert_eq!(corpus[format!("signature_{metric}")], signature);
        };
        for tokenizer in [Tokenizer::V13a, Tokenizer::Zh, Tokenizer::Char] {
            let mut stats = BleuStats::default();
            pairs.iter().for_each(|(ours, reference)| stats.add(tokenizer, ours, reference));
            let name = format!("bleu_{}", tokenizer.name());
            expect(&name, stats.score(), &tokenizer.signature());
        }
        let mut stats = ChrfStats::default();
        pairs.iter().for_each(|(ours, reference)| stats.add(ours, reference));
        expect("chrf", stats.chrf(), CHRF_SIGNATURE);
        expect("chrf_pp", stats.chrf_pp(), CHRF_PP_SIGNATURE);
    }
}

fn pair(pair: &Value) -> (&str, &str) {
    (pair[0].as_str().unwrap(), pair[1].as_str().unwrap())
}

#[test]
fn divergences_equal_those_of_numpy() {
    let golden = golden("divergence.json");
    let mut all = Divergences::default();
    let mut kls = Vec::new();
    for row in golden.as_array().unwrap() {
        let logits = |name: &str| -> Vec<f32> {
            row[name].as_array().unwrap().iter().map(|x| x.as_f64().unwrap() as f32).collect()
        };
        let got = divergence(&logits("reference"), &logits("model"));
        let kl = row["kl"].as_f64().unwrap();
        let tolerance = KL_TOLERANCE * kl.abs() + KL_ROUNDING;
        assert!((got.kl - kl).abs() <= tolerance, "{}, {kl} by numpy", got.kl);
        assert_eq!(got.same_top, row["same_top"]);
        all.add(got);
        kls.push(kl);
    }
    assert_eq!(all.positions(), kls.len());
    let mean = kls.iter().sum::<f64>() / kls.len() as f64;
    assert!((all.kl_mean() - mean).abs() <= KL_TOLERANCE * mean);
    assert_eq!(all.kl_max(), all.kl_p99(), "of ten positions the largest is the 99th percentile");
}

#[test]
fn the_golden_files_are_what_sacrebleu_says_today() {
    let python = std::env::var_os("HYMT_EVAL_PYTHON").unwrap_or_else(|| "python3".into());
    let has_packages = Command::new(&python)
        .args(["-c", "import sacrebleu, numpy; assert sacrebleu.__version__[0] == '2'"])
        .output()
        .is_ok_and(|output| output.status.success());
    if !has_packages {
        eprintln!(
            "SKIPPED: {python:?} has no sacrebleu 2.x with numpy; name one that has in \
             HYMT_EVAL_PYTHON. The golden files were compared with, sacreBLEU itself was not."
        );
        return;
    }
    let folder = root().join("tests/eval");
    let output = Command::new(python)
        .arg(folder.join("make_golden.py"))
        .arg("--check")
        .arg(&folder)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn hymt(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_hymt")).args(arguments).output().unwrap()
}

#[track_caller]
fn ok(output: Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn demo(folder: &str) -> String {
    root().join("models/demo").join(folder).display().to_string()
}

/// Names of all fields, at any depth, with the first element standing for a list.
fn fields(value: &Value, path: &str, into: &mut Vec<String>) {
    match value {
        Value::Object(object) => {
            for (name, value) in object {
                fields(value, &format!("{path}/{name}"), into);
            }
        }
        Value::Array(list) if !list.is_empty() => fields(&list[0], &format!("{path}/0"), into),
        _ => into.push(path.to_owned()),
    }
}

/// The layout that `schema` names; a change needs another number there.
const SCHEMA_1: &str = "
against/engine against/greedy_answers/n against/greedy_answers/of against/greedy_tokens/n
against/greedy_tokens/of against/kl_max against/kl_mean against/kl_p99 against/layers/0/kl_alone
against/layers/0/kl_up_to against/layers/0/part against/model against/positions
against/top1_agreement
all/bleu all/bleu_signature all/chrf all/chrf_pp all/exact/n all/exact/of all/failed all/kept/n
all/kept/of all/repetition all/repetition_of_references all/rows all/terms/n all/terms/of
all/tokens_out all/truncated
chrf_pp_signature chrf_signature data engine model
pairs/0/bleu pairs/0/bleu_signature pairs/0/chrf pairs/0/chrf_pp pairs/0/exact/n pairs/0/exact/of
pairs/0/failed pairs/0/kept/n pairs/0/kept/of pairs/0/pair pairs/0/repetition
pairs/0/repetition_of_references pairs/0/rows pairs/0/terms/n pairs/0/terms/of
pairs/0/tokens_out pairs/0/truncated
schema seconds tokens_per_s";

#[test]
fn the_demo_in_int8_stands_close_to_the_demo_in_bf16() {
    let folder = tempfile::tempdir().unwrap();
    let svg = folder.path().join("layers.svg").display().to_string();
    let bf16 = demo("bf16");
    let arguments = ["eval", "--engine", "cpu", "--against", &bf16, "--limit", "20", "--json"];
    let output = hymt(&[&arguments[..], &["--svg", &svg, "--layer-texts", "1000"]].concat());
    let report: Value = serde_json::from_str(&ok(output)).unwrap();

    let mut found = Vec::new();
    fields(&report, "", &mut found);
    let mut expected: Vec<_> = SCHEMA_1.split_whitespace().map(|name| format!("/{name}")).collect();
    found.sort();
    expected.sort();
    assert_eq!(report["schema"], "hymt-eval/1");
    assert_eq!(found, expected);

    let number = |pointer: &str| report.pointer(pointer).unwrap().as_f64().unwrap();
    assert_eq!(number("/all/rows"), 20.0);
    assert!(number("/all/chrf_pp") > 90.0, "{}", report["all"]);
    assert_eq!(number("/all/failed"), 0.0);
    assert!(number("/against/top1_agreement") > 0.95, "{}", report["against"]);
    // INT8 arithmetic is not f32's: a divergence of exactly zero would mean that a network was
    // compared with itself.
    assert!(number("/against/kl_mean") > 0.0 && number("/against/kl_mean") < 0.05);
    assert!(number("/against/greedy_answers/n") >= 0.9 * number("/against/greedy_answers/of"));
    let layers = report.pointer("/against/layers").unwrap().as_array().unwrap();
    assert_eq!(layers.len(), 7, "six layers and the output head");
    assert_eq!(layers[6]["part"], "output head");
    assert_eq!(layers[0]["kl_alone"], layers[0]["kl_up_to"], "nothing stands before the first");
    assert!(layers.iter().all(|layer| layer["kl_alone"].as_f64().unwrap() > 0.0));
    // With all parts exchanged the one network is the other, to the bit.
    assert_eq!(layers[6]["kl_up_to"], report["against"]["kl_mean"]);

    let svg = std::fs::read_to_string(svg).unwrap();
    assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n"));
    assert_eq!(svg.matches("<polyline ").count(), 2);
    assert_eq!(svg.matches("<circle ").count(), 14);
}

#[test]
fn a_network_does_not_diverge_from_itself() {
    let bf16 = demo("bf16");
    let arguments = ["--against", &bf16, "--engine", "cpu", "--precision", "f32", "--limit", "6"];
    let output = hymt(&[&["eval", "--model", &bf16, "--json"], &arguments[..]].concat());
    let report: Value = serde_json::from_str(&ok(output)).unwrap();
    assert_eq!(report["against"]["kl_max"], 0.0);
    assert_eq!(report["against"]["top1_agreement"], 1.0);
    assert_eq!(report["against"]["greedy_tokens"]["n"], report["against"]["greedy_tokens"]["of"]);
}

#[test]
fn people_get_a_table_of_their_own_set() {
    let folder = tempfile::tempdir().unwrap();
    let set: PathBuf = folder.path().join("set.tsv");
    let rows = "en\tde\tThe door is open.\tDie Tür ist offen.\n\
                en\tzh\tWhere is the charging station?\t充电站在哪里？\tcharging station=充电桩\n";
    std::fs::write(&set, rows).unwrap();
    let set = set.display().to_string();
    let table = ok(hymt(&["eval", "--engine", "cpu", "--data", &set]));
    for words in ["en-de", "en-zh", "tok:13a", "tok:zh", "nw:2", "2 texts", "1/1"] {
        assert!(table.contains(words), "'{words}' is not in\n{table}");
    }
    assert!(!table.contains("against"), "{table}");
}

#[test]
fn what_cannot_be_evaluated_is_said_before_anything_runs() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, content: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, content).unwrap();
        path.display().to_string()
    };
    let (bad, empty) = (file("bad.tsv", "en\tde\tx\n"), file("empty.jsonl", "\n"));
    let tiny = folder.path().join("tiny").display().to_string();
    ok(hymt(&["synth", "--shape", "tiny", "--out", &tiny]));
    for (arguments, code, words) in [
        (&["--data", &bad][..], 2, "line 1: 3 columns"),
        (&["--data", &empty], 2, "holds no text"),
        (&["--data", "/nowhere.tsv"], 1, "/nowhere.tsv"),
        (&["--engine", "scripted"], 2, "echoes"),
        (&["--svg", "x.svg"], 2, "--against"),
        (&["--against", "/nowhere"], 1, "/nowhere"),
        (&["--against", &tiny], 1, "tokenizer.json"),
    ] {
        let output = hymt(&[&["eval"], arguments].concat());
        let err = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {err}");
        assert!(err.contains(words), "{arguments:?}: {err}");
        assert!(output.stdout.is_empty());
    }
}
