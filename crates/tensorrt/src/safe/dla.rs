//! What is said when a DLA core is asked for that is not there.

use std::fs;

use crate::error::{TensorRtError, Version};
use crate::result::Failure;
use crate::sys::code;

/// Where Linux keeps the board's name on machines with a device tree.
const MODEL_FILE: &str = "/proc/device-tree/model";

/// `failure` as an error; if it is about DLA, with the board and what TensorRT counts on it.
pub(super) fn explain(failure: Failure, core: i32, cores: i32, version: Version) -> TensorRtError {
    match failure.code {
        code::DLA_UNAVAILABLE => {
            TensorRtError::DlaUnavailable { core, cores, board: board(), version }
        }
        _ => failure.into(),
    }
}

fn board() -> String {
    let model = fs::read_to_string(MODEL_FILE).unwrap_or_default();
    // The device tree ends its strings with NUL.
    let model = model.trim_end_matches('\0').trim();
    if model.is_empty() { "this machine".to_owned() } else { model.to_owned() }
}
