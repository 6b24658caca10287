//! Three peers that others wrote (Cyclone DDS) talk to the node at 50 Hz together, leave and come
//! back at random, some without a word: nothing that they say is lost, and memory stays flat.
//!
//! CI plays it short; `HYMT_SOAK_MESSAGES=20000` (`just soak`) plays it for seven minutes. The last
//! long run is in `docs/ros2-results.md`.
#![cfg(all(any(feature = "dds", feature = "r2r"), target_os = "linux"))]
#![allow(clippy::unwrap_used, reason = "a failed step is a failed test")]

#[path = "peers/node_process.rs"]
mod node_process;
#[path = "peers/support.rs"]
mod support;

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use node_process::NodeProcess;
use support::{Dice, Peer, domain, peer_python};

/// Messages of the short run.
const MESSAGES_SHORT: u64 = 900;

/// From here on a run is long enough to judge memory by.
const MESSAGES_LONG: u64 = 15_000;

/// Seconds between two texts of one peer: three of them make a little more than 50 a second, to
/// make up for the pauses in which they are away.
const INTERVAL_S: f64 = 0.05;

/// What memory may grow by after the warm-up, and what of that is noise of small figures. KiB.
const GROWTH_MAX: f64 = 1.05;
const NOISE_KIB: u64 = 1024;

/// One peer that comes and goes until all have said enough together; returns how often.
fn come_and_go(python: &Path, domain: u16, seed: u64, said: &AtomicU64, messages: u64) -> u64 {
    let mut dice = Dice(seed);
    let mut visits = 0;
    while said.load(Ordering::Relaxed) < messages {
        visits += 1;
        let count = 40 + dice.below(160);
        let name = format!("peer{seed}-{visits}");
        let command =
            format!("--depth 400 chatter --name {name} --count {count} --interval {INTERVAL_S}");
        let mut peer = Peer::start(python, domain, &command);
        assert_eq!(peer.next_line()["matched"], true);
        // Every fifth dies in the middle, without a goodbye.
        if dice.below(5) == 0 {
            let spoken = 10 + dice.below(count - 20);
            std::thread::sleep(Duration::from_secs_f64(spoken as f64 * INTERVAL_S));
            peer.kill();
            said.fetch_add(spoken, Ordering::Relaxed);
            continue;
        }
        let last = peer.last_line();
        assert_eq!(last["said"].as_u64(), Some(count), "{name}: {last}");
        assert_eq!(
            (last["lost"].as_u64(), last["twice"].as_u64()),
            (Some(0), Some(0)),
            "{name}: {last}"
        );
        assert_eq!(last["in_order"], true, "{name}: {last}");
        assert_eq!(last["statuses"], serde_json::json!([0]), "{name}: {last}");
        said.fetch_add(count, Ordering::Relaxed);
    }
    visits
}

#[test]
fn peers_come_and_go_and_nothing_is_lost() {
    let Some(python) = peer_python() else { return };
    let given = std::env::var("HYMT_SOAK_MESSAGES").ok();
    let messages =
        given.map_or(MESSAGES_SHORT, |n| n.parse().expect("HYMT_SOAK_MESSAGES is a number"));
    let domain = domain(40);
    let mut node = NodeProcess::start(domain, &["engine:=scripted", "source_locale:=en"]);
    let said = AtomicU64::new(0);
    let started = std::time::Instant::now();
    let (mut warm_kib, mut peak_kib, mut told) = (0, 0, 0);
    let visits: u64 = std::thread::scope(|scope| {
        let (python, said) = (&python, &said);
        let peers: Vec<_> = (1..=3)
            .map(|seed| scope.spawn(move || come_and_go(python, domain, seed, said, messages)))
            .collect();
        while peers.iter().any(|peer| !peer.is_finished()) {
            std::thread::sleep(Duration::from_millis(500));
            let (now_kib, so_far) = (node.resident_kib(), said.load(Ordering::Relaxed));
            // The first fifth fills histories, pools and the graph of who was here.
            if so_far * 5 < messages {
                warm_kib = warm_kib.max(now_kib);
            }
            peak_kib = peak_kib.max(now_kib);
            if so_far >= told + messages / 20 {
                told = so_far;
                println!("{so_far} texts, {:.1} MiB", now_kib as f64 / 1024.0);
            }
        }
        peers.into_iter().map(|peer| peer.join().expect("a peer's check failed")).sum()
    });
    let (n_said, seconds) = (said.load(Ordering::Relaxed), started.elapsed().as_secs_f64());
    println!(
        "{n_said} texts from 3 peers in {visits} visits, {:.1} a second; memory {:.1} MiB warm, \
         {:.1} MiB at most",
        n_said as f64 / seconds,
        warm_kib as f64 / 1024.0,
        peak_kib as f64 / 1024.0
    );
    let limit = (warm_kib as f64 * GROWTH_MAX) as u64 + NOISE_KIB;
    // A fifth of a short run is no warm-up: a peer that died without a word stays in the graph for
    // most of a minute.
    assert!(
        messages < MESSAGES_LONG || peak_kib <= limit,
        "{peak_kib} KiB at most, {warm_kib} KiB after the warm-up"
    );
    assert!(node.is_alive());
}
