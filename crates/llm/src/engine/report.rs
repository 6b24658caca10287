//! What an engine says of itself, for `hymt bench` and logs.

/// An engine's memory, and how it came up.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct EngineReport {
    /// Name of the device; `None` for the CPU.
    pub device: Option<String>,
    /// Weights that every step reads, whatever its batch. Bytes; `None` when the engine cannot say.
    pub step_bytes: Option<u64>,
    /// What is in the device's memory; `None` where that is the system's.
    pub memory: Option<MemoryReport>,
    /// How the kernels were had; `None` where there are none to compile.
    pub kernels: Option<KernelReport>,
}

/// What an engine takes of its device's memory. Bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemoryReport {
    /// Weights with their scales and norms.
    pub weights: u64,
    /// Buffers of a step.
    pub buffers: u64,
    /// KV cache in use or kept for reuse.
    pub cache: u64,
    /// Free on the device.
    pub free: u64,
    /// The device's memory.
    pub total: u64,
}

/// How an engine's kernels were had.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct KernelReport {
    /// Parts of the program that were compiled; the others came from the cache.
    pub compiled: usize,
    /// Parts in all.
    pub total: usize,
    /// From the first part to the last, while weights were loaded. Milliseconds.
    pub ms: f64,
}

/// Speed of the memory that weights lie in. GB/s.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct MemorySpeed {
    /// Of a copy, bytes read and bytes written both counted.
    pub copy: Option<f64>,
    /// Of reading alone, which is what a step does.
    pub read: Option<f64>,
}
