//! What is asked for one piece of a text, and how the answer to it is read.

use super::TranslatorConfig;
use super::plan::{NEW_TOKENS_MIN, NEW_TOKENS_PER_CHAR};
use crate::detect::script::Script;
use crate::generate::GeneratePrompt;
use crate::glossary::{self, Glossary, Selection, Term, TermCheck};
use crate::guard::repetition::{self, Repeats};
use crate::guard::{self, Asked, Fault, Guards, Report, leak};
use crate::language::Language;
use crate::prompt::{self, PromptFamily, PromptLanguage, PromptRequest};
use crate::protect::{
    self, MarkerStyle, Part, PartKind, ProtectOptions, Protected, Restored, Verdict,
};
use crate::request::{Formality, Limits, TranslateRequest};

/// What all questions of one target have in common.
pub(super) struct Asker<'a> {
    pub(super) config: &'a TranslatorConfig,
    pub(super) request: &'a TranslateRequest,
    pub(super) source: Option<Language>,
    pub(super) target: Language,
    pub(super) layers: &'a [&'a Glossary],
}

/// One prompt.
pub(super) struct Question {
    pub(super) prompt: GeneratePrompt,
    pub(super) selection: Selection,
    pub(super) formality_ignored: bool,
    basis: Basis,
    /// What the model is shown of the text. Special tokens that it holds itself have not leaked.
    shown: String,
    /// What an answer is compared with: the text, without tags where it is asked for without.
    text: String,
    repeats: Repeats,
    format: Format,
}

/// What a prompt is made of beside the text and its terms.
#[derive(Clone)]
struct Basis {
    family: PromptFamily,
    source: Option<Language>,
    target: Language,
    context: Option<String>,
    formality: Formality,
    guards: Guards,
    asks_once: bool,
}

/// An answer, read.
pub(super) struct Read {
    pub(super) text: String,
    /// What must be said beside it.
    pub(super) note: Option<String>,
    pub(super) fault: Option<Fault>,
    pub(super) n_leaked: usize,
    pub(super) n_wrappers: usize,
}

enum Format {
    /// There is none.
    None,
    /// Markers stand for it; the question to ask when the model loses them.
    Marked(Protected, Box<Question>),
    /// Markers did not help, or there is too much of it. The text as it was, its parts, and why.
    Plain(String, Vec<Part>, &'static str),
}

/// What an answer turned out to be.
pub(super) enum Reading<'q> {
    /// A translation, good or not.
    Text(Read),
    /// Useless; this is to be asked instead.
    Again(&'q Question),
    Empty,
}

/// What must survive a translation, for a family. Numbers with units are not in it: the model writes them
/// as its target language does.
pub(super) fn format_options(family: PromptFamily) -> ProtectOptions {
    let kinds = PartKind::ALL.iter().filter(|kind| **kind != PartKind::Quantity);
    ProtectOptions { style: MarkerStyle::of_family(family), kinds: kinds.copied().collect() }
}

impl Asker<'_> {
    /// `None` when `text` has nothing to translate.
    pub(super) fn question(&self, text: &str) -> Option<Question> {
        if !has_words(text) {
            return None;
        }
        let options = format_options(self.config.family);
        let found: Vec<_> = protect::parts_of(text, &options).collect();
        if !found.iter().any(|(kind, part)| must_survive(*kind, &text[part.clone()])) {
            return Some(self.plain(text, Format::None));
        }
        let n_letters = letters(text);
        if found.into_iter().map(|(_, part)| letters(&text[part])).sum::<usize>() == n_letters {
            return None;
        }
        Some(match protect::protect(text, &options) {
            Ok(protected) => self.marked(text, protected),
            Err(_) => {
                let why = "it has too many parts to mark";
                self.plain(text, Format::Plain(text.to_owned(), Vec::new(), why))
            }
        })
    }

    fn plain(&self, text: &str, format: Format) -> Question {
        let (selection, basis) = (self.select(text), self.basis());
        let asked = basis.asked(text, &selection.terms);
        let formality_ignored = self.request.formality() != Formality::Default
            && !prompt::formality_is_asked(basis.family, &asked);
        Question {
            prompt: GeneratePrompt {
                user: prompt::build(basis.family, &asked),
                new_tokens_max: new_tokens_max(text, &self.config.limits),
                draft: None,
            },
            formality_ignored,
            selection,
            basis,
            shown: text.to_owned(),
            text: text.to_owned(),
            repeats: Repeats::of(text),
            format,
        }
    }

    fn marked(&self, text: &str, protected: Protected) -> Question {
        let basis = self.basis();
        let (parts, why) = (protected.parts().to_vec(), "the model lost its marks");
        let bare = without_tags(text, &format_options(basis.family));
        let plain = Box::new(self.plain(&bare, Format::Plain(text.to_owned(), parts, why)));
        let shown = protected.marked().to_owned();
        // A term inside of a tag or a link is none that the model could use.
        let selection = self.select(&shown);
        Question {
            prompt: GeneratePrompt {
                user: basis.format_prompt(&shown, &selection.terms),
                new_tokens_max: new_tokens_max(&shown, &self.config.limits),
                draft: None,
            },
            selection,
            formality_ignored: self.request.formality() != Formality::Default,
            basis,
            shown,
            text: text.to_owned(),
            repeats: Repeats::of(text),
            format: Format::Marked(protected, plain),
        }
    }

    fn select(&self, text: &str) -> Selection {
        glossary::select(self.layers, text, self.source, self.target)
    }

    fn basis(&self) -> Basis {
        Basis {
            family: self.config.family,
            source: self.source,
            target: self.target,
            context: self.request.context().map(str::to_owned),
            formality: self.request.formality(),
            guards: self.config.guards,
            asks_once: self.request.is_growing(),
        }
    }
}

impl Basis {
    fn asked<'t>(&'t self, text: &'t str, terms: &'t [Term]) -> PromptRequest<'t> {
        PromptRequest {
            source: self.source,
            target: self.target,
            text,
            terms,
            context: self.context.as_deref(),
            formality: self.formality,
        }
    }

    fn language(&self) -> PromptLanguage {
        PromptLanguage::usual(self.source, self.target)
    }

    /// The prompt for a text with markers.
    fn format_prompt(&self, shown: &str, terms: &[Term]) -> String {
        let lead_in = prompt::lead_in(self.family, &self.asked(shown, terms), self.language());
        lead_in + &protect::format_prompt(self.family, self.source, self.target, shown)
    }

    /// The same in the other template.
    fn format_prompt_other(&self, shown: &str, terms: &[Term]) -> Option<String> {
        let (family, other) = (self.family, self.language().other());
        let task = protect::format_prompt_other(family, self.source, self.target, shown)?;
        Some(prompt::lead_in(family, &self.asked(shown, terms), other) + &task)
    }
}

impl Question {
    /// Which of the terms sent are in a translation.
    pub(super) fn terms_in(&self, translation: &str) -> TermCheck {
        glossary::check(&self.selection.terms, translation, Some(self.basis.target))
    }

    /// Gives this and what may be asked instead a draft of the answer.
    pub(super) fn set_draft(&mut self, draft: &str) {
        self.prompt.draft = Some(draft.to_owned());
        if let Format::Marked(_, plain) = &mut self.format {
            plain.set_draft(draft);
        }
    }

    /// What may be shown of an answer that still grows; `None` when that can only be told at its end.
    pub(super) fn read_partial(&self, partial: &str) -> Option<String> {
        match self.format {
            Format::Marked(..) => None,
            Format::None | Format::Plain(..) => Some(leak::strip(partial, &self.shown).0),
        }
    }

    /// True when an answer that still grows has begun to repeat itself without end.
    pub(super) fn is_looping(&self, partial: &str) -> bool {
        self.is_guarded() && repetition::at_end(partial, self.repeats).is_some()
    }

    /// What is left of such an answer.
    pub(super) fn without_loops(&self, answer: &str) -> String {
        repetition::cut(answer, self.repeats)
    }

    pub(super) fn is_guarded(&self) -> bool {
        self.basis.guards == Guards::On
    }

    /// What a translation lacks of the text, in words.
    pub(super) fn lacking(&self, translation: &str) -> Vec<String> {
        if !self.is_guarded() {
            return Vec::new();
        }
        guard::lacks(translation, &self.text, self.basis.target)
    }

    /// The prompt to ask with again because of `fault`, and how that is said; `None` when the family has
    /// no other way to ask, or the text still grows.
    pub(super) fn again(&self, fault: Fault, missed: &[Term]) -> Option<(GeneratePrompt, String)> {
        let (basis, terms) = (&self.basis, &self.selection.terms);
        if basis.asks_once {
            return None;
        }
        let is_marked = matches!(self.format, Format::Marked(..));
        let (user, how) = if let Fault::Terms(_) = fault {
            // The official form still, for the models know no other: what was missed stands last, next
            // to the task, and stands there twice.
            let kept = terms.iter().filter(|term| !missed.contains(term));
            let tightened: Vec<Term> = kept.chain(missed).chain(missed).cloned().collect();
            let user = if is_marked {
                basis.format_prompt(&self.shown, &tightened)
            } else {
                prompt::build(basis.family, &basis.asked(&self.shown, &tightened))
            };
            (user, "with the missing terms once more".to_owned())
        } else {
            let other = if is_marked {
                basis.format_prompt_other(&self.shown, terms)
            } else {
                prompt::build_other(basis.family, &basis.asked(&self.shown, terms))
            };
            (other?, format!("with the {} prompt", basis.language().other().name()))
        };
        Some((
            GeneratePrompt { user, new_tokens_max: self.prompt.new_tokens_max, draft: None },
            how,
        ))
    }

    pub(super) fn read(&self, answer: &str) -> Reading<'_> {
        let wrapped = match &self.format {
            Format::Marked(..) => protect::answer_text(self.basis.family, answer),
            Format::None | Format::Plain(..) => answer,
        };
        let (cleaned, n_leaked) = leak::strip(wrapped, &self.shown);
        let (text, note) = match &self.format {
            Format::Marked(protected, plain) => match restore(protected, &cleaned) {
                Some(restored) => (restored.text, None),
                None => return Reading::Again(plain),
            },
            _ if cleaned.is_empty() => return Reading::Empty,
            Format::None => (cleaned, None),
            Format::Plain(text, parts, why) => {
                let note = formatting_note(parts, text, &cleaned, why);
                (cleaned, Some(note))
            }
        };
        let (text, fault, n_wrappers) = self.guarded(text);
        Reading::Text(Read { text, note, fault, n_leaked, n_wrappers })
    }

    fn guarded(&self, text: String) -> (String, Option<Fault>, usize) {
        if !self.is_guarded() {
            return (text, None, 0);
        }
        let Basis { source, target, .. } = self.basis;
        let asked = Asked { text: &self.text, source, target, terms: &self.selection.terms };
        let Report { text: inner, fault, wrappers } = guard::read(&text, &asked);
        // What stands at the ends of a text with markers is part of its format.
        (if wrappers.is_empty() { text } else { inner }, fault, wrappers.len())
    }
}

/// The text without tags and emphasis: a model that did not keep their marks translates the bare words
/// better. Links, code and placeholders say something and stay.
fn without_tags(text: &str, options: &ProtectOptions) -> String {
    let is_tag = |kind: PartKind, part: &str| match kind {
        PartKind::Markup => part.starts_with('<'),
        PartKind::Markdown => part.chars().all(|c| "*_~".contains(c)),
        _ => false,
    };
    let (mut bare, mut end) = (String::with_capacity(text.len()), 0);
    for (kind, part) in protect::parts_of(text, options) {
        if is_tag(kind, &text[part.clone()]) {
            bare.push_str(&text[end..part.start]);
            end = part.end;
        }
    }
    bare.push_str(&text[end..]);
    bare.trim().to_owned()
}

/// `None` when a part is lost or multiplied, or nothing but parts came back.
fn restore(protected: &Protected, answer: &str) -> Option<Restored> {
    let restored = protected.restore(answer);
    let n_letters: usize = protected.parts().iter().map(|part| letters(&part.text)).sum();
    let is_whole = restored.verdict() != Verdict::Broken && letters(&restored.text) > n_letters;
    is_whole.then_some(restored)
}

/// Says what became of `parts` in an answer that was given without markers. Names kinds, not contents:
/// an address does not belong into a log.
fn formatting_note(parts: &[Part], source: &str, answer: &str, why: &str) -> String {
    let is_lost =
        |part: &&Part| answer.matches(&*part.text).count() != source.matches(&*part.text).count();
    let lost: Vec<&Part> = parts.iter().filter(is_lost).collect();
    if lost.is_empty() {
        return format!("formatting could not be kept: {why}, so parts may stand elsewhere");
    }
    let mut kinds: Vec<&str> = lost.iter().map(|part| kind_name(part.kind)).collect();
    kinds.sort_unstable();
    kinds.dedup();
    let (n_lost, n, kinds) = (lost.len(), parts.len(), kinds.join(", "));
    format!("formatting could not be kept: {why}; {n_lost} of {n} parts differ ({kinds})")
}

fn kind_name(kind: PartKind) -> &'static str {
    match kind {
        PartKind::Markup => "tag",
        PartKind::Markdown => "markdown",
        PartKind::Code => "code",
        PartKind::Placeholder => "placeholder",
        PartKind::Url => "link",
        PartKind::Email => "e-mail address",
        PartKind::Quantity => "quantity",
        PartKind::Emoji => "emoji",
        PartKind::Lookalike => "marker",
    }
}

/// Emoji, and the dash or number that a line begins with, are no reason to ask in another form; beside
/// something that is, they are kept like it.
fn must_survive(kind: PartKind, part: &str) -> bool {
    match kind {
        PartKind::Emoji | PartKind::Quantity => false,
        PartKind::Markdown => !part.ends_with(' '),
        _ => true,
    }
}

pub(super) fn has_words(text: &str) -> bool {
    text.chars().any(char::is_alphabetic)
}

fn letters(text: &str) -> usize {
    text.chars().filter(|c| c.is_alphabetic()).count()
}

fn new_tokens_max(text: &str, limits: &Limits) -> usize {
    let weight = |c: char| match Script::of(c) {
        Some(Script::Han) => 3,
        Some(Script::Kana | Script::Hangul) => 2,
        _ => 1,
    };
    let generous = text.chars().map(weight).sum::<usize>() * NEW_TOKENS_PER_CHAR;
    generous.max(NEW_TOKENS_MIN).min(limits.new_tokens_max)
}
