//! What holds for every importer, whatever it is given.

use hymt_core::glossary::export::export;
use hymt_core::glossary::import::{self, Format, Imported, PROBLEMS_MAX};
use hymt_core::glossary::{LanguagePair, TERM_BYTES_MAX, check, select};
use hymt_core::language::Language;

pub fn holds(format: Format, bytes: &[u8]) {
    let Ok(content) = import::decode(bytes) else { return };
    let _ = Format::sniff(&content);
    let imported = match import::import(format, &content, LanguagePair::default()) {
        Ok(imported) => imported,
        Err(problems) => {
            assert!((1..=PROBLEMS_MAX).contains(&problems.len()));
            let n_lines = content.lines().count() as u64 + 1;
            assert!(problems.iter().all(|p| p.line <= n_lines && !p.what.is_empty()));
            return;
        }
    };
    assert!(imported.notes.len() <= PROBLEMS_MAX);
    survives_a_table(&imported);
    for entry in imported.glossary.entries().iter().take(8) {
        let (source, target) = (entry.term.source(), entry.term.target());
        assert!(source.len() <= TERM_BYTES_MAX && target.len() <= TERM_BYTES_MAX);
        let language = entry.pair.target.unwrap_or(Language::German);
        let found = select(&[&imported.glossary], source, entry.pair.source, language);
        let _ = check(&found.terms, target);
    }
}

/// What was read can be written as a table and read again.
fn survives_a_table(imported: &Imported) {
    for format in [Format::Csv, Format::Tsv] {
        let Ok(written) = export(format, &imported.glossary) else { continue };
        if written.n_case_rules_lost == 0 {
            let again = import::import(format, &written.content, LanguagePair::default());
            assert_eq!(again.expect("it was written by us").glossary, imported.glossary);
        }
    }
}
