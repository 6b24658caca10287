use proptest::prelude::*;

use super::*;

fn glossary(lines: &[&str]) -> Glossary {
    Glossary::from_lines(lines).unwrap()
}

fn selected(lines: &[&str], text: &str) -> Vec<String> {
    selected_for(lines, text, Some(Language::English), Language::German)
}

fn selected_for(
    lines: &[&str],
    text: &str,
    source: Option<Language>,
    target: Language,
) -> Vec<String> {
    let glossary = glossary(lines);
    let selection = select(&[&glossary], text, source, target);
    assert_eq!(selection.left_out, 0);
    selection.terms.iter().map(ToString::to_string).collect()
}

#[test]
fn a_term_matches_whole_words_only() {
    for (term, text, matches) in [
        ("art=Kunst", "Please start the engine.", false),
        ("art=Kunst", "The art is here.", true),
        ("art=Kunst", "ART!", true),
        ("art=Kunst", "l'art", true),
        ("art=Kunst", "art-house", true),
        ("art=Kunst", "artist", false),
        ("art=Kunst", "art2", false),
        ("naïve=naiv", "a nai\u{308}ve plan", true),
        ("charging station=Ladesäule", "The charging\n  station.", true),
        ("don't=nicht", "I don’t know", true),
        ("C++=C++", "I like C++ a lot", true),
    ] {
        assert_eq!(!selected(&[term], text).is_empty(), matches, "{term} in {text:?}");
    }
}

#[test]
fn scripts_without_spaces_match_anywhere_and_korean_particles_may_follow() {
    for (term, text, matches) in [
        ("充电站=dock", "请去充电站吧", true),
        ("USB=USB", "把USB插上", true),
        ("充電=charge", "スマホを充電してください", true),
        ("ประตู=door", "เปิดประตูหน่อย", true),
        ("ទ្វារ=door", "បើកទ្វារ", true),
        ("로봇=robot", "로봇이 여기 있어요", true),
        ("봇=bot", "로봇이", false),
        ("दर=rate", "दरवाज़ा", false),
    ] {
        let found = selected_for(&[term], text, None, Language::English);
        assert_eq!(!found.is_empty(), matches, "{term} in {text}");
    }
}

#[test]
fn the_longest_match_wins_and_matches_do_not_overlap() {
    let lines = ["station=Bahnhof", "charging station=Ladesäule", "charging=Laden"];
    assert_eq!(selected(&lines, "the charging station"), ["charging station=Ladesäule"]);
    assert_eq!(
        selected(&lines, "station, then charging station, then charging"),
        ["station=Bahnhof", "charging station=Ladesäule", "charging=Laden"],
        "in the order of the text"
    );
    assert_eq!(selected(&["a b=1", "b c d=2"], "a b c d"), ["b c d=2"]);
    assert_eq!(selected(&["dock=Dock"], "dock dock dock"), ["dock=Dock"], "once");
}

#[test]
fn only_an_acronym_asks_for_its_capitals() {
    for (term, text, matches) in [
        ("dock=Dock", "DOCK", true),
        ("dock=Dock", "Dock the boat", true),
        ("Polish=polnisch", "Polish wine", true),
        ("Polish=polnisch", "POLISH WINE", true),
        ("Polish=polnisch", "We polish it", true),
        ("[!]Polish=polnisch", "We polish it", false),
        ("Nova=Nova", "where is nova", true),
        ("US=USA", "give us a break", false),
        ("US=USA", "Give Us a break", false),
        ("US=USA", "the US team", true),
        ("iPhone=iPhone", "MY IPHONE", true),
        ("iPhone=iPhone", "My iphone", true),
        ("Charging Station=Ladesäule", "The charging station is free", true),
        ("USB port=USB-Anschluss", "The usb port", false),
        ("USB port=USB-Anschluss", "The USB Port", true),
        ("MUSEUMS=Museen", "two museums", true),
        ("ölfilter=oil filter", "der ÖLFILTER", true),
        ("ΟΔΟΣ=street", "Η ΟΔΟΣ", true),
        ("οδος=street", "ΟΔΟΣ", true),
        ("[!]dock=Dock", "Dock", false),
        ("[!]US=USA", "give us a break", false),
        ("[!]US=USA", "the US team", true),
    ] {
        assert_eq!(!selected(&[term], text).is_empty(), matches, "{term} in {text:?}");
    }
    let both = ["polish=polieren", "Polish=polnisch"];
    assert_eq!(selected(&both, "Polish wine"), ["Polish=polnisch"], "the closest spelling");
    assert_eq!(selected(&both, "we polish it"), ["polish=polieren"]);
    assert_eq!(selected(&["Maße=size", "Masse=mass"], "Die Masse"), ["Masse=mass"]);
    assert_eq!(selected(&["Maße=size", "Masse=mass"], "Die Maße"), ["Maße=size"]);
}

#[test]
fn the_letters_of_turkish_are_its_own() {
    for (term, text, source, matches) in [
        ("ısı=heat", "ISI", Some(Language::Turkish), true),
        ("ısı=heat", "isi", Some(Language::Turkish), false),
        ("istasyon=station", "İSTASYON", Some(Language::Turkish), true),
        ("istasyon=station", "ISTASYON", Some(Language::Turkish), false),
        ("istasyon=station", "ISTASYON", None, true),
        ("İstasyon=station", "istasyon", None, true),
        ("[tr>*]ısı=heat", "isi", None, false),
        ("list=Liste", "LIST", Some(Language::English), true),
    ] {
        let found = selected_for(&[term], text, source, Language::German);
        assert_eq!(!found.is_empty(), matches, "{term} in {text} of {source:?}");
    }
    let isi = [Term::new("heat", "ısı").unwrap()];
    assert_eq!(check(&isi, "İSİ", Some(Language::Turkish)).missed.len(), 1);
    assert_eq!(check(&isi, "ISI", Some(Language::Turkish)).applied.len(), 1);
}

#[test]
fn spellings_of_one_word_are_one() {
    for (term, text) in [
        ("USB=USB", "\u{ff35}\u{ff33}\u{ff22} ケーブル"),
        ("カメラ=camera", "ｶﾒﾗです"),
        ("file=Datei", "a \u{fb01}le"),
        ("don't know=weiß nicht", "I don\u{2019}t know"),
        ("don\u{02bc}t=nicht", "don\u{b4}t"),
        ("e-mail=Mail", "e\u{2011}mail"),
        ("co-op=Genossenschaft", "co\u{2010}op"),
        ("cooperation=Zusammenarbeit", "coop\u{ad}eration"),
        ("straße=street", "STRASSE"),
        ("STRASSE=street", "STRA\u{1e9e}E"),
        ("strasse=street", "Straße"),
        ("\u{641}\u{64f}\u{646}\u{652}\u{62f}\u{64f}\u{642}=hotel", "في فندق كبير"),
        ("فندق=hotel", "\u{641}\u{64f}\u{646}\u{652}\u{62f}\u{64f}\u{642}"),
        ("כיתה=class", "ה כִּיתָּה"),
        ("کتاب=book", "كتاب"),
        ("می\u{200c}خواهم=I want", "میخواهم"),
        ("USB=USB", "USB를 꽂아"),
        ("TV=TV", "삼성TV가"),
    ] {
        let found = selected_for(&[term], text, None, Language::English);
        assert!(!found.is_empty(), "{term} in {text}");
    }
    for text in ["Strass", "gros", "e mail"] {
        let lines = ["straße=street", "groß=big", "e-mail=Mail"];
        assert!(selected(&lines, text).is_empty(), "{text}");
    }
    assert!(selected(&["\u{200b}\u{ad}=x"], "any text").is_empty(), "marks alone are no phrase");
}

#[test]
fn a_term_holds_for_its_languages_only() {
    let lines = ["[de]dock=Ladesäule", "[fr]dock=station", "[zh>de]门=Tür", "[en>*]robot=Nova"];
    let text = "dock 门 robot";
    let found = |source, target| selected_for(&lines, text, source, target);
    assert_eq!(found(Some(Language::English), Language::German), ["dock=Ladesäule", "robot=Nova"]);
    assert_eq!(found(Some(Language::Chinese), Language::German), ["dock=Ladesäule", "门=Tür"]);
    assert_eq!(found(Some(Language::English), Language::French), ["dock=station", "robot=Nova"]);
    assert_eq!(
        found(None, Language::German),
        ["dock=Ladesäule", "门=Tür", "robot=Nova"],
        "an unknown source excludes nothing"
    );
}

#[test]
fn later_terms_specific_pairs_and_earlier_layers_win() {
    assert_eq!(selected(&["dock=A", "dock=B"], "dock"), ["dock=B"], "later wins");
    assert_eq!(selected(&["[en>de]dock=C", "[de]dock=B", "dock=A"], "dock"), ["dock=C"]);
    let (inline, named, base) = (
        glossary(&["dock=1"]),
        glossary(&["dock=2", "bay=2"]),
        glossary(&["[en>de]dock=3", "bay=3"]),
    );
    let found =
        select(&[&inline, &named, &base], "dock bay", Some(Language::English), Language::German);
    let found: Vec<String> = found.terms.iter().map(ToString::to_string).collect();
    assert_eq!(found, ["dock=1", "bay=2"]);
}

#[test]
fn more_terms_than_a_prompt_takes_are_counted() {
    let lines: Vec<String> = (0..40).map(|i| format!("word{i:02}=w{i:02}")).collect();
    let text: String = (0..40).map(|i| format!("word{i:02} ")).collect();
    let glossary = Glossary::from_lines(&lines).unwrap();
    let selection = select(&[&glossary], &text, None, Language::German);
    assert_eq!((selection.terms.len(), selection.left_out), (TERMS_PER_PROMPT_MAX, 8));
}

#[test]
fn check_tells_applied_from_missed() {
    let terms = [Term::new("dock", "Ladesäule").unwrap(), Term::new("robot", "Nova").unwrap()];
    let report = check(&terms, "Die LADESA\u{308}ULEN sind frei.", None);
    assert_eq!(report.applied, terms[..1]);
    assert_eq!(report.missed, terms[1..]);
    assert_eq!(check(&terms, "", None).missed.len(), 2);
}

#[test]
fn check_knows_other_forms_where_that_is_safe() {
    for (language, target, translation, applied) in [
        (Language::Russian, "зарядная станция", "Робот у зарядной станции.", true),
        (Language::Russian, "зарядная станция", "Робот на станции.", false),
        (Language::German, "Museum", "Die Museen sind zu.", true),
        (Language::German, "Station", "Das ist statisch.", false),
        (Language::German, "Ladesäule", "Schnellladesäulen", true),
        (Language::German, "Haus", "Häuser", false),
        (Language::Spanish, "ascensor rojo", "los ascensores rojos", true),
        (Language::Italian, "camera doppia", "due camere doppie", true),
        (Language::Polish, "stacja ładowania", "przy stacji ładowania", true),
        (Language::Polish, "stacja", "przy stacją", true),
        (Language::English, "battery", "two batteries", true),
        (Language::English, "bat", "the bet", false),
        (Language::Chinese, "充电站", "在充电站", true),
        (Language::Chinese, "充电站", "在充电桩", false),
    ] {
        let terms = [Term::new("x", target).unwrap()];
        let report = check(&terms, translation, Some(language));
        assert_eq!(report.applied.len() == 1, applied, "{target} in {translation}");
    }
    let terms = [Term::new("x", "battery").unwrap(), Term::new("y", "\u{200b}\u{ad}").unwrap()];
    assert_eq!(check(&terms, "two batteries", None).missed[0], terms[0], "not without a language");
}

#[test]
fn lines_with_escapes() {
    for (line, source, target) in [
        ("a=b", "a", "b"),
        ("  a  =  b c ", "a", "b c"),
        (r"x\=y=x gleich y", "x=y", "x gleich y"),
        (r"a\\b=c", r"a\b", "c"),
        (r"\[sic]=[so]", "[sic]", "[so]"),
        ("[de] a=b", "a", "b"),
    ] {
        let term = GlossaryEntry::parse(line).unwrap().term;
        assert_eq!((term.source(), term.target()), (source, target), "{line}");
    }
    let entry = GlossaryEntry::parse("[ en > zh_TW ! ] a=b").unwrap();
    assert_eq!(entry.pair.source, Some(Language::English));
    assert_eq!(entry.pair.target, Some(Language::TraditionalChinese));
    assert!(entry.is_case_sensitive);
}

#[test]
fn wrong_lines_are_refused_with_index_value_and_remedy() {
    for (line, expected) in [
        ("dock", "term 1 'dock' has no '='; write source=target"),
        (
            "a=b=c",
            "term 1 'a=b=c' has more than one '='; write '\\=' for one that belongs to a phrase",
        ),
        (
            "=b",
            "term 1 '=b' has an empty source; to keep a phrase as it is, write it on both sides",
        ),
        (
            "a= ",
            "term 1 'a= ' has an empty target; to keep a phrase as it is, write it on both sides",
        ),
        ("a\nb=c", "term 1 'a␀b=c' has the control character U+000A at character 1 of its source"),
        ("a\\nb=c", "term 1 'a\\nb=c' has the unknown escape '\\n'; write '\\\\' for a backslash"),
        (
            "[de a=b",
            "term 1 '[de a=b' opens '[' without ']'; write '\\[' for a bracket that belongs to the phrase",
        ),
    ] {
        let error = Glossary::from_lines(["ok=gut", line]).unwrap_err();
        assert_eq!(error.to_string(), expected);
    }
    let error = Glossary::from_lines(["[cz] a=b"]).unwrap_err().to_string();
    assert!(error.contains("for Czech write 'cs'"), "{error}");
}

#[test]
fn sizes_are_bounded() {
    let long = "x".repeat(TERM_BYTES_MAX + 1);
    let error = Term::new(&long, "y").unwrap_err();
    assert_eq!(error, TermError::SideTooLong { side: "source", bytes: 1025 });
    Term::new(&"x".repeat(TERM_BYTES_MAX), "y").unwrap();
    let huge = format!("{}=y", "x".repeat(1 << 20));
    let error = Glossary::from_lines([&huge]).unwrap_err().to_string();
    assert!(error.contains("the limit is") && error.len() < 300, "{error}");

    let lines = (0..=GLOSSARY_TERMS_MAX).map(|i| format!("a{i}=b"));
    let error = Glossary::from_lines(lines).unwrap_err();
    assert_eq!(error.to_string(), "50001 terms given, the limit is 50000");
}

/// Terms made to overlap everywhere must not take the time of all translations behind them.
#[test]
fn hostile_terms_cost_bounded_work() {
    let nested: Vec<String> = (1..=340).map(|k| format!("{}=x{k}", "中".repeat(k))).collect();
    let shared: Vec<String> = (0..1000).map(|k| format!("{}{k}=x", "中".repeat(300))).collect();
    let (nested, shared) =
        (Glossary::from_lines(&nested).unwrap(), Glossary::from_lines(&shared).unwrap());
    let text = "中".repeat(1500);
    let found = select(&[&nested, &shared], &text, None, Language::German);
    assert!(!found.terms.is_empty());
    assert_eq!(found.terms[0].source().chars().count(), 340, "still the longest first");
}

#[test]
fn named_glossaries() {
    let mut set = GlossarySet::from_base(glossary(&["dock=Basis"]));
    assert_eq!(set.layers(None).unwrap().len(), 1);
    set.insert("hotel", glossary(&["dock=Hotel"])).unwrap();
    assert_eq!(set.layers(Some("hotel")).unwrap()[0].entries()[0].term.target(), "Hotel");
    let error = set.layers(Some("hotle")).unwrap_err().to_string();
    assert_eq!(error, "glossary 'hotle' is not known; did you mean 'hotel'?; known: hotel");
    set.set_default(Some("none")).unwrap_err();
    set.set_default(Some("hotel")).unwrap();
    assert_eq!(set.layers(None).unwrap().len(), 2);
}

proptest! {
    #[test]
    fn any_line_parses_or_fails_without_a_panic(line in any::<String>()) {
        if let Ok(entry) = GlossaryEntry::parse(&line) {
            let again = GlossaryEntry::parse(&entry.term.to_string()).unwrap();
            prop_assert_eq!(again.term, entry.term);
        }
    }

    #[test]
    fn a_term_survives_being_written_and_read(source in "[a-z=\\[\\\\ é门]{1,12}", target in "[a-z=\\[\\\\ ]{1,12}") {
        if let Ok(term) = Term::new(&source, &target) {
            prop_assert_eq!(GlossaryEntry::parse(&term.to_string()).unwrap().term, term);
        }
    }

    #[test]
    fn a_selected_term_occurs_in_the_text(text in "[abAB ]{0,40}", phrases in prop::collection::vec("[ab]{1,3}", 1..6)) {
        let lines: Vec<String> = phrases.iter().map(|p| format!("{p}=x{p}")).collect();
        let glossary = Glossary::from_lines(&lines).unwrap();
        let found = select(&[&glossary], &text, None, Language::German).terms;
        let words: Vec<String> = text.to_lowercase().split_whitespace().map(str::to_owned).collect();
        for phrase in &phrases {
            prop_assert_eq!(found.iter().any(|t| t.source() == phrase), words.contains(phrase));
        }
    }

    #[test]
    fn spelling_variants_change_nothing(words in prop::collection::vec("[a-zäé]{2,6}", 2..6), pick in 0usize..6) {
        use unicode_normalization::UnicodeNormalization;
        let phrase = &words[pick % words.len()];
        let lines = [format!("{phrase}=x")];
        let text = words.join(" ");
        let decomposed: String = text.nfd().collect();
        let wide: String = text
            .chars()
            .map(|c| if c.is_ascii_lowercase() { char::from_u32(c as u32 + 0xfee0).unwrap() } else { c })
            .collect();
        for variant in [text.to_uppercase(), decomposed, wide, text.replace(' ', " \u{200b}\n")] {
            let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
            prop_assert_eq!(selected(&lines, &variant), [format!("{phrase}=x")], "{}", variant);
        }
    }

    #[test]
    fn layers_never_beat_length(short in "[a-z]{3,6}", tail in "[a-z]{3,6}") {
        let inline = glossary(&[&format!("{short}=inline")]);
        let base = glossary(&[&format!("{short}=base"), &format!("{short} {tail}=long")]);
        let target = |text: &str| {
            let found = select(&[&inline, &base], text, None, Language::German);
            found.terms[0].target().to_owned()
        };
        prop_assert_eq!(target(&short), "inline");
        prop_assert_eq!(target(&format!("{short} {tail}")), "long");
    }

    #[test]
    fn any_text_against_any_terms_is_no_panic(text in any::<String>(), terms in prop::collection::vec(("\\PC{1,6}", "\\PC{1,6}"), 0..6)) {
        let terms: Vec<Term> = terms.iter().filter_map(|(s, t)| Term::new(s, t).ok()).collect();
        let mut glossary = Glossary::default();
        for term in &terms {
            let entry = GlossaryEntry { term: term.clone(), pair: LanguagePair::default(), is_case_sensitive: false };
            glossary.insert(entry).unwrap();
        }
        select(&[&glossary], &text, Some(Language::Turkish), Language::German);
        for language in [Language::Turkish, Language::Russian] {
            let report = check(&terms, &text, Some(language));
            prop_assert_eq!(report.applied.len() + report.missed.len(), terms.len());
        }
    }
}
