//! Round trip of a text between two contexts on loopback: the transport's own time.
//!
//! What the node adds on top is measured against this.
#![allow(missing_docs, reason = "the macros of criterion make functions without")]

use std::time::Duration;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use hymt_ros::ros::{Context, ContextOptions, Middleware, qos::QosProfile, wire::StringMsg};

const PATIENCE: Duration = Duration::from_secs(10);

fn round_trip(criterion: &mut Criterion) {
    let domain = 10 + (std::process::id() % 90) as u16;
    let context = || {
        Context::new(Middleware::Dds, &ContextOptions::localhost(domain)).expect("join the domain")
    };
    let (here, there) = (context(), context());
    let (near, far) = (
        here.create_node("near", "/").expect("make a node"),
        there.create_node("far", "/").expect("make a node"),
    );
    let qos = &QosProfile::DEFAULT;
    let echo = far.publisher::<StringMsg>("/echo", qos).expect("publish");
    let _ear = far
        .subscription::<StringMsg>("/text", qos, move |message, _| {
            echo.publish(&message).expect("echo");
        })
        .expect("subscribe");
    let say = near.publisher::<StringMsg>("/text", qos).expect("publish");
    let (hear, queue) = near.subscription_queue::<StringMsg>("/echo", qos, 64).expect("subscribe");
    while say.matched() == 0 || hear.matched() == 0 {
        std::thread::sleep(Duration::from_millis(5));
    }
    // That this side has matched does not say that the other has.
    std::thread::sleep(Duration::from_millis(300));

    let mut group = criterion.benchmark_group("dds_roundtrip");
    for octets in [64, 1024, 65_536] {
        let message = StringMsg { data: "x".repeat(octets) };
        group.bench_function(BenchmarkId::from_parameter(octets), |bencher| {
            bencher.iter(|| {
                say.publish(&message).expect("say");
                queue.recv_timeout(PATIENCE).expect("hear the echo")
            });
        });
    }
    group.finish();
}

criterion_group!(benches, round_trip);
criterion_main!(benches);
