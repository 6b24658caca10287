//! A folder of plans, each with its sidecar: `hymt-<id>.plan` and `hymt-<id>.json`.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use super::sidecar::{Sidecar, SidecarError};
use super::{Difference, PlanKey, explain};

/// Most sidecars that are looked at.
pub const SIDECARS_MAX: usize = 64;
/// Beginning of the files' names.
const PREFIX: &str = "hymt-";

/// A folder of plans.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlanCache {
    folder: PathBuf,
}

/// A plan with what is known of it.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredPlan {
    /// The plan's file.
    pub path: PathBuf,
    /// What is known of it.
    pub sidecar: Sidecar,
}

/// A plan that cannot be used.
#[derive(Debug, Clone, PartialEq)]
pub struct StalePlan {
    /// The plan.
    pub plan: StoredPlan,
    /// Why not; empty when its file is damaged.
    pub differences: Vec<Difference>,
    /// What is wrong with the file itself.
    pub damage: Option<String>,
}

impl StalePlan {
    /// Why the plan cannot be used, and what to do.
    pub fn explain(&self) -> String {
        match &self.damage {
            Some(damage) => format!("{damage}: rebuild with `hymt engine build`"),
            None => explain(&self.differences),
        }
    }
}

/// What a cache has for a key.
#[derive(Debug, Clone, PartialEq)]
#[allow(clippy::large_enum_variant, reason = "made once a start")]
pub enum Lookup {
    /// A plan that can be used.
    Fresh(StoredPlan),
    /// Only others; this one is nearest.
    Stale(Box<StalePlan>),
    /// No plan at all.
    Missing,
}

/// All plans of a folder.
#[derive(Debug, Default)]
pub struct Listing {
    /// Those whose sidecars can be read, by file name.
    pub plans: Vec<StoredPlan>,
    /// Sidecars that were refused.
    pub refused: Vec<SidecarError>,
}

/// A plan could not be stored.
#[derive(Debug, thiserror::Error)]
#[error("cannot write '{}'", path.display())]
pub struct StoreError {
    /// The file.
    pub path: PathBuf,
    /// What the system said.
    #[source]
    pub source: std::io::Error,
}

impl PlanCache {
    /// The cache in `folder`, which need not exist.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into() }
    }

    /// Its folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Where the plan of a key is or would be.
    pub fn plan_path(&self, key: &PlanKey) -> PathBuf {
        self.folder.join(format!("{PREFIX}{}.plan", key.id()))
    }

    /// Where tactic timings are kept: of one library on one device, whatever the model.
    pub fn timing_path(&self, key: &PlanKey) -> PathBuf {
        let owner = format!("{}-sm{}-{}", key.tensorrt, key.sm, key.device);
        let name: String = owner
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() || c == '.' || c == '-' { c } else { '_' })
            .take(100)
            .collect();
        self.folder.join(format!("{name}.timing"))
    }

    /// Everything in the folder, at most [`SIDECARS_MAX`]; an absent folder is empty.
    pub fn list(&self) -> Listing {
        let mut listing = Listing::default();
        let Ok(entries) = fs::read_dir(&self.folder) else { return listing };
        let mut paths: Vec<PathBuf> = entries
            .filter_map(|entry| Some(entry.ok()?.path()))
            .filter(|path| {
                let name = path.file_name().map(|name| name.to_string_lossy());
                name.is_some_and(|name| name.starts_with(PREFIX) && name.ends_with(".json"))
            })
            .collect();
        paths.sort();
        for path in paths.into_iter().take(SIDECARS_MAX) {
            match Sidecar::read(&path) {
                Ok(sidecar) => {
                    listing.plans.push(StoredPlan { path: path.with_extension("plan"), sidecar });
                }
                Err(error) => listing.refused.push(error),
            }
        }
        listing
    }

    /// The plan for `wanted`, or the nearest other one with its reasons.
    pub fn look_up(&self, wanted: &PlanKey) -> Lookup {
        let plans = self.list().plans;
        let judged = plans.into_iter().map(|plan| judge(plan, wanted));
        let mut nearest: Option<Box<StalePlan>> = None;
        for judged in judged {
            match judged {
                Ok(plan) => return Lookup::Fresh(plan),
                Err(stale) => {
                    let is_nearer = nearest
                        .as_ref()
                        .is_none_or(|best| stale.differences.len() < best.differences.len());
                    if is_nearer {
                        nearest = Some(stale);
                    }
                }
            }
        }
        nearest.map_or(Lookup::Missing, Lookup::Stale)
    }

    /// Writes a plan and its sidecar. Each appears whole or not at all, and the plan first: a
    /// sidecar never speaks of a plan that is not there.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn store(&self, plan: &[u8], sidecar: &Sidecar) -> Result<StoredPlan, StoreError> {
        let path = self.plan_path(&sidecar.key);
        write_atomic(&path, plan)?;
        write_atomic(&path.with_extension("json"), sidecar.to_json().as_bytes())?;
        Ok(StoredPlan { path, sidecar: sidecar.clone() })
    }

    /// Removes a plan with its sidecar, the sidecar first. What is absent is no error.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn remove(&self, plan: &StoredPlan) -> Result<(), StoreError> {
        for path in [plan.path.with_extension("json"), plan.path.clone()] {
            match fs::remove_file(&path) {
                Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
                    return Err(StoreError { path, source });
                }
                _ => {}
            }
        }
        Ok(())
    }
}

impl StoredPlan {
    /// A plan at a path of the user's own, with the sidecar beside it.
    ///
    /// # Errors
    /// [`SidecarError`].
    pub fn at(path: &Path) -> Result<Self, SidecarError> {
        let sidecar = Sidecar::read(&path.with_extension("json"))?;
        Ok(Self { path: path.to_owned(), sidecar })
    }
}

/// The plan, when it is good for `wanted`.
///
/// # Errors
/// Why it is not.
pub fn judge(plan: StoredPlan, wanted: &PlanKey) -> Result<StoredPlan, Box<StalePlan>> {
    let differences = plan.sidecar.key.differences(wanted);
    let damage = damage(&plan);
    if differences.is_empty() && damage.is_none() {
        return Ok(plan);
    }
    Err(Box::new(StalePlan { plan, differences, damage }))
}

fn damage(plan: &StoredPlan) -> Option<String> {
    let (path, expected) = (plan.path.display(), plan.sidecar.plan_bytes);
    match fs::metadata(&plan.path) {
        Ok(metadata) if metadata.len() == expected => None,
        Ok(metadata) => Some(format!("'{path}' has {} of {expected} bytes", metadata.len())),
        Err(error) => Some(format!("'{path}' cannot be read: {error}")),
    }
}

/// Writes a file that is there whole or not at all.
///
/// # Errors
/// [`StoreError`].
pub fn write_atomic(path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
    // Unique to the process, so that two builds at once do not write into each other's file.
    let part = path.with_extension(format!("part{}", std::process::id()));
    let written = write_synced(&part, bytes).and_then(|()| fs::rename(&part, path));
    written.map_err(|source| {
        let _ = fs::remove_file(&part);
        StoreError { path: path.to_owned(), source }
    })
}

fn write_synced(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let mut file = File::create(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::sidecar::tests::sidecar;
    use crate::plan::tests::key;
    use crate::plan::{Field, PlanShapes};

    fn cache() -> (tempfile::TempDir, PlanCache) {
        let folder = tempfile::tempdir().unwrap();
        let cache = PlanCache::new(folder.path().join("plans"));
        (folder, cache)
    }

    #[test]
    fn what_is_stored_is_found_and_nothing_else() {
        let (_folder, cache) = cache();
        assert_eq!(cache.look_up(&key()), Lookup::Missing);
        let stored = cache.store(b"a plan", &sidecar(key(), 6)).unwrap();
        assert_eq!(fs::read(&stored.path).unwrap(), b"a plan");
        assert_eq!(cache.look_up(&key()), Lookup::Fresh(stored));
        let files = fs::read_dir(cache.folder()).unwrap().count();
        assert_eq!(files, 2, "no part of a file is left");
    }

    #[test]
    fn the_nearest_stale_plan_is_explained() {
        let (_folder, cache) = cache();
        let old = PlanKey { tensorrt: "10.3.0.30".to_owned(), sm: 72, ..key() };
        let shapes = PlanShapes::new(2, 512);
        cache.store(b"far", &sidecar(PlanKey { shapes, ..old }, 3)).unwrap();
        cache.store(b"near", &sidecar(key(), 4)).unwrap();
        let wanted = PlanKey { tensorrt: "10.7.0.23".to_owned(), ..key() };
        let Lookup::Stale(stale) = cache.look_up(&wanted) else { panic!("a plan of another key") };
        let fields: Vec<Field> = stale.differences.iter().map(|d| d.field).collect();
        assert_eq!(fields, [Field::TensorRt]);
        assert!(stale.explain().starts_with("TensorRT 10.3.0.30 built it, 10.7.0.23 is installed"));
    }

    #[test]
    fn a_damaged_plan_is_not_used() {
        let (_folder, cache) = cache();
        let stored = cache.store(b"a plan", &sidecar(key(), 6)).unwrap();
        fs::write(&stored.path, b"a pl").unwrap();
        let Lookup::Stale(stale) = cache.look_up(&key()) else { panic!("it is cut short") };
        assert!(stale.explain().contains("has 4 of 6 bytes"), "{}", stale.explain());
        fs::remove_file(&stored.path).unwrap();
        let Lookup::Stale(stale) = cache.look_up(&key()) else { panic!("it is gone") };
        assert!(stale.explain().contains("cannot be read"), "{}", stale.explain());
    }

    #[test]
    fn hostile_sidecars_do_not_hide_good_ones() {
        let (_folder, cache) = cache();
        let stored = cache.store(b"a plan", &sidecar(key(), 6)).unwrap();
        fs::write(cache.folder().join("hymt-0.json"), b"{").unwrap();
        fs::create_dir(cache.folder().join("hymt-1.json")).unwrap();
        let listing = cache.list();
        assert_eq!((listing.plans.len(), listing.refused.len()), (1, 2));
        assert_eq!(cache.look_up(&key()), Lookup::Fresh(stored.clone()));
        cache.remove(&stored).unwrap();
        cache.remove(&stored).unwrap();
        assert_eq!(cache.look_up(&key()), Lookup::Missing);
    }

    #[test]
    fn timings_are_kept_by_library_and_device() {
        let (_folder, cache) = cache();
        let hostile = PlanKey { device: "../../etc/x".to_owned(), ..key() };
        let path = cache.timing_path(&hostile);
        assert_eq!(path.parent(), Some(cache.folder()));
        let other = PlanKey { tensorrt: "10.7.0".to_owned(), ..key() };
        assert_ne!(cache.timing_path(&key()), cache.timing_path(&other));
    }
}
