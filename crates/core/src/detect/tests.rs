use super::*;

const UTTERANCES: &str = include_str!("../../tests/data/utterances.tsv");
const HELD_OUT: &str = include_str!("../../tests/data/utterances_heldout.tsv");

fn rows(data: &str) -> Vec<(Language, &str)> {
    data.lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| {
            let (code, text) = line.split_once('\t').expect("language, tab, text");
            (Language::parse(code).expect("a supported language"), text)
        })
        .collect()
}

/// Share of best guesses that are right, in percent, over the rows whose language is allowed.
fn accuracy(data: &str, allowed: &[Language]) -> f64 {
    let detector = Detector::new(&DetectConfig { allowed: allowed.to_vec(), min_confidence: 0.0 });
    let rows: Vec<_> = rows(data)
        .into_iter()
        .filter(|(language, _)| allowed.is_empty() || allowed.contains(language))
        .collect();
    let right = |row: &&(Language, &str)| {
        detector.guess(row.1).is_some_and(|guess| guess.language == row.0)
    };
    100.0 * rows.iter().filter(right).count() as f64 / rows.len() as f64
}

fn guess(allowed: &[&str], text: &str) -> Option<&'static str> {
    let allowed = allowed.iter().map(|code| Language::parse(code).unwrap()).collect();
    let detector = Detector::new(&DetectConfig { allowed, min_confidence: 0.0 });
    detector.guess(text).map(|guess| guess.language.code())
}

/// The floors are what docs/detection.md reports, less half a percent for a library update.
#[test]
fn accuracy_on_short_robot_utterances_stays_at_the_measured_floor() {
    let six = ["en", "zh", "de", "fr", "es", "ja"].map(|code| Language::parse(code).unwrap());
    for (name, data, allowed, floor) in [
        ("all 38 allowed", UTTERANCES, &[][..], 94.8),
        ("six allowed", UTTERANCES, &six[..], 97.6),
        ("all 38 allowed, held out", HELD_OUT, &[][..], 98.7),
        ("six allowed, held out", HELD_OUT, &six[..], 99.5),
    ] {
        let measured = accuracy(data, allowed);
        assert!(measured >= floor, "{name}: {measured:.1} %, floor {floor} %");
    }
}

#[test]
fn guesses_above_the_default_floor_are_nearly_always_right() {
    let detector = Detector::new(&DetectConfig::default());
    let (mut sure, mut wrong) = (0, Vec::new());
    for (language, text) in rows(UTTERANCES) {
        if let Some(detected) = detector.detect(text) {
            sure += 1;
            if detected.language != language {
                wrong.push(text);
            }
        }
    }
    assert!(sure >= 520, "only {sure} of 584 are above the floor");
    assert!(wrong.len() * 100 <= sure * 2, "more than 2 % are wrong: {wrong:?}");
}

#[test]
fn every_supported_language_can_be_the_answer() {
    let seen: std::collections::BTreeSet<Language> =
        rows(UTTERANCES).into_iter().map(|(language, _)| language).collect();
    assert_eq!(seen.len(), Language::all().len());
    for language in seen {
        let found = rows(UTTERANCES)
            .iter()
            .any(|(l, text)| *l == language && guess(&[], text) == Some(language.code()));
        assert!(found, "{language} is never detected");
    }
}

#[test]
fn nothing_to_decide_is_none() {
    let detector = Detector::new(&DetectConfig::default());
    for text in ["", "   \n", "42", "12:30 / 7%", "!?…", "🙂🤖", "\u{200B}", "Ελληνικά"]
    {
        assert_eq!(detector.guess(text), None, "{text:?}");
    }
    assert_eq!(guess(&["en", "de"], "充电站在哪里？"), None, "its script is not allowed");
}

#[test]
fn a_single_letter_does_not_pass_the_floor() {
    let detector = Detector::new(&DetectConfig::default());
    assert_eq!(detector.detect("a"), None);
    assert!(detector.guess("a").is_some());
}

#[test]
fn the_allow_list_is_obeyed() {
    assert_eq!(guess(&["fr", "de"], "Where is the door?").map(|c| c == "en"), Some(false));
    assert_eq!(guess(&["zh"], "充電站在哪裡？"), Some("zh"));
    assert_eq!(guess(&["en"], "Wo ist die Tür?"), Some("en"));
}

#[test]
fn han_variants_and_japanese_without_kana() {
    let all: &[&str] = &[];
    let east = &["zh", "ja"][..];
    for (allowed, text, expected) in [
        (all, "门开着", "zh"),
        (all, "門開著", "zh-Hant"),
        (all, "我唔知", "yue"),
        (all, "駅前広場", "ja"),
        (all, "你好", "zh"),
        (east, "充電完了", "ja"),
        (east, "充电完成", "zh"),
        (all, "把USB-C充电线插上", "zh"),
        (all, "ドアを開けて", "ja"),
    ] {
        assert_eq!(guess(allowed, text), Some(expected), "{text}");
    }
}

#[test]
fn a_product_name_does_not_change_the_language() {
    assert_eq!(guess(&[], "请打开Bluetooth"), Some("zh"));
    assert_eq!(guess(&[], "Откройте YouTube пожалуйста"), Some("ru"));
}

#[test]
fn a_very_long_text_costs_no_more_than_its_beginning() {
    let long = "Where is the charging station? ".repeat(100_000);
    assert_eq!(guess(&[], &long), Some("en"));
}

#[test]
fn confidence_is_a_share() {
    let detector = Detector::new(&DetectConfig::default());
    for (_, text) in rows(UTTERANCES) {
        let confidence = detector.guess(text).expect("each has letters").confidence;
        assert!((0.0..=1.0).contains(&confidence), "{text}: {confidence}");
    }
}
