//! The end of an utterance: real finals, finals forced by silence, and their corrections.
//!
//! After a final nothing of its utterance is published, with one exception. A final that silence has
//! forced is a guess; the real final, should it say something else, follows as one more final of the
//! same utterance with a higher revision, marked as a correction. A reader who replaces a line by
//! what has the same utterance id always ends with the recogniser's last word, and sees no line
//! twice. Partials after a forced final are not shown, so that a settled line never moves again
//! word by word.

use std::time::Instant;

use super::super::context::ContextSentence;
use super::super::decision::{DropReason, PublishText, RunResult};
use super::super::units::{common, keys, units};
use super::{Desk, Line, Origin, Running, Said, Source, Speaker, Utterance};
use crate::language::Language;

/// A final that waits or runs.
#[derive(Debug)]
pub(super) struct FinalJob {
    pub(super) line: Line,
    pub(super) source: Source,
    pub(super) origin: Origin,
    /// True while the real final may still come.
    pub(super) is_forced: bool,
    /// True when a final of the utterance was published before.
    pub(super) is_correction: bool,
}

impl FinalJob {
    fn new(line: Line, source: Source, origin: Origin) -> Self {
        let is_forced = origin == Origin::Silence;
        let is_correction = line.has_final;
        Self { line, source, origin, is_forced, is_correction }
    }
}

/// The newest utterance, when silence has ended it.
#[derive(Debug)]
pub(super) struct Forced {
    utterance: u64,
    words: Vec<String>,
    /// When it was forced, or last continued.
    at: Instant,
    /// Once the forced final is published.
    line: Option<Line>,
    /// True when that told of a failure, so that the same words are worth another run.
    has_failed: bool,
    /// What the recogniser said of it since, when that is something else.
    pub(super) continued: Option<Source>,
}

impl Forced {
    fn new(utterance: u64, words: Vec<String>, at: Instant) -> Self {
        Self { utterance, words, at, line: None, has_failed: false, continued: None }
    }

    /// True when `words` are the same utterance: at least half of the forced words stand.
    fn is_continued_by<W: AsRef<str>>(&self, words: &[W]) -> bool {
        2 * common(&self.words, words) >= self.words.len()
    }
}

impl Speaker {
    /// Ends the utterance with this text; tells whether the final found a place.
    pub(super) fn end(&mut self, source: Source, origin: Origin, desk: &mut Desk) -> bool {
        self.drop_pending(DropReason::ObsoletedByFinal, desk);
        if let Some(running) = self.partial.take() {
            desk.cancel(running.run);
        }
        self.language.remember(&source.choice);
        let line = self.open.take().map_or_else(|| desk.new_line(), |open| open.line);
        self.enqueue(FinalJob::new(line, source, origin), desk)
    }

    /// Ends the utterance without a final that could be translated.
    pub(in super::super) fn abandon(&mut self, stamp_ns: i64, desk: &mut Desk) -> Option<u64> {
        self.forced = None;
        self.drop_pending(DropReason::ObsoletedByFinal, desk);
        if let Some(running) = self.partial.take() {
            desk.cancel(running.run);
        }
        let Utterance { line, newest, .. } = self.open.take()?;
        let id = line.id;
        let source = Source { stamp_ns, ..newest };
        let mut job = FinalJob::new(line, source, Origin::Heard);
        desk.withdraw(None, &self.name, &mut job, &[]);
        Some(id)
    }

    fn enqueue(&mut self, mut job: FinalJob, desk: &mut Desk) -> bool {
        if self.finals.len() < desk.config.finals_waiting_max {
            self.finals.push_back(job);
            return true;
        }
        match job.origin {
            Origin::Heard => desk.drop_final(&self.name, job.line.id, DropReason::FinalsFull),
            Origin::Silence => desk.counters.forced_refused += 1,
        }
        if !job.is_correction {
            desk.withdraw(None, &self.name, &mut job, &[]);
        }
        false
    }

    /// When silence will end the utterance.
    pub(in super::super) fn silent_at(&self, desk: &Desk) -> Option<Instant> {
        let heard_at = match (&self.open, &self.forced) {
            (Some(open), _) => open.heard_at,
            (None, Some(forced)) if forced.continued.is_some() => forced.at,
            _ => return None,
        };
        Some(heard_at + desk.config.final_timeout?)
    }

    /// Ends what is open with its newest hypothesis.
    pub(in super::super) fn force(&mut self, now: Instant, desk: &mut Desk) {
        if let Some(open) = &self.open {
            let (source, utterance) = (open.newest.clone(), open.line.id);
            let words = keys(&units(&source.text));
            desk.counters.forced += 1;
            if self.end(source, Origin::Silence, desk) {
                self.forced = Some(Forced::new(utterance, words, now));
            }
        } else if let Some(forced) = self.forced.take() {
            self.settle_continued(forced, now, desk);
        }
    }

    /// What a hypothesis means when silence has ended the utterance before it; gives it back when it
    /// begins a new one.
    pub(super) fn after_forced(
        &mut self,
        said: Said,
        now: Instant,
        desk: &mut Desk,
    ) -> Option<Said> {
        let Some(mut forced) = self.forced.take() else { return Some(said) };
        let is_late = now > forced.at + desk.config.late_final_window;
        if is_late || !forced.is_continued_by(&said.units) {
            self.settle_continued(forced, now, desk);
            self.forced = None;
            return Some(said);
        }
        let words = keys(&said.units);
        let is_same = words == forced.words && !forced.has_failed;
        match (said.is_final, is_same) {
            (false, _) => {
                desk.drop_partial(&self.name, forced.utterance, DropReason::AfterForcedFinal);
                forced.at = now;
                forced.continued = Some(said.source).filter(|_| !is_same);
                self.forced = Some(forced);
            }
            (true, true) => {
                desk.drop_final(&self.name, forced.utterance, DropReason::DuplicateFinal);
                self.confirm(forced.utterance);
            }
            (true, false) => self.correct(forced, said.source, Origin::Heard, desk),
        }
        None
    }

    /// Silence, or a new utterance, ends what has continued an utterance that was forced already.
    fn settle_continued(&mut self, mut forced: Forced, now: Instant, desk: &mut Desk) {
        let Some(source) = forced.continued.take() else { return };
        let (words, utterance) = (keys(&units(&source.text)), forced.utterance);
        desk.counters.forced += 1;
        self.correct(forced, source, Origin::Silence, desk);
        if self.owns_final(utterance) {
            self.forced = Some(Forced::new(utterance, words, now));
        }
    }

    fn owns_final(&self, utterance: u64) -> bool {
        let mut jobs = self.finals.iter().chain(self.final_run.as_ref().map(|run| &run.what));
        jobs.any(|job| job.line.id == utterance)
    }

    /// The recogniser said the same as the forced final.
    fn confirm(&mut self, utterance: u64) {
        let running = self.final_run.as_mut().map(|run| &mut run.what);
        if let Some(job) = self.finals.iter_mut().chain(running).find(|j| j.line.id == utterance) {
            job.is_forced = false;
        }
    }

    /// The recogniser said something else than the forced final, which may wait, run, or be published.
    fn correct(&mut self, forced: Forced, source: Source, origin: Origin, desk: &mut Desk) {
        self.language.remember(&source.choice);
        let is_forced = origin == Origin::Silence;
        if let Some(job) = self.finals.iter_mut().find(|job| job.line.id == forced.utterance) {
            desk.counters.forced_replaced += 1;
            (job.source, job.origin, job.is_forced) = (source, origin, is_forced);
        } else if let Some(running) =
            self.final_run.take_if(|run| run.what.line.id == forced.utterance)
        {
            desk.cancel(running.run);
            // It has left the queue before, so that its place is not asked for again.
            self.finals.push_front(FinalJob { source, origin, is_forced, ..running.what });
        } else if let Some(line) = forced.line {
            self.enqueue(FinalJob::new(line, source, origin), desk);
        }
    }

    /// Starts the next final when none runs.
    pub(in super::super) fn start_final(&mut self, desk: &mut Desk) {
        if self.final_run.is_some() {
            return;
        }
        let Some(mut job) = self.finals.pop_front() else { return };
        job.line.source_revision += 1;
        let context = self.context.before(job.line.id);
        let run = desk.start_final(&self.name, &job, context);
        self.final_run = Some(Running::new(run, job));
    }

    pub(super) fn finish_final(&mut self, results: &[RunResult], desk: &mut Desk) {
        let Some(Running { run, what: mut job, .. }) = self.final_run.take() else { return };
        let targets: Vec<Language> = job.source.choice.targets.clone();
        let mut translations = Vec::new();
        for target in &targets {
            let answer = results.iter().find(|result| result.target == *target);
            let text = match answer.and_then(|result| result.text.clone()) {
                Some(text) => {
                    translations.push((*target, text.clone()));
                    job.line.set_draft(*target, text.clone());
                    PublishText::Text(text)
                }
                None => PublishText::Failed,
            };
            desk.publish_final(run, &self.name, &mut job, *target, text);
        }
        desk.withdraw(Some(run), &self.name, &mut job, &targets);
        job.line.has_final = true;
        let has_failed = translations.is_empty() && !targets.is_empty();
        if !translations.is_empty() {
            let sentence = ContextSentence {
                utterance: job.line.id,
                source: job.source.text,
                language: job.source.choice.source,
                translations,
            };
            self.context.push(sentence, &desk.config.context);
        }
        if let Some(forced) = self.forced.as_mut().filter(|f| f.utterance == job.line.id) {
            (forced.line, forced.has_failed) = (Some(job.line), has_failed);
        }
    }
}
