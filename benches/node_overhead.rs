//! From a text on a topic to its translation on a topic, against a plain echo over the same
//! transport: the difference is what the node costs. The scripted engine answers in microseconds.
#![allow(missing_docs, reason = "the macros of criterion make functions without")]

#[path = "../tests/peers/scripted_node.rs"]
mod scripted_node;

use std::sync::Arc;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use hymt_ros::node::TranslatorNode;
use hymt_ros::ros::qos::QosProfile;
use hymt_ros::ros::wire::StringMsg;
use hymt_ros::ros::{Context, ContextOptions, Middleware};
use scripted_node::{load, scripted_node};

const PATIENCE: Duration = Duration::from_secs(10);

fn start_node(context: &Context) -> TranslatorNode {
    let node = scripted_node(context, &[], Arc::new(load));
    node.bring_up().expect("the scripted engine needs no file");
    node
}

fn overhead(criterion: &mut Criterion) {
    let domain = 110 + (std::process::id() % 90) as u16;
    let context = || {
        Context::new(Middleware::Dds, &ContextOptions::localhost(domain)).expect("join the domain")
    };
    let (here, there) = (context(), context());
    let _translator = start_node(&there);
    let far = there.create_node("echo", "/").expect("make a node");
    let near = here.create_node("talker", "/").expect("make a node");
    let qos = &QosProfile::DEFAULT;
    let echo = far.publisher::<StringMsg>("/echo/out", qos).expect("publish");
    let _ear = far
        .subscription::<StringMsg>("/echo/in", qos, move |message, _| {
            echo.publish(&message).expect("echo");
        })
        .expect("subscribe");
    let message = StringMsg::from("Where is the charging station?");
    let mut group = criterion.benchmark_group("topic in to topic out");
    for (name, input, output) in [
        ("plain echo", "/echo/in", "/echo/out"),
        ("node with the scripted engine", "/text", "/translator/de/text"),
    ] {
        let say = near.publisher::<StringMsg>(input, qos).expect("publish");
        let (hear, queue) = near.subscription_queue::<StringMsg>(output, qos, 64).expect("hear");
        while say.matched() == 0 || hear.matched() == 0 {
            std::thread::sleep(Duration::from_millis(5));
        }
        // That this side has matched does not say that the other has.
        std::thread::sleep(Duration::from_millis(300));
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                say.publish(&message).expect("say");
                queue.recv_timeout(PATIENCE).expect("hear the answer")
            });
        });
    }
    group.finish();
}

criterion_group!(benches, overhead);
criterion_main!(benches);
