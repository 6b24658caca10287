//! Whether the files of glossaries have changed on disk (`glossary.watch`).
//!
//! Asked for time and length on a thread that runs anyway, instead of a notifier of the operating
//! system: editors replace files, network folders and containers tell nothing, and two seconds are soon
//! enough for a glossary.

use std::time::{Duration, Instant, SystemTime};

/// Time between two looks at the files.
pub(in crate::node) const WATCH_INTERVAL: Duration = Duration::from_secs(2);

/// When a file was written and how long it is; `None` while it cannot be read.
pub(in crate::node) type Mark = Option<(SystemTime, u64)>;

/// What the last look saw.
#[derive(Debug, Default)]
pub(in crate::node) struct Watch {
    looked_at: Option<Instant>,
    seen: Vec<(String, Mark)>,
    /// Why the last change was not taken; empty when it was.
    pub(in crate::node) problem: String,
}

impl Watch {
    /// When to look next.
    pub(in crate::node) fn due(&self, now: Instant) -> Instant {
        self.looked_at.map_or(now, |at| at + WATCH_INTERVAL)
    }

    /// Looks, if it is time to, and tells whether a file has changed since the last look; one that is
    /// looked at for the first time, since it was read. `files` come with their marks from then.
    pub(in crate::node) fn look(&mut self, files: &[(String, Mark)], now: Instant) -> bool {
        if now < self.due(now) {
            return false;
        }
        self.looked_at = Some(now);
        let marks: Vec<(String, Mark)> =
            files.iter().map(|(path, _)| (path.clone(), mark(path))).collect();
        let is_same_list = marks.iter().map(|(path, _)| path).eq(self.seen.iter().map(|(p, _)| p));
        if !is_same_list {
            self.problem.clear();
            self.seen = files.to_vec();
        }
        std::mem::replace(&mut self.seen, marks) != self.seen
    }

    /// Forgets everything, since nobody asks for it any more.
    pub(in crate::node) fn stop(&mut self) {
        *self = Self::default();
    }
}

/// The mark of a file; to be taken before it is read, so that a change meanwhile is seen later.
pub(super) fn mark(path: &str) -> Mark {
    let about = std::fs::metadata(path).ok()?;
    Some((about.modified().ok()?, about.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_told_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("hotel.tsv");
        std::fs::write(&path, "lift\tAufzug\n").unwrap();
        let path_text = path.to_str().unwrap().to_owned();
        let files = [(path_text.clone(), mark(&path_text))];
        let mut watch = Watch::default();
        let mut now = Instant::now();
        let mut later = || {
            now += WATCH_INTERVAL;
            now
        };
        assert!(!watch.look(&files, later()), "the first look");
        assert!(!watch.look(&files, later()), "nothing has changed");
        std::fs::write(&path, "lift\tFahrstuhl\n").unwrap();
        let at = later();
        assert!(watch.look(&files, at));
        std::fs::write(&path, "x\ty\n").unwrap();
        assert!(!watch.look(&files, at + WATCH_INTERVAL / 2), "not before it is time");
        assert!(watch.look(&files, later()));
        assert!(!watch.look(&files, later()), "told once");
        std::fs::remove_file(&path).unwrap();
        assert!(watch.look(&files, later()), "gone is a change");
        assert!(!watch.look(&[], later()), "another list is read when it is set");
        std::fs::write(&path, "lift\tAufzug\n").unwrap();
        let read = [(path_text.clone(), mark(&path_text))];
        std::fs::write(&path, "lift\tPersonenaufzug\n").unwrap();
        assert!(watch.look(&read, later()), "changed between its reading and the first look");
        watch.stop();
        let read = [(path_text.clone(), mark(&path_text))];
        std::fs::write(&path, "lift\tx\n").unwrap();
        assert!(watch.look(&read, later()), "changed while nobody looked");
    }
}
