//! Whether there is a GPU to test on.

use std::io::Write as _;

use hymt_cuda::device;

/// False, said aloud, without a GPU; a failure where `HYMT_REQUIRE_CUDA` asks for one.
pub(crate) fn has_gpu() -> bool {
    let Err(error) = device::probe(0) else { return true };
    // Straight to the stream: the test runner swallows what the macros print.
    let said = format!("\n*** SKIPPED: needs an NVIDIA GPU: {error} ***\n");
    let _ = writeln!(std::io::stderr(), "{said}");
    let required = std::env::var_os("HYMT_REQUIRE_CUDA").is_some();
    assert!(!required, "HYMT_REQUIRE_CUDA is set, but there is no GPU: {error}");
    false
}
