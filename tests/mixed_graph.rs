//! One graph, two middlewares: the `r2r` and the `dds` adapter must not notice that the other is
//! different.
#![cfg(all(feature = "dds", feature = "r2r"))]
#![allow(clippy::unwrap_used, reason = "a failed step is a failed test")]

#[path = "loopback/support.rs"]
mod support;

use hymt_ros::ros::{
    Context, Middleware, QosProfile,
    wire::{
        StringMsg, Translate, TranslateRequest, TranslateResponse, Trigger,
        common::{TriggerRequest, TriggerResponse},
    },
};
use support::{PATIENCE, channel, context_of, wait_until};

/// Both directions: who talks or serves, and who listens or calls.
const DIRECTIONS: [(Middleware, Middleware); 2] =
    [(Middleware::R2r, Middleware::Dds), (Middleware::Dds, Middleware::R2r)];

fn pair(test: u16, (here, there): (Middleware, Middleware)) -> (Context, Context) {
    (context_of(here, test), context_of(there, test))
}

#[test]
fn messages_pass_in_both_directions() {
    for (test, direction) in (40..).zip(DIRECTIONS) {
        let (here, there) = pair(test, direction);
        let talker = here.create_node("talker", "/").unwrap();
        let listener = there.create_node("listener", "/ns").unwrap();
        let (sender, receiver) = channel();
        let subscription = listener
            .subscription::<StringMsg>("/chatter", &QosProfile::DEFAULT, move |message, info| {
                sender.send((message.data, info)).unwrap();
            })
            .unwrap();
        let publisher = talker.publisher::<StringMsg>("/chatter", &QosProfile::DEFAULT).unwrap();
        wait_until("match", || publisher.matched() == 1 && subscription.matched() == 1);
        for number in 0..500 {
            let data = format!("你好 {number}");
            publisher.publish(&StringMsg { data: data.clone() }).unwrap();
            let (heard, info) = receiver.recv_timeout(PATIENCE).unwrap();
            assert_eq!(heard, data, "{direction:?}");
            assert!(!info.source.is_unknown() && info.source_time.is_some(), "{direction:?}");
        }
        let stats = subscription.stats();
        assert_eq!((stats.received, stats.malformed, stats.missed), (500, 0, 0), "{direction:?}");
    }
}

#[test]
fn a_late_joiner_hears_the_latched_message_of_the_other() {
    for (test, direction) in (42..).zip(DIRECTIONS) {
        let (here, there) = pair(test, direction);
        let talker = here.create_node("talker", "/").unwrap();
        let publisher = talker.publisher::<StringMsg>("/status", &QosProfile::LATCHED).unwrap();
        publisher.publish(&"early".into()).unwrap();
        publisher.publish(&"latest".into()).unwrap();
        let listener = there.create_node("listener", "/").unwrap();
        let (_subscription, queue) =
            listener.subscription_queue::<StringMsg>("/status", &QosProfile::LATCHED, 8).unwrap();
        while queue.recv_timeout(PATIENCE).unwrap().0.data != "latest" {}
    }
}

#[test]
fn services_answer_in_both_directions() {
    for (test, direction) in (44..).zip(DIRECTIONS) {
        let (here, there) = pair(test, direction);
        let server_node = here.create_node("server", "/").unwrap();
        let _echo = server_node
            .service::<Translate>("/server/translate", |request, responder| {
                let message = request.texts.join("|");
                let response = TranslateResponse { success: true, message, ..Default::default() };
                responder.respond(&response).unwrap();
            })
            .unwrap();
        let _reset = server_node
            .service::<Trigger>("/server/reset", |_, responder| {
                responder.respond(&TriggerResponse { success: true, message: "é".into() }).unwrap();
            })
            .unwrap();
        let client_node = there.create_node("client", "/").unwrap();
        let echo = client_node.client::<Translate>("/server/translate").unwrap();
        let reset = client_node.client::<Trigger>("/server/reset").unwrap();
        assert!(echo.wait_for_service(PATIENCE) && reset.wait_for_service(PATIENCE));
        for number in 0..50 {
            let texts = vec![format!("où {number}"), "机器人".to_owned()];
            let request = TranslateRequest { texts: texts.clone(), ..Default::default() };
            let answer = echo.call(&request, PATIENCE).unwrap();
            assert_eq!(answer.message, texts.join("|"), "{direction:?}");
        }
        assert_eq!(reset.call(&TriggerRequest::default(), PATIENCE).unwrap().message, "é");
    }
}

#[test]
fn each_sees_the_nodes_topics_types_and_services_of_the_other() {
    for (test, direction) in (46..).zip(DIRECTIONS) {
        let (here, there) = pair(test, direction);
        let node = here.create_node("server", "/robot").unwrap();
        let _server = node.service::<Trigger>("/robot/server/reset", |_, _| {}).unwrap();
        let _publisher = node.publisher::<StringMsg>("/robot/text", &QosProfile::LATCHED).unwrap();
        let graph = there.graph();
        wait_until("node", || {
            graph.nodes().iter().any(|node| node.fully_qualified() == "/robot/server")
        });
        wait_until("endpoint", || {
            graph.publishers("/robot/text").iter().any(|endpoint| {
                endpoint.ros_type == "std_msgs/msg/String"
                    && endpoint.node.as_ref().is_some_and(|node| node.name == "server")
                    && endpoint.mismatch_with(&QosProfile::LATCHED).is_none()
            })
        });
        wait_until("topic", || {
            graph
                .topics()
                .iter()
                .any(|topic| topic.name == "/robot/text" && topic.n_publishers == 1)
        });
        let service = ("/robot/server/reset".to_owned(), "std_srvs/srv/Trigger".to_owned());
        wait_until("service", || graph.services().contains(&service));
        drop(here);
        wait_until("farewell", || graph.nodes().is_empty());
    }
}
