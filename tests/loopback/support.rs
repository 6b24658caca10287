//! What tests between contexts of our own share.
#![allow(dead_code, reason = "each test crate uses a part of it")]

use std::{
    sync::mpsc::{Receiver, SyncSender, sync_channel},
    time::{Duration, Instant},
};

use hymt_ros::ros::{Context, ContextOptions, Middleware};

/// Generous, since the tests share a small machine; nothing waits this long when it works.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A domain for each test of each process; the low ones are left to people.
pub(crate) fn domain(test: u16) -> u16 {
    // Above 101 the ports of a domain lie among the ephemeral ports of Linux.
    10 + ((std::process::id() % 92) as u16 * 13 + test) % 92
}

/// A context in the domain of a test, with discovery on this machine only.
pub(crate) fn context_of(middleware: Middleware, test: u16) -> Context {
    Context::new(middleware, &ContextOptions::localhost(domain(test))).expect("join the domain")
}

/// Waits until `condition` holds.
pub(crate) fn wait_until(what: &str, condition: impl Fn() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < PATIENCE, "not within {PATIENCE:?}: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// A channel with room for everything a test sends.
pub(crate) fn channel<T>() -> (SyncSender<T>, Receiver<T>) {
    sync_channel(4096)
}
