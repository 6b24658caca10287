//! The GPU: memory and launches through `hymt_cuda`, CUDA graphs here.
//!
//! One of the files with `unsafe`: it launches kernels and captures a stream, which the compiler
//! cannot check.
#![allow(unsafe_code)]

use std::ffi::c_void;
use std::path::Path;
use std::ptr;
use std::sync::Arc;

use cudarc::driver::{DriverError, result, sys};
use hymt_cuda::device::{DeviceBuffer, DeviceInfo, Gpu, Kernel, Module};
use hymt_cuda::nvrtc::Nvrtc;
use hymt_cuda::program::Source;

use super::{Append, Device, DeviceError, KEPT, SLICES, Shorten, kernels};
use crate::safe::Stream;

/// A GPU with our two kernels.
pub struct CudaDevice {
    append: Kernel,
    shorten: Kernel,
    _module: Module,
    gpu: Arc<Gpu>,
}

/// A captured CUDA graph, ready to be launched.
pub struct CudaGraph {
    executable: sys::CUgraphExec,
    gpu: Arc<Gpu>,
}

// SAFETY: a handle, used by one thread at a time with its context current.
unsafe impl Send for CudaGraph {}

impl CudaDevice {
    /// Opens a GPU and compiles the kernels for it, or takes them from `cache`.
    ///
    /// # Errors
    /// [`DeviceError::Cuda`]: what is missing on this machine.
    pub fn open(info: &DeviceInfo, cache: Option<&Path>) -> Result<Self, DeviceError> {
        let gpu = Gpu::open(info)?;
        let source = Source {
            text: kernels::SOURCE.to_owned(),
            options: kernels::options(),
            arch: format!("sm_{}", info.arch),
            decode_sizes: Vec::new(),
        };
        let cubin = source.cubin(&Nvrtc::open(None)?, cache)?;
        let module = Module::load(&gpu, &cubin)?;
        let (append, shorten) = (module.kernel("append")?, module.kernel("shorten")?);
        Ok(Self { append, shorten, _module: module, gpu })
    }

    fn raw_stream(&self) -> sys::CUstream {
        self.gpu.stream().cast()
    }
}

/// Pointers to values, in the order of a kernel's parameters.
macro_rules! arguments {
    ($($value:expr),* $(,)?) => { &mut [$((&raw mut $value).cast::<c_void>()),*] };
}

impl Device for CudaDevice {
    type Buffer = DeviceBuffer;
    type Graph = CudaGraph;

    fn bind(&self) -> Result<(), DeviceError> {
        Ok(self.gpu.bind()?)
    }

    fn stream(&self) -> Stream {
        // SAFETY: the engine, the only user, holds the device, whose stream lives as long.
        unsafe { Stream::from_raw(self.gpu.stream()) }
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

    fn append(&mut self, append: &Append) -> Result<(), DeviceError> {
        let grid = [append.tensors, append.batch, append.heads];
        let (mut table, mut rows) = (append.table, append.rows);
        let [mut tensors, mut first_slot, mut heads, mut context, mut tokens, mut words] = [
            append.tensors,
            append.first_slot,
            append.heads,
            append.context,
            append.tokens,
            append.words,
        ]
        .map(|size| size as i32);
        // SAFETY: the parameters are those of `append` in kernels.rs; the engine's buffers hold what
        // `Append` says and live until the stream has been synchronised, and as long as graphs do.
        Ok(unsafe {
            self.gpu.launch(
                self.append,
                grid,
                arguments![table, rows, tensors, first_slot, heads, context, tokens, words],
            )
        }?)
    }

    fn shorten(&mut self, shorten: &Shorten) -> Result<(), DeviceError> {
        let Shorten { mut logits, rows, vocab, mut best } = *shorten;
        let mut dropped = best + (rows * SLICES * KEPT * 8) as u64;
        let mut vocab = vocab as i32;
        // SAFETY: as above, for `shorten`.
        Ok(unsafe {
            self.gpu.launch(
                self.shorten,
                [SLICES, rows, 1],
                arguments![logits, best, dropped, vocab],
            )
        }?)
    }

    fn begin_capture(&mut self) -> Result<(), DeviceError> {
        // Other threads of the process may use CUDA meanwhile; this one does nothing else.
        let mode = sys::CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL;
        // SAFETY: the stream lives as long as the GPU.
        unsafe { result::stream::begin_capture(self.raw_stream(), mode) }
            .map_err(failed("cuStreamBeginCapture"))
    }

    fn end_capture(&mut self) -> Result<CudaGraph, DeviceError> {
        // SAFETY: the stream lives as long as the GPU.
        let graph = unsafe { result::stream::end_capture(self.raw_stream()) }
            .map_err(failed("cuStreamEndCapture"))?;
        if graph.is_null() {
            let detail = "nothing was captured".to_owned();
            return Err(DeviceError::Call { call: "cuStreamEndCapture", detail });
        }
        let mut executable = ptr::null_mut();
        // SAFETY: the graph was just made; it may go once it has been instantiated.
        let made = unsafe {
            let made = sys::cuGraphInstantiateWithFlags(&mut executable, graph, 0).result();
            let _ = result::graph::destroy(graph);
            made
        };
        made.map_err(failed("cuGraphInstantiate"))?;
        Ok(CudaGraph { executable, gpu: Arc::clone(&self.gpu) })
    }

    fn launch(&mut self, graph: &CudaGraph) -> Result<(), DeviceError> {
        // SAFETY: both live; the engine drops a graph before what it uses.
        unsafe { sys::cuGraphLaunch(graph.executable, self.raw_stream()).result() }
            .map_err(failed("cuGraphLaunch"))
    }

    fn synchronize(&mut self) -> Result<(), DeviceError> {
        Ok(self.gpu.synchronize()?)
    }
}

impl Drop for CudaGraph {
    fn drop(&mut self) {
        // Errors of a dead context have nobody to be told.
        let _ = self.gpu.bind();
        // SAFETY: instantiated in `end_capture`, destroyed once. The driver waits for running ones.
        unsafe {
            let _ = result::graph::exec_destroy(self.executable);
        }
    }
}

fn failed(call: &'static str) -> impl Fn(DriverError) -> DeviceError {
    move |error| {
        let text = error.error_name().map(|name| name.to_string_lossy().into_owned());
        let detail = text.unwrap_or_else(|_| format!("{:?}", error.0));
        DeviceError::Call { call, detail }
    }
}
