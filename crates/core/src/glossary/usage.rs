//! Whether a translation uses the terms that were sent.
//!
//! A term counts as applied when its target stands in the translation
//! 1. as it is, whatever its case, also as part of a longer word, because languages compound and add
//!    endings ("Ladesäule" in "Ladesäulen"), or
//! 2. word for word with other endings, where that is safe: in the languages of `endings.rs`, for words
//!    whose common beginning has at least `STEM_CHARS_MIN` letters and at least half of the
//!    term's word, and only if what follows it is an ending of the language in both ("зарядная
//!    станция" in "у зарядной станции"). Words of other scripts, figures and short words must be equal.
//!
//! A changed vowel ("Museum", "Museen" is rule 2; "Haus", "Häuser" is neither) or another word
//! order is reported as missed. A missed term is a question, not a fault: hy-mt.md calls it a case of
//! inflection first.

use super::matching::same_dots;
use super::normal::Normalised;
use super::{Term, endings};
use crate::language::Language;

/// Fewest letters that two forms of a word must begin with in common.
const STEM_CHARS_MIN: usize = 4;

/// Which of the terms that were sent the translation uses.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TermCheck {
    /// Found in the translation.
    pub applied: Vec<Term>,
    /// Not found; often a form that is not recognised, sometimes an ignored term.
    pub missed: Vec<Term>,
}

/// Looks for the target side of each term in `translation`, which is in `language`: as it is, whatever
/// its case and also as part of a longer word, or word for word with other endings where that is
/// safe. docs/glossaries.md has the rules.
pub fn check(terms: &[Term], translation: &str, language: Option<Language>) -> TermCheck {
    let translation = Normalised::new(translation);
    let (applied, missed) = terms.iter().cloned().partition(|term: &Term| {
        let target = Normalised::new(term.target());
        stands_in(&target, &translation, language)
            || is_inflected_in(&target, &translation, language)
    });
    TermCheck { applied, missed }
}

fn stands_in(target: &Normalised, translation: &Normalised, language: Option<Language>) -> bool {
    let is_turkish = language == Some(Language::Turkish);
    // A target of nothing but marks that do not count is in every text.
    let Some(last_start) = translation.len().checked_sub(target.len()) else { return false };
    (0..=last_start).any(|start| {
        let range = start..start + target.len();
        translation.folded()[range.clone()] == *target.folded()
            && (!is_turkish || same_dots(&translation.exact()[range], target.exact()))
    })
}

fn is_inflected_in(
    target: &Normalised,
    translation: &Normalised,
    language: Option<Language>,
) -> bool {
    let Some(endings) = language.and_then(endings::of) else { return false };
    let (target, translation) = (words(target.folded()), words(translation.folded()));
    !target.is_empty()
        && translation.windows(target.len()).any(|window| {
            window.iter().zip(&target).all(|(found, wanted)| is_form_of(found, wanted, endings))
        })
}

fn words(folded: &[char]) -> Vec<&[char]> {
    folded.split(|c| !c.is_alphanumeric()).filter(|word| !word.is_empty()).collect()
}

/// True when both are the same beginning with an ending, which may be none.
fn is_form_of(found: &[char], wanted: &[char], endings: &[&str]) -> bool {
    if found == wanted {
        return true;
    }
    let common = found.iter().zip(wanted).take_while(|(a, b)| a == b).count();
    let is_ending = |rest: &[char]| endings.iter().any(|e| e.chars().eq(rest.iter().copied()));
    // The common beginning may reach into the endings ("station", "stations"), so shorter ones count.
    (STEM_CHARS_MIN.max(wanted.len().div_ceil(2))..=common)
        .any(|stem| is_ending(&found[stem..]) && is_ending(&wanted[stem..]))
}
