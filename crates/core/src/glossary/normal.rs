//! Texts and phrases prepared for comparison.

use unicode_normalization::UnicodeNormalization;

/// A text in the form that terms are compared in: NFKC, white space collapsed, one apostrophe, one
/// hyphen, no marks that writers leave out. `exact` and `folded` have the same number of characters, so
/// that one index serves both.
#[derive(Debug, Clone, Default)]
pub(super) struct Normalised {
    exact: Vec<char>,
    folded: Vec<char>,
}

impl Normalised {
    pub(super) fn new(text: &str) -> Self {
        let mut exact = Vec::with_capacity(text.len());
        // The acute accent decomposes into a space with a mark, so it must go first.
        let text = text.chars().map(|c| if matches!(c, '\u{b4}' | '`') { '\'' } else { c });
        for c in text.nfkc() {
            match c {
                c if is_left_out(c) => {}
                c if c.is_whitespace() => {
                    if exact.last().is_some_and(|last| *last != ' ') {
                        exact.push(' ');
                    }
                }
                // Keyboards and speech recognisers write one, term lists the other.
                '\u{2018}' | '\u{2019}' | '\u{201B}' | '\u{02BB}' | '\u{02BC}' | '\u{05F3}' => {
                    exact.push('\'');
                }
                '\u{2010}'..='\u{2013}' | '\u{2212}' | '\u{05BE}' => exact.push('-'),
                // Persian and Urdu keyboards, and many of Arabic texts, have the other letter.
                '\u{064A}' => exact.push('\u{06CC}'),
                '\u{0643}' => exact.push('\u{06A9}'),
                // Twice, because it folds to two letters.
                'ß' | 'ẞ' => exact.extend([c, c]),
                c => exact.push(c),
            }
        }
        while exact.last() == Some(&' ') {
            exact.pop();
        }
        let folded = exact.iter().map(|c| fold(*c)).collect();
        Self { exact, folded }
    }

    /// As written.
    pub(super) fn exact(&self) -> &[char] {
        &self.exact
    }

    /// In simple case folding, with both i of Turkish as one.
    pub(super) fn folded(&self) -> &[char] {
        &self.folded
    }

    /// Characters.
    pub(super) fn len(&self) -> usize {
        self.exact.len()
    }

    /// True when a word begins, or may begin, at `start`.
    pub(super) fn starts_word(&self, start: usize) -> bool {
        let Some((&before, &first)) =
            start.checked_sub(1).and_then(|i| self.folded.get(i)).zip(self.folded.get(start))
        else {
            return true;
        };
        // After Korean, a word in other letters stands without a space.
        let leaves_korean = is_hangul(before) && !is_hangul(first);
        leaves_korean || !(is_spaced_word(before) && is_spaced_word(first))
    }

    /// True when a word ends, or may end, before `end`, which is not 0.
    pub(super) fn ends_word(&self, end: usize) -> bool {
        let Some(&next) = self.folded.get(end) else { return true };
        // A Korean particle follows a word of any script without a space.
        is_hangul(next) || !(is_spaced_word(self.folded[end - 1]) && is_spaced_word(next))
    }
}

/// Characters that carry no letter: what joins, hides or directs, and the vowel signs that Arabic and
/// Hebrew are usually written without.
fn is_left_out(c: char) -> bool {
    matches!(c,
        '\u{00AD}' | '\u{0640}' | '\u{061C}' | '\u{FEFF}'
        | '\u{200B}'..='\u{200F}'
        | '\u{202A}'..='\u{202E}'
        | '\u{2060}'..='\u{2069}'
        | '\u{FE00}'..='\u{FE0F}'
        // Hebrew points, but not the hyphen, the paseq and the sof pasuq between them.
        | '\u{0591}'..='\u{05BD}' | '\u{05BF}' | '\u{05C1}'..='\u{05C2}'
        | '\u{05C4}'..='\u{05C5}' | '\u{05C7}'
        // Arabic vowel signs, but not madda and hamza, which make other letters.
        | '\u{064B}'..='\u{0652}' | '\u{0656}'..='\u{065F}' | '\u{0670}'
        | '\u{06D6}'..='\u{06DC}' | '\u{06DF}'..='\u{06E4}' | '\u{06E7}'..='\u{06E8}'
        | '\u{06EA}'..='\u{06ED}')
}

/// Simple case folding: one character to one character, so that indexes stay valid.
fn fold(c: char) -> char {
    match c {
        // Which i it is only Turkish asks, when it compares what is written.
        'İ' => 'i',
        'ß' | 'ẞ' => 's',
        c => {
            let upper = only(c.to_uppercase()).unwrap_or(c);
            only(upper.to_lowercase()).unwrap_or(upper)
        }
    }
}

fn only(mut chars: impl Iterator<Item = char>) -> Option<char> {
    let first = chars.next()?;
    chars.next().is_none().then_some(first)
}

/// A character of a word in a script that separates words by spaces.
fn is_spaced_word(c: char) -> bool {
    let is_mark = unicode_normalization::char::is_combining_mark(c);
    (c.is_alphanumeric() || is_mark) && !is_unspaced(c)
}

/// Scripts without spaces between words: Thai, Lao, Tibetan, Burmese, Khmer, kana, bopomofo, Han.
fn is_unspaced(c: char) -> bool {
    matches!(c,
        '\u{0E00}'..='\u{0EFF}'
        | '\u{0F00}'..='\u{0FFF}'
        | '\u{1000}'..='\u{109F}'
        | '\u{1780}'..='\u{17FF}'
        | '\u{2E80}'..='\u{2FFF}'
        | '\u{3001}'..='\u{312F}'
        | '\u{31A0}'..='\u{4DBF}'
        | '\u{4E00}'..='\u{9FFF}'
        | '\u{A9E0}'..='\u{A9FF}'
        | '\u{AA60}'..='\u{AA7F}'
        | '\u{F900}'..='\u{FAFF}'
        | '\u{FF66}'..='\u{FF9F}'
        | '\u{20000}'..='\u{3FFFF}')
}

fn is_hangul(c: char) -> bool {
    matches!(c, '\u{1100}'..='\u{11FF}' | '\u{AC00}'..='\u{D7AF}')
}
