//! Glossaries written as TSV or CSV, in a form that [`super::import`] reads back.

use super::import::Format;
use super::import::table::FOUR_COLUMNS;
use super::{Glossary, GlossaryEntry, LanguagePair, shorten};
use crate::language::Language;

/// A glossary that cannot be written in a format.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ExportError {
    /// The format is read only.
    #[error("a glossary cannot be written as {format}; allowed: tsv, csv")]
    ReadOnlyFormat {
        /// What was asked for.
        format: Format,
    },
    /// TSV has no way to write a term that looks like a comment.
    #[error("'{source_phrase}' begins with '#', which is a comment in tsv; write csv")]
    LooksLikeComment {
        /// The phrase, shortened.
        source_phrase: String,
    },
}

/// A written glossary.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exported {
    /// The file.
    pub content: String,
    /// How many terms lost their rule that case must match, for which a table has no place.
    pub n_case_rules_lost: usize,
}

/// Writes terms: with two columns and a header where all hold for one pair, else with four.
///
/// # Errors
/// When the format cannot hold them.
pub fn export(format: Format, glossary: &Glossary) -> Result<Exported, ExportError> {
    let entries = glossary.entries();
    let delimiter = match format {
        Format::Tsv => b'\t',
        Format::Csv => b',',
        Format::Tbx | Format::Tmx => return Err(ExportError::ReadOnlyFormat { format }),
    };
    let is_comment = |entry: &&GlossaryEntry| entry.term.source().starts_with('#');
    if format == Format::Tsv
        && let Some(entry) = entries.iter().find(is_comment)
    {
        let source_phrase = shorten(entry.term.source());
        return Err(ExportError::LooksLikeComment { source_phrase });
    }
    let mut builder = csv::WriterBuilder::new();
    builder.delimiter(delimiter);
    if format == Format::Tsv {
        builder.quote_style(csv::QuoteStyle::Never);
    }
    let mut writer = builder.from_writer(Vec::new());
    let mut write = |row: &[&str]| writer.write_record(row).expect("memory takes every record");
    match common_pair(entries) {
        Some((source, target)) => {
            write(&[source.code(), target.code()]);
            entries.iter().for_each(|e| write(&[e.term.source(), e.term.target()]));
        }
        None => {
            write(&FOUR_COLUMNS);
            for GlossaryEntry { term, pair, .. } in entries {
                write(&[term.source(), term.target(), code(pair.source), code(pair.target)]);
            }
        }
    }
    let bytes = writer.into_inner().expect("memory takes every record");
    let content = String::from_utf8(bytes).expect("only strings were written");
    let n_case_rules_lost = entries.iter().filter(|entry| entry.is_case_sensitive).count();
    Ok(Exported { content, n_case_rules_lost })
}

fn code(language: Option<Language>) -> &'static str {
    language.map_or("*", Language::code)
}

/// The one pair of two languages that all entries hold for.
fn common_pair(entries: &[GlossaryEntry]) -> Option<(Language, Language)> {
    let LanguagePair { source: Some(source), target: Some(target) } = entries.first()?.pair else {
        return None;
    };
    let is_common = entries.iter().all(|entry| entry.pair == entries[0].pair);
    (is_common && source != target).then_some((source, target))
}
