//! Building plans: builder, network, config.
//!
//! A builder's children borrow it. As it is not `Sync`, they all stay on its thread, which is what
//! TensorRT asks for.
//!
//! `unsafe` here: each call hands pointers to the shim.
#![allow(unsafe_code)]

use std::ffi::c_void;
use std::fmt;
use std::marker::PhantomData;
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::ptr;

use super::tensor::{ShapeRange, TensorInfo};
use super::{Bytes, Library, dla, tensors_of};
use crate::error::{PARSER_ERRORS_MAX, ParserError, TensorRtError};
use crate::result::{self, Failure, Handle, text_at};
use crate::sys::{self, code};

/// Layers of a network that are looked at; the 1.8B graph has a few thousand.
const LAYERS_MAX: i32 = 1 << 20;

/// What the headers have; the same for every library that fits them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Capability {
    /// Networks whose types are those of the graph: 10.x, and always from 11.
    StronglyTyped = 0,
    /// [`Flag::Fp16`] and [`Flag::Int8`]: up to 10.x.
    WeaklyTyped = 1,
    /// Progress and cancelling: from 10.
    Monitor = 2,
    /// Optimisation levels: from 8.6.
    Levels = 3,
}

impl Capability {
    /// Whether this program's TensorRT has it.
    pub fn is_there(self) -> bool {
        // SAFETY: takes a number.
        unsafe { sys::hymt_trt_supports(self as i32) == 1 }
    }
}

/// Who decides about types.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Typing {
    /// The graph.
    Strong,
    /// TensorRT, within the flags.
    Weak,
}

/// A switch of the builder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flag {
    /// Allows FP16, in weakly typed networks.
    Fp16 = 0,
    /// Allows INT8, in weakly typed networks.
    Int8 = 1,
    /// What DLA cannot run goes to the GPU, silently: ask [`Config::layer_on_dla`] first.
    GpuFallback = 2,
    /// Keeps names and formats in the plan, for [`super::Engine::layers_json`].
    DetailedLayers = 3,
}

/// Where layers run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Device {
    /// The GPU.
    Gpu,
    /// This core of the deep learning accelerator.
    Dla(i32),
}

/// One layer of a network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layer {
    /// Its name, as the parser made it from the graph's.
    pub name: String,
    /// What it does: `MatrixMultiply`, `ElementWise`.
    pub kind: String,
}

/// How far a build is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// What is being done.
    pub phase: String,
    /// What it is part of; empty for the outermost.
    pub parent: String,
    /// Steps done of this phase.
    pub step: i32,
    /// Steps of this phase.
    pub steps: i32,
    /// Whether the phase ends with this.
    pub is_finished: bool,
}

/// Is told how far a build is, from any thread; `Break` ends the build.
type Watch = Box<dyn Fn(&Progress) -> ControlFlow<()> + Send + Sync>;

/// Builds plans.
#[derive(Debug)]
pub struct Builder {
    // The handle goes before the library.
    handle: Handle<sys::Builder>,
    library: Library,
}

impl Builder {
    pub(super) fn new(library: &Library) -> Result<Self, TensorRtError> {
        // SAFETY: alive, and the builder keeps it so.
        let handle = result::handle(|builder, error| unsafe {
            sys::hymt_trt_builder_create(library.raw(), builder, error)
        })?;
        Ok(Self { handle, library: library.clone() })
    }

    /// DLA cores, as TensorRT counts them.
    ///
    /// # Errors
    /// [`TensorRtError::Exception`].
    pub fn dla_cores(&self) -> Result<i32, TensorRtError> {
        // SAFETY: alive.
        Ok(result::value(0, |cores, error| unsafe {
            sys::hymt_trt_builder_dla_cores(self.handle.raw(), cores, error)
        })?)
    }

    /// An empty network.
    ///
    /// # Errors
    /// [`TensorRtError::Unsupported`] for a typing that this TensorRT has not.
    pub fn network(&self, typing: Typing) -> Result<Network<'_>, TensorRtError> {
        let strong = i32::from(typing == Typing::Strong);
        // SAFETY: alive.
        let handle = result::handle(|network, error| unsafe {
            sys::hymt_trt_network_create(self.handle.raw(), strong, network, error)
        })?;
        Ok(Network { handle, _builder: PhantomData })
    }

    /// The choices of one build; all as TensorRT has them.
    ///
    /// # Errors
    /// [`TensorRtError::Refused`].
    pub fn config(&self) -> Result<Config<'_>, TensorRtError> {
        // SAFETY: alive.
        let handle = result::handle(|config, error| unsafe {
            sys::hymt_trt_config_create(self.handle.raw(), config, error)
        })?;
        Ok(Config { handle, watch: None, builder: self })
    }

    /// Builds; takes minutes, and as much memory as the machine has left.
    ///
    /// # Errors
    /// [`TensorRtError::Build`] with what TensorRT logged, [`TensorRtError::Cancelled`].
    pub fn build(
        &self,
        network: &mut Network<'_>,
        config: &mut Config<'_>,
    ) -> Result<Bytes, TensorRtError> {
        // SAFETY: all alive, and borrowed by this call alone.
        Ok(Bytes(result::handle(|plan, error| unsafe {
            let (network, config) = (network.handle.raw(), config.handle.raw());
            sys::hymt_trt_build(self.handle.raw(), network, config, plan, error)
        })?))
    }
}

/// A network, read from an ONNX file.
#[derive(Debug)]
pub struct Network<'b> {
    handle: Handle<sys::Network>,
    _builder: PhantomData<&'b Builder>,
}

impl Network<'_> {
    /// Reads an ONNX file; external data is looked up beside it. Once per network.
    ///
    /// # Errors
    /// [`TensorRtError::Parse`] with the parser's complaints; [`TensorRtError::LibraryMissing`]
    /// without a parser.
    pub fn parse_file(&mut self, path: &Path) -> Result<(), TensorRtError> {
        let text = result::c_text(&path.to_string_lossy())?;
        // SAFETY: alive; the path lives during the call.
        let parsed = result::check(|error| unsafe {
            sys::hymt_trt_network_parse_file(self.handle.raw(), text.as_ptr(), error)
        });
        match parsed {
            Err(Failure { code: code::PARSE, text: detail }) => {
                let (path, errors) = (path.to_owned(), self.parser_errors()?);
                Err(TensorRtError::Parse { path, detail, errors })
            }
            other => Ok(other?),
        }
    }

    /// Inputs, then outputs.
    ///
    /// # Errors
    /// [`TensorRtError::Exception`].
    pub fn tensors(&self) -> Result<Vec<TensorInfo>, TensorRtError> {
        let network = self.handle.raw();
        // SAFETY: alive; names live as long as the network.
        unsafe {
            tensors_of(
                |count, error| sys::hymt_trt_network_tensors(network, count, error),
                |index, tensor, error| sys::hymt_trt_network_tensor(network, index, tensor, error),
            )
        }
    }

    /// Layers, in the network's order.
    ///
    /// # Errors
    /// [`TensorRtError::Exception`].
    pub fn layers(&mut self) -> Result<Vec<Layer>, TensorRtError> {
        // SAFETY: alive.
        let count = result::value(0, |count, error| unsafe {
            sys::hymt_trt_network_layers(self.handle.raw(), count, error)
        })?;
        let layer = |index| {
            let empty = sys::Layer { name: ptr::null(), kind: ptr::null() };
            // SAFETY: alive; both strings are copied before the next call.
            unsafe {
                let raw = result::value(empty, |layer, error| {
                    sys::hymt_trt_network_layer(self.handle.raw(), index, layer, error)
                })?;
                Ok(Layer { name: text_at(raw.name), kind: text_at(raw.kind) })
            }
        };
        (0..count.min(LAYERS_MAX)).map(layer).collect()
    }

    fn parser_errors(&self) -> Result<Vec<ParserError>, TensorRtError> {
        // SAFETY: alive.
        let count = result::value(0, |count, error| unsafe {
            sys::hymt_trt_network_parser_errors(self.handle.raw(), count, error)
        })?;
        let max = i32::try_from(PARSER_ERRORS_MAX).unwrap_or(i32::MAX);
        (0..count.min(max)).map(|index| self.parser_error(index)).collect()
    }

    fn parser_error(&self, index: i32) -> Result<ParserError, TensorRtError> {
        let (node_name, op, text) = (ptr::null(), ptr::null(), ptr::null());
        let empty = sys::ParserError { code: 0, node: -1, node_name, op, text };
        // SAFETY: alive; the strings live as long as the parser and are copied here.
        unsafe {
            let raw = result::value(empty, |found, error| {
                sys::hymt_trt_network_parser_error(self.handle.raw(), index, found, error)
            })?;
            Ok(ParserError {
                node: usize::try_from(raw.node).ok(),
                node_name: text_at(raw.node_name),
                op: text_at(raw.op),
                text: text_at(raw.text),
            })
        }
    }
}

/// The choices of one build.
pub struct Config<'b> {
    // The handle goes before the callback that it calls.
    handle: Handle<sys::Config>,
    watch: Option<Box<Watch>>,
    builder: &'b Builder,
}

impl fmt::Debug for Config<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config").field("handle", &self.handle).finish_non_exhaustive()
    }
}

impl Config<'_> {
    /// Turns a switch on.
    ///
    /// # Errors
    /// [`TensorRtError::Unsupported`] for one that this TensorRT has not.
    pub fn set_flag(&mut self, flag: Flag) -> Result<(), TensorRtError> {
        // SAFETY: alive.
        Ok(result::check(|error| unsafe {
            sys::hymt_trt_config_set_flag(self.handle.raw(), flag as i32, error)
        })?)
    }

    /// Scratch memory that a layer may take. Bytes.
    ///
    /// # Errors
    /// [`TensorRtError::Exception`].
    pub fn set_workspace_bytes(&mut self, bytes: usize) -> Result<(), TensorRtError> {
        // SAFETY: alive.
        Ok(result::check(|error| unsafe {
            sys::hymt_trt_config_set_workspace(self.handle.raw(), bytes, error)
        })?)
    }

    /// From 0, the fastest build, to 5, the fastest engine.
    ///
    /// # Errors
    /// [`TensorRtError::Unsupported`] before 8.6, [`TensorRtError::Argument`] above 5.
    pub fn set_level(&mut self, level: i32) -> Result<(), TensorRtError> {
        // SAFETY: alive.
        Ok(result::check(|error| unsafe {
            sys::hymt_trt_config_set_level(self.handle.raw(), level, error)
        })?)
    }

    /// Where layers run.
    ///
    /// # Errors
    /// [`TensorRtError::DlaUnavailable`].
    pub fn set_device(&mut self, device: Device) -> Result<(), TensorRtError> {
        let (kind, core) = match device {
            Device::Gpu => (0, 0),
            Device::Dla(core) => (1, core),
        };
        let cores = self.builder.dla_cores()?;
        // SAFETY: alive.
        result::check(|error| unsafe {
            sys::hymt_trt_config_set_device(self.handle.raw(), kind, core, error)
        })
        .map_err(|failure| dla::explain(failure, core, cores, self.builder.library.version()))
    }

    /// Whether a layer of the network, by its place in [`Network::layers`], can run on DLA.
    ///
    /// # Errors
    /// [`TensorRtError::Argument`] for what is no layer.
    pub fn layer_on_dla(&self, network: &Network<'_>, layer: usize) -> Result<bool, TensorRtError> {
        let layer = i32::try_from(layer).unwrap_or(i32::MAX);
        // SAFETY: both alive.
        let can = result::value(0, |can, error| unsafe {
            let network = network.handle.raw();
            sys::hymt_trt_config_layer_on_dla(self.handle.raw(), network, layer, can, error)
        })?;
        Ok(can == 1)
    }

    /// Adds a profile: a range of shapes for every dynamic input, by name. Returns its number.
    ///
    /// # Errors
    /// [`TensorRtError::Tensor`] for a range that is none, [`TensorRtError::Refused`].
    pub fn add_profile(&mut self, ranges: &[(&str, ShapeRange)]) -> Result<usize, TensorRtError> {
        // SAFETY: alive.
        let profile = result::handle(|profile, error| unsafe {
            sys::hymt_trt_profile_create(self.builder.handle.raw(), profile, error)
        })?;
        for (name, range) in ranges {
            let (name, min) = (result::c_text(name)?, sys::Dims::try_from(&range.min)?);
            let (opt, max) = (sys::Dims::try_from(&range.opt)?, sys::Dims::try_from(&range.max)?);
            // SAFETY: alive; name and shapes live during the call.
            result::check(|error| unsafe {
                sys::hymt_trt_profile_set_shape(
                    profile.raw(),
                    name.as_ptr(),
                    &raw const min,
                    &raw const opt,
                    &raw const max,
                    error,
                )
            })?;
        }
        // SAFETY: both alive; TensorRT keeps the profile itself.
        let index = result::value(0, |index, error| unsafe {
            sys::hymt_trt_config_add_profile(self.handle.raw(), profile.raw(), index, error)
        })?;
        Ok(usize::try_from(index).unwrap_or(0))
    }

    /// Uses what an earlier build measured; empty bytes begin an empty cache, to be read afterwards
    /// with [`Self::timing_cache`].
    ///
    /// # Errors
    /// [`TensorRtError::Refused`] for the cache of another version or GPU.
    pub fn set_timing_cache(&mut self, bytes: &[u8]) -> Result<(), TensorRtError> {
        let data = if bytes.is_empty() { ptr::null() } else { bytes.as_ptr().cast() };
        // SAFETY: alive; the bytes are read during the call only.
        Ok(result::check(|error| unsafe {
            sys::hymt_trt_config_set_timing_cache(self.handle.raw(), data, bytes.len(), error)
        })?)
    }

    /// What is measured by now.
    ///
    /// # Errors
    /// [`TensorRtError::Refused`] if no cache was set.
    pub fn timing_cache(&self) -> Result<Bytes, TensorRtError> {
        // SAFETY: alive.
        Ok(Bytes(result::handle(|bytes, error| unsafe {
            sys::hymt_trt_config_timing_cache(self.handle.raw(), bytes, error)
        })?))
    }

    /// Has the build say how far it is. It is told from the building thread or one of TensorRT's;
    /// `Break` ends the build, and so does a panic.
    ///
    /// # Errors
    /// [`TensorRtError::Unsupported`] before 10.
    pub fn set_progress(
        &mut self,
        watch: impl Fn(&Progress) -> ControlFlow<()> + Send + Sync + 'static,
    ) -> Result<(), TensorRtError> {
        let watch: Box<Watch> = Box::new(Box::new(watch));
        let user = (&raw const *watch).cast_mut().cast();
        // SAFETY: alive; the callback lives in this config, and is replaced after the monitor is.
        result::check(|error| unsafe {
            sys::hymt_trt_config_set_progress(self.handle.raw(), forward_progress, user, error)
        })?;
        self.watch = Some(watch);
        Ok(())
    }
}

/// # Safety
/// `user` is the `Watch` of a living config; `progress` and its strings live during the call.
unsafe extern "C" fn forward_progress(user: *mut c_void, progress: *const sys::Progress) -> i32 {
    // SAFETY: the caller's promise; the watch is Sync.
    let (watch, progress) = unsafe {
        let raw = &*progress;
        let progress = Progress {
            phase: text_at(raw.phase),
            parent: text_at(raw.parent),
            step: raw.step,
            steps: raw.steps,
            is_finished: raw.finished != 0,
        };
        (&*user.cast_const().cast::<Watch>(), progress)
    };
    // A panic must not cross C++.
    match catch_unwind(AssertUnwindSafe(|| watch(&progress))) {
        Ok(ControlFlow::Continue(())) => 1,
        Ok(ControlFlow::Break(())) | Err(_) => 0,
    }
}
