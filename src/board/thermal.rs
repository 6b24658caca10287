//! Temperatures.

use super::System;

/// Most zones that are kept.
const ZONES_MAX: usize = 64;
/// What a sensor can have. Millidegrees Celsius; zones that are switched off say -256000 or nothing.
const MILLIDEGREES: std::ops::RangeInclusive<i64> = 1..=150_000;

/// A zone that can be read.
#[derive(Debug, Clone, PartialEq)]
pub struct Zone {
    /// Its type, for example `tj-thermal`.
    pub name: String,
    /// Degrees Celsius.
    pub celsius: f64,
}

pub(super) fn examine(system: &System) -> Vec<Zone> {
    let folder = "/sys/class/thermal";
    let zones = system.entries(folder).into_iter().filter(|name| name.starts_with("thermal_zone"));
    let zone = |zone: String| {
        let name = system.line(&format!("{folder}/{zone}/type"));
        let millidegrees: i64 = system.line(&format!("{folder}/{zone}/temp")).parse().ok()?;
        // The one of the power chip of Xavier always says 100 degrees.
        let is_real = MILLIDEGREES.contains(&millidegrees) && name != "PMIC-Die";
        let name = name.chars().filter(|c| c.is_ascii_graphic()).take(40).collect();
        is_real.then_some(Zone { name, celsius: millidegrees as f64 / 1e3 })
    };
    zones.filter_map(zone).take(ZONES_MAX).collect()
}
