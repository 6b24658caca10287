//! TBX, the exchange format of terminology (ISO 30042).
//!
//! Read are TBX-Basic of version 2 (`martif`, `termEntry`, `langSet`, `tig` or `ntig`) and version 3
//! in both styles (`tbx`, `conceptEntry`, `langSec`, `termSec`; data categories as attributes or as
//! elements), and TBX-Min. What is not needed is passed over.
//!
//! Every term of a concept is translated by the best term of each other language: the first preferred
//! one, or the first admitted one. A deprecated, superseded, obsolete or forbidden term is never a
//! target; it stays a source, because people go on saying it. A note `caseSensitive` makes upper
//! and lower case count.

use super::xml::{Element, Item, Text, Xml};
use super::{Collector, LanguagePair, Phrase, Problem, Sides, element_language};
use crate::language::Language;

/// Most terms of one concept that are taken.
pub const CONCEPT_TERMS_MAX: usize = 512;

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
enum Status {
    Preferred,
    #[default]
    Admitted,
    Forbidden,
}

impl Status {
    /// Reads the values of ISO 12620 (`deprecatedTerm-admn-sts`), of TBX-Min (`notRecommended`) and
    /// of tools (`forbidden`).
    fn read(value: &str) -> Option<Self> {
        let value = value.to_ascii_lowercase();
        let has = |words: &[&str]| words.iter().any(|word| value.contains(word));
        if has(&["deprecated", "superseded", "obsolete", "notrecommended", "not recommended"])
            || has(&["forbidden", "rejected", "prohibited"])
        {
            Some(Self::Forbidden)
        } else if has(&["preferred"]) {
            Some(Self::Preferred)
        } else {
            has(&["admitted"]).then_some(Self::Admitted)
        }
    }
}

struct TermFound {
    phrase: Phrase,
    status: Status,
    is_case_sensitive: bool,
}

/// What the text that is being gathered is.
#[derive(Clone, Copy)]
enum Gathered {
    Term,
    Status,
    CaseSensitivity,
}

#[derive(Default)]
struct State {
    terms: Vec<TermFound>,
    n_terms_more: usize,
    concept_line: u64,
    language: Option<Result<Language, String>>,
    term: Option<(u64, String)>,
    status: Status,
    is_case_sensitive: bool,
    text: Option<(Gathered, Text)>,
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
                if std::mem::take(&mut is_root) && !is_tbx(&name) {
                    let what = format!(
                        "the first element is <{}>, expected <martif> or <tbx>",
                        super::shorten(&name)
                    );
                    return collector.problem(xml.line, what);
                }
                state.open(&name, &element, &xml);
            }
            Item::Text(text) => {
                if let Some((_, gathered)) = &mut state.text {
                    gathered.push(&text);
                }
            }
            Item::Close(name) => state.close(&name, xml.depth + 1, collector),
            Item::End if is_root => {
                return collector.problem(0, "it has no element <martif> or <tbx>".to_owned());
            }
            Item::End => return,
        }
    }
}

fn is_tbx(name: &str) -> bool {
    name == "martif" || name.eq_ignore_ascii_case("tbx")
}

impl State {
    fn open(&mut self, name: &str, element: &Element<'_>, xml: &Xml<'_>) {
        if self.text.is_some() {
            return;
        }
        let kind = match name {
            "termEntry" | "conceptEntry" => {
                *self = Self { concept_line: xml.line, ..Self::default() };
                return;
            }
            "langSet" | "langSec" | "langGroup" => {
                self.language = Some(element_language(element.language_tag().as_deref()));
                return;
            }
            "tig" | "ntig" | "termSec" | "termGroup" => {
                (self.term, self.status, self.is_case_sensitive) = (None, Status::default(), false);
                return;
            }
            "term" => {
                self.term = Some((xml.line, String::new()));
                Some(Gathered::Term)
            }
            "termNote" => element.attribute(&["type"]).as_deref().and_then(note_kind),
            name => note_kind(name),
        };
        self.text = kind.map(|kind| (kind, Text::of(xml.depth)));
    }

    /// `depth` is that of the element that ends.
    fn close(&mut self, name: &str, depth: usize, collector: &mut Collector) {
        if let Some((kind, text)) = &mut self.text {
            if text.ends_at(depth) {
                let (kind, text) = (*kind, text.collapsed());
                self.text = None;
                self.gathered(kind, text);
            }
            return;
        }
        match name {
            "tig" | "ntig" | "termSec" | "termGroup" => self.end_term(collector),
            "langSet" | "langSec" | "langGroup" => self.language = None,
            "termEntry" | "conceptEntry" => std::mem::take(self).end_concept(collector),
            _ => {}
        }
    }

    fn gathered(&mut self, kind: Gathered, text: String) {
        match kind {
            Gathered::Term => {
                if let Some((_, term)) = &mut self.term {
                    *term = text;
                }
            }
            // The strictest holds where there are several.
            Gathered::Status => {
                if let Some(status) = Status::read(&text)
                    && self.status != Status::Forbidden
                {
                    self.status = status;
                }
            }
            Gathered::CaseSensitivity => {
                let yes = ["yes", "true", "1", "exact", "sensitive", "case-sensitive"];
                self.is_case_sensitive = yes.iter().any(|word| text.eq_ignore_ascii_case(word));
            }
        }
    }

    fn end_term(&mut self, collector: &mut Collector) {
        let Some((line, text)) = self.term.take() else { return };
        let language = match &self.language {
            Some(Ok(language)) => *language,
            Some(Err(reason)) => return collector.leave_out(line, reason.clone(), 1),
            None => return collector.leave_out(line, "it is in no language set".to_owned(), 1),
        };
        if text.is_empty() {
            return collector.leave_out(line, "the term is empty".to_owned(), 1);
        }
        if self.terms.len() == CONCEPT_TERMS_MAX {
            self.n_terms_more += 1;
            return;
        }
        let phrase = Phrase { language, text, line };
        let (status, is_case_sensitive) = (self.status, self.is_case_sensitive);
        self.terms.push(TermFound { phrase, status, is_case_sensitive });
    }

    fn end_concept(self, collector: &mut Collector) {
        if self.n_terms_more > 0 {
            let reason = format!("the concept has more than {CONCEPT_TERMS_MAX} terms");
            collector.leave_out(self.concept_line, reason, self.n_terms_more);
        }
        let targets = best_terms(&self.terms);
        if !self.terms.iter().any(|term| targets.iter().any(|t| differ(&t.phrase, &term.phrase))) {
            let reason = "the concept has a term to use in one language only".to_owned();
            return collector.leave_out(self.concept_line, reason, self.terms.len());
        }
        for from in &self.terms {
            for to in targets.iter().filter(|to| differ(&to.phrase, &from.phrase)) {
                let (source, target) = (from.phrase.language, to.phrase.language);
                if collector.pair.takes(source, target) && !collector.is_full() {
                    let pair = LanguagePair { source: Some(source), target: Some(target) };
                    let sides = Sides { source: &from.phrase.text, target: &to.phrase.text };
                    collector.add(from.phrase.line, &sides, pair, from.is_case_sensitive);
                }
            }
        }
    }
}

fn differ(one: &Phrase, other: &Phrase) -> bool {
    one.language != other.language
}

/// The term to use in each language, in the order of the file.
fn best_terms(terms: &[TermFound]) -> Vec<&TermFound> {
    let mut best: Vec<&TermFound> = Vec::new();
    for term in terms.iter().filter(|term| term.status != Status::Forbidden) {
        match best.iter_mut().find(|known| !differ(&known.phrase, &term.phrase)) {
            Some(known) if term.status < known.status => *known = term,
            Some(_) => {}
            None => best.push(term),
        }
    }
    best
}

/// What a note is about, by its data category or the element of that name.
fn note_kind(category: &str) -> Option<Gathered> {
    match category {
        "administrativeStatus" | "normativeAuthorization" | "termStatus" | "status" => {
            Some(Gathered::Status)
        }
        "caseSensitive" | "caseSensitivity" | "case-sensitive" | "CaseSense" => {
            Some(Gathered::CaseSensitivity)
        }
        _ => None,
    }
}
