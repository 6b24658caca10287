//! Glossaries from files: TSV and CSV, as DeepL and Google take them.
//!
//! | format | a row |
//! |---|---|
//! | `tsv` | source, tab, target; no quoting |
//! | `csv` | source, comma, target; RFC 4180 quoting |
//!
//! The first row may be a header of two language tags, as in `en,de`; it then says for which
//! languages the terms are. Empty rows and, in TSV, rows that begin with `#` are passed over. A
//! file is taken whole or not at all; what is wrong with it is told by line.

use std::fmt;
use std::str::FromStr;

use super::{Glossary, GlossaryEntry, LanguagePair, Term, shorten};
use crate::language::Language;

/// Largest file. Bytes; the bound of DeepL's glossaries.
pub const IMPORT_BYTES_MAX: usize = 10 << 20;

/// Problems that are told of one file; more only repeat the first.
pub const PROBLEMS_MAX: usize = 20;

/// What a file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Tab-separated values.
    Tsv,
    /// Comma-separated values.
    Csv,
}

/// A format that is none of those known.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("format '{given}' is not known; allowed: tsv, csv")]
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
            _ => Err(UnknownFormat { given: shorten(name) }),
        }
    }
}

/// Something is wrong with a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Line, from 1; 0 for the file as a whole.
    pub line: u64,
    /// What.
    pub what: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => f.write_str(&self.what),
            line => write!(f, "line {line}: {}", self.what),
        }
    }
}

/// Reads the content of a file; `pair` holds where the file does not say for which languages it is.
///
/// # Errors
/// What is wrong, at most [`PROBLEMS_MAX`] things, in the order of the lines.
pub fn import(format: Format, content: &str, pair: LanguagePair) -> Result<Glossary, Vec<Problem>> {
    let whole = |what: String| vec![Problem { line: 0, what }];
    if content.len() > IMPORT_BYTES_MAX {
        let bytes = content.len();
        return Err(whole(format!("it has {bytes} bytes, the limit is {IMPORT_BYTES_MAX}")));
    }
    let content = content.strip_prefix('\u{feff}').unwrap_or(content);
    let mut reader = match format {
        Format::Tsv => csv::ReaderBuilder::new()
            .delimiter(b'\t')
            .quoting(false)
            .comment(Some(b'#'))
            .flexible(true)
            .has_headers(false)
            .from_reader(content.as_bytes()),
        Format::Csv => csv::ReaderBuilder::new()
            .flexible(true)
            .has_headers(false)
            .from_reader(content.as_bytes()),
    };
    let mut import = Import { glossary: Glossary::default(), pair, problems: Vec::new() };
    let mut record = csv::StringRecord::new();
    let mut is_first = true;
    loop {
        match reader.read_record(&mut record) {
            Ok(false) => break,
            Ok(true) => {
                let line = record.position().map_or(0, csv::Position::line);
                import.row(line, &record, is_first);
                is_first = false;
            }
            // The content is UTF-8 and rows may differ in length, so nothing is left to fail.
            Err(error) => import.problem(0, error.to_string()),
        }
        if import.problems.len() >= PROBLEMS_MAX {
            break;
        }
    }
    if import.problems.is_empty() { Ok(import.glossary) } else { Err(import.problems) }
}

struct Import {
    glossary: Glossary,
    pair: LanguagePair,
    problems: Vec<Problem>,
}

impl Import {
    fn row(&mut self, line: u64, record: &csv::StringRecord, is_first: bool) {
        if record.iter().all(|field| field.trim().is_empty()) {
            return;
        }
        let &[source, target] = record.iter().collect::<Vec<_>>().as_slice() else {
            let n_columns = record.len();
            return self.problem(line, format!("{n_columns} columns, expected 2"));
        };
        if is_first && let Some(pair) = header(source, target) {
            self.pair = pair;
            return;
        }
        match Term::new(source, target) {
            Ok(term) => {
                let entry = GlossaryEntry { term, pair: self.pair, is_case_sensitive: false };
                if let Err(error) = self.glossary.insert(entry) {
                    self.problem(line, error.to_string());
                }
            }
            Err(error) => self.problem(line, error.to_string()),
        }
    }

    fn problem(&mut self, line: u64, what: String) {
        self.problems.push(Problem { line, what });
    }
}

/// Two language tags, such as `en` and `de`; anything else is a term.
fn header(source: &str, target: &str) -> Option<LanguagePair> {
    let tag = |tag: &str| Language::parse(tag.trim()).ok();
    let (source, target) = (tag(source)?, tag(target)?);
    (source != target).then_some(LanguagePair { source: Some(source), target: Some(target) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn terms(glossary: &Glossary) -> Vec<(&str, &str)> {
        glossary.entries().iter().map(|e| (e.term.source(), e.term.target())).collect()
    }

    fn problems(format: Format, content: &str) -> Vec<String> {
        let problems = import(format, content, LanguagePair::default()).unwrap_err();
        problems.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn tsv_and_csv_hold_pairs() {
        let tsv = "# hotel\nfront desk\tRezeption\n\n\"quoted\"\tso\n";
        let glossary = import(Format::Tsv, tsv, LanguagePair::default()).unwrap();
        assert_eq!(terms(&glossary), [("front desk", "Rezeption"), ("\"quoted\"", "so")]);
        let csv = "\u{feff}\"desk, front\",Rezeption\r\nlift,Aufzug\r\n";
        let glossary = import(Format::Csv, csv, LanguagePair::default()).unwrap();
        assert_eq!(terms(&glossary), [("desk, front", "Rezeption"), ("lift", "Aufzug")]);
    }

    #[test]
    fn a_header_says_the_languages() {
        let any = LanguagePair::default();
        let glossary = import(Format::Csv, "en,de\nlift,Aufzug\n", any).unwrap();
        let pair = glossary.entries()[0].pair;
        assert_eq!((pair.source, pair.target), (Some(Language::English), Some(Language::German)));
        // Only the first row can be one, and only if both are languages.
        let glossary = import(Format::Csv, "lift,Aufzug\nen,de\n", any).unwrap();
        assert_eq!(glossary.len(), 2);
        let german = LanguagePair { source: None, target: Some(Language::German) };
        let glossary = import(Format::Csv, "lift,Aufzug\n", german).unwrap();
        assert_eq!(glossary.entries()[0].pair, german);
    }

    #[test]
    fn problems_name_their_lines() {
        assert_eq!(
            problems(Format::Tsv, "a\tb\nonly\nx\ty\tz\n\tempty\n"),
            [
                "line 2: 1 columns, expected 2",
                "line 3: 3 columns, expected 2",
                "line 4: has an empty source; to keep a phrase as it is, write it on both sides",
            ]
        );
        assert_eq!(problems(Format::Csv, &"x\n".repeat(100)).len(), PROBLEMS_MAX);
        let long = "a".repeat(IMPORT_BYTES_MAX + 1);
        assert!(problems(Format::Csv, &long)[0].starts_with("it has 10485761 bytes"));
    }

    #[test]
    fn formats_have_names() {
        assert_eq!("TSV".parse(), Ok(Format::Tsv));
        assert!("xlsx".parse::<Format>().unwrap_err().to_string().contains("allowed: tsv, csv"));
    }
}
