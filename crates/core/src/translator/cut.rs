//! Whether and where a text is cut before it is translated.

use std::ops::Range;

use super::question::format_options;
use crate::language::Language;
use crate::prompt::PromptFamily;
use crate::protect;
use crate::segment::{Piece, SEGMENT_CHARS_MAX, segment};

/// The pieces of `text`; the whole text as one when it is a single short paragraph, so that the model is
/// asked for it as ever.
pub(super) fn pieces(
    text: &str,
    language: Option<Language>,
    family: PromptFamily,
) -> Vec<Piece<'_>> {
    if !is_long(text) {
        return vec![Piece::Text(text)];
    }
    whole(text, segment(text, language, SEGMENT_CHARS_MAX), family)
}

/// `pieces` of `text`, with those put back together that were cut inside something to be kept.
pub(super) fn whole<'a>(
    text: &'a str,
    pieces: Vec<Piece<'a>>,
    family: PromptFamily,
) -> Vec<Piece<'a>> {
    let parts = protect::parts_of(text, &format_options(family)).map(|(_, part)| part).collect();
    whole_parts(text, pieces, parts)
}

fn is_long(text: &str) -> bool {
    text.chars().nth(SEGMENT_CHARS_MAX).is_some()
        || text.split('\n').any(|line| line.trim().is_empty())
}

/// Puts pieces back together that were cut inside a tag, a code span or the like: half of one is not
/// recognised, and would be translated.
fn whole_parts<'a>(
    text: &'a str,
    pieces: Vec<Piece<'a>>,
    parts: Vec<Range<usize>>,
) -> Vec<Piece<'a>> {
    let mut parts = parts.into_iter().peekable();
    let mut whole: Vec<Piece<'a>> = Vec::with_capacity(pieces.len());
    let (mut start, mut end) = (0, 0);
    for piece in pieces {
        // Every part behind this one begins later.
        while parts
            .next_if(|part| part.start + text[part.clone()].trim_end().len() <= end)
            .is_some()
        {}
        let is_inside = parts.peek().is_some_and(|part| part.start < end);
        match whole.last_mut().filter(|_| is_inside) {
            Some(last) => *last = Piece::Text(&text[start..end + piece.as_str().len()]),
            None => {
                start = end;
                whole.push(piece);
            }
        }
        end += piece.as_str().len();
    }
    whole
}
