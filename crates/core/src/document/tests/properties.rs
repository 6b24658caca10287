//! Laws over random documents, whole and damaged, against what we did not write where there is such.

use std::cell::RefCell;

use html5ever::tendril::StrTendril;
use html5ever::tokenizer::states::RawKind;
use html5ever::tokenizer::{
    BufferQueue, TagKind, Token, TokenSink, TokenSinkResult, Tokenizer, TokenizerOpts,
};
use proptest::prelude::*;
use pulldown_cmark::{Event, Tag, TagEnd};
use serde_json::Value;

use super::*;
use DocumentFormat::{Html, Json, Markdown, Po, Srt, Text, Vtt};

/// Pieces that documents of a format are made of, and some that damage them.
fn pieces(format: DocumentFormat) -> &'static [&'static str] {
    match format {
        Text => &[
            "word ",
            "a longer line of plain words ",
            "\n",
            "\r\n",
            "\n\n",
            "  ",
            "- ",
            "1. ",
            "字，",
            "\u{FEFF}",
            "\t",
            "<g1>",
        ],
        Markdown => &[
            "word ",
            "Two words",
            "\n",
            "\n\n",
            "\r\n",
            "# ",
            "## ",
            "> ",
            "- ",
            "1. ",
            "   ",
            "    ",
            "\t",
            "*",
            "**",
            "_",
            "~~",
            "`",
            "```\n",
            "[",
            "]",
            "](u)",
            "][r]",
            "[]",
            "![",
            "\n[r]: x\n",
            "[^1]",
            "\n[^1]: ",
            "<b>",
            "</b>",
            "<kbd>",
            "</kbd>",
            "<br/>",
            "<div>\n",
            "<http://a.b>",
            "&amp;",
            "&lt;",
            "\\",
            "\\*",
            "| ",
            "|a|b|\n|-|-|\n",
            "---\n",
            "===\n",
            "  \n",
            "- [ ] ",
            ": ",
            "$",
            "字",
            "。",
            "<",
            "<!-- c -->",
            "{#id}",
            "\u{FEFF}",
            "<x1/>",
        ],
        Html => &[
            "word ",
            "Two words",
            "\n",
            "\r\n",
            "  ",
            "<p>",
            "</p>",
            "<b>",
            "</b>",
            "<i class='x'>",
            "</i>",
            "<a href=\"u\" title='T t'>",
            "</a>",
            "<br>",
            "<br/>",
            "<img alt=\"A b\" src=x>",
            "<img alt=Word>",
            "<code>",
            "</code>",
            "<pre>",
            "</pre>",
            "<script>",
            "</script>",
            "<style>",
            "</style>",
            "<!-- c -->",
            "<!--",
            "-->",
            "&amp;",
            "&lt;",
            "&nbsp;",
            "&copy",
            "&",
            "<",
            ">",
            "\"",
            "<span translate=no>",
            "<span>",
            "</span>",
            "<li>",
            "<title>",
            "</title>",
            "<textarea>",
            "<html lang=en dir='ltr'>",
            "<svg>",
            "</svg>",
            "<![CDATA[",
            "]]>",
            "<?php",
            "字",
            "\u{FEFF}",
            "\0",
            "<g1>",
            "<x1/>",
        ],
        Srt => &[
            "1\n",
            "12\r\n",
            "00:00:01,000 --> 00:00:02,000\n",
            "00:01.5 --> 00:02.5 X1\r\n",
            "word ",
            "Two words.\n",
            "\n",
            "\r\n",
            "- Who?\n",
            "<i>",
            "</i>",
            "{\\an8}",
            "<font color=\"red\">",
            "</font>",
            "字。",
            "\u{FEFF}",
            "<",
            "42\n",
            "<g1>",
            "<x1/>",
        ],
        Vtt => &[
            "WEBVTT\n\n",
            "00:00:01.000 --> 00:00:02.000\n",
            "00:01.5 --> 00:02.5 line:0\r\n",
            "word ",
            "Two words.\n",
            "\n",
            "\n\n",
            "\r\n\r\n",
            "- Who?\n",
            "<i>",
            "</i>",
            "<v Bob>",
            "<c.x>",
            "</c>",
            "<00:01.000>",
            "&amp;",
            "&lt;",
            "NOTE ",
            "STYLE\n",
            "id\n",
            "字。",
            "&nbsp;",
            "<g1>",
        ],
        Json => &[
            "{",
            "}",
            "[",
            "]",
            "\"a b\"",
            "\"key\"",
            ":",
            ",",
            " ",
            "\n",
            "1.5e3",
            "true",
            "null",
            "\"\\n x \\u00e9\"",
            "\"\\ud83d\\ude00x\"",
            "\"\\ud800\"",
            "\\",
            "字",
        ],
        Po => &[
            "msgid \"a b\"\n",
            "msgid \"\"\n",
            "msgid_plural \"%d xs\"\n",
            "msgstr \"\"\n",
            "msgstr \"x\"\r\n",
            "msgstr[0] \"\"\n",
            "msgstr[1] \"\"\n",
            "msgctxt \"c\"\n",
            "\"more\\n\"\n",
            "#, fuzzy\n",
            "#, c-format, fuzzy\n",
            "#. note\n",
            "#: a.c:1\n",
            "#| msgid \"o\"\n",
            "#~ msgid \"g\"\n",
            "\n",
            "\r\n",
            "\"Language: xx\\n\"\n",
            "\"Plural-Forms: nplurals=3; plural=0;\\n\"\n",
            "字\n",
        ],
    }
}

fn any_document(format: DocumentFormat) -> impl Strategy<Value = String> {
    let lead = match format {
        Vtt => "WEBVTT\n\n",
        _ => "",
    };
    prop::collection::vec(prop::sample::select(pieces(format)), 0..40)
        .prop_map(move |pieces| lead.to_owned() + &pieces.concat())
}

fn any_format() -> impl Strategy<Value = DocumentFormat> {
    prop::sample::select(DocumentFormat::ALL.to_vec())
}

/// Nothing that is put in panics, whatever the document; and nothing put in is nothing changed.
fn holds_identity(format: DocumentFormat, source: &str) {
    let Ok(document) = Document::parse(format, source, &ParseOptions::default()) else { return };
    assert_eq!(document.render::<&str>(&[], None).text, source);
    if format != Po {
        let own: Vec<_> = document.units().iter().map(|unit| Some(unit.text.clone())).collect();
        assert_eq!(document.render(&own, None).text, source);
    }
    for (index, unit) in document.units().iter().enumerate() {
        assert_eq!(document.fit(index, &unit.text), Fit::Whole, "{:?}", unit.text);
        assert!(unit.text.contains(char::is_alphabetic) && unit.text.trim() == unit.text);
        assert!((1..=source.lines().count()).contains(&unit.line));
    }
    document.render(&uppers(&document), Some(Language::German));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn without_translations_a_document_is_itself((format, source) in any_format().prop_flat_map(|format| (Just(format), any_document(format)))) {
        holds_identity(format, &source);
    }

    #[test]
    fn so_is_any_text_at_all(format in any_format(), source in "\\PC{0,80}") {
        holds_identity(format, &source);
    }

    /// What was written can be read, and has the translations as its units.
    #[test]
    fn translations_are_read_back((format, source) in any_format().prop_flat_map(|format| (Just(format), any_document(format)))) {
        // Po has none left; the others may lay lines out or write tags another way.
        let is_plain = |unit: &Unit| !unit.text.contains('<');
        if let Ok(document) = Document::parse(format, &source, &ParseOptions::default())
            && matches!(format, Json | Html | Srt | Vtt)
            && document.units().iter().all(is_plain)
        {
            let rendered = document.render(&uppers(&document), None).text;
            let again = parse(format, &rendered);
            let wanted: Vec<_> = document.units().iter().map(|unit| unit.text.to_uppercase()).collect();
            prop_assert_eq!(texts(&again), wanted, "{:?}", rendered);
        }
    }

    #[test]
    fn json_changes_in_its_strings_alone(value in any_json()) {
        let source = serde_json::to_string_pretty(&value).unwrap();
        let document = parse(Json, &source);
        let rendered: Value = serde_json::from_str(&document.render(&uppers(&document), None).text).unwrap();
        prop_assert_eq!(rendered, capitals(&value));
    }

    #[test]
    fn markdown_keeps_its_structure(source in any_document(Markdown)) {
        let document = parse(Markdown, &source);
        let rendered = document.render(&uppers(&document), None).text;
        prop_assert_eq!(structure(&rendered), structure(&source), "{:?}\n{:?}", source, rendered);
    }

    #[test]
    fn html_keeps_its_tags(source in any_document(Html)) {
        let document = parse(Html, &source);
        let rendered = document.render(&uppers(&document), None).text;
        prop_assert_eq!(tags(&rendered), tags(&source), "{:?}\n{:?}", source, rendered);
    }
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "\\PC{0,12}".prop_map(Value::from),
        "[a-z \\n\"\\\\\u{e9}\u{1F600}]{0,12}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::hash_map("[a-z/~]{0,5}", inner, 0..5)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

/// Every string in capitals as a unit is; what is around it stays.
fn capitals(value: &Value) -> Value {
    match value {
        Value::String(text) => Value::String(upper(text)),
        Value::Array(values) => values.iter().map(capitals).collect(),
        Value::Object(members) => Value::Object(
            members.iter().map(|(name, value)| (name.clone(), capitals(value))).collect(),
        ),
        other => other.clone(),
    }
}

/// The blocks, and in each what is no text: a paragraph may lose soft breaks, and a short link has its
/// label written out.
fn structure(source: &str) -> Vec<String> {
    let source = source.strip_prefix('\u{FEFF}').unwrap_or(source);
    let mut found = Vec::new();
    for event in pulldown_cmark::Parser::new_ext(source, markdown::options()) {
        found.push(match event {
            Event::Text(_) | Event::SoftBreak => continue,
            Event::Start(Tag::Link { dest_url, title, .. }) => format!("link {dest_url} {title}"),
            Event::Start(Tag::Heading { level, id, .. }) => format!("heading {level} {id:?}"),
            Event::Start(tag) => format!("start {:?}", tag.to_end()),
            Event::End(TagEnd::MetadataBlock(_)) => "end metadata".to_owned(),
            Event::End(tag) => format!("end {tag:?}"),
            other => format!("{other:?}"),
        });
    }
    found
}

/// The tags and comments of a page, as html5ever reads them, without the values of attributes that hold
/// text.
fn tags(source: &str) -> Vec<String> {
    let input = BufferQueue::default();
    input.push_back(StrTendril::from_slice(source));
    let tokenizer = Tokenizer::new(Tags::default(), TokenizerOpts::default());
    let _ = tokenizer.feed(&input);
    tokenizer.end();
    tokenizer.sink.0.into_inner()
}

#[derive(Default)]
struct Tags(RefCell<Vec<String>>);

impl TokenSink for Tags {
    type Handle = ();

    fn process_token(&self, token: Token, _line: u64) -> TokenSinkResult<()> {
        let (text, next) = match token {
            Token::TagToken(tag) => {
                let attrs = tag.attrs.iter().map(|attr| {
                    let is_text = matches!(&*attr.name.local, "alt" | "title");
                    format!("{}={}", attr.name.local, if is_text { "" } else { &*attr.value })
                });
                let attrs: Vec<_> = attrs.collect();
                let next = match (tag.kind, &*tag.name) {
                    (TagKind::StartTag, "script") => TokenSinkResult::RawData(RawKind::ScriptData),
                    (TagKind::StartTag, "style") => TokenSinkResult::RawData(RawKind::Rawtext),
                    (TagKind::StartTag, "title" | "textarea") => {
                        TokenSinkResult::RawData(RawKind::Rcdata)
                    }
                    _ => TokenSinkResult::Continue,
                };
                (format!("{:?} {} {attrs:?}", tag.kind, tag.name), next)
            }
            Token::CommentToken(text) => (text.to_string(), TokenSinkResult::Continue),
            _ => return TokenSinkResult::Continue,
        };
        self.0.borrow_mut().push(text);
        next
    }
}
