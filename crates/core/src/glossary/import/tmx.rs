//! TMX 1.4b, the exchange format of translation memories.
//!
//! A translation memory holds sentences; only short segments are terms. A segment of more than
//! [`SEGMENT_CHARS_MAX`] characters or [`SEGMENT_WORDS_MAX`] words, or one that ends like a sentence,
//! is left out and counted. The language that a unit was translated from (`srclang` of the unit or
//! the header) is the source, every other one a target; with `*all*` every language is both.
//!
//! Codes of the original format in a segment (`bpt`, `ept`, `it`, `ph`, `ut`) are no text and are
//! passed over; what is only marked (`hi`) stays.

use super::xml::{Element, Item, Text, Xml};
use super::{Collector, LanguagePair, Phrase, Problem, Sides, element_language};
use crate::language::Language;

/// Longest segment that is a term. Characters.
pub const SEGMENT_CHARS_MAX: usize = 80;
/// Longest segment that is a term. Words between spaces.
pub const SEGMENT_WORDS_MAX: usize = 8;
/// Most variants of one unit that are taken: two for each language.
pub const UNIT_VARIANTS_MAX: usize = 80;

/// Which language units are translated from.
#[derive(Clone, Default, PartialEq, Eq)]
enum From {
    /// Any of theirs.
    #[default]
    All,
    One(Language),
    /// One that is not supported, or none is named.
    Unknown(String),
}

impl From {
    fn read(tag: &str) -> Self {
        if tag.eq_ignore_ascii_case("*all*") {
            return Self::All;
        }
        element_language(Some(tag)).map_or_else(Self::Unknown, Self::One)
    }
}

#[derive(Default)]
struct State {
    of_header: From,
    of_unit: Option<From>,
    unit_line: u64,
    phrases: Vec<Phrase>,
    n_variants_more: usize,
    language: Option<Result<Language, String>>,
    segment: Option<(u64, Text)>,
}

pub(super) fn read(content: &str, collector: &mut Collector) {
    let mut xml = Xml::new(content);
    let mut state = State::default();
    let mut is_root = true;
    while !collector.is_full() {
        let item = match xml.next() {
            Ok(item) => item,
            Err(Problem { line, what }) => return collector.problem(line, what),
        };
        match item {
            Item::Open(element) => {
                let name = element.name();
                if std::mem::take(&mut is_root) && name != "tmx" {
                    let what =
                        format!("the first element is <{}>, expected <tmx>", super::shorten(&name));
                    return collector.problem(xml.line, what);
                }
                state.open(&name, &element, &xml);
            }
            Item::Text(text) => {
                if let Some((_, segment)) = &mut state.segment {
                    segment.push(&text);
                }
            }
            Item::Close(name) => state.close(&name, xml.depth + 1, collector),
            Item::End if is_root => {
                return collector.problem(0, "it has no element <tmx>".to_owned());
            }
            Item::End => return,
        }
    }
}

impl State {
    fn open(&mut self, name: &str, element: &Element<'_>, xml: &Xml<'_>) {
        if let Some((_, segment)) = &mut self.segment {
            if matches!(name, "bpt" | "ept" | "it" | "ph" | "ut") {
                segment.hide(xml.depth);
            }
            return;
        }
        match name {
            "header" => {
                let tag = element.attribute(&["srclang"]);
                self.of_header = tag.map_or(From::All, |tag| From::read(&tag));
            }
            "tu" => {
                self.of_unit = element.attribute(&["srclang"]).map(|tag| From::read(&tag));
                self.unit_line = xml.line;
                self.phrases.clear();
                self.n_variants_more = 0;
            }
            "tuv" => self.language = Some(element_language(element.language_tag().as_deref())),
            "seg" => self.segment = Some((xml.line, Text::of(xml.depth))),
            _ => {}
        }
    }

    /// `depth` is that of the element that ends.
    fn close(&mut self, name: &str, depth: usize, collector: &mut Collector) {
        if let Some((line, segment)) = &mut self.segment {
            if segment.ends_at(depth) {
                let (line, text) = (*line, segment.collapsed());
                self.segment = None;
                self.end_segment(line, text, collector);
            }
            return;
        }
        match name {
            "tuv" => self.language = None,
            "tu" => self.end_unit(collector),
            _ => {}
        }
    }

    fn end_segment(&mut self, line: u64, text: String, collector: &mut Collector) {
        let language = match &self.language {
            Some(Ok(language)) => *language,
            Some(Err(reason)) => return collector.leave_out(line, reason.clone(), 1),
            None => return collector.leave_out(line, "it is in no variant (tuv)".to_owned(), 1),
        };
        if let Some(reason) = no_term(&text) {
            return collector.leave_out(line, reason, 1);
        }
        if self.phrases.len() == UNIT_VARIANTS_MAX {
            self.n_variants_more += 1;
            return;
        }
        self.phrases.push(Phrase { language, text, line });
    }

    fn end_unit(&mut self, collector: &mut Collector) {
        let phrases = std::mem::take(&mut self.phrases);
        let line = self.unit_line;
        if self.n_variants_more > 0 {
            let reason = format!("the unit has more than {UNIT_VARIANTS_MAX} variants");
            collector.leave_out(line, reason, self.n_variants_more);
        }
        let from = self.of_unit.take().unwrap_or_else(|| self.of_header.clone());
        let is_source = |phrase: &Phrase| match &from {
            From::All => true,
            From::One(language) => phrase.language == *language,
            From::Unknown(_) => false,
        };
        let targets = first_of_each_language(&phrases);
        let mut is_used = false;
        for source in phrases.iter().filter(|phrase| is_source(phrase)) {
            for target in &targets {
                if target.language == source.language {
                    continue;
                }
                is_used = true;
                let (from, to) = (source.language, target.language);
                if collector.pair.takes(from, to) && !collector.is_full() {
                    let pair = LanguagePair { source: Some(from), target: Some(to) };
                    let sides = Sides { source: &source.text, target: &target.text };
                    collector.add(source.line, &sides, pair, false);
                }
            }
        }
        if !is_used && !phrases.is_empty() {
            let reason = match from {
                From::Unknown(reason) => format!("of srclang, {reason}"),
                _ => "the unit has no pair of source and target left".to_owned(),
            };
            collector.leave_out(line, reason, phrases.len());
        }
    }
}

/// The targets: where a unit has two variants in one language, the first.
fn first_of_each_language(phrases: &[Phrase]) -> Vec<&Phrase> {
    let mut first: Vec<&Phrase> = Vec::new();
    for phrase in phrases {
        if first.iter().all(|known| known.language != phrase.language) {
            first.push(phrase);
        }
    }
    first
}

/// Why a segment is no term.
fn no_term(text: &str) -> Option<String> {
    if text.is_empty() {
        Some("the segment is empty".to_owned())
    } else if text.chars().count() > SEGMENT_CHARS_MAX
        || text.split(' ').count() > SEGMENT_WORDS_MAX
    {
        let bounds = format!("{SEGMENT_CHARS_MAX} characters or {SEGMENT_WORDS_MAX} words");
        Some(format!("a segment of more than {bounds} is no term"))
    } else if text.ends_with(['.', '!', '?', '…', '。', '！', '？', '।', '۔', '؟', '။', '។', '།'])
    {
        Some("a segment that ends like a sentence is no term".to_owned())
    } else {
        None
    }
}
