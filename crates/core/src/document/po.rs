//! gettext message catalogues: `msgid` is read, `msgstr` written where it is empty or fuzzy.
//!
//! The format is that of the GNU gettext manual, "The Format of PO Files". A translation takes away the
//! `fuzzy` mark and the previous text of its entry, since it translates the present one. Where a
//! language has more than two plural forms an entry gets the mark, for this has translated only two texts.

mod header;
mod parse;
mod placeholder;
mod plural;

pub(super) use parse::find;

use std::ops::Range;

use super::Document;
use super::render::Fit;
use super::unit::line_end;
use crate::language::Language;

/// An entry that may be written, or the header.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Entry {
    /// Unit of `msgid`, and of `msgid_plural`.
    units: Vec<usize>,
    /// `msgid` and `msgid_plural` with the white space at their ends.
    texts: Vec<String>,
    /// What each `msgstr` holds already and keeps; nothing where it is written anew.
    kept: Vec<String>,
    /// From the first `msgstr` to the end of the last line of the last.
    msgstr: Range<usize>,
    /// The lines with flags, with their ends.
    flags: Vec<Range<usize>>,
    /// Lines with the text that a fuzzy translation was made for.
    previous: Vec<Range<usize>>,
    /// Where its first keyword stands.
    start: usize,
    is_header: bool,
}

impl Entry {
    fn flag_names<'a>(&self, source: &'a str) -> Vec<&'a str> {
        let lines = self.flags.iter().map(|range| source[range.clone()].trim());
        let names = lines.flat_map(|line| line.trim_start_matches(['#', ',']).split(','));
        names.map(str::trim).filter(|name| !name.is_empty()).collect()
    }
}

pub(super) fn fit(text: &str, translation: &str) -> Fit {
    if translation.trim().is_empty() {
        return Fit::Broken { lost: 1 };
    }
    // A program that reads the catalogue would show nonsense, or end.
    match placeholder::differences(text, translation) {
        0 => Fit::Whole,
        lost => Fit::Broken { lost },
    }
}

/// All that changes in the document.
pub(super) fn edits(
    document: &Document,
    translations: &[Option<&str>],
    target: Option<Language>,
) -> Vec<(Range<usize>, String)> {
    let source = document.source.as_str();
    let header = document.entries.iter().find(|entry| entry.is_header);
    let forms = plural::forms(header.map(|entry| &source[entry.msgstr.clone()]), target);
    let mut edits = Vec::new();
    for entry in &document.entries {
        if entry.is_header {
            let has_plurals = document.entries.iter().any(|entry| entry.units.len() > 1);
            edits.extend(target.into_iter().flat_map(|target| {
                header::edits(source, &entry.msgstr, target, &forms, has_plurals)
            }));
            continue;
        }
        let texts: Option<Vec<&str>> =
            entry.units.iter().map(|unit| translations.get(*unit).copied().flatten()).collect();
        let Some(texts) = texts else { continue };
        edits.push((entry.msgstr.clone(), msgstr(source, entry, &texts, &forms)));
        edits.extend(mark_edits(source, entry, entry.units.len() > 1 && forms.count > 2));
    }
    edits
}

fn msgstr(source: &str, entry: &Entry, texts: &[&str], forms: &plural::Forms) -> String {
    let end = line_end(source);
    let whole = |index: usize| with_ends(&entry.texts[index], texts[index]);
    if entry.units.len() == 1 {
        return format!("msgstr {}", quoted(&whole(0), end));
    }
    let is_counted = placeholder::differences(&entry.texts[0], &entry.texts[1]) == 0;
    let of_form = |form: usize| {
        let is_one = form == forms.singular && forms.count > 1;
        // "One file" is wrong for the 21 that takes the same form in Russian.
        let index = usize::from(!(is_one && (is_counted || forms.is_singular_one)));
        // Somebody may have filled some of the forms.
        let kept = entry.kept.get(form).filter(|text| !text.is_empty());
        let text = kept.cloned().unwrap_or_else(|| whole(index));
        format!("msgstr[{form}] {}", quoted(&text, end))
    };
    (0..forms.count).map(of_form).collect::<Vec<_>>().join(end)
}

/// The translation with the white space that is around its source: msgfmt wants the same line breaks at
/// the ends.
fn with_ends(source: &str, translation: &str) -> String {
    let lead = source.len() - source.trim_start().len();
    let tail = source.trim_end().len();
    format!("{}{}{}", &source[..lead], translation.trim(), &source[tail.max(lead)..])
}

/// A string in quotes; one line for each of the text, as msgcat does with `--no-wrap`.
fn quoted(text: &str, end: &str) -> String {
    let lines: Vec<String> =
        text.split_inclusive('\n').map(|line| format!("\"{}\"", escaped(line))).collect();
    match lines.as_slice() {
        [] => "\"\"".to_owned(),
        [line] => line.clone(),
        lines => format!("\"\"{end}{}", lines.join(end)),
    }
}

fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '"' => escaped.push_str("\\\""),
            '\\' => escaped.push_str("\\\\"),
            '\n' => escaped.push_str("\\n"),
            '\r' => escaped.push_str("\\r"),
            '\t' => escaped.push_str("\\t"),
            c if c.is_ascii_control() => escaped.push_str(&format!("\\{:03o}", u32::from(c))),
            c => escaped.push(c),
        }
    }
    escaped
}

/// Takes the fuzzy mark away, or sets it.
fn mark_edits(source: &str, entry: &Entry, is_fuzzy: bool) -> Vec<(Range<usize>, String)> {
    let names = entry.flag_names(source);
    let mut edits = Vec::new();
    let was_fuzzy = names.contains(&"fuzzy");
    if was_fuzzy {
        edits.extend(entry.previous.iter().map(|line| (line.clone(), String::new())));
    }
    if was_fuzzy == is_fuzzy {
        return edits;
    }
    let mut names: Vec<&str> = names.into_iter().filter(|name| *name != "fuzzy").collect();
    if is_fuzzy {
        names.insert(0, "fuzzy");
    }
    let line = match names.as_slice() {
        [] => String::new(),
        names => format!("#, {}{}", names.join(", "), line_end(source)),
    };
    // One line for all of them, where the first stood.
    let (first, others) = match entry.flags.split_first() {
        Some((first, others)) => (first.clone(), others),
        None => (entry.start..entry.start, &[][..]),
    };
    edits.push((first, line));
    edits.extend(others.iter().map(|line| (line.clone(), String::new())));
    edits
}
