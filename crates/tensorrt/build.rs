//! Compiles the shim (feature `shim`) against the TensorRT headers of this machine.
//!
//! Without the feature this does nothing: a default build needs no C++ compiler and no TensorRT.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    #[cfg(feature = "shim")]
    shim::build();
}

#[cfg(feature = "shim")]
mod shim {
    use std::path::{Path, PathBuf};
    use std::{env, fs};

    /// Folders to look in before all others; more than one with `:` between them.
    const TENSORRT_INCLUDE: &str = "HYMT_TENSORRT_INCLUDE";
    const CUDA_INCLUDE: &str = "HYMT_CUDA_INCLUDE";

    /// JetPack and NVIDIA's Debian packages, NVIDIA's container images, tar archives.
    const TENSORRT_FOLDERS: &[&str] = &[
        "/usr/include/aarch64-linux-gnu",
        "/usr/include/x86_64-linux-gnu",
        "/usr/include",
        "/usr/local/include",
        "/usr/local/tensorrt/include",
        "/opt/tensorrt/include",
    ];
    const CUDA_FOLDERS: &[&str] = &[
        "/usr/local/cuda/include",
        "/usr/local/cuda/targets/aarch64-linux/include",
        "/usr/local/cuda/targets/sbsa-linux/include",
        "/usr/local/cuda/targets/x86_64-linux/include",
        "/usr/include",
    ];

    /// All that TensorRT's headers want of CUDA's: two opaque types, the same since CUDA 4.
    const CUDA_STUB: &str = "#pragma once\ntypedef struct CUstream_st *cudaStream_t;\n\
                             typedef struct CUevent_st *cudaEvent_t;\n";

    pub(super) fn build() {
        println!("cargo:rerun-if-changed=csrc/hymt_trt.cpp");
        println!("cargo:rerun-if-changed=csrc/hymt_trt.h");
        let tensorrt = find(TENSORRT_INCLUDE, TENSORRT_FOLDERS, "NvInfer.h").unwrap_or_else(|| {
            panic!(
                "the feature `shim` needs TensorRT's headers: NvInfer.h is in none of {}. On a \
                 Jetson: sudo apt install libnvinfer-dev libnvonnxparsers-dev. Elsewhere: \
                 {TENSORRT_INCLUDE}=/path/to/include",
                TENSORRT_FOLDERS.join(", ")
            )
        });
        let parser = find(TENSORRT_INCLUDE, TENSORRT_FOLDERS, "NvOnnxParser.h").unwrap_or_else(|| {
            panic!(
                "NvInfer.h was found in {}, NvOnnxParser.h nowhere. On a Jetson: sudo apt install \
                 libnvonnxparsers-dev",
                tensorrt.display()
            )
        });
        let cuda =
            find(CUDA_INCLUDE, CUDA_FOLDERS, "cuda_runtime_api.h").unwrap_or_else(stub_folder);
        println!("cargo:rerun-if-changed={}", tensorrt.join("NvInferVersion.h").display());
        cc::Build::new()
            .cpp(true)
            .std("c++14")
            .file("csrc/hymt_trt.cpp")
            // Their headers warn; ours must not.
            .flag("-isystem")
            .flag(&tensorrt)
            .flag("-isystem")
            .flag(&parser)
            .flag("-isystem")
            .flag(&cuda)
            .flag("-Wno-deprecated-declarations")
            .warnings(true)
            .compile("hymt_trt");
        // In libc since glibc 2.34; a library of its own on JetPack 5.
        println!("cargo:rustc-link-lib=dl");
    }

    fn find(variable: &str, folders: &[&str], file: &str) -> Option<PathBuf> {
        println!("cargo:rerun-if-env-changed={variable}");
        let named = env::var_os(variable).unwrap_or_default();
        env::split_paths(&named)
            .chain(folders.iter().map(PathBuf::from))
            .find(|folder| !folder.as_os_str().is_empty() && folder.join(file).is_file())
    }

    fn stub_folder() -> PathBuf {
        let out = env::var_os("OUT_DIR").expect("cargo sets OUT_DIR for build scripts");
        let folder = Path::new(&out).join("cuda");
        fs::create_dir_all(&folder).expect("OUT_DIR can be written");
        fs::write(folder.join("cuda_runtime_api.h"), CUDA_STUB).expect("OUT_DIR can be written");
        folder
    }
}
