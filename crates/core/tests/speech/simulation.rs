//! Four people who talk, a recogniser that errs, and an engine that takes its time; all in virtual time.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::time::{Duration, Instant};

use hymt_core::language::Language;
use hymt_core::speech::{
    Decision, Hypothesis, RunId, RunResult, SpeechConductor, SpeechConfig, Start, TargetMode,
};
use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};

use crate::observer::Observer;

const WORDS: &[&str] = &[
    "open", "the", "door", "please", "bring", "me", "a", "glass", "of", "water", "where", "is",
    "station", "next", "to", "kitchen", "I", "would", "like", "two", "cups", "tomorrow", "morning",
    "robot", "follow", "stop", "here", "battery", "charging", "table", "left", "right", "behind",
];
const CHARACTERS: &[&str] = &[
    "请", "打", "开", "门", "我", "想", "要", "一", "杯", "水", "车", "站", "在", "哪", "里", "明",
    "天", "早",
];

/// How the conversation goes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scenario {
    pub(crate) seed: u64,
    pub(crate) n_utterances: usize,
    pub(crate) n_speakers: usize,
    pub(crate) agreement: usize,
    /// Partial runs at a time.
    pub(crate) n_slots: usize,
}

impl Default for Scenario {
    fn default() -> Self {
        Self { seed: 1, n_utterances: 200, n_speakers: 4, agreement: 2, n_slots: 4 }
    }
}

/// What was really said.
#[derive(Debug, Clone)]
pub(crate) struct Truth {
    /// Names the utterance; every hypothesis of it carries it as its stamp.
    pub(crate) stamp_ns: i64,
    /// The final, or the newest hypothesis when the final got lost.
    pub(crate) last_words: String,
}

/// How it went.
pub(crate) struct Outcome {
    pub(crate) conductor: SpeechConductor,
    pub(crate) observer: Observer,
    pub(crate) truths: Vec<Truth>,
}

#[derive(Debug, Clone)]
struct Saying {
    at_ms: u64,
    speaker: usize,
    stamp_ns: i64,
    text: String,
    is_final: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum EngineEvent {
    Progress(RunId),
    Done(RunId),
}

impl Scenario {
    /// Plays it to the end.
    pub(crate) fn play(&self) -> Outcome {
        let mut rng = SmallRng::seed_from_u64(self.seed);
        let (sayings, truths) = self.script(&mut rng);
        let mut config = SpeechConfig {
            partial_agreement: self.agreement,
            partial_runs_max: self.n_slots,
            ..SpeechConfig::default()
        };
        let targets = vec![Language::German, Language::French];
        config.language.targets = TargetMode::Fixed(targets);
        let mut play = Play {
            conductor: SpeechConductor::new(config),
            observer: Observer::default(),
            begin: Instant::now(),
            engine: BinaryHeap::new(),
            texts: BTreeMap::new(),
            rng,
        };
        for (n, saying) in sayings.iter().enumerate() {
            play.run_until(saying.at_ms);
            play.say(saying);
            play.observer.audit(&play.conductor, n as u64 + 1);
        }
        let end_ms = sayings.last().map_or(0, |saying| saying.at_ms) + 120_000;
        play.run_until(end_ms);
        play.observer.audit(&play.conductor, sayings.len() as u64);
        assert_eq!((play.conductor.n_running(), play.conductor.n_waiting()), (0, 0));
        Outcome { conductor: play.conductor, observer: play.observer, truths }
    }

    fn script(&self, rng: &mut SmallRng) -> (Vec<Saying>, Vec<Truth>) {
        let (mut sayings, mut truths) = (Vec::new(), Vec::new());
        let mut clocks_ms = vec![0u64; self.n_speakers];
        for n in 0..self.n_utterances {
            let speaker = n % self.n_speakers;
            let stamp_ns = n as i64 + 1;
            let said = utterance(rng, speaker, stamp_ns, &mut clocks_ms[speaker]);
            let last = said.last().expect("an utterance has words");
            truths.push(Truth { stamp_ns, last_words: last.text.clone() });
            sayings.extend(said);
        }
        sayings.sort_by_key(|saying| saying.at_ms);
        (sayings, truths)
    }
}

/// The hypotheses of one utterance; advances the speaker's clock behind it.
fn utterance(rng: &mut SmallRng, speaker: usize, stamp_ns: i64, clock_ms: &mut u64) -> Vec<Saying> {
    // The last speaker speaks Chinese.
    let (vocabulary, joint) = if speaker == 3 { (CHARACTERS, "") } else { (WORDS, " ") };
    let n_words = rng.random_range(2..16);
    // A number, so that no two utterances are alike: people who repeat themselves word for word
    // after a forced final are the one case that cannot be told apart.
    let mut words = vec![format!("{stamp_ns}{joint}")];
    words.extend((0..n_words).map(|_| (*vocabulary.choose(rng).unwrap()).to_owned()));
    let mut said = Vec::new();
    let mut say = |clock_ms: u64, text: String, is_final| {
        said.push(Saying { at_ms: clock_ms, speaker, stamp_ns, text, is_final });
    };
    for n in 1..=words.len() {
        *clock_ms += rng.random_range(80..500);
        let mut heard: Vec<String> = words[..n].to_vec();
        // The newest words are often wrong, now and then nearly all of them.
        if n > 1 && rng.random_bool(0.3) {
            *heard.last_mut().unwrap() = (*vocabulary.choose(rng).unwrap()).to_owned();
        }
        if n > 3 && rng.random_bool(0.05) {
            heard[1..].iter_mut().for_each(|w| *w = (*vocabulary.choose(rng).unwrap()).to_owned());
        }
        if n > 2 && rng.random_bool(0.1) {
            heard.pop();
        }
        let text = heard.join(joint);
        say(*clock_ms, text.clone(), false);
        if rng.random_bool(0.2) {
            *clock_ms += 100;
            say(*clock_ms, text.to_uppercase(), false);
        }
        // Someone stops to think, for longer than the recogniser is waited for.
        if rng.random_bool(0.03) {
            *clock_ms += rng.random_range(2600..4500);
        }
    }
    *clock_ms += rng.random_range(100..700);
    if rng.random_bool(0.9) {
        say(*clock_ms, format!("{}.", words.join(joint)), true);
        *clock_ms += rng.random_range(0..1500);
    } else {
        // The final got lost; only silence ends the utterance.
        *clock_ms += rng.random_range(8_000..9_000);
    }
    said
}

struct Play {
    conductor: SpeechConductor,
    observer: Observer,
    begin: Instant,
    /// Soonest first.
    engine: BinaryHeap<Reverse<(u64, EngineEvent)>>,
    texts: BTreeMap<RunId, String>,
    rng: SmallRng,
}

impl Play {
    fn at(&self, ms: u64) -> Instant {
        self.begin + Duration::from_millis(ms)
    }

    fn say(&mut self, saying: &Saying) {
        let hypothesis = Hypothesis {
            speaker: &format!("speaker{}", saying.speaker),
            text: &saying.text,
            is_final: saying.is_final,
            locale: if saying.speaker == 3 { "zh_CN" } else { "en-GB" },
            stamp_ns: saying.stamp_ns,
            ..Hypothesis::default()
        };
        let decisions = self.conductor.hypothesis(&hypothesis, self.at(saying.at_ms));
        self.act(&decisions, None, saying.at_ms);
    }

    /// Does what the conductor decided, as a caller would.
    fn act(&mut self, decisions: &[Decision], told: Option<(RunId, &str)>, now_ms: u64) {
        self.observer.take(decisions, told);
        for decision in decisions {
            if let Decision::Start(start) = decision {
                self.start(start, now_ms);
            }
        }
    }

    fn start(&mut self, start: &Start, now_ms: u64) {
        // A translation that keeps the order of the words, and cannot be mistaken for another's.
        self.texts.insert(start.run, format!("{} #{}", start.text.to_uppercase(), start.run.0));
        let took_ms = self.rng.random_range(40..200) + 12 * start.text.chars().count() as u64;
        let progress = now_ms + took_ms / 2;
        self.engine.push(Reverse((progress, EngineEvent::Progress(start.run))));
        // Now and then the engine is very slow.
        let slow_ms = if self.rng.random_bool(0.03) { 4000 } else { 0 };
        self.engine.push(Reverse((now_ms + took_ms + slow_ms, EngineEvent::Done(start.run))));
    }

    /// Lets the engine and the conductor's deadlines go on until then.
    fn run_until(&mut self, end_ms: u64) {
        loop {
            let engine = self.engine.peek().map(|Reverse((at_ms, _))| *at_ms);
            let deadline = self.conductor.next_deadline().map(|at| {
                // Rounded up: a sleep never ends early.
                at.saturating_duration_since(self.begin).as_micros().div_ceil(1000) as u64
            });
            let Some(next_ms) = engine.into_iter().chain(deadline).min() else { return };
            if next_ms > end_ms {
                return;
            }
            if deadline == Some(next_ms) {
                let decisions = self.conductor.tick(self.at(next_ms));
                self.act(&decisions, None, next_ms);
            } else if let Some(Reverse((_, event))) = self.engine.pop() {
                self.answer(event, next_ms);
            }
        }
    }

    fn answer(&mut self, event: EngineEvent, now_ms: u64) {
        let now = self.at(now_ms);
        match event {
            EngineEvent::Progress(run) => {
                let text = self.texts[&run].clone();
                let half: String = text.chars().take(text.chars().count() / 2).collect();
                let decisions = self.conductor.run_partial(run, Language::German, &half, now);
                self.act(&decisions, Some((run, &half)), now_ms);
            }
            // Even for cancelled runs: an engine may notice too late.
            EngineEvent::Done(run) => {
                self.observer.running.remove(&run);
                let text = self.texts[&run].clone();
                let answer = |target| RunResult { target, text: Some(text.clone()) };
                let results = [answer(Language::German), answer(Language::French)];
                let decisions = self.conductor.run_finished(run, &results, now);
                self.act(&decisions, Some((run, &text)), now_ms);
            }
        }
    }
}
