//! A glossary file in the format csv, from outside.
#![no_main]

#[path = "shared/import.rs"]
mod import;

use hymt_core::glossary::import::Format;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| import::holds(Format::Csv, bytes));
