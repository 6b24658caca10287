//! Glossary lines and the texts they are looked for in, both from outside.
#![no_main]

use hymt_core::glossary::{self, Glossary, GlossaryEntry};
use hymt_core::language::Language;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &str| {
    // The last line is the text, the lines before it are terms.
    let (lines, text) = input.rsplit_once('\n').unwrap_or((input, input));
    let mut terms = Glossary::default();
    for line in lines.split('\n') {
        let Ok(entry) = GlossaryEntry::parse(line) else { continue };
        // What parses can be written and read again.
        let again = GlossaryEntry::parse(&entry.term.to_string()).expect("it was written by us");
        assert_eq!(again.term, entry.term);
        if terms.insert(entry).is_err() {
            break;
        }
    }
    let found = glossary::select(&[&terms], text, None, Language::German);
    assert!(found.terms.len() <= glossary::TERMS_PER_PROMPT_MAX);
    let report = glossary::check(&found.terms, text);
    assert_eq!(report.applied.len() + report.missed.len(), found.terms.len());
});
