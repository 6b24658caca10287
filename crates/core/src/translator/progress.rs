//! The translation into one target while its parts come in.

use super::attempt::Candidate;
use super::question::Question;
use crate::error::ErrorCode;
use crate::generate::Generated;
use crate::glossary::{Term, TermCheck};
use crate::language::Language;
use crate::segment::{Piece, join};

pub(super) struct Progress<'p, 'a> {
    /// Index of the request, and of the target in it.
    place: (usize, usize),
    target: Language,
    pieces: &'p [Piece<'a>],
    /// One per piece that is text, `None` while it is not translated.
    texts: Vec<Option<String>>,
    /// What [`Self::show`] told last.
    shown: String,
    /// Batch, waiting time and time in the engine, each the longest of the batch. Milliseconds.
    times: Vec<(usize, f32, f32)>,
    n_cached: usize,
    pub(super) tokens_in: usize,
    pub(super) tokens_out: usize,
    pub(super) is_truncated: bool,
    pub(super) notes: Vec<String>,
    pub(super) terms: TermCheck,
    pub(super) failure: Option<Failure>,
}

/// Why there is no translation.
pub(super) struct Failure {
    pub(super) code: ErrorCode,
    pub(super) why: String,
}

impl<'p, 'a> Progress<'p, 'a> {
    pub(super) fn new(
        place: (usize, usize),
        target: Language,
        pieces: &'p [Piece<'a>],
        questions: &[Option<Question>],
    ) -> Self {
        let texts = pieces.iter().filter_map(|piece| piece.text()).zip(questions);
        let kept = |(text, question): (&str, &Option<Question>)| match question {
            Some(_) => None,
            None => Some(text.to_owned()),
        };
        Self {
            place,
            target,
            pieces,
            texts: texts.map(kept).collect(),
            shown: String::new(),
            times: Vec::new(),
            n_cached: 0,
            tokens_in: 0,
            tokens_out: 0,
            is_truncated: false,
            notes: Vec::new(),
            terms: TermCheck::default(),
            failure: None,
        }
    }

    /// Adds up what an answer took; `batch` is `None` when it was given before.
    pub(super) fn count(&mut self, answer: &Generated, batch: Option<usize>) {
        self.tokens_in += answer.tokens_in;
        self.tokens_out += answer.tokens_out;
        let Some(batch) = batch else {
            self.n_cached += 1;
            return;
        };
        let (queue, inference) = (answer.queue_ms, answer.inference_ms);
        match self.times.last_mut().filter(|(last, ..)| *last == batch) {
            Some((_, queue_max, inference_max)) => {
                *queue_max = queue_max.max(queue);
                *inference_max = inference_max.max(inference);
            }
            None => self.times.push((batch, queue, inference)),
        }
    }

    /// Takes the answer for a part.
    pub(super) fn settle(&mut self, part: usize, chosen: Candidate) {
        for note in &chosen.notes {
            self.note(part, note);
        }
        self.is_truncated |= chosen.is_truncated;
        self.add_terms(chosen.terms);
        self.texts[part] = Some(chosen.text);
    }

    /// The whole translation; a part that is missing is left as it was.
    pub(super) fn text(&self) -> String {
        let texts = self.pieces.iter().filter_map(|piece| piece.text()).zip(&self.texts);
        let texts: Vec<&str> = texts.map(|(old, new)| new.as_deref().unwrap_or(old)).collect();
        join(self.pieces, &texts, self.target)
    }

    /// Waiting time and time in the engine, over all batches. Milliseconds.
    pub(super) fn times_ms(&self) -> (f32, f32) {
        // Not `sum`, which makes -0.0 of nothing.
        let add = |(queue, inference): (f32, f32), (_, q, i): &(usize, f32, f32)| {
            (queue + q, inference + i)
        };
        self.times.iter().fold((0.0, 0.0), add)
    }

    pub(super) fn is_from_cache(&self) -> bool {
        self.times.is_empty() && self.n_cached > 0
    }

    /// Tells what is finished up to the first part that is not. A text of one part needs no telling:
    /// it is the result.
    pub(super) fn show(&mut self, on_partial: &mut dyn FnMut(usize, usize, &str)) {
        if self.texts.len() > 1 && self.failure.is_none() {
            self.tell(None, on_partial);
        }
    }

    /// Tells that, and the beginning of the first part that is not finished, should it be this one.
    pub(super) fn show_growing(
        &mut self,
        part: usize,
        question: &Question,
        partial: &str,
        on_partial: &mut dyn FnMut(usize, usize, &str),
    ) {
        let is_next = self.texts.iter().position(Option::is_none) == Some(part);
        if let Some(growing) = question.read_partial(partial).filter(|_| is_next) {
            self.tell(Some(&growing), on_partial);
        }
    }

    fn tell(&mut self, growing: Option<&str>, on_partial: &mut dyn FnMut(usize, usize, &str)) {
        let done = self.texts.iter().map_while(Option::as_deref);
        let texts: Vec<&str> = done.chain(growing).collect();
        let is_text = |piece: &Piece<'_>| piece.text().is_some();
        let texts_at = self.pieces.iter().enumerate().filter(|(_, piece)| is_text(piece));
        let last = texts_at.map(|(at, _)| at).take(texts.len()).last();
        let so_far = join(&self.pieces[..last.map_or(0, |at| at + 1)], &texts, self.target);
        // One part alone is told as the model goes, several only what grew; but what was shown of an
        // answer that was not kept gives way to what is.
        let is_news = self.texts.len() == 1
            || (growing.is_none() && so_far != self.shown)
            || (so_far.len() > self.shown.len() && so_far.starts_with(&self.shown));
        if is_news {
            let (request, target) = self.place;
            on_partial(request, target, &so_far);
            self.shown = so_far;
        }
    }

    fn add_terms(&mut self, found: TermCheck) {
        // A term that one part lacks is missed, wherever else it is.
        for term in found.missed {
            self.terms.applied.retain(|applied| *applied != term);
            push_new(&mut self.terms.missed, term);
        }
        for term in found.applied {
            if !self.terms.missed.contains(&term) {
                push_new(&mut self.terms.applied, term);
            }
        }
    }

    fn note(&mut self, part: usize, note: &str) {
        let note = self.name(part) + note;
        self.notes.push(note);
    }

    pub(super) fn fail(&mut self, part: usize, code: ErrorCode, why: &str) {
        // The first failure is the cause of the others, as often as not.
        if self.failure.is_none() {
            self.failure = Some(Failure { code, why: self.name(part) + why });
        }
    }

    fn name(&self, part: usize) -> String {
        match self.texts.len() {
            0 | 1 => String::new(),
            n => format!("part {} of {n}: ", part + 1),
        }
    }
}

fn push_new(terms: &mut Vec<Term>, term: Term) {
    if !terms.contains(&term) {
        terms.push(term);
    }
}
