//! Terms that must be translated in a given way.
//!
//! A [`Glossary`] holds terms, each for one language pair, one target language or any pair. Only the
//! terms that occur in a text are sent to the model ([`select`]), and afterwards the translation is
//! checked for them ([`check`]), because a model may still ignore or inflect a term.
//!
//! # One term per line
//! `source=target`, optionally with the languages it holds for in front:
//! ```text
//! charging station=Ladesäule            any pair
//! [de] charging station=Ladesäule       into German
//! [en>de] charging station=Ladesäule    from English into German
//! [*>de!] US=USA                        into German, upper and lower case must match
//! ```
//! A backslash takes the meaning from `=`, `[` and itself: `\=`, `\[`, `\\`. Spaces around either side
//! are dropped. A line has exactly one bare `=`, and neither side may be empty or hold control
//! characters: a term must not be able to break out of its line in the prompt.
//!
//! # When a term occurs
//! *Spelling.* Both sides are compared in Unicode NFKC, so that full-width and half-width forms,
//! ligatures and precomposed letters are the same; runs of white space are one space; apostrophes and
//! hyphens are the same in all their variants; soft hyphens, zero-width and direction marks do not
//! count; nor do the vowel signs of Arabic and Hebrew; ß and ss are the same.
//!
//! *Case.* Case does not count: lists begin their terms with a capital, and speech recognisers write
//! none. Except for a word of two to six capitals, which is another word without them: "US" is never in
//! "us". With `!`, case must match: "[!]Polish" is not in "polish". The dotted and dotless i are different
//! letters in Turkish and the same in every other language.
//!
//! *Words.* Where the script puts spaces between words, a term matches whole words only: "art" is not
//! in "start". Chinese, Japanese, Thai, Lao, Khmer, Burmese and Tibetan characters have no such
//! boundary, and a Korean particle may follow any word. Inflected forms of the source term do not
//! match; list them as terms.
//!
//! *Precedence.* The longest match wins, without overlap; for the same place a term of the request wins
//! over the named glossary and that over the one that always holds; then the more specific pair, then
//! a term that asks for exact case, then the spelling closest to the text.
//!
//! ```
//! use hymt_core::glossary::{self, Glossary};
//! use hymt_core::language::Language;
//!
//! let glossary = Glossary::from_lines(["[de] charging station=Ladesäule", "art=Kunst"])?;
//! let text = "Start at the Charging Station.";
//! let found = glossary::select(&[&glossary], text, Some(Language::English), Language::German);
//! assert_eq!(found.terms.len(), 1);
//! let report = glossary::check(&found.terms, "Beginne an der Ladesäule.", Some(Language::German));
//! assert_eq!(report.applied.len(), 1);
//! # Ok::<(), hymt_core::glossary::GlossaryError>(())
//! ```

mod endings;
pub mod export;
pub mod import;
mod matching;
mod normal;
mod parse;
mod set;
mod usage;

use std::collections::HashMap;
use std::fmt;

use crate::language::{Language, UnknownLanguage};
use normal::Normalised;
pub use set::GlossarySet;
pub use usage::{TermCheck, check};

/// Most terms in one glossary.
pub const GLOSSARY_TERMS_MAX: usize = 50_000;
/// Most bytes of either side of a term, as in DeepL's glossaries.
pub const TERM_BYTES_MAX: usize = 1024;
/// Most terms sent with one text; beyond it the longest are sent.
pub const TERMS_PER_PROMPT_MAX: usize = 32;
/// Most bytes of one line: both sides, each byte escaped, and the languages.
pub const TERM_LINE_BYTES_MAX: usize = 2 * 2 * TERM_BYTES_MAX + 256;
/// Most places in one text at which terms are looked at; later ones count for nothing. A text of
/// 4000 characters has fewer unless its terms were made to overlap.
pub const OCCURRENCES_MAX: usize = 65_536;
/// Most named glossaries in a [`GlossarySet`].
pub const GLOSSARIES_MAX: usize = 64;

/// A phrase and its translation. Neither side is empty, longer than [`TERM_BYTES_MAX`], or holds a
/// control character.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Term {
    source: String,
    target: String,
}

impl Term {
    /// A term, with both sides trimmed.
    ///
    /// # Errors
    /// When a side is empty, too long, or holds a control character.
    pub fn new(source: &str, target: &str) -> Result<Self, TermError> {
        Ok(Self { source: side("source", source)?, target: side("target", target)? })
    }

    /// The phrase in the source language.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Its translation.
    pub fn target(&self) -> &str {
        &self.target
    }
}

impl fmt::Display for Term {
    /// `source=target`, escaped so that [`GlossaryEntry::parse`] reads it back.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", parse::escape(&self.source), parse::escape(&self.target))
    }
}

fn side(name: &'static str, value: &str) -> Result<String, TermError> {
    let value = value.trim();
    if value.is_empty() {
        return Err(TermError::EmptySide { side: name });
    }
    if value.len() > TERM_BYTES_MAX {
        return Err(TermError::SideTooLong { side: name, bytes: value.len() });
    }
    // Line and paragraph separator are no control characters to Unicode, but they end a line.
    let breaks_line = |c: &char| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}');
    match value.chars().enumerate().find(|(_, c)| breaks_line(c)) {
        Some((position, found)) => Err(TermError::ControlCharacter { side: name, found, position }),
        None => Ok(value.to_owned()),
    }
}

/// What is wrong with one term.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TermError {
    /// A line without a bare `=`.
    #[error("has no '='; write source=target")]
    NoSeparator,
    /// A line with more than one bare `=`.
    #[error("has more than one '='; write '\\=' for one that belongs to a phrase")]
    ManySeparators,
    /// A side is empty.
    #[error("has an empty {side}; to keep a phrase as it is, write it on both sides")]
    EmptySide {
        /// `source` or `target`.
        side: &'static str,
    },
    /// A side is too long.
    #[error("has a {side} of {bytes} bytes, the limit is {TERM_BYTES_MAX}")]
    SideTooLong {
        /// `source` or `target`.
        side: &'static str,
        /// Its length.
        bytes: usize,
    },
    /// A line is too long to be looked at.
    #[error("is {bytes} bytes long, the limit is {TERM_LINE_BYTES_MAX}")]
    LineTooLong {
        /// Its length.
        bytes: usize,
    },
    /// A side holds a line break or another control character.
    #[error("has the control character U+{:04X} at character {position} of its {side}", *found as u32)]
    ControlCharacter {
        /// `source` or `target`.
        side: &'static str,
        /// The character.
        found: char,
        /// Its index in characters, from 0.
        position: usize,
    },
    /// A backslash before something else than `=`, `[` or `\`.
    #[error("has the unknown escape '\\{found}'; write '\\\\' for a backslash")]
    UnknownEscape {
        /// The character after the backslash; a space when the line ends there.
        found: char,
    },
    /// The languages in front of a term are not closed with `]`.
    #[error("opens '[' without ']'; write '\\[' for a bracket that belongs to the phrase")]
    UnclosedLanguages,
    /// A language in front of a term is unknown.
    #[error("names a language that {0}")]
    Language(UnknownLanguage),
}

/// A glossary that cannot be used, and where it is wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GlossaryError {
    /// A term is not valid.
    #[error("term {index} '{line}' {problem}")]
    Term {
        /// Which one, from 0.
        index: usize,
        /// What was given, shortened.
        line: String,
        /// What is wrong.
        problem: TermError,
    },
    /// Too many terms.
    #[error("{count} terms given, the limit is {limit}")]
    TooManyTerms {
        /// How many there are.
        count: usize,
        /// The bound.
        limit: usize,
    },
    /// A named glossary is asked for that does not exist.
    #[error("glossary '{name}' is not known{}; known: {known}", did_you_mean(.nearest.as_deref()))]
    UnknownName {
        /// What was asked for.
        name: String,
        /// The closest existing name.
        nearest: Option<String>,
        /// Existing names.
        known: String,
    },
    /// Too many named glossaries.
    #[error("no room for glossary '{name}': {GLOSSARIES_MAX} exist already")]
    TooManyGlossaries {
        /// The one that was to be added.
        name: String,
    },
}

fn did_you_mean(nearest: Option<&str>) -> String {
    nearest.map(|name| format!("; did you mean '{name}'?")).unwrap_or_default()
}

/// The languages a term holds for; `None` is any.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct LanguagePair {
    /// Source language.
    pub source: Option<Language>,
    /// Target language.
    pub target: Option<Language>,
}

impl LanguagePair {
    fn holds_for(self, source: Option<Language>, target: Language) -> bool {
        // An unknown source language may be any, so it does not exclude a term.
        let source_fits = match (self.source, source) {
            (Some(wanted), Some(given)) => wanted == given,
            _ => true,
        };
        source_fits && self.target.is_none_or(|wanted| wanted == target)
    }

    fn specificity(self) -> usize {
        usize::from(self.source.is_some()) + usize::from(self.target.is_some())
    }
}

/// A term with the languages it holds for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct GlossaryEntry {
    /// The phrases.
    pub term: Term,
    /// For which languages.
    pub pair: LanguagePair,
    /// True when upper and lower case must match.
    pub is_case_sensitive: bool,
}

impl GlossaryEntry {
    /// Reads one line; see the [module](self) for the form.
    ///
    /// # Errors
    /// The first thing that is wrong with the line.
    pub fn parse(line: &str) -> Result<Self, TermError> {
        parse::entry(line)
    }
}

/// Terms in memory, in the order given. A later term replaces an earlier one for the same phrase,
/// written the same way, and pair.
#[derive(Debug, Clone, Default)]
pub struct Glossary {
    entries: Vec<GlossaryEntry>,
    normalised: Vec<Normalised>,
    /// Indexes of the entries, sorted by their folded phrases, so that all phrases that stand at one
    /// place of a text are found in one walk.
    sorted: Vec<usize>,
    by_key: HashMap<Key, usize>,
}

/// What makes two entries the same: the languages, whether case counts, and the phrase as written.
type Key = (LanguagePair, bool, Box<[char]>);

/// What adding an entry did.
enum Added {
    New,
    Replaced { index: usize, before: GlossaryEntry },
}

impl Glossary {
    /// Reads terms from lines, such as the values of a parameter.
    ///
    /// # Errors
    /// Names the first line that is wrong by index and value, or the bound on their number.
    pub fn from_lines<I, S>(lines: I) -> Result<Self, GlossaryError>
    where
        I: IntoIterator<Item = S>,
        S: AsRef<str>,
    {
        let mut glossary = Self::default();
        for (index, line) in lines.into_iter().enumerate() {
            let line = line.as_ref();
            let entry = GlossaryEntry::parse(line).map_err(|problem| GlossaryError::Term {
                index,
                line: shorten(line),
                problem,
            })?;
            glossary.push(entry)?;
        }
        glossary.sort();
        Ok(glossary)
    }

    /// Adds a term, or replaces the one for the same phrase and pair.
    ///
    /// # Errors
    /// When there is no room for another term.
    pub fn insert(&mut self, entry: GlossaryEntry) -> Result<(), GlossaryError> {
        if matches!(self.push(entry)?, Added::New) {
            let index = self.entries.len() - 1;
            let folded = self.normalised[index].folded();
            let place = self.sorted.partition_point(|i| self.normalised[*i].folded() <= folded);
            self.sorted.insert(place, index);
        }
        Ok(())
    }

    /// Like [`Glossary::insert`], but new terms are found only after [`Glossary::sort`]; sorting once
    /// is what makes a file of many terms fast.
    fn push(&mut self, entry: GlossaryEntry) -> Result<Added, GlossaryError> {
        let normalised = Normalised::new(entry.term.source());
        let key = (entry.pair, entry.is_case_sensitive, normalised.exact().into());
        if let Some(&index) = self.by_key.get(&key) {
            let before = std::mem::replace(&mut self.entries[index], entry);
            return Ok(Added::Replaced { index, before });
        }
        let index = self.entries.len();
        if index == GLOSSARY_TERMS_MAX {
            return Err(GlossaryError::TooManyTerms {
                count: index + 1,
                limit: GLOSSARY_TERMS_MAX,
            });
        }
        self.by_key.insert(key, index);
        self.normalised.push(normalised);
        self.entries.push(entry);
        Ok(Added::New)
    }

    fn sort(&mut self) {
        self.sorted = (0..self.entries.len()).collect();
        self.sorted.sort_by(|one, other| {
            self.normalised[*one].folded().cmp(self.normalised[*other].folded())
        });
    }

    /// The terms, in the order given.
    pub fn entries(&self) -> &[GlossaryEntry] {
        &self.entries
    }

    /// Number of terms.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// True when there is no term.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

impl PartialEq for Glossary {
    fn eq(&self, other: &Self) -> bool {
        self.entries == other.entries
    }
}

fn shorten(line: &str) -> String {
    const SHOWN_CHARS_MAX: usize = 60;
    let mut shown: String =
        line.chars().take(SHOWN_CHARS_MAX).map(|c| if c.is_control() { '␀' } else { c }).collect();
    if shown.len() < line.len() && line.chars().count() > SHOWN_CHARS_MAX {
        shown.push('…');
    }
    shown
}

/// The terms that occur in a text.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selection {
    /// In the order of their first occurrence, none twice.
    pub terms: Vec<Term>,
    /// How many more occur but were left out because of [`TERMS_PER_PROMPT_MAX`].
    pub left_out: usize,
}

/// The terms of `layers` that occur in `text` and hold for the pair. Longest match first, without
/// overlap; for the same phrase an earlier layer wins, then the more specific pair, then exact case.
/// An unknown source language excludes no term.
pub fn select(
    layers: &[&Glossary],
    text: &str,
    source: Option<Language>,
    target: Language,
) -> Selection {
    if layers.iter().all(|glossary| glossary.is_empty()) {
        return Selection::default();
    }
    matching::select(layers, &Normalised::new(text), source, target)
}

#[cfg(test)]
mod tests;
