//! The GPU, through the CUDA driver: memory, a stream, two kernels, CUDA graphs.
//!
//! TensorRT works in the device's primary context, so that one is used here too.
//!
//! One of the files with `unsafe`: every call into the driver is.
#![allow(unsafe_code)]

use std::ffi::{CString, c_int, c_void};
use std::ptr;
use std::sync::Arc;

use cudarc::driver::{DriverError, result, sys};
use hymt_cuda::CudaError;
use hymt_cuda::device::DeviceInfo;
use hymt_cuda::nvrtc::Nvrtc;

use super::{Append, Device, DeviceError, KEPT, SLICES, Shorten, kernels};
use crate::safe::Stream;

/// A GPU with our two kernels.
pub struct CudaDevice {
    append: sys::CUfunction,
    shorten: sys::CUfunction,
    module: sys::CUmodule,
    name: String,
    gpu: Arc<Gpu>,
}

// SAFETY: handles, used by one thread at a time with their context current.
unsafe impl Send for CudaDevice {}

/// The primary context with a stream.
struct Gpu {
    device: sys::CUdevice,
    context: sys::CUcontext,
    stream: sys::CUstream,
}

// SAFETY: context and stream may be used from any thread once the context is current there, which
// every use sees to.
unsafe impl Send for Gpu {}
// SAFETY: as above; the driver locks its own state.
unsafe impl Sync for Gpu {}

/// Memory of the GPU.
pub struct CudaBuffer {
    pointer: sys::CUdeviceptr,
    bytes: usize,
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
    /// Opens a GPU and compiles the kernels for it: both are small, 0.2 s on a slow board.
    ///
    /// # Errors
    /// [`DeviceError::Cuda`]: what is missing on this machine.
    pub fn open(info: &DeviceInfo) -> Result<Self, DeviceError> {
        let arch = format!("sm_{}", info.arch);
        let nvrtc = Nvrtc::open(None)?;
        let cubin = nvrtc.compile(kernels::SOURCE, &arch, &kernels::options())?.cubin;
        let gpu = Gpu::open(info.ordinal)?;
        // SAFETY: a whole cubin in memory; the driver checks its header and copies it.
        let module = unsafe { result::module::load_data(cubin.as_ptr().cast()) }
            .map_err(failed("cuModuleLoadData"))?;
        let (append, shorten, name) = (ptr::null_mut(), ptr::null_mut(), info.name.clone());
        let mut this = Self { append, shorten, module, name, gpu };
        this.append = this.function(c"append".to_owned())?;
        this.shorten = this.function(c"shorten".to_owned())?;
        Ok(this)
    }

    fn function(&self, name: CString) -> Result<sys::CUfunction, DeviceError> {
        // SAFETY: the module is loaded.
        unsafe { result::module::get_function(self.module, name) }
            .map_err(failed("cuModuleGetFunction"))
    }

    /// # Safety
    /// The arguments are those of the kernel, and what they point at lives until the stream has been
    /// synchronised, or as long as a graph that the launch is captured into.
    unsafe fn start(
        &self,
        kernel: sys::CUfunction,
        grid: [usize; 3],
        arguments: &mut [*mut c_void],
    ) -> Result<(), DeviceError> {
        let [x, y, z] = grid.map(|blocks| blocks as u32);
        let block = (kernels::THREADS as u32, 1, 1);
        // SAFETY: the caller's promise; function and stream are valid.
        unsafe { result::launch_kernel(kernel, (x, y, z), block, 0, self.gpu.stream, arguments) }
            .map_err(failed("cuLaunchKernel"))
    }
}

impl Gpu {
    fn open(ordinal: usize) -> Result<Arc<Self>, DeviceError> {
        result::init().map_err(failed("cuInit"))?;
        let device = result::device::get(ordinal as c_int).map_err(failed("cuDeviceGet"))?;
        // SAFETY: the device is valid; the context is released in `drop`.
        let context = unsafe { result::primary_ctx::retain(device) }
            .map_err(failed("cuDevicePrimaryCtxRetain"))?;
        let mut gpu = Self { device, context, stream: ptr::null_mut() };
        gpu.bind()?;
        let kind = result::stream::StreamKind::NonBlocking;
        gpu.stream = result::stream::create(kind).map_err(failed("cuStreamCreate"))?;
        Ok(Arc::new(gpu))
    }

    fn bind(&self) -> Result<(), DeviceError> {
        // SAFETY: the context lives as long as `self`.
        unsafe { result::ctx::set_current(self.context) }.map_err(failed("cuCtxSetCurrent"))
    }

    fn synchronize(&self) -> Result<(), DeviceError> {
        // SAFETY: the stream lives as long as `self`.
        unsafe { result::stream::synchronize(self.stream) }.map_err(failed("a run or a copy"))
    }
}

/// Pointers to values, in the order of a kernel's parameters.
macro_rules! arguments {
    ($($value:expr),* $(,)?) => { &mut [$((&raw mut $value).cast::<c_void>()),*] };
}

impl Device for CudaDevice {
    type Buffer = CudaBuffer;
    type Graph = CudaGraph;

    fn bind(&self) -> Result<(), DeviceError> {
        self.gpu.bind()
    }

    fn name(&self) -> Option<String> {
        Some(self.name.clone())
    }

    fn memory(&self) -> Result<Option<[u64; 2]>, DeviceError> {
        self.gpu.bind()?;
        let (free, total) = result::mem_get_info().map_err(failed("cuMemGetInfo"))?;
        Ok(Some([free as u64, total as u64]))
    }

    fn stream(&self) -> Stream {
        // SAFETY: `Gpu` destroys its stream when it goes, and whoever uses the device binds it first.
        unsafe { Stream::from_raw(self.gpu.stream.cast(), Arc::clone(&self.gpu) as _) }
    }

    fn alloc(&mut self, what: &'static str, bytes: usize) -> Result<CudaBuffer, DeviceError> {
        self.gpu.bind()?;
        let bytes = bytes.max(16);
        // SAFETY: plain allocation, aligned to 256 bytes and more; freed in `CudaBuffer::drop`.
        let pointer = unsafe { result::malloc_sync(bytes) }.map_err(|error| {
            if error.0 != sys::CUresult::CUDA_ERROR_OUT_OF_MEMORY {
                return failed("cuMemAlloc")(error);
            }
            let (free, total) = result::mem_get_info().unwrap_or_default();
            DeviceError::Cuda(CudaError::OutOfMemory {
                what,
                needed_mib: bytes >> 20,
                free_mib: free >> 20,
                total_mib: total >> 20,
            })
        })?;
        let buffer = CudaBuffer { pointer, bytes, gpu: Arc::clone(&self.gpu) };
        // SAFETY: the buffer has `bytes` bytes.
        unsafe { result::memset_d8_async(pointer, 0, bytes, self.gpu.stream) }
            .map_err(failed("cuMemsetD8Async"))?;
        Ok(buffer)
    }

    fn address(&self, buffer: &CudaBuffer) -> u64 {
        buffer.pointer
    }

    fn write(&mut self, buffer: &CudaBuffer, bytes: &[u8]) -> Result<(), DeviceError> {
        assert!(bytes.len() <= buffer.bytes, "a copy stays inside its buffer");
        // SAFETY: the range was checked; pageable memory is read before the call returns.
        unsafe { result::memcpy_htod_async(buffer.pointer, bytes, self.gpu.stream) }
            .map_err(failed("cuMemcpyHtoDAsync"))
    }

    fn read(
        &mut self,
        buffer: &CudaBuffer,
        offset: usize,
        into: &mut [u8],
    ) -> Result<(), DeviceError> {
        assert!(offset + into.len() <= buffer.bytes, "a copy stays inside its buffer");
        // SAFETY: the range was checked, and the stream is synchronised before this returns.
        unsafe { result::memcpy_dtoh_async(into, buffer.pointer + offset as u64, self.gpu.stream) }
            .map_err(failed("cuMemcpyDtoHAsync"))?;
        self.gpu.synchronize()
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
        unsafe { self.start(self.append, grid, arguments) }
    }

    unsafe fn shorten(&mut self, shorten: &Shorten) -> Result<(), DeviceError> {
        let Shorten { mut logits, rows, vocab, mut best } = *shorten;
        let mut dropped = best + (rows * SLICES * KEPT * 8) as u64;
        let mut vocab = vocab as i32;
        let arguments = arguments![logits, best, dropped, vocab];
        // SAFETY: as above, for `shorten`.
        unsafe { self.start(self.shorten, [SLICES, rows, 1], arguments) }
    }

    fn begin_capture(&mut self) -> Result<(), DeviceError> {
        // Other threads of the process may use CUDA meanwhile; this one does nothing else.
        let mode = sys::CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL;
        // SAFETY: the stream lives as long as the GPU.
        unsafe { result::stream::begin_capture(self.gpu.stream, mode) }
            .map_err(failed("cuStreamBeginCapture"))
    }

    fn end_capture(&mut self) -> Result<CudaGraph, DeviceError> {
        // SAFETY: the stream lives as long as the GPU.
        let graph = unsafe { result::stream::end_capture(self.gpu.stream) }
            .map_err(failed("cuStreamEndCapture"))?;
        if graph.is_null() {
            let detail = "nothing was captured".to_owned();
            return Err(DeviceError::Call { call: "cuStreamEndCapture", detail });
        }
        let mut executable = ptr::null_mut();
        // SAFETY: the graph was just made, and may go once it has been instantiated.
        let made = unsafe {
            let made = sys::cuGraphInstantiateWithFlags(&mut executable, graph, 0).result();
            let _ = result::graph::destroy(graph);
            made
        };
        made.map_err(failed("cuGraphInstantiate"))?;
        Ok(CudaGraph { executable, gpu: Arc::clone(&self.gpu) })
    }

    unsafe fn launch(&mut self, graph: &CudaGraph) -> Result<(), DeviceError> {
        // SAFETY: both live; that what the graph uses does is the caller's promise.
        unsafe { sys::cuGraphLaunch(graph.executable, self.gpu.stream).result() }
            .map_err(failed("cuGraphLaunch"))
    }

    fn synchronize(&mut self) -> Result<(), DeviceError> {
        self.gpu.synchronize()
    }
}

// Errors of a dead context have nobody to be told, so drops ignore them.

impl Drop for CudaDevice {
    fn drop(&mut self) {
        let _ = self.gpu.bind();
        // SAFETY: loaded in `open`, unloaded once.
        let _ = unsafe { result::module::unload(self.module) };
    }
}

impl Drop for CudaGraph {
    fn drop(&mut self) {
        let _ = self.gpu.bind();
        // SAFETY: instantiated in `end_capture`, destroyed once. The driver waits for running ones.
        let _ = unsafe { result::graph::exec_destroy(self.executable) };
    }
}

impl Drop for CudaBuffer {
    fn drop(&mut self) {
        let _ = self.gpu.bind();
        // SAFETY: allocated in `alloc`, freed once. The driver waits for work that uses it.
        let _ = unsafe { result::free_sync(self.pointer) };
    }
}

impl Drop for Gpu {
    fn drop(&mut self) {
        let _ = self.bind();
        // SAFETY: made in `open`, and nothing that uses them is left.
        unsafe {
            if !self.stream.is_null() {
                let _ = result::stream::destroy(self.stream);
            }
            let _ = result::primary_ctx::release(self.device);
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
