//! Parameter files, and values of `-p`.
#![no_main]

use hymt_ros::ros::param_file::{NAME_BYTES_MAX, ParamFile, VALUES_MAX, parse_value};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &str| {
    if let Ok(file) = ParamFile::parse(input, "fuzz.yaml") {
        let overrides: Vec<_> = file.overrides_for("/robot/translator").collect();
        assert!(overrides.len() <= VALUES_MAX);
        assert!(overrides.iter().all(|(name, _)| name.len() <= NAME_BYTES_MAX));
        assert!(file.patterns().all(|pattern| pattern.starts_with('/')));
    }
    if let Ok(value) = parse_value(input) {
        // A value can be shown.
        assert!(!value.to_string().is_empty());
    }
});
