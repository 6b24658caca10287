//! What this process itself finds: the processor's kernels, and a GPU that answers.

use crate::board::{Finding, Machine};

pub(super) fn processor() -> Finding {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let (is_fast, kernels) = kernels();
    let detail = format!("{cores} cores; INT8 kernels: {kernels}");
    let what = "processor";
    if is_fast { Finding::ok(what, detail) } else { Finding::note(what, detail) }
}

#[cfg(target_arch = "x86_64")]
fn kernels() -> (bool, &'static str) {
    if is_x86_feature_detected!("avx512vnni") {
        (true, "AVX-512 VNNI")
    } else if is_x86_feature_detected!("avxvnni") {
        (true, "AVX-VNNI")
    } else if is_x86_feature_detected!("avx2") {
        (true, "AVX2")
    } else {
        (false, "portable (no AVX2 here, so it is slow)")
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn kernels() -> (bool, &'static str) {
    (false, "portable (hand-written ones exist for x86-64 only)")
}

/// The GPU; without one the CPU does the work, unless the GPU `is_needed`.
pub(super) fn gpu(is_needed: bool) -> Finding {
    match crate::app::gpu::device() {
        Ok(name) => Finding::ok("gpu", name),
        Err(why) if is_needed => Finding::failed("gpu", why),
        Err(why) => Finding::note("gpu", format!("{why}; the CPU does the work")),
    }
}

/// Whether the compiler that the CUDA engine needs opens; silent where no GPU asks for it.
#[cfg(feature = "cuda")]
pub(super) fn compiler(machine: &Machine) -> Option<Finding> {
    use hymt_cuda::nvrtc::{NVRTC_VARIABLE, Nvrtc};

    crate::app::gpu::device().ok()?;
    let what = "compiler";
    Some(match Nvrtc::open(None) {
        Ok(nvrtc) => {
            let (major, minor) = nvrtc.version();
            Finding::ok(what, format!("NVRTC {major}.{minor} opens"))
        }
        Err(error) => {
            let finding = Finding::note(what, error.to_string());
            match machine.libraries.nvrtc.iter().find(|library| library.is_whole) {
                Some(library) => {
                    finding.fixed_by(format!("export {NVRTC_VARIABLE}={}", library.path))
                }
                None => {
                    finding.fixed_by("python3 -m pip install nvidia-cuda-nvrtc   # see the text")
                }
            }
        }
    })
}

#[cfg(not(feature = "cuda"))]
pub(super) fn compiler(_machine: &Machine) -> Option<Finding> {
    None
}
