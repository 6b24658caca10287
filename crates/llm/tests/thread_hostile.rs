//! The inference thread against callers and engines that misbehave: nobody is left waiting.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use hymt_llm::TokenId;
use hymt_llm::engine::scripted::{BatchRecord, ScriptedEngine};
use hymt_llm::engine::{BatchRow, Engine, EngineError, EngineSpec, Slot};
use hymt_llm::request::{GenerateError, GenerateRequest, SubmitError};
use hymt_llm::sampling::SamplingParams;
use hymt_llm::thread::{ARRIVALS_MAX, InferenceHandle, InferenceThread, ThreadConfig, TicketEvent};
use hymt_llm::tokenizer::Tokenizer;

/// Longest wait for something that must happen; far above what it takes.
const PATIENCE: Duration = Duration::from_secs(30);

/// Vocabulary of the scripts here: bytes, and a stop token.
const VOCAB: usize = 257;
const STOP: TokenId = 256;

/// Its prompt is one token `n`; the answer is `n` letters.
fn request(n: u8) -> GenerateRequest {
    GenerateRequest {
        prompt: vec![TokenId::from(n)],
        new_tokens_max: 500,
        sampling: SamplingParams::default(),
        stop: [STOP].into(),
        priority: 128,
        deadline: None,
        draft: Vec::new(),
    }
}

fn letters(held: &[TokenId]) -> TokenId {
    if held.len() > held[0] as usize { STOP } else { TokenId::from(b'x') }
}

fn start(engine: impl Engine + 'static, queue_limit: usize) -> InferenceHandle {
    let config = ThreadConfig { queue_limit, ..ThreadConfig::default() };
    InferenceThread::spawn(Box::new(engine), Arc::new(Tokenizer::bytes()), config)
}

/// An engine that says when it is inside a token and waits until it is let on.
///
/// Bind the result in this order: a test that fails then opens the gate before the handle waits for
/// the thread.
fn start_gated(queue_limit: usize) -> (InferenceHandle, BatchRecord, Receiver<()>, SyncSender<()>) {
    let (entered, inside) = sync_channel(1);
    let (gate, opened) = sync_channel(1);
    let script = move |held: &[TokenId]| {
        // Once the test has dropped its ends there is nothing to wait for any more.
        if entered.send(()).is_ok() {
            let _ = opened.recv();
        }
        letters(held)
    };
    let engine = ScriptedEngine::new(VOCAB, 1, Box::new(script));
    let record = engine.record();
    (start(engine, queue_limit), record, inside, gate)
}

fn wait_until(what: &str, condition: impl Fn() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < PATIENCE, "never: {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn priority_decides_who_gets_the_next_slot() {
    let (handle, record, inside, gate) = start_gated(8);
    let first = handle.submit(vec![request(1)]).unwrap();
    inside.recv_timeout(PATIENCE).unwrap();
    // Told apart by the length of the prompt; each answer is empty.
    let with = |priority, length| {
        let prompt = vec![1; length];
        handle.submit(vec![GenerateRequest { priority, prompt, ..request(1) }]).unwrap()
    };
    let groups = [with(10, 2), with(200, 3), with(100, 4)];
    drop((inside, gate));
    assert!(first.wait()[0].is_ok());
    assert!(groups.into_iter().all(|group| group.wait()[0].is_ok()));
    let lengths: Vec<_> = record.batches().iter().map(|batch| batch[0].n_tokens).collect();
    assert_eq!(lengths, [1, 1, 3, 4, 2], "the first in two steps, then by priority");
}

#[test]
fn a_dropped_ticket_lets_the_next_in_and_one_that_waits_never_runs() {
    let (handle, record, inside, gate) = start_gated(8);
    let long = handle.submit(vec![request(250)]).unwrap();
    inside.recv_timeout(PATIENCE).unwrap();
    let never = handle.submit(vec![request(7)]).unwrap();
    let next = handle.submit(vec![request(2)]).unwrap();
    drop((long, never));
    assert_eq!(handle.stats().waiting, 1, "a slot and a place in the queue are free at once");
    drop((inside, gate));
    assert_eq!(next.wait()[0].as_ref().unwrap().text, "xx");
    assert_eq!(handle.stats().cancelled, 2);
    // One step of the dropped one, then the next one's prompt and two letters.
    assert_eq!(record.batches().len(), 1 + 3, "{:?}", record.batches());
}

#[test]
fn submitting_and_cancelling_in_a_loop_meets_a_bound() {
    let (handle, _, inside, gate) = start_gated(4);
    let running = handle.submit(vec![request(1)]).unwrap();
    inside.recv_timeout(PATIENCE).unwrap();
    let mut taken = 0;
    let refused = loop {
        match handle.submit(vec![request(1)]) {
            Ok(group) => drop(group),
            Err(error) => break error,
        }
        taken += 1;
        assert!(taken <= ARRIVALS_MAX, "what the thread has to look at grows without bound");
    };
    let limit = ARRIVALS_MAX;
    assert_eq!(refused, SubmitError::QueueFull { waiting: taken, limit });
    drop((inside, gate));
    assert!(running.wait()[0].is_ok());
    assert!(handle.submit(vec![request(1)]).unwrap().wait()[0].is_ok(), "it goes on afterwards");
    assert_eq!(handle.stats().cancelled, taken as u64);
}

#[test]
fn a_fast_answer_does_not_hide_its_neighbour() {
    let engine =
        ScriptedEngine::new(VOCAB, 2, Box::new(letters)).with_delay(Duration::from_millis(2));
    let handle = start(engine, 8);
    let mut group = handle.submit(vec![request(250), request(250)]).unwrap();
    let mut order = Vec::new();
    for _ in 0..6 {
        // A reader slower than the engine: both have grown whenever it looks.
        std::thread::sleep(Duration::from_millis(20));
        order.push(group.next_event(Some(PATIENCE)).unwrap().0);
    }
    assert!(order.windows(2).all(|pair| pair[0] != pair[1]), "they take turns: {order:?}");
}

#[test]
fn an_unread_answer_arrives_as_one_piece() {
    let handle = start(ScriptedEngine::new(VOCAB, 2, Box::new(letters)), 8);
    let mut group = handle.submit(vec![request(100)]).unwrap();
    wait_until("completed", || handle.stats().completed == 1);
    let (_, event) = group.next_event(Some(PATIENCE)).unwrap();
    assert_eq!(event, TicketEvent::Text { delta: "x".repeat(100) });
    let (_, event) = group.next_event(Some(PATIENCE)).unwrap();
    assert!(matches!(event, TicketEvent::Done(_)), "{event:?}");
    assert_eq!(group.next_event(None), None);
}

#[test]
fn a_foreign_token_is_refused_before_it_can_fail_a_batch() {
    let handle = start(ScriptedEngine::new(VOCAB, 2, Box::new(letters)), 8);
    let bad = GenerateRequest { prompt: vec![3, 300], ..request(1) };
    let refused = handle.submit(vec![request(1), bad]).unwrap_err();
    assert_eq!(refused, SubmitError::TokenOutOfRange { token: 300, vocab_size: VOCAB });
    assert!(handle.submit(vec![request(3)]).unwrap().wait()[0].is_ok());
}

#[test]
fn endless_times_are_no_panic() {
    let handle = start(ScriptedEngine::new(VOCAB, 2, Box::new(letters)), 8);
    let mut group = handle.submit(vec![request(3)]).unwrap();
    while let Some((_, event)) = group.next_event(Some(Duration::MAX)) {
        assert!(!matches!(event, TicketEvent::Failed(_)), "{event:?}");
    }
    handle.shutdown(Duration::MAX);
    assert!(handle.stats().stopped.is_some());
}

/// Works until it is to forget a sequence.
struct PanicsOnRelease(ScriptedEngine);

impl Engine for PanicsOnRelease {
    fn spec(&self) -> &EngineSpec {
        self.0.spec()
    }

    fn step(&mut self, batch: &[BatchRow<'_>], logits: &mut Vec<f32>) -> Result<(), EngineError> {
        self.0.step(batch, logits)
    }

    fn release(&mut self, slot: Slot) {
        panic!("cannot release {slot:?}");
    }
}

#[test]
fn a_panic_outside_a_step_answers_everyone_too() {
    let handle = start(PanicsOnRelease(ScriptedEngine::new(VOCAB, 2, Box::new(letters))), 8);
    let group = [1, 200, 200, 200].map(request).to_vec();
    let answers = handle.submit(group).unwrap().wait();
    assert_eq!(answers[0].as_ref().unwrap().text, "x");
    for answer in &answers[1..] {
        let Err(GenerateError::Engine { detail }) = answer else { panic!("{answer:?}") };
        assert!(detail.contains("cannot release"), "{detail}");
    }
    let refused = handle.submit(vec![request(1)]).unwrap_err();
    assert!(refused.to_string().contains("cannot release"), "{refused}");
    let stats = handle.stats();
    assert_eq!((stats.completed, stats.failed, stats.waiting, stats.running), (1, 3, 0, 0));
}

#[test]
fn an_engine_that_gives_too_few_logits_is_not_trusted() {
    struct Short(ScriptedEngine);
    impl Engine for Short {
        fn spec(&self) -> &EngineSpec {
            self.0.spec()
        }
        fn step(&mut self, batch: &[BatchRow<'_>], out: &mut Vec<f32>) -> Result<(), EngineError> {
            self.0.step(batch, out)?;
            out.pop();
            Ok(())
        }
        fn release(&mut self, slot: Slot) {
            self.0.release(slot);
        }
    }
    let handle = start(Short(ScriptedEngine::new(VOCAB, 2, Box::new(letters))), 8);
    let answers = handle.submit(vec![request(1)]).unwrap().wait();
    let Err(GenerateError::Engine { detail }) = &answers[0] else { panic!("{answers:?}") };
    assert!(detail.contains("256 logits instead of 1 x 257"), "{detail}");
}

#[test]
fn dropping_the_last_handle_cancels_and_every_shutdown_waits() {
    let engine = || ScriptedEngine::new(VOCAB, 2, Box::new(letters));
    let slow = || engine().with_delay(Duration::from_millis(5));
    let handle = start(slow(), 8);
    let group = handle.clone().submit(vec![request(250)]).unwrap();
    drop(handle);
    assert_eq!(group.wait(), [Err(GenerateError::Cancelled)]);

    let handle = start(slow(), 8);
    let group = handle.submit(vec![request(50)]).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                handle.shutdown(PATIENCE);
                let stats = handle.stats();
                assert_eq!((stats.completed, stats.running), (1, 0), "it has ended by now");
            });
        }
    });
    assert!(group.wait()[0].is_ok());
}

#[test]
fn an_idle_thread_sleeps() {
    let engine = ScriptedEngine::new(VOCAB, 2, Box::new(letters));
    let config = ThreadConfig { name: "idle-test".to_owned(), ..ThreadConfig::default() };
    let handle = InferenceThread::spawn(Box::new(engine), Arc::new(Tokenizer::bytes()), config);
    let deadline = Some(Instant::now() + PATIENCE);
    let group = handle.submit(vec![GenerateRequest { deadline, ..request(9) }]).unwrap();
    assert!(group.wait()[0].is_ok());
    let Some(before) = switches("idle-test") else {
        #[allow(clippy::print_stderr, reason = "a test that cannot run says so")]
        {
            eprintln!("SKIPPED: an idle thread is only watched where there is /proc");
        }
        return;
    };
    // It may still be on its way to sleep after the answer.
    std::thread::sleep(Duration::from_millis(50));
    let asleep = switches("idle-test").unwrap();
    std::thread::sleep(Duration::from_millis(200));
    assert_eq!(switches("idle-test"), Some(asleep), "it woke up; {before} before");
}

/// How often a thread of this process went to sleep or was put to sleep.
fn switches(name: &str) -> Option<u64> {
    let tasks = std::fs::read_dir("/proc/self/task").ok()?;
    let status = tasks.flatten().find_map(|task| {
        let comm = std::fs::read_to_string(task.path().join("comm")).ok()?;
        (comm.trim() == name).then(|| std::fs::read_to_string(task.path().join("status")).ok())?
    })?;
    let lines = status.lines().filter(|line| line.contains("ctxt_switches"));
    Some(lines.filter_map(|line| line.split_whitespace().last()?.parse::<u64>().ok()).sum())
}

/// Everything at once: groups, priorities, deadlines, cancelled and dropped tickets, from 8
/// threads, on an engine that fails now and then.
#[test]
fn every_request_of_a_busy_day_ends_once() {
    const CALLERS: u64 = 8;
    const GROUPS: u64 = 40;
    let fails = Arc::new(AtomicU64::new(0));
    let handle = start(
        FailsNowAndThen(ScriptedEngine::new(VOCAB, 3, Box::new(letters)), 0, Arc::clone(&fails)),
        16,
    );
    let outcomes = Mutex::new([0_u64; 4]);
    let (taken, dropped, refused) = (AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for caller in 0..CALLERS {
            let (handle, outcomes) = (&handle, &outcomes);
            let (taken, dropped, refused) = (&taken, &dropped, &refused);
            scope.spawn(move || {
                for number in 0..GROUPS {
                    let dice = (caller * GROUPS + number).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32;
                    let requests: Vec<_> = (0..1 + dice % 4)
                        .map(|i| GenerateRequest {
                            priority: (dice >> 8) as u8,
                            deadline: (dice & 16 != 0)
                                .then(|| Instant::now() + Duration::from_micros(dice % 2000)),
                            ..request(((dice >> 4) as u8 >> 2) + i as u8)
                        })
                        .collect();
                    let len = requests.len() as u64;
                    let Ok(group) = handle.submit(requests) else {
                        refused.fetch_add(len, Ordering::Relaxed);
                        std::thread::sleep(Duration::from_micros(300));
                        continue;
                    };
                    taken.fetch_add(len, Ordering::Relaxed);
                    match dice >> 6 & 7 {
                        0 => {
                            dropped.fetch_add(len, Ordering::Relaxed);
                            continue;
                        }
                        1 => group.cancel(),
                        _ => {}
                    }
                    for answer in group.wait() {
                        let which = match answer {
                            Ok(_) => 0,
                            Err(GenerateError::Engine { .. }) => 1,
                            Err(GenerateError::Cancelled) => 2,
                            Err(_) => 3,
                        };
                        outcomes.lock().unwrap()[which] += 1;
                    }
                }
            });
        }
    });
    handle.shutdown(PATIENCE);
    let stats = handle.stats();
    let counted = [stats.completed, stats.failed, stats.cancelled, stats.expired];
    let told = *outcomes.lock().unwrap();
    let (taken, dropped) = (taken.into_inner(), dropped.into_inner());
    assert_eq!(counted.iter().sum::<u64>(), taken, "{stats:?}");
    assert_eq!(told.iter().sum::<u64>() + dropped, taken, "{told:?}");
    assert!(counted.iter().zip(told).all(|(counted, told)| *counted >= told), "{stats:?} {told:?}");
    assert_eq!((stats.waiting, stats.running), (0, 0));
    // Or the test has not seen what it is about.
    assert!(told[0] > 0 && stats.cancelled > 0 && fails.load(Ordering::Relaxed) > 0, "{stats:?}");
}

/// Every 50th step fails, harmlessly.
struct FailsNowAndThen(ScriptedEngine, u64, Arc<AtomicU64>);

impl Engine for FailsNowAndThen {
    fn spec(&self) -> &EngineSpec {
        self.0.spec()
    }

    fn step(&mut self, batch: &[BatchRow<'_>], logits: &mut Vec<f32>) -> Result<(), EngineError> {
        self.1 += 1;
        if self.1.is_multiple_of(50) {
            self.2.fetch_add(1, Ordering::Relaxed);
            return Err(EngineError::InvalidBatch { detail: "one step in fifty".to_owned() });
        }
        self.0.step(batch, logits)
    }

    fn release(&mut self, slot: Slot) {
        self.0.release(slot);
    }
}
