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
fn case_is_ignored_unless_the_term_says_otherwise() {
    assert_eq!(selected(&["Dock=Dock"], "DOCK"), ["Dock=Dock"]);
    assert_eq!(selected(&["Ölfilter=oil filter"], "der ÖLFILTER"), ["Ölfilter=oil filter"]);
    assert_eq!(selected(&["İstasyon=station"], "istasyon"), ["İstasyon=station"]);
    assert_eq!(selected(&["ΟΔΟΣ=street"], "οδος"), ["ΟΔΟΣ=street"]);
    assert!(selected(&["[!]US=USA"], "give us a break").is_empty());
    assert_eq!(selected(&["[!]US=USA"], "the US team"), ["US=USA"]);
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
    assert_eq!(selected(&["dock=A", "Dock=B"], "dock"), ["Dock=B"], "later wins");
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
    let report = check(&terms, "Die LADESA\u{308}ULEN sind frei.");
    assert_eq!(report.applied, terms[..1]);
    assert_eq!(report.missed, terms[1..]);
    assert_eq!(check(&terms, "").missed.len(), 2);
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
    assert_eq!(error.to_string(), "10001 terms given, the limit is 10000");
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
}
