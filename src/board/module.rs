//! Which board this is: the device tree names the module by its part number.

use super::System;

/// Longest name from a device tree that is shown. Characters.
const NAME_CHARS_MAX: usize = 120;
/// Most strings of a `compatible` property that are looked at.
const COMPATIBLE_MAX: usize = 64;

/// A generation of Jetson: one chip, one architecture of GPU.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Generation {
    /// TX1, TX2, Nano and older: no INT8 tensor cores, and no engine of ours.
    Older,
    /// Xavier: T194, sm_72.
    Xavier,
    /// Orin: T234, sm_87.
    Orin,
    /// Thor: T264, sm_110.
    Thor,
}

impl Generation {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Older => "before Xavier",
            Self::Xavier => "Xavier",
            Self::Orin => "Orin",
            Self::Thor => "Thor",
        }
    }

    /// Compute capability times ten; `None` where our kernels do not run.
    pub fn arch(self) -> Option<u32> {
        match self {
            Self::Older => None,
            Self::Xavier => Some(72),
            Self::Orin => Some(87),
            Self::Thor => Some(110),
        }
    }

    fn of_chip(chip: &str) -> Option<Self> {
        let chip = chip.strip_prefix("nvidia,")?;
        match chip {
            "tegra194" => Some(Self::Xavier),
            // JetPack 5 says tegra23x.
            "tegra234" | "tegra23x" => Some(Self::Orin),
            "tegra264" | "tegra26x" => Some(Self::Thor),
            "tegra124" | "tegra132" | "tegra210" | "tegra186" => Some(Self::Older),
            _ => None,
        }
    }
}

/// A module that we know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Module {
    /// Part number in the device tree.
    pub part: &'static str,
    /// What people call it.
    pub name: &'static str,
    /// Its DLA cores.
    pub dla_cores: usize,
}

const fn module(part: &'static str, name: &'static str, dla_cores: usize) -> Module {
    Module { part, name, dla_cores }
}

/// Part numbers as NVIDIA's developer guides and the tables of jetson-stats have them; DLA cores by
/// NVIDIA's data sheets.
const MODULES: [Module; 22] = [
    module("p3834-0008", "Jetson T5000 (AGX Thor)", 0),
    module("p3767-0005", "Jetson Orin Nano 8GB (developer kit)", 0),
    module("p3767-0004", "Jetson Orin Nano 4GB", 0),
    module("p3767-0003", "Jetson Orin Nano 8GB", 0),
    module("p3767-0001", "Jetson Orin NX 8GB", 1),
    module("p3767-0000", "Jetson Orin NX 16GB", 2),
    module("p3701-0008", "Jetson AGX Orin Industrial", 2),
    module("p3701-0005", "Jetson AGX Orin 64GB", 2),
    module("p3701-0004", "Jetson AGX Orin 32GB", 2),
    module("p3701-0002", "IGX Orin", 2),
    module("p3701-0001", "Jetson AGX Orin", 2),
    module("p3701-0000", "Jetson AGX Orin (developer kit)", 2),
    module("p3668-0003", "Jetson Xavier NX 16GB", 2),
    module("p3668-0001", "Jetson Xavier NX", 2),
    module("p3668-0000", "Jetson Xavier NX (developer kit)", 2),
    module("p2888-0008", "Jetson AGX Xavier Industrial", 2),
    module("p2888-0006", "Jetson AGX Xavier 8GB", 2),
    module("p2888-0005", "Jetson AGX Xavier 64GB", 2),
    module("p2888-0004", "Jetson AGX Xavier 32GB", 2),
    module("p2888-0003", "Jetson AGX Xavier 32GB", 2),
    module("p2888-0001", "Jetson AGX Xavier 16GB", 2),
    // The developer kit of AGX Xavier names its carrier only.
    module("p2972-0000", "Jetson AGX Xavier (developer kit)", 2),
];

/// What the device tree says of the board.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Board {
    /// `model`, cleaned; empty where there is no device tree, as on a PC.
    pub model: String,
    /// Generation, where it is a Jetson.
    pub generation: Option<Generation>,
    /// The module, where we know it.
    pub module: Option<&'static Module>,
    /// Whether the device tree is that of the "Super" settings, with more power.
    pub is_super: bool,
}

impl Board {
    pub(super) fn examine(system: &System) -> Self {
        let model = clean(&system.line("/proc/device-tree/model"));
        let compatible = system.text("/proc/device-tree/compatible").unwrap_or_default();
        let names = || compatible.split('\0').take(COMPATIBLE_MAX);
        let known = |name: &str| {
            // `nvidia,CARRIER+MODULE`, `nvidia,MODULE` or `nvidia,MODULE-super`.
            let part = name.rsplit(['+', ',']).next()?.get(..10)?;
            MODULES.iter().find(|module| module.part == part)
        };
        Self {
            generation: names().find_map(Generation::of_chip),
            module: names().find_map(known),
            is_super: names().any(|name| name.ends_with("-super")) || model.ends_with(" Super"),
            model,
        }
    }
}

/// DLA nodes of the device tree that are not disabled. A module of which the DLA is fused off may
/// have the nodes all the same.
pub(super) fn dla_nodes(system: &System) -> usize {
    // JetPack 5 and older have no `bus@0`.
    let folders = ["/proc/device-tree/bus@0/host1x@13e00000", "/proc/device-tree/host1x@13e00000"];
    let count = |folder: &str| {
        let nodes = system.entries(folder).into_iter().filter(|name| name.starts_with("nvdla"));
        nodes
            .filter(|node| {
                // A node without status is enabled, says the device-tree specification.
                matches!(
                    system.line(&format!("{folder}/{node}/status")).as_str(),
                    "" | "okay" | "ok"
                )
            })
            .count()
    };
    folders.into_iter().map(count).max().unwrap_or_default()
}

/// Printable, on one line and not long: it comes from firmware.
fn clean(text: &str) -> String {
    let printable = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    printable.take(NAME_CHARS_MAX).collect::<String>().trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn part_numbers_are_unique() {
        let parts: std::collections::BTreeSet<_> = MODULES.iter().map(|m| m.part).collect();
        assert_eq!(parts.len(), MODULES.len());
        assert!(parts.iter().all(|part| part.len() == 10));
    }

    #[test]
    fn names_from_firmware_are_cleaned() {
        assert_eq!(clean("a\u{1b}[31mb\nc"), "a [31mb c");
        assert_eq!(clean(&"x".repeat(1000)).len(), NAME_CHARS_MAX);
    }
}
