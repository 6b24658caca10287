//! NVRTC compiles the engine's kernels for what TensorRT 8.5 to 11 run on, without a GPU. Needs
//! the compiler, for example out of the wheel `nvidia-cuda-nvrtc`; says so without.

#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "a test says what it skipped")]

use std::io::Write as _;
use std::path::PathBuf;

use hymt_cuda::nvrtc::Nvrtc;
use hymt_tensorrt::device::kernels;

/// Architectures of boards with TensorRT, and the compiler's major version: CUDA 13 begins at sm_75.
const TARGETS: [(u32, i32); 5] = [(72, 12), (87, 12), (87, 13), (90, 13), (110, 13)];

#[test]
fn the_kernels_compile_for_every_board() {
    for (arch, major) in TARGETS {
        let variable = format!("HYMT_NVRTC_{major}");
        let named = std::env::var_os(&variable).map(PathBuf::from);
        let path = named.unwrap_or_else(|| format!("libnvrtc.so.{major}").into());
        match Nvrtc::open(Some(&path)) {
            Ok(nvrtc) => {
                let options = kernels::options();
                let compiled = nvrtc.compile(kernels::SOURCE, &format!("sm_{arch}"), &options);
                assert!(compiled.unwrap().cubin.starts_with(b"\x7fELF"), "sm_{arch}");
            }
            Err(error) => {
                // Straight to the stream: the test runner swallows what the macros print.
                let said = format!("\n*** SKIPPED sm_{arch}: set {variable}: {error} ***\n");
                let _ = writeln!(std::io::stderr(), "{said}");
                let required = std::env::var_os("HYMT_REQUIRE_NVRTC").is_some();
                assert!(!required, "HYMT_REQUIRE_NVRTC is set, but: {error}");
            }
        }
    }
}
