//! What the libraries say. Each answers in its own names and knows a part of our languages.

use crate::language::Language;

/// The linear model of `whichlang`; it always answers, even for languages it does not know.
pub(super) fn whichlang(text: &str) -> Option<Language> {
    use whichlang::Lang;
    Some(match whichlang::detect_language(text) {
        Lang::Ara => Language::Arabic,
        Lang::Deu => Language::German,
        Lang::Eng => Language::English,
        Lang::Fra => Language::French,
        Lang::Hin => Language::Hindi,
        Lang::Ita => Language::Italian,
        Lang::Nld => Language::Dutch,
        Lang::Por => Language::Portuguese,
        Lang::Rus => Language::Russian,
        Lang::Spa => Language::Spanish,
        Lang::Tur => Language::Turkish,
        Lang::Vie => Language::Vietnamese,
        _ => return None,
    })
}

/// The trigram model of `whatlang` among `candidates`, with its confidence.
pub(super) fn whatlang(text: &str, candidates: &[Language]) -> Option<(Language, f32)> {
    let known = WHATLANG.iter().filter(|(ours, _)| candidates.contains(ours));
    let allowed: Vec<whatlang::Lang> = known.map(|(_, theirs)| *theirs).collect();
    if allowed.is_empty() {
        return None;
    }
    let info = whatlang::Detector::with_allowlist(allowed).detect(text)?;
    let (language, _) = WHATLANG.iter().find(|(_, theirs)| *theirs == info.lang())?;
    Some((*language, info.confidence() as f32))
}

/// How much of a vote for `vote` counts for `language`. The trigrams of Indonesian are those of Malay,
/// which the library does not know.
pub(super) fn share(vote: Language, language: Language) -> f32 {
    match (vote, language) {
        _ if vote == language => 1.0,
        (Language::Indonesian, Language::Malay) => 0.8,
        _ => 0.0,
    }
}

static WHATLANG: &[(Language, whatlang::Lang)] = &[
    (Language::Arabic, whatlang::Lang::Ara),
    (Language::Czech, whatlang::Lang::Ces),
    (Language::Dutch, whatlang::Lang::Nld),
    (Language::English, whatlang::Lang::Eng),
    (Language::Filipino, whatlang::Lang::Tgl),
    (Language::French, whatlang::Lang::Fra),
    (Language::German, whatlang::Lang::Deu),
    (Language::Hindi, whatlang::Lang::Hin),
    (Language::Indonesian, whatlang::Lang::Ind),
    (Language::Italian, whatlang::Lang::Ita),
    (Language::Marathi, whatlang::Lang::Mar),
    (Language::Persian, whatlang::Lang::Pes),
    (Language::Polish, whatlang::Lang::Pol),
    (Language::Portuguese, whatlang::Lang::Por),
    (Language::Russian, whatlang::Lang::Rus),
    (Language::Spanish, whatlang::Lang::Spa),
    (Language::Turkish, whatlang::Lang::Tur),
    (Language::Ukrainian, whatlang::Lang::Ukr),
    (Language::Urdu, whatlang::Lang::Urd),
    (Language::Vietnamese, whatlang::Lang::Vie),
];
