//! Messages as bytes and as C structs.
//!
//! Topics pass bytes through, but `rcl` takes and gives the two halves of services only as C
//! structs, so those go through the middleware's own serialisation.
//!
//! Unsafe, because a C struct is known here only by its address and its type support.
#![allow(unsafe_code)]

use std::ffi::c_void;
use std::ptr::NonNull;

use r2r_rcl as sys;

use super::{RclError, allocator, check, types::MessageType};
use crate::ros::SerializedMessage;

/// Bytes that ROS allocates.
pub(crate) struct ByteArray(sys::rcutils_uint8_array_t);

// SAFETY: it owns its memory, which the C library allocated and any thread may free.
unsafe impl Send for ByteArray {}

impl ByteArray {
    /// Empty, without memory.
    pub(crate) fn new() -> Self {
        // SAFETY: no precondition; an array without memory is valid once it has an allocator.
        let mut array = unsafe { sys::rcutils_get_zero_initialized_uint8_array() };
        array.allocator = allocator();
        Self(array)
    }

    pub(crate) fn as_slice(&self) -> &[u8] {
        if self.0.buffer.is_null() {
            return &[];
        }
        // SAFETY: ROS keeps `buffer_length` initialised octets at `buffer`, and lends it to nobody
        // while `self` is borrowed.
        unsafe { std::slice::from_raw_parts(self.0.buffer, self.0.buffer_length) }
    }

    /// Octets that are allocated.
    pub(crate) fn capacity(&self) -> usize {
        self.0.buffer_capacity
    }

    pub(super) fn ptr(&mut self) -> *mut sys::rcutils_uint8_array_t {
        &raw mut self.0
    }
}

impl Drop for ByteArray {
    fn drop(&mut self) {
        if self.0.buffer.is_null() {
            return;
        }
        // SAFETY: it has memory of its own allocator and is not used after this.
        let ended = unsafe { sys::rcutils_uint8_array_fini(&raw mut self.0) };
        super::context::report("byte array", check("rcutils_uint8_array_fini", ended));
    }
}

/// Lends octets to a function of ROS that only reads them.
pub(super) fn with_array<T>(
    octets: &[u8],
    read: impl FnOnce(*const sys::rcutils_uint8_array_t) -> T,
) -> T {
    let array = sys::rcutils_uint8_array_t {
        // Through a constant pointer, so that nobody writes.
        buffer: octets.as_ptr().cast_mut(),
        buffer_length: octets.len(),
        buffer_capacity: octets.len(),
        allocator: allocator(),
    };
    read(&raw const array)
}

/// A C struct of a message type.
pub(super) struct NativeMessage {
    ptr: NonNull<c_void>,
    kind: MessageType,
}

impl NativeMessage {
    /// With default values.
    pub(super) fn new(kind: MessageType) -> Result<Self, RclError> {
        // SAFETY: `create` of a type has no precondition.
        let ptr = unsafe { (kind.create)() };
        match NonNull::new(ptr) {
            Some(ptr) => Ok(Self { ptr, kind }),
            None => Err(RclError::Call {
                call: "create",
                code: sys::RCL_RET_BAD_ALLOC as sys::rcl_ret_t,
                reason: "out of memory".to_owned(),
            }),
        }
    }

    pub(super) fn from_bytes(
        kind: MessageType,
        message: &SerializedMessage,
    ) -> Result<Self, RclError> {
        let native = Self::new(kind)?;
        let code = with_array(&message.to_rmw(), |array| {
            // SAFETY: the bytes are lent for the call, and the struct is of the type of the type
            // support.
            unsafe { sys::rmw_deserialize(array, kind.support.ptr, native.ptr()) }
        });
        check("rmw_deserialize", code)?;
        Ok(native)
    }

    pub(super) fn to_bytes(&self) -> Result<SerializedMessage, RclError> {
        let mut array = ByteArray::new();
        // SAFETY: the struct is initialised and of the type of the type support; the array has an
        // allocator to grow with.
        let code = unsafe { sys::rmw_serialize(self.ptr(), self.kind.support.ptr, array.ptr()) };
        check("rmw_serialize", code)?;
        let bytes = array.as_slice().len();
        SerializedMessage::from_rmw(array.as_slice()).ok_or(RclError::NotCdr { bytes })
    }

    /// The struct, valid as long as `self`.
    pub(super) fn ptr(&self) -> *mut c_void {
        self.ptr.as_ptr()
    }
}

impl Drop for NativeMessage {
    fn drop(&mut self) {
        // SAFETY: `create` of the same type made it, and nobody has it any more.
        unsafe { (self.kind.destroy)(self.ptr.as_ptr()) };
    }
}

#[cfg(test)]
mod tests;
