//! NVRTC, opened at run time.
//!
//! One of the files with `unsafe`: it calls a C library through pointers. The bindings are our own
//! because the library must be chosen by path: sm_72 needs that of CUDA 12, sm_110 that of CUDA 13.
#![allow(unsafe_code)]

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::path::{Path, PathBuf};

use libloading::Library;

use crate::error::CudaError;

/// Names under which the library is looked for, newest first.
const NAMES: [&str; 4] = ["libnvrtc.so.13", "libnvrtc.so.12", "libnvrtc.so.11.2", "libnvrtc.so"];
/// Environment variable that names the library's file.
pub const NVRTC_VARIABLE: &str = "HYMT_NVRTC";
/// Most characters of the compiler's log in an error.
const LOG_CHARS_MAX: usize = 2000;

/// The run-time compiler.
pub struct Nvrtc {
    library: Library,
    version: (i32, i32),
}

/// What a compilation yields.
#[derive(Debug, Clone)]
pub struct Compiled {
    /// Machine code for one architecture.
    pub cubin: Vec<u8>,
    /// What the compiler said, register counts included.
    pub log: String,
}

type Program = *mut c_void;

impl Nvrtc {
    /// Opens the library: `path`, or else what [`NVRTC_VARIABLE`] names, or else by name.
    ///
    /// # Errors
    /// [`CudaError::NoNvrtc`].
    pub fn open(path: Option<&Path>) -> Result<Self, CudaError> {
        let named = std::env::var_os(NVRTC_VARIABLE).map(PathBuf::from);
        let choices = match path.map(Path::to_owned).or(named) {
            Some(path) => vec![path],
            None => NAMES.iter().map(PathBuf::from).collect(),
        };
        let mut tried = Vec::new();
        for choice in choices {
            // SAFETY: loading runs the library's initialisers; NVRTC's have no preconditions.
            match unsafe { Library::new(&choice) } {
                Ok(library) => return Self::with_version(library),
                Err(error) => tried.push(format!("{}: {error}", choice.display())),
            }
        }
        Err(CudaError::NoNvrtc { detail: tried.join("; ") })
    }

    /// Major and minor version.
    pub fn version(&self) -> (i32, i32) {
        self.version
    }

    /// Compiles `source` with `options`.
    ///
    /// # Errors
    /// [`CudaError::Compile`] with the beginning of the log.
    pub fn compile(
        &self,
        source: &str,
        arch: &str,
        options: &[String],
    ) -> Result<Compiled, CudaError> {
        let failed = |log: String| CudaError::Compile {
            version: format!("{}.{}", self.version.0, self.version.1),
            arch: arch.to_owned(),
            log: log.chars().take(LOG_CHARS_MAX).collect(),
        };
        let c_string = |text: &str| CString::new(text).map_err(|error| failed(error.to_string()));
        let source = c_string(source)?;
        let mut all = vec![c_string(&format!("--gpu-architecture={arch}"))?];
        for option in options {
            all.push(c_string(option)?);
        }
        let pointers: Vec<*const c_char> = all.iter().map(|option| option.as_ptr()).collect();
        let mut program: Program = std::ptr::null_mut();
        // SAFETY: signatures are those of nvrtc.h; all strings outlive the calls; the program is
        // destroyed once, after its last use; buffers have the sizes the library named.
        unsafe {
            type Create = unsafe extern "C" fn(
                *mut Program,
                *const c_char,
                *const c_char,
                c_int,
                *const *const c_char,
                *const *const c_char,
            ) -> c_int;
            type Compile = unsafe extern "C" fn(Program, c_int, *const *const c_char) -> c_int;
            type Destroy = unsafe extern "C" fn(*mut Program) -> c_int;
            let none = std::ptr::null();
            let create = self.symbol::<Create>("nvrtcCreateProgram")?;
            let name = c"hymt.cu".as_ptr();
            let code = create(&mut program, source.as_ptr(), name, 0, none, none);
            if code != 0 {
                return Err(failed(format!("nvrtcCreateProgram: error {code}")));
            }
            let compile = self.symbol::<Compile>("nvrtcCompileProgram")?;
            let code = compile(program, pointers.len() as c_int, pointers.as_ptr());
            let log = self.bytes(program, "nvrtcGetProgramLogSize", "nvrtcGetProgramLog")?;
            let log = String::from_utf8_lossy(&log).trim_end_matches('\0').to_owned();
            let outcome = if code == 0 {
                self.bytes(program, "nvrtcGetCUBINSize", "nvrtcGetCUBIN")
                    .map(|cubin| Compiled { cubin, log })
            } else {
                Err(failed(format!("error {code}: {log}")))
            };
            self.symbol::<Destroy>("nvrtcDestroyProgram")?(&mut program);
            outcome
        }
    }

    fn with_version(library: Library) -> Result<Self, CudaError> {
        let mut this = Self { library, version: (0, 0) };
        let (mut major, mut minor) = (0, 0);
        // SAFETY: the signature is that of nvrtc.h, and both pointers are valid for the call.
        unsafe {
            type Version = unsafe extern "C" fn(*mut c_int, *mut c_int) -> c_int;
            this.symbol::<Version>("nvrtcVersion")?(&mut major, &mut minor);
        }
        this.version = (major, minor);
        Ok(this)
    }

    /// # Safety
    /// `F` must be the function pointer type of `name`.
    unsafe fn symbol<F: Copy>(&self, name: &'static str) -> Result<F, CudaError> {
        // SAFETY: the caller vouches for the type; the library lives as long as `self`.
        let symbol = unsafe { self.library.get::<F>(name.as_bytes()) };
        symbol
            .map(|symbol| *symbol)
            .map_err(|error| CudaError::NoNvrtc { detail: format!("{name} is missing: {error}") })
    }

    /// # Safety
    /// `program` must be valid, and the names those of a size getter and its content getter.
    unsafe fn bytes(
        &self,
        program: Program,
        size_name: &'static str,
        name: &'static str,
    ) -> Result<Vec<u8>, CudaError> {
        type Size = unsafe extern "C" fn(Program, *mut usize) -> c_int;
        type Content = unsafe extern "C" fn(Program, *mut c_char) -> c_int;
        let mut size = 0;
        // SAFETY: the caller vouches for the names; the buffer has the size just asked for.
        let (code, bytes) = unsafe {
            let code = self.symbol::<Size>(size_name)?(program, &mut size);
            let mut bytes = vec![0_u8; size];
            let content = self.symbol::<Content>(name)?;
            let code = if code == 0 { content(program, bytes.as_mut_ptr().cast()) } else { code };
            (code, bytes)
        };
        if code != 0 {
            return Err(CudaError::Call { call: name, detail: format!("NVRTC error {code}") });
        }
        Ok(bytes)
    }
}

impl std::fmt::Debug for Nvrtc {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Nvrtc").field("version", &self.version).finish()
    }
}

/// A C string that the driver owns, as text.
pub(crate) fn text(string: &CStr) -> String {
    string.to_string_lossy().into_owned()
}
