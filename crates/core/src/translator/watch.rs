//! What is watched over all requests of a translator, and how often it was seen.

use std::sync::{Mutex, PoisonError};

use super::attempt::{Attempt, Came, Outcome};
use crate::guard::GuardStats;

pub(super) struct Watch<'s> {
    pub(super) stats: &'s Mutex<GuardStats>,
    /// Ask again for terms that are missing.
    pub(super) enforce: bool,
}

impl Watch<'_> {
    pub(super) fn read<'p>(&self, attempt: Attempt<'p>, came: Came) -> Outcome<'p> {
        let mut stats = self.stats.lock().unwrap_or_else(PoisonError::into_inner);
        attempt.read(came, self.enforce, &mut stats)
    }
}
