//! Our services against Fast DDS (Debian `libfastrtps-dev`), the DDS under `rmw_fastrtps`.
//!
//! The client, `tests/peers/enhanced_client.cpp`, is compiled here. Without the library these
//! tests say so loudly and pass; with `HYMT_REQUIRE_PEERS=1`, as in CI, that is a failure.
#![cfg(feature = "dds")]
#![allow(clippy::unwrap_used, reason = "a failed step is a failed test")]

#[path = "peers/support.rs"]
mod support;

use hymt_ros::ros::{
    RespondError,
    dds::ENHANCED_REPLY_BYTES_MAX,
    wire::{
        Translate, TranslateResponse, Translation, Trigger,
        common::TriggerResponse,
        rcl::{
            GetParameters, GetParametersResponse, ParameterType, ParameterValue, SetParameters,
            SetParametersResponse, SetParametersResult,
        },
    },
};
use support::{Peer, context, domain, enhanced_client};

#[test]
fn a_service_answers_in_the_enhanced_style() {
    let Some(client) = enhanced_client() else { return };
    let domain = domain(20);
    let context = context(domain);
    let node = context.create_node("server", "/").unwrap();
    let mut count = 0;
    let _server = node
        .service::<Trigger>("/server/reset", move |_, responder| {
            count += 1;
            // From another thread, as the node does.
            let response = TriggerResponse { success: true, message: format!("回 {count}") };
            std::thread::spawn(move || responder.respond(&response).unwrap());
        })
        .unwrap();
    let mut peer =
        Peer::spawn(client.call(domain, "/server/reset", "std_srvs/srv/Trigger", &["x"; 100]));
    for number in 1..=100 {
        let line = peer.next_line();
        assert_eq!(line["response"]["message"], format!("回 {number}"), "{line}");
    }
    peer.finish();
}

#[test]
fn texts_and_results_travel() {
    let Some(client) = enhanced_client() else { return };
    let domain = domain(21);
    let context = context(domain);
    let node = context.create_node("server", "/").unwrap();
    let _server = node
        .service::<Translate>("/server/translate", |request, responder| {
            let message = format!("{} {}", request.texts.join("+"), request.priority);
            let results = vec![Translation::default(); request.texts.len()];
            let response = TranslateResponse { success: true, code: 3, message, results };
            responder.respond(&response).unwrap();
        })
        .unwrap();
    let call = client.call(domain, "/server/translate", "hymt_ros/srv/Translate", &["où", "厨房"]);
    let response = &Peer::spawn(call).last_line()["response"];
    assert_eq!(response["message"], "où+厨房 128", "{response}");
    assert_eq!(
        (response["code"].as_u64(), response["results"].as_array().map(Vec::len)),
        (Some(3), Some(2))
    );
}

#[test]
fn the_largest_reply_arrives_and_a_larger_one_is_refused() {
    let Some(client) = enhanced_client() else { return };
    let domain = domain(22);
    let context = context(domain);
    let node = context.create_node("server", "/").unwrap();
    // A Trigger reply is one octet, padding, a length, the text and its end: nine with the text.
    let mut lengths = [ENHANCED_REPLY_BYTES_MAX - 9, ENHANCED_REPLY_BYTES_MAX - 8].into_iter();
    let _server = node
        .service::<Trigger>("/server/big", move |_, responder| {
            let message = "x".repeat(lengths.next().unwrap());
            match responder.respond(&TriggerResponse { success: true, message }) {
                Ok(()) => {}
                Err(RespondError::TooLarge { responder, bytes, limit }) => {
                    let message = format!("{bytes} of {limit}");
                    responder.respond(&TriggerResponse { success: false, message }).unwrap();
                }
                Err(error) => panic!("{error}"),
            }
        })
        .unwrap();
    let call = client.call(domain, "/server/big", "std_srvs/srv/Trigger", &["x", "x"]);
    let mut peer = Peer::spawn(call);
    let first = peer.next_line();
    let octets = first["response"]["message_octets"].as_u64().unwrap();
    assert_eq!(octets, ENHANCED_REPLY_BYTES_MAX as u64 - 9, "{first}");
    let second = peer.next_line();
    assert_eq!(second["response"]["message"], "60001 of 60000", "{second}");
    peer.finish();
}

#[test]
fn parameters_are_read_and_refused() {
    let Some(client) = enhanced_client() else { return };
    let domain = domain(23);
    let context = context(domain);
    let node = context.create_node("server", "/").unwrap();
    let _get = node
        .service::<GetParameters>("/server/get_parameters", |request, responder| {
            let values = request
                .names
                .iter()
                .map(|name| ParameterValue {
                    r#type: ParameterType::PARAMETER_STRING,
                    string_value: format!("<{name}>"),
                    ..Default::default()
                })
                .collect();
            responder.respond(&GetParametersResponse { values }).unwrap();
        })
        .unwrap();
    let _set = node
        .service::<SetParameters>("/server/set_parameters", |request, responder| {
            let reason = request.parameters[0].value.string_value.clone();
            let results = vec![SetParametersResult { successful: false, reason }];
            responder.respond(&SetParametersResponse { results }).unwrap();
        })
        .unwrap();
    let kind = "rcl_interfaces/srv/GetParameters";
    let call = client.call(domain, "/server/get_parameters", kind, &["engine", "model.path"]);
    let response = &Peer::spawn(call).last_line()["response"];
    assert_eq!((response["count"].as_u64(), &response["string"]), (Some(2), &"<engine>".into()));

    let kind = "rcl_interfaces/srv/SetParameters";
    let call = client.call(domain, "/server/set_parameters", kind, &["engine", "gpu"]);
    let response = &Peer::spawn(call).last_line()["response"];
    assert_eq!((&response["successful"], &response["reason"]), (&false.into(), &"gpu".into()));
}
