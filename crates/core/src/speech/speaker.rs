//! One speaker: the open utterance, the pending partial, the finals that wait, and what runs.

mod desk;
mod finals;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

pub(super) use desk::Desk;
use finals::{FinalJob, Forced};

use super::agreement::{Agreed, Agreement};
use super::context::RollingContext;
use super::decision::{DropReason, RunId, RunResult};
use super::language_choice::{LanguageChoice, SpeakerLanguage};
use super::shown::Shown;
use super::units::{Unit, common, keys, units};
use super::{STREAM_INTERVAL_MIN, SpeechConfig};
use crate::language::Language;

/// A text, and what is known about it.
#[derive(Debug, Clone)]
pub(super) struct Source {
    pub(super) text: String,
    pub(super) stamp_ns: i64,
    pub(super) choice: LanguageChoice,
}

/// A hypothesis that has passed the door.
pub(super) struct Said {
    pub(super) source: Source,
    pub(super) units: Vec<Unit>,
    pub(super) is_final: bool,
}

/// Why a run or a final exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    Heard,
    Silence,
}

/// What lives as long as an utterance has anything to publish.
#[derive(Debug, Clone, Default)]
pub(super) struct Line {
    pub(super) id: u64,
    /// Versions of the source that were translated.
    pub(super) source_revision: u32,
    /// Versions published.
    pub(super) revision: u32,
    /// True once a final is published.
    pub(super) has_final: bool,
    pub(super) shown: Shown,
    pub(super) drafts: Vec<(Language, String)>,
}

/// An utterance that has not ended.
#[derive(Debug)]
struct Utterance {
    line: Line,
    newest: Source,
    heard_at: Instant,
    agreement: Agreement,
    /// Words of the partial that was started last.
    asked: Vec<String>,
}

/// A partial that waits.
#[derive(Debug)]
struct Pending {
    source: Source,
    words: Vec<String>,
}

/// A run in flight.
#[derive(Debug)]
struct Running<T> {
    run: RunId,
    what: T,
    /// When a text in progress was last published.
    streamed: Vec<(Language, Instant)>,
}

impl<T> Running<T> {
    fn new(run: RunId, what: T) -> Self {
        Self { run, what, streamed: Vec::new() }
    }

    /// True when a text in progress may be published; counts as published.
    fn may_stream(&mut self, target: Language, now: Instant) -> bool {
        match self.streamed.iter_mut().find(|(known, _)| *known == target) {
            Some((_, at)) if now < *at + STREAM_INTERVAL_MIN => return false,
            Some((_, at)) => *at = now,
            None => self.streamed.push((target, now)),
        }
        true
    }
}

#[derive(Debug)]
pub(super) struct Speaker {
    pub(super) name: Arc<str>,
    pub(super) heard_at: Instant,
    pub(super) is_gone: bool,
    pub(super) context: RollingContext,
    pub(super) language: SpeakerLanguage,
    /// When it got its last partial run, in turns of all speakers; for the round robin.
    pub(super) served: u64,
    open: Option<Utterance>,
    pending: Option<Pending>,
    partial: Option<Running<Source>>,
    partial_started_at: Option<Instant>,
    finals: VecDeque<FinalJob>,
    final_run: Option<Running<FinalJob>>,
    forced: Option<Forced>,
}

impl Speaker {
    pub(super) fn new(name: Arc<str>, now: Instant) -> Self {
        Self {
            name,
            heard_at: now,
            is_gone: false,
            context: RollingContext::default(),
            language: SpeakerLanguage::default(),
            served: 0,
            open: None,
            pending: None,
            partial: None,
            partial_started_at: None,
            finals: VecDeque::new(),
            final_run: None,
            forced: None,
        }
    }

    pub(super) fn hear(&mut self, said: Said, now: Instant, desk: &mut Desk) {
        self.heard_at = now;
        self.is_gone = false;
        let Some(said) = self.after_forced(said, now, desk) else { return };
        match said.is_final {
            true => drop(self.end(said.source, Origin::Heard, desk)),
            false => self.grow(said, now, desk),
        }
    }

    /// A new hypothesis of the open utterance, or the first of a new one.
    fn grow(&mut self, said: Said, now: Instant, desk: &mut Desk) {
        let Said { source, units, .. } = said;
        let utterance = self.open.get_or_insert_with(|| Utterance {
            line: desk.new_line(),
            newest: source.clone(),
            heard_at: now,
            agreement: Agreement::default(),
            asked: Vec::new(),
        });
        let id = utterance.line.id;
        let is_repeated =
            same_words(&utterance.newest.text, &units) && utterance.agreement.is_begun();
        utterance.heard_at = now;
        utterance.newest = source.clone();
        let agreed = utterance.agreement.update(&units, desk.config.partial_agreement);
        if self.pending.as_ref().is_some_and(|pending| contradicts(&units, &pending.words)) {
            self.drop_pending(DropReason::Contradicted, desk);
        }
        if !desk.config.translate_partials {
            return desk.drop_partial(&self.name, id, DropReason::PartialsOff);
        }
        let pending = self.pending.as_ref().map(|pending| &pending.words);
        let asked = pending.or(self.open.as_ref().map(|u| &u.asked)).map_or(&[][..], Vec::as_slice);
        if !is_news(&units, agreed, asked) {
            let reason = if is_repeated { DropReason::Repeated } else { DropReason::NotAgreed };
            return desk.drop_partial(&self.name, id, reason);
        }
        self.drop_pending(DropReason::Superseded, desk);
        let text = prefix(&source.text, &units, agreed.n_units).to_owned();
        let words = keys(&units[..agreed.n_units]);
        self.pending = Some(Pending { source: Source { text, ..source }, words });
    }

    fn drop_pending(&mut self, reason: DropReason, desk: &mut Desk) {
        if let (Some(_), Some(open)) = (self.pending.take(), &self.open) {
            desk.drop_partial(&self.name, open.line.id, reason);
        }
    }

    /// Stops what is done for partials.
    pub(super) fn stop_partials(&mut self, desk: &mut Desk) {
        self.drop_pending(DropReason::PartialsOff, desk);
        if let Some(running) = self.partial.take() {
            desk.cancel(running.run);
        }
    }

    /// When the pending partial may start; `None` when there is none, or when something goes first.
    pub(super) fn partial_ready_at(&self, config: &SpeechConfig) -> Option<Instant> {
        let is_free = self.partial.is_none() && self.final_run.is_none() && self.finals.is_empty();
        let waits = self.pending.is_some() && is_free;
        let earliest = self.partial_started_at.map(|at| at + config.partial_min_interval);
        waits.then(|| earliest.unwrap_or(self.heard_at))
    }

    /// Starts the pending partial.
    pub(super) fn start_partial(&mut self, now: Instant, desk: &mut Desk) {
        let (Some(pending), Some(open)) = (self.pending.take(), &mut self.open) else { return };
        open.asked = pending.words;
        open.line.source_revision += 1;
        self.partial_started_at = Some(now);
        self.served = desk.next_turn();
        let context = self.context.before(open.line.id);
        let run = desk.start_partial(&self.name, &open.line, &pending.source, context);
        self.partial = Some(Running::new(run, pending.source));
    }

    pub(super) fn has_partial_run(&self) -> bool {
        self.partial.is_some()
    }

    /// A text in progress.
    pub(super) fn progress(
        &mut self,
        run: RunId,
        target: Language,
        text: &str,
        now: Instant,
        desk: &mut Desk,
    ) {
        if desk.config.stream_partials {
            if let (Some(running), Some(open)) =
                (self.partial.as_mut().filter(|running| running.run == run), &mut self.open)
            {
                if running.what.choice.targets.contains(&target)
                    && open.line.shown.is_extended_by(target, text)
                    && running.may_stream(target, now)
                {
                    return desk.publish_partial(
                        run,
                        &self.name,
                        &mut open.line,
                        &running.what,
                        target,
                        text,
                    );
                }
            } else if let Some(running) = self.final_run.as_mut().filter(|r| r.run == run) {
                let job = &running.what;
                if !job.is_correction
                    && job.source.choice.targets.contains(&target)
                    && job.line.shown.is_extended_by(target, text)
                    && running.may_stream(target, now)
                {
                    let FinalJob { line, source, .. } = &mut running.what;
                    return desk.publish_partial(run, &self.name, line, source, target, text);
                }
            }
        }
        desk.drop(&self.name, None, DropReason::HeldBack);
    }

    /// The results of a run of this speaker.
    pub(super) fn finish(&mut self, run: RunId, results: &[RunResult], desk: &mut Desk) {
        desk.counters.finished += 1;
        if self.final_run.as_ref().is_some_and(|running| running.run == run) {
            return self.finish_final(results, desk);
        }
        let (Some(running), Some(open)) = (self.partial.take(), &mut self.open) else { return };
        let source = running.what;
        for RunResult { target, text } in results {
            match text.as_ref().filter(|_| source.choice.targets.contains(target)) {
                Some(text) => {
                    desk.publish_partial(run, &self.name, &mut open.line, &source, *target, text);
                    open.line.set_draft(*target, text.clone());
                }
                None => desk.drop(&self.name, Some(open.line.id), DropReason::FailedPartial),
            }
        }
    }

    /// Hypotheses that wait to be translated.
    pub(super) fn n_waiting_heard(&self) -> usize {
        let finals = self.finals.iter().filter(|job| job.origin == Origin::Heard).count();
        finals + usize::from(self.pending.is_some())
    }

    /// Runs in flight.
    pub(super) fn n_running(&self) -> usize {
        usize::from(self.partial.is_some()) + usize::from(self.final_run.is_some())
    }

    /// True when forgetting the speaker would lose something that was said; what was said before
    /// `silent_since` and never ended is not worth keeping.
    pub(super) fn has_work(&self, silent_since: Option<Instant>) -> bool {
        let is_recent = silent_since.is_none_or(|since| self.heard_at > since);
        let is_unfinished = self.open.is_some()
            || self.forced.as_ref().is_some_and(|forced| forced.continued.is_some());
        self.pending.is_some()
            || self.n_running() > 0
            || !self.finals.is_empty()
            || (is_unfinished && is_recent)
    }
}

impl Line {
    fn set_draft(&mut self, target: Language, text: String) {
        self.drafts.retain(|(known, _)| *known != target);
        self.drafts.push((target, text));
    }
}

/// True when the agreed part holds something that was not asked for yet. A part of what was asked is
/// no news while the recogniser wavers; once its updates settle on less, the reader sees too much.
fn is_news(all: &[Unit], agreed: Agreed, asked: &[String]) -> bool {
    let part = &all[..agreed.n_units];
    let is_part_of_asked = common(part, asked) == part.len();
    !part.is_empty() && (!is_part_of_asked || (agreed.is_settled && part.len() < asked.len()))
}

/// True when the two differ before either ends.
fn contradicts(units: &[Unit], words: &[String]) -> bool {
    common(units, words) < units.len().min(words.len())
}

fn same_words(text: &str, other: &[Unit]) -> bool {
    let words = units(text);
    words.len() == other.len() && common(&words, other) == other.len()
}

/// The first `n_units` of `text`: with its last punctuation only when that is all of it.
fn prefix<'a>(text: &'a str, units: &[Unit], n_units: usize) -> &'a str {
    match n_units.checked_sub(1).map(|last| units[last].end) {
        Some(end) if n_units < units.len() => text[..end].trim(),
        _ => text.trim(),
    }
}
