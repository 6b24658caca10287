//! The rules of `docs/ARCHITECTURE.md` that a compiler does not hold: dependency directions, where
//! heavy dependencies may appear, file sizes, and where unsafe code lives.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A file above this many lines, tests not counted, must be split.
const FILE_LINES_MAX: usize = 800;

/// The only files that may contain unsafe code; each opens with a doc that says why.
const UNSAFE_FILES: &[&str] = &[
    "crates/cuda/src/device.rs",
    "crates/cuda/src/device/context.rs",
    "crates/cuda/src/device/graph.rs",
    "crates/cuda/src/engine/run.rs",
    "crates/cuda/src/nvrtc.rs",
    "crates/cuda/src/testing.rs",
    "crates/cuda/src/weights.rs",
    "crates/llm/src/engine/cpu/kernels/levels/x86.rs",
    "crates/llm/src/engine/cpu/kernels/x86.rs",
    "crates/llm/src/engine/cpu/pool.rs",
    "crates/llm/src/weights.rs",
    "crates/tensorrt/src/device.rs",
    "crates/tensorrt/src/device/cuda.rs",
    "crates/tensorrt/src/device/host.rs",
    "crates/tensorrt/src/engine/fake.rs",
    "crates/tensorrt/src/engine/load.rs",
    "crates/tensorrt/src/engine/network.rs",
    "crates/tensorrt/src/engine/run.rs",
    "crates/tensorrt/src/result.rs",
    "crates/tensorrt/src/safe.rs",
    "crates/tensorrt/src/safe/builder.rs",
    "crates/tensorrt/src/safe/runtime.rs",
    "crates/tensorrt/src/sys.rs",
    "src/app/memory.rs",
    "src/ros/r2r/rcl.rs",
    "src/ros/r2r/rcl/context.rs",
    "src/ros/r2r/rcl/endpoint.rs",
    "src/ros/r2r/rcl/graph.rs",
    "src/ros/r2r/rcl/message.rs",
    "src/ros/r2r/rcl/service.rs",
    "src/ros/r2r/rcl/types.rs",
    "src/ros/r2r/rcl/wait_set.rs",
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every Rust source file of the workspace's own crates.
fn sources() -> Vec<PathBuf> {
    fn walk(folder: &Path, into: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, into);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                into.push(path);
            }
        }
    }
    let mut files = Vec::new();
    for folder in
        ["src", "crates/core/src", "crates/cuda/src", "crates/llm/src", "crates/tensorrt/src"]
    {
        walk(&root().join(folder), &mut files);
    }
    assert!(files.len() > 30, "the walk found only {} files", files.len());
    files
}

fn relative(path: &Path) -> String {
    path.strip_prefix(root()).unwrap().to_string_lossy().into_owned()
}

/// The source without its trailing `#[cfg(test)]` module.
fn without_tests(text: &str) -> &str {
    text.find("#[cfg(test)]\nmod ").map_or(text, |at| &text[..at])
}

/// Names of everything `package` depends on, at any depth, in a normal build.
fn dependencies(package: &str) -> BTreeSet<String> {
    let output = Command::new(env!("CARGO"))
        .args(["tree", "--offline", "--prefix", "none", "-e", "normal", "-p", package])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .filter_map(|line| line.split_whitespace().next())
        .filter(|name| *name != package)
        .map(str::to_owned)
        .collect()
}

#[test]
fn dependencies_point_inward() {
    for package in ["hymt_core", "hymt_llm"] {
        let found = dependencies(package);
        assert!(!found.is_empty(), "{package}: no dependencies found; is the check blind?");
        let ours: Vec<_> = found.iter().filter(|name| name.starts_with("hymt")).collect();
        assert!(ours.is_empty(), "{package} must depend on no crate of ours, found {ours:?}");
    }
}

#[test]
fn inner_crates_know_no_ros_no_gpu_no_async() {
    let forbidden = ["rustdds", "r2r", "ros2-client", "tokio", "cudarc", "clap", "anyhow"];
    for package in ["hymt_core", "hymt_llm"] {
        let found = dependencies(package);
        for name in forbidden {
            assert!(!found.contains(name), "{package} must not depend on {name}");
        }
    }
    assert!(!dependencies("hymt_core").contains("tokenizers"), "core knows no language model");
    assert!(dependencies("hymt_ros").contains("rustdds"), "the check must be able to fail");
}

#[test]
fn only_the_ros_edge_knows_a_middleware() {
    for path in sources() {
        let name = relative(&path);
        let text = fs::read_to_string(&path).unwrap();
        let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
        for line in code {
            for (library, home) in [("rustdds::", "src/ros/dds"), ("r2r_rcl", "src/ros/r2r")] {
                assert!(
                    name.starts_with(home) || !line.contains(library),
                    "{name} names {library} outside {home}: {line}"
                );
            }
        }
    }
}

/// A robot never downloads a model by itself: only the command line reaches the hub.
#[test]
fn only_the_command_line_fetches() {
    let mut names_it = 0;
    for path in sources() {
        let name = relative(&path);
        let text = fs::read_to_string(&path).unwrap();
        let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
        for line in code {
            let words = ["fetch::", "ureq", "graviola"];
            let reaches = words.iter().any(|word| line.replace("prefetch", "").contains(word));
            names_it += usize::from(reaches);
            let is_home = name.starts_with("src/fetch")
                || ["src/cli.rs", "src/cli/fetch.rs"].contains(&name.as_str());
            assert!(is_home || !reaches, "{name} reaches for the hub: {line}");
        }
    }
    assert!(names_it > 5, "the check must be able to fail");
}

#[test]
fn a_default_build_needs_no_c_compiler() {
    let output = Command::new(env!("CARGO"))
        .args(["tree", "--offline", "--prefix", "none", "-e", "normal,build", "-p", "hymt_ros"])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let tree = String::from_utf8(output.stdout).unwrap();
    let found: BTreeSet<_> =
        tree.lines().filter_map(|line| line.split_whitespace().next()).collect();
    assert!(found.contains("clap"), "the check is blind");
    for name in ["cc", "cmake", "bindgen", "ring", "aws-lc-sys", "openssl-sys", "onig_sys"] {
        assert!(!found.contains(name), "{name} compiles or binds C");
    }
}

#[test]
fn unsafe_code_stays_where_it_is_explained() {
    for path in sources() {
        let name = relative(&path);
        let text = fs::read_to_string(&path).unwrap();
        let allows = text.contains("allow(unsafe_code)");
        assert_eq!(
            allows,
            UNSAFE_FILES.contains(&name.as_str()),
            "{name}: unsafe code and the list in tests/architecture.rs disagree"
        );
        if allows {
            assert!(text.starts_with("//!"), "{name}: must open with a doc that says why");
        }
    }
}

#[test]
fn files_stay_readable() {
    for path in sources() {
        let text = fs::read_to_string(&path).unwrap();
        let lines = without_tests(&text).lines().count();
        assert!(
            lines <= FILE_LINES_MAX,
            "{}: {lines} lines, at most {FILE_LINES_MAX}; split it",
            relative(&path)
        );
    }
}
