//! Power modes: `nvpmodel` keeps them in two files.

use super::System;

/// Most modes that are kept.
const MODES_MAX: usize = 64;
/// Longest name of a mode. Characters.
const NAME_CHARS_MAX: usize = 40;

/// A power mode.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mode {
    /// Its number, as `nvpmodel -m` takes it.
    pub id: u32,
    /// Its name, for example `MAXN_SUPER`, `25W` or `MODE_20W_6CORE`.
    pub name: String,
}

impl Mode {
    /// The larger, the faster. Mode 0 is no rule: it is 15 W on an Orin Nano.
    fn rank(&self) -> (u32, u32, u32) {
        let before = |unit: &str| {
            let words = self.name.split('_');
            words.filter_map(|word| word.strip_suffix(unit)?.parse::<u32>().ok()).max()
        };
        let unlimited = match self.name.as_str() {
            "MAXN_SUPER" => 2,
            name if name.starts_with("MAXN") => 1,
            _ => 0,
        };
        (unlimited, before("W").unwrap_or_default(), before("CORE").unwrap_or_default())
    }
}

/// The modes and the one in force.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Power {
    /// All modes of this board, in file order.
    pub modes: Vec<Mode>,
    /// Number of the mode that was last set.
    pub current: Option<u32>,
    /// Whether the clocks stand still at their highest, as after `jetson_clocks`; by the first CPU.
    pub is_locked: Option<bool>,
}

impl Power {
    pub(super) fn examine(system: &System) -> Self {
        let config = system.text("/etc/nvpmodel.conf").unwrap_or_default();
        // `pmode:0002 fmode:fanNull`
        let status = system.line("/var/lib/nvpmodel/status");
        let current = status
            .split_whitespace()
            .find_map(|word| word.strip_prefix("pmode:"))
            .and_then(|number| number.parse().ok());
        let clock = |name: &str| {
            system.line(&format!("/sys/devices/system/cpu/cpu0/cpufreq/{name}")).parse::<u64>().ok()
        };
        let limits = clock("scaling_min_freq").zip(clock("cpuinfo_max_freq"));
        Self {
            modes: config.lines().filter_map(mode).take(MODES_MAX).collect(),
            current,
            is_locked: limits.map(|(lowest, highest)| lowest >= highest),
        }
    }

    /// The mode in force.
    pub fn mode(&self) -> Option<&Mode> {
        self.modes.iter().find(|mode| Some(mode.id) == self.current)
    }

    /// The fastest mode of this board.
    pub fn fastest(&self) -> Option<&Mode> {
        self.modes.iter().max_by_key(|mode| mode.rank())
    }
}

/// Reads `< POWER_MODEL ID=2 NAME=MAXN_SUPER >`.
fn mode(line: &str) -> Option<Mode> {
    let inside = line.trim().strip_prefix('<')?.split('>').next()?;
    let mut words = inside.split_whitespace();
    if words.next()? != "POWER_MODEL" {
        return None;
    }
    let (mut id, mut name) = (None, None);
    for word in words {
        match word.split_once('=')? {
            ("ID", number) => id = number.parse().ok(),
            ("NAME", text) => name = Some(text.chars().take(NAME_CHARS_MAX).collect()),
            _ => {}
        }
    }
    Some(Mode { id: id?, name: name? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fastest_mode_is_found_by_its_name() {
        let cases = [
            (&["15W", "25W", "MAXN_SUPER", "7W"][..], "MAXN_SUPER"),
            (&["15W", "7W"], "15W"),
            (&["MAXN", "MODE_15W", "MODE_30W", "MODE_50W"], "MAXN"),
            (&["MAXN", "120W", "90W", "70W"], "MAXN"),
            (
                &["MODE_15W_2CORE", "MODE_20W_4CORE", "MODE_20W_6CORE", "MODE_10W_DESKTOP"],
                "MODE_20W_6CORE",
            ),
        ];
        for (names, expected) in cases {
            let line = |(id, name): (usize, &&str)| format!("< POWER_MODEL ID={id} NAME={name} >");
            let lines: Vec<_> = names.iter().enumerate().map(line).collect();
            let modes = lines.iter().map(|line| mode(line).unwrap()).collect();
            let power = Power { modes, ..Power::default() };
            assert_eq!(power.fastest().unwrap().name, expected);
        }
        assert_eq!(mode("< PM_CONFIG DEFAULT=2 >"), None);
        assert_eq!(mode("< POWER_MODEL ID=x NAME=15W >"), None);
        assert_eq!(mode("< POWER_MODEL >"), None);
    }
}
