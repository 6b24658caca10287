//! Why the CUDA engine cannot be had.

use std::path::PathBuf;

use hymt_llm::error::LoadError;

/// The CUDA engine could not be made, or failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CudaError {
    /// There is no NVIDIA driver.
    #[error("no NVIDIA driver: libcuda.so.1 cannot be opened; install one, or choose engine cpu")]
    NoDriver,
    /// The driver refused to start.
    #[error("the NVIDIA driver does not start: {detail}; is the GPU visible to this process?")]
    DriverFailed {
        /// What the driver said.
        detail: String,
    },
    /// The device that was asked for does not exist.
    #[error("CUDA device {ordinal} asked for; there are {count}")]
    NoDevice {
        /// The device.
        ordinal: usize,
        /// Devices present.
        count: usize,
    },
    /// The device is older than what the kernels use.
    #[error("'{name}' has compute capability {major}.{minor}; at least 7.2 is needed")]
    TooOld {
        /// Name of the device.
        name: String,
        /// Compute capability.
        major: i32,
        /// Compute capability.
        minor: i32,
    },
    /// A kernel has broken the device's context, and another engine of this process still uses it.
    #[error(
        "CUDA device {ordinal} has failed in this process and cannot be used again before the \
         {users} engines that still use it are gone"
    )]
    Broken {
        /// The device.
        ordinal: usize,
        /// Who has to go.
        users: usize,
    },
    /// A fault has made the device useless to this process, and the driver gives no new context.
    #[error(
        "CUDA device {ordinal} is lost to this process after a fault ({detail}); start the process again"
    )]
    Lost {
        /// The device.
        ordinal: usize,
        /// What the driver said when it was asked for a context.
        detail: String,
    },
    /// The compiler's library is missing.
    #[error(
        "libnvrtc cannot be opened ({detail}); install the CUDA toolkit's NVRTC, or put the folder \
         of the wheel nvidia-cuda-nvrtc into LD_LIBRARY_PATH, or its file into HYMT_NVRTC"
    )]
    NoNvrtc {
        /// What was tried.
        detail: String,
    },
    /// The compiler refused the kernels.
    #[error("NVRTC {version} cannot compile the kernels for {arch}: {log}")]
    Compile {
        /// Version of the compiler.
        version: String,
        /// Target.
        arch: String,
        /// First lines of its log.
        log: String,
    },
    /// Device memory is used up.
    #[error(
        "out of GPU memory: {what} needs {needed_mib} MiB, {free_mib} of {total_mib} MiB are free; \
         lower the context or the slots, or free the GPU"
    )]
    OutOfMemory {
        /// What the memory was for.
        what: &'static str,
        /// Size of the refused allocation. MiB.
        needed_mib: usize,
        /// Free memory. MiB.
        free_mib: usize,
        /// Memory in all. MiB.
        total_mib: usize,
    },
    /// The model's shape is none the kernels are written for.
    #[error("the CUDA kernels need {what} {allowed}; this model has {value}")]
    Shape {
        /// Which dimension.
        what: &'static str,
        /// Its value.
        value: usize,
        /// What is allowed.
        allowed: &'static str,
    },
    /// A call of the driver failed.
    #[error("{call} failed: {detail}")]
    Call {
        /// The call.
        call: &'static str,
        /// What the driver said.
        detail: String,
    },
    /// The cubin cache cannot be read or written.
    #[error("kernel cache '{}'", path.display())]
    Cache {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The model cannot be loaded.
    #[error(transparent)]
    Load(#[from] LoadError),
}
