//! What a model is calibrated on: sentences in the prompts it will see.
//!
//! Which channels of a network are loud depends on what it reads, so the texts are of the kind and
//! the languages it will translate, in its own chat format, with its own task sentences.

use std::path::Path;

use anyhow::Context as _;
use hymt_core::language::Language;
use hymt_core::prompt::{PromptFamily, PromptRequest, build};
use hymt_core::request::Formality;
use hymt_llm::TokenId;
use hymt_llm::chat::{ChatFormat, Opener};
use hymt_llm::weights::read_bounded;

use crate::app::{self, EngineOptions};

/// The sentences that come with the program.
const SENTENCES: &str = include_str!("calibration.tsv");
/// Largest calibration file. Bytes.
pub(super) const FILE_BYTES_MAX: usize = 4 << 20;
/// Every so many prompts, one carries the sentence before it as context.
const CONTEXT_EVERY: usize = 5;

/// One text to be asked about.
#[derive(Debug, Clone, PartialEq)]
struct Sample {
    source: Option<Language>,
    target: Language,
    text: String,
}

/// Prompts as token ids for `model`, from `file` or from the sentences that come with the program.
pub(in crate::cli) fn prompts(
    model: &EngineOptions,
    file: Option<&Path>,
) -> anyhow::Result<Vec<Vec<TokenId>>> {
    let samples = match file {
        None => built_in(),
        Some(path) => {
            let shown = path.display();
            let bytes = read_bounded(path, FILE_BYTES_MAX)?;
            let text =
                String::from_utf8(bytes).with_context(|| format!("'{shown}' is not UTF-8"))?;
            from_text(&text).with_context(|| format!("bad calibration file '{shown}'"))?
        }
    };
    let tokenizer = app::load_tokenizer(model)?;
    let chat = ChatFormat::detect(&tokenizer, Opener::default())?;
    texts(app::family(model), &samples)
        .iter()
        .map(|text| Ok(chat.render(&tokenizer, None, text)?))
        .collect()
}

/// Prompts of random tokens, `n_tokens` in all; the same ones each time.
pub(in crate::cli) fn random(vocab_size: usize, n_tokens: usize) -> Vec<Vec<TokenId>> {
    const PROMPT_TOKENS: usize = 32;
    // SplitMix64 (Steele, Lea and Flood, 2014).
    let mut state = 0_u64;
    let mut next = || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % vocab_size as u64) as TokenId
    };
    let ids: Vec<TokenId> = (0..n_tokens).map(|_| next()).collect();
    ids.chunks(PROMPT_TOKENS).map(<[TokenId]>::to_vec).collect()
}

/// The user turn of each sample.
fn texts(family: PromptFamily, samples: &[Sample]) -> Vec<String> {
    let ask = |(index, sample): (usize, &Sample)| {
        let before = index.checked_sub(1).and_then(|before| samples.get(before));
        let context = before.filter(|_| index % CONTEXT_EVERY == CONTEXT_EVERY - 1);
        let request = PromptRequest {
            source: sample.source,
            target: sample.target,
            text: &sample.text,
            terms: &[],
            context: context.map(|before| before.text.as_str()),
            formality: Formality::Default,
        };
        build(family, &request)
    };
    samples.iter().enumerate().map(ask).collect()
}

/// The sentences that come with the program, language after language in turn, so that the first few
/// already hold all of them.
fn built_in() -> Vec<Sample> {
    let mut by_language: Vec<(Language, Vec<&str>)> = Vec::new();
    for line in SENTENCES.lines().filter(|line| !line.starts_with('#')) {
        let (code, text) = line.split_once('\t').expect("each line has a tab, see the test");
        let language = Language::parse(code).expect("each code is a language, see the test");
        match by_language.iter_mut().find(|(known, _)| *known == language) {
            Some((_, texts)) => texts.push(text),
            None => by_language.push((language, vec![text])),
        }
    }
    let rounds = by_language.iter().map(|(_, texts)| texts.len()).max().unwrap_or_default();
    let in_turn = (0..rounds).flat_map(|round| {
        by_language
            .iter()
            .filter_map(move |(language, texts)| Some((*language, (*texts.get(round)?).to_owned())))
    });
    let mut targets = targets();
    let sample = |(source, text)| Sample {
        source: Some(source),
        target: targets.find(|target| *target != source).expect("the targets never end"),
        text,
    };
    in_turn.map(sample).collect()
}

/// Lines of `text`, then optionally a tab and the target.
fn from_text(text: &str) -> anyhow::Result<Vec<Sample>> {
    let mut targets = targets();
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let samples = lines.map(|(index, line)| {
        let (text, target) = match line.rsplit_once('\t') {
            Some((text, code)) => {
                let target = Language::parse(code.trim());
                (text, target.with_context(|| format!("line {}", index + 1))?)
            }
            None => (line, targets.next().expect("the targets never end")),
        };
        Ok(Sample { source: None, target, text: text.trim().to_owned() })
    });
    let samples = samples.collect::<anyhow::Result<Vec<_>>>()?;
    anyhow::ensure!(!samples.is_empty(), "it holds no text");
    Ok(samples)
}

/// All languages, again and again.
fn targets() -> impl Iterator<Item = Language> {
    std::iter::repeat_with(Language::all).flatten()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_sentences_cover_sixteen_languages_and_every_target() {
        let samples = built_in();
        assert_eq!(samples.len(), 160);
        let sources: BTreeSet<_> = samples.iter().filter_map(|s| Some(s.source?.code())).collect();
        assert_eq!(sources.len(), 16, "{sources:?}");
        for code in ["en", "zh", "de", "fr", "es", "ja"] {
            assert!(sources.contains(code), "{code} is a language of the demo model");
        }
        let first: BTreeSet<_> =
            samples[..16].iter().filter_map(|s| Some(s.source?.code())).collect();
        assert_eq!(first, sources, "the first sixteen hold every language");
        let targets: BTreeSet<_> = samples.iter().map(|sample| sample.target.code()).collect();
        assert_eq!(targets.len(), Language::all().len());
        assert!(samples.iter().all(|sample| sample.source != Some(sample.target)));
        let texts: BTreeSet<_> = samples.iter().map(|sample| &sample.text).collect();
        assert_eq!(texts.len(), samples.len(), "no sentence twice");
    }

    #[test]
    fn prompts_are_those_of_the_family() {
        let texts = texts(PromptFamily::HyMt2, &built_in());
        assert!(texts[0].contains("Welcome! I am the guide robot"));
        let with_context = texts.iter().filter(|text| text.contains("Background")).count();
        assert!(with_context > 10, "{with_context}");
    }

    #[test]
    fn random_prompts_are_of_the_vocabulary_and_as_many_as_asked_for() {
        let prompts = random(300, 100);
        assert_eq!(prompts.iter().map(Vec::len).collect::<Vec<_>>(), [32, 32, 32, 4]);
        let distinct: BTreeSet<_> = prompts.iter().flatten().collect();
        assert!(distinct.len() > 50 && distinct.iter().all(|id| **id < 300), "{distinct:?}");
    }

    #[test]
    fn a_file_of_the_users_own() {
        let samples = from_text("Hello there\tde\n\n  Good morning \n").unwrap();
        assert_eq!(samples.len(), 2);
        assert_eq!((samples[0].text.as_str(), samples[0].target.code()), ("Hello there", "de"));
        assert_eq!((samples[1].text.as_str(), samples[1].source), ("Good morning", None));
        for (text, named) in
            [("", "no text"), ("\n \n", "no text"), ("a\tde\nb\tklingon", "line 2")]
        {
            let message = format!("{:#}", from_text(text).unwrap_err());
            assert!(message.contains(named), "{text:?}: {message}");
        }
    }
}
