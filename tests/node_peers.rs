//! The node's executable against peers that others wrote: Cyclone DDS and Fast DDS.
//!
//! Without the peers these tests say so loudly and pass; with `HYMT_REQUIRE_PEERS=1`, as in CI,
//! that is a failure.
#![cfg(any(feature = "dds", feature = "r2r"))]
#![allow(clippy::unwrap_used, reason = "a failed step is a failed test")]

#[path = "peers/node_process.rs"]
mod node_process;
#[path = "peers/support.rs"]
mod support;

use std::{path::Path, time::Duration};

use node_process::NodeProcess;
use serde_json::{Value, json};
use support::{Peer, enhanced_client, peer_python};

const TRANSLATE: &str = "call --service /translator/translate --type hymt_ros/srv/Translate";
const REJECTED: u64 = 3;

/// A domain for each test, apart from those of the tests of the library.
fn domain(test: u32) -> u16 {
    (110 + (std::process::id() * 13 + test) % 91) as u16
}

/// Calls a service of the node once and gives the response.
fn call(python: &Path, domain: u16, name: &str, kind: &str, request: &Value) -> Value {
    let command = format!("call --service /translator/{name} --type {kind}");
    Peer::start_with(python, domain, &command, &[&request.to_string()]).last_line()["response"]
        .take()
}

fn rcl(python: &Path, domain: u16, name: &str, kind: &str, request: &Value) -> Value {
    call(python, domain, name, &format!("rcl_interfaces/srv/{kind}"), request)
}

/// A parameter of `rcl_interfaces` that holds strings.
fn strings(name: &str, values: &[&str]) -> Value {
    json!({"name": name, "value": {"type": 9, "string_array_value": values}})
}

fn translations(peer: &mut Peer, count: usize) -> Vec<Value> {
    (0..count).map(|_| peer.next_line()["message"].take()).collect()
}

fn text<'a>(of: &'a Value, field: &str) -> &'a str {
    of[field].as_str().unwrap_or_default()
}

#[test]
fn the_demo_model_translates_for_cyclone() {
    let Some(python) = peer_python() else { return };
    let domain = domain(0);
    let mut node = NodeProcess::start(domain, &[]);
    let sentence = json!("Where is the charging station?").to_string();
    let mut peer = Peer::start_with(&python, domain, "utter", &[&sentence]);
    assert_eq!(peer.next_line()["matched"], true);
    let both = translations(&mut peer, 2);
    let of = |locale| both.iter().find(|message| message["target_locale"] == locale).unwrap();
    let german = of("de");
    assert_eq!(german["text"], "Wo ist die Ladestation?", "{german}");
    assert_eq!((&german["source_locale"], &german["status"]), (&json!("en"), &json!(0)));
    assert!(german["is_final"] == true && german["tokens_out"].as_u64() > Some(0), "{german}");
    assert!(german["header"]["stamp"]["sec"].as_i64() > Some(1_700_000_000), "{german}");
    assert_eq!(of("zh")["text"], "充电站在哪里？");
    // The same strings came on /translator/de/text and /translator/zh/text.
    let last = peer.last_line();
    assert_eq!(last["same_strings"], true, "{last}");
    println!("demo model: {last}");
    assert!(node.is_alive());
}

#[test]
fn a_thousand_texts_come_back_in_order() {
    let Some(python) = peer_python() else { return };
    let domain = domain(1);
    // Whose language is known, so that none is cut where it changes.
    let parameters = ["engine:=scripted", "limits.queue:=4096", "source_locale:=en"];
    let _node = NodeProcess::start(domain, &parameters);
    // As many at once as a default history of ten holds for two languages.
    let last = Peer::start(&python, domain, "utter --count 1000 --window 4").last_line();
    assert_eq!(last["heard"], json!({"de": 1000, "zh": 1000}), "{last}");
    assert_eq!(last["strings"], json!({"de": 1000, "zh": 1000}), "{last}");
    assert_eq!((&last["lost"], &last["unchanged"]), (&json!(0), &json!(2000)), "{last}");
    println!("1000 texts: {last}");

    // All at once: the queue and the histories of both sides hold them.
    let command = "--depth 1000 utter --count 1000 --window 1000";
    let last = Peer::start(&python, domain, command).last_line();
    assert_eq!(last["heard"], json!({"de": 1000, "zh": 1000}), "{last}");
    println!("1000 texts at once: {last}");
}

#[test]
fn texts_of_64_kib_come_back_or_are_refused_with_a_reason() {
    let Some(python) = peer_python() else { return };
    let domain = domain(2);
    let source = "source_locale:=zh";
    let node =
        NodeProcess::start(domain, &["engine:=scripted", "limits.max_input_chars:=100000", source]);
    // Into German in many parts; from Chinese into Chinese as it is.
    let command = "utter --count 50 --window 2 --size 65536";
    let last = Peer::start(&python, domain, command).last_line();
    assert_eq!(last["heard"], json!({"de": 50, "zh": 50}), "{last}");
    assert_eq!(last["strings"], json!({"de": 50, "zh": 50}), "{last}");
    assert!(last["octets"].as_u64() > Some(65_000), "{last}");
    assert_eq!(last["statuses"], json!([0, 1]), "{last}");
    println!("50 texts of 64 KiB: {last}");
    drop(node);

    let domain = self::domain(27);
    let node = NodeProcess::start(domain, &["engine:=scripted", source]);
    let command = "utter --count 5 --window 2 --size 65536";
    let last = Peer::start(&python, domain, command).last_line();
    assert_eq!(last["heard"], json!({"de": 5, "zh": 5}), "{last}");
    assert_eq!(last["strings"], json!({"de": 0, "zh": 0}), "{last}");
    assert!(last["details"].to_string().contains("4000"), "{last}");
    drop(node);
}

#[cfg_attr(feature = "r2r", ignore = "an rmw answers services in its own style only")]
#[test]
fn translate_answers_both_service_styles() {
    let Some(python) = peer_python() else { return };
    let domain = domain(3);
    let mut node = NodeProcess::start(domain, &[]);
    let good = json!({"texts": ["Where is the charging station?", "Wo ist die Ladestation?"],
        "target_locales": ["de", "fr"]});
    let bad = [
        (json!({"texts": ["hello"], "target_locales": ["chinees"]}), 2, "chinees"),
        (json!({"texts": ["hello"], "source_locale": "xx-nowhere"}), 2, "xx-nowhere"),
        (json!({"texts": []}), 1, "texts has 0 entries"),
        (json!({"texts": ["hello", "  "]}), 1, "texts[1]: text is empty"),
        (json!({"texts": ["a\u{7}b"]}), 1, "U+0007"),
        (json!({"texts": ["hello"], "formality": 9}), 1, "formality 9"),
        (json!({"texts": ["hello"], "timeout_s": -1.0}), 1, "-1"),
        (json!({"texts": ["x".repeat(1_000_000)]}), 1, "1000000 characters"),
    ];
    let requests: Vec<_> = std::iter::once(&good)
        .chain(bad.iter().map(|(request, ..)| request))
        .chain([&good])
        .map(Value::to_string)
        .collect();
    // One argument of a process holds 128 KiB, so the large ones are built by the peer.
    let requests: Vec<_> = requests
        .iter()
        .map(|request| request.replace(&"x".repeat(1_000_000), "repeat:x:1000000"))
        .collect();
    let requests: Vec<_> = requests.iter().map(String::as_str).collect();
    let mut peer = Peer::start_with(&python, domain, TRANSLATE, &requests);
    let check_good = |line: &Value| {
        let response = &line["response"];
        assert_eq!((&response["success"], &response["code"]), (&json!(true), &json!(0)), "{line}");
        let texts: Vec<_> =
            (0..4).map(|number| text(&response["results"][number], "text")).collect();
        assert_eq!(texts[0], "Wo ist die Ladestation?", "{line}");
        assert_eq!(texts[2], "Wo ist die Ladestation?", "passed through: {line}");
        assert_eq!(response["results"][2]["status"], 1, "{line}");
        assert!(texts[1].contains("station de") && texts[3] == texts[1], "{line}");
    };
    check_good(&peer.next_line());
    for (request, code, reason) in bad {
        let line = peer.next_line();
        let response = &line["response"];
        assert_eq!(response["code"], code, "{reason}: {response}");
        assert!(text(response, "message").contains(reason), "{reason}: {response}");
        assert_eq!(response["success"], false, "{request}");
        println!("refused, {} ms: {}", line["after_ms"], response["message"]);
    }
    check_good(&peer.next_line());
    peer.finish();

    let Some(client) = enhanced_client() else { return };
    let words = ["Where is the charging station?", "to=de", "to=zh"];
    let call = client.call(domain, "/translator/translate", "hymt_ros/srv/Translate", &words);
    let line = Peer::spawn(call).last_line();
    let results = &line["response"]["results"];
    assert_eq!(results[0]["text"], "Wo ist die Ladestation?", "{line}");
    assert_eq!(results[1]["text"], "充电站在哪里？", "{line}");
    println!("Fast DDS, {} ms", line["after_ms"]);
    let words = ["hello", "to=germn"];
    let call = client.call(domain, "/translator/translate", "hymt_ros/srv/Translate", &words);
    let line = Peer::spawn(call).last_line();
    assert_eq!(line["response"]["code"], 2, "{line}");
    assert!(text(&line["response"], "message").contains("germn"), "{line}");
    assert!(node.is_alive());
}

#[test]
fn parameters_are_listed_described_and_set_by_cyclone() {
    let Some(python) = peer_python() else { return };
    let domain = domain(4);
    let _node = NodeProcess::start(domain, &["engine:=scripted"]);
    let ask = |name: &str, kind: &str, request: Value| rcl(&python, domain, name, kind, &request);

    let listed = ask("list_parameters", "ListParameters", json!({"prefixes": ["limits"]}));
    let names = listed["result"]["names"].to_string();
    assert!(names.contains("limits.queue") && !names.contains("engine"), "{listed}");
    let names = json!({"names": ["target_locales", "limits.queue", "nonsense"]});
    let described = ask("describe_parameters", "DescribeParameters", names.clone());
    let [targets, queue, nonsense] = [0, 1, 2].map(|at| &described["descriptors"][at]);
    for known in [targets, queue] {
        assert!(text(known, "description").len() > 20, "{known}");
        assert!(!text(known, "additional_constraints").is_empty(), "{known}");
    }
    // A manager may change it while the node is unconfigured, so it is not read-only to ROS.
    assert_eq!((&targets["read_only"], &queue["read_only"]), (&json!(false), &json!(false)));
    assert!(text(queue, "additional_constraints").contains("fixed while configured"), "{queue}");
    assert_eq!(queue["integer_range"][0]["to_value"], 4096, "{queue}");
    assert_eq!(nonsense["type"], 0, "{nonsense}");
    let types = ask("get_parameter_types", "GetParameterTypes", names.clone());
    assert_eq!(types["types"], json!([9, 2, 0]));
    let got = ask("get_parameters", "GetParameters", names.clone());
    assert_eq!(got["values"][0]["string_array_value"], json!(["de", "zh"]));
    assert_eq!(got["values"][1]["integer_value"], 256);

    // Refused: the reason names the value and the nearest match, and nothing has changed.
    let refused = json!({"parameters": [
        strings("target_locales", &["de", "germn"]),
        strings("target_locale", &["de"]),
        {"name": "engine", "value": {"type": 4, "string_value": "cuda"}},
        {"name": "limits.deadline_ms", "value": {"type": 2, "integer_value": -5}},
        {"name": "source_locale", "value": {"type": 2, "integer_value": 5}},
    ]});
    let answer = ask("set_parameters", "SetParameters", refused);
    let expect = [
        ["germn", "did you mean 'de'"],
        ["target_locale'", "target_locales"],
        ["engine", "fixed"],
        ["-5", "60000"],
        ["source_locale", "integer"],
    ];
    for (number, words) in expect.iter().enumerate() {
        let result = &answer["results"][number];
        assert_eq!(result["successful"], false, "{answer}");
        let reason = text(result, "reason").to_lowercase();
        assert!(words.iter().all(|word| reason.contains(word)), "{words:?}: {reason}");
        println!("refused: {reason}");
    }
    let group = json!({"parameters": [
        strings("target_locales", &["fr"]), strings("detect.allowed", &["klingonn"])]});
    let answer = ask("set_parameters_atomically", "SetParametersAtomically", group);
    assert_eq!(answer["result"]["successful"], false, "{answer}");
    assert!(text(&answer["result"], "reason").contains("klingonn"), "{answer}");
    assert_eq!(ask("get_parameters", "GetParameters", names.clone()), got);

    // Accepted: there is an event, and new topics carry what is said next.
    let command = "listen --announce --topic /parameter_events \
        --type rcl_interfaces/msg/ParameterEvent";
    let mut events = Peer::start(&python, domain, command);
    assert_eq!(events.next_line()["matched"], true);
    let group = json!({"parameters": [strings("target_locales", &["fr", "zh-Hant"])]});
    let answer = ask("set_parameters_atomically", "SetParametersAtomically", group);
    assert_eq!(answer["result"]["successful"], true, "{answer}");
    let event = events.last_line();
    assert_eq!(event["message"]["changed_parameters"][0]["name"], "target_locales", "{event}");
    let last = Peer::start(&python, domain, "utter --count 20 --window 4 --locales fr,zh-Hant")
        .last_line();
    assert_eq!(last["heard"], json!({"fr": 20, "zh-Hant": 20}), "{last}");
}

#[cfg_attr(feature = "r2r", ignore = "an rmw answers services in its own style only")]
#[test]
fn parameters_are_listed_and_set_by_fast_dds() {
    let Some(client) = enhanced_client() else { return };
    let domain = domain(5);
    let _node = NodeProcess::start(domain, &["engine:=scripted"]);
    let ask = |name: &str, kind: &str, words: &[&str]| {
        let (service, kind) = (format!("/translator/{name}"), format!("rcl_interfaces/srv/{kind}"));
        Peer::spawn(client.call(domain, &service, &kind, words)).last_line()["response"].take()
    };
    let listed = ask("list_parameters", "ListParameters", &["all"]);
    assert!(listed["names"].to_string().contains("target_locales"), "{listed}");
    let refused = ask("set_parameters", "SetParameters", &["source_locale", "germn"]);
    assert_eq!(refused["successful"], false, "{refused}");
    let reason = text(&refused, "reason").to_lowercase();
    assert!(reason.contains("germn") && reason.contains("did you mean 'de'"), "{refused}");
    let set = ask("set_parameters", "SetParameters", &["source_locale", "de"]);
    assert_eq!(set["successful"], true, "{set}");
    let got = ask("get_parameters", "GetParameters", &["source_locale"]);
    assert_eq!(got["string"], "de", "{got}");
}

#[test]
fn the_node_outlives_a_killed_peer_and_greets_late_ones() {
    let Some(python) = peer_python() else { return };
    let domain = domain(6);
    let mut node = NodeProcess::start(domain, &["engine:=scripted"]);
    let mut first = Peer::start(&python, domain, "utter --count 1000000 --window 4");
    assert_eq!(first.next_line()["matched"], true);
    std::thread::sleep(Duration::from_millis(500));
    first.kill();
    assert!(node.is_alive());
    let last = Peer::start(&python, domain, "utter --count 200 --window 4").last_line();
    assert_eq!((&last["lost"], &last["in_order"]), (&json!(0), &json!(true)), "{last}");
    println!("after SIGKILL: {last}");

    // Someone who comes late still reads what the node said at its start.
    let command = "--durability transient_local listen --topic /rosout --count 100 \
        --type rcl_interfaces/msg/Log";
    let mut console = Peer::start(&python, domain, command);
    while console.next_line()["message"]["msg"] != "ready" {}
    assert!(node.is_alive());
}

#[test]
fn sigterm_ends_it_cleanly_and_the_peer_sees_it_leave() {
    let Some(python) = peer_python() else { return };
    let domain = domain(7);
    let node = NodeProcess::start(domain, &["engine:=scripted"]);
    // Readers: the text and seven requests. Writers: seven replies, two text topics, the
    // translation, the parameter events and rosout.
    let command = "graph --node /translator --readers 8 --writers 12";
    let graph = Peer::start(&python, domain, command).last_line();
    let participant = text(&graph, "participant").to_owned();
    let command = format!("farewell --participant {participant}");
    let mut peer = Peer::start(&python, domain, &command);
    assert_eq!(peer.next_line()["seen"], true);
    let asked = std::time::Instant::now();
    let (status, lines) = node.terminate();
    let ended = asked.elapsed();
    assert_eq!(status.code(), Some(0), "{lines:?}");
    assert!(ended < Duration::from_secs(3), "{ended:?}");
    assert_eq!(peer.next_line()["gone"], true);
    // A lease would take tens of seconds.
    assert!(asked.elapsed() < Duration::from_secs(4), "{:?}", asked.elapsed());
    println!("ended after {ended:?}, gone for the peer after {:?}", asked.elapsed());
    peer.finish();
}

#[test]
fn sigterm_ends_it_while_texts_are_coming() {
    let Some(python) = peer_python() else { return };
    let domain = domain(10);
    let node = NodeProcess::start(domain, &["engine:=scripted"]);
    let command = "--depth 1000 utter --count 1000000 --window 200";
    let mut peer = Peer::start(&python, domain, command);
    assert_eq!(peer.next_line()["matched"], true);
    std::thread::sleep(Duration::from_millis(500));
    let asked = std::time::Instant::now();
    let (status, lines) = node.terminate();
    assert_eq!(status.code(), Some(0), "{lines:?}");
    assert!(asked.elapsed() < Duration::from_secs(3), "{:?}", asked.elapsed());
    println!("ended under load after {:?}", asked.elapsed());
}

#[test]
fn bad_texts_are_refused_by_name_and_the_next_one_translated() {
    let Some(python) = peer_python() else { return };
    let domain = domain(8);
    let mut node = NodeProcess::start(domain, &[]);
    let good = json!("Where is the charging station?").to_string();
    let bad = [
        (json!(""), "text is empty"),
        (json!(" \n"), "text is empty"),
        (json!("Hello\u{0}world"), "U+0000 at character 5"),
        (json!("repeat:x:1000000"), "1000000 characters, the limit is 4000"),
    ];
    let bad_texts: Vec<_> = bad.iter().map(|(bad, _)| bad.to_string()).collect();
    let mut texts = vec![good.as_str()];
    for bad in &bad_texts {
        texts.extend([bad.as_str(), good.as_str()]);
    }
    let mut peer = Peer::start_with(&python, domain, "utter --window 1", &texts);
    assert_eq!(peer.next_line()["matched"], true);
    let check_good = |peer: &mut Peer| {
        for message in translations(peer, 2) {
            assert_eq!(message["status"], 0, "{message}");
        }
    };
    check_good(&mut peer);
    for (_, reason) in bad {
        for message in translations(&mut peer, 2) {
            assert_eq!(message["status"].as_u64(), Some(REJECTED), "{reason}");
            assert!(text(&message, "detail").contains(reason), "{reason}: {}", message["detail"]);
            println!("refused: {}", message["detail"]);
        }
        check_good(&mut peer);
    }
    peer.finish();
    assert!(node.is_alive());
}

#[test]
fn what_is_no_string_is_refused_by_name_and_the_next_one_translated() {
    let Some(python) = peer_python() else { return };
    let domain = domain(9);
    let mut node = NodeProcess::start(domain, &["engine:=scripted", "target_locales:=['fr']"]);
    let command = "listen --announce --topic /translator/translation --count 11 \
        --type hymt_ros/msg/Translation";
    let mut ear = Peer::start(&python, domain, command);
    assert_eq!(ear.next_line()["matched"], true);
    Peer::start(&python, domain, "garbage --topic /text").last_line();
    let (bad, good): (Vec<_>, Vec<_>) = translations(&mut ear, 11)
        .into_iter()
        .partition(|message| message["status"].as_u64() == Some(REJECTED));
    let texts: Vec<_> = good.iter().map(|message| text(message, "text")).collect();
    assert_eq!(texts, ["good 0", "good 1", "good 2", "good 3", "good 4", "good 5"]);
    for message in &bad {
        let detail = text(message, "detail");
        assert!(detail.contains("std_msgs/msg/String"), "{detail}");
        println!("refused: {detail}");
    }
    assert!(node.is_alive());
    assert!(node.lines().iter().any(|line| line.contains("malformed")), "{:?}", node.lines());
    ear.finish();
}
