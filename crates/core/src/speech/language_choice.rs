//! Which language an utterance is in, and which languages it goes to.
//!
//! What the message says wins; then the configuration; then detection, but only when it is sure; and a
//! speaker whose words say too little keeps the language of the last final.

use crate::detect::{Detection, MIN_CONFIDENCE};
use crate::language::Language;
use crate::request::SourceChoice;

/// How languages are chosen.
#[derive(Debug, Clone, PartialEq)]
pub struct LanguageConfig {
    /// The language of messages that name none.
    pub source: SourceChoice,
    /// Confidence below which a detection is not believed. 0 to 1.
    pub min_confidence: f32,
    /// Where translations go.
    pub targets: TargetMode,
}

impl Default for LanguageConfig {
    fn default() -> Self {
        Self {
            source: SourceChoice::Auto,
            min_confidence: MIN_CONFIDENCE,
            targets: TargetMode::Fixed(vec![Language::English]),
        }
    }
}

/// Where translations go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TargetMode {
    /// Into each of these, whoever speaks.
    Fixed(Vec<Language>),
    /// A conversation in two languages: what is in one goes into the other. What is in neither, or
    /// in an unknown language, goes into both, so that nobody misses it.
    OtherParty([Language; 2]),
}

/// Languages of one text.
#[derive(Debug, Clone, PartialEq)]
pub struct LanguageChoice {
    /// The language it is in; `None` when nobody knows.
    pub source: Option<Language>,
    /// 0 to 1: 1 when given, 0 when kept from before or unknown.
    pub confidence: f32,
    /// The languages it goes to.
    pub targets: Vec<Language>,
}

/// The language that a speaker spoke last.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SpeakerLanguage {
    last: Option<Language>,
}

impl SpeakerLanguage {
    /// Chooses for a text with this locale (as in the message; `en-GB`, `en_GB`, or empty) and this
    /// detection. A locale that is not a language of the model counts as none.
    pub fn choose(
        &self,
        config: &LanguageConfig,
        locale: &str,
        detected: Option<Detection>,
    ) -> LanguageChoice {
        let hint = Some(locale.trim()).filter(|tag| !tag.is_empty());
        let given = hint.and_then(|tag| Language::parse(tag).ok()).or(match config.source {
            SourceChoice::Given(language) => Some(language),
            SourceChoice::Auto => None,
        });
        let sure = detected.filter(|guess| guess.confidence >= config.min_confidence);
        let (source, confidence) = match (given, sure) {
            (Some(language), _) => (Some(language), 1.0),
            (None, Some(guess)) => (Some(guess.language), guess.confidence),
            (None, None) => (self.last, 0.0),
        };
        LanguageChoice { source, confidence, targets: targets(&config.targets, source) }
    }

    /// Remembers the language of a final. Partials do not count: their few words are what
    /// detection gets wrong.
    pub fn remember(&mut self, choice: &LanguageChoice) {
        self.last = choice.source.or(self.last);
    }
}

fn targets(mode: &TargetMode, source: Option<Language>) -> Vec<Language> {
    match (mode, source) {
        (TargetMode::Fixed(targets), _) => targets.clone(),
        (TargetMode::OtherParty(pair), source) => other_party(*pair, source),
    }
}

/// Where what is said in `source` goes in a conversation in two languages: to the other one, and to both
/// when it is in neither or unknown. Who writes Chinese in another way than the Chinese party is that
/// party still, unless both are Chinese.
pub fn other_party([a, b]: [Language; 2], source: Option<Language>) -> Vec<Language> {
    let are_both_chinese = a.is_chinese() && b.is_chinese();
    let is_of = |party: Language| {
        source.is_some_and(|source| {
            source == party || (source.is_chinese() && party.is_chinese() && !are_both_chinese)
        })
    };
    match (is_of(a), is_of(b)) {
        (true, false) => vec![b],
        (false, true) => vec![a],
        _ => vec![a, b],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guess(language: Language, confidence: f32) -> Option<Detection> {
        Some(Detection { language, confidence })
    }

    #[test]
    fn the_message_wins_then_the_configuration_then_a_sure_guess() {
        let mut config = LanguageConfig::default();
        let speaker = SpeakerLanguage::default();
        let detected = guess(Language::French, 0.9);
        for locale in ["en-GB", "en_GB", " en "] {
            let choice = speaker.choose(&config, locale, detected);
            assert_eq!((choice.source, choice.confidence), (Some(Language::English), 1.0));
        }
        for locale in ["", "sv-SE", "nonsense"] {
            assert_eq!(speaker.choose(&config, locale, detected).source, Some(Language::French));
        }
        config.source = SourceChoice::Given(Language::Japanese);
        assert_eq!(speaker.choose(&config, "", detected).source, Some(Language::Japanese));
        assert_eq!(speaker.choose(&config, "de", detected).source, Some(Language::German));
    }

    #[test]
    fn an_unsure_guess_keeps_what_the_speaker_spoke_last() {
        let config = LanguageConfig::default();
        let mut speaker = SpeakerLanguage::default();
        let unsure = guess(Language::Dutch, 0.3);
        assert_eq!(speaker.choose(&config, "", unsure).source, None);
        speaker.remember(&speaker.choose(&config, "", guess(Language::German, 0.9)));
        let kept = speaker.choose(&config, "", unsure);
        assert_eq!((kept.source, kept.confidence), (Some(Language::German), 0.0));
        let switched = speaker.choose(&config, "", guess(Language::Dutch, 0.6));
        assert_eq!(switched.source, Some(Language::Dutch));
        speaker.remember(&LanguageChoice { source: None, confidence: 0.0, targets: Vec::new() });
        assert_eq!(speaker.choose(&config, "", None).source, Some(Language::German));
    }

    #[test]
    fn a_conversation_goes_to_the_other_party() {
        let pair = [Language::Chinese, Language::English];
        let config =
            LanguageConfig { targets: TargetMode::OtherParty(pair), ..LanguageConfig::default() };
        let to = |locale| SpeakerLanguage::default().choose(&config, locale, None).targets;
        assert_eq!(to("zh-CN"), [Language::English]);
        assert_eq!(to("en_US"), [Language::Chinese]);
        assert_eq!(to("fr"), pair);
        assert_eq!(to(""), pair);
        assert_eq!(to("zh-TW"), [Language::English], "the same party, in another script");
        let both = [Language::Chinese, Language::Cantonese];
        assert_eq!(other_party(both, Some(Language::Cantonese)), [Language::Chinese]);
        assert_eq!(other_party(both, Some(Language::TraditionalChinese)), both);
    }
}
