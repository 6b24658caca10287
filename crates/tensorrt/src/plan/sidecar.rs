//! What is known of a plan: a small JSON file beside it.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::PlanKey;
use super::fingerprint::FileStamp;

/// Format of the file; another one is not read.
pub const SIDECAR_FORMAT: u32 = 2;
/// Longest file.
pub const SIDECAR_BYTES_MAX: u64 = 1 << 20;
/// Longest text in it. Bytes.
pub const SIDECAR_TEXT_BYTES_MAX: usize = 1024;
/// Layers that are named: the first that the DLA cannot run.
pub const LAYERS_NAMED_MAX: usize = 16;
/// Most files of a model.
pub const MODEL_FILES_MAX: usize = 512;

/// What is known of a plan.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Sidecar {
    /// [`SIDECAR_FORMAT`].
    pub format: u32,
    /// What the plan depends on.
    pub key: PlanKey,
    /// Length of the plan. Bytes.
    pub plan_bytes: u64,
    /// When it was built. Seconds since 1970, of the system's clock.
    pub built_at_s: u64,
    /// How long that took. Seconds.
    pub build_s: f64,
    /// Where its layers run.
    pub layers: LayerReport,
    /// The model's files as they were, so that unchanged ones need not be hashed again.
    pub model_files: Vec<FileStamp>,
}

/// Where the layers of a plan run.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct LayerReport {
    /// Layers of the network.
    pub total: usize,
    /// Of these, on the DLA.
    pub on_dla: usize,
    /// The first ones that the DLA cannot run, when it was asked for: `name (kind)`.
    pub off_dla: Vec<String>,
}

/// A sidecar was refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SidecarError {
    /// It cannot be read.
    #[error("cannot read '{}'", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// It is too long to be one.
    #[error("'{}' is longer than {SIDECAR_BYTES_MAX} bytes", path.display())]
    TooLong {
        /// The file.
        path: PathBuf,
    },
    /// It is no JSON of this kind.
    #[error("'{}' is not a description of a plan: {detail}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        detail: String,
    },
}

impl Sidecar {
    /// Reads and checks a sidecar.
    ///
    /// # Errors
    /// [`SidecarError`].
    pub fn read(path: &Path) -> Result<Self, SidecarError> {
        let io = |source| SidecarError::Io { path: path.to_owned(), source };
        let mut bytes = Vec::new();
        let file = File::open(path).map_err(io)?;
        file.take(SIDECAR_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(io)?;
        if bytes.len() as u64 > SIDECAR_BYTES_MAX {
            return Err(SidecarError::TooLong { path: path.to_owned() });
        }
        Self::parse(&bytes)
            .map_err(|detail| SidecarError::Malformed { path: path.to_owned(), detail })
    }

    /// The file's content.
    pub fn to_json(&self) -> String {
        let mut text = serde_json::to_string_pretty(self).expect("plain data becomes JSON");
        text.push('\n');
        text
    }

    /// The sidecar in `bytes`, or what is wrong with it.
    fn parse(bytes: &[u8]) -> Result<Self, String> {
        #[derive(Deserialize)]
        struct Head {
            format: u32,
        }
        let Head { format } = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
        if format != SIDECAR_FORMAT {
            return Err(format!("format {format}; this program reads {SIDECAR_FORMAT}"));
        }
        let sidecar: Self = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
        sidecar.check()?;
        Ok(sidecar)
    }

    fn check(&self) -> Result<(), String> {
        let PlanKey { tensorrt, device, model, precision, .. } = &self.key;
        let names = self.model_files.iter().map(|file| &file.name);
        let texts = [tensorrt, device, model, precision].into_iter();
        if let Some(text) = texts
            .chain(&self.layers.off_dla)
            .chain(names)
            .find(|text| text.len() > SIDECAR_TEXT_BYTES_MAX || text.chars().any(char::is_control))
        {
            let len = text.len();
            return Err(format!(
                "a text of {len} bytes; at most {SIDECAR_TEXT_BYTES_MAX}, no control characters"
            ));
        }
        let (named, files) = (self.layers.off_dla.len(), self.model_files.len());
        if named > LAYERS_NAMED_MAX || files > MODEL_FILES_MAX {
            return Err(format!("{named} named layers and {files} files"));
        }
        if self.layers.on_dla > self.layers.total {
            return Err(format!("{} of {} layers", self.layers.on_dla, self.layers.total));
        }
        if !self.build_s.is_finite() || self.build_s < 0.0 {
            return Err(format!("a build of {} s", self.build_s));
        }
        Ok(())
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;
    use crate::plan::tests::key;

    pub(crate) fn sidecar(key: PlanKey, plan_bytes: u64) -> Sidecar {
        let layers =
            LayerReport { total: 40, on_dla: 3, off_dla: vec!["norm_0 (Reduce)".to_owned()] };
        let model_files = vec![FileStamp {
            name: "model.safetensors".to_owned(),
            bytes: 7,
            modified_ns: 1 << 60,
        }];
        Sidecar {
            format: SIDECAR_FORMAT,
            key,
            plan_bytes,
            built_at_s: 1_800_000_000,
            build_s: 12.5,
            layers,
            model_files,
        }
    }

    #[test]
    fn what_is_written_is_read() {
        let sidecar = sidecar(key(), 123);
        assert_eq!(Sidecar::parse(sidecar.to_json().as_bytes()).unwrap(), sidecar);
    }

    #[test]
    fn hostile_ones_are_refused_with_a_reason() {
        let good: Value = serde_json::from_str(&sidecar(key(), 1).to_json()).unwrap();
        let cases: [(&str, Value, &str); 7] = [
            ("/format", json!(1), "format 1; this program reads 2"),
            ("/key/device", json!("x".repeat(5000)), "a text of 5000 bytes"),
            ("/key/tensorrt", json!("10\u{1b}[2J"), "control characters"),
            ("/layers/off_dla", json!(vec!["a"; 17]), "17 named layers"),
            ("/layers/on_dla", json!(41), "41 of 40 layers"),
            ("/build_s", json!(-1.0), "a build of -1 s"),
            ("/key/sm", json!("eighty-seven"), "invalid type"),
        ];
        for (pointer, value, reason) in cases {
            let mut bad = good.clone();
            *bad.pointer_mut(pointer).unwrap() = value;
            let detail = Sidecar::parse(bad.to_string().as_bytes()).unwrap_err();
            assert!(detail.contains(reason), "{pointer}: {detail}");
        }
        let deep = "[".repeat(100_000);
        assert!(Sidecar::parse(deep.as_bytes()).is_err(), "depth is bounded");
    }

    #[test]
    fn an_endless_file_is_not_read_to_its_end() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("long.json");
        std::fs::write(&path, vec![b' '; SIDECAR_BYTES_MAX as usize + 1]).unwrap();
        assert!(matches!(Sidecar::read(&path), Err(SidecarError::TooLong { .. })));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(bytes: Vec<u8>, cut in 0_usize..600, flip: u8) {
            let _ = Sidecar::parse(&bytes);
            let mut damaged = sidecar(key(), 1).to_json().into_bytes();
            let at = cut % damaged.len();
            damaged[at] ^= flip;
            let _ = Sidecar::parse(&damaged);
            let _ = Sidecar::parse(&damaged[..at]);
        }
    }
}
