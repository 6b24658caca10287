//! Whole documents of every format, whatever their bytes: no panic, and nothing translated is nothing
//! changed.
#![no_main]

use hymt_core::document::{Document, DocumentFormat, ParseOptions};
use hymt_core::language::Language;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &str| {
    // The first character chooses the format.
    let mut chars = input.chars();
    let Some(first) = chars.next() else { return };
    let (choice, source) = (first as usize, chars.as_str());
    let format = DocumentFormat::ALL[choice % DocumentFormat::ALL.len()];
    let options =
        ParseOptions { po_overwrite: choice.is_multiple_of(2), ..ParseOptions::default() };
    let Ok(document) = Document::parse(format, source, &options) else { return };
    assert_eq!(document.render::<&str>(&[], None).text, source);
    let units = document.units();
    if format != DocumentFormat::Po {
        let own: Vec<_> = units.iter().map(|unit| Some(&unit.text)).collect();
        assert_eq!(document.render(&own, None).text, source);
    }
    // Another text in each place; a format that is written strictly must be read again.
    let others: Vec<_> = units.iter().map(|unit| Some(unit.text.to_uppercase())).collect();
    let rendered = document.render(&others, Some(Language::Arabic)).text;
    if matches!(format, DocumentFormat::Json | DocumentFormat::Po | DocumentFormat::Srt) {
        Document::parse(format, &rendered, &options).expect("it was written by us");
    }
});
