//! Gives memory that is not used any more back to the system.
//!
//! Unsafe because `malloc_trim` is a C function. It is worth it: the allocator of glibc keeps what
//! threads have freed in arenas of their own, so after a burst, or after a subscriber has died with
//! thousands of messages waiting for it, the process stays as large as it ever was. On a board that
//! shares memory with its GPU that is memory taken from the model.
#![allow(unsafe_code)]

/// Returns free pages of the heap to the system; does nothing where the allocator is another one.
pub fn release_unused() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: `malloc_trim` takes no pointer, is thread-safe, and only touches memory that is free.
    unsafe {
        libc::malloc_trim(0);
    }
}
