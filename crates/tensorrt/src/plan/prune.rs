//! What a folder of plans does not keep: the oldest ones beyond a bound, and what dead builds left.
//!
//! A plan is about as large as its model, and every change of shapes, level, model or TensorRT makes
//! another one. An engine holds a lock on the plan that it runs ([`hold`]), because it reads the file
//! again after a fault; such a plan is never removed.

use std::fs::{self, DirEntry, File, TryLockError};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::cache::{BuildLock, EXPORT_PREFIX, PREFIX, PlanCache, StoreError, StoredPlan};

/// Most plans of a folder, but for those that are in use: about 12 GB of HY-MT 1.8B.
pub const PLANS_MAX: usize = 6;
/// Most files of tactic timings, one for each TensorRT and device.
pub const TIMINGS_MAX: usize = 6;
/// Digits of a key's name.
const ID_DIGITS: usize = 32;

/// Says that the plan in `file` is in use, until the file is closed.
pub fn hold(file: &File) {
    // Not every file system has locks, and a plan runs without one.
    if let Err(error) = file.try_lock_shared() {
        tracing::debug!(%error, "the plan in use is not locked");
    }
}

impl PlanCache {
    /// Removes the oldest plans beyond [`PLANS_MAX`], and timings beyond [`TIMINGS_MAX`]; `built` and
    /// what an engine holds stay. Returns the plans that were removed.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn prune(
        &self,
        _alone: &BuildLock,
        built: &StoredPlan,
    ) -> Result<Vec<PathBuf>, StoreError> {
        let is_plan = |name: &str| name.starts_with(PREFIX) && name.ends_with(".plan");
        let mut removed = Vec::new();
        for plan in self.beyond(PLANS_MAX, is_plan)? {
            if plan == built.path || is_in_use(&plan) {
                continue;
            }
            // The sidecar first: one never speaks of a plan that is not there.
            remove(&plan.with_extension("json"))?;
            remove(&plan)?;
            removed.push(plan);
        }
        for timings in self.beyond(TIMINGS_MAX, |name| name.ends_with(".timing"))? {
            remove(&timings)?;
        }
        Ok(removed)
    }

    /// Removes what builds left that were ended half-way.
    pub(super) fn sweep(&self) -> Result<(), StoreError> {
        let is_part = |name: &str| {
            name.starts_with(PREFIX)
                && [".plan.part", ".json.part"].iter().any(|part| name.contains(part))
        };
        for entry in self.entries()? {
            let name = entry.file_name().to_string_lossy().into_owned();
            // What cannot be removed takes room, and nothing else.
            if is_part(&name) {
                let _ = fs::remove_file(entry.path());
            } else if is_export(&name) {
                let _ = fs::remove_dir_all(entry.path());
            }
        }
        Ok(())
    }

    /// All files of a kind but the newest `max`.
    fn beyond(
        &self,
        max: usize,
        is_one: impl Fn(&str) -> bool,
    ) -> Result<Vec<PathBuf>, StoreError> {
        let mut files: Vec<(SystemTime, PathBuf)> = self
            .entries()?
            .into_iter()
            .filter(|entry| is_one(&entry.file_name().to_string_lossy()))
            .map(|entry| {
                let modified = entry.metadata().and_then(|file| file.modified());
                (modified.unwrap_or(SystemTime::UNIX_EPOCH), entry.path())
            })
            .collect();
        files.sort();
        files.truncate(files.len().saturating_sub(max));
        Ok(files.into_iter().map(|(_, path)| path).collect())
    }

    fn entries(&self) -> Result<Vec<DirEntry>, StoreError> {
        let error = |source| StoreError { path: self.folder().to_owned(), source };
        fs::read_dir(self.folder()).map_err(error)?.map(|entry| entry.map_err(error)).collect()
    }
}

/// An export for a build: `onnx-<id>`, or that with a suffix while it is written or replaced.
fn is_export(name: &str) -> bool {
    let Some(id) = name.strip_prefix(EXPORT_PREFIX) else { return false };
    let (digits, rest) = id.split_at_checked(ID_DIGITS).unwrap_or((id, ""));
    let is_id = digits.len() == ID_DIGITS && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_id && ["", ".partial", ".old"].contains(&rest)
}

fn is_in_use(plan: &Path) -> bool {
    let Ok(file) = File::open(plan) else { return false };
    matches!(file.try_lock(), Err(TryLockError::WouldBlock))
}

fn remove(path: &Path) -> Result<(), StoreError> {
    match fs::remove_file(path) {
        Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
            Err(StoreError { path: path.to_owned(), source })
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::plan::cache::tests::{cache, store};
    use crate::plan::sidecar::tests::sidecar;
    use crate::plan::tests::key;
    use crate::plan::{Lookup, PlanKey, PlanShapes};

    fn set_age(path: &Path, seconds: u64) {
        let file = File::options().write(true).open(path).unwrap();
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000 - seconds);
        file.set_modified(now).unwrap();
    }

    #[test]
    fn the_oldest_plans_go_and_those_in_use_stay() {
        let (_folder, cache) = cache();
        let with = |slots| PlanKey { shapes: PlanShapes::new(slots, 512), ..key() };
        // The first is the oldest.
        let plans: Vec<StoredPlan> = (1..=PLANS_MAX + 3)
            .map(|slots| {
                let plan = store(&cache, b"a plan", &sidecar(with(slots), 6));
                set_age(&plan.path, 1000 - slots as u64);
                plan
            })
            .collect();
        // A format that is not read any more takes no less room.
        fs::write(plans[1].path.with_extension("json"), "{}").unwrap();
        let in_use = File::open(&plans[0].path).unwrap();
        hold(&in_use);
        let lock = cache.lock().unwrap();
        let paths = |which: &[usize]| -> Vec<PathBuf> {
            which.iter().map(|at| plans[*at].path.clone()).collect()
        };
        // The clock may have been set back, so the one just built may look old.
        assert_eq!(cache.prune(&lock, &plans[2]).unwrap(), paths(&[1]));
        assert_eq!(cache.prune(&lock, &plans[8]).unwrap(), paths(&[2]));
        assert_eq!(cache.prune(&lock, &plans[8]).unwrap(), paths(&[]));
        drop(in_use);
        assert_eq!(cache.prune(&lock, &plans[8]).unwrap(), paths(&[0]));
        let kept = cache.list();
        assert_eq!((kept.plans.len(), kept.refused.len()), (PLANS_MAX, 0));
        assert_eq!(cache.look_up(&with(4)), Lookup::Fresh(plans[3].clone()));
    }

    #[test]
    fn timings_are_bounded_too() {
        let (_folder, cache) = cache();
        let plan = store(&cache, b"a plan", &sidecar(key(), 6));
        let timings = |version: usize| {
            cache.timing_path(&PlanKey { tensorrt: format!("10.{version}"), ..key() })
        };
        for version in 0..TIMINGS_MAX + 2 {
            fs::write(timings(version), "t").unwrap();
            set_age(&timings(version), 1000 - version as u64);
        }
        let lock = cache.lock().unwrap();
        assert!(cache.prune(&lock, &plan).unwrap().is_empty());
        let kept: Vec<bool> = (0..4).map(|version| timings(version).exists()).collect();
        assert_eq!(kept, [false, false, true, true]);
    }

    #[test]
    fn what_dead_builds_left_is_swept_and_nothing_else() {
        let (_folder, cache) = cache();
        let stored = store(&cache, b"a plan", &sidecar(key(), 6));
        let export = cache.export_path(&key());
        let partial = export.with_extension("partial");
        let others =
            ["onnx-models", "onnx-0123", "notes.plan.part1"].map(|it| cache.folder().join(it));
        for folder in [&export, &partial].into_iter().chain(&others) {
            fs::create_dir(folder).unwrap();
        }
        let dead =
            [stored.path.with_extension("plan.part1"), stored.path.with_extension("json.part1")];
        dead.iter().for_each(|file| fs::write(file, b"half").unwrap());
        let _lock = cache.lock().unwrap();
        assert!(dead.iter().chain([&export, &partial]).all(|path| !path.exists()));
        assert!(others.iter().all(|path| path.exists()));
        assert_eq!(cache.look_up(&key()), Lookup::Fresh(stored));
    }
}
