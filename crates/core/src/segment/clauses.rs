//! Where a sentence that is too long is cut.

use unicode_segmentation::UnicodeSegmentation;

/// How good a place is; better ones are larger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    Grapheme,
    /// Between a word and a mark that belongs to it.
    Mark,
    Word,
    Space,
    Clause,
}

/// Where the first part of `text` ends, in bytes; `None` when all of it fits `chars_max`.
///
/// The best kind of place that fills at least a quarter wins, and of those the last: a good place right
/// at the beginning would leave crumbs.
pub(super) fn first_end(text: &str, chars_max: usize) -> Option<usize> {
    let limit = text.char_indices().nth(chars_max).map(|(at, _)| at)?;
    let least = text.char_indices().nth(chars_max / 4).map_or(0, |(at, _)| at);
    let places = places(text, limit);
    let best = |least: usize, kinds: &[Place]| {
        let fits = places.iter().filter(|(end, kind)| *end >= least.max(1) && kinds.contains(kind));
        fits.max_by_key(|(end, kind)| (*kind, *end)).map(|(end, _)| *end)
    };
    let words = [Place::Clause, Place::Space, Place::Word];
    let end = best(least, &words)
        .or_else(|| best(1, &words))
        .or_else(|| best(1, &[Place::Mark]))
        .or_else(|| best(1, &[Place::Grapheme]));
    // A grapheme longer than everything stays whole.
    let end = end.or_else(|| text.graphemes(true).next().map(str::len))?;
    (end < text.len()).then_some(end)
}

/// Ends of words and graphemes up to `limit` bytes.
fn places(text: &str, limit: usize) -> Vec<(usize, Place)> {
    let mut places = Vec::new();
    for (start, word) in text.split_word_bound_indices() {
        let end = start + word.len();
        if start >= limit {
            break;
        }
        if end > limit {
            let inside = word.grapheme_indices(true).map(|(at, g)| start + at + g.len());
            places.extend(inside.take_while(|end| *end <= limit).map(|end| (end, Place::Grapheme)));
            break;
        }
        let next = text[end..].chars().next();
        places.push((end, kind(word, next)));
    }
    // A few marks of Indic scripts are words of their own and graphemes with what follows them.
    let ends = text.grapheme_indices(true).map(|(at, grapheme)| at + grapheme.len());
    let ends: Vec<usize> = ends.take_while(|end| *end <= limit).collect();
    places.retain(|(end, _)| ends.binary_search(end).is_ok());
    places
}

fn kind(word: &str, next: Option<char>) -> Place {
    let last = word.chars().next_back();
    let is_clause = last.is_some_and(|mark| is_clause_mark(mark, next));
    match last {
        _ if is_clause => Place::Clause,
        Some(last) if last.is_whitespace() => Place::Space,
        _ if next.is_some_and(char::is_whitespace) => Place::Space,
        _ if next.is_some_and(|next| !next.is_alphanumeric()) => Place::Mark,
        _ => Place::Word,
    }
}

/// Marks behind which a clause ends. Those of Latin script only before a space: `1,000`, `12:30`.
fn is_clause_mark(mark: char, next: Option<char>) -> bool {
    match mark {
        ',' | ';' | ':' | '.' | '!' | '?' | '—' | '–' => next.is_none_or(char::is_whitespace),
        '，' | '；' | '：' | '、' | '。' | '！' | '？' | '،' | '؛' | '؟' | '।' | '။' | '၊'
        | '។' | '།' => true,
        _ => false,
    }
}
