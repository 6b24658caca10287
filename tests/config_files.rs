//! Every parameter file in `config/` loads: known names, allowed values, nothing to remark.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::fs;
use std::path::{Path, PathBuf};

use hymt_ros::config::NodeConfig;
use hymt_ros::parameters::declare;
use hymt_ros::ros::param_file::ParamFile;

fn files() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("config");
    let mut files: Vec<_> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

#[test]
fn every_file_loads() {
    let files = files();
    assert!(files.len() >= 3, "{files:?}");
    for path in files {
        let file = ParamFile::read(&path).unwrap();
        let overrides: Vec<_> = file.overrides_for("/any/translator").cloned().collect();
        assert!(!overrides.is_empty(), "{}: sets nothing", path.display());
        let (store, remarks) = declare(&overrides).unwrap();
        assert!(remarks.is_empty(), "{}: {remarks:?}", path.display());
        NodeConfig::from_parameters(&store.snapshot()).unwrap();
    }
}

#[test]
fn a_wrong_name_or_value_would_be_seen() {
    for (yaml, remarked) in [
        ("/**:\n  ros__parameters:\n    target_locale: ['de']\n", true),
        ("/**:\n  ros__parameters:\n    target_locales: ['xx']\n", false),
    ] {
        let file = ParamFile::parse(yaml, "test").unwrap();
        let overrides: Vec<_> = file.overrides_for("/translator").cloned().collect();
        match declare(&overrides) {
            Ok((_, remarks)) => assert!(remarked && !remarks.is_empty(), "{yaml}"),
            Err(_) => assert!(!remarked, "{yaml}"),
        }
    }
}
