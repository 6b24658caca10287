//! Which part of a growing hypothesis can be relied on.
//!
//! LocalAgreement-n, as Liu et al. (2020, "Low-latency sequence-to-sequence speech recognition and
//! translation by partial hypothesis selection") define it and whisper_streaming uses it: the longest
//! prefix that the last n updates share. Other than there, nothing is committed: a prefix that
//! later updates no longer share is simply translated again.

use std::collections::VecDeque;

use super::units::{Unit, common, keys};

/// The last updates of one utterance.
#[derive(Debug, Clone, Default)]
pub(super) struct Agreement {
    updates: VecDeque<Vec<String>>,
}

/// What the last updates share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Agreed {
    /// Units from the front.
    pub(super) n_units: usize,
    /// True when the updates are the same to the end, and do not just begin alike.
    pub(super) is_settled: bool,
}

impl Agreement {
    /// True after the first update.
    pub(super) fn is_begun(&self) -> bool {
        !self.updates.is_empty()
    }

    /// Takes the next update; tells how much of it the last `n` updates share.
    pub(super) fn update(&mut self, units: &[Unit], n: usize) -> Agreed {
        let n = n.max(1);
        self.updates.push_back(keys(units));
        while self.updates.len() > n {
            self.updates.pop_front();
        }
        if self.updates.len() < n {
            return Agreed { n_units: 0, is_settled: false };
        }
        let shared = self.updates.iter().map(|update| common(update, units)).min();
        let is_settled = self.updates.iter().all(|update| update.len() == units.len())
            && shared == Some(units.len());
        Agreed { n_units: shared.unwrap_or(0), is_settled }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::speech::units::units;

    fn agreed(n: usize, updates: &[&str]) -> usize {
        let mut agreement = Agreement::default();
        updates.iter().map(|text| agreement.update(&units(text), n).n_units).last().unwrap_or(0)
    }

    #[test]
    fn a_prefix_is_agreed_when_n_updates_share_it() {
        assert_eq!(agreed(1, &["open the"]), 2);
        assert_eq!(agreed(2, &["open the"]), 0);
        assert_eq!(agreed(2, &["open the", "open the door"]), 2);
        assert_eq!(agreed(3, &["open the", "open the door"]), 0);
        assert_eq!(agreed(3, &["open", "open the", "open the door"]), 1);
        assert_eq!(agreed(2, &["hope on", "open the door", "Open the door."]), 3);
        assert_eq!(agreed(2, &["open the door", "hope on"]), 0);
        assert_eq!(agreed(2, &["请打开", "请打开门"]), 3);
    }

    #[test]
    fn only_equal_updates_are_settled() {
        let mut agreement = Agreement::default();
        assert!(!agreement.update(&units("a b c"), 2).is_settled);
        assert!(!agreement.update(&units("a b"), 2).is_settled);
        assert!(agreement.update(&units("A b."), 2).is_settled);
    }
}
