//! What every middleware must do, between two contexts of our own on loopback.
//!
//! Each test crate that mounts this file names its `MIDDLEWARE` and mounts `support.rs`.

use std::time::{Duration, Instant};

use hymt_ros::ros::{
    CallError, Context, LogLevel, Responder,
    qos::QosProfile,
    wire::{
        StringMsg, Translate, TranslateRequest, TranslateResponse, Trigger, common::TriggerRequest,
        rcl::Log,
    },
};

use crate::{
    MIDDLEWARE,
    support::{PATIENCE, channel, context_of, wait_until},
};

/// A context in the domain of a test.
pub(crate) fn context(test: u16) -> Context {
    context_of(MIDDLEWARE, test)
}

#[test]
fn a_thousand_messages_arrive_in_order_and_name_their_source() {
    let (here, there) = (context(0), context(0));
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

    for number in 0..1000 {
        publisher.publish(&StringMsg { data: format!("你好 {number}") }).unwrap();
        if number % 100 < 99 {
            continue;
        }
        // No reader promises to hold any burst; this one is as large as we promise.
        assert!(publisher.wait_for_acknowledgments(PATIENCE));
        for number in number - 99..=number {
            let (data, info) = receiver.recv_timeout(PATIENCE).unwrap();
            assert_eq!(data, format!("你好 {number}"));
            assert_eq!(info.source, publisher.gid());
            let age = info.reception_time.duration_since(info.source_time.unwrap()).unwrap();
            assert!(age < PATIENCE, "{age:?}");
        }
    }
    assert_eq!((publisher.stats().sent, publisher.stats().dropped), (1000, 0));
    let stats = subscription.stats();
    assert_eq!((stats.received, stats.missed, stats.malformed), (1000, 0, 0));
}

#[test]
fn a_late_joiner_hears_the_latched_message() {
    let (here, there) = (context(1), context(1));
    let talker = here.create_node("talker", "/").unwrap();
    let publisher = talker.publisher::<StringMsg>("/status", &QosProfile::LATCHED).unwrap();
    publisher.publish(&"early".into()).unwrap();
    publisher.publish(&"latest".into()).unwrap();

    let listener = there.create_node("listener", "/").unwrap();
    let (_subscription, queue) =
        listener.subscription_queue::<StringMsg>("/status", &QosProfile::LATCHED, 8).unwrap();
    let start = Instant::now();
    while queue.recv_timeout(PATIENCE).unwrap().0.data != "latest" {
        assert!(start.elapsed() < PATIENCE);
    }
}

#[test]
fn a_full_queue_drops_and_counts() {
    let (here, there) = (context(2), context(2));
    let (node, listener) =
        (here.create_node("talker", "/").unwrap(), there.create_node("listener", "/").unwrap());
    let (subscription, queue) =
        listener.subscription_queue::<StringMsg>("/chatter", &QosProfile::DEFAULT, 3).unwrap();
    let publisher = node.publisher::<StringMsg>("/chatter", &QosProfile::DEFAULT).unwrap();
    wait_until("match", || publisher.matched() == 1 && subscription.matched() == 1);
    for _ in 0..10 {
        publisher.publish(&"x".into()).unwrap();
    }
    wait_until("all seen", || subscription.stats().received == 10);
    assert_eq!(subscription.stats().dropped, 7);
    assert_eq!(queue.len(), 3);
}

#[test]
fn a_callback_that_panics_is_counted_and_called_again() {
    let (here, there) = (context(3), context(3));
    let (node, listener) =
        (here.create_node("talker", "/").unwrap(), there.create_node("listener", "/").unwrap());
    let (sender, receiver) = channel();
    let subscription = listener
        .subscription::<StringMsg>("/chatter", &QosProfile::DEFAULT, move |message, _| {
            assert_ne!(message.data, "bad", "as the test wants");
            sender.send(message.data).unwrap();
        })
        .unwrap();
    let publisher = node.publisher::<StringMsg>("/chatter", &QosProfile::DEFAULT).unwrap();
    wait_until("match", || publisher.matched() == 1 && subscription.matched() == 1);
    publisher.publish(&"bad".into()).unwrap();
    publisher.publish(&"good".into()).unwrap();
    assert_eq!(receiver.recv_timeout(PATIENCE).unwrap(), "good");
    assert_eq!(subscription.stats().panicked, 1);
}

#[test]
fn a_service_answers_from_another_thread() {
    let (here, there) = (context(4), context(4));
    let server_node = here.create_node("server", "/").unwrap();
    let (requests, inbox) = channel::<(TranslateRequest, Responder<TranslateResponse>)>();
    let _server = server_node
        .service::<Translate>("/server/translate", move |request, responder| {
            requests.send((request, responder)).unwrap();
        })
        .unwrap();
    let worker = std::thread::spawn(move || {
        for (request, responder) in inbox.iter().take(20) {
            let message = format!("{}?", request.texts[0]);
            let response = TranslateResponse { success: true, message, ..Default::default() };
            responder.respond(&response).unwrap();
        }
    });
    let client =
        there.create_node("client", "/").unwrap().client::<Translate>("/server/translate").unwrap();
    assert!(client.wait_for_service(PATIENCE));
    for number in 0..20 {
        let text = format!("où {number}");
        let request = TranslateRequest { texts: vec![text.clone()], ..Default::default() };
        assert_eq!(client.call(&request, PATIENCE).unwrap().message, format!("{text}?"));
    }
    worker.join().unwrap();
}

#[test]
fn a_call_ends_with_its_timeout() {
    let context = context(6);
    let node = context.create_node("client", "/").unwrap();
    let client = node.client::<Trigger>("/nobody").unwrap();
    assert!(!client.wait_for_service(Duration::from_millis(20)));
    let error = client.call(&TriggerRequest::default(), Duration::from_millis(20)).unwrap_err();
    assert!(matches!(error, CallError::Timeout { .. }), "{error}");
}

#[test]
fn the_graph_shows_nodes_topics_and_services_and_forgets_who_left() {
    let (here, there) = (context(7), context(7));
    let node = here.create_node("server", "/robot").unwrap();
    let _server = node.service::<Trigger>("/robot/server/reset", |_, _| {}).unwrap();
    let _publisher = node.publisher::<StringMsg>("/robot/text", &QosProfile::DEFAULT).unwrap();
    let graph = there.graph();
    let sees_node =
        || graph.nodes().iter().any(|node| node.name == "server" && node.namespace == "/robot");
    wait_until("node", sees_node);
    wait_until("topic", || {
        graph.topics().iter().any(|topic| {
            topic.name == "/robot/text"
                && topic.ros_type == "std_msgs/msg/String"
                && topic.n_publishers == 1
        })
    });
    wait_until("endpoint with its node", || {
        graph.publishers("/robot/text").iter().any(|endpoint| {
            endpoint.node.as_ref().is_some_and(|node| node.fully_qualified() == "/robot/server")
                && endpoint.mismatch_with(&QosProfile::DEFAULT).is_none()
                && endpoint.mismatch_with(&QosProfile::LATCHED).is_some()
        })
    });
    let service = ("/robot/server/reset".to_owned(), "std_srvs/srv/Trigger".to_owned());
    wait_until("service", || graph.services().contains(&service));

    drop(here);
    wait_until("farewell", || graph.nodes().is_empty() && graph.topics().is_empty());
}

#[test]
fn rosout_reaches_a_late_console() {
    let (here, there) = (context(8), context(8));
    let node = here.create_node("speaker", "/robot").unwrap();
    node.rosout(LogLevel::Warn, "no model", "a.rs", "start", 7);
    let console = there.create_node("console", "/").unwrap();
    let (_subscription, queue) =
        console.subscription_queue::<Log>("/rosout", &QosProfile::ROSOUT, 16).unwrap();
    let line = queue.recv_timeout(PATIENCE).unwrap().0;
    assert_eq!(line.name, "robot.speaker");
    assert_eq!((line.level, line.msg.as_str(), line.line), (Log::WARN, "no model", 7));
}

#[test]
fn after_shutdown_nothing_is_made_and_nothing_hangs() {
    let context = context(9);
    let node = context.create_node("node", "/").unwrap();
    let publisher = node.publisher::<StringMsg>("/chatter", &QosProfile::DEFAULT).unwrap();
    context.shutdown();
    let error = node.publisher::<StringMsg>("/other", &QosProfile::DEFAULT).err().unwrap();
    assert!(error.to_string().contains("shut down"), "{error}");
    // Into the void, but without harm.
    let _ = publisher.publish(&"late".into());
    drop(node);
    context.shutdown();
}
