//! Whole documents: what of them is text to translate, and how the translations go back.
//!
//! [`Document::parse`] finds the units of a document, in order; [`Document::render`] writes the document
//! again with translations in their places. Everything that is not part of a translated unit comes out
//! byte for byte as it went in: headers, code, attributes, time stamps, comments, spelling of numbers and
//! escapes, line endings, a byte order mark.
//!
//! | format | units | stays |
//! |---|---|---|
//! | text | paragraphs that were wrapped, else lines | indentation, blank lines |
//! | Markdown | headings, paragraphs, list items, table cells, alternative texts | code, HTML blocks, link targets, front matter |
//! | HTML | what block elements hold; `alt`, `title`, `placeholder`, `aria-label` | script, style, `pre`, `code`, `translate="no"` |
//! | SRT, VTT | the text of a cue, of each speaker in it | numbers, times, settings, notes, styles |
//! | JSON | strings, never keys | everything else |
//! | PO | `msgid` and `msgid_plural`, written to `msgstr` | translated entries, comments, references |
//!
//! Format inside of a unit is numbered: `<g1>` and `</g1>` around text, `<x2/>` for what has none.
//! [`protect`](crate::protect) keeps these like any tag.
//!
//! ```
//! use hymt_core::document::{Document, DocumentFormat, ParseOptions};
//! use hymt_core::language::Language;
//!
//! let page = "<html lang=en><p class=x>Press <b>Start</b> &amp; wait.</p>";
//! let document = Document::parse(DocumentFormat::Html, page, &ParseOptions::default())?;
//! assert_eq!(document.units()[0].text, "Press <g1>Start</g1> & wait.");
//! let german = [Some("<g1>Start</g1> drücken & warten.")];
//! let rendered = document.render(&german, Some(Language::German));
//! assert_eq!(rendered.text, "<html lang=de><p class=x><b>Start</b> drücken &amp; warten.</p>");
//! # Ok::<(), hymt_core::document::DocumentError>(())
//! ```

mod cue;
mod html;
mod inline;
mod json;
mod layout;
mod markdown;
mod plain;
mod po;
mod render;
mod srt;
mod unit;
mod vtt;

pub use json::JsonPointer;
pub use render::{Fit, Rendered};
pub use unit::Unit;

use crate::language::Language;
use po::Entry;
use unit::Slot;

/// Largest document. Bytes.
pub const DOCUMENT_BYTES_MAX: usize = 16 << 20;
/// Most units of a document.
pub const UNITS_MAX: usize = 200_000;
/// Longest unit. Characters.
pub const UNIT_CHARS_MAX: usize = 16_000;
/// Deepest nesting of a document.
pub const DEPTH_MAX: usize = 128;
/// Columns of a line of subtitles: what broadcasters' guidelines allow (BBC 37, Netflix 42).
pub const CUE_COLUMNS: usize = 42;

/// A format of documents.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DocumentFormat {
    /// Plain text.
    Text,
    /// Markdown: CommonMark with tables, footnotes, strikethrough, task lists and front matter.
    Markdown,
    /// HTML and XHTML.
    Html,
    /// SubRip subtitles.
    Srt,
    /// WebVTT subtitles.
    Vtt,
    /// JSON.
    Json,
    /// gettext message catalogues, `.po` and `.pot`.
    Po,
}

impl DocumentFormat {
    /// All of them.
    pub const ALL: [Self; 7] =
        [Self::Text, Self::Markdown, Self::Html, Self::Srt, Self::Vtt, Self::Json, Self::Po];

    /// Short name: `text`, `md`, `html`, `srt`, `vtt`, `json`, `po`.
    pub fn name(self) -> &'static str {
        self.extensions()[0]
    }

    /// By its name, or an extension of file names without the dot, in any case.
    pub fn from_name(name: &str) -> Option<Self> {
        let name = name.to_ascii_lowercase();
        Self::ALL.into_iter().find(|format| format.extensions().contains(&name.as_str()))
    }

    fn extensions(self) -> &'static [&'static str] {
        match self {
            Self::Text => &["text", "txt"],
            Self::Markdown => &["md", "markdown", "mdown", "mkd"],
            Self::Html => &["html", "htm", "xhtml"],
            Self::Srt => &["srt"],
            Self::Vtt => &["vtt"],
            Self::Json => &["json", "arb"],
            Self::Po => &["po", "pot"],
        }
    }
}

/// What of a document is translated, where the format leaves a choice.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ParseOptions {
    /// Only the strings at these places of a JSON document; all when empty.
    pub json_include: Vec<JsonPointer>,
    /// Translate PO entries again that have a translation.
    pub po_overwrite: bool,
}

/// A document and the units in it.
#[derive(Debug, Clone, PartialEq)]
pub struct Document {
    format: DocumentFormat,
    source: String,
    units: Vec<Unit>,
    /// One per unit; empty for PO, where a unit is not written where it was read.
    slots: Vec<Slot>,
    /// Where the language of the document is named.
    languages: Vec<unit::LanguageMark>,
    entries: Vec<Entry>,
}

/// Why a document cannot be read. All but the first name a line, from 1.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DocumentError {
    /// It is too large.
    #[error("{bytes} bytes, the limit is {limit}; translate it in parts")]
    TooLarge {
        /// How large it is.
        bytes: usize,
        /// The bound.
        limit: usize,
    },
    /// It has too many units.
    #[error("line {line}: more than {limit} texts; translate it in parts")]
    TooManyUnits {
        /// Where the bound was passed.
        line: usize,
        /// The bound.
        limit: usize,
    },
    /// A unit is too long.
    #[error("line {line}: a text of {chars} characters, the limit is {limit}; make it paragraphs")]
    UnitTooLong {
        /// Where it begins.
        line: usize,
        /// How long it is.
        chars: usize,
        /// The bound.
        limit: usize,
    },
    /// It is nested too deep.
    #[error("line {line}: nested more than {limit} deep")]
    TooDeep {
        /// Where the bound was passed.
        line: usize,
        /// The bound.
        limit: usize,
    },
    /// It is not what its format says.
    #[error("line {line}: {problem}")]
    Syntax {
        /// Where.
        line: usize,
        /// What was found and what is expected.
        problem: String,
    },
    /// A place in JSON documents is not written as one.
    #[error("'{given}' is no JSON pointer; write for example /menu/*/title")]
    Pointer {
        /// What was given.
        given: String,
    },
}

impl Document {
    /// Reads a document.
    ///
    /// # Errors
    /// When it passes a bound of this module or is damaged beyond what its format forgives. Text, Markdown
    /// and HTML forgive everything.
    pub fn parse(
        format: DocumentFormat,
        source: &str,
        options: &ParseOptions,
    ) -> Result<Self, DocumentError> {
        if source.len() > DOCUMENT_BYTES_MAX {
            let (bytes, limit) = (source.len(), DOCUMENT_BYTES_MAX);
            return Err(DocumentError::TooLarge { bytes, limit });
        }
        let mut found = unit::Found::new(source);
        let mut entries = Vec::new();
        match format {
            DocumentFormat::Text => plain::find(&mut found)?,
            DocumentFormat::Markdown => markdown::find(&mut found)?,
            DocumentFormat::Html => html::find(&mut found)?,
            DocumentFormat::Srt => srt::find(&mut found)?,
            DocumentFormat::Vtt => vtt::find(&mut found)?,
            DocumentFormat::Json => json::find(&mut found, &options.json_include)?,
            DocumentFormat::Po => entries = po::find(&mut found, options.po_overwrite)?,
        }
        let (units, slots, languages) = found.finish();
        let source = source.to_owned();
        Ok(Self { format, source, units, slots, languages, entries })
    }

    /// What is to be translated, in the order of the document.
    pub fn units(&self) -> &[Unit] {
        &self.units
    }

    /// Its format.
    pub fn format(&self) -> DocumentFormat {
        self.format
    }

    /// Whether a translation can take the place of a unit.
    ///
    /// # Panics
    /// When there is no unit `index`.
    pub fn fit(&self, index: usize, translation: &str) -> Fit {
        render::fit(self, index, translation)
    }

    /// The document with `translations` in the places of its units. A unit without one, or with one that
    /// does not fit, stays as it was: see [`Rendered::misfits`]. With a `target` the places that name the
    /// language of the document, where it has such, name that.
    ///
    /// Without `target`, and with the texts of the units or nothing at all, this is the document, byte for
    /// byte; but a PO entry that was empty holds its own `msgid` if that is given.
    pub fn render<S: AsRef<str>>(
        &self,
        translations: &[Option<S>],
        target: Option<Language>,
    ) -> Rendered {
        let translations: Vec<_> =
            translations.iter().map(|text| text.as_ref().map(AsRef::as_ref)).collect();
        render::render(self, &translations, target)
    }
}

#[cfg(test)]
mod tests;
