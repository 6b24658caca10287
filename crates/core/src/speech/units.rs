//! What two hypotheses are compared by: words, or single characters where words have no spaces.

use unicode_normalization::UnicodeNormalization;
use unicode_segmentation::UnicodeSegmentation;

/// One word, or one character of a script without word spaces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Unit {
    /// Without case and punctuation, in compatibility form: recognisers flutter in these.
    pub(super) key: String,
    /// Where it ends in the text, without punctuation behind it. Bytes.
    pub(super) end: usize,
}

/// The units of `text`; none when it holds no letter and no digit.
pub(super) fn units(text: &str) -> Vec<Unit> {
    let mut units = Vec::new();
    let mut word: Option<Unit> = None;
    for (start, grapheme) in text.grapheme_indices(true) {
        let Some(first) = grapheme.chars().next() else { continue };
        let end = start + grapheme.len();
        if first.is_whitespace() {
            units.extend(word.take());
        } else if is_written_without_spaces(first) {
            units.extend(word.take());
            units.push(Unit { key: key(grapheme), end });
        } else if first.is_alphanumeric() {
            let word = word.get_or_insert_with(|| Unit { key: String::new(), end });
            word.key.push_str(&key(grapheme));
            word.end = end;
        }
    }
    units.extend(word);
    units
}

/// The keys alone.
pub(super) fn keys(units: &[Unit]) -> Vec<String> {
    units.iter().map(|unit| unit.key.clone()).collect()
}

/// How many units both begin with.
pub(super) fn common<A: AsRef<str>, B: AsRef<str>>(a: &[A], b: &[B]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a.as_ref() == b.as_ref()).count()
}

impl AsRef<str> for Unit {
    fn as_ref(&self) -> &str {
        &self.key
    }
}

fn key(grapheme: &str) -> String {
    grapheme.nfkc().flat_map(char::to_lowercase).collect()
}

/// Han, kana, Bopomofo, Thai, Lao, Tibetan, Burmese, Khmer. A block table and not the script property: no
/// dependency, and a wrong answer only makes the comparison coarser.
fn is_written_without_spaces(c: char) -> bool {
    matches!(u32::from(c),
        0x0E00..=0x0EFF | 0x0F00..=0x0FFF | 0x1000..=0x109F | 0x1780..=0x17FF
        | 0x3040..=0x312F | 0x31F0..=0x31FF | 0x3400..=0x4DBF | 0x4E00..=0x9FFF
        | 0xF900..=0xFAFF | 0xFF66..=0xFF9D | 0x20000..=0x3FFFF)
        && c.is_alphanumeric()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_spaces_and_punctuation_do_not_matter() {
        for other in ["Hello,  world", "hello world.", "HELLO… world!", " Hello\tworld "] {
            assert_eq!(keys(&units(other)), ["hello", "world"], "{other:?}");
        }
        assert_eq!(keys(&units("don't e-mail")), ["dont", "email"]);
        assert!(units("?! … —").is_empty());
    }

    #[test]
    fn scripts_without_spaces_count_by_character() {
        assert_eq!(keys(&units("你好，世界")), ["你", "好", "世", "界"]);
        assert_eq!(keys(&units("请打开door")), ["请", "打", "开", "door"]);
        // A Thai vowel sign belongs to its consonant.
        assert_eq!(units("ที่นี่").len(), 2);
        assert_eq!(units("안녕 하세요").len(), 2);
    }

    #[test]
    fn a_unit_ends_before_its_punctuation() {
        let text = "Guten Tag, Herr";
        let units = units(text);
        assert_eq!(&text[..units[1].end], "Guten Tag");
    }
}
