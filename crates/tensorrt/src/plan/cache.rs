//! A folder of plans, each with its sidecar: `hymt-<id>.plan` and `hymt-<id>.json`.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use super::prune::remove;
use super::sidecar::{Sidecar, SidecarError};
use super::{Difference, PlanKey, explain};

/// Most sidecars that are looked at.
pub const SIDECARS_MAX: usize = 64;
/// Beginning of the files' names.
pub(super) const PREFIX: &str = "hymt-";
/// Beginning of the name of a model's export while a plan is built of it.
pub(super) const EXPORT_PREFIX: &str = "onnx-";

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

/// The right to build plans in a folder; the system takes it back when the process ends, however it does.
#[derive(Debug)]
pub struct BuildLock {
    _file: File,
}

/// A plan cannot be built now.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LockError {
    /// Another process builds one.
    #[error("another process builds a plan in '{}' right now; wait for it", folder.display())]
    Busy {
        /// The cache.
        folder: PathBuf,
    },
    /// The folder cannot be written.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl PlanCache {
    /// The cache in `folder`, which need not exist.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into() }
    }

    /// The cache of this user: `hymt/plans` where caches are kept, beside the kernels of the CUDA engine.
    pub fn of_user() -> Self {
        let folder = hymt_cuda::program::default_cache();
        Self::new(folder.unwrap_or_else(|| ".hymt-cache".into()).join("plans"))
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
        self.folder.join(format!("{PREFIX}{name}.timing"))
    }

    /// Everything in the folder, at most the newest [`SIDECARS_MAX`]; an absent folder is empty.
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
        // The newest ones, or what was just built might not be seen.
        let modified = |path: &PathBuf| fs::metadata(path).and_then(|file| file.modified()).ok();
        paths.sort_by_cached_key(|path| std::cmp::Reverse(modified(path)));
        paths.truncate(SIDECARS_MAX);
        paths.sort();
        for path in paths {
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
        self.look_up_with(|plan| judge(plan, wanted))
    }

    /// The newest plan that an engine may run on the machine and with the model of `wanted`, whatever
    /// its builder chose; see [`StoredPlan::judge_for_engine`].
    pub fn look_up_for_engine(&self, wanted: &PlanKey) -> Lookup {
        self.look_up_with(|plan| plan.judge_for_engine(wanted))
    }

    fn look_up_with(
        &self,
        judge: impl Fn(StoredPlan) -> Result<StoredPlan, Box<StalePlan>>,
    ) -> Lookup {
        let (fresh, stale): (Vec<_>, Vec<_>) =
            self.list().plans.into_iter().map(judge).partition(Result::is_ok);
        let newest = fresh.into_iter().flatten().max_by_key(|plan| plan.sidecar.built_at_s);
        let nearest = || {
            let stale = stale.into_iter().filter_map(Result::err);
            stale.min_by_key(|stale| stale.differences.len())
        };
        match newest {
            Some(plan) => Lookup::Fresh(plan),
            None => nearest().map_or(Lookup::Missing, Lookup::Stale),
        }
    }

    /// Has this process alone build plans here until the lock is dropped, and removes what builds left
    /// that were ended half-way. Two at once would not find the memory either.
    ///
    /// # Errors
    /// [`LockError`].
    pub fn lock(&self) -> Result<BuildLock, LockError> {
        let path = self.folder.join("build.lock");
        let io = |source| StoreError { path: path.clone(), source };
        fs::create_dir_all(&self.folder).map_err(io)?;
        let file = File::create(&path).map_err(io)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(fs::TryLockError::WouldBlock) => {
                return Err(LockError::Busy { folder: self.folder.clone() });
            }
            Err(fs::TryLockError::Error(source)) => return Err(io(source).into()),
        }
        self.sweep()?;
        Ok(BuildLock { _file: file })
    }

    /// Where the model of a key is exported to for its build, and only that long.
    pub fn export_path(&self, key: &PlanKey) -> PathBuf {
        self.folder.join(format!("{EXPORT_PREFIX}{}", key.id()))
    }

    /// File beside the plan of a key that a build may write; [`Self::adopt`] gives it its name.
    pub fn part_path(&self, key: &PlanKey) -> PathBuf {
        part_of(&self.plan_path(key))
    }

    /// Takes the plan that a build wrote to [`Self::part_path`]. Plan and sidecar each appear whole or
    /// not at all, and the plan first: a sidecar never speaks of a plan that is not there.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn adopt(&self, sidecar: &Sidecar) -> Result<StoredPlan, StoreError> {
        let path = self.plan_path(&sidecar.key);
        let part = part_of(&path);
        let synced = File::open(&part).and_then(|file| file.sync_all());
        synced
            .and_then(|()| fs::rename(&part, &path))
            .map_err(|source| StoreError { path: path.clone(), source })?;
        write_atomic(&path.with_extension("json"), sidecar.to_json().as_bytes())?;
        Ok(StoredPlan { path, sidecar: sidecar.clone() })
    }

    /// Removes a plan with its sidecar, the sidecar first: one never speaks of a plan that is not there.
    /// What is absent is no error.
    pub(super) fn remove(&self, plan: &Path) -> Result<(), StoreError> {
        remove(&plan.with_extension("json"))?;
        remove(plan)
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

    /// The plan, when an engine may run it. Everything else of the key is what its builder chose: the
    /// engine takes it as it is.
    ///
    /// # Errors
    /// Why it may not.
    pub fn judge_for_engine(self, wanted: &PlanKey) -> Result<Self, Box<StalePlan>> {
        let built = self.sidecar.key.clone();
        let wanted = PlanKey {
            tensorrt: wanted.tensorrt.clone(),
            sm: wanted.sm,
            device: wanted.device.clone(),
            target: wanted.target,
            model: wanted.model.clone(),
            graph: wanted.graph,
            ..built
        };
        judge(self, &wanted)
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
    let part = part_of(path);
    let written = write_synced(&part, bytes).and_then(|()| fs::rename(&part, path));
    written.map_err(|source| {
        let _ = fs::remove_file(&part);
        StoreError { path: path.to_owned(), source }
    })
}

/// Unique to the process, so that two builds at once do not write into each other's file.
fn part_of(path: &Path) -> PathBuf {
    let extension = path.extension().unwrap_or_default().to_string_lossy();
    path.with_extension(format!("{extension}.part{}", std::process::id()))
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
pub(super) mod tests {
    use super::*;
    use crate::plan::sidecar::tests::sidecar;
    use crate::plan::tests::key;
    use crate::plan::{Field, PlanShapes};

    pub(crate) fn store(cache: &PlanCache, plan: &[u8], sidecar: &Sidecar) -> StoredPlan {
        let part = cache.part_path(&sidecar.key);
        fs::create_dir_all(cache.folder()).unwrap();
        fs::write(&part, plan).unwrap();
        let stored = cache.adopt(sidecar).unwrap();
        assert!(!part.exists());
        stored
    }

    pub(crate) fn cache() -> (tempfile::TempDir, PlanCache) {
        let folder = tempfile::tempdir().unwrap();
        let cache = PlanCache::new(folder.path().join("plans"));
        (folder, cache)
    }

    #[test]
    fn what_is_stored_is_found_and_nothing_else() {
        let (_folder, cache) = cache();
        assert_eq!(cache.look_up(&key()), Lookup::Missing);
        let stored = store(&cache, b"a plan", &sidecar(key(), 6));
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
        store(&cache, b"far", &sidecar(PlanKey { shapes, ..old }, 3));
        store(&cache, b"near", &sidecar(key(), 4));
        let wanted = PlanKey { tensorrt: "10.7.0.23".to_owned(), ..key() };
        let Lookup::Stale(stale) = cache.look_up(&wanted) else { panic!("a plan of another key") };
        let fields: Vec<Field> = stale.differences.iter().map(|d| d.field).collect();
        assert_eq!(fields, [Field::TensorRt]);
        assert!(stale.explain().starts_with("TensorRT 10.3.0.30 built it, 10.7.0.23 is installed"));
    }

    #[test]
    fn an_engine_takes_the_newest_plan_whatever_its_shapes() {
        let (_folder, cache) = cache();
        let with = |slots| PlanKey {
            shapes: PlanShapes::new(slots, 512),
            level: Some(slots as i32),
            workspace_mib: 64 * slots,
            ..key()
        };
        for (slots, built_at_s) in [(1, 5), (2, 9), (3, 7)] {
            store(&cache, b"a plan", &Sidecar { built_at_s, ..sidecar(with(slots), 6) });
        }
        let wanted = PlanKey { precision: String::new(), ..key() };
        let Lookup::Fresh(plan) = cache.look_up_for_engine(&wanted) else { panic!("all are good") };
        assert_eq!(plan.sidecar.key.shapes.slots, 2);
        let other = PlanKey { model: "cd".repeat(32), ..wanted };
        let Lookup::Stale(stale) = cache.look_up_for_engine(&other) else {
            panic!("another model")
        };
        let fields: Vec<Field> = stale.differences.iter().map(|d| d.field).collect();
        assert_eq!(fields, [Field::Model]);
    }

    #[test]
    fn what_was_just_built_is_found_among_many() {
        let (_folder, cache) = cache();
        for slots in 1..=SIDECARS_MAX + 6 {
            let key = PlanKey { shapes: PlanShapes::new(slots, 512), ..key() };
            let stored = store(&cache, b"a plan", &sidecar(key.clone(), 6));
            // Without relying on the clock's resolution.
            let file = File::options().write(true).open(stored.path.with_extension("json"));
            let at = std::time::UNIX_EPOCH + std::time::Duration::from_secs(slots as u64);
            file.unwrap().set_modified(at).unwrap();
            assert_eq!(cache.look_up(&key), Lookup::Fresh(stored), "{slots}");
        }
        assert_eq!(cache.list().plans.len(), SIDECARS_MAX);
    }

    #[test]
    fn one_build_at_a_time_and_nothing_left_of_dead_ones() {
        let (_folder, cache) = cache();
        fs::create_dir_all(cache.folder()).unwrap();
        let stored = store(&cache, b"a plan", &sidecar(key(), 6));
        let dead = stored.path.with_extension("plan.part1");
        fs::write(&dead, b"half a plan").unwrap();
        let lock = cache.lock().unwrap();
        assert!(!dead.exists());
        assert!(matches!(cache.lock(), Err(LockError::Busy { .. })));
        drop(lock);
        cache.lock().unwrap();
        assert_eq!(cache.look_up(&key()), Lookup::Fresh(stored));
    }

    #[test]
    fn a_damaged_plan_is_not_used() {
        let (_folder, cache) = cache();
        let stored = store(&cache, b"a plan", &sidecar(key(), 6));
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
        let stored = store(&cache, b"a plan", &sidecar(key(), 6));
        fs::write(cache.folder().join("hymt-0.json"), b"{").unwrap();
        fs::create_dir(cache.folder().join("hymt-1.json")).unwrap();
        let listing = cache.list();
        assert_eq!((listing.plans.len(), listing.refused.len()), (1, 2));
        assert_eq!(cache.look_up(&key()), Lookup::Fresh(stored.clone()));
        cache.remove(&stored.path).unwrap();
        cache.remove(&stored.path).unwrap();
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
