//! Glossaries from files: TSV and CSV as DeepL and Google take them, TBX from terminology tools, TMX
//! from translation memories.
//!
//! | format | what it holds |
//! |---|---|
//! | [`Format::Tsv`], [`Format::Csv`] | a term a row, see [`table`] |
//! | [`Format::Tbx`] | concepts with terms in many languages (ISO 30042), see [`tbx`] |
//! | [`Format::Tmx`] | short segments of a translation memory, see [`tmx`] |
//!
//! A file is taken whole or not at all; what is wrong with it is told by line. What is not wrong but
//! was left out or replaced is told too, as notes ([`Imported::notes`]).

pub mod table;
pub mod tbx;
pub mod tmx;
mod xml;

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use super::{Added, GLOSSARY_TERMS_MAX, Glossary, GlossaryEntry, LanguagePair, Term, shorten};
use crate::language::Language;

/// Largest file. Bytes; the bound of DeepL's glossaries.
pub const IMPORT_BYTES_MAX: usize = 10 << 20;
/// Problems, and notes, that are told of one file; more only repeat the first.
pub const PROBLEMS_MAX: usize = 20;
/// Most entries that are read of one file, those that replace others included.
pub const ENTRIES_READ_MAX: usize = 4 * GLOSSARY_TERMS_MAX;

/// What a file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Tab-separated values.
    Tsv,
    /// Comma-separated values.
    Csv,
    /// TermBase eXchange, ISO 30042.
    Tbx,
    /// Translation Memory eXchange 1.4.
    Tmx,
}

/// A format that is none of those known.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("format '{given}' is not known; allowed: tsv, csv, tbx, tmx")]
pub struct UnknownFormat {
    /// What was given, shortened.
    pub given: String,
}

impl FromStr for Format {
    type Err = UnknownFormat;

    fn from_str(name: &str) -> Result<Self, UnknownFormat> {
        match name.to_ascii_lowercase().as_str() {
            "tsv" => Ok(Self::Tsv),
            "csv" => Ok(Self::Csv),
            "tbx" => Ok(Self::Tbx),
            "tmx" => Ok(Self::Tmx),
            _ => Err(UnknownFormat { given: shorten(name) }),
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tsv => "tsv",
            Self::Csv => "csv",
            Self::Tbx => "tbx",
            Self::Tmx => "tmx",
        })
    }
}

impl Format {
    /// The format that a name means; one that says nothing about it (empty, `xml`, `txt`, `tab`)
    /// leaves it to the content.
    ///
    /// # Errors
    /// When the name means another format.
    pub fn named_or_sniffed(name: &str, content: &str) -> Result<Self, UnknownFormat> {
        match name.to_ascii_lowercase().as_str() {
            "" | "xml" | "txt" | "tab" => Ok(Self::sniff(content)),
            _ => name.parse(),
        }
    }

    /// Guesses from the content: markup is TMX if its first element is `tmx` and TBX otherwise; a
    /// first line with a tab is TSV; the rest is CSV.
    pub fn sniff(content: &str) -> Self {
        let content = content.trim_start_matches('\u{feff}').trim_start();
        if content.starts_with('<') {
            return if xml::root_name(content).as_deref() == Some("tmx") {
                Self::Tmx
            } else {
                Self::Tbx
            };
        }
        let mut lines = content.lines().filter(|line| !line.trim().is_empty());
        match lines.find(|line| !line.starts_with('#')) {
            Some(line) if line.contains('\t') => Self::Tsv,
            _ => Self::Csv,
        }
    }
}

/// Something is wrong with a file, or worth knowing about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Line, from 1; 0 for the file as a whole.
    pub line: u64,
    /// What.
    pub what: String,
}

impl Problem {
    fn whole(what: String) -> Self {
        Self { line: 0, what }
    }

    /// With the name of the file in front: `museum.tbx line 12: ...`.
    pub fn in_file(&self, file: &str) -> String {
        match self.line {
            0 => format!("{file}: {}", self.what),
            _ => format!("{file} {self}"),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => f.write_str(&self.what),
            line => write!(f, "line {line}: {}", self.what),
        }
    }
}

/// A glossary from a file.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Imported {
    /// The terms.
    pub glossary: Glossary,
    /// What was left out or replaced, at most [`PROBLEMS_MAX`] things.
    pub notes: Vec<Problem>,
}

/// Text from the bytes of a file: UTF-8, or UTF-16 with a byte order mark, as some terminology tools
/// write it.
///
/// # Errors
/// When it is too long or neither; tells the line.
pub fn decode(bytes: &[u8]) -> Result<String, Problem> {
    check_size(bytes.len())?;
    let units = |of: fn([u8; 2]) -> u16| bytes[2..].chunks_exact(2).map(move |b| of([b[0], b[1]]));
    let utf16 = match bytes {
        [0xff, 0xfe, ..] => {
            Some(String::from_utf16(&units(u16::from_le_bytes).collect::<Vec<_>>()))
        }
        [0xfe, 0xff, ..] => {
            Some(String::from_utf16(&units(u16::from_be_bytes).collect::<Vec<_>>()))
        }
        _ => None,
    };
    if let Some(text) = utf16 {
        return text.map_err(|_| Problem::whole("it is not valid UTF-16; save it as UTF-8".into()));
    }
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let before = &bytes[..error.valid_up_to()];
        let line = 1 + before.iter().filter(|byte| **byte == b'\n').count() as u64;
        Problem { line, what: "it is not UTF-8 here; save it as UTF-8".to_owned() }
    })?;
    Ok(text.to_owned())
}

fn check_size(bytes: usize) -> Result<(), Problem> {
    if bytes > IMPORT_BYTES_MAX {
        let what = format!("it has {bytes} bytes, the limit is {IMPORT_BYTES_MAX}");
        return Err(Problem::whole(what));
    }
    Ok(())
}

/// Reads the content of a file. Rows of a table that do not say for which languages they are hold
/// for `pair`; of files with many languages only the terms for `pair` are taken.
///
/// # Errors
/// What is wrong, at most [`PROBLEMS_MAX`] things, in the order of the lines.
pub fn import(format: Format, content: &str, pair: LanguagePair) -> Result<Imported, Vec<Problem>> {
    check_size(content.len()).map_err(|problem| vec![problem])?;
    let content = content.strip_prefix('\u{feff}').unwrap_or(content);
    let mut collector = Collector { pair, ..Collector::default() };
    match format {
        Format::Tsv | Format::Csv => table::read(format, content, &mut collector),
        Format::Tbx => tbx::read(content, &mut collector),
        Format::Tmx => tmx::read(content, &mut collector),
    }
    collector.finish()
}

const FEWER: &str = "name the source and the target language to take fewer";

/// Where the readers put what they find.
#[derive(Default)]
struct Collector {
    glossary: Glossary,
    /// Line of each entry.
    lines: Vec<u64>,
    pair: LanguagePair,
    problems: Vec<Problem>,
    notes: Vec<Problem>,
    n_replaced_more: usize,
    /// Line of the first and number of those left out, by reason.
    left_out: BTreeMap<String, (u64, usize)>,
    n_read: usize,
    is_over: bool,
}

/// The two sides of an entry to be.
struct Sides<'a> {
    source: &'a str,
    target: &'a str,
}

impl Collector {
    fn add(&mut self, line: u64, sides: &Sides<'_>, pair: LanguagePair, is_case_sensitive: bool) {
        let term = match Term::new(sides.source, sides.target) {
            Ok(term) => term,
            Err(error) => return self.problem(line, error.to_string()),
        };
        self.n_read += 1;
        if self.n_read > ENTRIES_READ_MAX {
            self.problem(line, format!("more than {ENTRIES_READ_MAX} entries; {FEWER}"));
            self.is_over = true;
            return;
        }
        match self.glossary.push(GlossaryEntry { term, pair, is_case_sensitive }) {
            Ok(Added::New) => self.lines.push(line),
            Ok(Added::Replaced { index, before }) => self.replaced(line, index, &before),
            Err(error) => {
                self.problem(line, format!("{error}; {FEWER}"));
                self.is_over = true;
            }
        }
    }

    /// Tells of a phrase with two translations; the same one twice is no news.
    fn replaced(&mut self, line: u64, index: usize, before: &GlossaryEntry) {
        let earlier = std::mem::replace(&mut self.lines[index], line);
        let now = &self.glossary.entries()[index].term;
        if before.term.target() == now.target() {
            return;
        }
        if self.notes.len() == PROBLEMS_MAX - 1 {
            self.n_replaced_more += 1;
            return;
        }
        let [source, target, other] =
            [now.source(), now.target(), before.term.target()].map(shorten);
        let what = format!(
            "'{source}' is '{target}' here and '{other}' in line {earlier}; the later one holds"
        );
        self.notes.push(Problem { line, what });
    }

    fn leave_out(&mut self, line: u64, reason: String, count: usize) {
        let is_full = self.left_out.len() >= PROBLEMS_MAX && !self.left_out.contains_key(&reason);
        let reason = if is_full { "other reasons".to_owned() } else { reason };
        self.left_out.entry(reason).or_insert((line, 0)).1 += count;
    }

    fn problem(&mut self, line: u64, what: String) {
        if !self.is_full() {
            self.problems.push(Problem { line, what });
        }
    }

    /// True when reading on would tell nothing new.
    fn is_full(&self) -> bool {
        self.is_over || self.problems.len() >= PROBLEMS_MAX
    }

    fn finish(mut self) -> Result<Imported, Vec<Problem>> {
        if !self.problems.is_empty() {
            return Err(self.problems);
        }
        if self.n_replaced_more > 0 {
            let more = self.n_replaced_more;
            let what = format!("{more} more phrases have two translations; the later one holds");
            self.notes.push(Problem::whole(what));
        }
        let mut left_out: Vec<_> = self.left_out.into_iter().collect();
        left_out.sort_by_key(|(_, (line, _))| *line);
        for (reason, (line, count)) in left_out {
            let what = format!("{count} left out: {reason}");
            self.notes.push(Problem { line, what });
        }
        self.notes.truncate(PROBLEMS_MAX);
        self.glossary.sort();
        Ok(Imported { glossary: self.glossary, notes: self.notes })
    }
}

/// One phrase of a concept or a segment, in one language.
struct Phrase {
    language: Language,
    text: String,
    line: u64,
}

/// The language an element is marked with, or why it is passed over.
fn element_language(tag: Option<&str>) -> Result<Language, String> {
    let tag = tag.ok_or("no language is given (xml:lang)")?;
    Language::parse(tag).map_err(|_| format!("the language '{}' is not supported", shorten(tag)))
}

impl LanguagePair {
    fn takes(self, source: Language, target: Language) -> bool {
        self.source.is_none_or(|wanted| wanted == source)
            && self.target.is_none_or(|wanted| wanted == target)
    }
}

#[cfg(test)]
mod tests;
