//! What memory the process takes, and how what is not used any more goes back to the system.
//!
//! Unsafe because `malloc_trim` is a C function. It is worth it: the allocator of glibc keeps what
//! threads have freed in arenas of their own, so after a burst, or after a subscriber has died with
//! thousands of messages waiting for it, the process stays as large as it ever was. On a board that
//! shares memory with its GPU that is memory taken from the model.
#![allow(unsafe_code)]

/// Resident memory now. Bytes; `None` where the system does not say.
pub fn resident_bytes() -> Option<u64> {
    figure("VmRSS:")
}

/// Largest resident memory so far. Bytes; `None` where the system does not say.
pub fn peak_resident_bytes() -> Option<u64> {
    figure("VmHWM:")
}

fn figure(name: &str) -> Option<u64> {
    kib_of("/proc/self/status", name)
}

/// A figure of a file that is there now. Bytes.
fn kib_of(path: &str, name: &str) -> Option<u64> {
    crate::board::figure(&std::fs::read_to_string(path).ok()?, name)
}

/// Memory of the machine that could still be taken without swapping. Bytes; `None` where the
/// system does not say.
pub fn available_bytes() -> Option<u64> {
    kib_of("/proc/meminfo", "MemAvailable:")
}

/// Returns free pages of the heap to the system; does nothing where the allocator is another one.
pub fn release_unused() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: `malloc_trim` takes no pointer, is thread-safe, and only touches memory that is free.
    unsafe {
        libc::malloc_trim(0);
    }
}
