//! Text with format inside: tags become numbers on the way to the model and what they were on the way
//! back.
//!
//! `Press <b class="key">Start</b>` is given as `Press <g1>Start</g1>`, and what has no text of its own
//! as `<x2/>`, as XLIFF 1.2 names them. [`protect`](crate::protect) keeps them like any tag, they are
//! short whatever stands for them, and an answer can bring in no tag that the document did not have: what
//! is not one of these numbers is text.

use std::ops::Range;

use super::DEPTH_MAX;
use super::unit::has_words;

/// What stands behind a number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Tag {
    /// Around some text; `extra` is written again behind the closing part.
    Pair { open: Range<usize>, close: Range<usize>, extra: Option<Range<usize>> },
    /// Without text of its own, or with text that stays.
    Single(Range<usize>),
}

/// What a unit is made of, in the order of the document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Token {
    pub(super) kind: Kind,
    pub(super) range: Range<usize>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind {
    /// Decoded.
    Text(String),
    Open(String),
    /// With a second range, only the first byte of its own and that one are written again.
    Close(String, Option<Range<usize>>),
    /// A word stands for something in the sentence (code, an address) and stays in it at its ends too.
    Single {
        is_word: bool,
    },
}

impl Token {
    pub(super) fn text(text: impl Into<String>, range: Range<usize>) -> Self {
        Self { kind: Kind::Text(text.into()), range }
    }

    pub(super) fn single(is_word: bool, range: Range<usize>) -> Self {
        Self { kind: Kind::Single { is_word }, range }
    }
}

/// A unit before it has its place among the others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Inline {
    pub(super) text: String,
    pub(super) tags: Vec<Tag>,
    pub(super) range: Range<usize>,
}

/// Makes a unit of `tokens`: without the format around it, with white space collapsed; `None` when there
/// are no words in it.
pub(super) fn unit(tokens: &[Token]) -> Option<Inline> {
    let partners = partners(tokens);
    let (first, last) = trim(tokens, &partners)?;
    let tokens_in = &tokens[first..=last];
    let is_words = |token: &Token| matches!(&token.kind, Kind::Text(text) if has_words(text));
    if !tokens_in.iter().any(is_words) {
        return None;
    }
    let (mut text, mut tags, mut numbers) = (String::new(), Vec::new(), vec![0; tokens.len()]);
    for (index, token) in tokens.iter().enumerate().take(last + 1).skip(first) {
        match (&token.kind, partners[index]) {
            (Kind::Text(piece), _) => text.push_str(piece),
            (Kind::Open(_), Some(partner)) => {
                let Kind::Close(_, extra) = &tokens[partner].kind else { continue };
                let mut close = tokens[partner].range.clone();
                if extra.is_some() {
                    close.end = close.start + 1;
                }
                tags.push(Tag::Pair { open: token.range.clone(), close, extra: extra.clone() });
                numbers[partner] = tags.len();
                text.push_str(&format!("<g{}>", tags.len()));
            }
            (Kind::Close(..), Some(_)) => text.push_str(&format!("</g{}>", numbers[index])),
            _ => {
                tags.push(Tag::Single(token.range.clone()));
                text.push_str(&format!("<x{}/>", tags.len()));
            }
        }
    }
    let range = ends(&tokens[first], true).start..ends(&tokens[last], false).end;
    Some(Inline { text: collapse(text.trim()), tags, range })
}

/// For each opening token the one that closes it, and the other way round.
fn partners(tokens: &[Token]) -> Vec<Option<usize>> {
    let mut partners = vec![None; tokens.len()];
    let mut open: Vec<(usize, &str)> = Vec::new();
    for (index, token) in tokens.iter().enumerate() {
        match &token.kind {
            Kind::Open(name) => open.push((index, name)),
            Kind::Close(name, _) => {
                // Only so deep, or a page of tags that nobody closes would take for ever.
                let from = open.len().saturating_sub(DEPTH_MAX);
                let found = open[from..].iter().rposition(|(_, opened)| opened == name);
                if let Some(at) = found.map(|at| from + at) {
                    partners[open[at].0] = Some(index);
                    partners[index] = Some(open[at].0);
                    open.truncate(at);
                }
            }
            _ => {}
        }
    }
    partners
}

/// First and last token of what is translated.
fn trim(tokens: &[Token], partners: &[Option<usize>]) -> Option<(usize, usize)> {
    let (mut first, mut last) = (0, tokens.len().checked_sub(1)?);
    // An end with a partner inside is part of the unit.
    let is_edge = |index: usize, other: usize| match &tokens[index].kind {
        Kind::Text(text) => text.trim().is_empty(),
        Kind::Single { is_word } => !is_word,
        _ => match partners[index] {
            None => true,
            Some(partner) => partner == other && is_free(&tokens[index.max(other)]),
        },
    };
    while first < last {
        let is_hull = partners[first] == Some(last);
        if is_edge(first, last) {
            first += 1;
            last -= usize::from(is_hull && first < last);
        } else if is_edge(last, first) {
            last -= 1;
        } else if let Some(end) = empty_pair(tokens, partners, first).filter(|end| *end < last) {
            first = end + 1;
        } else if let Some(start) = partners[last].filter(|start| first < *start)
            && empty_pair(tokens, partners, start).is_some()
        {
            last = start - 1;
        } else {
            break;
        }
    }
    Some((first, last))
}

fn is_free(close: &Token) -> bool {
    matches!(&close.kind, Kind::Close(_, None))
}

/// The end of a pair at `first` without text in it, such as an icon.
fn empty_pair(tokens: &[Token], partners: &[Option<usize>], first: usize) -> Option<usize> {
    let end = partners[first].filter(|end| *end > first)?;
    let is_empty = |token: &Token| match &token.kind {
        Kind::Text(text) => text.trim().is_empty(),
        Kind::Single { is_word } => !is_word,
        _ => true,
    };
    tokens[first + 1..end].iter().all(is_empty).then_some(end)
}

/// The range of a token without the white space at its beginning or end. Only text that stands in the
/// document as it is has some.
fn ends(token: &Token, is_start: bool) -> Range<usize> {
    let mut range = token.range.clone();
    if let Kind::Text(text) = &token.kind
        && text.len() == range.len()
    {
        if is_start {
            range.start += text.len() - text.trim_start().len();
        } else {
            range.end -= text.len() - text.trim_end().len();
        }
    }
    range
}

/// One space for each run of white space; none where a line break stands between characters that are
/// written without.
fn collapse(text: &str) -> String {
    let is_space = |c: char| matches!(c, ' ' | '\t' | '\n' | '\r' | '\u{C}');
    let mut collapsed = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(is_space) {
        collapsed.push_str(&rest[..at]);
        let behind = rest[at..].trim_start_matches(is_space);
        let is_break = rest[at..rest.len() - behind.len()].contains(['\n', '\r']);
        let is_unspaced = |c: Option<char>| c.is_some_and(super::layout::is_wide);
        let glue = is_break
            && is_unspaced(collapsed.chars().next_back())
            && is_unspaced(behind.chars().next());
        if !glue {
            collapsed.push(' ');
        }
        rest = behind;
    }
    collapsed.push_str(rest);
    collapsed
}

/// What a translation is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Piece<'a> {
    Text(&'a str),
    Open(usize),
    Close(usize),
    Single(usize),
}

/// How a translation goes with its unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Resolved<'a> {
    pub(super) pieces: Vec<Piece<'a>>,
    /// Pairs that were lost, doubled or crossed; they are left out.
    pub(super) n_pairs_lost: usize,
    /// Singles that are not there exactly once; the translation cannot be used.
    pub(super) n_singles_lost: usize,
}

/// Reads a translation of a unit with `tags`.
pub(super) fn resolve<'a>(tags: &[Tag], translation: &'a str) -> Resolved<'a> {
    let mut pieces = split(translation, |piece| fits(tags, piece));
    let good = well_placed(tags.len(), &pieces);
    pieces.retain(|piece| match piece {
        Piece::Open(n) | Piece::Close(n) => good[*n],
        _ => true,
    });
    let mut counts = vec![0_usize; tags.len()];
    for piece in &pieces {
        if let Piece::Single(n) = piece {
            counts[*n] += 1;
        }
    }
    let mut lost = (0, 0);
    for (n, tag) in tags.iter().enumerate() {
        match tag {
            Tag::Pair { .. } => lost.0 += usize::from(!good[n]),
            Tag::Single(_) => lost.1 += usize::from(counts[n] != 1),
        }
    }
    Resolved { pieces, n_pairs_lost: lost.0, n_singles_lost: lost.1 }
}

/// Reads a text in which every mark stands for something.
pub(super) fn resolve_marks(text: &str) -> Vec<Piece<'_>> {
    split(text, |_| true)
}

fn split<'a>(translation: &'a str, fits: impl Fn(Piece<'_>) -> bool) -> Vec<Piece<'a>> {
    let (mut pieces, mut start, mut at) = (Vec::new(), 0, 0);
    while let Some(next) = translation[at..].find('<') {
        at += next;
        let Some((piece, len)) = mark_at(&translation[at..]).filter(|(piece, _)| fits(*piece))
        else {
            at += 1;
            continue;
        };
        if start < at {
            pieces.push(Piece::Text(&translation[start..at]));
        }
        pieces.push(piece);
        at += len;
        start = at;
    }
    if start < translation.len() {
        pieces.push(Piece::Text(&translation[start..]));
    }
    pieces
}

fn fits(tags: &[Tag], piece: Piece<'_>) -> bool {
    match piece {
        Piece::Open(n) | Piece::Close(n) => matches!(tags.get(n), Some(Tag::Pair { .. })),
        Piece::Single(n) => matches!(tags.get(n), Some(Tag::Single(_))),
        Piece::Text(_) => true,
    }
}

/// `<g1>`, `</g1>` or `<x1/>` at the start of `text`, and its length.
pub(super) fn mark_at(text: &str) -> Option<(Piece<'static>, usize)> {
    type Make = fn(usize) -> Piece<'static>;
    let marks: [(&str, &str, Make); 3] =
        [("<g", ">", Piece::Open), ("</g", ">", Piece::Close), ("<x", "/>", Piece::Single)];
    marks.into_iter().find_map(|(prefix, suffix, piece)| {
        let rest = text.strip_prefix(prefix)?;
        let digits = rest.bytes().take(7).take_while(u8::is_ascii_digit).count();
        let number: usize = rest[..digits].parse().ok()?;
        rest[digits..].strip_prefix(suffix)?;
        Some((piece(number.checked_sub(1)?), prefix.len() + digits + suffix.len()))
    })
}

/// The text without its marks.
pub(super) fn bare(text: &str) -> String {
    let (mut bare, mut rest) = (String::with_capacity(text.len()), text);
    while let Some(at) = rest.find('<') {
        let len = mark_at(&rest[at..]).map_or(0, |(_, len)| len);
        bare.push_str(&rest[..at + usize::from(len == 0)]);
        rest = &rest[at + len.max(1)..];
    }
    bare + rest
}

/// Of each tag, whether it opens and closes exactly once and inside of the others.
fn well_placed(n_tags: usize, pieces: &[Piece<'_>]) -> Vec<bool> {
    let mut counts = vec![(0, 0); n_tags];
    for piece in pieces {
        match piece {
            Piece::Open(n) => counts[*n].0 += 1,
            Piece::Close(n) => counts[*n].1 += 1,
            _ => {}
        }
    }
    let mut good: Vec<bool> = counts.iter().map(|count| *count == (1, 1)).collect();
    let mut open: Vec<usize> = Vec::new();
    for piece in pieces {
        match piece {
            Piece::Open(n) if good[*n] => open.push(*n),
            Piece::Close(n) if good[*n] => match open.iter().rposition(|opened| opened == n) {
                // What was opened later and not closed yet would cross this one.
                Some(at) => open.drain(at..).skip(1).for_each(|crossed| good[crossed] = false),
                None => good[*n] = false,
            },
            _ => {}
        }
    }
    // Closed before it opened.
    open.into_iter().for_each(|n| good[n] = false);
    good
}
