//! What it costs to plan and book a step.
#![allow(missing_docs, reason = "criterion's macros generate undocumented functions")]

use std::hint::black_box;
use std::time::Instant;

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use hymt_llm::scheduler::{Job, RequestId, Scheduler, SchedulerConfig};

fn with_waiting(waiting: u64) -> Scheduler {
    let mut scheduler = Scheduler::new(SchedulerConfig {
        slots: 8,
        context_tokens_max: 4096,
        step_tokens_max: 512,
        prefill_tokens_beside_decode: 64,
        queue_limit: 256,
        cheap_step_tokens: usize::MAX,
    });
    let job = |id| Job {
        id: RequestId(id),
        prompt: vec![1; 48],
        new_tokens_max: 24,
        stop: [2].into(),
        priority: 128,
        deadline: None,
        draft: Vec::new(),
    };
    scheduler.submit((0..waiting).map(job).collect()).expect("they fit the queue");
    scheduler
}

fn scheduler(criterion: &mut Criterion) {
    let now = Instant::now();
    for waiting in [1, 8, 64] {
        criterion.bench_function(
            &format!("plan and book a step, {waiting} submitted"),
            |bencher| {
                bencher.iter_batched_ref(
                    || with_waiting(waiting),
                    |scheduler| {
                        let plan = scheduler.plan(black_box(now));
                        let wanted = plan.rows.iter().filter(|row| row.wants_token).count();
                        scheduler.complete(&plan, &vec![[7]; wanted])
                    },
                    BatchSize::SmallInput,
                );
            },
        );
    }
}

criterion_group!(benches, scheduler);
criterion_main!(benches);
