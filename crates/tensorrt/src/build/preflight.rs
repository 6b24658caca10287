//! Is there memory for a build. Pure.

const MIB: u64 = 1 << 20;

/// Copies of the weights that a build holds at its peak: the parser's, the builder's in the layout of
/// the tactic that it times, the serialised plan. Users report 3 to 4 times the parameters for
/// builders of language models (NVIDIA/TensorRT-Edge-LLM issue 30); not measured by us.
pub const WEIGHT_COPIES: u64 = 3;
/// CUDA, cuBLAS and TensorRT's kernels, on a board that shares its memory with the GPU. Bytes.
pub const LIBRARIES_BYTES: u64 = 1024 * MIB;

/// What a build takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemoryNeed {
    /// Bytes of the graph and its weights.
    pub weights_bytes: u64,
    /// Scratch memory that it may take. Bytes.
    pub workspace_bytes: u64,
}

/// There is less memory than a build takes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "a build of {weights_mib} MiB of weights takes about {needed_mib} MiB ({WEIGHT_COPIES} copies, \
     {workspace_mib} MiB of workspace, {} MiB for the libraries), {available_mib} MiB are free: \
     close other programs, add swap, lower --workspace-mib, or try all the same with --force",
    LIBRARIES_BYTES / MIB
)]
pub struct NotEnoughMemory {
    /// Weights. MiB.
    pub weights_mib: u64,
    /// Workspace. MiB.
    pub workspace_mib: u64,
    /// What a build takes. MiB.
    pub needed_mib: u64,
    /// What is free. MiB.
    pub available_mib: u64,
}

impl MemoryNeed {
    /// Bytes in all.
    pub fn bytes(&self) -> u64 {
        let copies = self.weights_bytes.saturating_mul(WEIGHT_COPIES);
        copies.saturating_add(self.workspace_bytes).saturating_add(LIBRARIES_BYTES)
    }

    /// Holds it against what is free.
    ///
    /// # Errors
    /// [`NotEnoughMemory`].
    pub fn check(&self, available_bytes: u64) -> Result<(), NotEnoughMemory> {
        let needed = self.bytes();
        if needed <= available_bytes {
            return Ok(());
        }
        Err(NotEnoughMemory {
            weights_mib: self.weights_bytes / MIB,
            workspace_mib: self.workspace_bytes / MIB,
            needed_mib: needed.div_ceil(MIB),
            available_mib: available_bytes / MIB,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bound_is_exact_and_says_its_parts() {
        let need = MemoryNeed { weights_bytes: 1900 * MIB, workspace_bytes: 512 * MIB };
        assert_eq!(need.bytes(), (3 * 1900 + 512 + 1024) * MIB);
        assert_eq!(need.check(need.bytes()), Ok(()));
        let error = need.check(need.bytes() - 1).unwrap_err();
        let said = error.to_string();
        for part in ["1900 MiB of weights", "7236 MiB (3 copies", "512 MiB of workspace", "7235"] {
            assert!(said.contains(part), "{part}: {said}");
        }
        let endless = MemoryNeed { weights_bytes: u64::MAX, workspace_bytes: 1 };
        assert!(endless.check(u64::MAX - 1).is_err(), "no overflow");
    }
}
