//! Live speech: when a growing hypothesis is translated, and what of it is shown.
//!
//! A speech recogniser says the same sentence again and again, each time a little longer and sometimes
//! with other words. [`SpeechConductor`] decides what of that is worth a translation. It is a pure
//! state machine: it is told what was heard, what became of its runs, and what time it is, and
//! answers with [`Decision`]s. It holds no clock, no thread and no engine.
//!
//! # Rules
//! | rule | bound |
//! |---|---|
//! | *Whole re-translation.* A partial is the agreed part of the hypothesis from its beginning, never a tail. | |
//! | *Agreement.* Only what [`SpeechConfig::partial_agreement`] consecutive updates begin with alike is translated, and only when it holds something new. Words are compared without case and punctuation, characters where words have no spaces. | [`AGREEMENT_MAX`] |
//! | *Pace.* One partial run of a speaker in flight, one pending (the newest), and [`SpeechConfig::partial_min_interval`] between starts. | one and one |
//! | *Finals first.* A final cancels the partial of its utterance and is never dropped for one; no partial starts while a final of the speaker waits or runs, so that a reader gets utterances in order. | [`SpeechConfig::finals_waiting_max`] |
//! | *No stale result.* What a cancelled run still says is refused. After the final of an utterance, nothing of it is published, except the correction of a forced final. | |
//! | *Silence.* After [`SpeechConfig::final_timeout`] without a message the newest hypothesis becomes a forced final. The real one, when it comes within [`SpeechConfig::late_final_window`], is dropped if it has the same words, and else published as a correction. | one per utterance and silence |
//! | *Mute.* What is heard while the robot speaks, and [`SpeechConfig::mute_tail`] after it, is dropped; what runs goes on. | [`SpeechConfig::mute_max`] |
//! | *Fairness.* Free partial runs go to the speaker served longest ago. | [`SpeechConfig::partial_runs_max`] |
//! | *Speakers.* The one silent for longest makes room, but never one with work. | [`SpeechConfig::speakers_max`] |
//! | *Context.* The last finals with their translations, forgotten after a pause. | [`ContextConfig`] |
//!
//! Any message of the recogniser, even a repeated one, shows that it is at work and puts the
//! silence off. A final is an end even if it repeats the one before: people say "yes" twice.
//!
//! ```
//! use std::time::{Duration, Instant};
//! use hymt_core::language::Language;
//! use hymt_core::speech::{Decision, Hypothesis, RunResult, SpeechConductor, SpeechConfig};
//!
//! let mut conductor = SpeechConductor::new(SpeechConfig::default());
//! let now = Instant::now();
//! let said = Hypothesis { speaker: "ann", locale: "de", ..Hypothesis::default() };
//! let open = said.with_live_speech("", "Öffne die Tür.");
//! let decisions = conductor.hypothesis(&open, now);
//! let [Decision::Start(start)] = &decisions[..] else { panic!("{decisions:?}") };
//! assert_eq!((start.text.as_str(), start.is_final), ("Öffne die Tür.", true));
//!
//! let text = Some("Open the door.".to_owned());
//! let results = [RunResult { target: Language::English, text }];
//! let decisions = conductor.run_finished(start.run, &results, now + Duration::from_millis(200));
//! assert!(matches!(&decisions[..], [Decision::Publish(publish)] if publish.is_final));
//! ```

mod agreement;
mod context;
mod counters;
mod decision;
mod language_choice;
mod shown;
mod speaker;
mod units;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

pub use context::{ContextConfig, ContextSentence, RollingContext};
pub use counters::SpeechCounters;
pub use decision::{
    Decision, DropReason, Dropped, Hypothesis, Publish, PublishText, RunId, RunResult, Start,
};
pub use language_choice::{
    LanguageChoice, LanguageConfig, SpeakerLanguage, TargetMode, other_party,
};

use crate::language::Language;
use crate::request::INPUT_CHARS_MAX;
use speaker::{Desk, Said, Source, Speaker};

/// Longest name of a speaker. Bytes.
pub const SPEAKER_BYTES_MAX: usize = 256;
/// Most updates that may be asked to agree.
pub const AGREEMENT_MAX: usize = 5;
/// Shortest time between two texts in progress of one run and target; faster than this nobody reads.
pub const STREAM_INTERVAL_MIN: Duration = Duration::from_millis(100);

/// How live speech is conducted.
#[derive(Debug, Clone, PartialEq)]
pub struct SpeechConfig {
    /// False for finals only.
    pub translate_partials: bool,
    /// How many consecutive updates must agree; 1 translates each. 1 to [`AGREEMENT_MAX`].
    pub partial_agreement: usize,
    /// Time between the starts of two partial runs of one speaker.
    pub partial_min_interval: Duration,
    /// Silence that ends an utterance; `None` waits for the recogniser for ever.
    pub final_timeout: Option<Duration>,
    /// How long after a forced final the real one is still expected.
    pub late_final_window: Duration,
    /// How long after the robot has spoken its voice may still be heard.
    pub mute_tail: Duration,
    /// Longest time that the robot is believed to speak without saying so again: whoever said so
    /// may be gone.
    pub mute_max: Duration,
    /// True to show texts in progress where that rewrites nothing.
    pub stream_partials: bool,
    /// True to start a run with the last translations of its utterance as drafts.
    pub drafts: bool,
    /// Speakers known at a time, at least 1.
    pub speakers_max: usize,
    /// Finals of one speaker that wait behind the one that runs, at least 1.
    pub finals_waiting_max: usize,
    /// Partial runs in flight over all speakers, at least 1.
    pub partial_runs_max: usize,
    /// Longest text. Characters. A longer one is refused, never cut.
    pub text_chars_max: usize,
    /// What is remembered of each speaker.
    pub context: ContextConfig,
    /// Languages.
    pub language: LanguageConfig,
}

impl Default for SpeechConfig {
    fn default() -> Self {
        Self {
            translate_partials: true,
            partial_agreement: 2,
            partial_min_interval: Duration::from_millis(400),
            final_timeout: Some(Duration::from_millis(2500)),
            late_final_window: Duration::from_secs(5),
            mute_tail: Duration::from_millis(300),
            mute_max: Duration::from_secs(60),
            stream_partials: true,
            drafts: true,
            speakers_max: 16,
            finals_waiting_max: 8,
            partial_runs_max: 4,
            text_chars_max: INPUT_CHARS_MAX,
            context: ContextConfig::default(),
            language: LanguageConfig::default(),
        }
    }
}

impl SpeechConfig {
    /// The same, with what must be at least 1 at least 1 and the agreement within its bound.
    fn within_bounds(self) -> Self {
        Self {
            partial_agreement: self.partial_agreement.clamp(1, AGREEMENT_MAX),
            speakers_max: self.speakers_max.max(1),
            finals_waiting_max: self.finals_waiting_max.max(1),
            partial_runs_max: self.partial_runs_max.max(1),
            ..self
        }
    }
}

/// Decides what of live speech is translated and shown; see the [module](self).
///
/// Times must not go backwards; if they do, things happen later than they should and nothing else.
#[derive(Debug)]
pub struct SpeechConductor {
    speakers: BTreeMap<Arc<str>, Speaker>,
    desk: Desk,
    mute: Mute,
}

/// Whether the robot speaks.
#[derive(Debug, Clone, Copy)]
enum Mute {
    Never,
    Since(Instant),
    Until(Instant),
}

impl SpeechConductor {
    /// A conductor that knows nobody yet.
    pub fn new(config: SpeechConfig) -> Self {
        let desk = Desk::new(config.within_bounds());
        Self { speakers: BTreeMap::new(), desk, mute: Mute::Never }
    }

    /// A recogniser has said something.
    pub fn hypothesis(&mut self, hypothesis: &Hypothesis<'_>, now: Instant) -> Vec<Decision> {
        self.desk.counters.heard += 1;
        match self.admit(hypothesis, now) {
            Ok((speaker, said)) => {
                let Self { speakers, desk, .. } = self;
                let new = || Speaker::new(speaker.clone(), now);
                let speaker = speakers.entry(speaker.clone()).or_insert_with(new);
                if now.saturating_duration_since(speaker.heard_at) > desk.config.context.pause {
                    speaker.context.clear();
                }
                let choice = speaker.language.choose(
                    &desk.config.language,
                    hypothesis.locale,
                    hypothesis.detected,
                );
                speaker.hear(Said { source: Source { choice, ..said.source }, ..said }, now, desk);
            }
            Err(reason) => self.refuse(hypothesis, reason),
        }
        self.settle(now)
    }

    /// A run has ended; one result per target that was asked for. A missing one counts as failed.
    pub fn run_finished(
        &mut self,
        run: RunId,
        results: &[RunResult],
        now: Instant,
    ) -> Vec<Decision> {
        match self.desk.runs.remove(&run) {
            Some(name) => {
                let Self { speakers, desk, .. } = self;
                if let Some(speaker) = speakers.get_mut(&name) {
                    speaker.finish(run, results, desk);
                }
            }
            None => self.refuse_result(run),
        }
        self.settle(now)
    }

    /// A run has come so far with the translation into `target`.
    pub fn run_partial(
        &mut self,
        run: RunId,
        target: Language,
        text: &str,
        now: Instant,
    ) -> Vec<Decision> {
        let Self { speakers, desk, .. } = self;
        match desk.runs.get(&run).and_then(|name| speakers.get_mut(name)) {
            Some(speaker) => speaker.progress(run, target, text, now, desk),
            None => self.refuse_result(run),
        }
        self.settle(now)
    }

    /// Time has passed; call it at [`Self::next_deadline`]. Calling it more often does no harm.
    pub fn tick(&mut self, now: Instant) -> Vec<Decision> {
        let Self { speakers, desk, .. } = self;
        for speaker in speakers.values_mut() {
            if speaker.silent_at(desk).is_some_and(|at| at <= now) {
                speaker.force(now, desk);
            }
        }
        self.settle(now)
    }

    /// When [`Self::tick`] has something to do next; `None` as long as nothing else happens.
    pub fn next_deadline(&self) -> Option<Instant> {
        let config = &self.desk.config;
        let may_start = self.n_partial_runs() < config.partial_runs_max;
        let deadlines = self.speakers.values().flat_map(|speaker| {
            let partial = speaker.partial_ready_at(config).filter(|_| may_start);
            [speaker.silent_at(&self.desk), partial]
        });
        deadlines.flatten().min()
    }

    /// The robot has begun to speak (or still does), or has ended.
    pub fn muted(&mut self, is_speaking: bool, now: Instant) -> Vec<Decision> {
        self.mute = match (is_speaking, self.mute) {
            (true, _) => Mute::Since(now),
            (false, Mute::Since(_)) => Mute::Until(now + self.desk.config.mute_tail),
            (false, mute) => mute,
        };
        self.settle(now)
    }

    /// A speaker will say no more: what is open becomes a forced final, and once that is published
    /// the speaker is forgotten.
    pub fn speaker_gone(&mut self, speaker: &str, now: Instant) -> Vec<Decision> {
        let Self { speakers, desk, .. } = self;
        if let Some(speaker) = speakers.get_mut(speaker) {
            speaker.force(now, desk);
            speaker.is_gone = true;
        }
        self.settle(now)
    }

    /// Changes the configuration. What was heard keeps the languages it was heard with; what waits is
    /// not lost when a bound becomes smaller.
    pub fn reconfigure(&mut self, config: SpeechConfig, now: Instant) -> Vec<Decision> {
        self.desk.config = config.within_bounds();
        let Self { speakers, desk, .. } = self;
        for speaker in speakers.values_mut() {
            speaker.context.trim(&desk.config.context);
            if !desk.config.translate_partials {
                speaker.stop_partials(desk);
            }
        }
        self.settle(now)
    }

    /// Forgets what this speaker, or everyone, said before.
    pub fn reset_context(&mut self, speaker: Option<&str>) {
        for known in self.speakers.values_mut() {
            if speaker.is_none_or(|name| name == &*known.name) {
                known.context.clear();
            }
        }
    }

    /// The configuration in force.
    pub fn config(&self) -> &SpeechConfig {
        &self.desk.config
    }

    /// What happened so far.
    pub fn counters(&self) -> &SpeechCounters {
        &self.desk.counters
    }

    /// Speakers known now.
    pub fn n_speakers(&self) -> usize {
        self.speakers.len()
    }

    /// Hypotheses that wait to be translated: at most one partial and the finals of each speaker.
    pub fn n_waiting(&self) -> usize {
        self.speakers.values().map(Speaker::n_waiting_heard).sum()
    }

    /// Runs in flight.
    pub fn n_running(&self) -> usize {
        self.speakers.values().map(Speaker::n_running).sum()
    }

    fn n_partial_runs(&self) -> usize {
        self.speakers.values().filter(|speaker| speaker.has_partial_run()).count()
    }

    fn is_muted(&self, now: Instant) -> bool {
        match self.mute {
            Mute::Never => false,
            Mute::Since(at) => now < at + self.desk.config.mute_max,
            Mute::Until(at) => now < at,
        }
    }

    /// Checks a hypothesis, and makes room for its speaker.
    fn admit(
        &mut self,
        hypothesis: &Hypothesis<'_>,
        now: Instant,
    ) -> Result<(Arc<str>, Said), DropReason> {
        if !(1..=SPEAKER_BYTES_MAX).contains(&hypothesis.speaker.len()) {
            return Err(DropReason::BadSpeaker);
        }
        if self.is_muted(now) {
            return Err(DropReason::Muted);
        }
        if hypothesis.text.chars().nth(self.desk.config.text_chars_max).is_some() {
            return Err(DropReason::TooLong);
        }
        let units = units::units(hypothesis.text);
        if units.is_empty() {
            return Err(DropReason::Empty);
        }
        let is_known = self.speakers.contains_key(hypothesis.speaker);
        if !is_known && !self.make_room(now) {
            return Err(DropReason::SpeakersFull);
        }
        let choice = LanguageChoice { source: None, confidence: 0.0, targets: Vec::new() };
        let text = hypothesis.text.trim().to_owned();
        let source = Source { text, stamp_ns: hypothesis.stamp_ns, choice };
        let said = Said { source, units, is_final: hypothesis.is_final };
        Ok((Arc::from(hypothesis.speaker), said))
    }

    /// Forgets the speaker silent for longest when there are too many; false when all have work.
    fn make_room(&mut self, now: Instant) -> bool {
        let config = &self.desk.config;
        let silent_since = now.checked_sub(config.context.pause);
        while self.speakers.len() >= config.speakers_max {
            let idle = self.speakers.values().filter(|speaker| !speaker.has_work(silent_since));
            let Some(oldest) = idle.min_by_key(|speaker| speaker.heard_at) else { return false };
            let name = oldest.name.clone();
            self.speakers.remove(&name);
            self.desk.counters.speakers_evicted += 1;
        }
        true
    }

    fn refuse(&mut self, hypothesis: &Hypothesis<'_>, reason: DropReason) {
        let Self { speakers, desk, .. } = self;
        let ends_utterance = hypothesis.is_final && reason == DropReason::TooLong;
        let utterance = match speakers.get_mut(hypothesis.speaker) {
            Some(speaker) if ends_utterance => speaker.abandon(hypothesis.stamp_ns, desk),
            _ => None,
        };
        let bytes = hypothesis.speaker.len().min(SPEAKER_BYTES_MAX);
        let speaker = hypothesis.speaker.get(..bytes).unwrap_or_default();
        let is_final = hypothesis.is_final;
        desk.note(Dropped { speaker: Arc::from(speaker), utterance, is_final, reason });
    }

    fn refuse_result(&mut self, run: RunId) {
        let was_started = (1..=self.desk.last_run).contains(&run.0);
        let reason = if was_started { DropReason::StaleResult } else { DropReason::UnknownRun };
        let dropped = Dropped { speaker: Arc::from(""), utterance: None, is_final: false, reason };
        self.desk.note(dropped);
    }

    /// Starts what may start, forgets who is gone, and hands the decisions out.
    fn settle(&mut self, now: Instant) -> Vec<Decision> {
        let mut n_partial_runs = self.n_partial_runs();
        let Self { speakers, desk, .. } = self;
        for speaker in speakers.values_mut() {
            speaker.start_final(desk);
        }
        while n_partial_runs < desk.config.partial_runs_max {
            let ready = speakers.values_mut().filter(|speaker| {
                speaker.partial_ready_at(&desk.config).is_some_and(|at| at <= now)
            });
            let Some(next) = ready.min_by_key(|speaker| speaker.served) else { break };
            next.start_partial(now, desk);
            n_partial_runs += 1;
        }
        speakers.retain(|_, speaker| !speaker.is_gone || speaker.has_work(None));
        std::mem::take(&mut desk.decisions)
    }
}

#[cfg(test)]
mod tests;
