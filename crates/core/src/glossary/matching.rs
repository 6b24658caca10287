//! Finding terms in texts.

use std::collections::HashSet;
use std::ops::Range;

use super::normal::Normalised;
use super::{Glossary, GlossaryEntry, OCCURRENCES_MAX, Selection, TERMS_PER_PROMPT_MAX, Term};
use crate::language::Language;

/// Longest word in capitals that counts as an acronym. Characters; "UNESCO" is one, "EXIT HERE" on
/// a sign is two words that are.
const ACRONYM_CHARS_MAX: usize = 6;

struct Found<'a> {
    range: Range<usize>,
    entry: &'a GlossaryEntry,
    term: &'a Normalised,
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
        let unlike = f.term.exact() != &text.exact()[f.range.clone()];
        (usize::MAX - f.range.len(), f.layer, usize::MAX - specificity, unlike, f.range.start)
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
            for_each_prefix(glossary, &text.folded()[start..], |index| {
                let entry = &glossary.entries[index];
                let term = &glossary.normalised[index];
                if found.len() < OCCURRENCES_MAX
                    && entry.pair.holds_for(source, target)
                    && let Some(range) = term_at(text, start, entry, term, source)
                {
                    found.push(Found { range, entry, term, layer });
                }
            });
        }
    }
    found
}

/// Calls `each` with every entry whose folded phrase `text` begins with. Narrows the sorted entries
/// character by character; a phrase that ends where the walk is sorts before its continuations.
fn for_each_prefix(glossary: &Glossary, text: &[char], mut each: impl FnMut(usize)) {
    let folded = |index: &usize| glossary.normalised[*index].folded();
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

/// Where the term of `entry` stands at `start`, if it does and case and boundaries allow it.
fn term_at(
    text: &Normalised,
    start: usize,
    entry: &GlossaryEntry,
    term: &Normalised,
    source: Option<Language>,
) -> Option<Range<usize>> {
    let range = start..start + term.len();
    let found = text.exact().get(range.clone())?;
    let is_turkish = entry.pair.source.or(source) == Some(Language::Turkish);
    let fits = if entry.is_case_sensitive {
        found == term.exact()
    } else {
        text.folded()[range.clone()] == *term.folded()
            && (!is_turkish || same_dots(found, term.exact()))
            && keeps_acronyms(found, term.exact())
    };
    (fits && text.starts_word(start) && text.ends_word(range.end)).then_some(range)
}

/// True when each word of the term that is an acronym, and without its capitals another word, has them in
/// the text too. Lists begin terms with a capital and recognisers write none, so no other capital counts.
fn keeps_acronyms(found: &[char], term: &[char]) -> bool {
    let mut start = 0;
    term.split(|c| !c.is_alphanumeric()).all(|word| {
        let range = start..start + word.len();
        start = range.end + 1;
        let n_capitals = word.iter().filter(|c| c.is_uppercase()).count();
        let is_acronym = word.iter().all(|c| c.is_uppercase() || c.is_numeric())
            && n_capitals >= 2
            && word.len() <= ACRONYM_CHARS_MAX;
        !is_acronym || found[range] == *word
    })
}

/// True when no dotted i of Turkish stands for a dotless one; the two texts are the same otherwise.
pub(super) fn same_dots(one: &[char], other: &[char]) -> bool {
    let is_dotless = |c: &char| matches!(c, 'I' | 'ı');
    let is_dotted = |c: &char| matches!(c, 'i' | 'İ');
    one.iter().zip(other).all(|(one, other)| {
        !(is_dotless(one) && is_dotted(other) || is_dotted(one) && is_dotless(other))
    })
}
