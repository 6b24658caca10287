use proptest::prelude::*;
use unicode_segmentation::UnicodeSegmentation;

use super::*;

fn texts(text: &str, language: Language) -> Vec<&str> {
    segment(text, Some(language), SEGMENT_CHARS_MAX).into_iter().filter_map(Piece::text).collect()
}

#[track_caller]
fn check(language: Language, sentences: &[&str]) {
    let joint = if language.has_word_spaces() { " " } else { "" };
    assert_eq!(texts(&sentences.join(joint), language), sentences);
}

#[test]
fn sentences_end_where_a_reader_ends_them() {
    check(Language::English, &["Hello world.", "How are you?", "Fine!", "It costs 3.50 dollars."]);
    check(
        Language::English,
        &["Mr. J. R. Smith met Dr. Li at No. 5 St. James Road.", "Then they left."],
    );
    check(Language::English, &["\"Stop!\" he said.", "She did (at last.)", "Good."]);
    check(Language::English, &["He said no.", "Is it e.g. Monday?", "See www.example.com."]);
    check(Language::German, &["Am 3. Oktober ist z.B. Dr. Maier da.", "Ja, ca. 5 Min. lang."]);
    check(Language::German, &["„Halt!“, rief er.", "Gehen wir?"]);
    check(Language::French, &["M. Dupont habite av. Foch.", "Il est 9 h 30."]);
    check(Language::Spanish, &["¿Dónde está el Sr. López?", "¡Aquí!"]);
    check(Language::Russian, &["Он живёт на ул. Ленина.", "Т.е. рядом."]);
    check(Language::Chinese, &["你好！", "请打开门。", "“好的。”", "水在哪里？"]);
    check(Language::Japanese, &["「行きます。」と彼は言った。", "はい。"]);
    check(Language::Hindi, &["यह क्या है?", "यह पानी है।", "ठीक है।"]);
    check(Language::Arabic, &["أين الباب؟", "الباب هنا."]);
    check(Language::Korean, &["문을 열어 주세요.", "물이 어디에 있어요?"]);
}

#[test]
fn a_sentence_does_not_end_inside_a_letter() {
    // A Lao vowel that Annex 29 counts to the mark before it.
    let pieces = segment("?\u{eb3}", None, 1);
    assert_eq!(pieces.iter().map(|piece| piece.as_str()).collect::<Vec<_>>(), ["?\u{eb3}"]);
}

#[test]
fn a_sentence_does_not_end_inside_a_word() {
    // Annex 29 sees the end of a sentence behind the vowel sign, and one word around it.
    let pieces = segment("¡:\"_Σ.\u{acb}\u{904} ", None, 5);
    let texts: Vec<_> = pieces.iter().map(|piece| piece.as_str()).collect();
    assert_eq!(texts, ["¡:\"", "_Σ.\u{acb}\u{904}", " "]);
}

#[test]
fn lines_and_paragraphs_are_kept() {
    let text = "# Title\n\n1. First item.\n2. Second\r\n\tindented. More.\n\n\n";
    let pieces = segment(text, Some(Language::English), SEGMENT_CHARS_MAX);
    let expected = ["# Title", "1. First item.", "2. Second", "indented.", "More."];
    assert_eq!(pieces.iter().filter_map(|p| p.text()).collect::<Vec<_>>(), expected);
    let upper: Vec<_> = expected.iter().map(|text| text.to_uppercase()).collect();
    assert_eq!(join(&pieces, &upper, Language::English), text.to_uppercase());
    assert_eq!(join::<&str>(&pieces, &[], Language::English), text);
}

#[test]
fn spaces_between_sentences_are_those_of_the_target() {
    let english = segment("One. Two.\nThree.", Some(Language::English), 99);
    assert_eq!(join(&english, &["一。", "二。", "三。"], Language::Chinese), "一。二。\n三。");
    let chinese = segment("一。二。\n三。", Some(Language::Chinese), 99);
    assert_eq!(join(&chinese, &["One.", "Two.", "Three."], Language::English), "One. Two.\nThree.");
}

#[test]
fn a_long_sentence_is_cut_at_its_clauses() {
    let cut = |text, chars_max| -> Vec<&str> {
        segment(text, None, chars_max).into_iter().filter_map(Piece::text).collect()
    };
    let text = "when the robot, which has 1,000 cells, comes home, open the door";
    assert_eq!(
        cut(text, 40),
        ["when the robot, which has 1,000 cells,", "comes home, open the door"]
    );
    assert_eq!(cut("when the robot comes home", 16), ["when the robot", "comes home"]);
    assert_eq!(cut("当机器人回家的时候，请打开门", 11), ["当机器人回家的时候，", "请打开门"]);
    assert_eq!(cut("a Donaudampfschifffahrt", 10), ["a", "Donaudampf", "schifffahr", "t"]);
    assert_eq!(cut("e\u{301}\u{301}\u{301}e\u{301}", 2), ["e\u{301}\u{301}\u{301}", "e\u{301}"]);
    assert_eq!(cut("abc", 0), ["a", "b", "c"]);
}

/// Texts made of what matters to the rules, and of anything.
fn document() -> impl Strategy<Value = String> {
    let parts = prop::sample::select(vec![
        "Dr.",
        "z.B.",
        "Hello",
        "world",
        ".",
        "?",
        "!",
        "…",
        "。",
        "「",
        "」",
        "と",
        "你好",
        " ",
        "  ",
        "\n",
        "\n\n",
        "\r\n",
        "\t",
        "\u{a0}",
        "\u{2028}",
        "3.",
        "1,000",
        ", ",
        "; ",
        "、",
        "e\u{301}",
        "👩‍👩‍👧",
        "ที่",
        "\"",
        "“",
        "”",
        "No.",
        "J.",
        "abcdefghijklmnopqrstuvwxyz",
        "(",
        ")",
    ]);
    let from_parts = prop::collection::vec(parts, 0..60).prop_map(|parts| parts.concat());
    prop_oneof![4 => from_parts, 1 => any::<String>()]
}

fn language() -> impl Strategy<Value = Option<Language>> {
    prop::option::of(prop::sample::select(Language::all().collect::<Vec<_>>()))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn the_pieces_are_the_text(text in document(), language in language(), chars_max in 0..50usize) {
        let pieces = segment(&text, language, chars_max);
        let together: String = pieces.iter().map(|piece| piece.as_str()).collect();
        prop_assert_eq!(&together, &text);
        for piece in &pieces {
            match piece {
                Piece::Text(text) => {
                    prop_assert!(!text.is_empty() && text.trim() == *text);
                    let fits = text.chars().count() <= chars_max.max(1);
                    prop_assert!(fits || text.graphemes(true).count() == 1, "{text:?}");
                    prop_assert!(!text.contains('\n'));
                }
                Piece::Space(space) => prop_assert!(!space.is_empty() && space.trim().is_empty()),
            }
        }
    }

    #[test]
    fn no_grapheme_is_cut_and_no_word_that_fits(text in document(), chars_max in 1..50usize) {
        // A mark on a space makes a "word" with a space in it.
        let is_word = |(_, word): &(usize, &str)| !word.contains(char::is_whitespace);
        let words: Vec<_> = text.unicode_word_indices().filter(is_word).map(|(at, word)| at..at + word.len()).collect();
        let graphemes: Vec<_> = text.grapheme_indices(true).map(|(at, _)| at).collect();
        let mut at = 0;
        for piece in segment(&text, None, chars_max) {
            at += piece.as_str().len();
            // White space may be a part of a grapheme, as in a space with an accent.
            let is_space_near = text[at..].trim_start().len() < text[at..].len()
                || matches!(piece, Piece::Space(_));
            prop_assert!(is_space_near || at == text.len() || graphemes.binary_search(&at).is_ok());
            let inside = words.iter().find(|word| word.start < at && at < word.end);
            if let Some(word) = inside {
                // A prefix sign makes the end of a word one grapheme with what follows it, so the
                // word fits only together with that.
                let next = graphemes.iter().find(|start| **start >= word.end);
                let whole = word.start..next.copied().unwrap_or(text.len());
                prop_assert!(text[whole].chars().count() > chars_max, "{text:?} at {at}");
            }
        }
    }
}
