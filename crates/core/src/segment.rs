//! Cutting a long text into sentences, and putting the translations back together.
//!
//! Models of this size translate a sentence well and a page badly, and a page does not fit their
//! context. The cuts follow Unicode's sentence boundaries (Standard Annex 29, as the
//! `unicode-segmentation` crate implements them), with exceptions where those cut too often:
//! abbreviations, initials, ordinals, list numbers, and reported speech. An exception that joins two
//! sentences by mistake costs little, for the model gets both; a cut inside a sentence costs its meaning.
//!
//! White space and line breaks are pieces of their own and never reach the model, so paragraphs come
//! out as they went in.
//!
//! ```
//! use hymt_core::language::Language;
//! use hymt_core::segment::{join, segment};
//!
//! let pieces = segment("Dr. Li is here.  Come in!\n\n- Water?", Some(Language::English), 400);
//! let texts: Vec<_> = pieces.iter().filter_map(|piece| piece.text()).collect();
//! assert_eq!(texts, ["Dr. Li is here.", "Come in!", "- Water?"]);
//! let german = ["Dr. Li ist da.", "Herein!", "- Wasser?"];
//! assert_eq!(join(&pieces, &german, Language::German), "Dr. Li ist da.  Herein!\n\n- Wasser?");
//! ```

mod abbreviations;
mod clauses;

use std::ops::Range;

use unicode_segmentation::{GraphemeCursor, UnicodeSegmentation};

use crate::language::Language;

/// Longest segment by default. Characters: about the 150 tokens up to which users of HY-MT report good
/// translations.
pub const SEGMENT_CHARS_MAX: usize = 400;

/// A piece of a text. The pieces of a text, one after the other, are the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Piece<'a> {
    /// A sentence, or a part of one that is too long. Neither empty nor with white space at its ends.
    Text(&'a str),
    /// White space between sentences, line breaks included.
    Space(&'a str),
}

impl<'a> Piece<'a> {
    /// The piece as it stands in the text.
    pub fn as_str(self) -> &'a str {
        match self {
            Self::Text(text) | Self::Space(text) => text,
        }
    }

    /// What is to be translated.
    pub fn text(self) -> Option<&'a str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Space(_) => None,
        }
    }
}

/// Cuts `text` into sentences of at most `chars_max` characters.
///
/// A longer sentence is cut at its clause marks, else at white space, else between words; only a
/// word that is longer by itself is cut, and a grapheme never, be it longer than `chars_max`.
/// `language` is that of the text; without it only the most common abbreviations are known.
pub fn segment(text: &str, language: Option<Language>, chars_max: usize) -> Vec<Piece<'_>> {
    let mut pieces = Pieces { text, ranges: Vec::new() };
    for sentence in sentences(text, language) {
        let mut rest = sentence;
        while let Some(end) = clauses::first_end(&text[rest.clone()], chars_max.max(1)) {
            pieces.push(rest.start..rest.start + end);
            rest.start += end;
        }
        pieces.push(rest);
    }
    let piece = |(is_text, range): (bool, Range<usize>)| match is_text {
        true => Piece::Text(&text[range]),
        false => Piece::Space(&text[range]),
    };
    pieces.ranges.into_iter().map(piece).collect()
}

/// Puts one translation per [`Piece::Text`] in the places of the pieces.
///
/// Line breaks and indentation stay. Sentences that follow each other on a line get a space between
/// them, or lose it, as `target` is written; what was cut inside a word stays one. Missing translations
/// leave the source text.
pub fn join<S: AsRef<str>>(pieces: &[Piece<'_>], translations: &[S], target: Language) -> String {
    let has_spaces = target.has_word_spaces();
    let mut translations = translations.iter();
    let mut joined = String::new();
    for (index, piece) in pieces.iter().enumerate() {
        let is_between = index > 0 && index + 1 < pieces.len();
        let before = if index > 0 { pieces[index - 1].text() } else { None };
        match piece {
            Piece::Space(" ") if is_between && !has_spaces => {}
            Piece::Space(space) => joined.push_str(space),
            Piece::Text(source) => {
                let is_apart = before.is_some_and(|before| is_unspaced_boundary(before, source));
                if is_apart && has_spaces && !joined.ends_with(char::is_whitespace) {
                    joined.push(' ');
                }
                joined.push_str(translations.next().map_or(source, AsRef::as_ref));
            }
        }
    }
    joined
}

/// True where the source has no space between two pieces because its script has none. Where a script
/// with spaces has none either, in the middle of a very long word, none is wanted.
fn is_unspaced_boundary(before: &str, after: &str) -> bool {
    let is_unspaced = |c: char| {
        matches!(u32::from(c),
            0x0E00..=0x0FFF | 0x1000..=0x109F | 0x1780..=0x17FF | 0x3000..=0x312F | 0x31A0..=0x9FFF
            | 0xF900..=0xFAFF | 0xFF00..=0xFF9F | 0x2_0000..=0x3_FFFF)
    };
    before.chars().next_back().is_some_and(is_unspaced)
        || after.chars().next().is_some_and(is_unspaced)
}

/// The pieces found so far, as ranges of the text and whether they are text.
struct Pieces<'a> {
    text: &'a str,
    ranges: Vec<(bool, Range<usize>)>,
}

impl Pieces<'_> {
    /// Adds a range without the white space at its ends, and that white space as pieces of its own.
    fn push(&mut self, range: Range<usize>) {
        let text = &self.text[range.clone()];
        let start = range.start + (text.len() - text.trim_start().len());
        let end = start + text.trim().len();
        self.push_space(range.start..start);
        if start < end {
            self.ranges.push((true, start..end));
        }
        self.push_space(end..range.end);
    }

    fn push_space(&mut self, range: Range<usize>) {
        match self.ranges.last_mut() {
            Some((false, last)) if last.end == range.start => last.end = range.end,
            _ if range.is_empty() => {}
            _ => self.ranges.push((false, range)),
        }
    }
}

/// Ranges of the sentences with the white space behind them; together they are the whole text.
fn sentences(text: &str, language: Option<Language>) -> Vec<Range<usize>> {
    let mut sentences: Vec<Range<usize>> = Vec::new();
    let words: Vec<usize> = text.split_word_bound_indices().map(|(at, _)| at).collect();
    for (start, part) in text.split_sentence_bound_indices() {
        let mut range = start..start + part.len();
        if let Some(last) = sentences.last_mut() {
            let mark = misplaced_opening(&text[last.clone()], part);
            last.end -= mark;
            range.start -= mark;
        }
        let part = &text[range.clone()];
        // In a few scripts Annex 29 ends a sentence inside what it calls a letter or a word.
        let is_inside =
            !is_grapheme_boundary(text, range.start) || words.binary_search(&range.start).is_err();
        match sentences.last_mut() {
            Some(last) if is_inside || continues(&text[last.clone()], part, language) => {
                last.end = range.end;
            }
            _ => sentences.push(range),
        }
    }
    sentences
}

/// True where a character that a reader sees begins, and at both ends of the text.
fn is_grapheme_boundary(text: &str, at: usize) -> bool {
    let mut cursor = GraphemeCursor::new(at, text.len(), true);
    // With the whole text at hand there is nothing it could still ask for.
    cursor.is_boundary(text, 0).unwrap_or(true)
}

/// Bytes of opening marks at the end of `before` that belong to `after`: to Annex 29 all quotation marks
/// and brackets close, and Chinese puts no space before one that opens.
fn misplaced_opening(before: &str, after: &str) -> usize {
    let rest =
        before.trim_end_matches(['“', '‘', '「', '『', '《', '〈', '（', '【', '(', '«', '„']);
    let is_whole = rest.is_empty() || !after.starts_with(char::is_alphanumeric);
    if is_whole { 0 } else { before.len() - rest.len() }
}

/// True when a boundary of Annex 29 between the two is none.
fn continues(before: &str, after: &str, language: Option<Language>) -> bool {
    let said = before.trim_end();
    if before[said.len()..].contains(is_line_break) || said.is_empty() {
        return false;
    }
    let next = after.chars().next().unwrap_or(' ');
    let unquoted = said.trim_end_matches(is_closing);
    if unquoted.len() < said.len() && ends_reported_speech(said, next, language) {
        return true;
    }
    let Some(stem) = said.strip_suffix('.') else { return false };
    let word = stem.rsplit(|c: char| c.is_whitespace() || is_opening(c)).next().unwrap_or(stem);
    abbreviations::ends_with_one(word, language)
        || is_initial(word)
        || is_ordinal(word, stem.trim() == word, language)
        || (is_number_mark(word) && next.is_numeric())
}

/// `"Stop!" he said` and 「行く」と言った: what follows the quotation goes on with the sentence.
fn ends_reported_speech(said: &str, next: char, language: Option<Language>) -> bool {
    let is_kana_quote = said.ends_with(['」', '』']) && matches!(next, 'ぁ'..='ゖ');
    next.is_lowercase() || (is_kana_quote && language.is_none_or(|l| l == Language::Japanese))
}

/// `J. R. R. Tolkien`, and parts of `z.B.`
fn is_initial(word: &str) -> bool {
    let last = word.rsplit(['.', '-']).next().unwrap_or(word);
    let mut chars = last.chars();
    matches!((chars.next(), chars.next()), (Some(letter), None) if letter.is_uppercase())
}

/// `am 3. Oktober`, in languages that write ordinals so; and the number of a list item in all.
fn is_ordinal(word: &str, is_all: bool, language: Option<Language>) -> bool {
    let is_number = (1..=4).contains(&word.len()) && word.bytes().all(|b| b.is_ascii_digit());
    let writes_ordinals = matches!(
        language,
        Some(Language::German | Language::Czech | Language::Polish | Language::Turkish)
    );
    is_number && (is_all || writes_ordinals)
}

/// `No. 5`: an abbreviation only before a number.
fn is_number_mark(word: &str) -> bool {
    ["no", "nos", "nr", "num", "art", "fig", "p", "pp", "s", "vol", "kap", "abb", "č"]
        .contains(&word.to_lowercase().as_str())
}

fn is_line_break(c: char) -> bool {
    matches!(c, '\n' | '\r' | '\u{B}' | '\u{C}' | '\u{85}' | '\u{2028}' | '\u{2029}')
}

fn is_closing(c: char) -> bool {
    matches!(c, '"' | '\'' | '”' | '’' | '“' | '»' | '«' | ')' | ']' | '」' | '』')
}

fn is_opening(c: char) -> bool {
    matches!(c, '"' | '\'' | '“' | '‘' | '„' | '«' | '»' | '(' | '[' | '{')
}

#[cfg(test)]
mod tests;
