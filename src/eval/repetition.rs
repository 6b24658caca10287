//! How much a text repeats itself: the mark of a decoder that runs in circles.

use std::collections::HashSet;

use hymt_core::language::Language;

use super::python_words;

/// Length of the n-grams that are counted.
const ORDER: usize = 4;

/// Share of 4-grams that occurred before in the text, 0 to 1: "seq-rep-4" of Welleck et al. 2020
/// (<https://arxiv.org/abs/1908.04319>), over words, or over characters where a language writes no
/// spaces. A text of fewer than four has none.
pub fn repetition_rate(text: &str, language: Language) -> f64 {
    if language.has_word_spaces() {
        repeated(&python_words(text).collect::<Vec<_>>())
    } else {
        repeated(&text.chars().collect::<Vec<_>>())
    }
}

fn repeated<T: Eq + std::hash::Hash>(items: &[T]) -> f64 {
    let total = items.windows(ORDER).count();
    let distinct = items.windows(ORDER).collect::<HashSet<_>>().len();
    if total == 0 { 0.0 } else { 1.0 - distinct as f64 / total as f64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn circles_are_seen_in_words_and_in_characters() {
        let rate = |text| repetition_rate(text, Language::English);
        assert_eq!(rate(""), 0.0);
        assert_eq!(rate("one two three"), 0.0);
        assert_eq!(rate("the door is open and the light is on"), 0.0);
        // 9 windows, 4 of them distinct.
        assert_eq!(rate("a b c d a b c d a b c d"), 1.0 - 4.0 / 9.0);
        assert_eq!(repetition_rate("門門門門門門", Language::Japanese), 1.0 - 1.0 / 3.0);
        assert_eq!(repetition_rate("門は開いています", Language::Japanese), 0.0);
    }
}
