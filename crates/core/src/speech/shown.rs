//! What a reader sees of one utterance, and how much of it was rewritten.

use crate::language::Language;

/// The shown text per target.
#[derive(Debug, Clone, Default)]
pub(super) struct Shown {
    targets: Vec<(Language, Seen)>,
}

#[derive(Debug, Clone, Default)]
struct Seen {
    text: String,
    erased_chars: usize,
}

/// Shown characters that were rewritten.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Erased {
    /// By this version.
    pub(super) now: usize,
    /// Since the beginning of the utterance.
    pub(super) in_all: usize,
}

impl Shown {
    /// Replaces what is shown.
    pub(super) fn show(&mut self, target: Language, text: &str) -> Erased {
        let found = self.targets.iter().position(|(known, _)| *known == target);
        let place = found.unwrap_or_else(|| {
            self.targets.push((target, Seen::default()));
            self.targets.len() - 1
        });
        let seen = &mut self.targets[place].1;
        let now = erased(&seen.text, text);
        seen.erased_chars += now;
        text.clone_into(&mut seen.text);
        Erased { now, in_all: seen.erased_chars }
    }

    /// True when showing `text` rewrites nothing and adds something.
    pub(super) fn is_extended_by(&self, target: Language, text: &str) -> bool {
        let shown = self.targets.iter().find(|(known, _)| *known == target);
        shown.map_or(!text.is_empty(), |(_, seen)| {
            text.len() > seen.text.len() && text.starts_with(&seen.text)
        })
    }

    /// Targets that show something and are not among `answered`.
    pub(super) fn left_over(&self, answered: &[Language]) -> Vec<Language> {
        let left = self
            .targets
            .iter()
            .filter(|(target, seen)| !seen.text.is_empty() && !answered.contains(target));
        left.map(|(target, _)| *target).collect()
    }
}

/// Characters of `old` behind what both begin with.
fn erased(old: &str, new: &str) -> usize {
    let common = old.chars().zip(new.chars()).take_while(|(a, b)| a == b).count();
    old.chars().count() - common
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_rewritten_counts() {
        let mut shown = Shown::default();
        assert_eq!(shown.show(Language::German, "Öffne").in_all, 0);
        assert_eq!(shown.show(Language::German, "Öffne die").in_all, 0);
        assert_eq!(shown.show(Language::German, "Öffne das Tor").in_all, 2);
        assert_eq!(shown.show(Language::German, "Ich").in_all, 2 + 13);
        assert_eq!(shown.show(Language::French, "Ouvre").in_all, 0);
    }

    #[test]
    fn a_text_in_progress_may_only_add() {
        let mut shown = Shown::default();
        assert!(shown.is_extended_by(Language::German, "Öff"));
        shown.show(Language::German, "Öffne");
        assert!(shown.is_extended_by(Language::German, "Öffne die"));
        for other in ["Öff", "Öffne", "Mach auf"] {
            assert!(!shown.is_extended_by(Language::German, other), "{other}");
        }
        assert_eq!(shown.left_over(&[]), [Language::German]);
        assert!(shown.left_over(&[Language::German]).is_empty());
    }
}
