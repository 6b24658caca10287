//! TSV and CSV.
//!
//! TSV has no quoting, and rows that begin with `#` are passed over; CSV is quoted by RFC 4180. Empty
//! rows are passed over in both. The first row decides the shape:
//!
//! | first row | the rows after it |
//! |---|---|
//! | `en,de` (two languages) | source, target, for these languages |
//! | `en,de,fr` (more languages) | a set of equivalents (Google); every one translates every other |
//! | `source,target,source_lang,target_lang` | four columns |
//! | anything else | it is a row itself: source, target, or source, target, source language, target language (DeepL) |
//!
//! A set may also have the columns `pos` and `description`, which are passed over, and empty cells.
//! In four columns an empty language or `*` is any language.

use super::{Collector, Format, LanguagePair, Sides};
use crate::language::Language;

/// Most columns of a set of equivalents: every language and the two that are passed over.
pub const COLUMNS_MAX: usize = 40;

/// The header that says there are four columns.
pub const FOUR_COLUMNS: [&str; 4] = ["source", "target", "source_lang", "target_lang"];

/// What the first row says about the others.
enum Shape {
    Pairs,
    FourColumns,
    /// Language of each column; `None` for one that is passed over.
    Set(Vec<Option<Language>>),
}

pub(super) fn read(format: Format, content: &str, collector: &mut Collector) {
    let mut builder = csv::ReaderBuilder::new();
    builder.flexible(true).has_headers(false);
    if format == Format::Tsv {
        builder.delimiter(b'\t').quoting(false).comment(Some(b'#'));
    }
    let mut reader = builder.from_reader(content.as_bytes());
    let mut record = csv::StringRecord::new();
    let mut shape = None;
    while !collector.is_full() {
        match reader.read_record(&mut record) {
            Ok(false) => break,
            Ok(true) if record.iter().all(|field| field.trim().is_empty()) => {}
            Ok(true) => {
                let line = record.position().map_or(0, csv::Position::line);
                let fields: Vec<&str> = record.iter().map(str::trim).collect();
                if let Some(shape) = &shape {
                    row(line, &fields, shape, collector);
                } else {
                    shape = Some(first_row(line, &fields, collector));
                }
            }
            // The content is UTF-8 and rows may differ in length, so nothing is left to fail.
            Err(error) => collector.problem(0, error.to_string()),
        }
    }
}

fn first_row(line: u64, fields: &[&str], collector: &mut Collector) -> Shape {
    if let Some(shape) = header(fields) {
        if let Shape::Set(columns) = &shape
            && let &[Some(source), Some(target)] = columns.as_slice()
        {
            collector.pair = LanguagePair { source: Some(source), target: Some(target) };
            return Shape::Pairs;
        }
        return shape;
    }
    row(line, fields, &Shape::Pairs, collector);
    Shape::Pairs
}

fn header(fields: &[&str]) -> Option<Shape> {
    if fields.len() == 4 && fields.iter().zip(FOUR_COLUMNS).all(|(f, n)| f.eq_ignore_ascii_case(n))
    {
        return Some(Shape::FourColumns);
    }
    if fields.len() < 2 || fields.len() > COLUMNS_MAX {
        return None;
    }
    let mut columns = Vec::with_capacity(fields.len());
    for field in fields {
        let is_passed_over = fields.len() > 2
            && ["pos", "description"].iter().any(|n| field.eq_ignore_ascii_case(n));
        let column = if is_passed_over { None } else { Some(language_code(field)?) };
        if column.is_some() && columns.contains(&column) {
            return None;
        }
        columns.push(column);
    }
    (columns.iter().flatten().count() >= 2).then_some(Shape::Set(columns))
}

/// A language by its code. Names do not count: "French" and "German" are words of a glossary too.
fn language_code(field: &str) -> Option<Language> {
    let primary = field.split(['-', '_']).next().unwrap_or_default();
    let is_code = matches!(primary.len(), 2 | 3) && field.is_ascii();
    is_code.then(|| Language::parse(field).ok()).flatten()
}

fn row(line: u64, fields: &[&str], shape: &Shape, collector: &mut Collector) {
    let n_columns = fields.len();
    match (shape, fields) {
        (Shape::Pairs, &[source, target]) => {
            let pair = collector.pair;
            collector.add(line, &Sides { source, target }, pair, false);
        }
        (Shape::Pairs | Shape::FourColumns, &[source, target, from, to]) => {
            match (any_or_language(from), any_or_language(to)) {
                (Ok(from), Ok(to)) => {
                    let pair = LanguagePair { source: from, target: to };
                    collector.add(line, &Sides { source, target }, pair, false);
                }
                (Err(error), _) | (_, Err(error)) => collector.problem(line, error),
            }
        }
        (Shape::Pairs, _) => {
            collector.problem(line, format!("{n_columns} columns, expected 2"));
        }
        (Shape::FourColumns, _) => {
            collector.problem(line, format!("{n_columns} columns, expected 4"));
        }
        (Shape::Set(columns), _) if columns.len() == n_columns => {
            set(line, fields, columns, collector);
        }
        (Shape::Set(columns), _) => {
            let expected = columns.len();
            collector.problem(line, format!("{n_columns} columns, expected {expected}"));
        }
    }
}

fn any_or_language(tag: &str) -> Result<Option<Language>, String> {
    match tag {
        "" | "*" => Ok(None),
        tag => Language::parse(tag).map(Some).map_err(|error| format!("a language {error}")),
    }
}

/// Every phrase of the row translates every other.
fn set(line: u64, fields: &[&str], columns: &[Option<Language>], collector: &mut Collector) {
    let phrases: Vec<(Language, &str)> = columns
        .iter()
        .zip(fields)
        .filter_map(|(language, field)| Some((*language.as_ref()?, *field)))
        .filter(|(_, field)| !field.is_empty())
        .collect();
    for (from, source) in &phrases {
        for (to, target) in &phrases {
            if from != to && collector.pair.takes(*from, *to) && !collector.is_full() {
                let pair = LanguagePair { source: Some(*from), target: Some(*to) };
                collector.add(line, &Sides { source, target }, pair, false);
            }
        }
    }
}
