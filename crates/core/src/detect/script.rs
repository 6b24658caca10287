//! Scripts, and which languages are written in them.

use crate::language::Language;

/// A script that at least one of the languages is written in. Kana is not one: its presence makes
/// [`Script::Kana`] out of the Han characters around it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Script {
    Latin,
    Cyrillic,
    Arabic,
    Devanagari,
    Han,
    Kana,
    Hangul,
    Thai,
    Khmer,
    Burmese,
    Tibetan,
    Mongolian,
    Gujarati,
    Telugu,
    Tamil,
    Bengali,
    Hebrew,
    /// Letters of none of the above, such as Greek.
    Other,
}

impl Script {
    const COUNT: usize = Self::Other as usize + 1;

    pub(crate) fn of(c: char) -> Option<Self> {
        Some(match c {
            '\u{0041}'..='\u{005A}' | '\u{0061}'..='\u{007A}' => Self::Latin,
            '\u{00AA}' | '\u{00BA}' => Self::Latin,
            '\u{00C0}'..='\u{024F}' if c.is_alphabetic() => Self::Latin,
            '\u{1E00}'..='\u{1EFF}' => Self::Latin,
            '\u{0400}'..='\u{052F}' => Self::Cyrillic,
            '\u{0590}'..='\u{05FF}' if c.is_alphabetic() => Self::Hebrew,
            '\u{0600}'..='\u{06FF}' | '\u{0750}'..='\u{077F}' | '\u{FB50}'..='\u{FEFC}'
                if c.is_alphabetic() =>
            {
                Self::Arabic
            }
            '\u{0900}'..='\u{097F}' if c.is_alphabetic() => Self::Devanagari,
            '\u{0980}'..='\u{09FF}' if c.is_alphabetic() => Self::Bengali,
            '\u{0A80}'..='\u{0AFF}' if c.is_alphabetic() => Self::Gujarati,
            '\u{0B80}'..='\u{0BFF}' if c.is_alphabetic() => Self::Tamil,
            '\u{0C00}'..='\u{0C7F}' if c.is_alphabetic() => Self::Telugu,
            '\u{0E00}'..='\u{0E7F}' if c.is_alphabetic() => Self::Thai,
            '\u{0F00}'..='\u{0FFF}' if c.is_alphabetic() => Self::Tibetan,
            '\u{1000}'..='\u{109F}' if c.is_alphabetic() => Self::Burmese,
            '\u{1780}'..='\u{17FF}' if c.is_alphabetic() => Self::Khmer,
            '\u{1800}'..='\u{18AF}' if c.is_alphabetic() => Self::Mongolian,
            '\u{1100}'..='\u{11FF}' | '\u{3130}'..='\u{318F}' | '\u{AC00}'..='\u{D7AF}' => {
                Self::Hangul
            }
            '\u{3041}'..='\u{30FF}' | '\u{31F0}'..='\u{31FF}' | '\u{FF66}'..='\u{FF9F}'
                if c.is_alphabetic() =>
            {
                Self::Kana
            }
            '\u{3400}'..='\u{4DBF}'
            | '\u{4E00}'..='\u{9FFF}'
            | '\u{F900}'..='\u{FAFF}'
            | '\u{20000}'..='\u{3FFFF}' => Self::Han,
            c if c.is_alphabetic() => Self::Other,
            _ => return None,
        })
    }

    /// True when `language` is usually written in this script.
    pub(crate) fn writes(self, language: Language) -> bool {
        use Language as L;
        match self {
            Self::Latin => matches!(
                language,
                L::English
                    | L::French
                    | L::Portuguese
                    | L::Spanish
                    | L::Turkish
                    | L::Italian
                    | L::German
                    | L::Vietnamese
                    | L::Malay
                    | L::Indonesian
                    | L::Filipino
                    | L::Polish
                    | L::Czech
                    | L::Dutch
            ),
            Self::Cyrillic => {
                matches!(language, L::Russian | L::Ukrainian | L::Kazakh | L::Mongolian)
            }
            Self::Arabic => matches!(language, L::Arabic | L::Persian | L::Urdu | L::Uyghur),
            Self::Devanagari => matches!(language, L::Hindi | L::Marathi),
            Self::Han => language.is_chinese() || language == L::Japanese,
            Self::Kana => language == L::Japanese,
            Self::Hangul => language == L::Korean,
            Self::Thai => language == L::Thai,
            Self::Khmer => language == L::Khmer,
            Self::Burmese => language == L::Burmese,
            Self::Tibetan => language == L::Tibetan,
            Self::Mongolian => language == L::Mongolian,
            Self::Gujarati => language == L::Gujarati,
            Self::Telugu => language == L::Telugu,
            Self::Tamil => language == L::Tamil,
            Self::Bengali => language == L::Bengali,
            Self::Hebrew => language == L::Hebrew,
            Self::Other => false,
        }
    }

    /// What one letter weighs: a Han character is about a word, a syllable block half of one, so that
    /// one product name in Latin letters does not outvote a short Chinese sentence.
    pub(crate) fn weight(self) -> usize {
        match self {
            Self::Han => 4,
            Self::Kana | Self::Hangul => 3,
            _ => 1,
        }
    }
}

/// Weighted number of letters per script.
#[derive(Debug, Default)]
pub(super) struct ScriptCounts([usize; Script::COUNT], Vec<Script>);

impl ScriptCounts {
    pub(super) fn of(text: &str) -> Self {
        let mut counts = Self::default();
        for script in text.chars().filter_map(Script::of) {
            if counts.0[script as usize] == 0 {
                counts.1.push(script);
            }
            counts.0[script as usize] += script.weight();
        }
        counts
    }

    /// The script with the most weight and its share, 0 to 1; `None` without letters. Han characters
    /// count as kana where there is any kana, since only Japanese mixes them.
    pub(super) fn dominant(&self) -> Option<(Script, f32)> {
        let kana = self.0[Script::Kana as usize];
        let weight = |script: Script| match script {
            Script::Kana => kana + self.0[Script::Han as usize],
            Script::Han if kana > 0 => 0,
            script => self.0[script as usize],
        };
        let total: usize = self.0.iter().sum();
        let script = self.1.iter().copied().max_by_key(|script| weight(*script))?;
        Some((script, weight(script) as f32 / total as f32))
    }
}

/// True for the vowel signs and other marks that belong to a word without being letters.
pub(crate) fn is_mark(c: char) -> bool {
    unicode_normalization::char::is_combining_mark(c) || c == '\u{200C}'
}
