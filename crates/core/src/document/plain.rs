//! Plain text: paragraphs whose lines were wrapped are one unit and are wrapped again; any other line is a
//! unit of its own.

use std::ops::Range;

use super::DocumentError;
use super::inline::Inline;
use super::layout::width;
use super::unit::{Found, Shape, bom_len, lines};

/// Columns that a paragraph must have been wrapped at: narrower is a poem or a list, wider is
/// one line for each paragraph.
const WRAP_COLUMNS: std::ops::RangeInclusive<usize> = 40..=140;

pub(super) fn find(found: &mut Found<'_>) -> Result<(), DocumentError> {
    let source = found.source;
    let bom = bom_len(source);
    let mut paragraph: Vec<Range<usize>> = Vec::new();
    for line in lines(source) {
        let line = line.start.max(bom)..line.end;
        if source[line.clone()].trim().is_empty() {
            flush(found, &mut paragraph)?;
        } else {
            paragraph.push(line);
        }
    }
    flush(found, &mut paragraph)
}

fn flush(found: &mut Found<'_>, paragraph: &mut Vec<Range<usize>>) -> Result<(), DocumentError> {
    let lines = std::mem::take(paragraph);
    if let Some(columns) = wrapped_at(found.source, &lines) {
        return wrapped(found, &lines, columns);
    }
    lines.into_iter().try_for_each(|line| found.push_range(line, Shape::Line).map(drop))
}

/// The width that a paragraph was wrapped at: every line is as long as it can be, so that the first word
/// of the next did not fit. `None` when some line ended early.
fn wrapped_at(source: &str, lines: &[Range<usize>]) -> Option<usize> {
    let texts: Vec<&str> = lines.iter().map(|line| source[line.clone()].trim_end()).collect();
    let columns = texts.iter().map(|line| width(line)).max()?;
    let is_full = |pair: &[&str]| {
        let word = pair[1].split_whitespace().next().unwrap_or_default();
        width(pair[0]) + 1 + width(word) > columns && !begins_item(pair[1].trim_start())
    };
    let is_even = texts[1..].windows(2).all(|pair| indent_len(pair[0]) == indent_len(pair[1]));
    let is_wrapped = WRAP_COLUMNS.contains(&columns) && is_even && texts.windows(2).all(is_full);
    (texts.len() > 1 && is_wrapped).then_some(columns)
}

fn begins_item(line: &str) -> bool {
    let digits = line.bytes().take_while(u8::is_ascii_digit).count();
    let is_mark = |rest: &str| rest.starts_with(' ');
    match line.chars().next() {
        Some('-' | '*' | '+' | '>' | '|' | '#') => is_mark(&line[1..]),
        Some('•') => true,
        _ => digits > 0 && line[digits..].starts_with(['.', ')']) && is_mark(&line[digits + 1..]),
    }
}

fn indent_len(line: &str) -> usize {
    line.len() - line.trim_start_matches([' ', '\t', '\u{3000}']).len()
}

fn wrapped(
    found: &mut Found<'_>,
    lines: &[Range<usize>],
    columns: usize,
) -> Result<(), DocumentError> {
    let source = found.source;
    let text = lines.iter().map(|line| source[line.clone()].trim()).collect::<Vec<_>>().join(" ");
    if !text.contains(char::is_alphabetic) {
        return Ok(());
    }
    let (first, last) = (&lines[0], &lines[lines.len() - 1]);
    let end = last.start + source[last.clone()].trim_end().len();
    let start = first.start + (first.len() - source[first.clone()].trim_start().len());
    let indent = (lines[1].start, indent_len(&source[lines[1].clone()]));
    let columns = columns - width(&source[indent.0..indent.0 + indent.1]);
    let inline = Inline { text, tags: Vec::new(), range: start..end };
    found.push(inline, Shape::Wrapped { columns, indent }).map(drop)
}
