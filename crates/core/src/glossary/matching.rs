//! Finding terms in texts.

use std::collections::HashSet;
use std::ops::Range;

use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;

use super::{Glossary, GlossaryEntry, OCCURRENCES_MAX, Selection, TERMS_PER_PROMPT_MAX, Term};
use crate::language::Language;

/// A text prepared for comparison: NFC, white space collapsed. `exact` and `folded` have the same
/// number of characters, so one index serves both.
#[derive(Debug, Clone, Default)]
pub(super) struct Normalised {
    exact: Vec<char>,
    folded: Vec<char>,
}

impl Normalised {
    pub(super) fn new(text: &str) -> Self {
        let mut exact = Vec::with_capacity(text.len());
        for c in text.nfc() {
            match c {
                c if c.is_whitespace() => {
                    if exact.last().is_some_and(|last| *last != ' ') {
                        exact.push(' ');
                    }
                }
                // Keyboards and speech recognisers write one, term lists the other.
                '\u{2019}' | '\u{02BC}' => exact.push('\''),
                c => exact.push(c),
            }
        }
        let folded = exact.iter().map(|c| fold(*c)).collect();
        Self { exact, folded }
    }

    pub(super) fn key(&self, is_case_sensitive: bool) -> &[char] {
        if is_case_sensitive { &self.exact } else { &self.folded }
    }

    fn len(&self) -> usize {
        self.exact.len()
    }

    /// Where `term` stands at `start`, if it does and the boundaries allow it.
    fn term_at(&self, start: usize, term: &Self, is_case_sensitive: bool) -> Option<Range<usize>> {
        let range = start..start + term.len();
        let found = self.key(is_case_sensitive).get(range.clone())?;
        let matches = found == term.key(is_case_sensitive);
        (matches && self.starts_word(start) && self.ends_word(range.end)).then_some(range)
    }

    fn starts_word(&self, start: usize) -> bool {
        start == 0
            || !(is_spaced_word(self.folded[start - 1]) && is_spaced_word(self.folded[start]))
    }

    fn ends_word(&self, end: usize) -> bool {
        let Some(&next) = self.folded.get(end) else { return true };
        // A Korean noun is followed by its particle without a space.
        let last = self.folded[end - 1];
        is_hangul(last) && is_hangul(next) || !(is_spaced_word(last) && is_spaced_word(next))
    }
}

struct Found<'a> {
    range: Range<usize>,
    entry: &'a GlossaryEntry,
    layer: usize,
}

pub(super) fn select(
    layers: &[&Glossary],
    text: &Normalised,
    source: Option<Language>,
    target: Language,
) -> Selection {
    let mut found = occurrences(layers, text, source, target);
    found.sort_by_key(|f| {
        let specificity = f.entry.pair.specificity() * 2 + usize::from(f.entry.is_case_sensitive);
        (usize::MAX - f.range.len(), f.layer, usize::MAX - specificity, f.range.start)
    });
    let mut taken = vec![false; text.len()];
    let mut sent: HashSet<&Term> = HashSet::new();
    let mut chosen: Vec<&Found<'_>> = Vec::new();
    for candidate in &found {
        if taken[candidate.range.clone()].contains(&true) {
            continue;
        }
        taken[candidate.range.clone()].fill(true);
        if sent.insert(&candidate.entry.term) {
            chosen.push(candidate);
        }
    }
    let left_out = chosen.len().saturating_sub(TERMS_PER_PROMPT_MAX);
    chosen.truncate(TERMS_PER_PROMPT_MAX);
    chosen.sort_by_key(|f| f.range.start);
    Selection { terms: chosen.iter().map(|f| f.entry.term.clone()).collect(), left_out }
}

fn occurrences<'a>(
    layers: &[&'a Glossary],
    text: &Normalised,
    source: Option<Language>,
    target: Language,
) -> Vec<Found<'a>> {
    let mut found = Vec::new();
    for start in (0..text.len()).filter(|start| text.starts_word(*start)) {
        for (layer, glossary) in layers.iter().enumerate() {
            for_each_prefix(glossary, &text.folded[start..], |index| {
                let entry = &glossary.entries[index];
                let term = &glossary.normalised[index];
                if found.len() < OCCURRENCES_MAX
                    && entry.pair.holds_for(source, target)
                    && let Some(range) = text.term_at(start, term, entry.is_case_sensitive)
                {
                    found.push(Found { range, entry, layer });
                }
            });
        }
    }
    found
}

/// Calls `each` with every entry whose folded phrase `text` begins with. Narrows the sorted entries
/// character by character; a phrase that ends where the walk is sorts before its continuations.
fn for_each_prefix(glossary: &Glossary, text: &[char], mut each: impl FnMut(usize)) {
    let folded = |index: &usize| glossary.normalised[*index].folded.as_slice();
    let mut candidates = glossary.sorted.as_slice();
    for (depth, c) in text.iter().enumerate() {
        let from = candidates.partition_point(|i| folded(i).get(depth).is_none_or(|at| at < c));
        candidates = &candidates[from..];
        let to = candidates.partition_point(|i| folded(i)[depth] == *c);
        candidates = &candidates[..to];
        let ending = candidates.partition_point(|i| folded(i).len() == depth + 1);
        candidates[..ending].iter().copied().for_each(&mut each);
        candidates = &candidates[ending..];
        if candidates.is_empty() {
            return;
        }
    }
}

/// Which of the terms that were sent the translation uses.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TermCheck {
    /// Found in the translation.
    pub applied: Vec<Term>,
    /// Not found; often an inflected form, sometimes an ignored term.
    pub missed: Vec<Term>,
}

/// Looks for the target side of each term in `translation`, whatever its case. The target may be a
/// part of a longer word, because target languages inflect and compound.
pub fn check(terms: &[Term], translation: &str) -> TermCheck {
    let translation = Normalised::new(translation);
    let (applied, missed) = terms.iter().cloned().partition(|term: &Term| {
        let target = Normalised::new(term.target());
        translation.folded.windows(target.len()).any(|window| window == target.folded)
    });
    TermCheck { applied, missed }
}

/// Simple case folding: one character to one character, so that indexes stay valid.
fn fold(c: char) -> char {
    // Both Turkish letters would need two characters or a locale; `ı` falls to `i` below as well.
    if c == 'İ' {
        return 'i';
    }
    let upper = only(c.to_uppercase()).unwrap_or(c);
    only(upper.to_lowercase()).unwrap_or(upper)
}

fn only(mut chars: impl Iterator<Item = char>) -> Option<char> {
    let first = chars.next()?;
    chars.next().is_none().then_some(first)
}

/// A character of a word in a script that separates words by spaces.
fn is_spaced_word(c: char) -> bool {
    (c.is_alphanumeric() || is_combining_mark(c)) && !is_unspaced(c)
}

/// Scripts without spaces between words: Thai, Lao, Tibetan, Burmese, Khmer, kana, bopomofo, Han.
fn is_unspaced(c: char) -> bool {
    matches!(c,
        '\u{0E00}'..='\u{0EFF}'
        | '\u{0F00}'..='\u{0FFF}'
        | '\u{1000}'..='\u{109F}'
        | '\u{1780}'..='\u{17FF}'
        | '\u{2E80}'..='\u{2FFF}'
        | '\u{3001}'..='\u{312F}'
        | '\u{31A0}'..='\u{4DBF}'
        | '\u{4E00}'..='\u{9FFF}'
        | '\u{A9E0}'..='\u{A9FF}'
        | '\u{AA60}'..='\u{AA7F}'
        | '\u{F900}'..='\u{FAFF}'
        | '\u{FF66}'..='\u{FF9F}'
        | '\u{20000}'..='\u{3FFFF}')
}

fn is_hangul(c: char) -> bool {
    matches!(c, '\u{1100}'..='\u{11FF}' | '\u{AC00}'..='\u{D7AF}')
}
