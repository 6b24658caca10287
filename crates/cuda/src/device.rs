//! The GPU: discovery, context, memory, modules, launches, graphs. The TensorRT engine drives it through
//! this too, so that both share a device's context and know when it is lost.
//!
//! One of the files with `unsafe`: the driver's interface is pointers and handles. Everything here
//! that is safe to call checks its sizes. What makes or frees something makes the context current first;
//! work on a stream is for threads that called [`Gpu::bind`], and the driver refuses it elsewhere.
#![allow(unsafe_code)]

mod context;
mod graph;

use std::ffi::{CString, c_int, c_uint, c_void};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use cudarc::driver::sys::{
    self, CUdevice_attribute_enum as Attribute, CUlaunchAttributeID_enum as Launch,
};
use cudarc::driver::{DriverError, result};

use self::context::Context;
pub use self::graph::Graph;
use crate::error::CudaError;
use crate::nvrtc::text;

/// Oldest compute capability that the kernels run on.
const ARCH_MIN: u32 = 72;

/// What is known of a device before anything runs on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceInfo {
    /// Number of the device.
    pub ordinal: usize,
    /// Name, for example `NVIDIA H200`.
    pub name: String,
    /// Compute capability times ten.
    pub arch: u32,
    /// Multiprocessors.
    pub multiprocessors: usize,
    /// Shared memory that one block may have. Bytes.
    pub shared_bytes: usize,
    /// Memory in all. Bytes.
    pub memory_bytes: usize,
    /// Whether it shares its memory with the CPU (Jetson).
    pub is_integrated: bool,
}

/// Names what failed.
fn failed(call: &'static str) -> impl Fn(DriverError) -> CudaError {
    move |error| {
        let name = error.error_name().map_or_else(|_| format!("{:?}", error.0), text);
        let words = error.error_string().map(text).unwrap_or_default();
        CudaError::Call { call, detail: format!("{name} ({words})") }
    }
}

/// Finds a usable device.
///
/// # Errors
/// [`CudaError::NoDriver`], [`CudaError::DriverFailed`], [`CudaError::NoDevice`] or
/// [`CudaError::TooOld`].
pub fn probe(ordinal: usize) -> Result<DeviceInfo, CudaError> {
    // SAFETY: opens and closes the driver's library, which has no preconditions.
    if !unsafe { sys::is_culib_present() } {
        return Err(CudaError::NoDriver);
    }
    let start = |error: DriverError| CudaError::DriverFailed { detail: format!("{error:?}") };
    result::init().map_err(start)?;
    let count = result::device::get_count().map_err(start)? as usize;
    if ordinal >= count {
        return Err(CudaError::NoDevice { ordinal, count });
    }
    let device = result::device::get(ordinal as c_int).map_err(start)?;
    // SAFETY: `device` came from `device::get`.
    let attribute = |which| unsafe { result::device::get_attribute(device, which) }.map_err(start);
    let major = attribute(Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR)?;
    let minor = attribute(Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR)?;
    let name = result::device::get_name(device).map_err(start)?;
    let arch = (major * 10 + minor) as u32;
    if arch < ARCH_MIN {
        return Err(CudaError::TooOld { name, major, minor });
    }
    let shared = attribute(Attribute::CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN)?;
    let sms = attribute(Attribute::CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT)?;
    let integrated = attribute(Attribute::CU_DEVICE_ATTRIBUTE_INTEGRATED)?;
    // SAFETY: as above.
    let memory_bytes = unsafe { result::device::total_mem(device) }.map_err(start)?;
    Ok(DeviceInfo {
        ordinal,
        name,
        arch,
        multiprocessors: sms as usize,
        shared_bytes: shared as usize,
        memory_bytes,
        is_integrated: integrated != 0,
    })
}

/// The device's primary context with one stream.
pub struct Gpu {
    stream: sys::CUstream,
    /// Whether kernels can be started before the one in front has ended (from sm_90 on).
    starts_early: bool,
    /// Most memory that buffers may take. Bytes.
    limit: AtomicUsize,
    allocated: AtomicUsize,
    #[cfg(feature = "testing")]
    pub(crate) refusal: crate::testing::Refusal,
    /// Last, so that it is dropped when nothing of it is left.
    context: Context,
}

// SAFETY: contexts and streams may be used from any thread; where the context is not current, a call is
// an error and nothing else.
unsafe impl Send for Gpu {}
// SAFETY: as above; the driver locks its own state.
unsafe impl Sync for Gpu {}

impl Gpu {
    /// Buffers take `limit` bytes at most; `None` leaves it to the device.
    ///
    /// # Errors
    /// [`CudaError::Lost`] and [`CudaError::Broken`] after a fault, else when the driver fails.
    pub fn open(info: &DeviceInfo, limit: Option<usize>) -> Result<Arc<Self>, CudaError> {
        let mut gpu = Self {
            stream: std::ptr::null_mut(),
            starts_early: info.arch >= 90,
            limit: AtomicUsize::new(limit.unwrap_or(usize::MAX)),
            allocated: AtomicUsize::new(0),
            #[cfg(feature = "testing")]
            refusal: crate::testing::Refusal::default(),
            context: Context::open(info.ordinal)?,
        };
        gpu.bind()?;
        let kind = result::stream::StreamKind::NonBlocking;
        gpu.stream = result::stream::create(kind).map_err(failed("cuStreamCreate"))?;
        Ok(Arc::new(gpu))
    }

    /// Makes the context current on this thread.
    ///
    /// # Errors
    /// When the driver fails.
    pub fn bind(&self) -> Result<(), CudaError> {
        self.context.bind()
    }

    /// The stream, a `CUstream`, which lives as long as `self`.
    pub fn stream(&self) -> *mut c_void {
        self.stream.cast()
    }

    /// Free and total memory. Bytes.
    ///
    /// # Errors
    /// When the driver fails.
    pub fn memory(&self) -> Result<(usize, usize), CudaError> {
        self.bind()?;
        result::mem_get_info().map_err(failed("cuMemGetInfo"))
    }

    /// What buffers take now. Bytes.
    #[cfg(feature = "testing")]
    pub(crate) fn allocated_bytes(&self) -> usize {
        self.allocated.load(Ordering::Relaxed)
    }

    #[cfg(feature = "testing")]
    pub(crate) fn limit_memory(&self, bytes: usize) {
        self.limit.store(bytes, Ordering::Relaxed);
    }

    /// Waits for everything in the stream.
    ///
    /// # Errors
    /// When the driver fails, also of earlier work.
    pub fn synchronize(&self) -> Result<(), CudaError> {
        // SAFETY: the stream lives as long as `self`.
        unsafe { result::stream::synchronize(self.stream) }.map_err(failed("a kernel or a copy"))
    }

    /// Zeroed device memory, at a multiple of 256 bytes; `what` names it in errors.
    ///
    /// # Errors
    /// [`CudaError::OutOfMemory`] above all.
    pub fn alloc(
        self: &Arc<Self>,
        what: &'static str,
        bytes: usize,
    ) -> Result<DeviceBuffer, CudaError> {
        self.bind()?;
        let bytes = bytes.max(16);
        let refused = |free: usize, total: usize| CudaError::OutOfMemory {
            what,
            needed_mib: bytes >> 20,
            free_mib: free >> 20,
            total_mib: total >> 20,
        };
        let taken = self.allocated.load(Ordering::Relaxed);
        let limit = self.limit.load(Ordering::Relaxed);
        if bytes > limit.saturating_sub(taken) {
            return Err(refused(limit.saturating_sub(taken), limit));
        }
        // SAFETY: plain allocation; freed in `DeviceBuffer::drop`.
        let pointer = unsafe { result::malloc_sync(bytes) }.map_err(|error| {
            if error.0 != sys::CUresult::CUDA_ERROR_OUT_OF_MEMORY {
                return failed("cuMemAlloc")(error);
            }
            let (free, total) = result::mem_get_info().unwrap_or_default();
            refused(free, total)
        })?;
        self.allocated.fetch_add(bytes, Ordering::Relaxed);
        let buffer = DeviceBuffer { gpu: Arc::clone(self), pointer, bytes };
        // SAFETY: the buffer has `bytes` bytes.
        unsafe { result::memset_d8_async(pointer, 0, bytes, self.stream) }
            .map_err(failed("cuMemsetD8Async"))?;
        Ok(buffer)
    }

    /// Page-locked host memory, zeroed.
    pub(crate) fn alloc_host(self: &Arc<Self>, bytes: usize) -> Result<HostBuffer, CudaError> {
        self.bind()?;
        let bytes = bytes.max(16);
        // SAFETY: plain allocation; freed in `HostBuffer::drop`; zeroed before anyone reads it.
        let pointer = unsafe {
            let pointer = result::malloc_host(bytes, 0).map_err(failed("cuMemHostAlloc"))?;
            std::ptr::write_bytes(pointer.cast::<u8>(), 0, bytes);
            pointer
        };
        Ok(HostBuffer { gpu: Arc::clone(self), pointer: pointer.cast(), bytes })
    }

    /// Starts a kernel. `arguments` point at values in the kernel's parameter order.
    ///
    /// # Errors
    /// When the driver fails.
    ///
    /// # Safety
    /// The arguments must match the kernel's parameters, and device pointers among them must be
    /// valid, and large enough, until the stream has been synchronised. The kernel's module must be of
    /// this GPU, and loaded until then.
    pub unsafe fn launch(
        &self,
        kernel: Kernel,
        grid: [usize; 3],
        arguments: &mut [*mut c_void],
    ) -> Result<(), CudaError> {
        #[cfg(feature = "testing")]
        self.refusal.count()?;
        if kernel.is_dependent && self.starts_early {
            // SAFETY: the caller vouches for the arguments.
            return unsafe { self.launch_early(kernel, grid, arguments) };
        }
        let grid = (grid[0] as c_uint, grid[1] as c_uint, grid[2] as c_uint);
        let (block, shared) = ((kernel.threads, 1, 1), kernel.shared_bytes);
        let function = kernel.function;
        // SAFETY: the caller vouches for the arguments; function and stream are valid.
        let launched = unsafe {
            if kernel.is_cooperative {
                result::launch_cooperative_kernel(
                    function,
                    grid,
                    block,
                    shared,
                    self.stream,
                    arguments,
                )
            } else {
                result::launch_kernel(function, grid, block, shared, self.stream, arguments)
            }
        };
        launched.map_err(failed("cuLaunchKernel"))
    }

    /// Starts a kernel that waits for the one in front itself. Drivers before CUDA 11.8 have no such
    /// call; those of GPUs that can do it are newer.
    ///
    /// # Safety
    /// As [`Self::launch`].
    unsafe fn launch_early(
        &self,
        kernel: Kernel,
        grid: [usize; 3],
        arguments: &mut [*mut c_void],
    ) -> Result<(), CudaError> {
        let mut early = sys::CUlaunchAttribute {
            id: Launch::CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION,
            pad: Default::default(),
            value: sys::CUlaunchAttributeValue { programmaticStreamSerializationAllowed: 1 },
        };
        let config = sys::CUlaunchConfig {
            gridDimX: grid[0] as c_uint,
            gridDimY: grid[1] as c_uint,
            gridDimZ: grid[2] as c_uint,
            blockDimX: kernel.threads,
            blockDimY: 1,
            blockDimZ: 1,
            sharedMemBytes: kernel.shared_bytes,
            hStream: self.stream,
            attrs: &raw mut early,
            numAttrs: 1,
        };
        // SAFETY: the caller vouches for the arguments; function, stream and attribute are valid.
        let launched = unsafe {
            sys::cuLaunchKernelEx(
                &raw const config,
                kernel.function,
                arguments.as_mut_ptr(),
                std::ptr::null_mut(),
            )
        };
        launched.result().map_err(failed("cuLaunchKernelEx"))
    }
}

impl Drop for Gpu {
    fn drop(&mut self) {
        // Errors of a broken context have nobody to be told.
        if !self.stream.is_null() && self.bind().is_ok() {
            // SAFETY: made in `open`, and nothing that uses it is left.
            let _ = unsafe { result::stream::destroy(self.stream) };
        }
    }
}

/// Device memory, freed when dropped.
pub struct DeviceBuffer {
    gpu: Arc<Gpu>,
    pointer: sys::CUdeviceptr,
    bytes: usize,
}

impl DeviceBuffer {
    /// Where it begins on the device.
    pub fn address(&self) -> u64 {
        self.pointer
    }

    /// Address of byte `offset`.
    pub(crate) fn at(&self, offset: usize) -> u64 {
        assert!(offset <= self.bytes, "an offset into a buffer of {} bytes", self.bytes);
        self.pointer + offset as u64
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Sets every byte.
    pub(crate) fn fill(&self, byte: u8) -> Result<(), CudaError> {
        self.fill_part(0..self.bytes, byte)
    }

    /// Sets some bytes.
    ///
    /// # Panics
    /// When they are not all in the buffer.
    pub(crate) fn fill_part(&self, part: Range<usize>, byte: u8) -> Result<(), CudaError> {
        assert!(part.start <= part.end && part.end <= self.bytes, "{part:?} of {}", self.bytes);
        let (start, len) = (self.pointer + part.start as u64, part.len());
        // SAFETY: these bytes are the buffer's.
        unsafe { result::memset_d8_async(start, byte, len, self.gpu.stream) }
            .map_err(failed("cuMemsetD8Async"))
    }

    /// Copies from ordinary memory; `source` may be reused at once; not while a graph is recorded,
    /// which would read it when it runs.
    ///
    /// # Errors
    /// When the driver fails.
    ///
    /// # Panics
    /// When the copy would leave the buffer.
    pub fn write(&self, offset: usize, source: &[u8]) -> Result<(), CudaError> {
        assert!(offset + source.len() <= self.bytes, "a copy stays inside its buffer");
        // SAFETY: the range was checked; pageable memory is read before the call returns.
        unsafe { result::memcpy_htod_async(self.pointer + offset as u64, source, self.gpu.stream) }
            .map_err(failed("cuMemcpyHtoDAsync"))
    }

    /// Copies from page-locked memory, which must stay as it is until the stream is synchronised.
    pub(crate) fn write_async(&self, source: &HostBuffer, bytes: usize) -> Result<(), CudaError> {
        self.write(0, &source.as_slice()[..bytes])
    }

    /// Copies `destination.len()` bytes from `offset` on and waits for them.
    ///
    /// # Errors
    /// When the driver fails, also of earlier work.
    ///
    /// # Panics
    /// When the copy would leave the buffer.
    pub fn read(&self, offset: usize, destination: &mut [u8]) -> Result<(), CudaError> {
        assert!(offset + destination.len() <= self.bytes, "a copy stays inside its buffer");
        let from = self.pointer + offset as u64;
        // SAFETY: the range was checked, and the stream is synchronised before this returns.
        unsafe { result::memcpy_dtoh_async(destination, from, self.gpu.stream) }
            .map_err(failed("cuMemcpyDtoHAsync"))?;
        self.gpu.synchronize()
    }
}

impl Drop for DeviceBuffer {
    fn drop(&mut self) {
        self.gpu.allocated.fetch_sub(self.bytes, Ordering::Relaxed);
        let _ = self.gpu.bind();
        // SAFETY: allocated in `alloc`, freed once. The driver waits for work that uses it.
        let _ = unsafe { result::free_sync(self.pointer) };
    }
}

/// Page-locked host memory.
pub(crate) struct HostBuffer {
    gpu: Arc<Gpu>,
    pointer: *mut u8,
    bytes: usize,
}

// SAFETY: it owns its memory, like a Vec.
unsafe impl Send for HostBuffer {}

impl HostBuffer {
    /// Where kernels find it: with unified addressing, where the host does.
    pub(crate) fn address(&self) -> u64 {
        self.pointer as u64
    }

    pub(crate) fn as_slice(&self) -> &[u8] {
        // SAFETY: allocated with this size and initialised; `&self` keeps writers away.
        unsafe { std::slice::from_raw_parts(self.pointer, self.bytes) }
    }

    pub(crate) fn as_mut_slice(&mut self) -> &mut [u8] {
        // SAFETY: as above, and `&mut self` is unique.
        unsafe { std::slice::from_raw_parts_mut(self.pointer, self.bytes) }
    }
}

impl Drop for HostBuffer {
    fn drop(&mut self) {
        let _ = self.gpu.bind();
        // SAFETY: allocated in `alloc_host`, freed once.
        let _ = unsafe { result::free_host(self.pointer.cast()) };
    }
}

/// A function of a module and how it is launched.
#[derive(Debug, Clone, Copy)]
pub struct Kernel {
    function: sys::CUfunction,
    /// Of a block: as many as the kernel's launch bounds allow.
    threads: c_uint,
    shared_bytes: c_uint,
    is_cooperative: bool,
    /// Whether it waits on the device for the kernel in front (`await_inputs` in `prefill.cu`), and
    /// so may be started before that one has ended.
    is_dependent: bool,
}

impl Kernel {
    /// One that waits for its inputs itself.
    pub(crate) fn dependent(self) -> Self {
        Self { is_dependent: true, ..self }
    }
}

// SAFETY: a handle, valid in any thread while its module is loaded.
unsafe impl Send for Kernel {}

/// Loaded machine code: any number of cubins, whose names do not repeat.
pub struct Module {
    gpu: Arc<Gpu>,
    cubins: Vec<sys::CUmodule>,
}

// SAFETY: handles, used with their context current.
unsafe impl Send for Module {}

impl Module {
    /// One without code.
    pub fn new(gpu: &Arc<Gpu>) -> Self {
        Self { gpu: Arc::clone(gpu), cubins: Vec::new() }
    }

    /// Adds machine code.
    ///
    /// # Errors
    /// When the driver refuses it.
    pub fn load(&mut self, cubin: &[u8]) -> Result<(), CudaError> {
        self.gpu.bind()?;
        // SAFETY: a whole cubin in memory; the driver checks its header and copies it.
        let loaded = unsafe { result::module::load_data(cubin.as_ptr().cast()) }
            .map_err(failed("cuModuleLoadData"))?;
        self.cubins.push(loaded);
        Ok(())
    }

    /// A kernel of the code, to be launched with as many threads a block as its launch bounds allow.
    ///
    /// # Errors
    /// When there is none of this name.
    ///
    /// # Panics
    /// When the name has NUL inside.
    pub fn kernel(&self, name: &str) -> Result<Kernel, CudaError> {
        let name = CString::new(name).expect("kernel names are constants without NUL");
        let function = self
            // SAFETY: the cubin is loaded.
            .find(|cubin| unsafe { result::module::get_function(cubin, name.clone()) })
            .map_err(failed("cuModuleGetFunction"))?;
        let which = sys::CUfunction_attribute_enum::CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK;
        // SAFETY: the function is valid.
        let threads = unsafe { result::function::get_function_attribute(function, which) }
            .map_err(failed("cuFuncGetAttribute"))? as c_uint;
        Ok(Kernel {
            function,
            threads,
            shared_bytes: 0,
            is_cooperative: false,
            is_dependent: false,
        })
    }

    /// A cooperative kernel, as [`Self::kernel_with_shared`].
    pub(crate) fn cooperative(&self, name: &str, shared_name: &str) -> Result<Kernel, CudaError> {
        Ok(Kernel { is_cooperative: true, ..self.kernel_with_shared(name, shared_name)? })
    }

    /// A kernel with as much dynamic shared memory as the constant `shared_name` says.
    pub(crate) fn kernel_with_shared(
        &self,
        name: &str,
        shared_name: &str,
    ) -> Result<Kernel, CudaError> {
        let kernel = self.kernel(name)?;
        let shared_bytes = self.constant(shared_name)?;
        let which = sys::CUfunction_attribute_enum::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
        // SAFETY: the function is valid.
        unsafe { result::function::set_function_attribute(kernel.function, which, shared_bytes) }
            .map_err(failed("cuFuncSetAttribute"))?;
        let shared_bytes = shared_bytes as c_uint;
        Ok(Kernel { shared_bytes, ..kernel })
    }

    /// An `int` constant of the code.
    pub(crate) fn constant(&self, name: &str) -> Result<i32, CudaError> {
        let name = CString::new(name).expect("constant names have no NUL");
        let mut value = [0_i32];
        let (pointer, _) = self
            // SAFETY: the cubin is loaded.
            .find(|cubin| unsafe { result::module::get_global(cubin, name.clone()) })
            .map_err(failed("cuModuleGetGlobal"))?;
        // SAFETY: the constant is one `int`.
        unsafe { result::memcpy_dtoh_sync(&mut value, pointer) }.map_err(failed("cuMemcpyDtoH"))?;
        Ok(value[0])
    }

    /// What the first cubin that has it gives.
    fn find<T>(
        &self,
        get: impl Fn(sys::CUmodule) -> Result<T, DriverError>,
    ) -> Result<T, DriverError> {
        let mut outcome = Err(DriverError(sys::CUresult::CUDA_ERROR_NOT_FOUND));
        for cubin in &self.cubins {
            outcome = get(*cubin);
            if !matches!(outcome, Err(DriverError(sys::CUresult::CUDA_ERROR_NOT_FOUND))) {
                break;
            }
        }
        outcome
    }
}

impl Drop for Module {
    fn drop(&mut self) {
        let _ = self.gpu.bind();
        for cubin in &self.cubins {
            // SAFETY: loaded in `load`, unloaded once.
            let _ = unsafe { result::module::unload(*cubin) };
        }
    }
}
