//! Calls of the shim with their outcome as a `Result`, and handles that free themselves.
//!
//! `unsafe` here: strings are read from C pointers and handles are destroyed. What a call needs is the
//! caller's business, in [`crate::safe`]; this file only turns (code, text) into [`Failure`].
#![allow(unsafe_code)]

use std::ffi::{CStr, CString, c_char};
use std::fmt;
use std::ptr::{self, NonNull};

use crate::error::{TensorRtError, Version};
use crate::sys::{self, code};

/// A call that did not return OK.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) code: i32,
    pub(crate) text: String,
}

impl From<Failure> for TensorRtError {
    /// The error for a code that needs nothing but its text. Those with more fields are made where
    /// the fields are known: the library's in `safe`, DLA's in `safe::dla`, the parser's in
    /// `safe::builder`.
    fn from(Failure { code, text: detail }: Failure) -> Self {
        match code {
            sys::NOT_BUILT => Self::NotBuilt,
            code::SYMBOL_MISSING => Self::SymbolMissing { detail },
            code::LIBRARY_MISSING => {
                Self::LibraryMissing { library: "libnvonnxparser", tried: vec![detail] }
            }
            code::NO_CUDA => Self::NoCuda { detail },
            code::BOGUS_POINTER => Self::BogusPointer { detail },
            code::PLAN => Self::Plan { detail },
            code::TENSOR => Self::Tensor { detail },
            code::ENQUEUE => Self::Enqueue { detail },
            code::BUILD => Self::Build { detail },
            code::CANCELLED => Self::Cancelled,
            code::UNSUPPORTED => Self::Unsupported { detail },
            code::ARGUMENT => Self::Argument { detail },
            code::EXCEPTION => Self::Exception { detail },
            _ => Self::Refused { detail },
        }
    }
}

/// Makes a call that hands nothing out.
pub(crate) fn check(call: impl FnOnce(*mut sys::Error) -> i32) -> Result<(), Failure> {
    let mut error = sys::Error { code: code::OK, text: [0; sys::TEXT_BYTES] };
    match call(&raw mut error) {
        code::OK => Ok(()),
        code => {
            // SAFETY: the shim ends every text with NUL inside the buffer, and it began as zeros.
            let text = unsafe { text_at(error.text.as_ptr()) };
            Err(Failure { code, text })
        }
    }
}

/// Makes a call that hands out a plain value.
pub(crate) fn value<T>(
    mut value: T,
    call: impl FnOnce(*mut T, *mut sys::Error) -> i32,
) -> Result<T, Failure> {
    check(|error| call(&raw mut value, error))?;
    Ok(value)
}

/// Makes a call that hands out a handle.
pub(crate) fn handle<T: Destroy>(
    call: impl FnOnce(*mut *mut T, *mut sys::Error) -> i32,
) -> Result<Handle<T>, Failure> {
    let raw = value(ptr::null_mut(), call)?;
    let null =
        || Failure { code: code::EXCEPTION, text: "the shim returned OK and null".to_owned() };
    NonNull::new(raw).map(Handle).ok_or_else(null)
}

/// Copies a string.
///
/// # Safety
/// `text` is null, or points at bytes that end with NUL and live during the call.
pub(crate) unsafe fn text_at(text: *const c_char) -> String {
    if text.is_null() {
        return String::new();
    }
    // SAFETY: not null, and the caller promises the rest.
    unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned()
}

/// A name as C wants it.
pub(crate) fn c_text(text: &str) -> Result<CString, Failure> {
    let describe = |_| Failure { code: code::ARGUMENT, text: format!("NUL inside {text:?}") };
    CString::new(text).map_err(describe)
}

/// How a handle is freed.
pub(crate) trait Destroy {
    /// # Safety
    /// `handle` came from the shim, is not destroyed yet, and no child of it is alive.
    unsafe fn destroy(handle: *mut Self);
}

macro_rules! destroy {
    ($($kind:ident by $function:ident;)*) => {$(
        impl Destroy for sys::$kind {
            unsafe fn destroy(handle: *mut Self) {
                // SAFETY: the caller's promise is what the function asks for.
                unsafe { sys::$function(handle) }
            }
        }
    )*};
}
destroy! {
    Library by hymt_trt_close;
    Runtime by hymt_trt_runtime_destroy;
    Engine by hymt_trt_engine_destroy;
    Context by hymt_trt_context_destroy;
    Builder by hymt_trt_builder_destroy;
    Network by hymt_trt_network_destroy;
    Profile by hymt_trt_profile_destroy;
    Config by hymt_trt_config_destroy;
    Bytes by hymt_trt_bytes_destroy;
}

/// An owned handle. Its parent is owned by whoever owns it, in a field that comes after.
pub(crate) struct Handle<T: Destroy>(NonNull<T>);

impl<T: Destroy> Handle<T> {
    pub(crate) fn raw(&self) -> *mut T {
        self.0.as_ptr()
    }
}

impl<T: Destroy> Drop for Handle<T> {
    fn drop(&mut self) {
        // SAFETY: made from a handle of the shim and dropped once; children hold their parent.
        unsafe { T::destroy(self.0.as_ptr()) }
    }
}

impl<T: Destroy> fmt::Debug for Handle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:p}", self.0)
    }
}

// SAFETY: the header allows every handle to move between threads.
unsafe impl<T: Destroy> Send for Handle<T> {}

/// Handles that several threads may hold at once.
pub(crate) trait Shared {}
/// The header says so.
impl Shared for sys::Library {}
/// The header says so.
impl Shared for sys::Engine {}
/// Engines hold it to keep it alive and never call it; `Runtime` calls it through `&mut` alone.
impl Shared for sys::Runtime {}
/// Bytes that do not change.
impl Shared for sys::Bytes {}

// SAFETY: each `impl Shared` says why.
unsafe impl<T: Destroy + Shared> Sync for Handle<T> {}

impl From<sys::Version> for Version {
    fn from(sys::Version { major, minor, patch, build }: sys::Version) -> Self {
        Self { major, minor, patch, build }
    }
}
