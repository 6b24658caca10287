//! Any text is read as a parameter file or refused; what is read is declared or refused.
#![no_main]

use hymt_ros::parameters::declare;
use hymt_ros::ros::param_file::{NAME_BYTES_MAX, ParamFile, VALUES_MAX, parse_value};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Ok(file) = ParamFile::parse(text, "fuzz.yaml") {
        assert!(file.patterns().all(|pattern| pattern.starts_with('/')));
        let overrides: Vec<_> = file.overrides_for("/translator").cloned().collect();
        assert!(overrides.len() <= VALUES_MAX);
        assert!(overrides.iter().all(|(name, _)| name.len() <= NAME_BYTES_MAX));
        let _ = declare(&overrides);
    }
    if let Ok(value) = parse_value(text) {
        let _ = declare(&[("source_locale".to_owned(), value)]);
    }
});
