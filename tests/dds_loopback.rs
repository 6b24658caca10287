//! The behaviour of the `dds` adapter: two contexts of our own, joined only by DDS on loopback.
#![cfg(feature = "dds")]
#![allow(clippy::unwrap_used, reason = "a failed step is a failed test")]

#[path = "loopback/behaviour.rs"]
mod behaviour;
#[path = "loopback/support.rs"]
mod support;

use behaviour::context;
use hymt_ros::ros::{
    Middleware, QosProfile, RespondError,
    dds::ENHANCED_REPLY_BYTES_MAX,
    wire::{
        StringMsg, Trigger,
        common::{TriggerRequest, TriggerResponse},
    },
};
use support::{PATIENCE, wait_until};

const MIDDLEWARE: Middleware = Middleware::Dds;

#[test]
fn a_reply_that_does_not_fit_can_be_replaced() {
    let (here, there) = (context(5), context(5));
    let server_node = here.create_node("server", "/").unwrap();
    let _server = server_node
        .service::<Trigger>("/big", |_, responder| {
            let long = "x".repeat(ENHANCED_REPLY_BYTES_MAX);
            let response = TriggerResponse { success: true, message: long };
            let Err(RespondError::TooLarge { responder, bytes, limit }) =
                responder.respond(&response)
            else {
                return;
            };
            let message = format!("{bytes} over {limit}");
            responder.respond(&TriggerResponse { success: false, message }).unwrap();
        })
        .unwrap();
    let client_node = there.create_node("client", "/").unwrap();
    let client = client_node.client::<Trigger>("/big").unwrap();
    assert!(client.wait_for_service(PATIENCE));
    let response = client.call(&TriggerRequest::default(), PATIENCE).unwrap();
    assert!(!response.success);
    assert_eq!(response.message, "60009 over 60000");
}

/// A reader that joins late must not stop the writer for those who listen already.
#[test]
fn a_late_reader_does_not_hold_up_the_others() {
    const BEFORE: usize = 3000;
    const AFTER: usize = 300;
    let (here, there, late) = (context(20), context(20), context(20));
    let talker = here.create_node("talker", "/").unwrap();
    let publisher = talker.publisher::<StringMsg>("/chatter", &QosProfile::DEFAULT).unwrap();
    let listener = there.create_node("listener", "/").unwrap();
    let (subscription, queue) = listener
        .subscription_queue::<StringMsg>("/chatter", &QosProfile::DEFAULT, BEFORE + AFTER)
        .unwrap();
    wait_until("match", || publisher.matched() == 1 && subscription.matched() == 1);
    let say = |number: usize| {
        publisher.publish(&StringMsg { data: number.to_string() }).unwrap();
        if number % 50 == 49 {
            // As fast as the first listener hears, whatever the second one does.
            wait_until("heard", || subscription.stats().received > number as u64);
        }
    };
    (0..BEFORE).for_each(say);
    let joined = late.create_node("late", "/").unwrap();
    let (_late, _queue) =
        joined.subscription_queue::<StringMsg>("/chatter", &QosProfile::DEFAULT, AFTER).unwrap();
    wait_until("the late one is matched", || publisher.matched() == 2);
    // At once, more than an outbox holds: it would drop what a stopped writer does not take.
    for number in BEFORE..BEFORE + AFTER {
        publisher.publish(&StringMsg { data: number.to_string() }).unwrap();
    }
    wait_until("heard", || subscription.stats().received >= (BEFORE + AFTER) as u64);
    assert_eq!(publisher.stats().dropped, 0);
    let heard: Vec<_> = queue.try_iter().map(|(message, _)| message.data).collect();
    assert!(heard.iter().enumerate().all(|(number, text)| *text == number.to_string()));
    assert_eq!(heard.len(), BEFORE + AFTER);
}
