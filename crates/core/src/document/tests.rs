use super::*;

mod answers;
mod formats;
mod properties;
mod wild;

fn parse(format: DocumentFormat, source: &str) -> Document {
    Document::parse(format, source, &ParseOptions::default()).unwrap()
}

/// A translation that can be told from its source and keeps the marks: capitals.
fn upper(text: &str) -> String {
    let pieces = inline::resolve_marks(text).into_iter().map(|piece| match piece {
        inline::Piece::Text(text) => text.to_uppercase(),
        inline::Piece::Open(n) => format!("<g{}>", n + 1),
        inline::Piece::Close(n) => format!("</g{}>", n + 1),
        inline::Piece::Single(n) => format!("<x{}/>", n + 1),
    });
    pieces.collect()
}

fn uppers(document: &Document) -> Vec<Option<String>> {
    document.units().iter().map(|unit| Some(upper(&unit.text))).collect()
}

fn texts(document: &Document) -> Vec<&str> {
    document.units().iter().map(|unit| unit.text.as_str()).collect()
}

/// The units of a document, what it becomes in capitals, and that it is itself without translations.
#[track_caller]
fn check(format: DocumentFormat, source: &str, units: &[&str], capitals: &str) {
    let document = parse(format, source);
    assert_eq!(texts(&document), units);
    let rendered = document.render(&uppers(&document), None);
    assert_eq!((rendered.text.as_str(), rendered.misfits.as_slice()), (capitals, &[][..]));
    assert_eq!(document.render::<&str>(&[], None).text, source);
    if format != DocumentFormat::Po {
        let own: Vec<_> = units.iter().map(Some).collect();
        assert_eq!(document.render(&own, None).text, source);
    }
}

/// Translates the only unit.
#[track_caller]
fn render_one(format: DocumentFormat, source: &str, translation: &str) -> String {
    let document = parse(format, source);
    assert_eq!(document.units().len(), 1, "{:?}", document.units());
    document.render(&[Some(translation)], None).text
}

#[track_caller]
fn refused(format: DocumentFormat, source: &str, words: &str) {
    let error = Document::parse(format, source, &ParseOptions::default()).unwrap_err().to_string();
    assert!(error.contains(words), "'{words}' is not in: {error}");
}

#[test]
fn formats_go_by_their_names_and_extensions() {
    for format in DocumentFormat::ALL {
        assert_eq!(DocumentFormat::from_name(format.name()), Some(format));
    }
    assert_eq!(DocumentFormat::from_name("HTM"), Some(DocumentFormat::Html));
    assert_eq!(DocumentFormat::from_name("docx"), None);
}

#[test]
fn bounds_are_refused_by_name() {
    refused(DocumentFormat::Text, &"a".repeat(DOCUMENT_BYTES_MAX + 1), "the limit is 16777216");
    let long = format!("x\n\n{}", "a ".repeat(UNIT_CHARS_MAX / 2 + 1));
    refused(DocumentFormat::Text, &long, "line 3: a text of 16001 characters");
    refused(DocumentFormat::Text, &"a\n".repeat(UNITS_MAX + 1), "line 200001: more than 200000");
    refused(DocumentFormat::Json, &"[".repeat(DEPTH_MAX + 1), "line 1: nested more than 128");
    // A picture in a page is no text.
    check(
        DocumentFormat::Json,
        &format!("[\"{0}\"]", "QUJD".repeat(9999)),
        &[],
        &format!("[\"{0}\"]", "QUJD".repeat(9999)),
    );
    let quotes = format!("{}a", "> ".repeat(DEPTH_MAX + 2));
    refused(DocumentFormat::Markdown, &quotes, "nested more than 128");
}

#[test]
fn lost_format_is_told_and_lost_content_refused() {
    let page = parse(DocumentFormat::Html, "<p>See <b>this</b> and <code>x</code> now</p>");
    assert_eq!(page.units()[0].text, "See <g1>this</g1> and <x2/> now");
    for (translation, fit) in [
        ("A <g1>b</g1> <x2/>", Fit::Whole),
        ("A b <x2/>", Fit::Plainer { lost: 1 }),
        ("A <g1>b <x2/>", Fit::Plainer { lost: 1 }),
        ("A </g1>b<g1> <x2/>", Fit::Plainer { lost: 1 }),
        ("A <g1>b</g1>", Fit::Broken { lost: 1 }),
        ("A <g1>b</g1> <x2/> <x2/>", Fit::Broken { lost: 1 }),
    ] {
        assert_eq!(page.fit(0, translation), fit, "{translation}");
    }
    let rendered = page.render(&[Some("A <g1>b <x2/><x3/><script>")], None).text;
    assert_eq!(rendered, "<p>A b <code>x</code>&lt;x3/&gt;&lt;script&gt;</p>");
    assert_eq!(page.render(&[Some("lost")], None).text, page.source);
}
