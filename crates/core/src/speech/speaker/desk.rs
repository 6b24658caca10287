//! Where decisions are written down and counted, for all speakers.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::super::SpeechConfig;
use super::super::context::ContextSentence;
use super::super::counters::SpeechCounters;
use super::super::decision::{Decision, DropReason, Dropped, Publish, PublishText, RunId, Start};
use super::finals::FinalJob;
use super::{Line, Origin, Source};
use crate::language::Language;

#[derive(Debug)]
pub(in super::super) struct Desk {
    pub(in super::super) config: SpeechConfig,
    pub(in super::super) counters: SpeechCounters,
    /// Runs in flight, and whose they are.
    pub(in super::super) runs: BTreeMap<RunId, Arc<str>>,
    /// Decisions since they were last taken.
    pub(in super::super) decisions: Vec<Decision>,
    pub(in super::super) last_run: u64,
    last_utterance: u64,
    turn: u64,
}

impl Desk {
    pub(in super::super) fn new(config: SpeechConfig) -> Self {
        Self {
            config,
            counters: SpeechCounters::default(),
            runs: BTreeMap::new(),
            decisions: Vec::new(),
            last_run: 0,
            last_utterance: 0,
            turn: 0,
        }
    }

    pub(super) fn new_line(&mut self) -> Line {
        self.last_utterance += 1;
        Line { id: self.last_utterance, ..Line::default() }
    }

    pub(super) fn next_turn(&mut self) -> u64 {
        self.turn += 1;
        self.turn
    }

    pub(super) fn drop_partial(&mut self, speaker: &Arc<str>, utterance: u64, reason: DropReason) {
        self.drop(speaker, Some(utterance), reason);
    }

    pub(super) fn drop_final(&mut self, speaker: &Arc<str>, utterance: u64, reason: DropReason) {
        let utterance = Some(utterance);
        self.note(Dropped { speaker: speaker.clone(), utterance, is_final: true, reason });
    }

    pub(super) fn drop(&mut self, speaker: &Arc<str>, utterance: Option<u64>, reason: DropReason) {
        self.note(Dropped { speaker: speaker.clone(), utterance, is_final: false, reason });
    }

    pub(in super::super) fn note(&mut self, dropped: Dropped) {
        self.counters.count(dropped.reason);
        self.decisions.push(Decision::Drop(dropped));
    }

    pub(super) fn cancel(&mut self, run: RunId) {
        self.runs.remove(&run);
        self.counters.cancelled += 1;
        self.decisions.push(Decision::Cancel { run });
    }

    pub(super) fn start_partial(
        &mut self,
        speaker: &Arc<str>,
        line: &Line,
        source: &Source,
        context: Vec<Arc<ContextSentence>>,
    ) -> RunId {
        self.counters.started_heard += 1;
        let start = self.start_of(speaker, line, source, context);
        self.start(start)
    }

    pub(super) fn start_final(
        &mut self,
        speaker: &Arc<str>,
        job: &FinalJob,
        context: Vec<Arc<ContextSentence>>,
    ) -> RunId {
        match job.origin {
            Origin::Heard => self.counters.started_heard += 1,
            Origin::Silence => self.counters.started_forced += 1,
        }
        let start = self.start_of(speaker, &job.line, &job.source, context);
        self.start(Start { is_final: true, is_forced: job.is_forced, ..start })
    }

    fn start_of(
        &mut self,
        speaker: &Arc<str>,
        line: &Line,
        source: &Source,
        context: Vec<Arc<ContextSentence>>,
    ) -> Start {
        self.last_run += 1;
        Start {
            run: RunId(self.last_run),
            speaker: speaker.clone(),
            utterance: line.id,
            revision: line.source_revision,
            text: source.text.clone(),
            is_final: false,
            is_forced: false,
            stamp_ns: source.stamp_ns,
            source: source.choice.source,
            source_confidence: source.choice.confidence,
            targets: source.choice.targets.clone(),
            drafts: if self.config.drafts { line.drafts.clone() } else { Vec::new() },
            context,
        }
    }

    fn start(&mut self, start: Start) -> RunId {
        let run = start.run;
        self.runs.insert(run, start.speaker.clone());
        self.decisions.push(Decision::Start(Box::new(start)));
        run
    }

    pub(super) fn publish_partial(
        &mut self,
        run: RunId,
        speaker: &Arc<str>,
        line: &mut Line,
        source: &Source,
        target: Language,
        text: &str,
    ) {
        self.counters.published_partials += 1;
        self.counters.erased_chars += line.shown.show(target, text).now as u64;
        let text = PublishText::Text(text.to_owned());
        let publish = publish_of(Some(run), speaker, line, source, target, text);
        self.decisions.push(Decision::Publish(Box::new(publish)));
    }

    pub(super) fn publish_final(
        &mut self,
        run: RunId,
        speaker: &Arc<str>,
        job: &mut FinalJob,
        target: Language,
        text: PublishText,
    ) {
        let FinalJob { line, source, is_forced, is_correction, .. } = job;
        let (is_forced, is_correction) = (*is_forced, *is_correction);
        self.counters.published_finals += 1;
        self.counters.corrections += u64::from(is_correction);
        let mut publish = publish_of(Some(run), speaker, line, source, target, text);
        if let PublishText::Text(text) = &publish.text {
            let n_chars = text.chars().count();
            let erased = line.shown.show(target, text);
            self.counters.erased_chars += erased.now as u64;
            if !is_correction {
                self.counters.final_chars += n_chars as u64;
            }
            publish.normalised_erasure =
                (n_chars > 0).then(|| erased.in_all as f32 / n_chars as f32);
            // A forced final may be corrected, so nothing of it is promised.
            publish.stable_chars =
                if is_forced { 0 } else { u32::try_from(n_chars).unwrap_or(u32::MAX) };
        }
        let publish = Publish { is_final: true, is_forced, is_correction, ..publish };
        self.decisions.push(Decision::Publish(Box::new(publish)));
    }

    /// Ends the lines of targets that show something and got no final.
    pub(super) fn withdraw(
        &mut self,
        run: Option<RunId>,
        speaker: &Arc<str>,
        job: &mut FinalJob,
        answered: &[Language],
    ) {
        let FinalJob { line, source, is_forced, .. } = job;
        for target in line.shown.left_over(answered) {
            self.counters.published_finals += 1;
            self.counters.withdrawn += 1;
            self.counters.erased_chars += line.shown.show(target, "").now as u64;
            let text = PublishText::Withdrawn;
            let publish = publish_of(run, speaker, line, source, target, text);
            let is_correction = line.has_final;
            self.counters.corrections += u64::from(is_correction);
            let is_forced = *is_forced;
            let publish = Publish { is_final: true, is_forced, is_correction, ..publish };
            self.decisions.push(Decision::Publish(Box::new(publish)));
        }
    }
}

fn publish_of(
    run: Option<RunId>,
    speaker: &Arc<str>,
    line: &mut Line,
    source: &Source,
    target: Language,
    text: PublishText,
) -> Publish {
    line.revision += 1;
    Publish {
        run,
        speaker: speaker.clone(),
        utterance: line.id,
        revision: line.revision,
        target,
        is_final: false,
        is_forced: false,
        is_correction: false,
        source_text: source.text.clone(),
        source: source.choice.source,
        source_confidence: source.choice.confidence,
        stamp_ns: source.stamp_ns,
        text,
        stable_chars: 0,
        normalised_erasure: None,
    }
}
