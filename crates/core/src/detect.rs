//! Which language a text is in, among the allowed ones.
//!
//! Three steps, cheapest first: count the letters of each script; where a script belongs to one
//! allowed language, that is the answer; otherwise letters that only one of them uses, and last the
//! letter statistics of the `lingua` library in its low-accuracy mode. `docs/detection.md` tells why
//! this library, and how often it is right on short utterances.
//!
//! An allow-list helps more than anything else: six Latin-script languages are confused far less
//! often than fifteen.

mod letters;
pub(crate) mod script;
pub(crate) mod variants;
mod votes;
mod words;

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

/// Detects languages. Holds its configuration and nothing else.
#[derive(Debug, Clone)]
pub struct Detector {
    allowed: Vec<Language>,
    min_confidence: f32,
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
        let detector = Self { allowed, min_confidence: config.min_confidence };
        // The trigram tables are built on first use, which takes milliseconds.
        detector.guess("warm up");
        detector
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
                _ => by_evidence(script, &text.to_lowercase(), several),
            },
        };
        Some(Detection { confidence: guess.confidence * share, ..guess })
    }
}

/// What one frequent word of a language counts.
const WORD_WEIGHT: f32 = 1.5;
/// What the vote of each library counts.
const WHICHLANG_WEIGHT: f32 = 2.0;
const WHATLANG_WEIGHT: f32 = 1.5;

/// Weighs letters, frequent words and the votes of both libraries. `text` is lower case, and
/// `candidates` are at least two.
fn by_evidence(script: Script, text: &str, candidates: &[Language]) -> Detection {
    let able = letters::that_can_write(text, candidates);
    if let [only] = able.as_slice() {
        return Detection { language: *only, confidence: variants::MARKED };
    }
    // In the other shared scripts it knows one language each, so its vote would say nothing.
    let linear = votes::whichlang(text).filter(|_| script == Script::Latin);
    let trigrams = votes::whatlang(text, &able);
    let scores: Vec<f32> = able
        .iter()
        .zip(words::counts(text, &able))
        .map(|(language, words)| {
            let mut score = WORD_WEIGHT * words as f32 + letters::absence(text, *language);
            if linear == Some(*language) {
                score += WHICHLANG_WEIGHT;
            }
            if let Some((vote, confidence)) = trigrams {
                let share = votes::share(vote, *language);
                score += WHATLANG_WEIGHT * share * (0.4 + 0.6 * confidence);
            }
            score
        })
        .collect();
    let total: f32 = scores.iter().map(|score| score.exp()).sum();
    let best = (0..able.len()).rev().max_by(|a, b| scores[*a].total_cmp(&scores[*b])).unwrap_or(0);
    Detection { language: able[best], confidence: scores[best].exp() / total }
}

#[cfg(test)]
mod tests;
