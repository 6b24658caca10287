//! NVIDIA's libraries by the names of their files: nothing is loaded.

use std::fmt;

use super::System;

/// Where JetPack and the packages of desktop Linux put TensorRT.
const TENSORRT_FOLDERS: [&str; 6] = [
    "/usr/lib/aarch64-linux-gnu",
    "/usr/lib/aarch64-linux-gnu/nvidia",
    "/usr/lib/x86_64-linux-gnu",
    "/usr/local/tensorrt/lib",
    "/opt/tensorrt/lib",
    // Yocto.
    "/usr/lib",
];
/// Where its headers are.
const HEADER_FOLDERS: [&str; 4] = [
    "/usr/include/aarch64-linux-gnu",
    "/usr/include/x86_64-linux-gnu",
    "/usr/local/tensorrt/include",
    "/usr/include",
];
/// Where the driver is: JetPack 6 and later, JetPack 5, desktop, Yocto.
const DRIVER_FOLDERS: [&str; 5] = [
    "/usr/lib/aarch64-linux-gnu/nvidia",
    "/usr/lib/aarch64-linux-gnu/tegra",
    "/usr/lib/aarch64-linux-gnu",
    "/usr/lib/x86_64-linux-gnu",
    "/usr/lib",
];
/// Where the CUDA toolkit has its libraries, below each `/usr/local/cuda*`.
const TOOLKIT_FOLDERS: [&str; 3] = ["targets/aarch64-linux/lib", "targets/sbsa-linux/lib", "lib64"];
/// Most libraries of one kind that are kept.
const LIBRARIES_MAX: usize = 16;

/// A version: one to four numbers.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version(Vec<u32>);

impl Version {
    /// Reads `10.3.0`; at most four numbers.
    pub fn parse(text: &str) -> Option<Self> {
        let numbers: Option<Vec<u32>> = text.split('.').map(|part| part.parse().ok()).collect();
        numbers.filter(|numbers| (1..=4).contains(&numbers.len())).map(Self)
    }

    /// The first number.
    pub fn major(&self) -> u32 {
        self.0.first().copied().unwrap_or_default()
    }

    /// The second number; 0 where a file's name has only one.
    pub fn minor(&self) -> u32 {
        self.0.get(1).copied().unwrap_or_default()
    }

    /// Whether there is a second number.
    pub fn has_minor(&self) -> bool {
        self.0.len() > 1
    }
}

impl fmt::Display for Version {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let numbers: Vec<_> = self.0.iter().map(u32::to_string).collect();
        formatter.write_str(&numbers.join("."))
    }
}

/// A library that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Library {
    /// Its path.
    pub path: String,
    /// Version by the name of the file that its links lead to.
    pub version: Version,
    /// Whether that file is there: a package may leave links to nothing.
    pub is_whole: bool,
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Libraries {
    /// TensorRT, the newest first.
    pub tensorrt: Vec<Library>,
    /// TensorRT's ONNX parser, the newest first.
    pub parser: Vec<Library>,
    /// Version of TensorRT's headers, which the shim is compiled with.
    pub headers: Option<Version>,
    /// Whether `libnvdla_compiler.so` is there, which TensorRT on a Jetson wants even for the GPU.
    pub has_dla_compiler: bool,
    /// The CUDA driver.
    pub driver: Option<String>,
    /// NVRTC, the newest first.
    pub nvrtc: Vec<Library>,
}

impl Libraries {
    pub(super) fn examine(system: &System) -> Self {
        let toolkits: Vec<String> = toolkit_folders(system);
        let toolkits: Vec<_> = toolkits.iter().map(String::as_str).collect();
        let driver = |name: &str| {
            let paths = DRIVER_FOLDERS.iter().map(|folder| format!("{folder}/{name}"));
            paths.into_iter().find(|path| system.has_file(path))
        };
        Self {
            tensorrt: named(system, "libnvinfer.so", &TENSORRT_FOLDERS),
            parser: named(system, "libnvonnxparser.so", &TENSORRT_FOLDERS),
            headers: headers(system),
            has_dla_compiler: driver("libnvdla_compiler.so").is_some(),
            driver: driver("libcuda.so.1"),
            nvrtc: named(system, "libnvrtc.so", &[&toolkits[..], &DRIVER_FOLDERS].concat()),
        }
    }
}

fn toolkit_folders(system: &System) -> Vec<String> {
    let toolkits = system.entries("/usr/local").into_iter().filter(|name| name.starts_with("cuda"));
    // `cuda`, `cuda-12` and `cuda-12.6` are the same one through links; the real name says most.
    let mut toolkits: Vec<_> =
        toolkits.filter_map(|name| system.final_name(&format!("/usr/local/{name}"))).collect();
    toolkits.sort();
    toolkits.dedup();
    let below = |toolkit: &String| TOOLKIT_FOLDERS.map(|at| format!("/usr/local/{toolkit}/{at}"));
    toolkits.iter().flat_map(below).collect()
}

/// The files `stem.VERSION` of these folders, one a version, the newest first.
fn named(system: &System, stem: &str, folders: &[&str]) -> Vec<Library> {
    let mut found: Vec<Library> = Vec::new();
    for folder in folders {
        for name in system.entries(folder) {
            let Some(of_name) = name.strip_prefix(stem).and_then(|rest| rest.strip_prefix('.'))
            else {
                continue;
            };
            let path = format!("{folder}/{name}");
            let Some(of_name) = Version::parse(of_name) else { continue };
            // `libnvinfer.so.10` is a link to `libnvinfer.so.10.3.0`.
            let target = system.final_name(&path);
            let of_target = target.as_deref().and_then(|target| target.strip_prefix(stem));
            let version = of_target.and_then(|rest| Version::parse(rest.strip_prefix('.')?));
            let is_whole = system.has_file(&path);
            found.push(Library { path, version: version.unwrap_or(of_name), is_whole });
        }
    }
    found.sort_by(|a, b| (&b.version, b.is_whole).cmp(&(&a.version, a.is_whole)));
    found.dedup_by(|next, kept| next.version == kept.version);
    found.truncate(LIBRARIES_MAX);
    found
}

/// Version in `NvInferVersion.h`; TensorRT 11 defines its numbers through other names.
fn headers(system: &System) -> Option<Version> {
    let text = HEADER_FOLDERS
        .iter()
        .find_map(|folder| system.text(&format!("{folder}/NvInferVersion.h")).ok())?;
    let defined = |name: &str| {
        text.lines().find_map(|line| {
            let mut words = line.split_whitespace();
            let is_it = words.next() == Some("#define") && words.next() == Some(name);
            words.next().filter(|_| is_it)
        })
    };
    let number = |name: &str| {
        let value = defined(name)?;
        value.parse::<u32>().ok().or_else(|| defined(value)?.parse().ok())
    };
    let numbers = ["NV_TENSORRT_MAJOR", "NV_TENSORRT_MINOR", "NV_TENSORRT_PATCH"].map(number);
    numbers.into_iter().collect::<Option<Vec<_>>>().map(Version)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn versions_come_from_the_file_at_the_end_of_the_links() {
        let dir = tempfile::tempdir().unwrap();
        let lib = dir.path().join("usr/lib/aarch64-linux-gnu");
        std::fs::create_dir_all(&lib).unwrap();
        std::fs::write(lib.join("libnvinfer.so.10.3.0"), "").unwrap();
        symlink("libnvinfer.so.10.3.0", lib.join("libnvinfer.so.10")).unwrap();
        symlink("libnvinfer.so.10", lib.join("libnvinfer.so")).unwrap();
        symlink("libnvinfer.so.8.5.2", lib.join("libnvinfer.so.8")).unwrap();
        std::fs::write(lib.join("libnvinfer.so.9.99999999999"), "").unwrap();
        std::fs::write(lib.join("libnvinfer_plugin.so.11"), "").unwrap();
        let found = Libraries::examine(&System::below(dir.path())).tensorrt;
        let found: Vec<_> =
            found.iter().map(|library| (library.version.to_string(), library.is_whole)).collect();
        assert_eq!(found, [("10.3.0".to_owned(), true), ("8.5.2".to_owned(), false)]);
    }

    #[test]
    fn headers_of_each_kind_name_their_version() {
        let dir = tempfile::tempdir().unwrap();
        let include = dir.path().join("usr/include/aarch64-linux-gnu");
        std::fs::create_dir_all(&include).unwrap();
        for (text, expected) in [
            (
                "#define NV_TENSORRT_MAJOR 10 //!< a\n#define NV_TENSORRT_MINOR 3\n\
              #define NV_TENSORRT_PATCH 0\n",
                Some("10.3.0"),
            ),
            (
                "#define TRT_MAJOR_ENTERPRISE 11\n#define TRT_MINOR_ENTERPRISE 4\n\
              #define TRT_PATCH_ENTERPRISE 1\n\
              #define NV_TENSORRT_MAJOR TRT_MAJOR_ENTERPRISE\n\
              #define NV_TENSORRT_MINOR TRT_MINOR_ENTERPRISE\n\
              #define NV_TENSORRT_PATCH TRT_PATCH_ENTERPRISE\n",
                Some("11.4.1"),
            ),
            ("#define NV_TENSORRT_MAJOR NV_TENSORRT_MAJOR\n", None),
            ("", None),
        ] {
            std::fs::write(include.join("NvInferVersion.h"), text).unwrap();
            let found = Libraries::examine(&System::below(dir.path())).headers;
            assert_eq!(found.map(|version| version.to_string()).as_deref(), expected, "{text}");
        }
    }
}
