//! The node through its life, as a manager and clients see it over the middleware of this build:
//! transitions, the action, status and diagnostics. The scripted engine stands in for a model.
#![cfg(any(feature = "dds", feature = "r2r"))]
#![allow(clippy::unwrap_used, reason = "a failed step is a failed test")]

#[path = "peers/scripted_node.rs"]
mod scripted_node;
#[path = "peers/support.rs"]
mod support;

use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::Receiver;
use hymt_llm::engine::scripted::Fault;
use hymt_ros::app::{self, EngineOptions};
use hymt_ros::lifecycle::State;
use hymt_ros::node::{ModelLoader, TranslatorNode};
use hymt_ros::ros::param_value::ParamValue;
use hymt_ros::ros::wire::action::{
    CancelGoal, CancelGoalRequest, FeedbackMessage, GetResultRequest, GoalInfo, GoalStatus,
    GoalStatusArray, SendGoalRequest, TranslateTextGetResult, TranslateTextGoal,
    TranslateTextResult, TranslateTextSendGoal, Uuid,
};
use hymt_ros::ros::wire::common::{Trigger, TriggerRequest};
use hymt_ros::ros::wire::diagnostic::DiagnosticArray;
use hymt_ros::ros::wire::hymt::{
    ListGlossaries, ListGlossariesRequest, SetGlossary, SetGlossaryRequest,
};
use hymt_ros::ros::wire::lifecycle::{
    ChangeState, ChangeStateRequest, GetAvailableTransitions, GetAvailableTransitionsRequest,
    GetState, GetStateRequest, Transition, TransitionEvent,
};
use hymt_ros::ros::wire::{
    Service, Status, StringMsg, Translate, TranslateRequest, TranslateResponse, Translation,
};
use hymt_ros::ros::{Client, Context, MessageInfo, Node, Publisher, QosProfile, Subscription};
use scripted_node::{load, scripted_node};
use support::{PATIENCE, context_as_node, domain, wait_until};

/// A node and somebody who talks to it, each in a context of its own.
struct Stage {
    translator: TranslatorNode,
    _there: Context,
    here: Context,
    node: Node,
}

impl Stage {
    fn new(test: u16, parameters: &[(&str, ParamValue)], loader: ModelLoader) -> Self {
        let (here, there) = (context_as_node(domain(test)), context_as_node(domain(test)));
        let translator = scripted_node(&there, parameters, loader);
        let node = here.create_node("manager", "/").unwrap();
        Self { translator, _there: there, here, node }
    }

    fn client<S: Service>(&self, name: &str) -> Client<S> {
        let client = self.node.client(&format!("/translator/{name}")).unwrap();
        assert!(client.wait_for_service(PATIENCE), "{name}");
        client
    }

    fn hear<M: hymt_ros::ros::wire::Message>(
        &self,
        topic: &str,
        qos: &QosProfile,
    ) -> (Subscription<M>, Receiver<(M, MessageInfo)>) {
        let (subscription, queue) = self.node.subscription_queue(topic, qos, 4096).unwrap();
        wait_until(topic, || subscription.matched() > 0);
        (subscription, queue)
    }

    fn say(&self, topic: &str) -> Publisher<StringMsg> {
        let publisher = self.node.publisher(topic, &QosProfile::DEFAULT).unwrap();
        wait_until(topic, || publisher.matched() > 0);
        // That this side has matched does not say that the other has.
        std::thread::sleep(Duration::from_millis(300));
        publisher
    }
}

fn change(client: &Client<ChangeState>, label: &str) -> bool {
    let transition = Transition { id: 0, label: label.to_owned() };
    client.call(&ChangeStateRequest { transition }, PATIENCE).unwrap().success
}

fn translate(client: &Client<Translate>) -> TranslateResponse {
    let request = TranslateRequest {
        texts: vec!["hello".to_owned()],
        target_locales: vec!["de".to_owned()],
        ..TranslateRequest::default()
    };
    client.call(&request, PATIENCE).unwrap()
}

#[test]
fn a_manager_leads_the_node_through_its_life() {
    let stage = Stage::new(20, &[], Arc::new(load));
    let (_ear, events) =
        stage.hear::<TransitionEvent>("/translator/transition_event", &QosProfile::DEFAULT);
    let (_latched, status) = stage.hear::<Status>("/translator/status", &QosProfile::LATCHED);
    let states = stage.client::<ChangeState>("change_state");
    let get = stage.client::<GetState>("get_state");
    let label = || get.call(&GetStateRequest::default(), PATIENCE).unwrap().current_state.label;
    let service = stage.client::<Translate>("translate");

    // Everything is there and says why it does nothing.
    assert_eq!(label(), "unconfigured");
    let refused = translate(&service);
    assert_eq!(refused.code, TranslateResponse::NOT_ACTIVE);
    assert!(refused.message.contains("unconfigured"), "{}", refused.message);
    let graph = stage.client::<GetAvailableTransitions>("get_transition_graph");
    let from_here = stage.client::<GetAvailableTransitions>("get_available_transitions");
    let count = |client: &Client<GetAvailableTransitions>| {
        let request = GetAvailableTransitionsRequest::default();
        client.call(&request, PATIENCE).unwrap().available_transitions.len()
    };
    assert_eq!((count(&graph), count(&from_here)), (25, 2));
    assert!(!change(&states, "activate"), "not from here");
    assert!(!change(&states, "no such thing"));

    for (transition, then) in [
        ("configure", "inactive"),
        ("activate", "active"),
        ("deactivate", "inactive"),
        ("activate", "active"),
    ] {
        assert!(change(&states, transition), "{transition}");
        assert_eq!(label(), then);
    }
    assert_eq!(translate(&service).results[0].text, "hello");
    for (transition, then) in
        [("deactivate", "inactive"), ("cleanup", "unconfigured"), ("shutdown", "finalized")]
    {
        assert!(change(&states, transition), "{transition}");
        assert_eq!(label(), then);
        assert_eq!(translate(&service).code, TranslateResponse::NOT_ACTIVE);
    }
    let first = events.recv_timeout(PATIENCE).unwrap().0;
    assert_eq!((first.transition.id, first.goal_state.label.as_str()), (1, "configuring"));
    let second = events.recv_timeout(PATIENCE).unwrap().0;
    assert_eq!((second.transition.id, second.goal_state.label.as_str()), (10, "inactive"));
    wait_until("the status says finalized", || {
        status.try_iter().any(|(status, _)| status.state == Status::FINALIZED)
    });
}

#[test]
fn a_failed_configure_goes_back_and_says_why() {
    let loader: ModelLoader = Arc::new(|_| anyhow::bail!("model folder '/x' not found"));
    let stage = Stage::new(21, &[], loader);
    let states = stage.client::<ChangeState>("change_state");
    let (_latched, status) = stage.hear::<Status>("/translator/status", &QosProfile::LATCHED);
    assert!(!change(&states, "configure"));
    assert_eq!(stage.translator.state(), State::Unconfigured);
    wait_until("the status says why", || {
        status.try_iter().any(|(status, _)| status.last_error == "model folder '/x' not found")
    });
    let error = stage.translator.bring_up().unwrap_err().to_string();
    assert_eq!(error, "cannot configure: model folder '/x' not found");
}

#[test]
fn a_dead_engine_ends_requests_not_the_node() {
    let faulty = std::sync::atomic::AtomicBool::new(true);
    let loader: ModelLoader = Arc::new(move |options: &EngineOptions| {
        let is_faulty = faulty.swap(false, std::sync::atomic::Ordering::Relaxed);
        app::load_scripted(options, |engine| {
            if is_faulty { engine.with_fault(Fault::Fatal(2)) } else { engine }
        })
    });
    let stage = Stage::new(22, &[], loader);
    stage.translator.bring_up().unwrap();
    let service = stage.client::<Translate>("translate");
    let failed = translate(&service);
    assert_eq!(failed.code, TranslateResponse::FAILED, "{failed:?}");
    wait_until("unconfigured", || stage.translator.state() == State::Unconfigured);
    assert_eq!(translate(&service).code, TranslateResponse::NOT_ACTIVE);
    // A manager can bring it back.
    stage.translator.bring_up().unwrap();
    assert_eq!(translate(&service).results[0].text, "hello");
}

fn goal(n: u8, text: &str) -> SendGoalRequest {
    let goal = TranslateTextGoal { text: text.to_owned(), ..TranslateTextGoal::default() };
    SendGoalRequest { goal_id: Uuid { uuid: [n; 16] }, goal }
}

#[test]
fn a_goal_streams_its_text_and_a_cancelled_one_stops() {
    let slow = [("scripted.step_ms", ParamValue::Integer(30))];
    let stage = Stage::new(23, &slow, Arc::new(load));
    stage.translator.bring_up().unwrap();
    let action = "translate_text/_action";
    let send = stage.client::<TranslateTextSendGoal>(&format!("{action}/send_goal"));
    let result = stage.client::<TranslateTextGetResult>(&format!("{action}/get_result"));
    let cancel = stage.client::<CancelGoal>(&format!("{action}/cancel_goal"));
    let topic = |name: &str| format!("/translator/{action}/{name}");
    let (_ear, feedback) = stage.hear::<FeedbackMessage>(&topic("feedback"), &QosProfile::DEFAULT);
    let (_eye, status) = stage.hear::<GoalStatusArray>(&topic("status"), &QosProfile::LATCHED);
    let result_of = |n: u8| {
        let request = GetResultRequest { goal_id: Uuid { uuid: [n; 16] } };
        let response = result.call(&request, PATIENCE).unwrap();
        (response.status, response.result)
    };

    assert!(send.call(&goal(1, "twenty characters long"), PATIENCE).unwrap().accepted);
    assert!(!send.call(&goal(1, "the same again"), PATIENCE).unwrap().accepted);
    let (ended, done) = result_of(1);
    assert_eq!((ended, done.code), (GoalStatus::STATUS_SUCCEEDED, TranslateTextResult::OK));
    assert_eq!(done.results[0].text, "twenty characters long");
    let partials: Vec<Translation> =
        feedback.try_iter().map(|(message, _)| message.feedback.partial).collect();
    assert!(partials.len() > 5, "{}", partials.len());
    assert!(
        partials
            .iter()
            .all(|partial| !partial.is_final && done.results[0].text.starts_with(&partial.text))
    );
    assert!(partials.windows(2).all(|pair| pair[0].revision < pair[1].revision));

    // Cancelled in the middle: it ends long before the text would have.
    let long = "x".repeat(1000);
    assert!(send.call(&goal(2, &long), PATIENCE).unwrap().accepted);
    feedback.recv_timeout(PATIENCE).unwrap();
    // Whoever asks for the result is told the status once more: `ros2 action send_goal` cancels on
    // Ctrl-C only a goal whose status came after the answer to the goal.
    while status.try_recv().is_ok() {}
    let request = GetResultRequest { goal_id: Uuid { uuid: [2; 16] } };
    assert!(result.call(&request, Duration::from_millis(300)).is_err(), "it ended too soon");
    let (told, _) = status.recv_timeout(PATIENCE).unwrap();
    assert_eq!(told.status_list.last().unwrap().status, GoalStatus::STATUS_EXECUTING);
    let started = Instant::now();
    let goal_info = GoalInfo { goal_id: Uuid { uuid: [2; 16] }, ..GoalInfo::default() };
    let answer = cancel.call(&CancelGoalRequest { goal_info }, PATIENCE).unwrap();
    assert_eq!((answer.return_code, answer.goals_canceling.len()), (0, 1));
    let (ended, cancelled) = result_of(2);
    assert_eq!(ended, GoalStatus::STATUS_CANCELED);
    assert_eq!(cancelled.code, TranslateTextResult::CANCELLED, "{cancelled:?}");
    assert!(started.elapsed() < Duration::from_secs(15), "30 s would be the whole text");
    // Its slot is free: the next one runs at once.
    assert!(send.call(&goal(3, "next"), PATIENCE).unwrap().accepted);
    assert_eq!(result_of(3).0, GoalStatus::STATUS_SUCCEEDED);

    // What is wrong with a goal, its result says.
    let mut bad = goal(4, "hello");
    bad.goal.target_locales = vec!["germn".to_owned()];
    assert!(send.call(&bad, PATIENCE).unwrap().accepted);
    let (ended, refused) = result_of(4);
    assert_eq!(ended, GoalStatus::STATUS_ABORTED);
    assert!(refused.message.contains("did you mean 'de'"), "{}", refused.message);
    assert_eq!(result_of(99).0, GoalStatus::STATUS_UNKNOWN);
    let seen: Vec<i8> = status
        .try_iter()
        .flat_map(|(array, _)| array.status_list)
        .filter(|goal| goal.goal_info.goal_id.uuid == [2; 16])
        .map(|goal| goal.status)
        .collect();
    assert!(seen.contains(&GoalStatus::STATUS_CANCELED), "{seen:?}");
}

#[test]
fn diagnostics_and_status_tell_how_the_node_is() {
    let quick = [("diagnostic_updater.period", ParamValue::Double(0.2))];
    let stage = Stage::new(24, &quick, Arc::new(load));
    stage.translator.bring_up().unwrap();
    let (_ear, diagnostics) = stage.hear::<DiagnosticArray>("/diagnostics", &QosProfile::DEFAULT);
    let (_latched, status) = stage.hear::<Status>("/translator/status", &QosProfile::LATCHED);
    let input = |part: &str| {
        let name = format!("translator: {part}");
        let array = diagnostics.recv_timeout(PATIENCE).unwrap().0;
        assert_eq!(array.status.len(), 4);
        array.status.into_iter().find(|status| status.name == name).unwrap()
    };
    assert_eq!(input("Input").message, "nobody publishes on /speech, /text");
    let say = stage.say("/text");
    say.publish(&"hello".into()).unwrap();
    wait_until("one publisher", || input("Input").message == "1 publishers");
    assert_eq!(input("Latency").message, "in time");
    assert!(input("Engine").message.starts_with("active"));
    wait_until("the status counts", || {
        status.try_iter().any(|(s, _)| s.heard == 1 && s.translated == 1 && s.latency_max_ms > 0.0)
    });
    // A publisher that offers too little is named.
    let weak = QosProfile {
        reliability: hymt_ros::ros::qos::Reliability::BestEffort,
        ..QosProfile::DEFAULT
    };
    let _unheard: Publisher<StringMsg> = stage.node.publisher("/text", &weak).unwrap();
    let expect = "not heard because of QoS: /text: /manager: it offers best_effort";
    wait_until("the mismatch", || input("Input").message.starts_with(expect));
    drop(stage.here);
}

#[test]
fn what_was_answered_is_not_computed_again() {
    let stage = Stage::new(26, &[], Arc::new(load));
    stage.translator.bring_up().unwrap();
    let (_latched, status) = stage.hear::<Status>("/translator/status", &QosProfile::LATCHED);
    let service = stage.client::<Translate>("translate");
    let is_from_cache = || {
        let response = translate(&service);
        assert!(response.success, "{}", response.message);
        response.results[0].from_cache
    };
    assert!(!is_from_cache(), "nobody asked before");
    assert!(is_from_cache());
    let clear = stage.client::<Trigger>("clear_cache");
    let cleared = clear.call(&TriggerRequest::default(), PATIENCE).unwrap();
    assert!(cleared.success && cleared.message.starts_with("1 "), "{}", cleared.message);
    assert!(!is_from_cache(), "it was to be forgotten");
    let hits = || status.try_iter().last().is_some_and(|(status, _)| status.cache_hits == 1);
    wait_until("the hit is counted", hits);
}

#[test]
fn a_conversation_goes_to_the_other_party_with_what_was_said_before() {
    let text = |text: &str| ParamValue::String(text.to_owned());
    let folder = tempfile::tempdir().unwrap();
    let captions = folder.path().join("captions.srt");
    let locales = ["en", "de"].map(str::to_owned).to_vec();
    let parameters = [
        ("engine", text("cpu")),
        ("source_locale", text("auto")),
        ("target_locales", ParamValue::StringArray(locales)),
        ("target.mode", text("other_party")),
        ("context.sentences", ParamValue::Integer(2)),
        ("output.log_file", text(&captions.display().to_string())),
        ("output.log_format", text("srt")),
    ];
    let stage = Stage::new(28, &parameters, Arc::new(load));
    stage.translator.bring_up().unwrap();
    let (_ear, translations) =
        stage.hear::<Translation>("/translator/translation", &QosProfile::DEFAULT);
    let say = stage.say("/text");
    let said = |text: &str| {
        say.publish(&text.into()).unwrap();
        let (translation, _) = translations.recv_timeout(PATIENCE).unwrap();
        (translation.target_locale, translation.text)
    };
    let to = |locale: &str, text: &str| (locale.to_owned(), text.to_owned());
    assert_eq!(said("I am looking for a jacket."), to("de", "Ich suche eine Jacke."));
    // Only what was said before tells the gender.
    assert_eq!(said("I see it."), to("de", "Ich sehe sie."));
    assert_eq!(said("Wo ist die Ladestation?"), to("en", "Where is the charging station?"));
    assert!(translations.try_recv().is_err(), "nobody hears their own words again");
    let reset = stage.client::<Trigger>("reset_context");
    assert!(reset.call(&TriggerRequest::default(), PATIENCE).unwrap().success);
    assert_eq!(said("I see it."), to("de", "Ich sehe es."));
    // All of it is in the file, once the node has ended.
    assert_eq!(stage.translator.shutdown(PATIENCE), 0);
    let german = std::fs::read_to_string(folder.path().join("captions.de.srt")).unwrap();
    let texts: Vec<_> = german.split("\n\n").filter_map(|cue| cue.lines().nth(2)).collect();
    assert_eq!(texts, ["Ich suche eine Jacke.", "Ich sehe sie.", "Ich sehe es."]);
    assert!(folder.path().join("captions.en.srt").is_file());
}

#[test]
fn glossaries_come_by_service() {
    let stage = Stage::new(25, &[], Arc::new(load));
    stage.translator.bring_up().unwrap();
    let set = stage.client::<SetGlossary>("set_glossary");
    let list = stage.client::<ListGlossaries>("list_glossaries");
    let request = SetGlossaryRequest {
        name: "hotel".to_owned(),
        target_locale: "de".to_owned(),
        format: "tsv".to_owned(),
        content: "lift\tAufzug\n".to_owned(),
        ..SetGlossaryRequest::default()
    };
    let answer = set.call(&request, PATIENCE).unwrap();
    assert!(answer.success && answer.entries == 1, "{answer:?}");
    let bad = SetGlossaryRequest { content: "a\tb\nlift\n".to_owned(), ..request };
    let answer = set.call(&bad, PATIENCE).unwrap();
    assert_eq!(answer.problems, ["line 2: 1 columns, expected 2"]);
    let listed = list.call(&ListGlossariesRequest::default(), PATIENCE).unwrap();
    assert_eq!((listed.names, listed.entries), (vec!["hotel".to_owned()], vec![1]));
    // It works: the scripted engine echoes, so the term is sent and missed.
    let service = stage.client::<Translate>("translate");
    let request = TranslateRequest {
        texts: vec!["the lift".to_owned()],
        glossary: "hotel".to_owned(),
        ..TranslateRequest::default()
    };
    let response = service.call(&request, PATIENCE).unwrap();
    assert_eq!(response.results[0].glossary_missed, ["lift=Aufzug"], "{response:?}");
}

#[test]
fn watched_glossary_files_are_read_again_and_a_mistake_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("hotel.tsv");
    std::fs::write(&path, "lift\tAufzug\n").unwrap();
    let parameters = [
        ("diagnostic_updater.period", ParamValue::Double(0.2)),
        ("glossary.files", ParamValue::StringArray(vec![path.to_str().unwrap().to_owned()])),
        ("glossary.watch", ParamValue::Bool(true)),
    ];
    let stage = Stage::new(29, &parameters, Arc::new(load));
    stage.translator.bring_up().unwrap();
    let (_ear, diagnostics) = stage.hear::<DiagnosticArray>("/diagnostics", &QosProfile::DEFAULT);
    let told = || {
        let array = diagnostics.recv_timeout(PATIENCE).unwrap().0;
        array.status.into_iter().find(|s| s.name == "translator: Glossary").unwrap().message
    };
    let list = stage.client::<ListGlossaries>("list_glossaries");
    let entries = || list.call(&ListGlossariesRequest::default(), PATIENCE).unwrap().entries;
    assert_eq!(entries(), [1]);
    wait_until("the first look", || told() == "1 entries in 1 glossaries");
    std::fs::write(&path, "lift\tAufzug\ndesk\tTresen\n").unwrap();
    wait_until("two entries", || told() == "2 entries in 1 glossaries");
    assert_eq!(entries(), [2]);
    std::fs::write(&path, "lift\tAufzug\ndesk\n").unwrap();
    wait_until("the mistake", || told().ends_with("hotel.tsv' line 2: 1 columns, expected 2"));
    assert_eq!(entries(), [2], "the old one stays");
    std::fs::write(&path, "lift\tAufzug\n").unwrap();
    wait_until("it is well again", || told() == "1 entries in 1 glossaries");
}
