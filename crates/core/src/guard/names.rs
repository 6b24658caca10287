//! Whether the codes and brand names of a text are in its translation.
//!
//! Few names are kept in every language: places, days and offices have translations, and endings change.
//! What is looked for is what has none: codes (`A12`, `XR-5`) and, between languages in Latin letters, words
//! with a capital inside (`YouTube`).

use crate::detect::script::Script;
use crate::language::Language;

/// Names that are told; more are only counted.
pub const SHOWN_MAX: usize = 5;
/// Longest code. Characters.
pub const CODE_CHARS_MAX: usize = 24;

/// The codes and names of `text` that `answer` lacks.
pub fn missing(text: &str, answer: &str, target: Language) -> Vec<String> {
    let is_latin = Script::Latin.writes(target);
    let folded_answer = folded(answer);
    let digits_of = |word: &str| word.chars().filter(char::is_ascii_digit).collect::<String>();
    let is_there = |word: &str| {
        folded_answer.contains(&folded(word))
            // In other scripts the letters of a code may be written as they sound.
            || (!is_latin && is_code(word) && folded_answer.contains(&digits_of(word)))
    };
    let mut lacking: Vec<String> = Vec::new();
    let words = text.split(|c: char| !(c.is_alphanumeric() || c == '-'));
    for word in words.map(|word| word.trim_matches('-')) {
        let is_kept = is_code(word) || (is_latin && is_brand(word));
        if is_kept && !is_there(word) && !lacking.iter().any(|known| known == word) {
            lacking.push(word.to_owned());
        }
    }
    lacking
}

/// Capitals, and digits behind them.
fn is_code(word: &str) -> bool {
    let is_in = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '-';
    word.len() <= CODE_CHARS_MAX
        && word.chars().all(is_in)
        && word.starts_with(|c: char| c.is_ascii_uppercase())
        && word.contains(|c: char| c.is_ascii_digit())
}

/// Small letters, and a capital behind one: at least two of either, since `McDonald` is a name and `kW` a
/// unit.
fn is_brand(word: &str) -> bool {
    let letters: Vec<char> = word.chars().collect();
    let has_inner =
        letters.windows(2).any(|two| two[0].is_ascii_lowercase() && two[1].is_ascii_uppercase());
    has_inner && letters.len() >= 5 && letters.iter().all(char::is_ascii_alphanumeric)
}

/// Letters and digits in lower case, full width as ASCII.
fn folded(text: &str) -> String {
    let narrow = |c: char| match u32::from(c) {
        wide @ 0xFF01..=0xFF5E => char::from_u32(wide - 0xFEE0).unwrap_or(c),
        _ => c,
    };
    let kept = text.chars().map(narrow).filter(|c| c.is_alphanumeric());
    kept.flat_map(char::to_lowercase).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_and_brands_are_looked_for() {
        for (text, answer, target, expected) in [
            ("Gate A12, bus XR-5", "Tor A12, Bus XR5", Language::German, &[][..]),
            ("Gate A12", "Tor 12", Language::German, &["A12"]),
            ("Gate A12", "出口Ａ１２", Language::Chinese, &[]),
            ("Gate A12", "Выход А12", Language::Russian, &[]),
            ("Gate A12", "Выход", Language::Russian, &["A12"]),
            ("Watch it on YouTube", "Sieh es auf Youtube", Language::German, &[]),
            ("Watch it on YouTube", "Sieh es an", Language::German, &["YouTube"]),
            ("Watch it on YouTube", "在优兔上看", Language::Chinese, &[]),
            ("Monday in NATO, 3 kW, Wi-Fi, the 2nd", "Montag, OTAN", Language::French, &[]),
        ] {
            assert_eq!(missing(text, answer, target), expected, "{text} {answer}");
        }
    }
}
