//! What a folder of plans does not keep: the oldest ones beyond a bound, and what dead builds left.
//!
//! A plan is about as large as its model, and every change of shapes, level, model or TensorRT makes
//! another one. An engine holds a lock on the plan that it runs ([`open_held`]), because it reads the file
//! again after a fault; such a plan is not removed. Where the file system has no locks, no plan is.

use std::fs::{self, DirEntry, File};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::cache::{BuildLock, EXPORT_PREFIX, PREFIX, PlanCache, StoreError, StoredPlan};

/// Most plans of a folder, but for those that are in use: about 12 GB of HY-MT 1.8B.
pub const PLANS_MAX: usize = 6;
/// Most files of tactic timings, one for each TensorRT and device.
pub const TIMINGS_MAX: usize = 6;
/// Digits of a key's name.
const ID_DIGITS: usize = 32;

/// Opens a plan and says that it is in use, until the file is closed.
///
/// # Errors
/// When it cannot be opened.
pub fn open_held(plan: &Path) -> io::Result<File> {
    loop {
        let file = File::open(plan)?;
        // Waits for whoever is just removing it.
        if let Err(error) = file.lock_shared() {
            tracing::debug!(%error, "the plan in use is not locked");
            return Ok(file);
        }
        let (held, here) = (file.metadata()?, fs::metadata(plan)?);
        if (held.dev(), held.ino()) == (here.dev(), here.ino()) {
            return Ok(file);
        }
        // Another plan has taken its place meanwhile.
    }
}

/// A plan that nobody runs, or begins to run before the file is closed.
fn claim(plan: &Path) -> Option<File> {
    let file = File::open(plan).ok()?;
    match file.try_lock() {
        Ok(()) => Some(file),
        Err(error) => {
            tracing::debug!(%error, plan = %plan.display(), "a plan is kept: it is in use");
            None
        }
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
        let mut removed = Vec::new();
        for plan in self.beyond(PLANS_MAX, is_plan)? {
            if plan == built.path {
                continue;
            }
            let Some(_claimed) = claim(&plan) else { continue };
            self.remove(&plan)?;
            removed.push(plan);
        }
        let is_timings = |name: &str| name.starts_with(PREFIX) && name.ends_with(".timing");
        for timings in self.beyond(TIMINGS_MAX, is_timings)? {
            remove(&timings)?;
        }
        Ok(removed)
    }

    /// Removes what builds left that were ended half-way.
    pub(super) fn sweep(&self) -> Result<(), StoreError> {
        let is_part = |name: &str| {
            name.starts_with(PREFIX)
                && [".plan.part", ".json.part", ".timing.part"]
                    .iter()
                    .any(|part| name.contains(part))
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
    is_id(digits) && ["", ".partial", ".old"].contains(&rest)
}

/// `hymt-<id>.plan`, and nothing else that somebody keeps here.
fn is_plan(name: &str) -> bool {
    let id = name.strip_prefix(PREFIX).and_then(|name| name.strip_suffix(".plan"));
    id.is_some_and(is_id)
}

fn is_id(text: &str) -> bool {
    text.len() == ID_DIGITS && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

pub(super) fn remove(path: &Path) -> Result<(), StoreError> {
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
        // Not ours.
        let others: Vec<PathBuf> = (0..PLANS_MAX + 3)
            .flat_map(|n| [format!("hymt-mine-{n}.plan"), format!("other-{n}.timing")])
            .map(|name| cache.folder().join(name))
            .collect();
        others.iter().for_each(|path| fs::write(path, "mine").unwrap());
        let in_use = open_held(&plans[0].path).unwrap();
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
        assert!(others.iter().all(|path| path.exists()), "what is not ours was removed");
        let kept = cache.list();
        assert_eq!((kept.plans.len(), kept.refused.len()), (PLANS_MAX, 0));
        assert_eq!(cache.look_up(&with(4)), Lookup::Fresh(plans[3].clone()));
    }

    #[test]
    fn a_plan_that_is_replaced_while_it_is_opened_is_opened_anew() {
        let (_folder, cache) = cache();
        let plan = store(&cache, b"the old plan", &sidecar(key(), 6));
        let claimed = claim(&plan.path).unwrap();
        let opened = std::thread::scope(|scope| {
            let opened = scope.spawn(|| open_held(&plan.path).unwrap());
            // Whether it waits for the lock by then or not, it gets the plan that is there at the end.
            std::thread::sleep(Duration::from_millis(50));
            fs::remove_file(&plan.path).unwrap();
            fs::write(&plan.path, b"the new plan").unwrap();
            drop(claimed);
            opened.join().unwrap()
        });
        assert_eq!(std::io::read_to_string(&opened).unwrap(), "the new plan");
        assert!(claim(&plan.path).is_none(), "it is in use");
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
        let dead = [
            stored.path.with_extension("plan.part1"),
            stored.path.with_extension("json.part1"),
            cache.timing_path(&key()).with_extension("timing.part1"),
        ];
        dead.iter().for_each(|file| fs::write(file, b"half").unwrap());
        let _lock = cache.lock().unwrap();
        assert!(dead.iter().chain([&export, &partial]).all(|path| !path.exists()));
        assert!(others.iter().all(|path| path.exists()));
        assert_eq!(cache.look_up(&key()), Lookup::Fresh(stored));
    }
}
