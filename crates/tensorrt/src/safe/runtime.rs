//! Running plans: runtime, engine, context.
//!
//! `unsafe` here: each call hands pointers to the shim, and [`Context::enqueue`] is `unsafe` itself,
//! as it has the GPU write to addresses that only the caller knows.
#![allow(unsafe_code)]

use std::any::Any;
use std::ffi::c_void;
use std::ops::Deref;
use std::ptr;
use std::sync::Arc;

use super::tensor::{Shape, ShapeRange, TensorInfo};
use super::{Library, dla, tensors_of};
use crate::error::TensorRtError;
use crate::result::{self, Handle};
use crate::sys;

/// Deserialises plans.
#[derive(Debug)]
pub struct Runtime {
    inner: Arc<RuntimeInner>,
}

/// The order of the fields is the order in which they go: the handle first.
#[derive(Debug)]
struct RuntimeInner {
    handle: Handle<sys::Runtime>,
    library: Library,
}

impl Runtime {
    pub(super) fn new(library: &Library) -> Result<Self, TensorRtError> {
        // SAFETY: the library is alive, and the runtime keeps it so.
        let handle = result::handle(|runtime, error| unsafe {
            sys::hymt_trt_runtime_create(library.raw(), runtime, error)
        })?;
        let inner = RuntimeInner { handle, library: library.clone() };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// DLA cores, as TensorRT counts them.
    ///
    /// # Errors
    /// [`TensorRtError::Exception`].
    pub fn dla_cores(&mut self) -> Result<i32, TensorRtError> {
        // SAFETY: alive, and `&mut` keeps other threads out.
        let cores = result::value(0, |cores, error| unsafe {
            sys::hymt_trt_runtime_dla_cores(self.raw(), cores, error)
        })?;
        Ok(cores)
    }

    /// Plans deserialised from now on run on this DLA core.
    ///
    /// # Errors
    /// [`TensorRtError::DlaUnavailable`].
    pub fn set_dla_core(&mut self, core: i32) -> Result<(), TensorRtError> {
        let cores = self.dla_cores()?;
        // SAFETY: as above.
        result::check(|error| unsafe {
            sys::hymt_trt_runtime_set_dla_core(self.raw(), core, error)
        })
        .map_err(|failure| dla::explain(failure, core, cores, self.inner.library.version()))
    }

    /// Makes an engine of a plan, which may go afterwards.
    ///
    /// # Errors
    /// [`TensorRtError::Plan`] with what TensorRT logged.
    pub fn deserialise(&mut self, plan: &[u8]) -> Result<Engine, TensorRtError> {
        // SAFETY: the plan is read during the call only; the engine keeps the runtime.
        let handle = result::handle(|engine, error| unsafe {
            let (data, bytes) = (plan.as_ptr().cast(), plan.len());
            sys::hymt_trt_runtime_deserialise(self.raw(), data, bytes, engine, error)
        })?;
        let tensors = engine_tensors(&handle)?;
        let inner = EngineInner { handle, tensors, _runtime: Arc::clone(&self.inner) };
        Ok(Engine { inner: Arc::new(inner) })
    }

    fn raw(&mut self) -> *mut sys::Runtime {
        self.inner.handle.raw()
    }
}

/// A deserialised plan. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Engine {
    inner: Arc<EngineInner>,
}

/// The order of the fields is the order in which they go: the handle first.
#[derive(Debug)]
struct EngineInner {
    handle: Handle<sys::Engine>,
    tensors: Vec<TensorInfo>,
    _runtime: Arc<RuntimeInner>,
}

impl Engine {
    /// Inputs and outputs, in the plan's order.
    pub fn tensors(&self) -> &[TensorInfo] {
        &self.inner.tensors
    }

    /// How many profiles the plan has.
    ///
    /// # Errors
    /// [`TensorRtError::Exception`].
    pub fn profiles(&self) -> Result<usize, TensorRtError> {
        // SAFETY: alive.
        let profiles = result::value(0, |count, error| unsafe {
            sys::hymt_trt_engine_profiles(self.raw(), count, error)
        })?;
        Ok(usize::try_from(profiles).unwrap_or(0))
    }

    /// Which shapes an input may have under a profile.
    ///
    /// # Errors
    /// [`TensorRtError::Tensor`] for what is no input, [`TensorRtError::Argument`] for what is no
    /// profile.
    pub fn profile_range(&self, name: &str, profile: usize) -> Result<ShapeRange, TensorRtError> {
        let name = result::c_text(name)?;
        let profile = i32::try_from(profile).unwrap_or(i32::MAX);
        let shape = |bound: Bound| -> Result<Shape, TensorRtError> {
            // SAFETY: alive; the name lives during the call.
            let dims = result::value(sys::Dims::default(), |dims, error| unsafe {
                let (name, bound) = (name.as_ptr(), bound as i32);
                sys::hymt_trt_engine_profile_shape(self.raw(), name, profile, bound, dims, error)
            })?;
            Ok(dims.into())
        };
        Ok(ShapeRange { min: shape(Bound::Min)?, opt: shape(Bound::Opt)?, max: shape(Bound::Max)? })
    }

    /// Scratch memory that one context takes. Bytes.
    ///
    /// # Errors
    /// [`TensorRtError::Exception`].
    pub fn device_memory_bytes(&self) -> Result<u64, TensorRtError> {
        // SAFETY: alive.
        let bytes = result::value(0, |bytes, error| unsafe {
            sys::hymt_trt_engine_device_memory(self.raw(), bytes, error)
        })?;
        Ok(u64::try_from(bytes).unwrap_or(0))
    }

    /// What the plan consists of, in TensorRT's JSON.
    ///
    /// # Errors
    /// [`TensorRtError::Refused`].
    pub fn layers_json(&self) -> Result<String, TensorRtError> {
        // SAFETY: alive.
        let bytes = Bytes(result::handle(|bytes, error| unsafe {
            sys::hymt_trt_engine_layers(self.raw(), bytes, error)
        })?);
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Something that runs the engine; allocates its scratch memory.
    ///
    /// # Errors
    /// [`TensorRtError::Refused`], out of memory above all.
    pub fn context(&self) -> Result<Context, TensorRtError> {
        // SAFETY: alive, and the context keeps the engine.
        let handle = result::handle(|context, error| unsafe {
            sys::hymt_trt_context_create(self.raw(), context, error)
        })?;
        Ok(Context { handle, engine: self.clone() })
    }

    fn raw(&self) -> *mut sys::Engine {
        self.inner.handle.raw()
    }
}

fn engine_tensors(handle: &Handle<sys::Engine>) -> Result<Vec<TensorInfo>, TensorRtError> {
    let engine = handle.raw();
    // SAFETY: alive; names live as long as the engine.
    unsafe {
        tensors_of(
            |count, error| sys::hymt_trt_engine_tensors(engine, count, error),
            |index, tensor, error| sys::hymt_trt_engine_tensor(engine, index, tensor, error),
        )
    }
}

/// Which end of a range, as the shim numbers them.
#[derive(Debug, Clone, Copy)]
enum Bound {
    Min = 0,
    Opt = 1,
    Max = 2,
}

/// A CUDA stream of somebody else, who lives at least as long.
#[derive(Clone)]
pub struct Stream {
    raw: *mut c_void,
    _owner: Option<Arc<dyn Any + Send + Sync>>,
}

// SAFETY: a stream may be used from any thread, and its owner keeps it alive.
unsafe impl Send for Stream {}

impl Stream {
    /// The default stream.
    pub const DEFAULT: Self = Self { raw: ptr::null_mut(), _owner: None };

    /// Takes a `CUstream`, which is a `cudaStream_t`.
    ///
    /// # Safety
    /// The stream lives as long as `owner`, and its CUDA context is current wherever the value and its
    /// clones are used.
    pub unsafe fn from_raw(stream: *mut c_void, owner: Arc<dyn Any + Send + Sync>) -> Self {
        Self { raw: stream, _owner: Some(owner) }
    }
}

/// One state of execution: a profile, shapes, addresses, scratch memory.
#[derive(Debug)]
pub struct Context {
    handle: Handle<sys::Context>,
    engine: Engine,
}

impl Context {
    /// The engine that it runs.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Changes the profile, in the order of the stream. Input shapes are forgotten, addresses stay.
    ///
    /// # Errors
    /// [`TensorRtError::Argument`] for what is no profile, [`TensorRtError::Refused`].
    pub fn set_profile(&mut self, profile: usize, stream: &Stream) -> Result<(), TensorRtError> {
        let profile = i32::try_from(profile).unwrap_or(i32::MAX);
        // SAFETY: alive, and so is the stream, says `Stream::from_raw`.
        Ok(result::check(|error| unsafe {
            sys::hymt_trt_context_set_profile(self.handle.raw(), profile, stream.raw, error)
        })?)
    }

    /// Says how large an input is from the next run on.
    ///
    /// # Errors
    /// [`TensorRtError::Tensor`] for what is no input, or lies outside the profile.
    pub fn set_input_shape(&mut self, name: &str, shape: &Shape) -> Result<(), TensorRtError> {
        let (name, dims) = (result::c_text(name)?, sys::Dims::try_from(shape)?);
        // SAFETY: alive; name and shape live during the call.
        Ok(result::check(|error| unsafe {
            let dims = &raw const dims;
            sys::hymt_trt_context_set_input_shape(self.handle.raw(), name.as_ptr(), dims, error)
        })?)
    }

    /// The shape of a tensor under the present input shapes.
    ///
    /// # Errors
    /// [`TensorRtError::Tensor`] while an input that it depends on is open.
    pub fn tensor_shape(&self, name: &str) -> Result<Shape, TensorRtError> {
        let name = result::c_text(name)?;
        // SAFETY: alive; the name lives during the call.
        let dims = result::value(sys::Dims::default(), |dims, error| unsafe {
            sys::hymt_trt_context_tensor_shape(self.handle.raw(), name.as_ptr(), dims, error)
        })?;
        Ok(dims.into())
    }

    /// Says where a tensor lies from the next run on; nothing is read or written yet. The address is
    /// a `CUdeviceptr`, or the host's for tensors with `on_host`, and aligned to 256 bytes.
    ///
    /// # Errors
    /// [`TensorRtError::Tensor`] for an unknown name, null, or what TensorRT refuses.
    pub fn set_address(&mut self, name: &str, address: u64) -> Result<(), TensorRtError> {
        let name = result::c_text(name)?;
        let address = ptr::with_exposed_provenance_mut(usize::try_from(address).unwrap_or(0));
        // SAFETY: alive; the address is stored, not followed.
        Ok(result::check(|error| unsafe {
            sys::hymt_trt_context_set_address(self.handle.raw(), name.as_ptr(), address, error)
        })?)
    }

    /// Checks that every input has a shape, and works out those of the outputs.
    ///
    /// # Errors
    /// [`TensorRtError::Tensor`] with the names of the open ones.
    pub fn infer_shapes(&mut self) -> Result<(), TensorRtError> {
        // SAFETY: alive.
        Ok(result::check(|error| unsafe {
            sys::hymt_trt_context_infer_shapes(self.handle.raw(), error)
        })?)
    }

    /// Puts one run into the stream and returns before it is done. May be captured into a CUDA graph
    /// after one plain run with the same profile and shapes.
    ///
    /// # Errors
    /// [`TensorRtError::Tensor`] with the names of what has no address, [`TensorRtError::Enqueue`].
    ///
    /// # Safety
    /// Every address that was set is valid for its tensor's shape and type until the run is done, and
    /// nothing else uses the outputs meanwhile; when captured, until the graph is gone.
    pub unsafe fn enqueue(&mut self, stream: &Stream) -> Result<(), TensorRtError> {
        // SAFETY: alive; the addresses are the caller's promise.
        Ok(result::check(|error| unsafe {
            sys::hymt_trt_context_enqueue(self.handle.raw(), stream.raw, error)
        })?)
    }
}

/// Bytes that TensorRT made: a plan, a timing cache.
#[derive(Debug)]
pub struct Bytes(pub(super) Handle<sys::Bytes>);

impl Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: data and size belong together and stay as they are while the handle lives.
        unsafe {
            let data = sys::hymt_trt_bytes_data(self.0.raw()).cast::<u8>();
            let size = sys::hymt_trt_bytes_size(self.0.raw());
            if data.is_null() { &[] } else { std::slice::from_raw_parts(data, size) }
        }
    }
}
