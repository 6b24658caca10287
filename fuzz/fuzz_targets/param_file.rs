//! Any text is read as a parameter file or refused; what is read is declared or refused.
#![no_main]

use hymt_ros::parameters::declare;
use hymt_ros::ros::param_file::ParamFile;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Ok(file) = ParamFile::parse(text, "fuzz.yaml") {
        let overrides: Vec<_> = file.overrides_for("/translator").cloned().collect();
        let _ = declare(&overrides);
    }
});
