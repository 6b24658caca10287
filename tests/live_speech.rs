//! Live speech through the real node over DDS: four people talk at once, word by word, and the
//! captions keep their promises. The scripted engine echoes, so that what is shown can be held
//! against what was said.
#![cfg(feature = "dds")]
#![allow(clippy::unwrap_used, reason = "a failed step is a failed test")]

#[path = "peers/scripted_node.rs"]
mod scripted_node;
#[path = "peers/support.rs"]
mod support;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hymt_ros::node::TranslatorNode;
use hymt_ros::ros::param_value::ParamValue;
use hymt_ros::ros::wire::common::BoolMsg;
use hymt_ros::ros::wire::hri::{LiveSpeech, LiveSpeechBoth};
use hymt_ros::ros::wire::{Status, StringMsg, Translation};
use hymt_ros::ros::{Context, Publisher, QosProfile};
use scripted_node::{load, scripted_node};
use support::{Dice, PATIENCE, context, domain, wait_until};

const SPEAKERS: [&str; 4] = ["ann", "ben", "cho", "dua"];
const UTTERANCES: usize = 50;

/// Into German and French, unless `parameters` say otherwise; active.
fn start(context: &Context, parameters: &[(&str, ParamValue)]) -> TranslatorNode {
    let targets = ParamValue::StringArray(vec!["de".to_owned(), "fr".to_owned()]);
    let given = [&[("target_locales", targets)][..], parameters].concat();
    let node = scripted_node(context, &given, Arc::new(load));
    node.bring_up().unwrap();
    node
}

const WORDS: [&str; 12] = [
    "where", "is", "the", "charging", "station", "please", "follow", "me", "to", "room", "nine",
    "now",
];

/// One utterance as a recogniser says it: hypotheses, and the final.
fn utterance(speaker: &str, number: usize, dice: &mut Dice) -> (Vec<String>, String) {
    let n_words = 3 + dice.below(6) as usize;
    let mut words = vec![format!("{speaker} {number}")];
    let mut hypotheses = Vec::new();
    for _ in 0..n_words {
        words.push(WORDS[dice.below(WORDS.len() as u64) as usize].to_owned());
        hypotheses.push(words.join(" "));
        // Now and then the recogniser changes its mind about the last word, or says it again.
        match dice.below(6) {
            0 => *words.last_mut().unwrap() = WORDS[dice.below(12) as usize].to_owned(),
            1 => hypotheses.push(words.join(" ")),
            _ => {}
        }
    }
    (hypotheses, words.join(" "))
}

fn talk(publisher: &Publisher<LiveSpeech>, speaker: &str, dice: &mut Dice) -> Vec<String> {
    let pause = |dice: &mut Dice, most: u64| {
        std::thread::sleep(Duration::from_millis(5 + dice.below(most)));
    };
    let mut finals = Vec::new();
    for number in 0..UTTERANCES {
        let (hypotheses, r#final) = utterance(speaker, number, dice);
        for incremental in hypotheses {
            publisher.publish(&LiveSpeech { incremental, ..LiveSpeech::default() }).unwrap();
            pause(dice, 25);
        }
        let last = LiveSpeech {
            incremental: r#final.clone(),
            r#final: r#final.clone(),
            locale: "en_GB".to_owned(),
            ..LiveSpeech::default()
        };
        publisher.publish(&last).unwrap();
        finals.push(r#final);
        pause(dice, 60);
    }
    finals
}

#[test]
fn four_people_talk_at_once() {
    let (here, there) = (context(domain(30)), context(domain(30)));
    let integer = ParamValue::Integer;
    let node = start(
        &there,
        &[
            ("input.mode", ParamValue::String("hri".to_owned())),
            ("scripted.step_ms", integer(1)),
            ("speech.partial_min_interval_ms", integer(30)),
            ("speech.final_timeout_ms", integer(0)),
            ("diagnostic_updater.period", ParamValue::Double(0.2)),
        ],
    );
    let listener = here.create_node("captions", "/").unwrap();
    let (_ear, captions) = listener
        .subscription_queue::<Translation>("/translator/translation", &QosProfile::DEFAULT, 1 << 16)
        .unwrap();
    let (_eye, status) = listener
        .subscription_queue::<Status>("/translator/status", &QosProfile::LATCHED, 64)
        .unwrap();
    let publishers: Vec<_> = SPEAKERS
        .iter()
        .map(|speaker| {
            let topic = format!("/humans/voices/{speaker}/speech");
            let publisher = listener.publisher::<LiveSpeech>(&topic, &QosProfile::DEFAULT).unwrap();
            wait_until(speaker, || publisher.matched() == 1);
            publisher
        })
        .collect();
    std::thread::sleep(Duration::from_millis(300));

    let said: BTreeMap<&str, Vec<String>> = std::thread::scope(|scope| {
        let talkers: Vec<_> = SPEAKERS
            .iter()
            .zip(&publishers)
            .enumerate()
            .map(|(seed, (speaker, publisher))| {
                scope.spawn(move || (*speaker, talk(publisher, speaker, &mut Dice(seed as u64))))
            })
            .collect();
        talkers.into_iter().map(|talker| talker.join().unwrap()).collect()
    });

    let n_finals = SPEAKERS.len() * UTTERANCES * 2;
    let mut heard: BTreeMap<(String, String), Vec<Translation>> = BTreeMap::new();
    let (mut n_seen, mut n_partials, started) = (0, 0, Instant::now());
    while n_seen < n_finals {
        assert!(started.elapsed() < PATIENCE, "{n_seen} of {n_finals} finals");
        let Ok((caption, _)) = captions.recv_timeout(Duration::from_secs(5)) else { continue };
        n_seen += usize::from(caption.is_final);
        n_partials += usize::from(!caption.is_final);
        heard
            .entry((caption.speaker_id.clone(), caption.target_locale.clone()))
            .or_default()
            .push(caption);
    }
    // Nothing comes after the last final.
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(captions.try_iter().count(), 0);

    for ((speaker, target), captions) in &heard {
        let expect = &said[speaker.as_str()];
        let finals: Vec<_> = captions.iter().filter(|caption| caption.is_final).collect();
        let texts: Vec<_> = finals.iter().map(|caption| caption.text.clone()).collect();
        assert_eq!(&texts, expect, "{speaker} into {target}: order and text of finals");
        for pair in captions.windows(2) {
            let (before, after) = (&pair[0], &pair[1]);
            assert!(before.utterance_id <= after.utterance_id, "an utterance came back");
            if before.utterance_id == after.utterance_id {
                assert!(!before.is_final, "something after the final: {after:?}");
                assert!(before.revision < after.revision, "a stale revision: {before:?} {after:?}");
            }
        }
        for caption in captions {
            // The echo shows its source, or the part of it that is done: never another text.
            assert!(caption.source_text.starts_with(&caption.text), "{caption:?}");
            assert!(caption.source_text.starts_with(speaker.as_str()), "{caption:?}");
        }
    }
    assert_eq!(heard.len(), SPEAKERS.len() * 2);
    assert!(n_partials > UTTERANCES, "{n_partials} partials are too few to prove anything");
    let last = std::cell::RefCell::new(Status::default());
    wait_until("the drops are counted", || {
        if let Some((newest, _)) = status.try_iter().last() {
            last.replace(newest);
        }
        let last = last.borrow();
        last.partials_dropped > 0 && last.heard == (SPEAKERS.len() * UTTERANCES) as u64
    });
    println!(
        "{n_finals} finals, {n_partials} partials shown, {} passed over",
        last.borrow().partials_dropped
    );
    node.shutdown(Duration::from_secs(2));
}

#[test]
fn the_topic_speech_takes_every_layout_and_silence_ends_an_utterance() {
    let (here, there) = (context(domain(31)), context(domain(31)));
    let _node = start(
        &there,
        &[
            ("speech.final_timeout_ms", ParamValue::Integer(300)),
            ("speech.partial_agreement", ParamValue::Integer(1)),
            ("speech.ignore_while_speaking", ParamValue::String("/robot_speaking".to_owned())),
            ("target_locales", ParamValue::StringArray(vec!["de".to_owned()])),
        ],
    );
    let node = here.create_node("asr", "/").unwrap();
    let (_ear, captions) = node
        .subscription_queue::<Translation>("/translator/translation", &QosProfile::DEFAULT, 1024)
        .unwrap();
    let (_text, finals) = node
        .subscription_queue::<StringMsg>("/translator/de/text", &QosProfile::DEFAULT, 1024)
        .unwrap();
    let (_partial, partials) = node
        .subscription_queue::<StringMsg>("/translator/de/partial", &QosProfile::DEFAULT, 1024)
        .unwrap();
    let qos = &QosProfile::DEFAULT;
    let new = node.publisher::<LiveSpeech>("/speech", qos).unwrap();
    let both = node.publisher::<LiveSpeechBoth>("/speech", qos).unwrap();
    let mouth = node.publisher::<BoolMsg>("/robot_speaking", qos).unwrap();
    wait_until("match", || new.matched() == 1 && both.matched() == 1 && mouth.matched() == 1);
    std::thread::sleep(Duration::from_millis(300));
    let next_final = || loop {
        let (caption, _) = captions.recv_timeout(PATIENCE).unwrap();
        if caption.is_final {
            return caption;
        }
    };

    new.publish(&LiveSpeech { r#final: "good morning".to_owned(), ..Default::default() }).unwrap();
    let first = next_final();
    assert_eq!((first.text.as_str(), first.source_locale.as_str()), ("good morning", "en"));
    assert_eq!(first.speaker_id, "anonymous_speaker");
    let older = LiveSpeechBoth {
        r#final: "bonjour".to_owned(),
        language: "fr-FR".to_owned(),
        ..Default::default()
    };
    both.publish(&older).unwrap();
    assert_eq!(next_final().source_locale, "fr", "the language of the message wins");

    // No final comes: silence makes one, and says so.
    new.publish(&LiveSpeech { incremental: "and then".to_owned(), ..Default::default() }).unwrap();
    let forced = next_final();
    assert_eq!(forced.text, "and then");
    assert!(forced.detail.contains("silence"), "{}", forced.detail);
    wait_until("the growing text", || partials.try_iter().any(|(text, _)| text.data == "and then"));

    // What the robot says itself is not translated.
    mouth.publish(&BoolMsg { data: true }).unwrap();
    std::thread::sleep(Duration::from_millis(200));
    new.publish(&LiveSpeech { r#final: "its own voice".to_owned(), ..Default::default() }).unwrap();
    std::thread::sleep(Duration::from_millis(200));
    mouth.publish(&BoolMsg { data: false }).unwrap();
    std::thread::sleep(Duration::from_millis(600));
    new.publish(&LiveSpeech { r#final: "a person again".to_owned(), ..Default::default() })
        .unwrap();
    assert_eq!(next_final().text, "a person again");
    // The plain text of an utterance is published after its translation.
    let texts: Vec<_> = (0..4).map(|_| finals.recv_timeout(PATIENCE).unwrap().0.data).collect();
    assert_eq!(texts, ["good morning", "bonjour", "and then", "a person again"]);
}

/// More than all queues hold, with an engine that cannot follow: what is too much is passed over, and
/// the captions go on.
#[test]
fn a_flood_does_not_stop_the_captions() {
    let (here, there) = (context(domain(32)), context(domain(32)));
    let node = start(
        &there,
        &[
            ("input.mode", ParamValue::String("hri".to_owned())),
            ("scripted.step_ms", ParamValue::Integer(20)),
            ("speech.partial_agreement", ParamValue::Integer(1)),
            ("speech.partial_min_interval_ms", ParamValue::Integer(0)),
            ("diagnostic_updater.period", ParamValue::Double(0.2)),
        ],
    );
    let talker = here.create_node("crowd", "/").unwrap();
    let (_ear, captions) = talker
        .subscription_queue::<Translation>("/translator/translation", &QosProfile::DEFAULT, 1 << 16)
        .unwrap();
    let publishers: Vec<_> = (0..12)
        .map(|number| {
            let topic = format!("/humans/voices/v{number}/speech");
            let publisher = talker.publisher::<LiveSpeech>(&topic, &QosProfile::DEFAULT).unwrap();
            wait_until(&topic, || publisher.matched() == 1);
            publisher
        })
        .collect();
    std::thread::sleep(Duration::from_millis(300));
    for round in 0..400 {
        for publisher in &publishers {
            let text = format!("round {round}");
            let r#final = if round % 4 == 3 { text.clone() } else { String::new() };
            let said = LiveSpeech { incremental: text, r#final, ..LiveSpeech::default() };
            publisher.publish(&said).unwrap();
        }
    }
    // Once it is over, the next utterance of each is captioned as ever.
    std::thread::sleep(Duration::from_secs(1));
    for publisher in &publishers {
        let said = LiveSpeech { r#final: "the end".to_owned(), ..LiveSpeech::default() };
        let started = Instant::now();
        loop {
            assert!(started.elapsed() < PATIENCE, "no caption after the flood");
            publisher.publish(&said).unwrap();
            std::thread::sleep(Duration::from_millis(200));
            let is_end = |caption: &Translation| caption.is_final && caption.text == "the end";
            if captions.try_iter().any(|(caption, _)| is_end(&caption)) {
                break;
            }
        }
    }
    node.shutdown(Duration::from_secs(2));
}
