//! What a model adds to a translation, or gives instead of one.

use crate::detect::script::Script;

/// How long an introduction may be. Characters.
pub const INTRODUCTION_CHARS_MAX: usize = 80;
/// Least weight of a text whose translation's length says something; see [`length`].
pub const LENGTH_WEIGHT_MIN: f32 = 40.0;
/// A translation is at most so many times as long as its text, in letters of its script class.
pub const LENGTH_RATIO_MAX: f32 = 4.0;
/// And at least this share of it.
pub const LENGTH_RATIO_MIN: f32 = 0.2;

/// What stood around a translation and was taken away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wrapper {
    /// "Translation:", "以下是翻译：".
    Introduction,
    /// "(Note: ...)".
    Note,
    /// Quotation marks around all of it.
    Quotes,
    /// A code fence or bold type around all of it.
    Format,
}

/// Whether an answer's length can be that of a translation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Length {
    /// It can.
    Fits,
    /// Far more than the text says.
    TooLong,
    /// Far less.
    TooShort,
}

/// Words that, with a colon behind, introduce a translation. Lower case.
const LABELS: &[&str] = &[
    "translation",
    "translated text",
    "translated result",
    "translation result",
    "the translation is",
    "翻译",
    "译文",
    "翻译结果",
    "译文如下",
    "翻译如下",
    "翻譯",
    "譯文",
    "翻譯結果",
    "翻訳",
    "翻訳結果",
    "번역",
    "번역 결과",
    "übersetzung",
    "traduction",
    "traducción",
    "tradução",
    "traduzione",
    "перевод",
    "переклад",
    "tłumaczenie",
    "překlad",
    "vertaling",
    "çeviri",
    "bản dịch",
    "terjemahan",
    "pagsasalin",
    "ترجمة",
    "الترجمة",
    "ترجمه",
    "תרגום",
    "अनुवाद",
    "คำแปล",
    "অনুবাদ",
    "மொழிபெயர்ப்பு",
];

/// How whole sentences that introduce one begin, and the word that makes them one. Lower case.
const SENTENCES: &[(&str, &str)] = &[
    ("sure", "translat"),
    ("certainly", "translat"),
    ("of course", "translat"),
    ("here is", "translat"),
    ("here's", "translat"),
    ("here’s", "translat"),
    ("the following is", "translat"),
    ("以下是", "翻译"),
    ("以下为", "翻译"),
    ("以下是", "译文"),
    ("好的", "翻译"),
    ("这是", "翻译"),
    ("以下是", "翻譯"),
    ("以下", "翻訳"),
    ("다음은", "번역"),
    ("hier ist", "übersetzung"),
    ("voici", "traduction"),
    ("aquí está", "traducción"),
    ("aqui está", "tradução"),
    ("ecco", "traduzione"),
    ("вот", "перевод"),
];

/// How notes begin, behind their bracket. Lower case.
const NOTES: &[&str] = &[
    "note:",
    "note that",
    "translator's note",
    "translation note",
    "explanation:",
    "注：",
    "注:",
    "注意：",
    "备注：",
    "译注",
    "说明：",
    "解释：",
    "註：",
    "备注:",
    "说明:",
    "参考:",
    "참고:",
    "hinweis:",
    "anmerkung:",
    "remarque",
    "nota:",
    "примечание",
    "uwaga:",
    "poznámka",
    "opmerking:",
    "ملاحظة",
];

/// Marks of quotation around a whole answer.
const QUOTES: &[(&str, &str)] = &[
    ("\"", "\""),
    ("“", "”"),
    ("„", "“"),
    ("„", "”"),
    ("«", "»"),
    ("「", "」"),
    ("『", "』"),
    ("‘", "’"),
    ("'", "'"),
];

/// Marks of quotation that are not taken away, but whose translation may be one of [`QUOTES`].
const OTHER_QUOTES: &[&str] = &["《", "》", "〈", "〉", "‹", "›", "〝", "〞", "〟", "＂", "‟", "‚"];

/// Pieces of the prompts that nothing else says. Lower case.
const INSTRUCTIONS: &[&str] = &[
    "without additional explanation",
    "without any additional explanation",
    "only output the translat",
    "不要额外解释",
    "只需要输出翻译",
    "[source text]",
    "【待翻译文本】",
    "[background information]",
    "【背景信息】",
    "exact same number of delimiters",
    "等量的分隔符",
];

/// The same, of which a text about translating may have a translation. Lower case.
const TASKS: &[&str] = &[
    "translate the following text",
    "translate the following segment",
    "将以下文本翻译",
    "将以下文本准确翻译",
    "把下面的文本翻译",
    "参考下面的翻译",
    "reference the following translation",
];

/// What a model says of itself; a robot may say so too. Lower case.
const SELVES: &[&str] = &["as an ai language model", "作为一个人工智能", "作为一个ai"];

/// Pieces of words for translating, by which a text about it is known. Lower case.
const TRANSLATING: &[&str] = &[
    "translat",
    "interpret",
    "译",
    "譯",
    "訳",
    "번역",
    "통역",
    "übersetz",
    "dolmetsch",
    "tradu",
    "interprè",
    "перев",
    "перекла",
    "tłumacz",
    "překl",
    "přelož",
    "vertal",
    "vertaal",
    "çevir",
    "dịch",
    "terjemah",
    "isalin",
    "pagsasalin",
    "ترجم",
    "תרגו",
    "תרגמ",
    "अनुवाद",
    "भाषांतर",
    "แปล",
    "অনুবাদ",
    "மொழிபெயர்",
    "అనువ",
    "અનુવાદ",
    "аудар",
    "орчуул",
    "تەرجىم",
    "បកប្រែ",
    "ဘာသာပြန်",
    "བསྒྱུར",
];

/// Names of artificial intelligence: pieces of words, and whole words. Lower case.
const INTELLIGENCES: &[&str] = &[
    "artifi",
    "künstlich",
    "人工智",
    "人工知能",
    "인공지능",
    "искусств",
    "штучн",
    "sztuczn",
    "uměl",
    "kunstmatig",
    "yapay",
    "nhân tạo",
    "buatan",
    "الذكاء",
    "ذكاء",
    "مصنوعی",
    "مصنوعي",
    "מלאכותית",
    "कृत्रिम",
    "ประดิษฐ์",
    "কৃত্রিম",
    "செயற்கை",
    "కృత్రిమ",
    "કૃત્રિમ",
    "жасанды",
    "хиймэл",
    "语言模型",
    "語言模型",
    "言語モデル",
    "sprachmodell",
    "language model",
    "언어 모델",
];
const INTELLIGENCE_WORDS: &[&str] = &["ai", "ki", "ia", "ии", "ші", "yz"];

/// Takes away what unambiguously stands around a translation: such a thing that `text` has none of.
pub fn unwrap(answer: &str, text: &str) -> (String, Vec<Wrapper>) {
    let (mut rest, mut found) = (answer.trim(), Vec::new());
    let text_lower = text.to_lowercase();
    loop {
        let step = introduction(rest, &text_lower)
            .map(|inner| (inner, Wrapper::Introduction))
            .or_else(|| note(rest, &text_lower).map(|inner| (inner, Wrapper::Note)))
            .or_else(|| format(rest, text).map(|inner| (inner, Wrapper::Format)))
            .or_else(|| quotes(rest, text).map(|inner| (inner, Wrapper::Quotes)));
        let Some((inner, wrapper)) = step else { return (rest.to_owned(), found) };
        rest = inner;
        found.push(wrapper);
    }
}

/// Something must be left that is a translation.
fn left(inner: &str) -> Option<&str> {
    Some(inner.trim()).filter(|inner| inner.chars().any(char::is_alphanumeric))
}

fn introduction<'t>(answer: &'t str, text: &str) -> Option<&'t str> {
    let (at, colon) =
        answer.char_indices().take(INTRODUCTION_CHARS_MAX).find(|(_, c)| is_colon(*c))?;
    // A text that has a label itself, or speaks of translating, has a translation that does.
    if text.chars().take(INTRODUCTION_CHARS_MAX).any(is_colon) || has_any(text, TRANSLATING) {
        return None;
    }
    let head = answer[..at].trim_matches(|c: char| c.is_whitespace() || "*#".contains(c));
    let head = head.to_lowercase();
    let named = head.split(['(', '（']).next().unwrap_or_default().trim_end();
    let named = named.split(" into ").next().unwrap_or_default();
    let is_sentence = |(start, word): &(&str, &str)| head.starts_with(start) && head.contains(word);
    let is_one = LABELS.contains(&named) || SENTENCES.iter().any(is_sentence);
    let behind = answer[at + colon.len_utf8()..].trim_start_matches('*');
    is_one.then(|| left(behind)).flatten()
}

fn note<'t>(answer: &'t str, text: &str) -> Option<&'t str> {
    let is_note = |words: &str| {
        let words = words.trim_start().trim_start_matches(['*', '_']).to_lowercase();
        NOTES.iter().any(|note| words.starts_with(note))
    };
    let is_own = NOTES.iter().any(|note| text.contains(note.trim_end_matches([':', '：'])));
    if is_own {
        return None;
    }
    if answer.ends_with([')', '）']) && !text.contains(['(', '（', '[', '［', '【', '〔', '{'])
    {
        let (at, bracket) = answer.char_indices().rev().find(|(_, c)| matches!(c, '(' | '（'))?;
        if is_note(&answer[at + bracket.len_utf8()..]) {
            return left(&answer[..at]);
        }
    }
    let (at, _) = answer
        .char_indices()
        .find(|(at, c)| *c == '\n' && !text.contains('\n') && is_note(&answer[at + 1..]))?;
    left(&answer[..at])
}

fn quotes<'t>(answer: &'t str, text: &str) -> Option<&'t str> {
    let is_quote = |mark: &str| {
        QUOTES.iter().any(|(open, close)| *open == mark || *close == mark)
            || OTHER_QUOTES.contains(&mark)
    };
    // An apostrophe is no quotation, but then what looks like one may be another.
    if text.chars().any(|c| is_quote(c.encode_utf8(&mut [0; 4]))) {
        return None;
    }
    QUOTES.iter().find_map(|(open, close)| {
        let inner = answer.strip_prefix(open)?.strip_suffix(close)?;
        let is_whole = !inner.contains(open) && !inner.contains(close);
        is_whole.then(|| left(inner)).flatten()
    })
}

fn format<'t>(answer: &'t str, text: &str) -> Option<&'t str> {
    if let Some(inner) = answer.strip_prefix("```").and_then(|rest| rest.strip_suffix("```"))
        && !text.contains("```")
    {
        let (language, code) = inner.split_once('\n').unwrap_or(("", inner));
        let is_language = language.chars().all(|c| c.is_ascii_alphanumeric());
        return left(if is_language { code } else { inner });
    }
    let inner = answer.strip_prefix("**")?.strip_suffix("**")?;
    (!text.contains('*') && !inner.contains('*')).then(|| left(inner)).flatten()
}

fn is_colon(c: char) -> bool {
    matches!(c, ':' | '：')
}

/// True when an answer holds a piece of the prompt's instruction, or speaks of itself, and the text
/// does not; nor is the text about such things, in whatever language.
pub fn has_instruction(answer: &str, text: &str) -> bool {
    let (answer, text) = (answer.to_lowercase(), text.to_lowercase());
    let is_new = |pieces: &[&str]| {
        pieces.iter().any(|piece| answer.contains(piece) && !text.contains(piece))
    };
    is_new(INSTRUCTIONS)
        || (is_new(TASKS) && !has_any(&text, TRANSLATING))
        || (is_new(SELVES) && !speaks_of_intelligence(&text))
}

fn speaks_of_intelligence(text: &str) -> bool {
    let mut words = text.split(|c: char| !c.is_alphanumeric());
    has_any(text, INTELLIGENCES) || words.any(|word| INTELLIGENCE_WORDS.contains(&word))
}

fn has_any(text: &str, pieces: &[&str]) -> bool {
    pieces.iter().any(|piece| text.contains(piece))
}

/// Compares the lengths of a text and its translation. A letter weighs what it says on average in its
/// script, by the lengths of parallel texts: a Han character as much as three Latin letters.
pub fn length(answer: &str, text: &str) -> Length {
    let (text, answer) = (weight(text), weight(answer));
    if text >= LENGTH_WEIGHT_MIN && answer < text * LENGTH_RATIO_MIN {
        Length::TooShort
    } else if answer > text.max(LENGTH_WEIGHT_MIN) * LENGTH_RATIO_MAX {
        Length::TooLong
    } else {
        Length::Fits
    }
}

fn weight(text: &str) -> f32 {
    let of = |c: char| match Script::of(c) {
        Some(Script::Han) => 3.0,
        Some(Script::Kana) => 1.7,
        Some(Script::Hangul) => 2.2,
        Some(Script::Arabic | Script::Hebrew) => 1.25,
        Some(_) => 1.0,
        None if c.is_numeric() => 1.0,
        None => 0.0,
    };
    text.chars().map(of).sum()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_stands_around_is_taken_away() {
        use Wrapper::{Format, Introduction, Note, Quotes};
        for (answer, expected, wrappers) in [
            ("Translation: Die Tür ist offen.", "Die Tür ist offen.", &[Introduction][..]),
            ("**Translation (German):** Die Tür", "Die Tür", &[Introduction]),
            ("Sure, here is the translation:\n\nDie Tür", "Die Tür", &[Introduction]),
            ("Here's the translation into German: “Die Tür”", "Die Tür", &[Introduction, Quotes]),
            ("以下是翻译结果：\n门开着。", "门开着。", &[Introduction]),
            ("译文：门开着。（注：指大门）", "门开着。", &[Introduction, Note]),
            ("Die Tür ist offen. (Note: informal)", "Die Tür ist offen.", &[Note]),
            (
                "Die Tür ist offen.\n\nNote: this is informal.\nReally.",
                "Die Tür ist offen.",
                &[Note],
            ),
            ("«Дверь открыта.»", "Дверь открыта.", &[Quotes]),
            ("「ドアが開いています。」", "ドアが開いています。", &[Quotes]),
            ("```text\nDie Tür\n```", "Die Tür", &[Format]),
            ("**Die Tür**", "Die Tür", &[Format]),
        ] {
            let found = unwrap(answer, "The door is open.");
            assert_eq!(found, (expected.to_owned(), wrappers.to_vec()), "{answer}");
        }
    }

    #[test]
    fn what_the_text_has_stays() {
        for (answer, text) in [
            ("Übersetzung: Herr Li", "Translation: Mr Li"),
            ("翻译：李先生", "Dolmetscher: Herr Li"),
            ("«Стой!»", "\"Stop!\""),
            ("Er sagte: „Halt“", "He said: stop"),
            ("\"A\" und \"B\"", "A and B"),
            ("Hinweis: Die Tür ist offen.", "Note: the door is open."),
            ("Die Tür (rechts)", "The door on the right"),
            ("Geöffnet (Hinweis: montags nicht)", "Open [attention: not on Mondays]"),
            ("Translation:", "The door"),
            ("Sure, I will open the door: it is easy.", "Claro, abriré la puerta; es fácil."),
            ("C'est l'heure", "It is time"),
            ("“Dream of the Red Chamber”", "《红楼梦》"),
            ("„Der Fremde“", "‹L’Étranger›"),
            ("Sure, I can translate it: tell me what.", "Claro, puedo traducirlo; dime qué."),
            (
                "Here is the translation you wanted: read it.",
                "Hier ist Ihre Übersetzung – lesen Sie.",
            ),
            ("\"\"", "x"),
        ] {
            assert_eq!(unwrap(answer, text), (answer.to_owned(), Vec::new()), "{answer}");
        }
    }

    #[test]
    fn instructions_and_lengths() {
        assert!(has_instruction("Translate the following text into German: Die Tür", "The door"));
        assert!(has_instruction("门。不要额外解释", "The door"));
        assert!(!has_instruction("Translate the following", "translate the following words"));
        for (answer, text) in [
            (
                "Additional explanations are in the appendix.",
                "Weitere Erläuterungen stehen im Anhang.",
            ),
            ("将以下文本复制到文件中。", "Copy the following text into the file."),
            ("请参考上面的信息。", "Please refer to the information above."),
            ("The number of delimiters differs.", "Die Zahl der Trennzeichen ist verschieden."),
            (
                "Translate the following text into English.",
                "Übersetze den folgenden Text ins Englische.",
            ),
            ("作为一个人工智能，我不吃东西。", "As an artificial intelligence, I do not eat."),
            ("作为一个AI，我不吃东西。", "Als KI esse ich nichts."),
        ] {
            assert!(!has_instruction(answer, text), "{answer}");
        }
        assert!(has_instruction("作为一个人工智能，我不能翻译。", "The door"));
        assert!(has_instruction("将以下文本翻译为中文：门", "The door"));
        let text = "Please close the heavy door behind you when you leave.";
        assert_eq!(length("请在离开时随手关门。", text), Length::Fits);
        assert_eq!(length("Tür", text), Length::TooShort);
        assert_eq!(
            length(&"Die Tür ist die Tür eines Hauses mit Türen. ".repeat(6), text),
            Length::TooLong
        );
        assert_eq!(length("Donaudampfschifffahrtsgesellschaftskapitän", "船长"), Length::Fits);
    }

    proptest! {
        #[test]
        fn unwrapping_never_panics_and_is_idempotent(
            parts in prop::collection::vec(
                "[\"“”„«»「」'*`:：()（）\n]|Note: |注：|Translation|译文|```|Sure, here is the translation|.", 0..16),
        ) {
            let text = parts.concat();
            let (once, _) = unwrap(&text, "");
            prop_assert_eq!(unwrap(&once, ""), (once.clone(), Vec::new()));
            length(&text, &once);
            has_instruction(&text, &once);
        }
    }
}
