//! The behaviour of the `dds` adapter: two contexts of our own, joined only by DDS on loopback.
#![cfg(feature = "dds")]
#![allow(clippy::unwrap_used, reason = "a failed step is a failed test")]

#[path = "loopback/behaviour.rs"]
mod behaviour;
#[path = "loopback/support.rs"]
mod support;

use behaviour::context;
use hymt_ros::ros::{
    Middleware, RespondError,
    dds::ENHANCED_REPLY_BYTES_MAX,
    wire::{
        Trigger,
        common::{TriggerRequest, TriggerResponse},
    },
};
use support::PATIENCE;

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
