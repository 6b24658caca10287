//! The behaviour of the `r2r` adapter: contexts of our own, joined by the sourced middleware.
#![cfg(feature = "r2r")]
#![allow(clippy::unwrap_used, reason = "a failed step is a failed test")]

#[path = "loopback/behaviour.rs"]
mod behaviour;
#[path = "loopback/support.rs"]
mod support;

use behaviour::context;
use hymt_ros::ros::{
    Middleware, QosProfile, RespondError, RosError,
    cdr::MESSAGE_BYTES_MAX,
    wire::{
        StringMsg, Trigger,
        common::{TriggerRequest, TriggerResponse},
    },
};
use support::{PATIENCE, channel, wait_until};

const MIDDLEWARE: Middleware = Middleware::R2r;

#[test]
fn what_we_say_ourselves_names_us_as_its_source() {
    let context = context(20);
    let node = context.create_node("both", "/").unwrap();
    let (sender, receiver) = channel();
    let _subscription = node
        .subscription::<StringMsg>("/chatter", &QosProfile::DEFAULT, move |_, info| {
            sender.send(info.source).unwrap();
        })
        .unwrap();
    let ours = node.publisher::<StringMsg>("/chatter", &QosProfile::DEFAULT).unwrap();
    let other = node.publisher::<StringMsg>("/chatter", &QosProfile::DEFAULT).unwrap();
    wait_until("match", || ours.matched() == 1 && other.matched() == 1);
    ours.publish(&"mine".into()).unwrap();
    assert_eq!(receiver.recv_timeout(PATIENCE).unwrap(), ours.gid());
    other.publish(&"not mine".into()).unwrap();
    assert_eq!(receiver.recv_timeout(PATIENCE).unwrap(), other.gid());
    assert_ne!(ours.gid(), other.gid());
}

#[test]
fn a_large_message_passes_and_one_above_the_limit_is_refused() {
    let (here, there) = (context(21), context(21));
    let (talker, listener) =
        (here.create_node("talker", "/").unwrap(), there.create_node("listener", "/").unwrap());
    let (subscription, queue) =
        listener.subscription_queue::<StringMsg>("/big", &QosProfile::DEFAULT, 4).unwrap();
    let publisher = talker.publisher::<StringMsg>("/big", &QosProfile::DEFAULT).unwrap();
    wait_until("match", || publisher.matched() == 1 && subscription.matched() == 1);
    let long = StringMsg { data: "x".repeat(MESSAGE_BYTES_MAX - 64) };
    publisher.publish(&long).unwrap();
    assert_eq!(queue.recv_timeout(PATIENCE).unwrap().0, long);
    let error = publisher.publish(&StringMsg { data: "x".repeat(MESSAGE_BYTES_MAX) }).unwrap_err();
    assert!(matches!(error, RosError::TooLarge { limit: MESSAGE_BYTES_MAX, .. }), "{error}");
}

#[test]
fn a_reply_that_does_not_fit_can_be_replaced() {
    let (here, there) = (context(22), context(22));
    let server_node = here.create_node("server", "/").unwrap();
    let _server = server_node
        .service::<Trigger>("/big", |_, responder| {
            let long = "x".repeat(MESSAGE_BYTES_MAX);
            let response = TriggerResponse { success: true, message: long };
            let Err(RespondError::TooLarge { responder, limit, .. }) = responder.respond(&response)
            else {
                return;
            };
            let message = format!("over {limit}");
            responder.respond(&TriggerResponse { success: false, message }).unwrap();
        })
        .unwrap();
    let client_node = there.create_node("client", "/").unwrap();
    let client = client_node.client::<Trigger>("/big").unwrap();
    assert!(client.wait_for_service(PATIENCE));
    let response = client.call(&TriggerRequest::default(), PATIENCE).unwrap();
    assert_eq!((response.success, response.message), (false, "over 4194304".to_owned()));
}

#[test]
fn a_bad_name_is_refused_and_the_context_goes_on() {
    let context = context(23);
    let error = context.create_node("not a name", "/").err().unwrap().to_string();
    assert!(error.contains("not a name") && error.contains("code 201"), "{error}");
    let node = context.create_node("named", "/").unwrap();
    let qos = QosProfile::DEFAULT;
    let error = node.publisher::<StringMsg>("relative", &qos).err().unwrap();
    assert!(matches!(error, RosError::NameNotQualified { .. }), "{error}");
    let error = node.publisher::<StringMsg>("/a//b", &qos).err().unwrap().to_string();
    assert!(error.contains("/a//b") && error.contains("rcl_publisher_init"), "{error}");
    let error = node.publisher::<StringMsg>("/zero\0octet", &qos).err().unwrap().to_string();
    assert!(error.contains("zero octet"), "{error}");
    node.publisher::<StringMsg>("/good", &qos).unwrap();
}

#[test]
fn an_interface_that_is_not_installed_is_named() {
    let context = context(24);
    let node = context.create_node("node", "/").unwrap();
    let error = node.publisher::<nowhere::Unknown>("/x", &QosProfile::DEFAULT).err().unwrap();
    assert!(matches!(error, RosError::NoInterface { .. }), "{error}");
    let text = error.to_string();
    assert!(text.contains("nowhere_msgs/msg/Unknown") && text.contains("install"), "{text}");
}

/// A message type that no package has.
mod nowhere {
    use hymt_ros::ros::wire::{ConstantDecl, FieldDecl, Message};
    use serde::{Deserialize, Serialize};

    #[derive(Debug, Clone, Serialize, Deserialize)]
    pub(super) struct Unknown {
        data: u8,
    }

    impl Message for Unknown {
        const ROS_TYPE: &'static str = "nowhere_msgs/msg/Unknown";

        fn fields() -> Vec<FieldDecl> {
            Vec::new()
        }

        fn constants() -> Vec<ConstantDecl> {
            Vec::new()
        }
    }
}

#[test]
fn endpoints_may_come_and_go_while_messages_flow() {
    let (here, there) = (context(25), context(25));
    let (talker, listener) =
        (here.create_node("talker", "/").unwrap(), there.create_node("listener", "/").unwrap());
    let publisher = talker.publisher::<StringMsg>("/flow", &QosProfile::DEFAULT).unwrap();
    for round in 0..20 {
        let (subscription, queue) =
            listener.subscription_queue::<StringMsg>("/flow", &QosProfile::DEFAULT, 64).unwrap();
        let server = listener.service::<Trigger>("/flow/reset", |_, _| {}).unwrap();
        wait_until("match", || publisher.matched() > 0 && subscription.matched() == 1);
        let text = format!("round {round}");
        publisher.publish(&StringMsg { data: text.clone() }).unwrap();
        // One of an earlier round, still matched when this was written, may be served too.
        while queue.recv_timeout(PATIENCE).unwrap().0.data != text {}
        drop((subscription, server));
        publisher.publish(&"nobody hears this".into()).unwrap();
    }
}

#[test]
fn a_callback_may_drop_its_own_subscription_and_shut_the_context_down() {
    let (here, there) = (context(26), std::sync::Arc::new(context(26)));
    let (talker, listener) =
        (here.create_node("talker", "/").unwrap(), there.create_node("listener", "/").unwrap());
    let (sender, receiver) = channel();
    let ending = std::sync::Arc::clone(&there);
    let _subscription = listener
        .subscription::<StringMsg>("/end", &QosProfile::DEFAULT, move |_, _| {
            ending.shutdown();
            sender.send(()).unwrap();
        })
        .unwrap();
    let publisher = talker.publisher::<StringMsg>("/end", &QosProfile::DEFAULT).unwrap();
    wait_until("match", || publisher.matched() == 1);
    publisher.publish(&"end".into()).unwrap();
    receiver.recv_timeout(PATIENCE).unwrap();
    let error = listener.publisher::<StringMsg>("/late", &QosProfile::DEFAULT).err().unwrap();
    assert!(matches!(error, RosError::Closed { .. }), "{error}");
}
