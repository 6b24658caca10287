//! The system software of a Jetson: L4T ("Jetson Linux"), and the JetPack that belongs to it.

use std::collections::BTreeMap;
use std::fmt;

use super::system::{System, Unread};

/// Longest package database that is read. Bytes; a desktop has about 5 MB.
const DPKG_BYTES_MAX: u64 = 64 << 20;
/// Packages that say something about this.
const PACKAGES: [&str; 5] =
    ["nvidia-jetpack", "nvidia-l4t-core", "libnvinfer8", "libnvinfer10", "libnvinfer11"];
/// Longest version of a package that is shown. Characters.
const VERSION_CHARS_MAX: usize = 60;

/// A release of Jetson Linux: `36.4.3` is release 36, revision 4.3.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct L4t {
    /// Release.
    pub release: u32,
    /// Revision, before its dot.
    pub major: u32,
    /// Revision, behind its dot.
    pub minor: u32,
}

const fn l4t(release: u32, major: u32, minor: u32) -> L4t {
    L4t { release, major, minor }
}

/// Which JetPack came with which L4T: NVIDIA's JetPack archive, and for 36.5, 39.2 and 35.6.4 what
/// owners of such boards say they have.
const JETPACKS: [(L4t, &str); 27] = [
    (l4t(39, 2, 1), "7.2.1"),
    (l4t(39, 2, 0), "7.2"),
    (l4t(38, 4, 0), "7.1"),
    (l4t(38, 2, 2), "7.0"),
    (l4t(38, 2, 1), "7.0"),
    (l4t(38, 2, 0), "7.0"),
    (l4t(36, 5, 0), "6.2.2"),
    (l4t(36, 4, 7), "6.2.1"),
    (l4t(36, 4, 4), "6.2.1"),
    (l4t(36, 4, 3), "6.2"),
    (l4t(36, 4, 2), "6.1"),
    (l4t(36, 4, 0), "6.1"),
    (l4t(36, 3, 0), "6.0"),
    (l4t(36, 2, 0), "6.0 DP"),
    (l4t(35, 6, 4), "5.1.6"),
    (l4t(35, 6, 3), "5.1.5"),
    (l4t(35, 6, 2), "5.1.5"),
    (l4t(35, 6, 1), "5.1.5"),
    (l4t(35, 6, 0), "5.1.4"),
    (l4t(35, 5, 0), "5.1.3"),
    (l4t(35, 4, 1), "5.1.2"),
    (l4t(35, 3, 1), "5.1.1"),
    (l4t(35, 2, 1), "5.1"),
    (l4t(35, 1, 0), "5.0.2"),
    (l4t(34, 1, 1), "5.0.1 DP"),
    (l4t(32, 7, 6), "4.6.6"),
    (l4t(32, 7, 1), "4.6.1"),
];

impl L4t {
    /// Reads `# R36 (release), REVISION: 4.3, ...`, the first line of `/etc/nv_tegra_release`.
    pub fn of_release_file(text: &str) -> Option<Self> {
        let line = text.lines().next()?;
        let rest = line.trim_start_matches(['#', ' ']).strip_prefix('R')?;
        let (release, rest) = rest.split_once(" (release)")?;
        let revision = rest.split_once("REVISION:")?.1.split(',').next()?;
        Self::of_numbers(&format!("{}.{}", release.trim(), revision.trim()))
    }

    /// Reads the version of the package `nvidia-l4t-core`, `36.4.3-20250107174145`.
    pub fn of_package(version: &str) -> Option<Self> {
        Self::of_numbers(version.split('-').next()?)
    }

    fn of_numbers(text: &str) -> Option<Self> {
        let mut numbers = text.split('.').map(|number| number.parse::<u32>().ok());
        let (release, major) = (numbers.next()??, numbers.next()??);
        let minor = match numbers.next() {
            None => 0,
            Some(minor) => minor?,
        };
        numbers.next().is_none().then_some(Self { release, major, minor })
    }

    /// The JetPack of this release; `None` where it is not in our table.
    pub fn jetpack(self) -> Option<&'static str> {
        JETPACKS.iter().find(|(release, _)| *release == self).map(|(_, jetpack)| *jetpack)
    }

    /// Major and minor version of the TensorRT that comes with it, as far as it is known.
    pub fn tensorrt(self) -> Option<(u32, u32)> {
        match (self.release, self.major) {
            (35, 2..) => Some((8, 5)),
            (36, 2 | 3) => Some((8, 6)),
            (36, 4..) => Some((10, 3)),
            (38, _) => Some((10, 13)),
            _ => None,
        }
    }
}

impl fmt::Display for L4t {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "R{}.{}.{}", self.release, self.major, self.minor)
    }
}

/// What is installed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JetPack {
    /// The release, or why it is not known.
    pub l4t: Result<L4t, String>,
    /// Versions of the installed packages of interest, by name.
    pub packages: BTreeMap<&'static str, String>,
}

impl JetPack {
    pub(super) fn examine(system: &System) -> Self {
        let packages = system
            .text_up_to("/var/lib/dpkg/status", DPKG_BYTES_MAX)
            .map(|status| installed(&status))
            .unwrap_or_default();
        Self { l4t: release(system, &packages), packages }
    }
}

/// From the file, or where that is missing or damaged from the package that should hold it.
fn release(system: &System, packages: &BTreeMap<&'static str, String>) -> Result<L4t, String> {
    let path = "/etc/nv_tegra_release";
    let why = match system.text(path) {
        Ok(text) => match L4t::of_release_file(&text) {
            Some(l4t) => return Ok(l4t),
            None => format!("{path} does not begin with '# R<release> (release), REVISION: <n.n>'"),
        },
        Err(Unread::Missing) => format!("there is no {path}"),
        Err(unread) => format!("{path}: {unread}"),
    };
    packages.get("nvidia-l4t-core").and_then(|version| L4t::of_package(version)).ok_or(why)
}

/// Versions of those of [`PACKAGES`] that a package database says are installed.
fn installed(status: &str) -> BTreeMap<&'static str, String> {
    let mut found = BTreeMap::new();
    for paragraph in status.split("\n\n") {
        let field =
            |name: &str| paragraph.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
        let Some(package) = field("Package:") else { continue };
        let Some(package) = PACKAGES.iter().find(|name| **name == package) else { continue };
        // `install ok installed`, `hold ok installed`; a removed one has `deinstall ok config-files`.
        if field("Status:").is_some_and(|status| status.ends_with(" installed")) {
            let version = field("Version:").unwrap_or_default();
            found.insert(*package, version.chars().take(VERSION_CHARS_MAX).collect());
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_are_read_as_they_are_written() {
        let cases = [
            (
                "# R36 (release), REVISION: 4.3, GCID: 38968081, BOARD: generic, EABI: aarch64\n# K",
                Some((l4t(36, 4, 3), Some("6.2"), Some((10, 3)))),
            ),
            (
                "# R35 (release), REVISION: 4.1, GCID: 33958178",
                Some((l4t(35, 4, 1), Some("5.1.2"), Some((8, 5)))),
            ),
            (
                "# R38 (release), REVISION: 2.0, GCID: 1",
                Some((l4t(38, 2, 0), Some("7.0"), Some((10, 13)))),
            ),
            ("# R99 (release), REVISION: 1.0", Some((l4t(99, 1, 0), None, None))),
            ("# R36 (release), REVISION: 4", Some((l4t(36, 4, 0), Some("6.1"), Some((10, 3))))),
            ("# R36 (release), REVISION: four", None),
            ("# R36 (release), REVISION: 4.3.2.1", None),
            ("# R99999999999 (release), REVISION: 4.3", None),
            ("R36", None),
            ("", None),
        ];
        for (text, expected) in cases {
            let got = L4t::of_release_file(text);
            assert_eq!(got.map(|l| (l, l.jetpack(), l.tensorrt())), expected, "{text}");
        }
        assert_eq!(L4t::of_package("36.4.3-20250107174145"), Some(l4t(36, 4, 3)));
    }

    #[test]
    fn only_installed_packages_count() {
        let status = "Package: nvidia-jetpack\nStatus: deinstall ok config-files\nVersion: 6.1+b123\n\n\
                      Package: libnvinfer10\nStatus: install ok installed\nVersion: 10.3.0.30-1\n\n\
                      Package: libnvinfer8-extra\nStatus: install ok installed\nVersion: 1\n\n\
                      Package: nvidia-l4t-core\nStatus: hold ok installed\nVersion: 36.4.0-2024\n";
        let found: Vec<_> = installed(status).into_iter().collect();
        let expected = [("libnvinfer10", "10.3.0.30-1"), ("nvidia-l4t-core", "36.4.0-2024")];
        assert_eq!(found, expected.map(|(name, version)| (name, version.to_owned())));
    }
}
