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
    board_model().unwrap_or_else(|| "this machine".to_owned())
}

/// What the device tree calls the board; `None` where there is none, as on a PC.
pub fn board_model() -> Option<String> {
    let model = fs::read_to_string(MODEL_FILE).ok()?;
    // The device tree ends its strings with NUL.
    let model = model.trim_end_matches('\0').trim();
    (!model.is_empty()).then(|| model.to_owned())
}
