//! Test sets: texts with a reference translation, as JSON lines or as tab-separated columns.

use hymt_core::language::Language;
use serde::Deserialize;

/// The set that is used when none is named: the demo model's held-out sentences, six languages.
pub const DEMO_SET: &str = include_str!("../../models/demo/heldout_small.jsonl");
/// Most rows of a set.
pub const ROWS_MAX: usize = 100_000;
/// Most characters of a text or of its reference.
pub const TEXT_CHARS_MAX: usize = 20_000;
/// Most terms, and most parts to keep, of one row.
pub const TERMS_MAX: usize = 100;

/// One text with what is expected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Language of the text.
    pub source: Language,
    /// Language to translate into.
    pub target: Language,
    /// The text.
    pub text: String,
    /// How a person translated it.
    pub reference: String,
    /// Terms to use, source and target.
    pub terms: Vec<(String, String)>,
    /// Text that helps and is not translated; may be empty.
    pub context: String,
    /// What must stand in the translation letter for letter, beside what the text itself tells
    /// (tags, code, links, placeholders).
    pub keep: Vec<String>,
}

/// A line that is not a row.
#[derive(Debug, thiserror::Error)]
#[error("line {line}: {problem}")]
pub struct RowError {
    /// Which line, from 1.
    pub line: usize,
    /// What is wrong and what is allowed.
    pub problem: String,
}

/// Reads a set; blank lines are skipped. A line that begins with `{` is JSON, any other is
/// `source<TAB>target<TAB>text<TAB>reference[<TAB>term=translation;...[<TAB>context]]`.
///
/// # Errors
/// The first line that is neither, or that is out of bounds.
pub fn parse(content: &str) -> Result<Vec<Row>, RowError> {
    let mut rows = Vec::new();
    let lines = content.strip_prefix('\u{feff}').unwrap_or(content).lines();
    for (line, text) in (1..).zip(lines).filter(|(_, text)| !text.trim().is_empty()) {
        let error = |problem| RowError { line, problem };
        if rows.len() == ROWS_MAX {
            return Err(error(format!("more than {ROWS_MAX} rows; split the set")));
        }
        let row = if text.trim_start().starts_with('{') { json(text) } else { columns(text) };
        rows.push(row.and_then(checked).map_err(error)?);
    }
    Ok(rows)
}

/// A line of JSON.
#[derive(Debug, Deserialize)]
struct JsonRow {
    source: String,
    target: String,
    text: String,
    reference: String,
    #[serde(default)]
    terms: Vec<(String, String)>,
    #[serde(default)]
    context: Option<String>,
    #[serde(default)]
    keep: Vec<String>,
}

fn json(line: &str) -> Result<Row, String> {
    let row: JsonRow = serde_json::from_str(line).map_err(|error| {
        format!("{error}; a row has source, target, text, reference, maybe terms, context, keep")
    })?;
    Ok(Row {
        source: language(&row.source)?,
        target: language(&row.target)?,
        text: row.text,
        reference: row.reference,
        terms: row.terms,
        context: row.context.unwrap_or_default(),
        keep: row.keep,
    })
}

fn columns(line: &str) -> Result<Row, String> {
    let columns: Vec<_> = line.split('\t').collect();
    let (source, target, text, reference) = match columns[..] {
        [source, target, text, reference] => (source, target, text, reference),
        [source, target, text, reference, _] => (source, target, text, reference),
        [source, target, text, reference, _, _] => (source, target, text, reference),
        _ => return Err(format!("{} columns; a row has 4 to 6", columns.len())),
    };
    let terms = columns.get(4).copied().unwrap_or_default().split(';');
    let terms = terms.map(str::trim).filter(|term| !term.is_empty()).map(|term| {
        let pair = term.split_once('=').ok_or_else(|| format!("the term '{term}' has no '='"))?;
        Ok((pair.0.trim().to_owned(), pair.1.trim().to_owned()))
    });
    Ok(Row {
        source: language(source)?,
        target: language(target)?,
        text: text.to_owned(),
        reference: reference.to_owned(),
        terms: terms.collect::<Result<_, String>>()?,
        context: columns.get(5).copied().unwrap_or_default().to_owned(),
        keep: Vec::new(),
    })
}

fn language(tag: &str) -> Result<Language, String> {
    Language::parse(tag.trim()).map_err(|error| error.to_string())
}

fn checked(row: Row) -> Result<Row, String> {
    for (name, text) in [("text", &row.text), ("reference", &row.reference)] {
        if text.chars().nth(TEXT_CHARS_MAX).is_some() {
            return Err(format!("the {name} has more than {TEXT_CHARS_MAX} characters"));
        }
        if text.trim().is_empty() {
            return Err(format!("the {name} is empty"));
        }
    }
    for (name, n) in [("terms", row.terms.len()), ("parts to keep", row.keep.len())] {
        if n > TERMS_MAX {
            return Err(format!("{n} {name}; at most {TERMS_MAX}"));
        }
    }
    Ok(row)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_set_we_ship_is_one() {
        let rows = parse(DEMO_SET).unwrap();
        assert_eq!(rows.len(), 460);
        assert!(rows.iter().any(|row| !row.terms.is_empty()));
        assert!(rows.iter().any(|row| !row.context.is_empty()));
    }

    #[test]
    fn json_and_columns_mean_the_same() {
        let json = r#"{"source":"en","target":"de","text":"a","reference":"b","terms":[["x","y"]],"context":"c"}"#;
        let columns = "en\tde\ta\tb\t x = y ;\tc";
        assert_eq!(parse(json).unwrap(), parse(columns).unwrap());
        assert_eq!(parse("\u{feff}\n\nen\tde\ta\tb\n").unwrap().len(), 1);
    }

    #[test]
    fn a_bad_line_is_named() {
        let long = format!("en\tde\t{}\tb", "a".repeat(TEXT_CHARS_MAX + 1));
        for (line, word) in [
            ("en\tde\ta", "3 columns"),
            ("en\txx\ta\tb", "xx"),
            ("en\tde\ta\tb\tterm", "no '='"),
            ("en\tde\t \tb", "the text is empty"),
            ("{\"source\":1}", "source"),
            (&long, "20000"),
        ] {
            let error = parse(&format!("en\tde\ta\tb\n{line}\n")).unwrap_err().to_string();
            assert!(error.starts_with("line 2: ") && error.contains(word), "{error}");
        }
    }
}
