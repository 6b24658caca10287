//! Samples that look like real files, format by format.

use super::*;
use crate::language::Language;
use DocumentFormat::{Html, Json, Markdown, Po, Srt, Text, Vtt};

#[test]
fn text_keeps_its_lines_and_wraps_what_was_wrapped() {
    check(
        Text,
        "\u{FEFF}Welcome\r\n\r\n  - one thing  \r\n  - two\r\n\t42\r\n",
        &["Welcome", "- one thing", "- two"],
        "\u{FEFF}WELCOME\r\n\r\n  - ONE THING  \r\n  - TWO\r\n\t42\r\n",
    );
    let wrapped = "  The robot carries boxes from the kitchen to\n\
                   the charging station on the second floor.\n\
                   Nobody has to help it.\n\nRoses are red\nviolets are blue\n";
    let document = parse(Text, wrapped);
    let long = "The robot carries boxes from the kitchen to the charging station on the second \
                floor. Nobody has to help it.";
    assert_eq!(texts(&document), [long, "Roses are red", "violets are blue"]);
    let german = "Der Roboter trägt Kisten aus der Küche zur Ladestation im zweiten Stock. Keiner \
                  muss ihm helfen.";
    let rendered = document.render(&[Some(german)], None).text;
    let lines: Vec<_> = rendered.lines().collect();
    assert_eq!(lines[0], "  Der Roboter trägt Kisten aus der Küche zur");
    assert!(lines[..3].iter().all(|line| layout::width(line) <= 45), "{rendered}");
    assert!(rendered.ends_with("\n\nRoses are red\nviolets are blue\n"));
}

#[test]
fn markdown_translates_words_and_keeps_structure() {
    check(
        Markdown,
        "---\r\ntitle: stays\r\n---\r\n# Use *it* {#use}\r\n\r\nSetext\r\n======\r\n",
        &["Use <g1>it</g1>", "Setext"],
        "---\r\ntitle: stays\r\n---\r\n# USE *IT* {#use}\r\n\r\nSETEXT\r\n======\r\n",
    );
    check(
        Markdown,
        "1. first\n   goes on\n   - nested `code` here\n\n   > quoted\n   > twice\n2. [ ] task\n",
        &["first goes on", "nested <x1/> here", "quoted twice", "task"],
        "1. FIRST GOES ON\n   - NESTED `code` HERE\n\n   > QUOTED TWICE\n2. [ ] TASK\n",
    );
}

#[test]
fn markdown_tasks_tables_and_definitions() {
    check(
        Markdown,
        "- [ ] task\n- [x] done\n\n| a | b \\| c |\n|:--|--:|\n| `x` | *y* z |\n\nTerm\n: Means this\n",
        &["task", "done", "a", "b | c", "<g1>y</g1> z", "Term", "Means this"],
        "- [ ] TASK\n- [x] DONE\n\n| A | B \\| C |\n|:--|--:|\n| `x` | *Y* Z |\n\nTERM\n: MEANS THIS\n",
    );
    check(
        Markdown,
        "> [!NOTE]\n> Mind the [gap][1] and see [docs] or [FAQ][].\n\n[1]: http://a.b 'gap'\n[docs]: x\n[faq]: y\n",
        &["Mind the <g1>gap</g1> and see <g2>docs</g2> or <g3>FAQ</g3>."],
        "> [!NOTE]\n> MIND THE [GAP][1] AND SEE [DOCS][docs] OR [FAQ][FAQ].\n\n[1]: http://a.b 'gap'\n[docs]: x\n[faq]: y\n",
    );
}

#[test]
fn markdown_keeps_code_html_and_addresses() {
    check(
        Markdown,
        "<div>\nraw html\n</div>\n\n```sh\necho hi\n```\n\n    indented\n\nsee <https://a.b/c> ![a cat](cat.png) <b>now</b> <kbd>Ctrl *C*</kbd> a < b[^1]\n\n[^1]: a note\n",
        &["see <x1/> <x2/> <g3>now</g3> <x4/> a <x5/> b", "a cat", "a note"],
        "<div>\nraw html\n</div>\n\n```sh\necho hi\n```\n\n    indented\n\nSEE <https://a.b/c> ![A CAT](cat.png) <b>NOW</b> <kbd>Ctrl *C*</kbd> A < B[^1]\n\n[^1]: A NOTE\n",
    );
    check(
        Markdown,
        "hard  \nbreak\\\nhere \\* &amp; \\[there]\n\n\\# no heading\n",
        &["hard", "break", "here * & [there]", "# no heading"],
        "HARD  \nBREAK\\\nHERE * & \\[THERE\\]\n\n\\# NO HEADING\n",
    );
}

#[test]
fn markdown_escapes_what_a_translation_brings_in() {
    for (translation, written) in [
        ("1. not a list", "1\\. not a list"),
        ("- no", "\\- no"),
        ("# no", "\\# no"),
        ("a\nb", "a b"),
        ("snake_case 2 * 3 *no*", "snake_case 2 * 3 \\*no\\*"),
        ("<b> [x](y) `z` &lt;", "\\<b> \\[x\\](y) &#96;z&#96; \\&lt;"),
        ("R&D ~~x~~", "R&D \\~\\~x\\~\\~"),
    ] {
        assert_eq!(render_one(Markdown, "word", translation), written);
    }
    // Emphasis that would not be one behind the words of another language.
    let rendered = render_one(Markdown, "a **word:** b", "看<g1>注意：</g1>请");
    assert_eq!(rendered, "看**注意：** 请");
    assert_eq!(render_one(Markdown, "a _word_ b", "x<g1>y </g1>z"), "x _y_ z");
    assert_eq!(render_one(Markdown, "| a |\n|---|\n", "x|y"), "| x\\|y |\n|---|\n");
}

#[test]
fn html_makes_units_of_blocks() {
    check(
        Html,
        "<!DOCTYPE html>\r\n<html lang=\"en\"><head><title>Caf&eacute; &amp; bar</title>\
         <style>p{}</style><script>var a = '<p>no</p>';</script></head>\r\n<body><!-- no -->\
         <h1 class=\"big\">Hello</h1><p>\r\n  Press <b>Start</b>,\r\n  then <code>go()</code> &lt;now&gt;.\r\n</p>\
         <pre>no\n no</pre><ul><li>One<li>Two<ul><li>Three</ul></ul></body></html>\r\n",
        &[
            "Café & bar",
            "Hello",
            "Press <g1>Start</g1>, then <x2/> <x3/>now>.",
            "One",
            "Two",
            "Three",
        ],
        "<!DOCTYPE html>\r\n<html lang=\"en\"><head><title>CAFÉ &amp; BAR</title>\
         <style>p{}</style><script>var a = '<p>no</p>';</script></head>\r\n<body><!-- no -->\
         <h1 class=\"big\">HELLO</h1><p>\r\n  PRESS <b>START</b>, THEN <code>go()</code> &lt;NOW&gt;.\r\n</p>\
         <pre>no\n no</pre><ul><li>ONE<li>TWO<ul><li>THREE</ul></ul></body></html>\r\n",
    );
}

#[test]
fn html_attributes_and_what_must_not_be_translated() {
    check(
        Html,
        "<p title='It&#39;s' data-x=\"no\">a <img alt=\"A cat\" src=\"a b.png\"> b <a href=x title=Go>c</a> \
         <span translate=\"no\">Acme <b>x</b> <span>y</span></span> d</p><div class=\"x notranslate\"><p>no</p></div>\
         <input placeholder=Name value=no><button aria-label=\"Close\"><i class=\"icon\"></i> Shut</button>",
        &["It's", "a <x1/> b <g2>c</g2> <x3/> d", "A cat", "Go", "Name", "Close", "Shut"],
        "<p title='IT&#39;S' data-x=\"no\">A <img alt=\"A CAT\" src=\"a b.png\"> B <a href=x title=\"GO\">C</a> \
         <span translate=\"no\">Acme <b>x</b> <span>y</span></span> D</p><div class=\"x notranslate\"><p>no</p></div>\
         <input placeholder=\"NAME\" value=no><button aria-label=\"CLOSE\"><i class=\"icon\"></i> SHUT</button>",
    );
}

#[test]
fn html_forgives_what_browsers_do() {
    check(
        Html,
        "<p>a <b>bold <i>both</b> c</i><p>1 < 2 & 3 &copy 4 &nope; d<br/>e <a href='x'>",
        &["a <g1>bold <x2/>both</g1> c", "1 <x1/> 2 & 3 © 4 &nope; d", "e"][..],
        "<p>A <b>BOLD <i>BOTH</b> C</i><p>1 < 2 &amp; 3 © 4 &amp;NOPE; D<br/>E <a href='x'>",
    );
}

#[test]
fn html_that_ends_in_a_tag_keeps_it() {
    check(Html, "<p>a < 3 <a href=\"x y", &["a <x1/> 3"], "<p>A < 3 <a href=\"x y");
}

#[test]
fn html_names_its_new_language() {
    let page = "<html lang='en-US' dir=ltr xml:lang=\"en\"><p lang=en>a</p>";
    let document = parse(Html, page);
    let arabic = document.render(&[Some("ا")], Some(Language::Arabic)).text;
    assert_eq!(arabic, "<html lang='ar' dir=rtl xml:lang=\"ar\"><p lang=en>ا</p>");
}

#[test]
fn srt_keeps_times_and_lays_lines_out() {
    check(
        Srt,
        "\u{FEFF}1\r\n00:00:01,000 --> 00:00:02,500 X1:10\r\n{\\an8}<i>Hello there,\r\nmy friend.</i>\r\n\r\n\
         2\r\n00:00:03,000 --> 00:00:04,000\r\n- Who?\r\n- Me, <b>Bob</b>.\r\n\r\n\r\n00:00:05.000 --> 00:00:06.000\r\n♪ 12 ♪\r\n",
        &["Hello there, my friend.", "Who?", "Me, <g1>Bob</g1>."],
        "\u{FEFF}1\r\n00:00:01,000 --> 00:00:02,500 X1:10\r\n{\\an8}<i>HELLO THERE, MY FRIEND.</i>\r\n\r\n\
         2\r\n00:00:03,000 --> 00:00:04,000\r\n- WHO?\r\n- ME, <b>BOB</b>.\r\n\r\n\r\n00:00:05.000 --> 00:00:06.000\r\n♪ 12 ♪\r\n",
    );
    let cue = "1\n00:00:01,000 --> 00:00:02,000\nPlease follow me to the\ncharging station <i>over</i> there.\n";
    let german = "Bitte folgen Sie mir zur Ladestation dort <g1>drüben</g1>, gleich beim Aufzug.";
    let rendered = render_one(Srt, cue, german);
    let lines: Vec<_> = rendered.lines().skip(2).collect();
    assert_eq!(
        lines,
        ["Bitte folgen Sie mir zur Ladestation", "dort <i>drüben</i>, gleich beim Aufzug."]
    );
    let chinese = render_one(
        Srt,
        cue,
        "请跟我去那边的充电站，就在电梯<g1>旁边</g1>的走廊尽头左手边第二个门。",
    );
    let lines: Vec<_> = chinese.lines().skip(2).collect();
    assert_eq!(lines, ["请跟我去那边的充电站，就在电梯", "<i>旁边</i>的走廊尽头左手边第二个门。"]);
    // An answer cannot end the cue or make times.
    assert_eq!(
        render_one(Srt, "00:01,0 --> 00:02,0\na b\n", "x\n\ny --> z"),
        "00:01,0 --> 00:02,0\nx y -> z\n"
    );
}

#[test]
fn cues_of_one_sentence_know_of_each_other() {
    let srt = "1\n00:00:01,000 --> 00:00:02,000\nIf you see it,\n\n2\n00:00:03,000 --> 00:00:04,000\ntell <i>me</i>.\n\n\
               3\n00:00:05,000 --> 00:00:06,000\nThanks.\n";
    let document = parse(Srt, srt);
    let contexts: Vec<_> = document.units().iter().map(|unit| unit.context.as_deref()).collect();
    assert_eq!(contexts, [Some("If you see it, tell me."), Some("If you see it, tell me."), None]);
    assert_eq!(document.units()[1].line, 7);
}

#[test]
fn vtt_keeps_blocks_settings_and_voices() {
    check(
        Vtt,
        "WEBVTT - Title\nKind: captions\n\nSTYLE\n::cue { color: red }\n\nNOTE\nnot this\n\nREGION\nid:a\n\nintro\n\
         00:01.000 --> 00:02.000 align:start line:0\n<v Mary Ann>Tom &amp; <c.loud>Jerry</c> &lt;3\n\n\
         01:00:01.000 --> 01:00:02.000\n<v Bob>We go</v>\n<00:01.500>now &nbsp;",
        &["Tom & <g1>Jerry</g1> <x2/>3", "<g1>We go</g1> <x2/>now"],
        "WEBVTT - Title\nKind: captions\n\nSTYLE\n::cue { color: red }\n\nNOTE\nnot this\n\nREGION\nid:a\n\nintro\n\
         00:01.000 --> 00:02.000 align:start line:0\n<v Mary Ann>TOM &amp; <c.loud>JERRY</c> &lt;3\n\n\
         01:00:01.000 --> 01:00:02.000\n<v Bob>WE GO</v> <00:01.500>NOW &nbsp;",
    );
}

#[test]
fn subtitles_say_where_they_are_damaged() {
    refused(
        Srt,
        "1\n00:00:01,000 --> 00:00:02,000\na\n\n2\n00:00:0x --> 1\nb\n",
        "line 6: expected times",
    );
    refused(Srt, "\nhello\n", "line 2: expected the number of a cue");
    refused(Vtt, "hello\n", "line 1: expected WEBVTT");
    refused(Vtt, "WEBVTT\n\nx\n00:01 --> soon\nb\n", "line 4: expected times");
}

#[test]
fn json_translates_strings_only() {
    check(
        Json,
        "{\n  \"title\" : \"Say \\\"hi\\\"\\n\",\t\"n\": 1.50e+3,\r\n \"list\": [\"One\", true, null, \"  two \\t\", \"42\"],\n\
         \"plural\": \"{n, plural, one {x} other {y}}\", \"@title\": {\"description\": \"no\"}, \"bad\": \"x \\ud800\" }\n",
        &["Say \"hi\"", "One", "two"],
        "{\n  \"title\" : \"SAY \\\"HI\\\"\\n\",\t\"n\": 1.50e+3,\r\n \"list\": [\"ONE\", true, null, \"  TWO \\t\", \"42\"],\n\
         \"plural\": \"{n, plural, one {x} other {y}}\", \"@title\": {\"description\": \"no\"}, \"bad\": \"x \\ud800\" }\n",
    );
    let escaped = "[\"caf\\u00e9 \\ud83d\\ude00 a\\/b\", \"x\"]";
    let document = parse(Json, escaped);
    assert_eq!(texts(&document), ["café 😀 a/b", "x"]);
    assert_eq!(
        document.render(&[Some("é😀\\")], None).text,
        "[\"\\u00e9\\ud83d\\ude00\\\\\", \"x\"]"
    );
}

#[test]
fn json_takes_only_what_pointers_name() {
    let source = "{\"a\": {\"x\": {\"title\": \"One\", \"id\": \"two\"}, \"y/z\": {\"title\": \"Three\"}}, \"title\": \"Four\"}";
    for (pointer, units) in [
        ("/a/*/title", &["One", "Three"][..]),
        ("/a/y~1z", &["Three"]),
        ("/title", &["Four"]),
        ("/nothing", &[]),
    ] {
        let json_include = vec![JsonPointer::parse(pointer).unwrap()];
        let options = ParseOptions { json_include, ..ParseOptions::default() };
        assert_eq!(texts(&Document::parse(Json, source, &options).unwrap()), units, "{pointer}");
    }
    assert!(JsonPointer::parse("title").unwrap_err().to_string().contains("'title'"));
}

#[test]
fn json_that_is_none_is_refused_with_its_line() {
    for (source, words) in [
        ("{\n\"a\": 1,\n}", "line 3: found '}', expected a name"),
        ("[1,\n2 3]", "line 2: found '3', expected ',' or ']'"),
        ("[\"a\n\"]", "line 1: found '\n', expected the closing"),
        ("{\"a\"\n1}", "line 2: found '1', expected ':'"),
        ("[01]", "expected a number"),
        ("[\"\\x\"]", "expected an escape"),
        ("", "line 1: found the end"),
        ("1 2", "expected the end of the document"),
    ] {
        refused(Json, source, words);
        assert!(serde_json::from_str::<serde_json::Value>(source).is_err());
    }
}

const PO: &str = "# Translators\r\nmsgid \"\"\r\nmsgstr \"\"\r\n\"Language: \\n\"\r\n\"Content-Type: text/plain; charset=UTF-8\\n\"\r\n\
    \"Plural-Forms: nplurals=INTEGER; plural=EXPRESSION;\\n\"\r\n\r\n\
    #. shown in the menu\r\n#: src/a.c:12\r\nmsgctxt \"menu\"\r\nmsgid \"Open \\\"%s\\\"\\n\"\r\nmsgstr \"\"\r\n\r\n\
    #, fuzzy, c-format\r\n#| msgid \"old\"\r\nmsgid \"\"\r\n\"two \"\r\n\"lines\"\r\nmsgstr \"alt\"\r\n\r\n\
    msgid \"done\"\r\nmsgstr \"fertig\"\r\n\r\n\
    #, c-format\r\nmsgid \"one file\"\r\nmsgid_plural \"%d files\"\r\nmsgstr[0] \"\"\r\nmsgstr[1] \"\"\r\n\r\n\
    #~ msgid \"gone\"\r\n#~ msgstr \"weg\"\r\n";

#[test]
fn po_fills_what_is_empty_or_fuzzy() {
    let document = parse(Po, PO);
    assert_eq!(texts(&document), ["Open \"%s\"", "two lines", "one file", "%d files"]);
    assert_eq!(document.units()[0].context.as_deref(), Some("menu\nshown in the menu"));
    assert_eq!(document.render::<&str>(&[], None).text, PO);
    let german = ["Öffne \"%s\"", "zwei Zeilen", "eine Datei", "%d Dateien"].map(Some);
    let expected = PO
        .replace("Language: \\n", "Language: de\\n")
        .replace("nplurals=INTEGER; plural=EXPRESSION;", "nplurals=2; plural=(n != 1);")
        .replace(
            "\\n\"\r\nmsgstr \"\"\r\n\r\n#, fuzzy",
            "\\n\"\r\nmsgstr \"Öffne \\\"%s\\\"\\n\"\r\n\r\n#, fuzzy",
        )
        .replace("#, fuzzy, c-format\r\n#| msgid \"old\"\r\n", "#, c-format\r\n")
        .replace("msgstr \"alt\"", "msgstr \"zwei Zeilen\"")
        .replace(
            "msgstr[0] \"\"\r\nmsgstr[1] \"\"",
            "msgstr[0] \"eine Datei\"\r\nmsgstr[1] \"%d Dateien\"",
        );
    assert_eq!(document.render(&german, Some(Language::German)).text, expected);
    assert!(parse(Po, &expected).units().is_empty());
}

#[test]
fn po_writes_the_forms_of_the_language() {
    let document = parse(Po, PO);
    let some = ["%s", "x", "один файл", "%d файлов"].map(Some);
    let russian = document.render(&some, Some(Language::Russian)).text;
    // 21 files take the first form, so "one" would be wrong there; three forms need a person.
    assert!(russian.contains("#, fuzzy, c-format\r\nmsgid \"one file\""), "{russian}");
    assert!(russian.contains(
        "msgstr[0] \"%d файлов\"\r\nmsgstr[1] \"%d файлов\"\r\nmsgstr[2] \"%d файлов\"\r\n"
    ));
    let japanese =
        document.render(&["%s", "x", "一つ", "%d個"].map(Some), Some(Language::Japanese)).text;
    assert!(
        japanese.contains("msgid_plural \"%d files\"\r\nmsgstr[0] \"%d個\"\r\n\r\n#~"),
        "{japanese}"
    );
    assert!(japanese.contains("Language: ja\\n"));
    let polish =
        document.render(&["%s", "x", "plik", "%d plików"].map(Some), Some(Language::Polish)).text;
    assert!(
        polish.contains("msgstr[0] \"plik\"\r\nmsgstr[1] \"%d plików\"\r\nmsgstr[2]"),
        "{polish}"
    );
}

#[test]
fn po_refuses_translations_that_lose_placeholders() {
    let document = parse(Po, PO);
    assert_eq!(document.fit(0, "Öffne"), Fit::Broken { lost: 1 });
    assert_eq!(document.fit(0, "Öffne %d"), Fit::Broken { lost: 1 });
    assert_eq!(document.fit(0, "%s öffnen"), Fit::Whole);
    let rendered = document.render(&[Some("Öffne")], None).text;
    assert_eq!(rendered, PO);
    for (source, translation, n) in [
        ("%s %d", "%d %s", 2),
        ("%1$s %2$d", "%2$d %1$s", 0),
        ("%(a)s %(b)d", "%(b)d %(a)s", 0),
        ("{a} of {b}", "{b} von {a}", 0),
        ("{} {}", "{}", 1),
        ("100 % of it, 5%% more", "100 % davon", 0),
        ("%5.2lf", "%f", 1),
    ] {
        let po = format!("msgid \"x {source}\"\nmsgstr \"\"\n");
        let fit = parse(Po, &po).fit(0, translation);
        assert_eq!(fit, if n == 0 { Fit::Whole } else { Fit::Broken { lost: n } }, "{source}");
    }
}

#[test]
fn po_overwrites_when_asked_and_writes_lines() {
    let source = "msgid \"a\\nb\\n\"\nmsgstr \"old\"\n";
    assert!(parse(Po, source).units().is_empty());
    let options = ParseOptions { po_overwrite: true, ..ParseOptions::default() };
    let document = Document::parse(Po, source, &options).unwrap();
    assert_eq!(texts(&document), ["a\nb"]);
    let rendered = document.render(&[Some("c\nd\te")], None).text;
    assert_eq!(rendered, "msgid \"a\\nb\\n\"\nmsgstr \"\"\n\"c\\n\"\n\"d\\te\\n\"\n");
}

#[test]
fn po_that_is_none_is_refused_with_its_line() {
    refused(Po, "msgid \"a\"\n\nmsgid \"b\"\nmsgstr \"\"\n", "line 1: msgid without msgstr");
    refused(Po, "msgid \"a\"\nmsgstr \"b\n", "line 2: expected one string");
    refused(Po, "\nhello\n", "line 2: expected msgctxt");
    refused(Po, "\"x\"\n", "line 1: a string without");
    refused(Po, "msgstr \"x\"\n", "line 1: an entry without msgid");
}
