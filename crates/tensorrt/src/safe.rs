//! TensorRT without `unsafe` for whoever uses it, but for the one call that runs the GPU.
//!
//! | here | of TensorRT | lives as long as |
//! | --- | --- | --- |
//! | [`Library`] | libnvinfer, libnvonnxparser | what came from it |
//! | [`Runtime`] | `IRuntime` | its engines |
//! | [`Engine`] | `ICudaEngine` | its contexts |
//! | [`Context`] | `IExecutionContext` | itself |
//! | [`Builder`] | `IBuilder` | its networks and configs, which borrow it |
//!
//! Threads: everything is `Send`; [`Library`] and [`Engine`] are `Sync`; the rest is used by one thread
//! at a time, which `&mut self` and, for the builder's children, a borrow of the builder see to.
//!
//! `unsafe` here: each call hands pointers to the shim.
#![allow(unsafe_code)]

mod builder;
mod dla;
mod runtime;
mod tensor;

use std::ffi::{CString, c_char, c_void};
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::ptr;
use std::sync::Arc;

pub use self::builder::{
    Builder, Capability, Config, Device, Flag, Layer, Network, Progress, Typing,
};
pub use self::dla::board_model;
pub use self::runtime::{Bytes, Context, Engine, Runtime, Stream};
pub use self::tensor::{DataType, Mode, Shape, ShapeRange, TensorInfo};
use crate::error::{TensorRtError, Version};
use crate::result::{self, Failure, Handle};
use crate::sys::{self, code};

/// Names a path of libnvinfer instead of the usual ones.
pub const ENV_NVINFER: &str = "HYMT_NVINFER";
/// Names a path of libnvonnxparser instead of the usual ones.
pub const ENV_ONNX_PARSER: &str = "HYMT_NVONNXPARSER";

/// Majors that may be installed, as the files' names end: the newest first.
const MAJORS: [i32; 3] = [11, 10, 8];

/// How bad a line of TensorRT's log is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// TensorRT itself is broken.
    InternalError,
    /// What was asked for failed.
    Error,
    /// It went on, but.
    Warning,
    /// What it does.
    Info,
    /// Everything.
    Verbose,
}

/// Receives TensorRT's log, from any thread, from several at once.
pub type Log = Box<dyn Fn(Severity, &str) + Send + Sync>;

/// Forwards TensorRT's log to `tracing`, one level lower where TensorRT chats.
pub fn log_to_tracing() -> Log {
    Box::new(|severity, text| match severity {
        Severity::InternalError | Severity::Error => tracing::error!(target: "tensorrt", "{text}"),
        Severity::Warning => tracing::warn!(target: "tensorrt", "{text}"),
        Severity::Info => tracing::debug!(target: "tensorrt", "{text}"),
        Severity::Verbose => tracing::trace!(target: "tensorrt", "{text}"),
    })
}

/// Which files to open.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Libraries {
    /// libnvinfer or its lean runtime; the usual names where absent.
    pub nvinfer: Option<PathBuf>,
    /// Whether plans will be built, or run only.
    pub parser: Parser,
    /// The CUDA driver; `libcuda.so.1` where absent.
    pub cuda: Option<PathBuf>,
}

/// Whether libnvonnxparser is opened too.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Parser {
    /// No: plans are run and not built.
    #[default]
    Absent,
    /// Under its usual names.
    Usual,
    /// This file.
    At(PathBuf),
}

impl Libraries {
    /// The usual names, unless [`ENV_NVINFER`] and [`ENV_ONNX_PARSER`] say otherwise.
    pub fn from_env() -> Self {
        let named = |variable| std::env::var_os(variable).map(PathBuf::from);
        let parser = named(ENV_ONNX_PARSER).map_or(Parser::Usual, Parser::At);
        Self { nvinfer: named(ENV_NVINFER), parser, cuda: None }
    }

    /// The same, without the parser.
    #[must_use]
    pub fn without_parser(self) -> Self {
        Self { parser: Parser::Absent, ..self }
    }
}

/// The opened libraries. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Library {
    inner: Arc<LibraryInner>,
}

#[derive(Debug)]
pub(crate) struct LibraryInner {
    handle: Handle<sys::Library>,
    version: Version,
    path: String,
    /// Called by the handle until it is gone; boxed twice to have an address of one word.
    _log: LogBox,
}

struct LogBox(Box<Log>);

impl fmt::Debug for LogBox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Log")
    }
}

impl Library {
    /// Opens TensorRT and holds its version against the headers. Needs no GPU.
    ///
    /// # Errors
    /// [`TensorRtError::NotBuilt`], [`TensorRtError::LibraryMissing`] with each path and reason,
    /// [`TensorRtError::WrongVersion`], [`TensorRtError::SymbolMissing`], [`TensorRtError::Abi`].
    pub fn open(libraries: &Libraries, log: Log) -> Result<Self, TensorRtError> {
        let headers = headers()?;
        let nvinfer = match &libraries.nvinfer {
            Some(path) => vec![path.to_string_lossy().into_owned()],
            None => usual_names("libnvinfer", headers),
        };
        // The parser's major goes with libnvinfer's, so its name follows from the headers too.
        let parser = match &libraries.parser {
            Parser::Absent => None,
            Parser::Usual => usual_names("libnvonnxparser", headers).into_iter().next(),
            Parser::At(path) => Some(path.to_string_lossy().into_owned()),
        };
        let cuda = libraries.cuda.as_ref().map(|path| path.to_string_lossy().into_owned());
        let log = LogBox(Box::new(log));
        let (mut tried, mut other_version) = (Vec::new(), None);
        for path in nvinfer {
            let found = open_one(&path, parser.as_deref(), cuda.as_deref(), &log);
            let (failure, version) = match found {
                Ok((handle, version)) => {
                    let inner = LibraryInner { handle, version, path, _log: log };
                    return Ok(Self { inner: Arc::new(inner) });
                }
                Err(failed) => failed,
            };
            let is_nvinfer_open = version != Version::from(sys::Version::default());
            match failure.code {
                code::LIBRARY_MISSING if !is_nvinfer_open => tried.push(failure.text),
                // Another candidate may fit; if none does, this tells more than "missing".
                code::WRONG_VERSION => {
                    let is_to_blame = |file: &String| failure.text.starts_with(file.as_str());
                    let path = parser.clone().filter(is_to_blame).unwrap_or(path);
                    let error = TensorRtError::WrongVersion { headers, library: version, path };
                    other_version.get_or_insert(error);
                }
                _ => return Err(failure.into()),
            }
        }
        Err(other_version.unwrap_or(TensorRtError::LibraryMissing { library: "libnvinfer", tried }))
    }

    /// What was opened.
    pub fn version(&self) -> Version {
        self.inner.version
    }

    /// The name or path under which libnvinfer was opened.
    pub fn path(&self) -> &str {
        &self.inner.path
    }

    /// Whether ONNX files can be read.
    pub fn has_parser(&self) -> bool {
        // SAFETY: the handle is alive.
        unsafe { sys::hymt_trt_has_parser(self.raw()) == 1 }
    }

    /// GPUs that the CUDA driver counts; initialises it.
    ///
    /// # Errors
    /// [`TensorRtError::NoCuda`].
    pub fn cuda_devices(&self) -> Result<usize, TensorRtError> {
        // SAFETY: the handle is alive, the outputs are ours.
        let devices = result::value(0, |devices, error| unsafe {
            sys::hymt_trt_cuda_devices(self.raw(), devices, error)
        })?;
        Ok(usize::try_from(devices).unwrap_or(0))
    }

    /// Something that runs plans.
    ///
    /// # Errors
    /// [`TensorRtError::NoCuda`], [`TensorRtError::BogusPointer`], [`TensorRtError::Refused`].
    pub fn runtime(&self) -> Result<Runtime, TensorRtError> {
        Runtime::new(self)
    }

    /// Something that builds plans.
    ///
    /// # Errors
    /// As [`Self::runtime`], and [`TensorRtError::SymbolMissing`] of the lean runtime.
    pub fn builder(&self) -> Result<Builder, TensorRtError> {
        Builder::new(self)
    }

    pub(crate) fn raw(&self) -> *mut sys::Library {
        self.inner.handle.raw()
    }
}

/// The version of the headers that the shim was compiled against.
///
/// # Errors
/// [`TensorRtError::NotBuilt`], [`TensorRtError::Abi`].
pub fn headers() -> Result<Version, TensorRtError> {
    // SAFETY: takes nothing.
    match unsafe { sys::hymt_trt_abi() } {
        sys::ABI => {}
        sys::NOT_BUILT => return Err(TensorRtError::NotBuilt),
        found => return Err(TensorRtError::Abi { found, wanted: sys::ABI }),
    }
    let mut version = sys::Version::default();
    // SAFETY: the output is ours.
    unsafe { sys::hymt_trt_headers(&raw mut version) };
    Ok(version.into())
}

/// File names by which the loader finds a library; the headers' major first, as only that can fit.
/// The others are tried so that the error can say what is there instead.
fn usual_names(library: &str, headers: Version) -> Vec<String> {
    let others = MAJORS.into_iter().filter(|major| *major != headers.major);
    let name = |major| format!("{library}.so.{major}");
    std::iter::once(headers.major).chain(others).map(name).collect()
}

type Opened = (Handle<sys::Library>, Version);

/// Opens one candidate. A failure comes with the version that was found, for the error.
fn open_one(
    nvinfer: &str,
    parser: Option<&str>,
    cuda: Option<&str>,
    log: &LogBox,
) -> Result<Opened, (Failure, Version)> {
    let mut version = sys::Version::default();
    let opened = (|| {
        let nvinfer = result::c_text(nvinfer)?;
        let parser = parser.map(result::c_text).transpose()?;
        let cuda = cuda.map(result::c_text).transpose()?;
        let pointer = |text: &Option<CString>| text.as_ref().map_or(ptr::null(), |it| it.as_ptr());
        let options = sys::OpenOptions {
            nvinfer: nvinfer.as_ptr(),
            onnx_parser: pointer(&parser),
            cuda: pointer(&cuda),
            log: Some(forward_log),
            log_user: (&raw const *log.0).cast_mut().cast(),
        };
        // SAFETY: the strings live during the call; the log lives as long as the library.
        result::handle(|library, error| unsafe {
            sys::hymt_trt_open(&raw const options, library, &raw mut version, error)
        })
    })();
    match opened {
        Ok(handle) => Ok((handle, version.into())),
        Err(failure) => Err((failure, version.into())),
    }
}

/// Reads the tensors of an engine or a network.
///
/// # Safety
/// `tensor` hands out names that live until the next call.
unsafe fn tensors_of(
    count: impl FnOnce(*mut i32, *mut sys::Error) -> i32,
    tensor: impl Fn(i32, *mut sys::Tensor, *mut sys::Error) -> i32,
) -> Result<Vec<TensorInfo>, TensorRtError> {
    let count = result::value(0, count)?;
    let read = |index| {
        let empty = sys::Tensor {
            name: ptr::null(),
            mode: 0,
            dtype: 0,
            on_host: 0,
            shape: sys::Dims::default(),
        };
        let raw = result::value(empty, |out, error| tensor(index, out, error))?;
        // SAFETY: the caller's promise.
        let name = unsafe { result::text_at(raw.name) };
        Ok(TensorInfo::new(name, &raw))
    };
    (0..count).map(read).collect()
}

/// # Safety
/// `user` is the `Log` of a living library, `text` a C string.
unsafe extern "C" fn forward_log(user: *mut c_void, severity: i32, text: *const c_char) {
    let severity = match severity {
        0 => Severity::InternalError,
        1 => Severity::Error,
        2 => Severity::Warning,
        3 => Severity::Info,
        _ => Severity::Verbose,
    };
    // SAFETY: the caller's promise; the log is Sync.
    let (log, text) = unsafe { (&*user.cast_const().cast::<Log>(), result::text_at(text)) };
    // A panic must not cross C++; whoever logs has nobody to tell.
    let _ = catch_unwind(AssertUnwindSafe(|| log(severity, &text)));
}
