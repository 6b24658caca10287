//! Watches a conductor from outside and checks what must always hold.

use std::collections::BTreeMap;

use hymt_core::language::Language;
use hymt_core::speech::{Decision, Publish, PublishText, RunId, SpeechConductor, Start};

/// What was published last of one utterance in one language.
#[derive(Debug, Clone)]
pub(crate) struct Last {
    pub(crate) revision: u32,
    pub(crate) is_final: bool,
    pub(crate) may_be_corrected: bool,
}

/// Everything a caller would know.
#[derive(Debug, Default)]
pub(crate) struct Observer {
    /// Runs that were started and are neither finished nor cancelled.
    pub(crate) running: BTreeMap<RunId, Start>,
    pub(crate) published: Vec<Publish>,
    pub(crate) dropped: u64,
    last_run: u64,
    lines: BTreeMap<(u64, Language), Last>,
    newest_line: BTreeMap<String, u64>,
}

impl Observer {
    /// Takes decisions; `told` is what the conductor was told of a run in the same call.
    pub(crate) fn take(&mut self, decisions: &[Decision], told: Option<(RunId, &str)>) {
        for decision in decisions {
            match decision {
                Decision::Start(start) => self.start(start),
                Decision::Cancel { run } => {
                    assert!(self.running.remove(run).is_some(), "{run:?} does not run");
                }
                Decision::Publish(publish) => self.publish(publish, told),
                Decision::Drop(_) => self.dropped += 1,
            }
        }
    }

    fn start(&mut self, start: &Start) {
        assert!(start.run.0 > self.last_run, "a run is named twice");
        self.last_run = start.run.0;
        assert!(!start.text.trim().is_empty());
        let mut beside = self.running.values().filter(|run| run.speaker == start.speaker);
        assert!(beside.next().is_none(), "{}: two runs at once, {start:?}", start.speaker);
        let over = |line: &Last| line.is_final && !line.may_be_corrected;
        let lines = start.targets.iter().filter_map(|t| self.lines.get(&(start.utterance, *t)));
        assert!(!lines.into_iter().any(over), "a run for an utterance that is over: {start:?}");
        self.running.insert(start.run, start.clone());
    }

    fn publish(&mut self, publish: &Publish, told: Option<(RunId, &str)>) {
        if let PublishText::Text(text) = &publish.text {
            let (run, said) = told.expect("a text is published only when a run says one");
            assert_eq!(publish.run, Some(run), "a stale result");
            assert_eq!(text, said);
        }
        let newest = self.newest_line.entry(publish.speaker.to_string()).or_default();
        assert!(publish.utterance >= *newest, "{}: out of order", publish.speaker);
        *newest = publish.utterance;
        let last = Last {
            revision: publish.revision,
            is_final: publish.is_final,
            may_be_corrected: publish.is_forced,
        };
        let key = (publish.utterance, publish.target);
        if let Some(before) = self.lines.insert(key, last) {
            assert!(publish.revision > before.revision, "{publish:?} after {before:?}");
            if before.is_final {
                assert!(publish.is_final, "a partial after a final: {publish:?}");
                assert!(publish.is_correction && before.may_be_corrected, "{publish:?}");
            }
        } else if publish.is_correction {
            // The settings have changed, so that the correction goes to another language.
            let mut finals = self.published.iter().filter(|p| p.is_final);
            let is_known = finals.any(|p| p.utterance == publish.utterance);
            assert!(is_known, "nothing to correct: {publish:?}");
        }
        assert!(publish.stable_chars == 0 || publish.is_final);
        self.published.push(publish.clone());
    }

    /// Checks the books.
    pub(crate) fn audit(&self, conductor: &SpeechConductor, heard: u64) {
        let counters = conductor.counters();
        assert_eq!(counters.heard, heard);
        assert_eq!(
            counters.heard,
            counters.hypotheses_dropped() + counters.started_heard + conductor.n_waiting() as u64,
            "a hypothesis is lost or counted twice: {counters:?}"
        );
        assert_eq!(conductor.n_running(), self.running.len());
        assert_eq!(
            counters.started_heard + counters.started_forced,
            counters.finished + counters.cancelled + self.running.len() as u64,
            "a run is lost or counted twice: {counters:?}"
        );
        let n_dropped: u64 =
            hymt_core::speech::DropReason::ALL.iter().map(|reason| counters.dropped(*reason)).sum();
        assert_eq!(n_dropped, self.dropped, "a drop is not told or not counted");
        let n_published = counters.published_partials + counters.published_finals;
        assert_eq!(n_published, self.published.len() as u64);
        let config = conductor.config();
        assert!(conductor.n_speakers() <= config.speakers_max);
        let partials = self.running.values().filter(|run| !run.is_final).count();
        assert!(partials <= config.partial_runs_max, "{partials} partial runs");
        // One more final than the bound, when a cancelled forced final gives way to a real one.
        assert!(conductor.n_waiting() <= conductor.n_speakers() * (config.finals_waiting_max + 2));
    }
}
