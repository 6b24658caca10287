//! Owned `rcl` objects: the only place that calls into ROS.
//!
//! `r2r_rcl` gives the raw functions of `rcl`, `rmw` and `rosidl`, as bindgen found them in the
//! sourced installation. Each object that they make is wrapped once, in a file of this folder, in a
//! type that ends it when dropped and that holds what must outlive it:
//!
//! ```text
//! Publisher, Subscription, Service, Client ──► Node ──► Context ◄── Guard, WaitSet
//! ```
//!
//! so no order of drops, on no thread, ends a thing that another still needs. Above this folder
//! there is no unsafe code.
//!
//! This file needs unsafe code to read the error text of ROS, and for [`Fixed`].
#![allow(unsafe_code)]

mod context;
mod endpoint;
mod graph;
mod message;
mod service;
mod types;
mod wait_set;

use std::ffi::{CStr, CString};
use std::ptr::NonNull;

use r2r_rcl as sys;

pub(crate) use context::{Context, Guard, Node};
pub(crate) use endpoint::{Publisher, Subscription};
pub(crate) use graph::Side;
pub(crate) use message::ByteArray;
pub(crate) use service::{Client, RequestId, Service};
pub(crate) use types::{MessageSupport, ServiceType};
pub(crate) use wait_set::{WaitSet, Waitable};

/// A call into ROS failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum RclError {
    /// ROS refused.
    #[error("{call} gave code {code}: {reason}")]
    Call {
        /// The function.
        call: &'static str,
        /// What it returned, an `RCL_RET_` or `RMW_RET_`.
        code: sys::rcl_ret_t,
        /// The error text that it left.
        reason: String,
    },
    /// A name holds a zero octet.
    #[error("the name {name:?} holds a zero octet")]
    ZeroOctet {
        /// The name as given.
        name: String,
    },
    /// The compiled interface of a type is missing.
    #[error("the interface {ros_type} is not usable: {reason}")]
    Interface {
        /// The type as given.
        ros_type: String,
        /// What is missing, or what the loader says.
        reason: String,
    },
    /// Bytes from ROS are no plain CDR.
    #[error("ROS gave a message of {bytes} bytes that is not plain CDR")]
    NotCdr {
        /// Size of the payload.
        bytes: usize,
    },
    /// The installation cannot do what was asked.
    #[error("{what} is not possible with this ROS distribution")]
    #[allow(dead_code, reason = "only older distributions lack something")]
    Unsupported {
        /// What was asked.
        what: &'static str,
    },
}

/// The code as a result. ROS keeps an error text per thread; it is taken here, so that it does not
/// turn up beside a later error.
fn check(call: &'static str, code: sys::rcl_ret_t) -> Result<(), RclError> {
    if code == sys::RCL_RET_OK as sys::rcl_ret_t {
        return Ok(());
    }
    Err(RclError::Call { call, code, reason: take_error_text() })
}

/// The result of taking, where that there is nothing has a code of its own.
fn check_take(call: &'static str, code: sys::rcl_ret_t, nothing: u32) -> Result<bool, RclError> {
    if code == nothing as sys::rcl_ret_t {
        take_error_text();
        return Ok(false);
    }
    check(call, code).map(|()| true)
}

fn take_error_text() -> String {
    // SAFETY: both functions work on a buffer of this thread and have no precondition.
    let text = unsafe {
        let text = sys::rcutils_get_error_string();
        sys::rcutils_reset_error();
        text
    };
    let octets: Vec<u8> = text
        .str_
        .iter()
        .take_while(|octet| **octet != 0)
        // `c_char` is signed on some machines and not on others.
        .map(|octet| octet.to_ne_bytes()[0])
        .collect();
    String::from_utf8_lossy(&octets).into_owned()
}

fn c_name(name: &str) -> Result<CString, RclError> {
    CString::new(name).map_err(|_| RclError::ZeroOctet { name: name.to_owned() })
}

/// A string of ROS; lossy, since names that ROS accepts are ASCII anyway.
///
/// # Safety
/// `text` is null or ends with a zero octet and is alive during the call.
unsafe fn rust_string(text: *const std::ffi::c_char) -> String {
    if text.is_null() {
        return String::new();
    }
    // SAFETY: the caller's promise.
    unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned()
}

fn allocator() -> sys::rcutils_allocator_t {
    // SAFETY: no precondition; it gives the allocator of the C library.
    unsafe { sys::rcutils_get_default_allocator() }
}

/// A C struct at an address that does not change: wait sets and entities point to each other.
struct Fixed<T>(NonNull<T>);

impl<T> Fixed<T> {
    fn new(value: T) -> Self {
        Self(NonNull::from(Box::leak(Box::new(value))))
    }

    /// Valid as long as `self`. What may be done through it is for the caller to know.
    fn ptr(&self) -> *mut T {
        self.0.as_ptr()
    }
}

impl<T> Drop for Fixed<T> {
    fn drop(&mut self) {
        // SAFETY: it came from a box in `new`, nobody else frees it, and this is its end.
        drop(unsafe { Box::from_raw(self.0.as_ptr()) });
    }
}
