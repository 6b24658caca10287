//! Samples that never came, by the gaps in the numbers of their writers.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::Gid;

/// Writers whose numbers one reader follows.
const WRITERS_TRACKED_MAX: usize = 256;

/// Counts what one reader has missed.
#[derive(Default)]
pub(super) struct Gaps {
    /// The newest number of each writer.
    last_numbers: BTreeMap<Gid, i64>,
    missed: Arc<AtomicU64>,
}

impl Gaps {
    /// The count, which goes on growing.
    pub(super) fn counter(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.missed)
    }

    /// A sample has come.
    pub(super) fn note(&mut self, topic: &str, writer: Gid, number: i64) {
        if self.last_numbers.len() >= WRITERS_TRACKED_MAX
            && !self.last_numbers.contains_key(&writer)
        {
            // Writers that are gone are not told apart from silent ones; starting over only
            // forgets gaps.
            self.last_numbers.clear();
        }
        let Some(last) = self.last_numbers.insert(writer, number) else { return };
        let Ok(missed @ 1..) = u64::try_from(number.saturating_sub(last).saturating_sub(1)) else {
            return;
        };
        let total = self.missed.fetch_add(missed, Ordering::Relaxed) + missed;
        tracing::debug!(topic, %writer, missed, total, "samples were missed");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gid(n: u8) -> Gid {
        Gid([n; 16])
    }

    #[test]
    fn only_gaps_behind_the_first_sample_of_a_writer_count() {
        let mut gaps = Gaps::default();
        let counter = gaps.counter();
        for (writer, number) in [(1, 7), (1, 8), (2, 1), (1, 11), (2, 2), (1, 3)] {
            gaps.note("/t", gid(writer), number);
        }
        assert_eq!(counter.load(Ordering::Relaxed), 2);
    }

    #[test]
    fn more_writers_than_are_followed_forget_gaps_and_nothing_else() {
        let mut gaps = Gaps::default();
        let counter = gaps.counter();
        for n in 0..=255 {
            gaps.note("/t", gid(n), 1);
        }
        gaps.note("/t", Gid([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16]), 1);
        gaps.note("/t", gid(9), 100);
        assert_eq!(counter.load(Ordering::Relaxed), 0);
        gaps.note("/t", gid(9), 102);
        assert_eq!(counter.load(Ordering::Relaxed), 1);
    }
}
