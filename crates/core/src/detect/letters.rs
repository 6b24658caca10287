//! Which letters a language uses, among the languages that share its script.

use crate::language::Language;

/// The letters of each alphabet beyond those that all languages of its script share. For Spanish, the
/// inverted marks count as letters, since no other language has them.
static ALPHABETS: &[(Language, &str)] = &[
    (Language::English, "éï"),
    (Language::French, "àâæçéèêëîïôœùûüÿ"),
    (Language::Portuguese, "áâãàçéêíóôõúü"),
    (Language::Spanish, "áéíñóúü¿¡"),
    (Language::Turkish, "çğıöşüâîû"),
    (Language::Italian, "àèéìíîòóùú"),
    (Language::German, "äöüß"),
    (Language::Vietnamese, "àáâãèéêìíòóôõùúýăđĩũơưạảấầẩẫậắằẳẵặẹẻẽếềểễệỉịọỏốồổỗộớờởỡợụủứừửữựỳỵỷỹ"),
    (Language::Malay, "é"),
    (Language::Indonesian, "é"),
    (Language::Filipino, "ñ"),
    (Language::Polish, "ąćęłńóśźż"),
    (Language::Czech, "áčďéěíňóřšťúůýž"),
    (Language::Dutch, "éëïóöüè"),
    (Language::Russian, "ёъыэ"),
    (Language::Ukrainian, "ґєії"),
    (Language::Kazakh, "әғқңөұүһіёъыэ"),
    (Language::Mongolian, "өүёъыэ"),
    (Language::Arabic, "ةأإؤئآىيك"),
    // Persian is often typed with the Arabic forms of `ی` and `ک`.
    (Language::Persian, "پچژگکیئآأؤيكة"),
    (Language::Urdu, "ٹڈڑںےہھپچژگکیئآؤأ"),
    (Language::Uyghur, "ېۇۆۈڭەۋىھپچژگكيئ"),
    (Language::Hindi, "ँ\u{093C}"),
    (Language::Marathi, "ळऱ"),
];

/// The candidates whose alphabet has every letter of `text`; all of them when none has, since a
/// foreign name must not leave no answer. `text` is lower case.
pub(super) fn that_can_write(text: &str, candidates: &[Language]) -> Vec<Language> {
    let telling: Vec<char> = text.chars().filter(|c| is_telling(*c)).collect();
    let able: Vec<Language> = candidates
        .iter()
        .copied()
        .filter(|language| telling.iter().all(|c| alphabet(*language).contains(*c)))
        .collect();
    if able.is_empty() { candidates.to_vec() } else { able }
}

/// What the absence of a language's own letters in `text` says against it, in nats: zero or negative.
///
/// A text of n letters without any has probability (1 - rate)^n, with the share of such letters in running
/// text as the rate; the languages with less than one in twenty are left out. Bounded, since people type
/// without accents.
pub(super) fn absence(text: &str, language: Language) -> f32 {
    const BOUND_NATS: f32 = -2.0;
    let rate = match language {
        Language::Ukrainian => 0.08,
        Language::Kazakh => 0.15,
        Language::Mongolian => 0.07,
        Language::Persian => 0.12,
        Language::Urdu => 0.2,
        Language::Uyghur => 0.25,
        Language::Vietnamese => 0.2,
        Language::Polish => 0.07,
        Language::Czech => 0.13,
        Language::Turkish => 0.1,
        _ => return 0.0,
    };
    // Persian shares `أ` and the like with Arabic; what counts are the letters Arabic lacks.
    let letters = if language == Language::Persian { "پچژگکی" } else { alphabet(language) };
    if text.contains(|c: char| letters.contains(c)) {
        return 0.0;
    }
    let count = text.chars().filter(|c| c.is_alphabetic()).count();
    (count as f32 * (1.0_f32 - rate).ln()).max(BOUND_NATS)
}

fn alphabet(language: Language) -> &'static str {
    ALPHABETS.iter().find(|(listed, _)| *listed == language).map_or("", |(_, letters)| letters)
}

/// True for a letter that at least one alphabet of the table lists.
fn is_telling(c: char) -> bool {
    !c.is_ascii() && ALPHABETS.iter().any(|(_, letters)| letters.contains(c))
}
