//! What files from elsewhere hold, and what a model may answer, that once went wrong.

use super::*;
use crate::language::Language;
use DocumentFormat::{Html, Markdown, Po, Srt, Vtt};

#[test]
fn a_translation_without_words_takes_no_text_away() {
    let page = parse(Html, "<p>See <b>this</b> now</p>");
    for nothing in ["", " ", "<g1></g1>", "<g1> </g1>\n"] {
        assert_eq!(page.fit(0, nothing), Fit::Broken { lost: 1 }, "{nothing:?}");
        assert_eq!(page.render(&[Some(nothing)], None).text, page.source);
    }
}

#[test]
fn an_answer_that_is_one_tag_ends_no_cue() {
    let cue = parse(Srt, "00:01,0 --> 00:02,0\na b\n");
    assert_eq!(cue.fit(0, "<words>"), Fit::Broken { lost: 1 });
}

#[test]
fn a_heading_keeps_the_signs_at_its_end() {
    assert_eq!(render_one(Markdown, "# HERE\n", "C #"), "# C \\#\n");
    assert_eq!(render_one(Markdown, "# HERE\n", "C# ##"), "# C# \\##\n");
}

#[test]
fn attributes_keep_their_angle_brackets() {
    check(
        Html,
        "<img alt=\"Press &lt;Enter&gt; 'now'\"><img title='a < b'>",
        &["Press <x1/>Enter> 'now'", "a <x1/> b"],
        "<img alt=\"PRESS &lt;ENTER&gt; 'NOW'\"><img title='A < B'>",
    );
}

#[test]
fn xhtml_closes_any_element_in_its_tag() {
    check(
        Html,
        "<html xmlns=\"http://www.w3.org/1999/xhtml\"><head><title/><script src=\"a.js\" /><style/></head><body><p>One <b>two</b></p>\
         <textarea/><p>Three</p></body></html>",
        &["One <g1>two</g1>", "Three"],
        "<html xmlns=\"http://www.w3.org/1999/xhtml\"><head><title/><script src=\"a.js\" /><style/></head><body><p>ONE <b>TWO</b></p>\
         <textarea/><p>THREE</p></body></html>",
    );
}

#[test]
fn html_does_not_close_a_script_in_its_tag() {
    let page = "<p>One</p><script src=a.js />let a = \"<b>no</b>\";</script><p>Two</p>";
    let capitals = page.replace("One", "ONE").replace("Two", "TWO");
    check(Html, page, &["One", "Two"], &capitals);
}

#[test]
fn subrip_gains_no_tags_and_no_times() {
    let cue = "1\n00:00:01,000 --> 00:00:02,000\n<i>one</i> two < 3\n";
    for (translation, written) in [
        ("y ---> z -----> <g1>x</g1>", "y -> z -> <i>x</i>"),
        ("<g1>eins</g1> <b>zwei</b> < 3", "<i>eins</i> zwei < 3"),
        ("{\\an8}<font color=red>eins</font> <<u>u>zwei", "eins zwei"),
    ] {
        let rendered = render_one(Srt, cue, translation);
        assert_eq!(rendered.lines().nth(2), Some(written), "{translation}");
    }
}

#[test]
fn subrip_times_may_be_negative_after_a_shift() {
    check(
        Srt,
        "1\n-00:00:01,500 --> 00:00:00,-20\nHello.\n\n2\n00:00:05,000 --> 00:00:03,000\nLate.\n",
        &["Hello.", "Late."],
        "1\n-00:00:01,500 --> 00:00:00,-20\nHELLO.\n\n2\n00:00:05,000 --> 00:00:03,000\nLATE.\n",
    );
}

#[test]
fn a_cue_may_follow_the_header_of_webvtt_at_once() {
    // https://www.w3.org/TR/webvtt1/#file-parsing: an arrow ends the header.
    check(
        Vtt,
        "WEBVTT\nKind: captions\n00:01.000 --> 00:02.000\nHello.\n\n00:03.000 --> 00:04.000\nBye.\n",
        &["Hello.", "Bye."],
        "WEBVTT\nKind: captions\n00:01.000 --> 00:02.000\nHELLO.\n\n00:03.000 --> 00:04.000\nBYE.\n",
    );
}

#[test]
fn front_matter_between_pluses_stays() {
    check(
        Markdown,
        "+++\ntitle = \"A page\"\n+++\n\nHello.\n",
        &["Hello."],
        "+++\ntitle = \"A page\"\n+++\n\nHELLO.\n",
    );
}

#[test]
fn calls_of_templates_are_no_text() {
    check(
        Markdown,
        "{{< figure src=\"a.png\" title=\"A cat\" >}}\n\n{{% toc %}}\n\n{{name}} and {{other}}\n",
        &["{{name}} and {{other}}"],
        "{{< figure src=\"a.png\" title=\"A cat\" >}}\n\n{{% toc %}}\n\n{{NAME}} AND {{OTHER}}\n",
    );
}

#[test]
fn a_catalogue_says_the_charset_that_it_is_written_in() {
    for charset in ["CHARSET", "ISO-8859-1", "us-ascii"] {
        let po = |charset: &str, text: &str| {
            format!(
                "msgid \"\"\nmsgstr \"\"\n\"Language: de\\n\"\n\"Content-Type: text/plain; charset={charset}\\n\"\n\n\
                 msgid \"open\"\nmsgstr \"{text}\"\n"
            )
        };
        let document = parse(Po, &po(charset, ""));
        let rendered = document.render(&[Some("öffnen")], Some(Language::German)).text;
        assert_eq!(rendered, po("UTF-8", "öffnen"));
    }
}

#[test]
fn flags_may_stand_in_several_lines() {
    let po = "#, c-format\n#, fuzzy\nmsgid \"a %d\"\nmsgstr \"alt\"\n\n#, fuzzy\n#~ msgid \"gone\"\n#~ msgstr \"weg\"\nmsgid \"b\"\nmsgstr \"fertig\"\n";
    let document = parse(Po, po);
    assert_eq!(texts(&document), ["a %d"], "a flag of an obsolete entry is no other's");
    let rendered = document.render(&[Some("neu %d")], None).text;
    let wanted = po
        .replace("#, c-format\n#, fuzzy\nmsgid", "#, c-format\nmsgid")
        .replace("\"alt\"", "\"neu %d\"");
    assert_eq!(rendered, wanted);
}

#[test]
fn numbered_escapes_of_catalogues_are_characters() {
    let document = parse(Po, "msgid \"\\033[1mbold\\x1b[0m \\\"caf\\351\\\"\"\nmsgstr \"\"\n");
    assert_eq!(texts(&document), ["\u{1b}[1mbold\u{1b}[0m \"café\""]);
    let rendered = document.render(&[Some("\u{1b}[1mfett\u{1b}[0m\u{7}")], None).text;
    assert!(rendered.ends_with("msgstr \"\\033[1mfett\\033[0m\\007\"\n"), "{rendered}");
}

#[test]
fn plural_forms_that_somebody_wrote_stay() {
    let po = "msgid \"one\"\nmsgid_plural \"%d files\"\nmsgstr[0] \"mine\"\nmsgstr[1] \"\"\n";
    let render = |po: &str, options: &ParseOptions| {
        let document = Document::parse(Po, po, options).unwrap();
        document.render(&[Some("eins"), Some("%d Dateien")], None).text
    };
    let written = render(po, &ParseOptions::default());
    assert_eq!(written, po.replace("[1] \"\"", "[1] \"%d Dateien\""));
    // Unless it is fuzzy, or asked for.
    let anew = po.replace("mine", "eins").replace("[1] \"\"", "[1] \"%d Dateien\"");
    assert_eq!(render(&format!("#, fuzzy\n{po}"), &ParseOptions::default()), anew);
    assert_eq!(render(po, &ParseOptions { po_overwrite: true, ..Default::default() }), anew);
}

#[test]
fn pages_say_the_charset_that_they_are_written_in() {
    for page in [
        "<meta charset=\"NAME\"><p>a",
        "<META CHARSET=NAME><p>a",
        "<meta http-equiv='Content-Type' content='text/html; charset=NAME'><p>a",
        "<?xml version=\"1.0\" encoding=\"NAME\" ?><p>a",
    ] {
        for charset in ["iso-8859-1", "Windows-1252"] {
            let document = parse(Html, &page.replace("NAME", charset));
            let written = document.render(&[Some("ä")], Some(Language::German)).text;
            assert_eq!(written, page.replace("NAME", "utf-8").replace("<p>a", "<p>ä"));
        }
        let kept = page.replace("NAME", "UTF-8");
        let written = parse(Html, &kept).render(&[Some("ä")], Some(Language::German)).text;
        assert_eq!(written, kept.replace("<p>a", "<p>ä"));
    }
    // A word of the text is none.
    let page = "<meta name=description content=\"charset=x is old\"><p>encoding=\"a\" ?>";
    let document = parse(Html, page);
    assert_eq!(document.render::<&str>(&[], Some(Language::German)).text, page);
}
