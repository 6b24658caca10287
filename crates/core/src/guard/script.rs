//! Answers in the wrong script, in the wrong variant of it, or in none but that of the text.

use crate::detect::script::{Script, is_mark};
use crate::detect::variants::{NOT_JAPANESE, SIMPLIFIED, TRADITIONAL};
use crate::glossary::Term;
use crate::language::Language;
use crate::protect::{self, MarkerStyle, PartKind, ProtectOptions};

/// Least weight of foreign letters that says something; less is a product name. A Han character weighs as
/// much as four Latin letters.
pub const FOREIGN_WEIGHT_MIN: usize = 12;
/// From this weight on an answer without a letter of the target's script is no translation.
pub const USELESS_WEIGHT_MIN: usize = 24;
/// An answer with a smaller share of letters that the target is written in is in the wrong script: many
/// names may stand in a short sentence.
pub const OWN_SHARE_MIN: f32 = 0.25;
/// Han characters that Japanese does not write without any kana: so many in a row, or in all where one of
/// them is not Japanese.
pub const KANJI_ALONE_MAX: usize = 16;
/// Characters of the other Chinese writing that are no name any more.
pub const OTHER_VARIANT_MIN: usize = 3;
/// Longest stretch of letters without case that counts as a quotation of the text. Characters.
pub const QUOTED_CHARS_MAX: usize = 4;
/// Fewest words, names not counted, of a text that must not come back unchanged.
pub const ECHO_WORDS_MIN: usize = 4;
/// The same in letters, for scripts without spaces.
pub const ECHO_LETTERS_MIN: usize = 8;

/// What is wrong with the script of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WrongScript {
    /// Most of it is in letters that the target is not written in.
    Foreign {
        /// Their name.
        letters: &'static str,
        /// There is nothing else, and enough of it to be sure.
        is_useless: bool,
    },
    /// Chinese in the other writing.
    Variant {
        /// The writing it is in.
        is_in: &'static str,
    },
    /// Japanese without kana.
    NoKana,
}

/// Compares the letters of `answer` with those that `target` is written in. Names that `text` or `terms`
/// hold count for nothing.
pub fn check(answer: &str, text: &str, terms: &[Term], target: Language) -> Option<WrongScript> {
    let bare = without_names(answer, text, terms);
    let mut counts = Vec::<(Script, usize)>::new();
    for script in bare.chars().filter_map(Script::of) {
        match counts.iter_mut().find(|(known, _)| *known == script) {
            Some((_, weight)) => *weight += script.weight(),
            None => counts.push((script, script.weight())),
        }
    }
    let weight = |is_own: bool| -> usize {
        let of = counts.iter().filter(|(script, _)| is_written(*script, target) == is_own);
        of.map(|(_, weight)| weight).sum()
    };
    let (own, foreign) = (weight(true), weight(false));
    let words = foreign_words(&bare, target);
    if words > 0
        && foreign >= FOREIGN_WEIGHT_MIN
        && own as f32 / ((own + foreign) as f32) < OWN_SHARE_MIN
    {
        let of = counts.iter().filter(|(script, _)| !is_written(*script, target));
        let letters = of.max_by_key(|(_, weight)| *weight).map_or("", |(script, _)| name(*script));
        let is_useless = own == 0 && foreign >= USELESS_WEIGHT_MIN && words >= FOREIGN_WEIGHT_MIN;
        return Some(WrongScript::Foreign { letters, is_useless });
    }
    variant(&bare, target)
}

/// Weight of the foreign letters in words that do not begin like names: brands may be the translation of
/// brands in other letters.
fn foreign_words(bare: &str, target: Language) -> usize {
    let is_named =
        |word: &str| word.starts_with(char::is_uppercase) && word.contains(char::is_lowercase);
    let words = runs(bare).filter(|word| !is_named(word));
    let foreign = words.flat_map(str::chars).filter_map(Script::of);
    foreign.filter(|script| !is_written(*script, target)).map(Script::weight).sum()
}

fn variant(bare: &str, target: Language) -> Option<WrongScript> {
    let count = |of: &str, without: &str| {
        bare.chars().filter(|c| of.contains(*c) && !without.contains(*c)).count()
    };
    let of_script =
        |wanted: Script| bare.chars().filter(|c| Script::of(*c) == Some(wanted)).count();
    match target {
        Language::Japanese => {
            let (kana, han) = (of_script(Script::Kana), of_script(Script::Han));
            let is_row = |run: &str| run.chars().nth(KANJI_ALONE_MAX).is_some();
            let is_chinese = bare.contains(|c| NOT_JAPANESE.contains(c)) || runs(bare).any(is_row);
            (kana == 0 && han > KANJI_ALONE_MAX && is_chinese).then_some(WrongScript::NoKana)
        }
        _ if target.is_chinese() => {
            let simplified = count(SIMPLIFIED, TRADITIONAL);
            let traditional = count(TRADITIONAL, SIMPLIFIED);
            let (own, other, is_in) = match target {
                Language::Chinese => (simplified, traditional, "traditional"),
                _ => (traditional, simplified, "simplified"),
            };
            let is_other = other >= OTHER_VARIANT_MIN && other > 4 * own;
            is_other.then_some(WrongScript::Variant { is_in })
        }
        _ => None,
    }
}

/// True when `answer` is `text`, letter for letter, and that has more than names in it.
pub fn is_echo(answer: &str, text: &str, source: Option<Language>, target: Language) -> bool {
    let may_be_alike = match source {
        // A whole sentence may be the same in both.
        Some(source) => {
            let is_malay = |l: Language| matches!(l, Language::Malay | Language::Indonesian);
            (source.is_chinese() && target.is_chinese()) || (is_malay(source) && is_malay(target))
        }
        // Then the text may be in the target language.
        None => true,
    };
    !may_be_alike && letters(answer).eq(letters(text)) && has_more_than_names(text)
}

fn letters(text: &str) -> impl Iterator<Item = char> + '_ {
    text.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase)
}

fn has_more_than_names(text: &str) -> bool {
    let is_unspaced = |c: &char| {
        use Script::{Burmese, Han, Kana, Khmer, Thai};
        matches!(Script::of(*c), Some(Han | Kana | Thai | Khmer | Burmese))
    };
    let is_shouted = !text.contains(char::is_lowercase);
    let is_word = |word: &&str| {
        let first = word.chars().next();
        // Case tells names from words, where there is any; other signs tell code.
        first.is_some_and(|c| !is_unspaced(&c) && (!c.is_uppercase() || is_shouted))
            && word.chars().all(|c| is_letter(c) || "'’-".contains(c))
    };
    let words = text
        .split_whitespace()
        .map(|word| word.trim_matches(|c: char| ",.;:!?¿¡؟،।\"".contains(c)));
    words.filter(is_word).count() >= ECHO_WORDS_MIN
        || text.chars().filter(is_unspaced).count() >= ECHO_LETTERS_MIN
}

/// `answer` without the words that were copied from the text, or that a term asks for, and without the
/// text's links, tags and code.
fn without_names(answer: &str, text: &str, terms: &[Term]) -> String {
    let mut answer = without_parts(answer, text);
    for term in terms {
        answer = answer.replace(term.target(), " ");
    }
    let mut bare = String::with_capacity(answer.len());
    for word in runs(&answer) {
        if !is_copied_name(word, text) {
            bare.push_str(word);
        }
        bare.push(' ');
    }
    bare
}

fn without_parts(answer: &str, text: &str) -> String {
    use PartKind::{Code, Email, Markup, Placeholder, Url};
    let options = ProtectOptions {
        style: MarkerStyle::default(),
        kinds: vec![Code, Email, Markup, Placeholder, Url],
    };
    let (mut bare, mut end) = (String::with_capacity(answer.len()), 0);
    for (_, part) in protect::parts_of(answer, &options) {
        if text.contains(&answer[part.clone()]) {
            bare.push_str(&answer[end..part.start]);
            bare.push(' ');
            end = part.end;
        }
    }
    bare.push_str(&answer[end..]);
    bare
}

/// Stretches of letters of one script, with digits and the marks inside of them.
fn runs(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        rest = rest.trim_start_matches(|c: char| !is_letter(c) && !c.is_numeric());
        let script = rest.chars().find_map(Script::of);
        let is_in = |c: char| match Script::of(c) {
            Some(other) => Some(other) == script,
            None => is_letter(c) || c.is_numeric() || "'’-_".contains(c),
        };
        let end = rest.find(|c: char| !is_in(c)).unwrap_or(rest.len());
        let (run, behind) = rest.split_at(end);
        rest = behind;
        (!run.is_empty()).then_some(run)
    })
}

fn is_copied_name(word: &str, text: &str) -> bool {
    let is_named = match word.chars().next() {
        Some(first) if first.is_lowercase() => {
            word.contains(|c: char| c.is_uppercase() || c.is_numeric())
        }
        Some(first) if first.is_uppercase() => true,
        _ => word.chars().count() <= QUOTED_CHARS_MAX,
    };
    is_named && text.contains(word)
}

fn is_letter(c: char) -> bool {
    c.is_alphabetic() || is_mark(c)
}

/// True when `language` may be written in `script`; wider than what it usually is.
fn is_written(script: Script, language: Language) -> bool {
    use Language as L;
    script.writes(language)
        || match language {
            L::Korean => script == Script::Han,
            L::Kazakh => matches!(script, Script::Latin | Script::Arabic),
            L::Uyghur => matches!(script, Script::Latin | Script::Cyrillic),
            L::Mongolian => script == Script::Latin,
            _ => false,
        }
}

fn name(script: Script) -> &'static str {
    match script {
        Script::Latin => "Latin",
        Script::Cyrillic => "Cyrillic",
        Script::Arabic => "Arabic",
        Script::Devanagari => "Devanagari",
        Script::Han => "Chinese",
        Script::Kana => "Japanese",
        Script::Hangul => "Korean",
        Script::Thai => "Thai",
        Script::Khmer => "Khmer",
        Script::Burmese => "Burmese",
        Script::Tibetan => "Tibetan",
        Script::Mongolian => "Mongolian",
        Script::Gujarati => "Gujarati",
        Script::Telugu => "Telugu",
        Script::Tamil => "Tamil",
        Script::Bengali => "Bengali",
        Script::Hebrew => "Hebrew",
        Script::Other => "other",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn language(code: &str) -> Language {
        Language::parse(code).unwrap()
    }

    fn wrong(answer: &str, text: &str, target: &str) -> Option<WrongScript> {
        check(answer, text, &[], language(target))
    }

    #[test]
    fn an_answer_in_foreign_letters_is_noticed() {
        let foreign = |letters, is_useless| Some(WrongScript::Foreign { letters, is_useless });
        for (text, answer, target, expected) in [
            ("Die Tür ist offen.", "The door is open and so on.", "zh", foreign("Latin", false)),
            ("The door is open.", "门现在开着，请进来。", "ru", foreign("Chinese", true)),
            (
                "门现在一直开着，请你们进来吧。",
                "门现在一直开着，请你们进来吧。",
                "ru",
                foreign("Chinese", true),
            ),
            (
                "The door is open now.",
                "Дверь сейчас открыта, входите.",
                "de",
                foreign("Cyrillic", true),
            ),
            (
                "The door is open.",
                "The door is open at the lobby entrance.",
                "ja",
                foreign("Latin", true),
            ),
            ("The door is open.", "ドアが開いています、どうぞ。", "ko", foreign("Japanese", false)),
            ("The doors are open.", "门都开着 die Tür", "de", None),
            ("请随手把门关上。", "PLEASE CLOSE THE DOOR BEHIND YOU", "ru", foreign("Latin", true)),
            // Names in other letters than those of the text.
            (
                "ユーチューブ、インスタグラム、フェイスブック",
                "YouTube、Instagram、Facebook",
                "zh",
                None,
            ),
        ] {
            assert_eq!(wrong(answer, text, target), expected, "{answer}");
        }
    }

    #[test]
    fn names_and_short_answers_are_in_any_script() {
        for (text, answer, target) in [
            ("Connect to Bluetooth, YouTube and HDMI2.", "连接 Bluetooth、YouTube、HDMI2。", "zh"),
            ("TurtleBot4 Navigation Stack", "TurtleBot4 Navigation Stack", "zh"),
            ("品牌", "Coca-Cola", "zh"),
            ("Иван Петров работает в Яндексе", "Ivan Petrov 在 Yandex 工作", "zh"),
            ("“水” means water.", "«水» bedeutet Wasser.", "de"),
            ("The robot", "로봇 大學校", "ko"),
        ] {
            assert_eq!(wrong(answer, text, target), None, "{answer}");
        }
        let term = Term::new("charging station", "charging station supreme").unwrap();
        let zh = Language::Chinese;
        assert_eq!(check("到 charging station supreme 去", "x", &[term], zh), None);
    }

    #[test]
    fn variants_and_missing_kana_are_noticed() {
        let variant = |is_in| Some(WrongScript::Variant { is_in });
        let (simplified, traditional) = ("请把门关上，谢谢您。", "請把門關上，謝謝您。");
        for (answer, target, expected) in [
            (simplified, "zh", None),
            (traditional, "zh", variant("traditional")),
            (simplified, "zh-Hant", variant("simplified")),
            (traditional, "zh-Hant", None),
            ("唔該閂門，多謝晒。", "yue", None),
            ("你好", "zh-Hant", None),
            ("今天我们参观东京大学图书馆和科学博物馆", "ja", Some(WrongScript::NoKana)),
            ("门现在开着，请您进来坐一会儿，我们马上开始。", "ja", Some(WrongScript::NoKana)),
            ("東京都庭園美術館", "ja", None),
            ("今日は東京大学図書館を見学します。", "ja", None),
        ] {
            assert_eq!(wrong(answer, "Please close the door.", target), expected, "{answer}");
        }
    }

    #[test]
    fn an_echo_is_noticed_where_it_is_none_of_names() {
        let echo = |text: &str, source: &str, target: &str| {
            is_echo(&format!(" {text}"), text, Some(language(source)), language(target))
        };
        assert!(echo("The door is open now, please come in.", "en", "de"));
        assert!(echo("PLEASE CLOSE THE DOOR", "en", "de"));
        assert!(echo("门开着，请进来坐一会儿。", "zh", "ja"));
        assert!(!echo("Hotel Restaurant Bar", "en", "de"));
        assert!(!echo("Anna Müller, Hamburg, Berlin, Bremen, Köln", "en", "de"));
        assert!(!echo("Saya suka makan nasi goreng di sini.", "id", "ms"));
        assert!(!echo("明天上午八点我们在图书馆见面", "zh", "yue"));
        assert!(!echo("x = a_b(c, d) + 17", "en", "de"));
        assert!(!is_echo("Die Tür", "The door", Some(Language::English), Language::German));
        assert!(!is_echo("The door is open now.", "The door is open now.", None, Language::German));
    }
}
