//! `hymt selftest`: the real program on this machine, its report and its exit code.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

/// Exit code, standard output and standard error.
fn selftest(out: &Path, arguments: &[&str]) -> (Option<i32>, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hymt"));
    command.env("RUST_BACKTRACE", "0").env_remove("RUST_LOG");
    command.args(["selftest", "--out", out.to_str().unwrap()]).args(arguments);
    let output = command.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

/// Straight to the stream: the test runner swallows what the macros print.
fn say(text: &str) {
    let _ = writeln!(std::io::stderr(), "\n*** {text} ***\n");
}

/// The data behind the report.
fn data(report: &str) -> Value {
    let (_, rest) = report.split_once("```json\n").unwrap();
    serde_json::from_str(rest.split_once("\n```").unwrap().0).unwrap()
}

fn checks<'a>(data: &'a Value, engine: &str) -> Vec<(&'a str, &'a str, &'a str)> {
    let engines = data["engines"].as_array().unwrap();
    let found = engines.iter().find(|found| found["engine"] == engine).unwrap();
    let text = |check: &'a Value, name| check[name].as_str().unwrap();
    let checks = found["checks"].as_array().unwrap().iter();
    checks.map(|c| (text(c, "name"), text(c, "outcome"), text(c, "detail"))).collect()
}

/// What would tell who wrote the report.
fn is_anonymous(report: &str) {
    let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    let home = std::env::var("HOME").unwrap_or_default();
    let here = std::env::current_dir().unwrap();
    for secret in [host.trim(), &home, here.to_str().unwrap(), "/tmp", "secret"] {
        assert!(secret.len() < 3 || !report.contains(secret), "'{secret}' is in:\n{report}");
    }
}

#[test]
fn the_cpu_engine_passes_and_the_report_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("report.md");
    let (code, said, err) = selftest(&out, &[]);
    let report = fs::read_to_string(&out).unwrap();
    let data = data(&report);
    assert_eq!((code, err.as_str()), (Some(0), ""), "{report}");
    assert!(said.contains("PASS cpu      translates what is known: 66 of 66"), "{said}");
    assert_eq!((&data["ok"], &data["finished"]), (&true.into(), &true.into()));
    let cpu = checks(&data, "cpu");
    assert!(cpu.len() >= 15, "{cpu:?}");
    assert!(cpu.iter().all(|(_, outcome, _)| *outcome == "PASS"), "{cpu:?}");
    for rule in hymt_llm::testkit::conformance::CHECKS {
        assert!(cpu.iter().any(|(name, ..)| *name == rule.rule), "{} was left out", rule.rule);
    }
    let bench = data["engines"][0]["bench"].as_array().unwrap();
    assert_eq!(bench.len(), 2);
    assert!(bench.iter().all(|run| run["decode_ms_per_token"].as_f64().unwrap() > 0.0));
    for engine in ["cuda", "tensorrt"] {
        let found = checks(&data, engine);
        if found.len() == 1 {
            let (name, outcome, why) = found[0];
            assert_eq!((name, outcome), ("is here", "SKIP"));
            assert!(!why.is_empty());
            say(&format!("SKIPPED: {engine} is not here: {why}"));
        } else {
            assert!(found.iter().all(|(_, outcome, _)| *outcome == "PASS"), "{found:?}");
        }
    }
    is_anonymous(&report);
    assert!(!folder.path().join("report.md.partial").exists());
}

#[test]
fn a_failed_check_fails_the_run_and_names_no_private_path() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("report.md");
    let model = folder.path().join("secret model");
    fs::create_dir(&model).unwrap();
    fs::write(model.join("config.json"), "{}").unwrap();
    let arguments = ["--engine", "cpu", "--model", model.to_str().unwrap(), "--json"];
    let (code, said, _) = selftest(&out, &arguments);
    let report = fs::read_to_string(&out).unwrap();
    assert_eq!(code, Some(1), "{report}");
    assert!(report.contains("**FAILED**"), "{report}");
    is_anonymous(&report);
    is_anonymous(&said);
    let data = data(&report);
    assert_eq!(serde_json::from_str::<Value>(&said).unwrap(), data);
    let failed: Vec<_> =
        checks(&data, "cpu").into_iter().filter(|(_, outcome, _)| *outcome == "FAIL").collect();
    assert_eq!(failed.len(), 2, "{failed:?}");
    assert!(failed.iter().all(|(name, ..)| *name == "measures the model named"), "{failed:?}");
}

#[test]
fn what_was_asked_for_and_is_not_here_is_a_failure() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("report.md");
    let (code, said, _) = selftest(&out, &["--engine", "tensorrt"]);
    if said.contains("PASS tensorrt") {
        say("SKIPPED: this build and machine have TensorRT");
        return;
    }
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("FAIL tensorrt is here: engine 'tensorrt' is not part"), "{said}");
}

#[test]
fn nothing_but_an_earlier_report_is_overwritten() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("letter.md");
    fs::write(&out, "# Dear Ann").unwrap();
    let (code, _, err) = selftest(&out, &["--engine", "cpu"]);
    assert_eq!(code, Some(2), "{err}");
    assert!(err.contains("is no report of an earlier run"), "{err}");
    assert_eq!(fs::read_to_string(&out).unwrap(), "# Dear Ann");
    let (code, _, err) = selftest(&out, &["--engine", "scripted"]);
    assert_eq!(code, Some(2), "{err}");
    let missing = folder.path().join("no/such/folder/report.md");
    let (code, _, err) = selftest(&missing, &["--engine", "cpu"]);
    assert!(code == Some(1) && err.contains("cannot write"), "{err}");
}

/// A driver that takes the process down leaves a report all the same.
#[test]
fn a_killed_run_leaves_the_name_of_the_check() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("report.md");
    let mut command = Command::new(env!("CARGO_BIN_EXE_hymt"));
    command.args(["selftest", "--engine", "cpu", "--out", out.to_str().unwrap()]);
    let mut child = command.stdout(std::process::Stdio::null()).spawn().unwrap();
    let report = loop {
        let report = fs::read_to_string(&out).unwrap_or_default();
        if report.contains("ran. If no hymt runs now") || child.try_wait().unwrap().is_some() {
            break report;
        }
        std::thread::sleep(std::time::Duration::from_millis(2));
    };
    child.kill().unwrap();
    child.wait().unwrap();
    let left = fs::read_to_string(&out).unwrap();
    for report in [report, left] {
        let data = data(&report);
        assert_eq!((&data["finished"], &data["ok"]), (&false.into(), &false.into()), "{report}");
        assert!(report.contains("**Not finished: when this was written, 'cpu: "), "{report}");
    }
}
