//! The GPU, through the CUDA crate's layer of the driver, with the three kernels of this engine.
//!
//! TensorRT works in the device's primary context, so that one is used here too; the layer shares it
//! with a CUDA engine in the same process and says when a fault has lost it.
//!
//! One of the files with `unsafe`: kernels are started with addresses.
#![allow(unsafe_code)]

use std::ffi::c_void;
use std::sync::Arc;

use hymt_cuda::device::{DeviceBuffer, DeviceInfo, Gpu, Graph, Kernel, Module};
use hymt_cuda::nvrtc::Nvrtc;

use super::{Append, Clear, Device, DeviceError, KEPT, SLICES, Shorten, kernels};
use crate::safe::Stream;

/// A GPU with our three kernels.
pub struct CudaDevice {
    append: Kernel,
    clear: Kernel,
    shorten: Kernel,
    /// Has the kernels' code.
    _module: Module,
    name: String,
    gpu: Arc<Gpu>,
}

impl CudaDevice {
    /// Opens a GPU and compiles the kernels for it: all are small, 0.2 s on a slow board.
    ///
    /// # Errors
    /// [`DeviceError::Cuda`]: what is missing on this machine, or that a fault has lost the GPU.
    pub fn open(info: &DeviceInfo) -> Result<Self, DeviceError> {
        // The GPU first: one that is lost needs no kernels.
        let gpu = Gpu::open(info, None)?;
        let arch = format!("sm_{}", info.arch);
        let compiled = Nvrtc::open(None)?.compile(kernels::SOURCE, &arch, &kernels::options())?;
        let mut module = Module::new(&gpu);
        module.load(&compiled.cubin)?;
        Ok(Self {
            append: module.kernel("append")?,
            clear: module.kernel("clear")?,
            shorten: module.kernel("shorten")?,
            _module: module,
            name: info.name.clone(),
            gpu,
        })
    }
}

/// Pointers to values, in the order of a kernel's parameters.
macro_rules! arguments {
    ($($value:expr),* $(,)?) => { &mut [$((&raw mut $value).cast::<c_void>()),*] };
}

impl Device for CudaDevice {
    type Buffer = DeviceBuffer;
    type Graph = Graph;

    fn bind(&self) -> Result<(), DeviceError> {
        Ok(self.gpu.bind()?)
    }

    fn name(&self) -> Option<String> {
        Some(self.name.clone())
    }

    fn memory(&self) -> Result<Option<[u64; 2]>, DeviceError> {
        let (free, total) = self.gpu.memory()?;
        Ok(Some([free as u64, total as u64]))
    }

    fn stream(&self) -> Stream {
        // SAFETY: `Gpu` destroys its stream when it goes, and whoever uses the device binds it first.
        unsafe { Stream::from_raw(self.gpu.stream(), Arc::clone(&self.gpu) as _) }
    }

    fn alloc(&mut self, what: &'static str, bytes: usize) -> Result<DeviceBuffer, DeviceError> {
        Ok(self.gpu.alloc(what, bytes)?)
    }

    fn address(&self, buffer: &DeviceBuffer) -> u64 {
        buffer.address()
    }

    fn write(&mut self, buffer: &DeviceBuffer, bytes: &[u8]) -> Result<(), DeviceError> {
        Ok(buffer.write(0, bytes)?)
    }

    fn read(
        &mut self,
        buffer: &DeviceBuffer,
        offset: usize,
        into: &mut [u8],
    ) -> Result<(), DeviceError> {
        Ok(buffer.read(offset, into)?)
    }

    unsafe fn append(&mut self, append: &Append) -> Result<(), DeviceError> {
        let grid = [append.tensors, append.batch, append.heads];
        let (mut table, mut rows) = (append.table, append.rows);
        let sizes = [append.tensors, append.first_slot, append.heads, append.context];
        let [mut tensors, mut first_slot, mut heads, mut context] = sizes.map(|size| size as i32);
        let (mut tokens, mut words) = (append.tokens as i32, append.words as i32);
        let arguments = arguments![table, rows, tensors, first_slot, heads, context, tokens, words];
        // SAFETY: the parameters are those of `append` in kernels.rs; what the addresses are is the
        // caller's promise.
        Ok(unsafe { self.gpu.launch(self.append, grid, arguments) }?)
    }

    unsafe fn clear(&mut self, clear: &Clear) -> Result<(), DeviceError> {
        let grid = [clear.tensors, clear.batch, clear.heads];
        let (mut table, mut rows) = (clear.table, clear.rows);
        let sizes = [clear.tensors, clear.first_slot, clear.heads, clear.context, clear.words];
        let [mut tensors, mut first_slot, mut heads, mut context, mut words] =
            sizes.map(|size| size as i32);
        let arguments = arguments![table, rows, tensors, first_slot, heads, context, words];
        // SAFETY: as above, for `clear`.
        Ok(unsafe { self.gpu.launch(self.clear, grid, arguments) }?)
    }

    unsafe fn shorten(&mut self, shorten: &Shorten) -> Result<(), DeviceError> {
        let Shorten { mut logits, rows, vocab, mut best } = *shorten;
        let mut dropped = best + (rows * SLICES * KEPT * 8) as u64;
        let mut vocab = vocab as i32;
        let arguments = arguments![logits, best, dropped, vocab];
        // SAFETY: as above, for `shorten`.
        Ok(unsafe { self.gpu.launch(self.shorten, [SLICES, rows, 1], arguments) }?)
    }

    fn begin_capture(&mut self) -> Result<(), DeviceError> {
        Ok(self.gpu.begin_capture()?)
    }

    fn end_capture(&mut self) -> Result<Graph, DeviceError> {
        Ok(self.gpu.end_capture()?)
    }

    unsafe fn launch(&mut self, graph: &Graph) -> Result<(), DeviceError> {
        // SAFETY: the caller's promise is the same.
        Ok(unsafe { graph.launch() }?)
    }

    fn synchronize(&mut self) -> Result<(), DeviceError> {
        Ok(self.gpu.synchronize()?)
    }
}
