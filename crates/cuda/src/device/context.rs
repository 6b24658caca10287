//! The primary contexts of this process, each shared by all engines on its device.
//!
//! One of the files with `unsafe`: the driver's interface is handles.
//!
//! A kernel that faults breaks its context: from then on every call on it fails with the same error
//! (CUDA driver API, `CUDA_ERROR_ILLEGAL_ADDRESS`). NVIDIA promises no way back but a new process.
//! Resetting the primary context once its last user is gone is the one that exists within a process.
//! On an H100 with driver 580 it does not help (nor does a context of one's own, destroyed and made
//! again): opening the device again then fails with [`CudaError::Lost`].
#![allow(unsafe_code)]

use std::collections::BTreeMap;
use std::ffi::c_int;
use std::sync::{Mutex, MutexGuard, PoisonError};

use cudarc::driver::{result, sys};

use super::failed;
use crate::error::CudaError;

/// By the number of the device. The lock is held while a context is made or ends, so that nobody
/// gets one that is about to be reset.
static PRIMARIES: Mutex<BTreeMap<usize, Primary>> = Mutex::new(BTreeMap::new());

struct Primary {
    context: Handle,
    users: usize,
}

#[derive(Clone, Copy)]
struct Handle(sys::CUcontext);

// SAFETY: contexts may be used from any thread once made current there.
unsafe impl Send for Handle {}

/// A use of a device's primary context.
pub(super) struct Context {
    ordinal: usize,
    device: sys::CUdevice,
    context: Handle,
}

impl Context {
    pub(super) fn open(ordinal: usize) -> Result<Self, CudaError> {
        let device = result::device::get(ordinal as c_int).map_err(failed("cuDeviceGet"))?;
        let mut primaries = primaries();
        if let Some(primary) = primaries.get_mut(&ordinal) {
            if primary.context.is_broken() {
                return Err(CudaError::Broken { ordinal, users: primary.users });
            }
            primary.users += 1;
            return Ok(Self { ordinal, device, context: primary.context });
        }
        // SAFETY: `device` is valid; the context is released in `drop`.
        let context = unsafe { result::primary_ctx::retain(device) }.map_err(|error| {
            let other = failed("cuDevicePrimaryCtxRetain");
            if !outlives_its_context(error.0) {
                return other(error);
            }
            CudaError::Lost { ordinal, detail: other(error).to_string() }
        })?;
        let context = Handle(context);
        primaries.insert(ordinal, Primary { context, users: 1 });
        Ok(Self { ordinal, device, context })
    }

    /// Makes it current on this thread.
    pub(super) fn bind(&self) -> Result<(), CudaError> {
        self.context.bind().map_err(failed("cuCtxSetCurrent"))
    }
}

impl Drop for Context {
    /// All streams, modules and buffers of this use are gone by now.
    fn drop(&mut self) {
        let mut primaries = primaries();
        let Some(primary) = primaries.get_mut(&self.ordinal) else { return };
        primary.users -= 1;
        if primary.users > 0 {
            return;
        }
        primaries.remove(&self.ordinal);
        let is_broken = self.context.is_broken();
        // SAFETY: a null handle unbinds; `device` is valid, and nobody uses its context any more.
        unsafe {
            let _ = result::ctx::set_current(std::ptr::null_mut());
            if is_broken {
                let reset = sys::cuDevicePrimaryCtxReset_v2(self.device).result();
                tracing::warn!(device = self.ordinal, ?reset, "reset a GPU context after a fault");
            }
            let _ = result::primary_ctx::release(self.device);
        }
    }
}

impl Handle {
    fn bind(self) -> Result<(), cudarc::driver::DriverError> {
        // SAFETY: whoever has a handle is a user of the context, so it exists.
        unsafe { result::ctx::set_current(self.0) }
    }

    /// An error that stays is reported by every call, so by this one too.
    fn is_broken(self) -> bool {
        self.bind().and_then(|()| result::ctx::synchronize()).is_err()
    }
}

/// Faults of a kernel, which the driver may go on to report when it is asked for a new context.
fn outlives_its_context(error: sys::CUresult) -> bool {
    use sys::CUresult as E;
    matches!(
        error,
        E::CUDA_ERROR_ILLEGAL_ADDRESS
            | E::CUDA_ERROR_LAUNCH_TIMEOUT
            | E::CUDA_ERROR_ASSERT
            | E::CUDA_ERROR_HARDWARE_STACK_ERROR
            | E::CUDA_ERROR_ILLEGAL_INSTRUCTION
            | E::CUDA_ERROR_MISALIGNED_ADDRESS
            | E::CUDA_ERROR_INVALID_ADDRESS_SPACE
            | E::CUDA_ERROR_INVALID_PC
            | E::CUDA_ERROR_LAUNCH_FAILED
    )
}

fn primaries() -> MutexGuard<'static, BTreeMap<usize, Primary>> {
    PRIMARIES.lock().unwrap_or_else(PoisonError::into_inner)
}
