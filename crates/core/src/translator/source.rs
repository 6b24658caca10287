//! Which language a text is in, and where a text of several languages changes it.

use super::plan::State;
use super::{cut, question};
use crate::detect::variants::NOT_JAPANESE;
use crate::detect::{DETECT_CHARS_MAX, Detection};
use crate::language::Language;
use crate::protect;
use crate::request::{SourceChoice, TranslateRequest};
use crate::segment::{Piece, SEGMENT_CHARS_MAX, segment};

/// How sure the language of a sentence must be before it counts as another one than that of its text.
/// Far above what a whole text needs: a text cut for nothing costs the context of its sentences.
pub const SWITCH_CONFIDENCE_MIN: f32 = 0.9;
/// Fewest letters of such a sentence. `OK!`, `Ciao!` and names are of no language.
pub const SWITCH_LETTERS_MIN: usize = 10;
/// The same in scripts that write a word in one or two characters.
pub const SWITCH_LETTERS_MIN_CJK: usize = 4;

/// The source language, and how it came to be that.
pub(super) struct Source {
    pub(super) language: Option<Language>,
    pub(super) confidence: f32,
    pub(super) detail: String,
    pub(super) has_words: bool,
}

/// A text in pieces, with the language of each that is text.
pub(super) struct Pieces<'a> {
    pub(super) all: Vec<Piece<'a>>,
    /// One per piece that is text.
    pub(super) languages: Vec<Option<Language>>,
}

impl State {
    pub(super) fn source_of(&self, request: &TranslateRequest) -> Source {
        let has_words = question::has_words(request.text());
        let known = |language, confidence| Source {
            language: Some(language),
            confidence,
            detail: String::new(),
            has_words,
        };
        if let SourceChoice::Given(language) = request.source() {
            return known(language, 1.0);
        }
        let guess = self.guess(request.text());
        if let Some(sure) =
            guess.filter(|guess| guess.confidence >= self.config.detect.min_confidence)
        {
            return known(sure.language, sure.confidence);
        }
        let best = guess.map_or(String::new(), |guess| {
            format!(" (best guess {} at {:.2})", guess.language, guess.confidence)
        });
        // In a conversation it says whom the text is for; elsewhere it must not be what leaves a text
        // untranslated.
        let kept = request
            .spoken_before()
            .filter(|language| request.is_conversation() || !request.targets().contains(language));
        let (language, assumed) = match (kept, self.config.source_fallback) {
            (Some(language), _) => (Some(language), format!("kept {language} from before")),
            (None, Some(language)) => (Some(language), format!("assumed {language}")),
            (None, None) => (None, "left to the model".to_owned()),
        };
        let detail = format!("source language not recognised{best}, {assumed}");
        Source { language, confidence: 0.0, detail, has_words }
    }

    /// Cuts a text; where it changes its language, at every sentence, so that each can be asked for, or
    /// left alone, by its own.
    pub(super) fn pieces<'a>(
        &self,
        request: &'a TranslateRequest,
        source: &mut Source,
    ) -> Pieces<'a> {
        let text = request.text();
        if request.source() == SourceChoice::Auto
            && let Some(mixed) = self.mixed(text, source.language)
        {
            let mut names: Vec<_> = mixed.languages.iter().flatten().map(|l| l.code()).collect();
            names.sort_unstable();
            names.dedup();
            super::result::append(
                &mut source.detail,
                &format!("the text is in several languages ({})", names.join(", ")),
            );
            return mixed;
        }
        let all = cut::pieces(text, source.language, self.config.family);
        let n_texts = all.iter().filter(|piece| piece.text().is_some()).count();
        Pieces { all, languages: vec![source.language; n_texts] }
    }

    /// The sentences of a text when they are surely of different languages. A sentence that says too
    /// little to tell is of the language of the one before it.
    fn mixed<'a>(&self, text: &'a str, language: Option<Language>) -> Option<Pieces<'a>> {
        let all = cut::whole(text, segment(text, language, SEGMENT_CHARS_MAX), self.config.family);
        let texts: Vec<&str> = all.iter().filter_map(|piece| piece.text()).collect();
        if texts.len() < 2 {
            return None;
        }
        let mut sure: Vec<Option<Language>> = texts.iter().map(|text| self.surely(text)).collect();
        if sure.contains(&Some(Language::Japanese)) {
            // A heading or a sign in kanji alone is none in Chinese.
            for (sure, text) in sure.iter_mut().zip(&texts) {
                let is_told = text.contains(|c| NOT_JAPANESE.contains(c));
                *sure = sure.filter(|language| is_told || !language.is_chinese());
            }
        }
        let mut found = sure.iter().flatten();
        let first = *found.next()?;
        if found.all(|other| are_alike(*other, first)) {
            return None;
        }
        let mut last = first;
        let languages = sure.into_iter().map(|sure| {
            last = sure.unwrap_or(last);
            Some(last)
        });
        Some(Pieces { languages: languages.collect(), all })
    }

    /// The likeliest language of the words of a text: tags, code and links are in none, and mostly look
    /// like English.
    fn guess(&self, text: &str) -> Option<Detection> {
        let bare = self.without_parts(text);
        let has_words = question::has_words(&bare);
        self.detector.guess(if has_words { &bare } else { text })
    }

    fn without_parts(&self, text: &str) -> String {
        let (mut bare, mut end) = (String::with_capacity(text.len()), 0);
        for (_, part) in protect::parts_of(text, &question::format_options(self.config.family)) {
            bare.push_str(&text[end..part.start]);
            bare.push(' ');
            end = part.end;
            // No more is looked at.
            if bare.chars().nth(DETECT_CHARS_MAX).is_some() {
                return bare;
            }
        }
        bare.push_str(&text[end..]);
        bare
    }

    fn surely(&self, sentence: &str) -> Option<Language> {
        let sentence = &self.without_parts(sentence);
        let guess = self.detector.guess(sentence)?;
        let is_dense = guess.language.is_chinese()
            || matches!(guess.language, Language::Japanese | Language::Korean);
        let needed = if is_dense { SWITCH_LETTERS_MIN_CJK } else { SWITCH_LETTERS_MIN };
        let n_letters = sentence.chars().filter(|c| c.is_alphabetic()).count();
        let is_sure = guess.confidence >= SWITCH_CONFIDENCE_MIN && n_letters >= needed;
        is_sure.then_some(guess.language)
    }
}

/// True for one language, and for varieties that a single sentence seldom tells apart.
fn are_alike(a: Language, b: Language) -> bool {
    let is_malay = |l: Language| matches!(l, Language::Malay | Language::Indonesian);
    a == b || (a.is_chinese() && b.is_chinese()) || (is_malay(a) && is_malay(b))
}
