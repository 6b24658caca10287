use super::*;
use crate::error::ErrorCode;

fn defaults() -> RequestDefaults {
    RequestDefaults { targets: vec![Language::German], ..RequestDefaults::default() }
}

fn parse(raw: &RawRequest<'_>) -> Result<TranslateRequest, RequestError> {
    TranslateRequest::parse(raw, &defaults(), &Limits::default())
}

fn strings(values: &[&str]) -> Vec<String> {
    values.iter().map(|v| (*v).to_owned()).collect()
}

fn message(raw: &RawRequest<'_>) -> String {
    parse(raw).unwrap_err().to_string()
}

#[test]
fn a_minimal_request_takes_the_defaults() {
    let request = parse(&RawRequest { text: " Hi\r\nyou \n", ..RawRequest::default() }).unwrap();
    assert_eq!(request.text(), "Hi\nyou");
    assert_eq!(request.source(), SourceChoice::Auto);
    assert_eq!(request.targets(), [Language::German]);
    assert_eq!(request.context(), None);
    assert_eq!(request.glossary(), None);
    let options = request.generate_options(Instant::now(), CancelFlag::default());
    assert_eq!((options.priority, options.deadline), (128, None));
}

#[test]
fn a_full_request_is_read() {
    let targets = strings(&["fr_FR", "zh-TW"]);
    let terms = strings(&["dock=base"]);
    let raw = RawRequest {
        text: "Hi",
        source: "EN",
        targets: &targets,
        glossary: " hotel ",
        inline_terms: &terms,
        context: "before",
        formality: 2,
        priority: 200,
        timeout_s: 1.5,
    };
    let request = parse(&raw).unwrap();
    assert_eq!(request.source(), SourceChoice::Given(Language::English));
    assert_eq!(request.targets(), [Language::French, Language::TraditionalChinese]);
    assert_eq!(request.glossary(), Some("hotel"));
    assert_eq!(request.inline_terms().len(), 1);
    assert_eq!(request.context(), Some("before"));
    assert_eq!(request.formality(), Formality::More);
    let now = Instant::now();
    let options = request.generate_options(now, CancelFlag::default());
    assert_eq!(options.priority, 200);
    assert_eq!(options.deadline, Some(now + Duration::from_millis(1500)));
}

#[test]
fn text_is_checked() {
    let text = |text| RawRequest { text, ..RawRequest::default() };
    assert_eq!(message(&text("")), "text is empty");
    assert_eq!(message(&text(" \n\t ")), "text is empty");
    assert_eq!(
        message(&text("ab\0c")),
        "text has the control character U+0000 at character 2; remove it"
    );
    assert_eq!(
        message(&text("é\u{1b}[0m")),
        "text has the control character U+001B at character 1; remove it"
    );
    parse(&text("a\tb\nc")).unwrap();

    let long = "é".repeat(INPUT_CHARS_MAX + 1);
    assert_eq!(
        message(&text(&long)),
        "text has 4001 characters, the limit is 4000; send it in parts"
    );
    let fits = format!("  {}  ", "é".repeat(INPUT_CHARS_MAX));
    parse(&text(&fits)).unwrap();
    let megabyte = "x".repeat(1 << 20);
    assert!(message(&text(&megabyte)).contains("1048576 characters"));

    let limits = Limits { input_chars_max: 3, ..Limits::default() };
    TranslateRequest::parse(&text("four"), &defaults(), &limits).unwrap_err();
}

#[test]
fn targets_are_checked() {
    let check = |tags: &[&str]| {
        let targets = strings(tags);
        message(&RawRequest { text: "Hi", targets: &targets, ..RawRequest::default() })
    };
    assert_eq!(check(&["de", "fr", "DE_at"]), "target language 2 'DE_at' is given twice");
    assert!(
        check(&["de", "frr"])
            .starts_with("target language 1 'frr' is not supported; did you mean 'fr'?")
    );
    assert!(check(&["de"; 17]).contains("17 target languages given, the limit is 16"));
    assert!(check(&[""]).starts_with("target language 0 '' is not supported"));

    let none = RequestDefaults::default();
    let raw = RawRequest { text: "Hi", ..RawRequest::default() };
    let error = TranslateRequest::parse(&raw, &none, &Limits::default()).unwrap_err();
    assert_eq!(error.to_string(), "no target language given; name 1 to 16");
}

#[test]
fn codes_separate_unsupported_languages_from_other_faults() {
    let targets = strings(&["xx"]);
    let unknown = RawRequest { text: "Hi", targets: &targets, ..RawRequest::default() };
    assert_eq!(parse(&unknown).unwrap_err().code(), ErrorCode::UnsupportedLanguage);
    let source = RawRequest { text: "Hi", source: "cz", ..RawRequest::default() };
    assert_eq!(parse(&source).unwrap_err().code(), ErrorCode::UnsupportedLanguage);
    assert_eq!(
        message(&source),
        "source language 'cz' is a country code, not a language; for Czech write 'cs'; or 'auto'"
    );
    let empty = RawRequest::default();
    assert_eq!(parse(&empty).unwrap_err().code(), ErrorCode::InvalidRequest);
    assert_eq!(ErrorCode::InvalidRequest as u8, 1);
    assert_eq!(ErrorCode::Failed as u8, 6);
}

#[test]
fn the_rest_is_checked() {
    let base = RawRequest { text: "Hi", ..RawRequest::default() };
    let terms = strings(&["ok=gut", "bad"]);
    assert!(
        message(&RawRequest { inline_terms: &terms, ..base.clone() })
            .starts_with("term 1 'bad' has no '='")
    );
    let many = vec!["a=b".to_owned(); INLINE_TERMS_MAX + 1];
    assert_eq!(
        message(&RawRequest { inline_terms: &many, ..base.clone() }),
        "257 inline terms given, the limit is 256"
    );
    let long = "x".repeat(CONTEXT_CHARS_MAX + 1);
    assert!(
        message(&RawRequest { context: &long, ..base.clone() }).starts_with("context has 2001")
    );
    assert_eq!(
        message(&RawRequest { formality: 3, ..base.clone() }),
        "formality 3 is not known; 0 is default, 1 less, 2 more"
    );
    for timeout_s in [-1.0, f32::NAN, f32::INFINITY, 3601.0] {
        let error = message(&RawRequest { timeout_s, ..base.clone() });
        assert!(error.ends_with("is not allowed; 0 (none) to 3600 s"), "{error}");
    }
    let auto = parse(&RawRequest { source: "AUTO", ..base }).unwrap();
    assert_eq!(auto.source(), SourceChoice::Auto);
}

#[test]
fn a_conversation_that_grew_too_long_keeps_its_end() {
    let limits = Limits { context_chars_max: 12, ..Limits::default() };
    let request = parse(&RawRequest { text: "Hi", ..RawRequest::default() }).unwrap();
    let kept =
        |context| request.clone().with_context(context, &limits).context().map(str::to_owned);
    assert_eq!(kept("short"), Some("short".to_owned()));
    assert_eq!(kept("first line\nsecond one"), Some("second one".to_owned()));
    assert_eq!(kept("no line break anywhere"), Some("eak anywhere".to_owned()));
    assert_eq!(kept(" \0 "), None);
}
