//! Live speech as a whole: random events in any order, and a conversation of four people with a
//! simulated recogniser and engine in virtual time.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[path = "speech/observer.rs"]
mod observer;
#[path = "speech/simulation.rs"]
mod simulation;

use std::time::{Duration, Instant};

use hymt_core::language::Language;
use hymt_core::speech::{
    DropReason, Hypothesis, RunId, RunResult, SpeechConductor, SpeechConfig, TargetMode,
};
use observer::Observer;
use proptest::prelude::*;
use simulation::{Outcome, Scenario};

/// Something that happens.
#[derive(Debug, Clone)]
enum Event {
    Heard {
        speaker: u8,
        text: usize,
        is_final: bool,
        locale: u8,
    },
    /// The run at this place among those in flight ends.
    Finished {
        place: usize,
        failed: bool,
    },
    Progress {
        place: usize,
        length: usize,
    },
    /// A run that may have ended long ago, or never was.
    Stray {
        run: u64,
    },
    Passed {
        ms: u64,
    },
    Muted(bool),
    Gone {
        speaker: u8,
    },
    Settings {
        agreement: usize,
        partials: bool,
        finals: usize,
        runs: usize,
        conversation: bool,
    },
    Forget,
}

/// Hypotheses that extend, shrink, rewrite and repeat one another.
const TEXTS: &[&str] = &[
    "",
    "...",
    "open",
    "Open",
    "open the",
    "Open the door",
    "open the door.",
    "open a",
    "close the",
    "please open the door now",
    "请",
    "请打开",
    "请打开门",
    "请关门",
    "yes",
    "Yes!",
    "yes please",
    "a text that is too long for the bound of this test, which is sixty characters",
];

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        12 => (0..5u8, 0..TEXTS.len(), prop::bool::weighted(0.25), 0..3u8)
            .prop_map(|(speaker, text, is_final, locale)| Event::Heard { speaker, text, is_final, locale }),
        6 => (any::<usize>(), prop::bool::weighted(0.1))
            .prop_map(|(place, failed)| Event::Finished { place, failed }),
        3 => (any::<usize>(), 0..12usize).prop_map(|(place, length)| Event::Progress { place, length }),
        1 => (0..40u64).prop_map(|run| Event::Stray { run }),
        8 => (0..4000u64).prop_map(|ms| Event::Passed { ms }),
        1 => any::<bool>().prop_map(Event::Muted),
        1 => (0..5u8).prop_map(|speaker| Event::Gone { speaker }),
        1 => (0..7usize, any::<bool>(), 0..4usize, 0..4usize, any::<bool>()).prop_map(
            |(agreement, partials, finals, runs, conversation)| Event::Settings {
                agreement, partials, finals, runs, conversation
            }
        ),
        1 => Just(Event::Forget),
    ]
}

struct World {
    conductor: SpeechConductor,
    observer: Observer,
    now: Instant,
    heard: u64,
}

impl World {
    fn new() -> Self {
        let config = SpeechConfig {
            speakers_max: 3,
            finals_waiting_max: 2,
            partial_runs_max: 2,
            text_chars_max: 60,
            ..SpeechConfig::default()
        };
        let (conductor, observer) = (SpeechConductor::new(config), Observer::default());
        Self { conductor, observer, now: Instant::now(), heard: 0 }
    }

    fn happen(&mut self, event: &Event) {
        match event {
            Event::Heard { speaker, text, is_final, locale } => {
                let hypothesis = Hypothesis {
                    speaker: &format!("speaker{speaker}"),
                    text: TEXTS[*text],
                    is_final: *is_final,
                    locale: ["", "en", "zh-CN"][usize::from(*locale)],
                    ..Hypothesis::default()
                };
                self.heard += 1;
                let decisions = self.conductor.hypothesis(&hypothesis, self.now);
                self.observer.take(&decisions, None);
            }
            Event::Finished { place, failed } => self.finish(*place, *failed),
            Event::Progress { place, length } => {
                let Some((run, target)) = self.pick(*place) else { return };
                let text: String = full_text(run).chars().take(*length).collect();
                let decisions = self.conductor.run_partial(run, target, &text, self.now);
                self.observer.take(&decisions, Some((run, &text)));
            }
            Event::Stray { run } => {
                if !self.observer.running.contains_key(&RunId(*run)) {
                    let results =
                        [RunResult { target: Language::English, text: Some("stale".into()) }];
                    let decisions = self.conductor.run_finished(RunId(*run), &results, self.now);
                    self.observer.take(&decisions, None);
                    let decisions = self.conductor.run_partial(
                        RunId(*run),
                        Language::English,
                        "stale",
                        self.now,
                    );
                    self.observer.take(&decisions, None);
                }
            }
            Event::Passed { ms } => self.pass(Duration::from_millis(*ms)),
            Event::Muted(is_speaking) => {
                let decisions = self.conductor.muted(*is_speaking, self.now);
                self.observer.take(&decisions, None);
            }
            Event::Gone { speaker } => {
                let decisions = self.conductor.speaker_gone(&format!("speaker{speaker}"), self.now);
                self.observer.take(&decisions, None);
            }
            Event::Settings { agreement, partials, finals, runs, conversation } => {
                // Bounds of waiting finals and runs only grow here: the audit knows the present ones alone.
                let mut config = self.conductor.config().clone();
                config.partial_agreement = *agreement;
                config.translate_partials = *partials;
                config.finals_waiting_max = config.finals_waiting_max.max(*finals);
                config.partial_runs_max = config.partial_runs_max.max(*runs);
                config.language.targets = match conversation {
                    true => TargetMode::OtherParty([Language::English, Language::Chinese]),
                    false => TargetMode::Fixed(vec![Language::German]),
                };
                let decisions = self.conductor.reconfigure(config, self.now);
                self.observer.take(&decisions, None);
            }
            Event::Forget => self.conductor.reset_context(None),
        }
        self.observer.audit(&self.conductor, self.heard);
    }

    fn pick(&self, place: usize) -> Option<(RunId, Language)> {
        let running = &self.observer.running;
        let start = running.values().nth(place % running.len().max(1))?;
        Some((start.run, *start.targets.get(place % start.targets.len().max(1))?))
    }

    fn finish(&mut self, place: usize, failed: bool) {
        let Some((run, _)) = self.pick(place) else { return };
        let start = self.observer.running.remove(&run).unwrap();
        let text = full_text(run);
        let result = |target: &Language| {
            let is_missing = failed && *target == start.targets[0];
            RunResult { target: *target, text: Some(text.clone()).filter(|_| !is_missing) }
        };
        let results: Vec<_> = start.targets.iter().map(result).collect();
        let decisions = self.conductor.run_finished(run, &results, self.now);
        self.observer.take(&decisions, Some((run, &text)));
    }

    /// Lets time pass as a caller does who sleeps until the next deadline.
    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(deadline) = self.conductor.next_deadline().filter(|at| *at <= end) {
            self.now = self.now.max(deadline);
            let decisions = self.conductor.tick(self.now);
            self.observer.take(&decisions, None);
            let next = self.conductor.next_deadline();
            assert!(next.is_none_or(|next| next > self.now), "a deadline that does not go away");
        }
        self.now = end;
    }

    /// Answers everything and waits for silence.
    fn end(&mut self) {
        for _ in 0..1000 {
            if self.observer.running.is_empty() && self.conductor.next_deadline().is_none() {
                break;
            }
            self.pass(Duration::from_secs(3));
            while !self.observer.running.is_empty() {
                self.finish(0, false);
            }
        }
        self.observer.audit(&self.conductor, self.heard);
        assert_eq!((self.conductor.n_running(), self.conductor.n_waiting()), (0, 0));
    }
}

fn full_text(run: RunId) -> String {
    format!("translation {}", run.0)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    /// Whatever happens in whatever order: see [`Observer`] for what holds.
    #[test]
    fn the_rules_hold_for_any_order_of_events(events in prop::collection::vec(event(), 1..120)) {
        let mut world = World::new();
        for event in &events {
            world.happen(event);
        }
        world.end();
        let counters = world.conductor.counters();
        prop_assert_eq!(
            counters.forced,
            counters.started_forced + counters.forced_replaced + counters.forced_refused
        );
    }
}

#[test]
#[ignore = "the same law as above on many more cases; takes a minute"]
fn the_rules_hold_for_many_orders_of_events() {
    let config = ProptestConfig { cases: 40_000, ..ProptestConfig::default() };
    let mut runner = proptest::test_runner::TestRunner::new(config);
    runner
        .run(&prop::collection::vec(event(), 1..200), |events| {
            let mut world = World::new();
            events.iter().for_each(|event| world.happen(event));
            world.end();
            Ok(())
        })
        .unwrap();
}

#[test]
fn a_conversation_of_four_is_shown_in_order_and_ends_with_what_was_said() {
    for seed in 0..8 {
        let scenario = Scenario { seed, n_utterances: 240, ..Scenario::default() };
        let outcome = scenario.play();
        check_outcome(&outcome);
        let counters = outcome.conductor.counters();
        println!(
            "seed {seed}: {} utterances, {} hypotheses, {} runs ({} cancelled), {} partials and {} finals \
             shown, {} corrections, {} forced, normalised erasure {:.3}",
            outcome.truths.len(),
            counters.heard,
            counters.started_heard + counters.started_forced,
            counters.cancelled,
            counters.published_partials,
            counters.published_finals,
            counters.corrections,
            counters.forced,
            counters.normalised_erasure()
        );
        for reason in [DropReason::NotAgreed, DropReason::Superseded, DropReason::ObsoletedByFinal]
        {
            assert!(counters.dropped(reason) > 0, "seed {seed} never met {}", reason.name());
        }
        assert!(counters.forced > 0 && counters.corrections > 0 && counters.cancelled > 0);
    }
}

/// Every utterance that the recogniser ended is shown with its last words, and after those with
/// nothing else; every other one with its newest hypothesis.
fn check_outcome(outcome: &Outcome) {
    for truth in &outcome.truths {
        let of_it = |p: &&hymt_core::speech::Publish| p.stamp_ns == truth.stamp_ns;
        let shown: Vec<_> = outcome.observer.published.iter().filter(of_it).collect();
        let Some(last) = shown.last() else {
            panic!("nothing is shown of {truth:?}");
        };
        assert!(last.is_final, "{truth:?} ends with {last:?}");
        assert_eq!(words(&last.source_text), words(&truth.last_words), "{truth:?}");
    }
}

fn words(text: &str) -> String {
    text.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

#[test]
fn agreement_makes_captions_steadier_and_cheaper() {
    let measure = |agreement: usize| {
        let scenario = Scenario { agreement, n_utterances: 240, ..Scenario::default() };
        let outcome = scenario.play();
        let counters = outcome.conductor.counters().clone();
        let runs = counters.started_heard + counters.started_forced;
        println!(
            "agreement {agreement}: {runs} runs, erasure {:.3}",
            counters.normalised_erasure()
        );
        (runs, counters.normalised_erasure())
    };
    let (each, two, three) = (measure(1), measure(2), measure(3));
    assert!(two.1 < each.1 && three.1 <= two.1, "erasure: {each:?} {two:?} {three:?}");
    assert!(two.0 < each.0, "runs: {each:?} {two:?}");
}

#[test]
fn nobody_is_starved_when_four_talk_at_once() {
    let scenario = Scenario { n_slots: 1, n_utterances: 240, ..Scenario::default() };
    let outcome = scenario.play();
    check_outcome(&outcome);
    let mut partials = [0u64; 4];
    for publish in outcome.observer.published.iter().filter(|publish| !publish.is_final) {
        let speaker: usize = publish.speaker.trim_start_matches("speaker").parse().unwrap();
        partials[speaker] += 1;
    }
    let (least, most) = (partials.iter().min().unwrap(), partials.iter().max().unwrap());
    assert!(*least * 3 > *most, "partials shown per speaker: {partials:?}");
}
