//! `package.xml` and `CMakeLists.txt` against what they must agree with.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::fs;
use std::path::Path;

fn read(file: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).unwrap()
}

fn element(xml: &str, name: &str) -> String {
    let from = xml.find(&format!("<{name}")).unwrap();
    let rest = &xml[from..];
    let text = &rest[rest.find('>').unwrap() + 1..];
    text[..text.find("</").unwrap()].to_owned()
}

#[test]
fn the_manifests_agree() {
    let xml = read("package.xml");
    assert_eq!(element(&xml, "name"), env!("CARGO_PKG_NAME"));
    assert_eq!(element(&xml, "version"), env!("CARGO_PKG_VERSION"));
    assert_eq!(element(&xml, "license"), env!("CARGO_PKG_LICENSE"));
}

#[test]
fn every_interface_is_generated() {
    let cmake = read("CMakeLists.txt");
    for folder in ["msg", "srv", "action"] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
        for entry in fs::read_dir(path).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            let line = format!("\"{folder}/{name}\"");
            assert!(cmake.contains(&line), "CMakeLists.txt does not generate {line}");
        }
    }
}

#[test]
fn cmake_knows_the_distributions_of_the_build_script() {
    let names = |text: &str, start: &str, end: &str| -> Vec<String> {
        let rest = &text[text.find(start).unwrap() + start.len()..];
        let list = &rest[..rest.find(end).unwrap()];
        list.split([' ', ',', '"', '\n']).filter(|s| !s.is_empty()).map(str::to_owned).collect()
    };
    let cmake = names(&read("cmake/programs.cmake"), "set(HYMT_R2R_DISTROS ", ")");
    let build = names(&read("build.rs"), "const DISTROS: &[&str] = &[", "]");
    assert_eq!(cmake, build);
}

#[test]
fn cmake_looks_for_tensorrt_where_the_build_script_does() {
    let folders = |text: &str, start: &str, end: &str| -> Vec<String> {
        let (_, rest) = text.split_once(start).unwrap();
        let (list, _) = rest.split_once(end).unwrap();
        list.split([' ', ',', '"', '\n']).filter(|s| !s.is_empty()).map(str::to_owned).collect()
    };
    let cmake = folders(&read("cmake/tensorrt.cmake"), "set(HYMT_TENSORRT_FOLDERS", ")");
    let build = read("crates/tensorrt/build.rs");
    let build = folders(&build, "const TENSORRT_FOLDERS: &[&str] = &[", "]");
    assert!(build.len() > 3, "{build:?}");
    assert_eq!(cmake, build);
    assert!(read("Cargo.toml").contains("\ntensorrt-shim = "), "the feature that CMake turns on");
}
