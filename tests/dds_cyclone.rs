//! Our DDS layer against Cyclone DDS (PyPI `cyclonedds`), the DDS under `rmw_cyclonedds`.
//!
//! The peers are in `tests/peers`. Without the package these tests say so loudly and pass; with
//! `HYMT_REQUIRE_PEERS=1`, as in CI, its absence is a failure. `HYMT_PEER_PYTHON` names the Python.
#![cfg(feature = "dds")]
#![allow(clippy::unwrap_used, reason = "a failed step is a failed test")]

#[path = "peers/support.rs"]
mod support;

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use hymt_ros::ros::{
    Context, ContextOptions, DiscoveryRange, Gid, LogLevel, Middleware, Node, Publisher,
    qos::QosProfile,
    wire::{
        Header, StringMsg, Time, Translate, TranslateResponse, Translation, Trigger,
        common::{TriggerRequest, TriggerResponse},
        rcl::{
            DescribeParameters, DescribeParametersResponse, FloatingPointRange, IntegerRange, Log,
            Parameter, ParameterDescriptor, ParameterEvent, ParameterValue, SetParameters,
            SetParametersResponse, SetParametersResult,
        },
    },
};
use support::{PATIENCE, Peer, context, domain, peer_python, wait_until};

/// Counters of the echo's ear.
type Stats = Box<dyn Fn() -> hymt_ros::ros::SubscriptionStats + Send>;

/// A node that says on `/echo` what it hears on `/text`.
struct Echo {
    context: Context,
    node: Node,
    stats: Stats,
    gid: Gid,
}

/// The participant of an endpoint, by the entity number that RTPS gives to every participant.
fn participant_gid(endpoint: Gid) -> Gid {
    let mut octets = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xc1];
    octets[..12].copy_from_slice(&endpoint.participant_prefix());
    Gid(octets)
}

fn echo(domain: u16) -> Echo {
    let context = context(domain);
    let node = context.create_node("echo", "/").unwrap();
    let publisher = node.publisher::<StringMsg>("/echo", &QosProfile::DEFAULT).unwrap();
    let gid = publisher.gid();
    let subscription = node
        .subscription::<StringMsg>("/text", &QosProfile::DEFAULT, move |message, _| {
            publisher.publish(&message).unwrap();
        })
        .unwrap();
    Echo { context, node, stats: Box::new(move || subscription.stats()), gid }
}

#[test]
fn a_thousand_texts_come_back_unchanged() {
    let Some(python) = peer_python() else { return };
    let domain = domain(0);
    let echo = echo(domain);
    let peer = Peer::start(&python, domain, "echo --say /text --hear /echo --count 1000");
    let last = peer.last_line();
    assert_eq!((last["heard"].as_u64(), last["lost"].as_u64()), (Some(1000), Some(0)), "{last}");
    assert_eq!(last["in_order"], true, "{last}");
    assert_eq!((echo.stats)().malformed, 0);
    println!("1000 texts: {last}");
}

#[test]
fn texts_of_64_kib_come_back_unchanged() {
    let Some(python) = peer_python() else { return };
    let domain = domain(1);
    let _echo = echo(domain);
    let command = "echo --say /text --hear /echo --count 200 --window 4 --size 65536";
    let last = Peer::start(&python, domain, command).last_line();
    assert_eq!((last["heard"].as_u64(), last["lost"].as_u64()), (Some(200), Some(0)), "{last}");
    assert!(last["octets"].as_u64().unwrap() > 65_000, "{last}");
    println!("200 texts of 64 KiB: {last}");
}

#[test]
fn a_late_joiner_hears_the_latched_text() {
    let Some(python) = peer_python() else { return };
    let domain = domain(2);
    let context = context(domain);
    let node = context.create_node("talker", "/").unwrap();
    let publisher = node.publisher::<StringMsg>("/status", &QosProfile::LATCHED).unwrap();
    publisher.publish(&"bereit 就绪".into()).unwrap();
    std::thread::sleep(Duration::from_millis(300));
    let command = "--durability transient_local --depth 1 listen --topic /status";
    let line = Peer::start(&python, domain, command).last_line();
    assert_eq!(line["message"]["data"], "bereit 就绪", "{line}");
    println!("late joiner: {line}");
}

#[test]
fn a_killed_peer_does_not_silence_the_node_for_the_next_one() {
    let Some(python) = peer_python() else { return };
    let domain = domain(3);
    let echo = echo(domain);
    let command = "echo --say /text --hear /echo --count 100000";
    let mut first = Peer::start(&python, domain, command);
    assert_eq!(first.next_line()["matched"], true);
    wait_until("the first peer talks", || (echo.stats)().received > 50);
    first.kill();

    let before = std::time::Instant::now();
    let command = "echo --say /text --hear /echo --count 500";
    let last = Peer::start(&python, domain, command).last_line();
    assert_eq!((last["heard"].as_u64(), last["lost"].as_u64()), (Some(500), Some(0)), "{last}");
    println!("after SIGKILL, {:?}: {last}", before.elapsed());
}

#[test]
fn malformed_strings_are_counted_and_the_good_ones_heard() {
    let Some(python) = peer_python() else { return };
    let domain = domain(4);
    let context = context(domain);
    let node = context.create_node("listener", "/").unwrap();
    let heard = Arc::new(Mutex::new(Vec::new()));
    let hear = Arc::clone(&heard);
    let subscription = node
        .subscription::<StringMsg>("/text", &QosProfile::DEFAULT, move |message, _| {
            hear.lock().unwrap().push(message.data);
        })
        .unwrap();
    Peer::start(&python, domain, "garbage --topic /text").last_line();
    wait_until("the last good text", || {
        heard.lock().unwrap().last().is_some_and(|text| text == "good 5")
    });
    let expect: Vec<_> = (0..6).map(|number| format!("good {number}")).collect();
    assert_eq!(*heard.lock().unwrap(), expect);
    assert_eq!(subscription.stats().malformed, 5);
}

#[test]
fn a_service_answers_in_the_style_of_cyclone() {
    let Some(python) = peer_python() else { return };
    let domain = domain(5);
    let context = context(domain);
    let node = context.create_node("server", "/").unwrap();
    let _server = node
        .service::<Translate>("/server/translate", |request, responder| {
            // From another thread, and more than an Enhanced reply may have.
            std::thread::spawn(move || {
                let results: Vec<_> = request
                    .texts
                    .iter()
                    .map(|text| Translation {
                        text: text.repeat(2),
                        utterance_id: u64::MAX,
                        source_locale_confidence: 0.5,
                        glossary_applied: request.inline_terms.clone(),
                        ..Default::default()
                    })
                    .collect();
                let message = format!("{} {}", request.priority, request.timeout_s);
                let response = TranslateResponse { success: true, code: 7, message, results };
                responder.respond(&response).unwrap();
            });
        })
        .unwrap();
    let long = "厨".repeat(30_000);
    let requests = [
        r#"{"texts": ["a", "厨房"], "priority": 9, "timeout_s": 1.5, "inline_terms": ["k=v"]}"#,
        &format!(r#"{{"texts": ["{long}"]}}"#),
    ];
    let mut peer = Peer::start_with(
        &python,
        domain,
        "call --service /server/translate --type hymt_ros/srv/Translate",
        &requests,
    );
    let first = peer.next_line();
    assert_eq!(first["response"]["message"], "9 1.5", "{first}");
    let result = &first["response"]["results"][1];
    assert_eq!(
        (&result["text"], &result["glossary_applied"][0]),
        (&"厨房厨房".into(), &"k=v".into())
    );
    assert_eq!(
        (result["utterance_id"].as_u64(), result["source_locale_confidence"].as_f64()),
        (Some(u64::MAX), Some(0.5))
    );
    let second = peer.next_line();
    assert_eq!(second["response"]["results"][0]["text"], long.repeat(2));
    peer.finish();
}

#[test]
fn parameters_have_the_layout_of_rcl_interfaces() {
    let Some(python) = peer_python() else { return };
    let domain = domain(6);
    let context = context(domain);
    let node = context.create_node("server", "/").unwrap();
    let _describe = node
        .service::<DescribeParameters>("/server/describe_parameters", |request, responder| {
            let descriptor = ParameterDescriptor {
                name: request.names[0].clone(),
                r#type: 3,
                description: "d".to_owned(),
                additional_constraints: "c".to_owned(),
                read_only: true,
                dynamic_typing: false,
                floating_point_range: vec![FloatingPointRange {
                    from_value: -1.5,
                    to_value: 2.5,
                    step: 0.25,
                }],
                integer_range: vec![IntegerRange {
                    from_value: -3,
                    to_value: i64::MAX,
                    step: u64::MAX,
                }],
            };
            responder
                .respond(&DescribeParametersResponse {
                    descriptors: vec![descriptor.clone(), descriptor],
                })
                .unwrap();
        })
        .unwrap();
    let _set = node
        .service::<SetParameters>("/server/set_parameters", |request, responder| {
            // The value goes back as text, so that every field of it is seen by the peer.
            let results = request
                .parameters
                .iter()
                .map(|parameter| SetParametersResult {
                    successful: false,
                    reason: serde_json::to_string(parameter).unwrap(),
                })
                .collect();
            responder.respond(&SetParametersResponse { results }).unwrap();
        })
        .unwrap();

    let described = Peer::start_with(
        &python,
        domain,
        "call --service /server/describe_parameters --type rcl_interfaces/srv/DescribeParameters",
        &[r#"{"names": ["limits.queue"]}"#],
    )
    .last_line();
    let descriptor = &described["response"]["descriptors"][1];
    assert_eq!(descriptor["name"], "limits.queue");
    assert_eq!(descriptor["read_only"], true);
    assert_eq!(descriptor["floating_point_range"][0]["step"], 0.25);
    assert_eq!(descriptor["integer_range"][0]["from_value"], -3);
    assert_eq!(descriptor["integer_range"][0]["step"].as_u64(), Some(u64::MAX));

    let value = serde_json::json!({
        "type": 9, "bool_value": true, "integer_value": -7, "double_value": 0.125,
        "string_value": "s", "byte_array_value": [1, 255], "bool_array_value": [true, false, true],
        "integer_array_value": [i64::MIN, 1], "double_array_value": [1.5],
        "string_array_value": ["de", "", "中文"],
    });
    let parameter = serde_json::json!({"name": "target_locales", "value": value});
    let request = serde_json::json!({"parameters": [parameter, parameter]}).to_string();
    let set = Peer::start_with(
        &python,
        domain,
        "call --service /server/set_parameters --type rcl_interfaces/srv/SetParameters",
        &[&request],
    )
    .last_line();
    let reason = set["response"]["results"][1]["reason"].as_str().unwrap();
    assert_eq!(serde_json::from_str::<serde_json::Value>(reason).unwrap(), parameter);
}

#[test]
fn structs_are_read_by_a_peer_that_knows_only_the_interface_files() {
    let Some(python) = peer_python() else { return };
    let domain = domain(7);
    let context = context(domain);
    let node = context.create_node("talker", "/robot").unwrap();
    let translation = Translation {
        header: Header { stamp: Time { sec: -1, nanosec: 999 }, frame_id: "mic".to_owned() },
        is_final: true,
        stable_chars: 3,
        from_cache: true,
        total_ms: 1.5,
        tokens_out: 4_000_000_000,
        ..Default::default()
    };
    let heard = latched(&node, &python, domain, "/translation", &translation);
    assert_eq!(heard, serde_json::to_value(&translation).unwrap());

    let parameter = Parameter {
        name: "n".to_owned(),
        value: ParameterValue { r#type: 2, integer_value: 5, ..Default::default() },
    };
    let event = ParameterEvent {
        node: "/robot/talker".to_owned(),
        changed_parameters: vec![parameter],
        ..Default::default()
    };
    let heard = latched(&node, &python, domain, "/events", &event);
    assert_eq!(heard, serde_json::to_value(&event).unwrap());

    node.rosout(LogLevel::Error, "kaputt", "f.rs", "g", 3);
    let command =
        "--durability transient_local listen --topic /rosout --type rcl_interfaces/msg/Log";
    let line = Peer::start(&python, domain, command).last_line();
    assert_eq!(line["message"]["name"], "robot.talker", "{line}");
    assert_eq!(line["message"]["level"], Log::ERROR, "{line}");
}

/// Publishes `message` for a late peer and gives what the peer read.
fn latched<M: hymt_ros::ros::wire::Message>(
    node: &Node,
    python: &std::path::Path,
    domain: u16,
    topic: &str,
    message: &M,
) -> serde_json::Value {
    let publisher: Publisher<M> = node.publisher(topic, &QosProfile::LATCHED).unwrap();
    publisher.publish(message).unwrap();
    let ros_type = M::ROS_TYPE;
    let command = format!("--durability transient_local listen --topic {topic} --type {ros_type}");
    Peer::start(python, domain, &command).last_line()["message"].take()
}

#[test]
fn the_graph_names_the_node_and_its_endpoints() {
    let Some(python) = peer_python() else { return };
    let domain = domain(8);
    let echo = echo(domain);
    let _server = echo
        .node
        .service::<Trigger>("/echo/reset", |_, responder| {
            responder.respond(&TriggerResponse::default()).unwrap();
        })
        .unwrap();
    // Writers: rosout, the echo, the reply. Readers: the text, the request.
    let command = "graph --node /echo --readers 2 --writers 3";
    let last = Peer::start(&python, domain, command).last_line();
    assert_eq!((last["readers"].as_u64(), last["writers"].as_u64()), (Some(2), Some(3)), "{last}");
}

#[test]
fn a_client_calls_a_server_in_the_style_of_cyclone() {
    let Some(python) = peer_python() else { return };
    let domain = domain(9);
    let peer = Peer::start(&python, domain, "serve --service /peer/reset --count 20");
    let context = context(domain);
    let node = context.create_node("client", "/").unwrap();
    let client = node.client::<Trigger>("/peer/reset").unwrap();
    assert!(client.wait_for_service(PATIENCE));
    for number in 1..=20 {
        let response = client.call(&TriggerRequest::default(), PATIENCE).unwrap();
        assert_eq!(response.message, format!("served {number}"));
    }
    peer.finish();
}

#[test]
fn dropping_the_context_says_goodbye() {
    let Some(python) = peer_python() else { return };
    let domain = domain(10);
    let echo = echo(domain);
    let gid = participant_gid(echo.gid);
    let mut peer = Peer::start(&python, domain, &format!("farewell --participant {gid}"));
    assert_eq!(peer.next_line()["seen"], true);
    let left = std::time::Instant::now();
    // The node and its endpoints stay: leaving must not depend on the order of dropping.
    drop(echo.context);
    assert_eq!(peer.next_line()["gone"], true);
    // A lease would take tens of seconds.
    assert!(left.elapsed() < Duration::from_secs(5), "{:?}", left.elapsed());
    println!("goodbye heard after {:?}", left.elapsed());
    drop(echo.node);
    peer.finish();
}

#[test]
fn off_is_found_by_nobody() {
    let Some(python) = peer_python() else { return };
    let domain = domain(11);
    let options = ContextOptions { domain_id: domain, discovery_range: DiscoveryRange::Off };
    let hidden = Context::new(Middleware::Dds, &options).unwrap();
    let node = hidden.create_node("hidden", "/").unwrap();
    let publisher = node.publisher::<StringMsg>("/status", &QosProfile::LATCHED).unwrap();
    let command = "--timeout 3 --durability transient_local listen --topic /status";
    let heard = Peer::start(&python, domain, command).succeeds();
    assert!(!heard, "a peer heard a context whose discovery is off");
    assert_eq!(publisher.matched(), 0);
}
