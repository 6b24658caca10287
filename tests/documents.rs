//! `hymt translate --file` as a user meets it: the real program with the demo model, on files that look
//! like real ones.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

/// How long a batch may take on the slowest machine that runs this.
const PATIENCE_S: u64 = 120;

/// A folder with one document.
struct Desk {
    folder: TempDir,
    name: &'static str,
}

impl Desk {
    fn new(name: &'static str, source: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(name), source).unwrap();
        Self { folder, name }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.folder.path()).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hymt"));
        command.env_remove("RUST_LOG").env("RUST_BACKTRACE", "1");
        command.current_dir(self.folder.path()).args(["translate", "--file", self.name]);
        command.args(arguments).stdin(Stdio::null());
        command
    }

    fn run(&self, arguments: &[&str]) -> Ended {
        Ended::new(&self.command(arguments).output().unwrap())
    }
}

struct Ended {
    code: Option<i32>,
    out: String,
    err: String,
}

impl Ended {
    fn new(output: &Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let ended = Self {
            code: output.status.code(),
            out: text(&output.stdout),
            err: text(&output.stderr),
        };
        assert!(!ended.err.contains("panicked"), "{}", ended.err);
        ended
    }

    /// Succeeded, and had nothing to say beside the result: no bar either, since nobody watches.
    #[track_caller]
    fn ok(self) -> String {
        assert_eq!((self.code, self.err.as_str()), (Some(0), ""), "{}", self.out);
        self.out
    }

    #[track_caller]
    fn fails(&self, code: i32, words: &[&str]) {
        assert_eq!((self.code, self.out.as_str()), (Some(code), ""), "{}", self.err);
        for word in words {
            assert!(self.err.contains(word), "'{word}' is not in: {}", self.err);
        }
    }
}

#[test]
fn every_format_keeps_what_is_no_text() {
    for (name, source, german) in [
        (
            "note.txt",
            "\u{FEFF}Hello.\r\n\r\n  Please follow me.\r\n",
            "\u{FEFF}Hallo.\r\n\r\n  Bitte folgen Sie mir.\r\n",
        ),
        (
            "guide.md",
            "---\ntitle: x\n---\n# Hello.\n\n- Please follow\n  me.\n- *Thank you.*\n\n```\nHello.\n```\n\n| Hello. | 12 |\n|--|--|\n",
            "---\ntitle: x\n---\n# Hallo.\n\n- Bitte folgen Sie mir.\n- *Danke.*\n\n```\nHello.\n```\n\n| Hallo. | 12 |\n|--|--|\n",
        ),
        (
            "page.html",
            "<html lang=\"en\"><title>Hello.</title><script>'Hello.'</script><p class=a>\n <b>Thank you.</b>\n<p translate=no>Hello.</p><img alt='Please follow me.'></html>\n",
            "<html lang=\"de\"><title>Hallo.</title><script>'Hello.'</script><p class=a>\n <b>Danke.</b>\n<p translate=no>Hello.</p><img alt='Bitte folgen Sie mir.'></html>\n",
        ),
        (
            "film.srt",
            "1\r\n00:00:01,000 --> 00:00:02,000\r\n<i>Where is the\r\ncharging station?</i>\r\n\r\n2\r\n00:00:03,000 --> 00:00:04,000\r\n- Hello.\r\n- Thank you.\r\n",
            "1\r\n00:00:01,000 --> 00:00:02,000\r\n<i>Wo ist die Ladestation?</i>\r\n\r\n2\r\n00:00:03,000 --> 00:00:04,000\r\n- Hallo.\r\n- Danke.\r\n",
        ),
        (
            "film.vtt",
            "WEBVTT\n\nNOTE Hello.\n\na\n00:01.000 --> 00:02.000 line:0\n<v Bob>Thank you.\n",
            "WEBVTT\n\nNOTE Hello.\n\na\n00:01.000 --> 00:02.000 line:0\n<v Bob>Danke.\n",
        ),
        (
            "menu.json",
            "{ \"Hello.\" : [\"Hello.\", 1.0e2],\r\n\t\"b\": \"Thank you.\\n\" }\n",
            "{ \"Hello.\" : [\"Hallo.\", 1.0e2],\r\n\t\"b\": \"Danke.\\n\" }\n",
        ),
        (
            "app.po",
            "msgid \"\"\nmsgstr \"Language: \\n\"\n\n#: a.c:1\nmsgid \"Hello.\"\nmsgstr \"\"\n\nmsgid \"Thank you.\"\nmsgstr \"Merci\"\n",
            "msgid \"\"\nmsgstr \"Language: de\\n\"\n\n#: a.c:1\nmsgid \"Hello.\"\nmsgstr \"Hallo.\"\n\nmsgid \"Thank you.\"\nmsgstr \"Merci\"\n",
        ),
    ] {
        let desk = Desk::new(name, source);
        let said = desk.run(&["--to", "de"]).ok();
        let (stem, extension) = name.split_once('.').unwrap();
        let out = format!("{stem}.de.{extension}");
        assert!(said.starts_with(&format!("{out}: ")), "{said}");
        assert_eq!(desk.read(&out), german, "{name}");
        assert_eq!(desk.read(name), source);
        let mut names = [name.to_owned(), out];
        names.sort();
        assert_eq!(desk.names(), names, "nothing else is left");
    }
}

#[test]
fn several_targets_have_a_file_each() {
    let desk = Desk::new("a.txt", "Hello.\nThank you.\nHello.\n");
    let document: Value =
        serde_json::from_str(&desk.run(&["--to", "de,zh", "--json"]).ok()).unwrap();
    assert_eq!(desk.names(), ["a.de.txt", "a.txt", "a.zh.txt"]);
    assert_eq!(desk.read("a.de.txt"), "Hallo.\nDanke.\nHallo.\n");
    assert!(desk.read("a.zh.txt").starts_with("你好"));
    assert_eq!((&document["units"], &document["source"]), (&3.into(), &"en".into()));
    assert_eq!(document["outputs"][1]["target"], "zh");
    assert_eq!(document["outputs"][1]["translated"], 3);
    // To a folder, and by a name.
    fs::create_dir(desk.path("out")).unwrap();
    desk.run(&["--to", "de", "--out", "out"]).ok();
    desk.run(&["--to", "de,es", "--out", "out/b.txt"]).ok();
    assert_eq!(desk.read("out/a.de.txt"), desk.read("out/b.de.txt"));
    assert!(desk.path("out/b.es.txt").exists());
}

#[test]
fn nothing_is_overwritten_unasked() {
    let desk = Desk::new("a.txt", "Hello.\n");
    fs::write(desk.path("a.de.txt"), "mine").unwrap();
    desk.run(&["--to", "de"]).fails(2, &["'a.de.txt' exists", "--force"]);
    assert_eq!(desk.read("a.de.txt"), "mine");
    desk.run(&["--to", "de", "--out", "a.txt", "--force"]).fails(2, &["'a.txt' is the input"]);
    desk.run(&["--to", "de", "--force"]).ok();
    assert_eq!(desk.read("a.de.txt"), "Hallo.\n");
}

#[test]
fn terms_context_and_pointers_apply() {
    let desk = Desk::new(
        "a.json",
        "{\"a\": {\"t\": \"Where is the charging station?\"}, \"b\": \"Hello.\"}",
    );
    let term = "charging station=Stromtankstelle";
    desk.run(&["--to", "de", "--term", term, "--json-include", "/a/*"]).ok();
    let expected = "{\"a\": {\"t\": \"Wo ist die Stromtankstelle?\"}, \"b\": \"Hello.\"}";
    assert_eq!(desk.read("a.de.json"), expected);
    // What the text before says decides what "it" is.
    let desk = Desk::new("b.txt", "I am looking for a jacket.\nI see it.\n");
    desk.run(&["--to", "de", "--previous", "1"]).ok();
    assert!(desk.read("b.de.txt").ends_with("\nIch sehe sie.\n"), "{}", desk.read("b.de.txt"));
}

#[test]
fn what_fails_stays_and_is_named() {
    // A request may hold no control character.
    let source = "Hello.\nBroken \u{1} text.\n";
    let desk = Desk::new("a.txt", source);
    let ended = desk.run(&["--to", "de", "--json"]);
    assert_eq!(ended.code, Some(1), "{}", ended.err);
    let document: Value = serde_json::from_str(&ended.out).unwrap();
    let failed = document["outputs"][0]["failed"].as_array().unwrap();
    assert_eq!((failed.len(), &failed[0]["line"]), (1, &2.into()), "{document}");
    assert_eq!(desk.read("a.de.txt"), source.replace("Hello.", "Hallo."));
    // What is done is not done again.
    let ended = desk.run(&["--to", "de", "--force"]);
    assert_eq!(ended.code, Some(1));
    assert!(ended.out.contains("0 of 2 texts translated, 1 from an earlier run"), "{}", ended.out);
    assert!(ended.err.contains("hymt: a.txt line 2: de: left as it was"), "{}", ended.err);
}

#[test]
fn damaged_documents_are_refused_with_their_line() {
    let refused = |name, source: &str, words: &[&str]| {
        Desk::new(name, source).run(&["--to", "de"]).fails(1, words);
    };
    refused("a.srt", "1\n00:00:01,000 --> soon\nHello.\n", &["a.srt line 2: expected times"]);
    refused("a.json", "{\"a\": \"b\",\n}", &["a.json line 2: found '}'"]);
    refused("a.po", "msgid \"a\"\n", &["a.po line 1: msgid without msgstr"]);
    let desk = Desk::new("a.docx", "Hello.");
    desk.run(&["--to", "de"]).fails(2, &["'a.docx' says no format", "text, md, html"]);
    desk.run(&["--to", "de", "--format", "word"]).fails(2, &["'word'", "allowed: auto"]);
    fs::write(desk.path("a.docx"), b"Hello.\n\xff").unwrap();
    desk.run(&["--to", "de", "--format", "text"]).fails(1, &["a.docx line 2: not UTF-8"]);
    let desk = Desk::new("a.txt", "Hello.");
    desk.run(&["--to", "de", "--previous", "9"]).fails(2, &["--previous 9", "0 to 8"]);
    desk.run(&["--to", "de", "--json-include", "x"]).fails(2, &["'x' is no JSON pointer"]);
}

/// Texts of [`long_text`].
const LONG: usize = 64;

/// Sentences that the demo model knows, none twice, so that none comes from the cache.
fn long_text() -> String {
    let rooms = (0..LONG).map(|n| format!("Please take the cup to room {n}.\n"));
    rooms.collect()
}

/// Starts a run and waits until something of it is finished.
fn begin(desk: &Desk) -> (std::process::Child, usize) {
    let mut child = desk
        .command(&["--to", "de"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let part = desk.path("a.de.txt.hymt-part");
    for _ in 0..PATIENCE_S * 100 {
        let n_lines = fs::read_to_string(&part).map_or(0, |text| text.lines().count());
        if n_lines > 16 {
            return (child, n_lines - 1);
        }
        assert!(child.try_wait().unwrap().is_none(), "it ended before it could be stopped");
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("nothing was finished in {PATIENCE_S} s");
}

fn resumed(desk: &Desk) -> usize {
    let report: Value = serde_json::from_str(&desk.run(&["--to", "de", "--json"]).ok()).unwrap();
    let output = &report["outputs"][0];
    let count = |name: &str| output[name].as_u64().unwrap() as usize;
    assert_eq!(count("resumed") + count("translated"), LONG);
    count("resumed")
}

#[test]
fn a_run_that_was_killed_goes_on_where_it_was() {
    let desk = Desk::new("a.txt", &long_text());
    let (mut child, n_finished) = begin(&desk);
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(desk.names(), ["a.de.txt.hymt-part", "a.txt"], "no half of an output");
    // The last line may be cut off; that it was is what this makes sure of.
    let mut part = desk.read("a.de.txt.hymt-part");
    part.push_str("{\"unit\": 39");
    fs::write(desk.path("a.de.txt.hymt-part"), part).unwrap();
    let n_resumed = resumed(&desk);
    assert!(
        (n_finished..LONG).contains(&n_resumed),
        "{n_finished} were finished, {n_resumed} taken up"
    );
    assert_eq!(desk.names(), ["a.de.txt", "a.txt"]);
    let in_parts = desk.read("a.de.txt");
    desk.run(&["--to", "de", "--force"]).ok();
    assert_eq!(in_parts, desk.read("a.de.txt"), "the same as in one go");
}

#[cfg(unix)]
#[test]
fn ctrl_c_keeps_what_is_finished() {
    let desk = Desk::new("a.txt", &long_text());
    let (child, n_finished) = begin(&desk);
    let pid = child.id().to_string();
    assert!(Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
    let ended = Ended::new(&child.wait_with_output().unwrap());
    ended.fails(1, &["interrupted", "a.de.txt.hymt-part", "goes on"]);
    assert!(resumed(&desk) >= n_finished);
}

#[test]
fn a_part_of_something_else_is_refused() {
    let desk = Desk::new("a.txt", "Hello.\nThank you.\n");
    let part = desk.path("a.de.txt.hymt-part");
    // A run with a failure leaves its part; this one is made by hand from such a run's first line.
    let (mut child, _) = {
        let long = Desk::new("a.txt", &long_text());
        let begun = begin(&long);
        fs::copy(long.path("a.de.txt.hymt-part"), &part).unwrap();
        begun
    };
    child.kill().unwrap();
    child.wait().unwrap();
    desk.run(&["--to", "de"]).fails(2, &["another document", "--restart begins anew"]);
    assert!(part.exists() && !desk.path("a.de.txt").exists());
    desk.run(&["--to", "de", "--restart"]).ok();
    assert_eq!(desk.read("a.de.txt"), "Hallo.\nDanke.\n");
    fs::write(&part, "not one\n").unwrap();
    desk.run(&["--to", "de", "--force"]).fails(2, &["is none of this program's"]);
    // The same document with other settings.
    let other = Desk::new("a.txt", &long_text());
    let (mut child, _) = begin(&other);
    child.kill().unwrap();
    child.wait().unwrap();
    other
        .run(&["--to", "de", "--term", "room=Saal"])
        .fails(2, &["was begun with term [], not [\"room=Saal\"]", "--restart"]);
}

#[test]
fn paths_are_shown_as_they_were_given() {
    let desk = Desk::new("a.txt", "Hello.");
    let name = Path::new("none.txt");
    let mut command = Command::new(env!("CARGO_BIN_EXE_hymt"));
    command.current_dir(desk.folder.path());
    command.args(["translate", "--to", "de", "--file"]).arg(name).stdin(Stdio::null());
    Ended::new(&command.output().unwrap()).fails(1, &["cannot read 'none.txt'"]);
}
