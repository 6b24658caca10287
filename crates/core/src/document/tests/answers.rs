//! Laws over what a model may answer: nothing of an answer is lost or read as anything but text.

use proptest::prelude::*;

use super::*;
use DocumentFormat::{Html, Json, Markdown, Po, Srt, Vtt};

/// Documents with the text `HERE`, which is a unit of its own.
const PLACES: &[(DocumentFormat, &str)] = &[
    (Markdown, "# HERE\n\nafter\n"),
    (Markdown, "HERE\n===\n\nafter\n"),
    (Markdown, "before\n\nHERE\n\nafter\n"),
    (Markdown, "- one\n- HERE\n  - three\n"),
    (Markdown, "> HERE\n> - x\n"),
    (Markdown, "| a | b |\n|---|---|\n| HERE | c |\n"),
    (Markdown, "Term\n: HERE\n"),
    (Html, "<p>HERE</p><p>after"),
    (Html, "<title>HERE</title><p>after"),
    (Html, "<img alt=HERE><p>after"),
    (Html, "<img alt='HERE'><p>after"),
    (Html, "<img alt=\"HERE\"><p>after"),
    (Srt, "1\n00:00:01,000 --> 00:00:02,000\nHERE\n\n2\n00:00:03,000 --> 00:00:04,000\nafter\n"),
    (Srt, "1\n00:00:01,000 --> 00:00:02,000\n- HERE\n2\n00:00:03,000 --> 00:00:04,000\nafter\n"),
    (Vtt, "WEBVTT\n\n1\n00:01.000 --> 00:02.000\nHERE\n\n00:03.000 --> 00:04.000\nafter\n"),
    (Json, "{\"a\": \"HERE\", \"b\": \"after\"}"),
    (Po, "msgid \"HERE\"\nmsgstr \"\"\n\nmsgid \"after\"\nmsgstr \"\"\n"),
];

const NASTY: &[&str] = &[
    "word",
    "zwei",
    " ",
    " ",
    "\n",
    "\n\n",
    "\r",
    "#",
    "##",
    "-",
    "--",
    "-->",
    "*",
    "**",
    "_",
    "~",
    "~~",
    "`",
    "``",
    "[",
    "]",
    "(u)",
    "![",
    "<",
    ">",
    "<b>",
    "</b>",
    "<script>",
    "</title>",
    "</p>",
    "<!--",
    "&",
    "&amp;",
    "&lt;",
    "&#60;",
    "\"",
    "'",
    "\\",
    "\\n",
    "|",
    ":",
    "=",
    "===",
    "+",
    "1.",
    "2)",
    "{#id}",
    "{\\an8}",
    "<i>",
    "http://a.b",
    "$",
    "字",
    "。",
    "\t",
    "00:00:05,000",
    "12",
    "WEBVTT",
    "NOTE",
];

fn any_answer() -> impl Strategy<Value = String> {
    let pieces = || prop::collection::vec(prop::sample::select(NASTY), 0..6);
    (pieces(), pieces()).prop_map(|(before, behind)| before.concat() + "w" + &behind.concat())
}

fn squeezed(text: &str) -> String {
    text.split_whitespace().collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn an_answer_is_read_back_as_it_was((format, source) in prop::sample::select(PLACES), answer in any_answer()) {
        let document = parse(format, source);
        let index = document.units().iter().position(|unit| unit.text == "HERE").unwrap();
        let mut answers = vec![None; document.units().len()];
        answers[index] = Some(answer.as_str());
        let rendered = document.render(&answers, None);
        if !rendered.misfits.is_empty() {
            prop_assert_eq!(&rendered.text, source);
            return Ok(());
        }
        let options = ParseOptions { po_overwrite: true, ..ParseOptions::default() };
        let again = Document::parse(format, &rendered.text, &options);
        prop_assert!(again.is_ok(), "{:?}: {:?}", rendered.text, again);
        let again = again.unwrap();
        if format == Srt {
            // Of an answer whose words were in tags there is no unit any more.
            prop_assert_eq!(&again.units().last().unwrap().text, "after");
            prop_assert_eq!(rendered.text.matches("-->").count(), 2, "{:?}", rendered.text);
            return Ok(());
        }
        let n_units = document.units().len();
        prop_assert_eq!(again.units().len(), n_units, "{:?}", rendered.text);
        if matches!(format, Markdown | Html | Json) {
            // What a '<' stands for is a mark in the unit.
            let wanted = squeezed(&answer).replace('<', "");
            let found = squeezed(&again.units()[index].text);
            let found = (1..40).fold(found, |text, n| text.replace(&format!("<x{n}/>"), "")).replace('<', "");
            prop_assert_eq!(found, wanted, "{:?}", rendered.text);
        }
    }
}
