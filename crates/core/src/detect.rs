//! Which language a text is in, among the allowed ones.
//!
//! Three steps, cheapest first: count the letters of each script; where a script belongs to one
//! allowed language, that is the answer; otherwise letters that only one of them uses, and last the
//! letter statistics of the `lingua` library in its low-accuracy mode. `docs/detection.md` tells why
//! this library, and how often it is right on short utterances.
//!
//! An allow-list helps more than anything else: six Latin-script languages are confused far less
//! often than fifteen.

mod script;
mod variants;

use lingua::{LanguageDetector, LanguageDetectorBuilder};

use crate::language::Language;
use script::{Script, ScriptCounts};

/// Characters looked at; the language of a text shows well before its end.
pub const DETECT_CHARS_MAX: usize = 400;
/// Confidence below which a guess is not used, by default.
pub const MIN_CONFIDENCE: f32 = 0.6;

/// How languages are detected.
#[derive(Debug, Clone, PartialEq)]
pub struct DetectConfig {
    /// Languages that may be the answer; empty for all.
    pub allowed: Vec<Language>,
    /// 0 to 1; [`Detector::detect`] gives no answer below it.
    pub min_confidence: f32,
}

impl Default for DetectConfig {
    fn default() -> Self {
        Self { allowed: Vec::new(), min_confidence: MIN_CONFIDENCE }
    }
}

/// A detected language.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Detection {
    /// The language.
    pub language: Language,
    /// 0 to 1, relative to the other allowed languages.
    pub confidence: f32,
}

/// Detects languages. Cheap to share, so that one lives as long as its configuration; its statistics
/// are read on first use and kept by the process.
pub struct Detector {
    allowed: Vec<Language>,
    min_confidence: f32,
    /// For scripts that several allowed languages share.
    statistics: Vec<(Script, LanguageDetector)>,
}

impl std::fmt::Debug for Detector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Detector")
            .field("allowed", &self.allowed)
            .field("min_confidence", &self.min_confidence)
            .finish_non_exhaustive()
    }
}

impl Detector {
    /// A detector for these languages.
    pub fn new(config: &DetectConfig) -> Self {
        let mut allowed: Vec<Language> = match config.allowed.as_slice() {
            [] => Language::all().collect(),
            some => some.to_vec(),
        };
        allowed.sort_unstable();
        allowed.dedup();
        let shared = [Script::Latin, Script::Cyrillic, Script::Arabic, Script::Devanagari];
        let statistics = shared
            .into_iter()
            .filter_map(|script| Some((script, statistics_for(script, &allowed)?)))
            .collect();
        Self { allowed, min_confidence: config.min_confidence, statistics }
    }

    /// The language of `text`; `None` when it has no letters, when no allowed language is written in
    /// its script, or when the best guess is below the configured confidence.
    pub fn detect(&self, text: &str) -> Option<Detection> {
        self.guess(text).filter(|guess| guess.confidence >= self.min_confidence)
    }

    /// The best guess, however uncertain; `None` as in [`Self::detect`].
    pub fn guess(&self, text: &str) -> Option<Detection> {
        let text: String = text.chars().take(DETECT_CHARS_MAX).collect();
        let counts = ScriptCounts::of(&text);
        let (script, share) = counts.dominant()?;
        let candidates: Vec<Language> =
            self.allowed.iter().copied().filter(|l| script.writes(*l)).collect();
        let guess = match candidates.as_slice() {
            [] => return None,
            [only] => Detection { language: *only, confidence: 1.0 },
            several => match script {
                Script::Han => variants::han(&text, several),
                script => variants::by_letters(script, &text, several)
                    .or_else(|| self.by_statistics(script, &text))?,
            },
        };
        Some(Detection { confidence: guess.confidence * share, ..guess })
    }

    /// Reads the statistics now instead of at the first detection.
    pub fn warm_up(&self) {
        for (_, detector) in &self.statistics {
            detector.compute_language_confidence_values("a");
        }
    }

    fn by_statistics(&self, script: Script, text: &str) -> Option<Detection> {
        let (_, detector) = self.statistics.iter().find(|(s, _)| *s == script)?;
        let values = detector.compute_language_confidence_values(text);
        let (language, confidence) = values.first()?;
        Some(Detection { language: from_lingua(*language)?, confidence: *confidence as f32 })
            .filter(|guess| guess.confidence > 0.0)
    }
}

fn statistics_for(script: Script, allowed: &[Language]) -> Option<LanguageDetector> {
    let known: Vec<lingua::Language> =
        allowed.iter().filter(|l| script.writes(**l)).filter_map(|l| to_lingua(*l)).collect();
    if known.len() < 2 {
        return None;
    }
    Some(LanguageDetectorBuilder::from_languages(&known).with_low_accuracy_mode().build())
}

/// The languages that the library can tell apart and that share a script with another one.
static LINGUA: &[(Language, lingua::Language)] = &[
    (Language::Arabic, lingua::Language::Arabic),
    (Language::Czech, lingua::Language::Czech),
    (Language::Dutch, lingua::Language::Dutch),
    (Language::English, lingua::Language::English),
    (Language::Filipino, lingua::Language::Tagalog),
    (Language::French, lingua::Language::French),
    (Language::German, lingua::Language::German),
    (Language::Hindi, lingua::Language::Hindi),
    (Language::Indonesian, lingua::Language::Indonesian),
    (Language::Italian, lingua::Language::Italian),
    (Language::Kazakh, lingua::Language::Kazakh),
    (Language::Malay, lingua::Language::Malay),
    (Language::Marathi, lingua::Language::Marathi),
    (Language::Mongolian, lingua::Language::Mongolian),
    (Language::Persian, lingua::Language::Persian),
    (Language::Polish, lingua::Language::Polish),
    (Language::Portuguese, lingua::Language::Portuguese),
    (Language::Russian, lingua::Language::Russian),
    (Language::Spanish, lingua::Language::Spanish),
    (Language::Turkish, lingua::Language::Turkish),
    (Language::Ukrainian, lingua::Language::Ukrainian),
    (Language::Urdu, lingua::Language::Urdu),
    (Language::Vietnamese, lingua::Language::Vietnamese),
];

fn to_lingua(language: Language) -> Option<lingua::Language> {
    LINGUA.iter().find(|(ours, _)| *ours == language).map(|(_, theirs)| *theirs)
}

fn from_lingua(language: lingua::Language) -> Option<Language> {
    LINGUA.iter().find(|(_, theirs)| *theirs == language).map(|(ours, _)| *ours)
}

#[cfg(test)]
mod tests;
