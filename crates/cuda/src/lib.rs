//! HunYuanDenseV1 in INT8 on NVIDIA GPUs.
//!
//! The kernels in `kernels/` are compiled by NVRTC for the GPU at hand, with the model's shape as
//! constants, and cached on disk. Nothing of CUDA is needed to build this crate or to run a
//! program that contains it: driver and compiler are opened when an engine is made, and what is
//! missing is a [`CudaError`]. The arithmetic is the CPU engine's (INT8 weights with one scale a
//! row, INT8 activations with one scale a token, exact i32 sums), which makes that one its oracle.

pub mod device;
pub mod engine;
pub mod error;
pub mod nvrtc;
pub mod program;
#[cfg(feature = "testing")]
#[doc(hidden)]
pub mod testing;
mod weights;

pub use self::engine::{CudaEngine, CudaOptions};
pub use self::error::CudaError;
