//! Writing a document with translations in it.

use std::ops::Range;

use super::inline::{self, Piece, Resolved, Tag};
use super::unit::{LanguageMark, Shape, Slot, line_end};
use super::{Document, DocumentFormat, cue, html, json, layout, markdown, po};
use crate::language::Language;

/// Whether a translation can take the place of a unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Fit {
    /// It has the format of the unit.
    Whole,
    /// Some format was lost: the words that were bold or a link are not any more.
    Plainer {
        /// Pairs of tags that were lost.
        lost: usize,
    },
    /// Something was lost or doubled that the document cannot be without: code, an image, a placeholder.
    /// The unit stays as it was.
    Broken {
        /// How many of them.
        lost: usize,
    },
}

/// A piece of the document that is written anew.
struct Edit<'a> {
    range: Range<usize>,
    what: What<'a>,
}

enum What<'a> {
    Unit { slot: &'a Slot, translation: Resolved<'a> },
    Fixed(String),
}

pub(super) fn fit(document: &Document, index: usize, translation: &str) -> Fit {
    let unit = &document.units[index];
    if document.format == DocumentFormat::Po {
        return po::fit(&unit.text, translation);
    }
    let slot = &document.slots[index];
    let resolved = inline::resolve(&slot.tags, translation);
    let text = text_of(&resolved.pieces);
    let has_text = match slot.shape {
        Shape::Cue { is_vtt: false, .. } => !cue::plain(&text).trim().is_empty(),
        _ => !text.trim().is_empty(),
    };
    match (resolved.n_singles_lost, resolved.n_pairs_lost) {
        (0, _) if !has_text => Fit::Broken { lost: 1 },
        (0, 0) => Fit::Whole,
        (0, lost) => Fit::Plainer { lost },
        (lost, _) => Fit::Broken { lost },
    }
}

/// Most units of a Markdown document whose translations are looked for one by one because they would
/// change its structure; with more, what follows the last one stays as it was.
const MISFITS_MAX: usize = 16;

/// A document with translations in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rendered {
    /// The document.
    pub text: String,
    /// Units that stay as they were although there is a translation: it is [`Fit::Broken`], or Markdown
    /// would have read something else in it than text.
    pub misfits: Vec<usize>,
}

pub(super) fn render(
    document: &Document,
    translations: &[Option<&str>],
    target: Option<Language>,
) -> Rendered {
    let (mut kept, mut misfits) = (vec![None; document.units.len()], Vec::new());
    for (index, text) in translations.iter().enumerate().take(kept.len()) {
        match text {
            Some(text) if matches!(fit(document, index, text), Fit::Broken { .. }) => {
                misfits.push(index);
            }
            text => kept[index] = *text,
        }
    }
    if document.format == DocumentFormat::Markdown {
        misfits.extend(take_misfits(document, &mut kept));
        misfits.sort_unstable();
    }
    Rendered { text: write(document, &kept, target), misfits }
}

/// Takes out the translations that would change the structure of a Markdown document: escapes hold in
/// what people write, but not in every heap of signs.
fn take_misfits(document: &Document, translations: &mut [Option<&str>]) -> Vec<usize> {
    let wanted = markdown::structure(&document.source);
    let holds = |translations: &[Option<&str>]| {
        markdown::structure(&write(document, translations, None)) == wanted
    };
    let mut misfits = Vec::new();
    while !holds(translations) {
        // The translations before `good` change nothing, those before `bad` do.
        let (mut good, mut bad) = (0, translations.len());
        while good + 1 < bad {
            let middle = usize::midpoint(good, bad);
            let mut some = translations.to_vec();
            some[middle..].fill(None);
            if holds(&some) { good = middle } else { bad = middle }
        }
        let end = if misfits.len() < MISFITS_MAX { bad } else { translations.len() };
        for (index, text) in translations[..end].iter_mut().enumerate().skip(good) {
            if text.take().is_some() {
                misfits.push(index);
            }
        }
        if bad == 0 {
            break;
        }
    }
    misfits
}

fn write(document: &Document, translations: &[Option<&str>], target: Option<Language>) -> String {
    let mut edits: Vec<Edit<'_>> = Vec::new();
    if document.format == DocumentFormat::Po {
        let fixed = po::edits(document, translations, target);
        edits
            .extend(fixed.into_iter().map(|(range, text)| Edit { range, what: What::Fixed(text) }));
    }
    for ((unit, slot), translation) in document.units.iter().zip(&document.slots).zip(translations)
    {
        if let Some(text) = translation.filter(|text| *text != unit.text) {
            let translation = inline::resolve(&slot.tags, text);
            let what = What::Unit { slot, translation };
            edits.push(Edit { range: slot.range.clone(), what });
        }
    }
    if let Some(target) = target {
        edits.extend(document.languages.iter().map(|mark| language_edit(mark, target)));
    }
    edits.sort_by_key(|edit| (edit.range.start, std::cmp::Reverse(edit.range.end)));
    let writer = Writer { document, line_end: line_end(&document.source) };
    let mut out = String::with_capacity(document.source.len());
    writer.copy(0..document.source.len(), &edits, &mut out);
    out
}

fn language_edit<'a>(mark: &LanguageMark, target: Language) -> Edit<'a> {
    let direction = if target.is_right_to_left() { "rtl" } else { "ltr" };
    let (range, text) = match mark {
        LanguageMark::Code(range) => (range, target.code()),
        LanguageMark::Direction(range) => (range, direction),
        LanguageMark::Charset(range) => (range, "utf-8"),
    };
    Edit { range: range.clone(), what: What::Fixed(text.to_owned()) }
}

struct Writer<'a> {
    document: &'a Document,
    line_end: &'static str,
}

impl Writer<'_> {
    /// Copies a range of the document with the edits in it. `edits` are sorted; those outside are skipped.
    fn copy(&self, range: Range<usize>, edits: &[Edit<'_>], out: &mut String) {
        let source = &self.document.source;
        let mut at = range.start;
        let mut next = edits.partition_point(|edit| edit.range.start < range.start);
        while let Some(edit) = edits.get(next).filter(|edit| edit.range.end <= range.end) {
            next += 1;
            // Inside of the one before, which has written it.
            if edit.range.start < at {
                continue;
            }
            out.push_str(&source[at..edit.range.start]);
            match &edit.what {
                What::Fixed(text) => out.push_str(text),
                What::Unit { slot, translation } => {
                    self.write(slot, translation, &edits[next..], out);
                }
            }
            at = edit.range.end;
        }
        out.push_str(&source[at..range.end]);
    }

    fn write(&self, slot: &Slot, translation: &Resolved<'_>, edits: &[Edit<'_>], out: &mut String) {
        let raw = |range: &Range<usize>| {
            let mut text = String::new();
            self.copy(range.clone(), edits, &mut text);
            text
        };
        let raw_piece = |piece: &Piece<'_>| match (piece, tag(slot, piece)) {
            (Piece::Open(_), Some(Tag::Pair { open, .. })) => raw(open),
            (Piece::Close(_), Some(Tag::Pair { close, extra, .. })) => {
                raw(close) + &extra.as_ref().map_or(String::new(), raw)
            }
            (Piece::Single(_), Some(Tag::Single(range))) => raw(range),
            _ => String::new(),
        };
        let pieces = &translation.pieces;
        let behind = self.document.source[slot.range.end..].chars().next();
        match slot.shape {
            Shape::Line => out.push_str(&one_line(&text_of(pieces))),
            Shape::Wrapped { columns, indent } => {
                let indent = &self.document.source[indent.0..indent.0 + indent.1];
                let lines = layout::wrap(&text_of(pieces), columns);
                out.push_str(&lines.join(&format!("{}{indent}", self.line_end)));
            }
            Shape::Markdown { is_cell } => {
                out.push_str(&markdown::encode(pieces, is_cell, behind, &raw_piece));
            }
            Shape::MarkdownAlt => out.push_str(&markdown::encode(pieces, true, behind, &raw_piece)),
            Shape::Html => pieces.iter().for_each(|piece| match piece {
                Piece::Text(text) => out.push_str(&html::escape(text)),
                other => out.push_str(&raw_piece(other)),
            }),
            Shape::HtmlAttribute { quote } => {
                // Where there were no quotes there must be some now.
                let added = if quote.is_none() { "\"" } else { "" };
                out.push_str(added);
                pieces.iter().for_each(|piece| match piece {
                    Piece::Text(text) => out.push_str(&html::escape_attribute(text, quote)),
                    other => out.push_str(&raw_piece(other)),
                });
                out.push_str(added);
            }
            Shape::Cue { lines_max, is_vtt } => {
                out.push_str(&self.cue(pieces, lines_max, is_vtt, &raw_piece));
            }
            Shape::Json { is_ascii } => out.push_str(&json::escape(&text_of(pieces), is_ascii)),
        }
    }

    /// The text of a cue in lines.
    fn cue(
        &self,
        pieces: &[Piece<'_>],
        lines_max: usize,
        is_vtt: bool,
        raw_piece: &dyn Fn(&Piece<'_>) -> String,
    ) -> String {
        let lines = layout::balance(&marked(pieces), lines_max, super::CUE_COLUMNS);
        let text = lines.join("\n");
        let tags = inline::resolve_marks(&text);
        let mut written = String::new();
        for piece in tags {
            match piece {
                Piece::Text(text) if is_vtt => written.push_str(&html::escape(text)),
                Piece::Text(text) => written.push_str(&cue::plain(text)),
                other => written.push_str(&raw_piece(&other)),
            }
        }
        written.replace('\n', self.line_end)
    }
}

fn tag<'a>(slot: &'a Slot, piece: &Piece<'_>) -> Option<&'a Tag> {
    match piece {
        Piece::Open(n) | Piece::Close(n) | Piece::Single(n) => slot.tags.get(*n),
        Piece::Text(_) => None,
    }
}

fn text_of(pieces: &[Piece<'_>]) -> String {
    let texts = pieces.iter().filter_map(|piece| match piece {
        Piece::Text(text) => Some(*text),
        _ => None,
    });
    texts.collect()
}

/// The text with the marks that stand.
fn marked(pieces: &[Piece<'_>]) -> String {
    let mark = |piece: &Piece<'_>| match piece {
        Piece::Text(text) => (*text).to_owned(),
        Piece::Open(n) => format!("<g{}>", n + 1),
        Piece::Close(n) => format!("</g{}>", n + 1),
        Piece::Single(n) => format!("<x{}/>", n + 1),
    };
    pieces.iter().map(mark).collect()
}

/// Line breaks as spaces.
pub(super) fn one_line(text: &str) -> String {
    text.split(['\n', '\r'])
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect::<Vec<_>>()
        .join(" ")
}
