//! Memory, which a Jetson's GPU shares with its CPU, and swap, which is of no use to the GPU.

use super::System;

const KIB: u64 = 1 << 10;

/// How much there is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Memory {
    /// In all. Bytes.
    pub total: Option<u64>,
    /// What could be taken without swapping. Bytes.
    pub available: Option<u64>,
    /// Swap on disks. Bytes.
    pub swap: u64,
    /// Swap that is compressed memory. Bytes, before compression.
    pub zram: u64,
}

/// A figure of a file of `/proc`, which Linux gives in KiB. Bytes.
pub(crate) fn figure(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse::<u64>().ok()?.checked_mul(KIB)
}

impl Memory {
    pub(super) fn examine(system: &System) -> Self {
        let meminfo = system.text("/proc/meminfo").unwrap_or_default();
        let swaps = system.text("/proc/swaps").unwrap_or_default();
        let mut memory = Self {
            total: figure(&meminfo, "MemTotal:"),
            available: figure(&meminfo, "MemAvailable:"),
            swap: 0,
            zram: 0,
        };
        // Filename, Type, Size in KiB, Used, Priority; the first line names them.
        for line in swaps.lines().skip(1) {
            let mut words = line.split_whitespace();
            let name = words.next().unwrap_or_default();
            let Some(kib) = words.nth(1).and_then(|word| word.parse::<u64>().ok()) else {
                continue;
            };
            let kind = if name.contains("zram") { &mut memory.zram } else { &mut memory.swap };
            *kind = kind.saturating_add(kib.saturating_mul(KIB));
        }
        memory
    }
}
