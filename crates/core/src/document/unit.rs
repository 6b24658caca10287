//! Units, and the places in a document that they came from.

use std::ops::Range;

use super::inline::{Inline, Tag};
use super::{DocumentError, UNIT_CHARS_MAX, UNITS_MAX};

/// A text to translate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unit {
    /// The text, with numbered format. Without white space at its ends.
    pub text: String,
    /// What helps to understand it and is not translated: the sentence that a cue is a part of, the context
    /// or comment of a PO entry.
    pub context: Option<String>,
    /// Where it begins, from 1.
    pub line: usize,
}

/// Where a unit stands, and how a translation is written there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Slot {
    pub(super) range: Range<usize>,
    pub(super) tags: Vec<Tag>,
    pub(super) shape: Shape,
}

/// How a translation is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// On one line.
    Line,
    /// In lines of so many columns, the second and later ones indented by so many bytes of the line at
    /// this place.
    Wrapped {
        columns: usize,
        indent: (usize, usize),
    },
    Markdown {
        is_cell: bool,
    },
    MarkdownAlt,
    Html,
    /// In quotes, or in none yet.
    HtmlAttribute {
        quote: Option<u8>,
    },
    Cue {
        lines_max: usize,
        is_vtt: bool,
    },
    Json {
        is_ascii: bool,
    },
}

/// Where a document says in which language it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum LanguageMark {
    /// Value of a `lang` attribute.
    Code(Range<usize>),
    /// Value of a `dir` attribute.
    Direction(Range<usize>),
    /// Name of a charset that the words of another language may not be in.
    Charset(Range<usize>),
}

/// What was found in a document so far.
pub(super) struct Found<'a> {
    pub(super) source: &'a str,
    line_starts: Vec<usize>,
    units: Vec<Unit>,
    slots: Vec<Slot>,
    languages: Vec<LanguageMark>,
}

impl<'a> Found<'a> {
    pub(super) fn new(source: &'a str) -> Self {
        let breaks = source.bytes().enumerate().filter(|(_, byte)| *byte == b'\n');
        let line_starts = breaks.map(|(at, _)| at + 1).collect();
        Self { source, line_starts, units: Vec::new(), slots: Vec::new(), languages: Vec::new() }
    }

    /// Line of a place, from 1.
    pub(super) fn line(&self, at: usize) -> usize {
        self.line_starts.partition_point(|start| *start <= at) + 1
    }

    pub(super) fn syntax(&self, at: usize, problem: impl Into<String>) -> DocumentError {
        DocumentError::Syntax { line: self.line(at), problem: problem.into() }
    }

    /// Adds a unit that is not written where it stands.
    pub(super) fn push_unit(
        &mut self,
        text: &str,
        context: Option<String>,
        at: usize,
    ) -> Result<usize, DocumentError> {
        let line = self.line(at);
        let chars = text.chars().count();
        if chars > UNIT_CHARS_MAX {
            return Err(DocumentError::UnitTooLong { line, chars, limit: UNIT_CHARS_MAX });
        }
        if self.units.len() >= UNITS_MAX {
            return Err(DocumentError::TooManyUnits { line, limit: UNITS_MAX });
        }
        self.units.push(Unit { text: text.to_owned(), context, line });
        Ok(self.units.len() - 1)
    }

    /// Adds a unit that is written where it stands.
    pub(super) fn push(&mut self, inline: Inline, shape: Shape) -> Result<usize, DocumentError> {
        let Inline { text, tags, range } = inline;
        self.slots.push(Slot { range: range.clone(), tags, shape });
        self.push_unit(&text, None, range.start)
    }

    /// Adds the text at `range` without the white space at its ends, should it have words.
    pub(super) fn push_range(
        &mut self,
        range: Range<usize>,
        shape: Shape,
    ) -> Result<Option<usize>, DocumentError> {
        let text = &self.source[range.clone()];
        let start = range.start + (text.len() - text.trim_start().len());
        let text = text.trim();
        if !has_words(text) {
            return Ok(None);
        }
        let range = start..start + text.len();
        let inline = Inline { text: text.to_owned(), tags: Vec::new(), range };
        self.push(inline, shape).map(Some)
    }

    pub(super) fn set_context(&mut self, unit: usize, context: String) {
        self.units[unit].context = Some(context);
    }

    pub(super) fn text(&self, unit: usize) -> &str {
        &self.units[unit].text
    }

    pub(super) fn mark_language(&mut self, mark: LanguageMark) {
        self.languages.push(mark);
    }

    /// Everything in the order of the document; what stands inside of another unit comes behind it.
    pub(super) fn finish(self) -> (Vec<Unit>, Vec<Slot>, Vec<LanguageMark>) {
        if self.slots.is_empty() {
            return (self.units, self.slots, self.languages);
        }
        let mut both: Vec<_> = self.units.into_iter().zip(self.slots).collect();
        both.sort_by_key(|(_, slot)| (slot.range.start, std::cmp::Reverse(slot.range.end)));
        let (units, slots) = both.into_iter().unzip();
        (units, slots, self.languages)
    }
}

/// Characters from which a text without any white space is data: a picture, a key.
const WORD_CHARS_MAX: usize = 512;

/// True for what is worth a translation.
pub(super) fn has_words(text: &str) -> bool {
    let is_data =
        || text.is_ascii() && text.len() > WORD_CHARS_MAX && !text.contains(char::is_whitespace);
    text.contains(char::is_alphabetic) && !is_data()
}

/// Lines of `source` as ranges without their ends, `\n` or `\r\n`.
pub(super) fn lines(source: &str) -> impl Iterator<Item = Range<usize>> + '_ {
    let mut at = 0;
    source.split_inclusive('\n').map(move |line| {
        let start = at;
        at += line.len();
        let line = line.strip_suffix('\n').unwrap_or(line);
        start..start + line.strip_suffix('\r').unwrap_or(line).len()
    })
}

/// How lines end in most of the document.
pub(super) fn line_end(source: &str) -> &'static str {
    match source.find('\n') {
        Some(at) if source[..at].ends_with('\r') => "\r\n",
        _ => "\n",
    }
}

/// Bytes of a byte order mark.
pub(super) fn bom_len(source: &str) -> usize {
    if source.starts_with('\u{FEFF}') { '\u{FEFF}'.len_utf8() } else { 0 }
}
