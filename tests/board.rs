//! `hymt doctor` on boards that are not here: trees of files, written down in `tests/board/*.tree`, and
//! what is said of each, in the `.expected` beside it.
//!
//! The trees are put together from documentation and from what owners of such boards have published; none
//! was recorded on a board by us. A tree lists files: `--- PATH`, then the content (`\0` stands for NUL), or
//! `--- PATH -> TARGET` for a link. `HYMT_UPDATE_EXPECTED=1` writes the `.expected` files anew.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use hymt_ros::board::{self, Finding, Machine, PlanState, State, System, Wants};
use proptest::prelude::*;
use tempfile::TempDir;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/board")
}

fn wants() -> Wants {
    Wants {
        needs_tensorrt: false,
        needs_cuda: false,
        model: "the 1.8B model in INT8".to_owned(),
        model_bytes: 2400 << 20,
        plan: PlanState::NoEngine,
        dla_cores: None,
    }
}

/// Puts the files of a tree below a folder.
fn grow(tree: &str) -> TempDir {
    let root = tempfile::tempdir().unwrap();
    let at = |path: &str| root.path().join(path.trim_start_matches('/'));
    for file in tree.split("\n--- ").skip(1) {
        let (head, content) = file.split_once('\n').unwrap_or((file, ""));
        let (path, target) = head.split_once(" -> ").map_or((head, None), |(p, t)| (p, Some(t)));
        fs::create_dir_all(at(path).parent().unwrap()).unwrap();
        match target {
            Some(target) => symlink(target, at(path)).unwrap(),
            None => fs::write(at(path), content.replace("\\0", "\0")).unwrap(),
        }
    }
    root
}

fn examine(root: &Path, wants: &Wants) -> Vec<Finding> {
    board::findings(&Machine::examine(&System::below(root)), wants)
}

fn printed(findings: &[Finding]) -> String {
    let line = |finding: &Finding| {
        let Finding { what, state, detail, fix } = finding;
        let fix = fix.as_ref().map(|fix| format!("\n     -> {fix}")).unwrap_or_default();
        format!("{:<4} {what:<10} {detail}{fix}\n", state.word())
    };
    findings.iter().map(line).collect()
}

fn trees() -> Vec<(String, String)> {
    let mut trees: Vec<_> = fs::read_dir(folder())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "tree"))
        .map(|path| {
            let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
            (name, fs::read_to_string(path).unwrap())
        })
        .collect();
    trees.sort();
    trees
}

#[test]
fn each_board_gets_its_diagnosis() {
    let trees = trees();
    assert!(trees.len() >= 10, "only {} trees", trees.len());
    for (name, tree) in trees {
        let root = grow(&tree);
        let got = printed(&examine(root.path(), &wants()));
        let path = folder().join(format!("{name}.expected"));
        if std::env::var_os("HYMT_UPDATE_EXPECTED").is_some() {
            fs::write(&path, &got).unwrap();
        }
        let expected = fs::read_to_string(&path).unwrap_or_default();
        assert_eq!(got, expected, "{name}: what is said differs from {}", path.display());
        assert!(!got.contains(root.path().to_str().unwrap()), "{name}: paths are the board's own");
    }
}

/// Taking any one file away changes what is said, or the file is one that another one stands in for.
#[test]
fn each_file_of_a_board_matters() {
    let spare = [
        "libnvinfer.so -> ",
        "libnvinfer_plugin",
        "cuda-12 -> ",
        "cuda -> ",
        "lib64 ->",
        "libnvonnxparser.so.10 ->",
        "libnvinfer.so.10 ->",
        "libnvrtc.so.12 ->",
        "thermal_zone",
        "nvdla",
        "libnvinfer10",
    ];
    let (name, tree) = trees().into_iter().find(|(name, _)| name == "orin_nano_jp62").unwrap();
    let whole = printed(&examine(grow(&tree).path(), &wants()));
    let files: Vec<_> = tree.split("\n--- ").collect();
    let mut changed = 0;
    for left_out in 1..files.len() {
        let rest: Vec<_> = files
            .iter()
            .enumerate()
            .filter(|(i, _)| *i != left_out)
            .map(|(_, file)| *file)
            .collect();
        let got = printed(&examine(grow(&rest.join("\n--- ")).path(), &wants()));
        let head = files[left_out].lines().next().unwrap();
        if spare.iter().any(|spare| head.contains(spare)) {
            continue;
        }
        assert_ne!(got, whole, "{name}: nothing is said when {head} is missing");
        changed += 1;
    }
    assert!(changed > 12, "only {changed} files matter; is the test blind?");
}

#[test]
fn what_the_named_engine_lacks_is_a_failure() {
    let (_, tree) =
        trees().into_iter().find(|(name, _)| name == "orin_nano_half_installed").unwrap();
    let root = grow(&tree);
    let failed = |wants: &Wants| -> Vec<&'static str> {
        let findings = examine(root.path(), wants);
        findings.iter().filter(|f| f.state == State::Failed).map(|f| f.what).collect()
    };
    assert_eq!(failed(&wants()), [""; 0]);
    assert_eq!(failed(&Wants { needs_cuda: true, ..wants() }), ["driver", "nvrtc"]);
    let tensorrt = Wants { needs_tensorrt: true, ..wants() };
    assert_eq!(failed(&tensorrt), ["driver", "tensorrt", "plan"]);
    let build = "hymt engine build".to_owned();
    for (plan, state, words) in [
        (PlanState::Missing { build: build.clone() }, State::Failed, "none has been built"),
        (
            PlanState::Stale { reason: "TensorRT 10.3, now 10.4".to_owned(), build },
            State::Failed,
            "stale: TensorRT 10.3",
        ),
        (PlanState::Ready { about: "INT8, profile 4096".to_owned() }, State::Ok, "INT8, profile"),
    ] {
        let findings = examine(root.path(), &Wants { plan, ..tensorrt.clone() });
        let plan = findings.iter().find(|finding| finding.what == "plan").unwrap();
        assert_eq!(plan.state, state);
        assert!(plan.detail.contains(words), "{}", plan.detail);
        assert_eq!(plan.fix.is_some(), state == State::Failed, "{plan:?}");
    }
}

#[test]
fn a_loaded_library_knows_better_than_the_table() {
    let (_, tree) = trees().into_iter().find(|(name, _)| name == "agx_orin_jp61").unwrap();
    let findings = examine(grow(&tree).path(), &Wants { dla_cores: Some(0), ..wants() });
    let dla = findings.iter().find(|finding| finding.what == "dla").unwrap();
    assert_eq!(dla.detail, "none, says TensorRT; the GPU does the work");
}

/// Files that are far too long, no files at all, or not text.
#[test]
fn hostile_files_end_in_findings() {
    let (_, tree) = trees().into_iter().find(|(name, _)| name == "orin_nano_jp62").unwrap();
    let root = grow(&tree);
    let at = |path: &str| root.path().join(path);
    fs::write(at("etc/nv_tegra_release"), vec![b'#'; 8 << 20]).unwrap();
    fs::write(at("proc/meminfo"), "MemTotal: 99999999999999999999 kB\nMemAvailable: -1 kB")
        .unwrap();
    fs::write(at("var/lib/dpkg/status"), [0xff; 4096]).unwrap();
    fs::remove_file(at("etc/nvpmodel.conf")).unwrap();
    fs::create_dir(at("etc/nvpmodel.conf")).unwrap();
    fs::write(at("var/lib/nvpmodel/status"), "pmode:99999999999999999999").unwrap();
    fs::write(at("sys/firmware/devicetree/base/model"), "x\x1b[2J\n".repeat(9999)).unwrap();
    for zone in 0..300 {
        fs::create_dir_all(at(&format!("sys/class/thermal/thermal_zone{zone}"))).unwrap();
        fs::write(at(&format!("sys/class/thermal/thermal_zone{zone}/temp")), "1e9").unwrap();
    }
    fs::remove_file(at("usr/lib/aarch64-linux-gnu/nvidia/libcuda.so.1")).unwrap();
    symlink("libcuda.so.1", at("usr/lib/aarch64-linux-gnu/nvidia/libcuda.so.1")).unwrap();
    let findings = examine(root.path(), &wants());
    let text = printed(&findings);
    assert!(text.len() < 8000, "{} bytes", text.len());
    assert!(!text.contains('\x1b') && text.is_ascii(), "{text}");
    for words in [
        "NOTE jetpack    unknown: /etc/nv_tegra_release: it has more than 262144 bytes",
        "NOTE memory     this system does not say how much is free",
        "NOTE power      no power modes in /etc/nvpmodel.conf",
        "NOTE heat       no temperature can be read",
        "NOTE driver     no CUDA driver",
    ] {
        assert!(text.contains(words), "'{words}' is not in:\n{text}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever stands in the files: no panic, and lines of bounded length.
    #[test]
    fn any_content_is_survived(
        content in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 12),
        kept in 1_usize..60,
    ) {
        let (_, tree) = trees().into_iter().find(|(name, _)| name == "orin_nano_jp62").unwrap();
        let files: Vec<_> = tree.split("\n--- ").take(kept).collect();
        let root = grow(&files.join("\n--- "));
        let paths = [
            "proc/device-tree/model", "proc/device-tree/compatible", "etc/nv_tegra_release",
            "proc/meminfo", "proc/swaps", "etc/nvpmodel.conf", "var/lib/nvpmodel/status",
            "var/lib/dpkg/status", "usr/include/aarch64-linux-gnu/NvInferVersion.h",
            "sys/class/thermal/thermal_zone0/temp", "sys/class/thermal/thermal_zone0/type",
            "usr/lib/aarch64-linux-gnu/libnvinfer.so.1.2.3",
        ];
        for (path, bytes) in paths.iter().zip(&content) {
            let path = root.path().join(path);
            // Where the tree has a link to a folder that is not there, nothing can be written.
            if bytes.len() % 2 == 0 && fs::create_dir_all(path.parent().unwrap()).is_ok() {
                let _ = fs::write(path, bytes);
            }
        }
        for finding in examine(root.path(), &wants()) {
            prop_assert!(finding.detail.chars().count() < 1200, "{finding:?}");
            prop_assert!(!finding.detail.contains('\n'), "{finding:?}");
        }
    }
}

/// The command itself, on a copied tree: nothing but that tree is looked at.
#[test]
fn the_command_reads_a_copied_tree() {
    let (name, tree) = trees().into_iter().find(|(name, _)| name == "xavier_nx_jp51").unwrap();
    let root = grow(&tree);
    let run = |arguments: &[&str]| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_hymt"));
        let root = root.path().to_str().unwrap();
        let output = command.args(["doctor", "--root", root]).args(arguments).output().unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };
    let (code, said) = run(&[]);
    let squeezed = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let expected = fs::read_to_string(folder().join(format!("{name}.expected"))).unwrap();
    assert_eq!((code, squeezed(&said)), (Some(0), squeezed(&expected)));
    let (code, json) = run(&["--json", "--engine", "tensorrt"]);
    let document: serde_json::Value = serde_json::from_str(&json).unwrap();
    // A build without the engine fails; one with it has nothing to say of plans that lie elsewhere.
    let has_engine = cfg!(feature = "tensorrt-shim");
    let expected = (Some(i32::from(!has_engine)), &serde_json::json!(has_engine));
    assert_eq!((code, &document["ok"]), expected, "{document}");
    let findings = document["findings"].as_array().unwrap();
    let power = findings.iter().find(|finding| finding["what"] == "power").unwrap();
    assert_eq!(power["state"], "NOTE");
    assert_eq!(power["fix"], "sudo nvpmodel -m 8");
    let plan = findings.iter().find(|finding| finding["what"] == "plan");
    let expected = (!has_engine).then(|| serde_json::json!("FAIL"));
    assert_eq!(plan.map(|plan| plan["state"].clone()), expected);
    fs::remove_dir_all(root.path()).unwrap();
    assert_eq!(run(&[]), (Some(2), String::new()));
}

/// What reads files is one module, so that bounds and root hold for all of them.
#[test]
fn only_the_reader_reads() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/board");
    let mut readers = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let text = fs::read_to_string(&path).unwrap();
        let code = text.split("#[cfg(test)]").next().unwrap();
        if ["fs::", "File::", "Command", "env::"].iter().any(|word| code.contains(word)) {
            readers.push(path.file_name().unwrap().to_owned());
        }
    }
    assert_eq!(readers, ["system.rs"]);
}
