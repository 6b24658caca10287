//! `hymt glossary` and `hymt translate --glossary` as a user meets them: docs/glossaries.md shows
//! the files that are written here.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

/// The examples of docs/glossaries.md, by file name.
fn examples() -> Vec<(String, String)> {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/glossaries.md");
    let page = fs::read_to_string(page).unwrap();
    let mut files = Vec::new();
    let mut parts = page.split("<!-- file: ").skip(1);
    for part in parts.by_ref() {
        let (name, rest) = part.split_once(" -->\n```").unwrap();
        let (_, rest) = rest.split_once('\n').unwrap();
        let (content, _) = rest.split_once("```").unwrap();
        // A tab does not survive every editor, so the page shows it as an arrow.
        files.push((name.to_owned(), content.replace('→', "\t")));
    }
    assert_eq!(files.len(), 6, "one example a format and shape");
    files
}

struct Ended {
    code: Option<i32>,
    out: String,
    err: String,
}

fn hymt(folder: &Path, arguments: &[&str]) -> Ended {
    let output = Command::new(env!("CARGO_BIN_EXE_hymt"))
        .args(arguments)
        .current_dir(folder)
        .env("NO_COLOR", "1")
        .output()
        .unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Ended { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
}

fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, content) in examples() {
        fs::write(folder.path().join(name), content).unwrap();
    }
    folder
}

#[test]
fn check_counts_entries_and_tells_problems_by_line() {
    let folder = folder();
    let ended = hymt(folder.path(), &["glossary", "check", "hotel.tsv", "museum.tbx"]);
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    assert_eq!(
        ended.out,
        "hotel.tsv: 2 entries\n  en>de            2\n\
         museum.tbx: 4 entries\n  de>en            1\n  en>de            3\n  \
         museum.tbx line 17: 1 left out: the language 'fi' is not supported\n"
    );
    fs::write(folder.path().join("bad.tsv"), "a\tb\nonly\n\tx\n").unwrap();
    let ended = hymt(folder.path(), &["glossary", "check", "bad.tsv", "hotel.tsv", "no.csv"]);
    assert_eq!(ended.code, Some(1));
    assert!(ended.out.starts_with("bad.tsv line 2: 1 columns, expected 2\nbad.tsv line 3: has an"));
    assert!(ended.out.contains("hotel.tsv: 2 entries") && ended.out.contains("no.csv: cannot be"));
    let ended = hymt(folder.path(), &["glossary", "check", "--json", "memory.tmx", "bad.tsv"]);
    let document: Value = serde_json::from_str(&ended.out).unwrap();
    assert_eq!(document["files"][0]["entries"], json!({ "en>de": 1 }));
    let note = document["files"][0]["notes"][0].as_str().unwrap();
    assert!(note.contains("2 left out: a segment that ends like a sentence"), "{note}");
    assert_eq!(document["files"][1]["problems"].as_array().unwrap().len(), 2);
}

#[test]
fn convert_writes_tables_that_are_read_again() {
    let folder = folder();
    let all = ["hotel.tsv", "rooms.csv", "deepl.csv", "languages.csv", "museum.tbx", "memory.tmx"];
    for file in all {
        let ended = hymt(folder.path(), &["glossary", "convert", "--json", file, "out.csv"]);
        assert_eq!(ended.code, Some(0), "{file}: {}", ended.err);
        let written: Value = serde_json::from_str(&ended.out).unwrap();
        let ended = hymt(folder.path(), &["glossary", "check", "--json", "out.csv"]);
        let read: Value = serde_json::from_str(&ended.out).unwrap();
        assert_eq!(read["files"][0]["entries"], written["entries"], "{file}");
    }
    let one = ["glossary", "convert", "--to", "fr", "languages.csv", "fr.tsv"];
    assert_eq!(hymt(folder.path(), &one).code, Some(0));
    let written = fs::read_to_string(folder.path().join("fr.tsv")).unwrap();
    assert!(
        written.contains("lift\tascenseur\ten\tfr\n") && !written.contains("\tde\n"),
        "{written}"
    );
    let ended = hymt(folder.path(), &["glossary", "convert", "hotel.tsv", "hotel.xlsx"]);
    assert_eq!(ended.code, Some(2), "{}", ended.err);
    assert!(ended.err.contains("written as tsv or csv"), "{}", ended.err);
}

#[test]
fn convert_never_writes_over_what_it_reads() {
    let folder = folder();
    let path = folder.path().join("languages.csv");
    let before = fs::read_to_string(&path).unwrap();
    // With one language only, the others would be gone.
    for out in ["languages.csv", "./languages.csv"] {
        let convert = ["glossary", "convert", "--to", "fr", "languages.csv", out];
        let ended = hymt(folder.path(), &convert);
        assert_eq!(ended.code, Some(2), "{}", ended.err);
        assert!(ended.err.contains("is the input"), "{}", ended.err);
        assert_eq!(fs::read_to_string(&path).unwrap(), before);
    }
}

/// The scripted engine echoes the text, so the term is sent and reported as missed.
#[test]
fn translate_takes_glossary_files() {
    let folder = folder();
    let translate = ["translate", "--engine", "scripted", "--to", "de", "--json"];
    let with = |rest: &[&'static str]| hymt(folder.path(), &[&translate, rest].concat());
    let ended = with(&["--glossary", "hotel.tsv", "Where is the front desk?"]);
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    let document: Value = serde_json::from_str(&ended.out).unwrap();
    let result = &document["results"][0]["translations"][0];
    assert_eq!(result["glossary_missed"], json!(["front desk=Rezeption"]));
    fs::write(folder.path().join("bad.tsv"), "lift\n").unwrap();
    let ended = with(&["--glossary", "bad.tsv", "lift"]);
    assert_eq!((ended.code, ended.out.as_str()), (Some(1), ""));
    assert_eq!(ended.err, "hymt: error: bad.tsv line 1: 1 columns, expected 2\n");
}
