use proptest::prelude::*;

use super::*;

const STYLES: [MarkerStyle; 2] = [MarkerStyle::Numbered, MarkerStyle::Delimiters];

fn numbered(text: &str) -> Protected {
    let options = ProtectOptions { style: MarkerStyle::Numbered, ..ProtectOptions::default() };
    protect(text, &options).unwrap()
}

/// The protected parts of a text.
fn parts(text: &str) -> Vec<String> {
    numbered(text).parts().iter().map(|part| part.text.clone()).collect()
}

#[test]
fn what_must_not_be_translated_is_found() {
    let cases: &[(&str, &[&str])] = &[
        ("a <b class=\"x>y\">bold</b><br/> word", &["<b class=\"x>y\">", "</b>", "<br/>"]),
        ("if a < b and c > d, 1 <2", &[]),
        ("fish &amp; chips &#169; AT&T <!-- no -->", &["&amp;", "&#169;", "<!-- no -->"]),
        ("run `ls -l` or ``a ` b`` and `", &["`ls -l`", "``a ` b``"]),
        (
            "Hi {name}, {{count}} of ${total} {0:.2f}",
            &["{name}", "{{count}}", "${total}", "{0:.2f}"],
        ),
        ("%s has %1$d of %(n)s, 100% sure, 5%d", &["%s", "%1$d", "%(n)s", "100%"]),
        (
            "see https://a.org/x_(y)?q=1#z. (http://b.de/)",
            &["https://a.org/x_(y)?q=1#z", "http://b.de/"],
        ),
        ("请看https://a.org/x谢谢，www.b.cn。", &["https://a.org/x", "www.b.cn"]),
        ("write to jo.doe+x@mail.example.org. a@b", &["jo.doe+x@mail.example.org"]),
        ("[text](https://x.y \"t\") [t](a/b.md)", &["https://x.y", "](a/b.md)"]),
        (
            "## Title\n- **bold** and *it* 2*3 a_b ~~no~~",
            &["## ", "- ", "**", "**", "*", "*", "~~", "~~"],
        ),
        (
            "3.5 kg at 20°C, 1,000 km/h, € 5, 3 cats, 5 mice, x5 m",
            &["3.5 kg", "20°C", "1,000 km/h", "€ 5"],
        ),
        ("well 👍🏽👩‍👩‍👧 done ❤️ 1️⃣ ok", &["👍🏽👩‍👩‍👧", "❤️", "1️⃣"]),
        ("⟦1⟧ <s1>x</s1>", &["<s1>", "</s1>"]),
    ];
    for (text, expected) in cases {
        assert_eq!(parts(text), *expected, "{text}");
    }
}

#[test]
fn pairs_share_a_number_unless_they_cross() {
    assert_eq!(numbered("<p>a <b>b</b></p>").marked(), "<s1>a <s2>b</s2></s1>");
    assert_eq!(numbered("<b>a <i>b</b> c</i>").marked(), "<s1></s1>a <s2>b<s3></s3> c</s2>");
    assert_eq!(numbered("a<br>b<b></b>").marked(), "a<s1></s1>b<s2></s2>");
}

#[test]
fn kinds_can_be_left_out() {
    let options = ProtectOptions { kinds: vec![PartKind::Url], ..ProtectOptions::default() };
    let protected = protect("<b>https://a.org</b> ⟦7⟧", &options).unwrap();
    assert_eq!(protected.marked(), "<b>⟦1⟧</b> ⟦2⟧");
}

/// Without a bound on how far a grapheme is read, this takes minutes.
#[test]
fn a_text_that_is_one_grapheme_is_no_trap() {
    for unit in ["\u{301}", "\u{111c2}", "👩\u{200d}"] {
        let text = unit.repeat(100_000 / unit.len());
        let options = ProtectOptions::default();
        match protect(&text, &options) {
            Ok(protected) => assert_eq!(protected.restore(protected.marked()).text, text),
            Err(error) => assert_eq!(error, ProtectError::TooManyParts { limit: PARTS_MAX }),
        }
    }
}

#[test]
fn too_many_parts_are_refused() {
    let options = ProtectOptions::default();
    assert!(protect(&"{a} ".repeat(PARTS_MAX), &options).is_ok());
    let error = protect(&"{a} ".repeat(PARTS_MAX + 1), &options).unwrap_err();
    assert_eq!(error, ProtectError::TooManyParts { limit: PARTS_MAX });
}

#[track_caller]
fn restored(source: &str, translation: &str) -> (String, Verdict) {
    let restored = numbered(source).restore(translation);
    (restored.text.clone(), restored.verdict())
}

#[test]
fn what_can_be_repaired_without_guessing_is() {
    let link = "Press <b>Start</b> or see https://a.org now";
    let kept = restored(link, "Siehe < S2 ></ s2> oder <s1>Start</s1>");
    assert_eq!(kept, ("Siehe https://a.org oder <b>Start</b>".into(), Verdict::Kept));
    assert_eq!(restored(link, "<s1>A</s1> <s2/> x").1, Verdict::Kept);
    let repeated = restored(link, "<s1>A</s1> <s2></s2> <s2></s2> x");
    assert_eq!(repeated, ("<b>A</b> https://a.org x".into(), Verdict::Repaired));
    let invented = restored(link, "<s1>A</s1> <s2></s2><s9></s9> x");
    assert_eq!(invented, ("<b>A</b> https://a.org x".into(), Verdict::Repaired));
    // At the ends there is only one place.
    assert_eq!(restored("<p>Hello</p>", "Hallo"), ("<p>Hallo</p>".into(), Verdict::Repaired));
    assert_eq!(restored("👍 <p>Hello</p>", "Hallo</s2>").1, Verdict::Broken);
    assert_eq!(restored("Hello {name}", "Hallo"), ("Hallo{name}".into(), Verdict::Repaired));
}

#[test]
fn what_cannot_is_told() {
    let link = "Press <b>Start</b> or see https://a.org now";
    for broken in [
        "Drücke Start",
        "<s1>A</s1> x",
        "<s1>A <s2></s2> x",
        "</s1>A<s1> <s2></s2> x",
        "<s1>A</s1> <s2></s2> x <s2></s2>",
        "",
    ] {
        assert_eq!(restored(link, broken).1, Verdict::Broken, "{broken}");
    }
}

/// Documents full of format, broken format, and what looks like markers.
fn document() -> impl Strategy<Value = String> {
    let parts = prop::sample::select(vec![
        "<b>",
        "</b>",
        "<i a='>'>",
        "</i>",
        "<br/>",
        "<!--",
        "-->",
        "&lt;",
        "<",
        ">",
        "/",
        "s",
        "1",
        "s1",
        "<s1>",
        "</s1>",
        "<s2/>",
        "< s3 >",
        "<S1>",
        "⟦",
        "⟧",
        "⟦1⟧",
        "⟦/2⟧",
        "⟦ 3 ⟧",
        "`",
        "``",
        "```",
        "code",
        "{x}",
        "{",
        "}",
        "${",
        "{{",
        "}}",
        "%",
        "%s",
        "%1$d",
        "https://a.org/b",
        "http://",
        "www.x.de",
        "a@b.org",
        "@",
        "[t](u)",
        "](",
        "**",
        "*",
        "_",
        "~~",
        "\n# ",
        "\n- ",
        "\n",
        " ",
        "  ",
        "5 kg",
        "20°C",
        "€",
        "$5",
        "7",
        ".",
        ",",
        "👍",
        "❤️",
        "👩‍👩‍👧",
        "你好",
        "。",
        "word",
        "Word ",
        "é",
        "e\u{301}",
        "\u{fe0f}",
        "\u{200d}",
        "(",
        ")",
        "\"",
        "'",
        "&",
        ";",
    ]);
    let from_parts = prop::collection::vec(parts, 0..60).prop_map(|parts| parts.concat());
    prop_oneof![4 => from_parts, 1 => any::<String>()]
}

fn check_identity(text: &str) -> Result<(), TestCaseError> {
    for style in STYLES {
        let options = ProtectOptions { style, ..ProtectOptions::default() };
        let protected = protect(text, &options).map_err(|e| TestCaseError::fail(e.to_string()))?;
        let restored = protected.restore(protected.marked());
        prop_assert_eq!(&restored.text, text);
        prop_assert_eq!(restored.verdict(), Verdict::Kept, "{:?}", restored.problems);
    }
    Ok(())
}

/// One marker of `marked`, taken out or put in twice.
fn damage(protected: &Protected, part: usize, is_doubled: bool) -> String {
    let part = &protected.parts[part];
    let marker = protected.style.write(part.marker, part.role);
    let doubled = format!("{marker} and {marker}");
    protected.marked.replacen(&marker, if is_doubled { &doubled } else { "" }, 1)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4_000, ..ProptestConfig::default() })]

    #[test]
    fn protect_and_restore_is_the_identity(text in document()) {
        check_identity(&text)?;
    }

    #[test]
    fn damage_is_never_overlooked(text in document(), place in any::<usize>(), is_doubled: bool) {
        // In this style, no marker is the beginning of another.
        let protected = protect(&text, &ProtectOptions::default()).unwrap();
        if !protected.parts.is_empty() {
            let part = place % protected.parts.len();
            let damaged = damage(&protected, part, is_doubled);
            let restored = protected.restore(&damaged);
            prop_assert_ne!(restored.verdict(), Verdict::Kept);
            if restored.verdict() == Verdict::Repaired && !is_doubled {
                prop_assert_eq!(&restored.text, &text, "a repair must not guess");
            }
        }
    }

    #[test]
    fn any_answer_is_survived(text in document(), answer in document()) {
        for style in STYLES {
            let options = ProtectOptions { style, ..ProtectOptions::default() };
            let _ = protect(&text, &options).unwrap().restore(&answer);
        }
    }
}

#[test]
#[cfg_attr(debug_assertions, ignore = "takes a minute without optimisation")]
fn protect_and_restore_is_the_identity_on_many_documents() {
    let config = ProptestConfig { cases: 100_000, ..ProptestConfig::default() };
    let mut runner = proptest::test_runner::TestRunner::new(config);
    runner.run(&document(), |text| check_identity(&text)).unwrap();
}
