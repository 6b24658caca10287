//! What the engine asks of the machine that TensorRT runs on: memory, one stream, CUDA graphs and
//! three small kernels of ours.
//!
//! [`cuda`] is the GPU. `host` (feature `testkit`) keeps everything in ordinary memory, so that a
//! fake TensorRT can drive the engine where there is no GPU.
//!
//! One of the files with `unsafe`: kernels and graphs are told addresses as numbers, behind which only
//! the engine knows what lies, so that the calls that start them are `unsafe`.
#![allow(unsafe_code)]

pub mod cuda;
#[cfg(any(test, feature = "testkit"))]
pub mod host;
pub mod kernels;

use hymt_cuda::CudaError;
pub use hymt_cuda::device::{DeviceInfo, probe};

use crate::safe::Stream;

/// Alignment of every buffer and of every address that TensorRT is given. Bytes.
pub const ALIGNMENT: usize = 256;

/// A device with one stream. Everything but [`Device::read`] and [`Device::synchronize`] only puts
/// work into the stream.
pub trait Device: Send {
    /// Memory, freed when dropped.
    type Buffer: Send;
    /// Captured work.
    type Graph: Send;

    /// Makes the device current on this thread; before anything else there.
    ///
    /// # Errors
    /// When the driver fails.
    fn bind(&self) -> Result<(), DeviceError>;

    /// Its name; `None` for the fake.
    fn name(&self) -> Option<String> {
        None
    }

    /// Free memory and all of it, in bytes; `None` where that is the system's.
    ///
    /// # Errors
    /// When the driver fails.
    fn memory(&self) -> Result<Option<[u64; 2]>, DeviceError> {
        Ok(None)
    }

    /// The stream.
    fn stream(&self) -> Stream;

    /// Memory at a multiple of [`ALIGNMENT`]; `what` names it in errors. It is zeroed: attention
    /// multiplies places of the cache that do not count by 0, which undoes anything but infinities and
    /// NaN. [`Self::clear`] undoes those.
    ///
    /// # Errors
    /// [`DeviceError::Cuda`], out of memory above all.
    fn alloc(&mut self, what: &'static str, bytes: usize) -> Result<Self::Buffer, DeviceError>;

    /// Where a buffer lies.
    fn address(&self, buffer: &Self::Buffer) -> u64;

    /// Copies into a buffer; `bytes` may change afterwards.
    ///
    /// # Errors
    /// When the driver fails.
    fn write(&mut self, buffer: &Self::Buffer, bytes: &[u8]) -> Result<(), DeviceError>;

    /// Copies out of a buffer, and waits for it.
    ///
    /// # Errors
    /// When the driver fails, also of earlier work.
    fn read(
        &mut self,
        buffer: &Self::Buffer,
        offset: usize,
        into: &mut [u8],
    ) -> Result<(), DeviceError>;

    /// Copies new keys and values to their place in the cache.
    ///
    /// # Errors
    /// When the driver fails.
    ///
    /// # Safety
    /// Until the work is done, the addresses are those of this device's living buffers, which hold what
    /// [`Append`] says, rows inside the cache above all; when recorded, whenever the graph is launched.
    ///
    /// ```compile_fail,E0133
    /// use hymt_tensorrt::device::{Append, Device};
    ///
    /// // Any number could be an address, so this needs `unsafe`.
    /// fn write_anywhere<D: Device>(device: &mut D, append: &Append) {
    ///     let _ = device.append(append);
    /// }
    /// ```
    unsafe fn append(&mut self, append: &Append) -> Result<(), DeviceError>;

    /// Zeroes places of the cache.
    ///
    /// # Errors
    /// When the driver fails.
    ///
    /// # Safety
    /// As [`Self::append`], for [`Clear`].
    unsafe fn clear(&mut self, clear: &Clear) -> Result<(), DeviceError>;

    /// Finds the best of each row of logits.
    ///
    /// # Errors
    /// When the driver fails.
    ///
    /// # Safety
    /// As [`Self::append`], for [`Shorten`].
    unsafe fn shorten(&mut self, shorten: &Shorten) -> Result<(), DeviceError>;

    /// From now on, work is recorded instead of done.
    ///
    /// # Errors
    /// When the driver fails.
    fn begin_capture(&mut self) -> Result<(), DeviceError>;

    /// What was recorded. Recording ends also on error.
    ///
    /// # Errors
    /// When something in it cannot be captured.
    fn end_capture(&mut self) -> Result<Self::Graph, DeviceError>;

    /// Does what was recorded.
    ///
    /// # Errors
    /// When the driver fails.
    ///
    /// # Safety
    /// Everything that the recorded work uses is still there, until it is done.
    unsafe fn launch(&mut self, graph: &Self::Graph) -> Result<(), DeviceError>;

    /// Waits for everything.
    ///
    /// # Errors
    /// When the driver fails, also of earlier work.
    fn synchronize(&mut self) -> Result<(), DeviceError>;
}

/// Which new keys and values go where. Addresses are the device's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Append {
    /// `u64 [2 * tensors]`: addresses of the new tensors `[batch, heads, tokens, words]`, then of the
    /// cache `[slots, heads, context, words]`.
    pub table: u64,
    /// `i32 [batch, 2]`: first position and number of tokens of each row; 0 tokens for an idle one.
    pub rows: u64,
    /// Keys and values of all layers.
    pub tensors: usize,
    /// Slot of row 0.
    pub first_slot: usize,
    /// Rows.
    pub batch: usize,
    /// Key/value heads.
    pub heads: usize,
    /// Length of the cache. Tokens.
    pub context: usize,
    /// Tokens of a row, padding included.
    pub tokens: usize,
    /// 32-bit words of one token of one head.
    pub words: usize,
}

/// Which places of the cache are zeroed. Addresses are the device's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Clear {
    /// As [`Append::table`].
    pub table: u64,
    /// `i32 [batch, 2]`: first position and number of places of each row.
    pub rows: u64,
    /// Keys and values of all layers.
    pub tensors: usize,
    /// Slot of row 0.
    pub first_slot: usize,
    /// Rows.
    pub batch: usize,
    /// Key/value heads.
    pub heads: usize,
    /// Length of the cache. Tokens.
    pub context: usize,
    /// 32-bit words of one token of one head.
    pub words: usize,
}

/// Which rows of logits are shortened. Addresses are the device's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shorten {
    /// `f32 [rows, vocab]`.
    pub logits: u64,
    /// Rows.
    pub rows: usize,
    /// Length of a row.
    pub vocab: usize,
    /// `[rows, SLICES, KEPT]` of (f32 logit, u32 token), [`NO_TOKEN`] where there is none; behind it
    /// `f32 [rows, SLICES]`, the best logit of a slice that was not kept.
    pub best: u64,
}

/// Pieces into which a row of logits is cut, one thread block each.
pub const SLICES: usize = 32;
/// Logits that are kept of each.
pub const KEPT: usize = 8;
/// No token.
pub const NO_TOKEN: u32 = u32::MAX;

impl Shorten {
    /// Bytes of `best` for so many rows.
    pub fn best_bytes(rows: usize) -> usize {
        rows * SLICES * (KEPT * 8 + 4)
    }
}

/// The device failed, or cannot be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DeviceError {
    /// The GPU, its driver, or the compiler of our kernels.
    #[error(transparent)]
    Cuda(#[from] CudaError),
    /// A call of the driver failed.
    #[error("{call} failed: {detail}")]
    Call {
        /// The call.
        call: &'static str,
        /// What the driver said.
        detail: String,
    },
}
