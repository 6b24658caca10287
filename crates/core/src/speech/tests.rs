//! One test per rule; `tests/speech.rs` tests them all at once.

use super::*;

/// A conductor with a clock in milliseconds.
struct Scene {
    conductor: SpeechConductor,
    begin: Instant,
    now_ms: u64,
}

impl Scene {
    fn new(change: impl FnOnce(&mut SpeechConfig)) -> Self {
        let mut config = SpeechConfig { partial_agreement: 1, ..SpeechConfig::default() };
        change(&mut config);
        let conductor = SpeechConductor::new(config);
        Self { conductor, begin: Instant::now(), now_ms: 0 }
    }

    fn now(&self) -> Instant {
        self.begin + Duration::from_millis(self.now_ms)
    }

    fn at(&mut self, now_ms: u64) -> &mut Self {
        self.now_ms = now_ms;
        self
    }

    fn say(&mut self, speaker: &str, text: &str, is_final: bool) -> Vec<Decision> {
        let said = Hypothesis { speaker, text, is_final, locale: "de", ..Hypothesis::default() };
        self.conductor.hypothesis(&said, self.now())
    }

    fn partial(&mut self, text: &str) -> Vec<Decision> {
        self.say("ann", text, false)
    }

    fn r#final(&mut self, text: &str) -> Vec<Decision> {
        self.say("ann", text, true)
    }

    fn tick(&mut self) -> Vec<Decision> {
        self.conductor.tick(self.now())
    }

    fn finish(&mut self, run: u64, text: &str) -> Vec<Decision> {
        let results = [RunResult { target: Language::English, text: Some(text.to_owned()) }];
        self.conductor.run_finished(RunId(run), &results, self.now())
    }

    fn progress(&mut self, run: u64, text: &str) -> Vec<Decision> {
        self.conductor.run_partial(RunId(run), Language::English, text, self.now())
    }
}

/// Decisions in short: `start 1 text`, `START` for finals, `cancel 1`, `show u1r2 text`, `SHOW` for
/// finals, `drop reason`.
fn short(decisions: &[Decision]) -> Vec<String> {
    let one = |decision: &Decision| match decision {
        Decision::Start(start) => {
            let word = if start.is_final { "START" } else { "start" };
            let forced = if start.is_forced { " forced" } else { "" };
            format!("{word} {} {}{forced}", start.run.0, start.text)
        }
        Decision::Cancel { run } => format!("cancel {}", run.0),
        Decision::Publish(publish) => {
            let word = if publish.is_final { "SHOW" } else { "show" };
            let text = match &publish.text {
                PublishText::Text(text) => text.clone(),
                PublishText::Failed => "(failed)".to_owned(),
                PublishText::Withdrawn => "(withdrawn)".to_owned(),
            };
            let forced = if publish.is_forced { " forced" } else { "" };
            let correction = if publish.is_correction { " correction" } else { "" };
            format!("{word} u{}r{} {text}{forced}{correction}", publish.utterance, publish.revision)
        }
        Decision::Drop(dropped) => format!("drop {}", dropped.reason.name()),
    };
    decisions.iter().map(one).collect()
}

#[track_caller]
fn expect(decisions: &[Decision], wanted: &[&str]) {
    assert_eq!(short(decisions), wanted);
}

#[test]
fn partials_wait_for_agreement() {
    let mut scene = Scene::new(|config| config.partial_agreement = 2);
    expect(&scene.partial("mach"), &["drop not_agreed"]);
    expect(&scene.at(100).partial("Mach die"), &["start 1 Mach"]);
    expect(&scene.at(600).finish(1, "Make"), &["show u1r1 Make"]);
    expect(&scene.partial("wach die tür"), &["drop not_agreed"]);
    expect(&scene.partial("wach die tür auf"), &["start 2 wach die tür"]);
    expect(&scene.at(1200).finish(2, "Awake"), &["show u1r2 Awake"]);
    // Punctuation and case are no news; a hypothesis that settles on less is.
    expect(&scene.partial("Wach die Tür, auf."), &["start 3 Wach die Tür, auf."]);
    expect(&scene.at(1700).finish(3, "Awake the door"), &["show u1r3 Awake the door"]);
    expect(&scene.partial("wach die tür auf!"), &["drop repeated"]);
    expect(&scene.partial("wach die"), &["drop not_agreed"]);
    expect(&scene.partial("wach die"), &["start 4 wach die"]);
}

#[test]
fn a_repeated_hypothesis_is_an_update_that_agrees() {
    let mut scene = Scene::new(|config| config.partial_agreement = 2);
    expect(&scene.partial("hallo"), &["drop not_agreed"]);
    expect(&scene.partial("hallo"), &["start 1 hallo"]);
    expect(&scene.partial("hallo"), &["drop repeated"]);
}

#[test]
fn one_partial_runs_and_the_newest_waits() {
    let mut scene = Scene::new(|_| ());
    expect(&scene.partial("eins"), &["start 1 eins"]);
    expect(&scene.at(500).partial("eins zwei"), &[]);
    expect(&scene.at(600).partial("eins zwei drei"), &["drop superseded"]);
    assert_eq!(scene.conductor.n_waiting(), 1);
    expect(&scene.at(700).finish(1, "one"), &["show u1r1 one", "start 2 eins zwei drei"]);
    assert_eq!(scene.conductor.n_waiting(), 0);
}

#[test]
fn partials_keep_their_distance() {
    let mut scene = Scene::new(|_| ());
    scene.partial("eins");
    expect(&scene.at(100).finish(1, "one"), &["show u1r1 one"]);
    expect(&scene.at(150).partial("eins zwei"), &[]);
    assert_eq!(scene.conductor.next_deadline(), Some(scene.begin + Duration::from_millis(400)));
    expect(&scene.at(399).tick(), &[]);
    expect(&scene.at(400).tick(), &["start 2 eins zwei"]);
    // What waits when the recogniser changes its mind is not worth a run.
    scene.at(450).finish(2, "one two");
    expect(&scene.partial("eins zwei drei"), &[]);
    expect(&scene.partial("eins bei"), &["drop contradicted"]);
}

#[test]
fn a_final_ends_what_its_partials_began() {
    let mut scene = Scene::new(|_| ());
    scene.partial("eins");
    scene.at(100).partial("eins zwei");
    let decisions = scene.at(200).r#final("Eins, zwei.");
    expect(&decisions, &["drop obsoleted_by_final", "cancel 1", "START 2 Eins, zwei."]);
    expect(&scene.finish(1, "one"), &["drop stale_result"]);
    expect(&scene.progress(1, "one"), &["drop stale_result"]);
    expect(&scene.finish(99, "one"), &["drop unknown_run"]);
    // The next utterance waits, so that lines come in order.
    expect(&scene.at(900).partial("drei"), &[]);
    expect(&scene.finish(2, "One, two."), &["SHOW u1r1 One, two.", "start 3 drei"]);
    expect(&scene.finish(2, "Again."), &["drop stale_result"]);
}

#[test]
fn finals_come_in_order_and_their_number_is_bounded() {
    let mut scene = Scene::new(|config| config.finals_waiting_max = 2);
    expect(&scene.r#final("eins"), &["START 1 eins"]);
    expect(&scene.r#final("zwei"), &[]);
    expect(&scene.r#final("zwei"), &[]);
    expect(&scene.r#final("vier"), &["drop finals_full"]);
    expect(&scene.finish(1, "one"), &["SHOW u1r1 one", "START 2 zwei"]);
    expect(&scene.finish(2, "two"), &["SHOW u2r1 two", "START 3 zwei"]);
    expect(&scene.finish(3, "two"), &["SHOW u3r1 two"]);
    let counters = scene.conductor.counters();
    assert_eq!((counters.heard, counters.started_heard, counters.finished), (4, 3, 3));
    assert_eq!(counters.hypotheses_dropped(), 1);
}

#[test]
fn silence_forces_a_final() {
    let mut scene = Scene::new(|config| config.partial_agreement = 2);
    scene.partial("mach die");
    assert_eq!(scene.conductor.next_deadline(), Some(scene.begin + Duration::from_millis(2500)));
    scene.at(2000).partial("mach die");
    expect(&scene.at(2600).tick(), &[]);
    expect(&scene.at(4500).tick(), &["cancel 1", "START 2 mach die forced"]);
    expect(&scene.finish(2, "Make the"), &["SHOW u1r1 Make the forced"]);
    assert_eq!(scene.conductor.next_deadline(), None);
}

#[test]
fn the_real_final_corrects_a_forced_one_or_is_a_duplicate() {
    let forced = |texts: &[&str]| {
        let mut scene = Scene::new(|config| config.translate_partials = false);
        texts.iter().for_each(|text| drop(scene.partial(text)));
        expect(&scene.at(2500).tick(), &["START 1 mach die tür forced"]);
        scene
    };
    let mut scene = forced(&["mach die tür"]);
    scene.finish(1, "The door");
    expect(&scene.at(3000).r#final("Mach die Tür."), &["drop duplicate_final"]);
    expect(&scene.r#final("Mach die Tür."), &["START 2 Mach die Tür."]);

    let mut scene = forced(&["mach die tür"]);
    scene.finish(1, "The door");
    expect(&scene.at(3000).r#final("Mach die Tür auf."), &["START 2 Mach die Tür auf."]);
    // A settled line does not move again word by word.
    expect(&scene.progress(2, "The door of"), &["drop held_back"]);
    expect(&scene.finish(2, "Open it."), &["SHOW u1r2 Open it. correction"]);

    // It comes while the forced one runs.
    let mut scene = forced(&["mach die tür"]);
    let decisions = scene.r#final("Mach die Tür auf.");
    expect(&decisions, &["cancel 1", "START 2 Mach die Tür auf."]);
    expect(&scene.finish(2, "Open it."), &["SHOW u1r1 Open it."]);
    let mut scene = forced(&["mach die tür"]);
    expect(&scene.r#final("Mach die Tür."), &["drop duplicate_final"]);
    expect(&scene.finish(1, "Open it."), &["SHOW u1r1 Open it."]);

    // The same words are no duplicate of a failure.
    let mut scene = forced(&["mach die tür"]);
    let now = scene.now();
    let decisions = scene.conductor.run_finished(RunId(1), &[], now);
    expect(&decisions, &["SHOW u1r1 (failed) forced"]);
    expect(&scene.r#final("Mach die Tür."), &["START 2 Mach die Tür."]);
    expect(&scene.finish(2, "The door."), &["SHOW u1r2 The door. correction"]);

    // Something else, or too late, is another utterance.
    for (at_ms, text) in [(3000, "Danke sehr."), (9000, "Mach die Tür auf.")] {
        let mut scene = forced(&["mach die tür"]);
        scene.finish(1, "The door");
        scene.at(at_ms).r#final(text);
        expect(&scene.finish(2, "Ok."), &["SHOW u2r1 Ok."]);
    }
}

#[test]
fn what_continues_a_forced_utterance_is_shown_once_it_ends() {
    let mut scene = Scene::new(|config| config.translate_partials = false);
    scene.partial("ich möchte");
    expect(&scene.at(2500).tick(), &["START 1 ich möchte forced"]);
    scene.finish(1, "I want");
    expect(&scene.at(3000).partial("ich möchte"), &["drop after_forced_final"]);
    assert_eq!(scene.conductor.next_deadline(), None, "there is nothing new to force");
    expect(&scene.at(4000).partial("ich möchte gehen"), &["drop after_forced_final"]);
    expect(&scene.at(6500).tick(), &["START 2 ich möchte gehen forced"]);
    expect(&scene.finish(2, "I want to go"), &["SHOW u1r2 I want to go forced correction"]);
    // The real final is missing, and the next utterance begins.
    expect(&scene.at(7000).partial("ich möchte gehen jetzt"), &["drop after_forced_final"]);
    let decisions = scene.at(7500).partial("danke");
    expect(&decisions, &["drop partials_off", "START 3 ich möchte gehen jetzt forced"]);
    expect(&scene.finish(3, "Now"), &["SHOW u1r3 Now forced correction"]);
}

#[test]
fn recognisers_behave_oddly() {
    let mut scene = Scene::new(|config| config.text_chars_max = 12);
    for empty in ["", "  ", "...", "?!"] {
        expect(&scene.partial(empty), &["drop empty"]);
        expect(&scene.r#final(empty), &["drop empty"]);
    }
    expect(&scene.say("", "hallo", true), &["drop bad_speaker"]);
    expect(&scene.say(&"ä".repeat(129), "hallo", true), &["drop bad_speaker"]);
    expect(&scene.partial("dreizehn Zei."), &["drop too_long"]);
    expect(&scene.r#final("zwölf Zeich."), &["START 1 zwölf Zeich."]);
    scene.finish(1, "Twelve");
    // A final that is refused takes away what was shown of its utterance.
    scene.at(500).partial("eins");
    scene.finish(2, "one");
    let decisions = scene.r#final("eins und noch viel mehr");
    expect(&decisions, &["SHOW u2r2 (withdrawn)", "drop too_long"]);

    let said = Hypothesis::default();
    assert!(!said.with_live_speech("ein", " ").is_final);
    assert_eq!(said.with_live_speech("eins", "eins").text, "eins");
    assert!(said.with_live_speech("", "eins").is_final);
}

#[test]
fn a_failed_final_is_told_and_a_failed_partial_is_not() {
    let mut scene = Scene::new(|_| ());
    scene.partial("eins");
    let failed = [RunResult { target: Language::English, text: None }];
    let now = scene.now();
    expect(&scene.conductor.run_finished(RunId(1), &failed, now), &["drop failed_partial"]);
    scene.r#final("eins");
    let decisions = scene.conductor.run_finished(RunId(2), &[], now);
    expect(&decisions, &["SHOW u1r1 (failed)"]);
}

#[test]
fn the_robot_does_not_hear_itself() {
    let mut scene = Scene::new(|_| ());
    scene.partial("hallo");
    let now = scene.now();
    scene.conductor.muted(true, now);
    expect(&scene.at(100).partial("hallo robot"), &["drop muted"]);
    expect(&scene.r#final("hallo"), &["drop muted"]);
    expect(&scene.finish(1, "hello"), &["show u1r1 hello"]);
    let now = scene.at(1000).now();
    scene.conductor.muted(false, now);
    scene.conductor.muted(false, now + Duration::from_millis(200));
    expect(&scene.at(1299).partial("hallo ihr"), &["drop muted"]);
    expect(&scene.at(1300).partial("hallo ihr"), &["start 2 hallo ihr"]);
    // Whoever said that the robot speaks has died.
    let now = scene.now();
    scene.conductor.muted(true, now);
    scene.at(1301).finish(2, "hello you");
    expect(&scene.at(61_299).partial("ja"), &["drop muted"]);
    expect(&scene.at(61_300).partial("ja"), &["start 3 ja"]);
}

#[test]
fn free_runs_go_round() {
    let mut scene = Scene::new(|config| {
        config.partial_runs_max = 1;
        config.partial_min_interval = Duration::ZERO;
    });
    expect(&scene.say("ann", "a", false), &["start 1 a"]);
    for (speaker, text) in [("ann", "a a"), ("bob", "b"), ("cleo", "c"), ("bob", "b b")] {
        scene.say(speaker, text, false);
    }
    let mut order = Vec::new();
    for run in 1..=4 {
        for decision in scene.finish(run, "text") {
            if let Decision::Start(start) = decision {
                order.push(start.speaker.to_string());
            }
        }
    }
    assert_eq!(order, ["bob", "cleo", "ann"]);
    // A final does not wait for a free partial run.
    scene.say("ann", "a a a", false);
    expect(&scene.say("bob", "ende", true), &["START 6 ende"]);
}

#[test]
fn speakers_with_work_are_never_forgotten() {
    let mut scene = Scene::new(|config| config.speakers_max = 2);
    scene.say("ann", "eins", true);
    scene.at(1).say("bob", "zwei", true);
    expect(&scene.say("cleo", "drei", true), &["drop speakers_full"]);
    scene.at(2).finish(1, "one");
    expect(&scene.say("cleo", "drei", true), &["START 3 drei"]);
    assert_eq!(scene.conductor.counters().speakers_evicted, 1);
    scene.finish(2, "two");
    let now = scene.now();
    scene.conductor.speaker_gone("bob", now);
    assert_eq!(scene.conductor.n_speakers(), 1);
    // One that goes in the middle of a sentence is heard out.
    scene.finish(3, "three");
    scene.say("cleo", "und", false);
    let decisions = scene.conductor.speaker_gone("cleo", now);
    expect(&decisions, &["cancel 4", "START 5 und forced"]);
    expect(&scene.finish(5, "and"), &["SHOW u4r1 and forced"]);
    assert_eq!(scene.conductor.n_speakers(), 0);
}

#[test]
fn context_is_what_the_speaker_said_before() {
    let mut scene = Scene::new(|_| ());
    let context = |decisions: &[Decision]| match decisions.last() {
        Some(Decision::Start(start)) => {
            start.context.iter().map(|s| s.translations[0].1.clone()).collect::<Vec<_>>()
        }
        other => panic!("{other:?}"),
    };
    for (run, text) in [(1, "One"), (2, "Two"), (3, "Three")] {
        scene.r#final("etwas");
        scene.finish(run, text);
    }
    assert_eq!(context(&scene.partial("und")), ["Two", "Three"]);
    scene.finish(4, "and");
    assert_eq!(context(&scene.r#final("und")), ["Two", "Three"]);
    scene.finish(5, "And");
    assert!(context(&scene.say("bob", "hallo", true)).is_empty());
    scene.at(60_001);
    assert!(context(&scene.r#final("neu")).is_empty(), "a long pause changes the subject");
    scene.finish(7, "New");
    scene.conductor.reset_context(Some("bob"));
    assert_eq!(context(&scene.r#final("neu")), ["New"]);
    scene.finish(8, "New");
    scene.conductor.reset_context(None);
    assert!(context(&scene.r#final("neu")).is_empty());
}

#[test]
fn the_last_translation_is_the_draft() {
    let mut scene = Scene::new(|_| ());
    scene.partial("eins");
    scene.at(500).finish(1, "one");
    let draft = |decisions: &[Decision]| match decisions.last() {
        Some(Decision::Start(start)) => (start.revision, start.drafts.clone()),
        other => panic!("{other:?}"),
    };
    let one = vec![(Language::English, "one".to_owned())];
    assert_eq!(draft(&scene.partial("eins zwei")), (2, one.clone()));
    assert_eq!(draft(&scene.r#final("eins zwei")), (3, one));
    scene.finish(3, "one two");
    assert_eq!(draft(&scene.r#final("drei")), (1, Vec::new()));

    let mut scene = Scene::new(|config| config.drafts = false);
    scene.partial("eins");
    scene.at(500).finish(1, "one");
    assert_eq!(draft(&scene.partial("eins zwei")), (2, Vec::new()));
}

#[test]
fn texts_in_progress_may_only_add() {
    let mut scene = Scene::new(|_| ());
    scene.partial("eins");
    expect(&scene.progress(1, "On"), &["show u1r1 On"]);
    expect(&scene.at(99).progress(1, "One"), &["drop held_back"]);
    expect(&scene.at(100).progress(1, "One"), &["show u1r2 One"]);
    expect(&scene.at(300).progress(1, "On"), &["drop held_back"]);
    expect(&scene.at(500).finish(1, "Ones"), &["show u1r3 Ones"]);
    scene.partial("eins zwei");
    expect(&scene.at(700).progress(2, "One two"), &["drop held_back"]);
    scene.r#final("Eins, zwei.");
    expect(&scene.progress(3, "Ones, two"), &["show u1r4 Ones, two"]);
    let decisions = scene.finish(3, "One, two.");
    expect(&decisions, &["SHOW u1r5 One, two."]);
    let Some(Decision::Publish(publish)) = decisions.first() else { panic!("{decisions:?}") };
    assert_eq!(publish.normalised_erasure, Some(6.0 / 9.0));
    assert_eq!(publish.stable_chars, 9);
    assert_eq!(scene.conductor.counters().erased_chars, 6);
}

#[test]
fn settings_change_while_it_runs() {
    let mut scene = Scene::new(|_| ());
    scene.partial("eins");
    scene.at(10).partial("eins zwei");
    let now = scene.now();
    let off = SpeechConfig { translate_partials: false, ..scene.conductor.config().clone() };
    let decisions = scene.conductor.reconfigure(off, now);
    expect(&decisions, &["drop partials_off", "cancel 1"]);
    expect(&scene.partial("eins zwei drei"), &["drop partials_off"]);
    expect(&scene.r#final("eins zwei drei"), &["START 2 eins zwei drei"]);
}

#[test]
fn the_other_party_gets_it_and_a_wrong_first_guess_is_withdrawn() {
    let pair = [Language::German, Language::English];
    let mut scene = Scene::new(|config| config.language.targets = TargetMode::OtherParty(pair));
    let now = scene.now();
    let said = Hypothesis { speaker: "ann", text: "in", ..Hypothesis::default() };
    let result = |target, text: &str| RunResult { target, text: Some(text.to_owned()) };
    // Nobody knows the language yet, so both get it.
    expect(&scene.conductor.hypothesis(&said, now), &["start 1 in"]);
    let results = [result(Language::German, "in"), result(Language::English, "in")];
    let decisions = scene.conductor.run_finished(RunId(1), &results, now);
    expect(&decisions, &["show u1r1 in", "show u1r2 in"]);
    scene.r#final("in Berlin");
    let results = [result(Language::English, "in Berlin")];
    let decisions = scene.conductor.run_finished(RunId(2), &results, now);
    expect(&decisions, &["SHOW u1r3 in Berlin", "SHOW u1r4 (withdrawn)"]);
}
