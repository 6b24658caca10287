//! Faults of the device: each ends in a typed error, and a new engine on the same device then gives
//! the right answers. Needs a GPU; says so without.
//!
//! The tests take turns: a broken context is that of the whole process.

#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "a test says what it skipped")]

#[path = "support/gpu.rs"]
mod gpu;

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hymt_cuda::testing::{Fault, allocated_bytes, inject, limit_memory};
use hymt_cuda::{CudaEngine, CudaError, CudaOptions};
use hymt_llm::TokenId;
use hymt_llm::engine::{BatchRow, Engine, EngineError, EngineSpec, LogitsWanted, Shortlist, Slot};
use hymt_llm::request::GenerateRequest;
use hymt_llm::sampling::SamplingParams;
use hymt_llm::thread::{InferenceThread, Rebuild, Stats, ThreadConfig};
use hymt_llm::tokenizer::Tokenizer;
use hymt_llm::weights::ModelSource;
use rand::Rng as _;
use rand::SeedableRng as _;
use rand::rngs::SmallRng;

use crate::gpu::has_gpu;

static TURNS: Mutex<()> = Mutex::new(());

/// This test's turn, if there is a GPU.
fn turn() -> Option<MutexGuard<'static, ()>> {
    let turn = TURNS.lock().unwrap_or_else(PoisonError::into_inner);
    has_gpu().then_some(turn)
}

/// From `HYMT_SEED`, or a new one each time.
fn seeded() -> SmallRng {
    let named = std::env::var("HYMT_SEED").ok();
    let seed = named.map_or_else(|| rand::rng().random(), |seed| seed.parse().unwrap());
    eprintln!("HYMT_SEED={seed} repeats this");
    SmallRng::seed_from_u64(seed)
}

fn source() -> ModelSource {
    let golden = std::env::var_os("HYMT_GOLDEN").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../llm/tests/golden"),
        PathBuf::from,
    );
    ModelSource::Dir(golden.join("int8"))
}

fn options() -> CudaOptions {
    CudaOptions { slots: 4, context_tokens_max: 600, ..CudaOptions::default() }
}

fn load() -> CudaEngine {
    CudaEngine::load(&source(), &options(), &mut |_| {}).unwrap()
}

/// Of the model that is loaded here.
const VOCAB: TokenId = 200;
/// Too long for a decode kernel.
const PROMPT: [TokenId; 11] = [1, 5, 9, 2, 40, 7, 3, 21, 4, 17, 60];

fn row(slot: u16, position: usize, tokens: &[TokenId]) -> BatchRow<'_> {
    BatchRow { slot: Slot(slot), position, tokens, logits: LogitsWanted::Last }
}

/// Logits after a prompt and after one more token: both ways through the network.
fn answers(engine: &mut dyn Engine) -> Result<Vec<f32>, EngineError> {
    let (mut all, mut logits) = (Vec::new(), Vec::new());
    engine.step(&[row(0, 0, &PROMPT)], &mut all)?;
    engine.step(&[row(0, PROMPT.len(), &[11])], &mut logits)?;
    all.extend(logits);
    Ok(all)
}

/// The cause, which has to be one of ours.
fn cause(error: &EngineError) -> &CudaError {
    assert!(error.is_fatal(), "{error:?}");
    let EngineError::Device { source, .. } = error else { panic!("{error:?}") };
    source.downcast_ref().unwrap_or_else(|| panic!("a CudaError, not {source:?}"))
}

#[test]
fn a_model_that_does_not_fit_is_refused_with_the_numbers() {
    let Some(_turn) = turn() else { return };
    let mut engine = load();
    let right = answers(&mut engine).unwrap();
    // Loading takes staging buffers beside what stays.
    let enough = allocated_bytes(&engine) + (40 << 20);
    drop(engine);
    let mut fitted = false;
    for part in 0..=16 {
        let options = CudaOptions { memory_bytes_max: Some(enough / 16 * part), ..options() };
        match CudaEngine::load(&source(), &options, &mut |_| {}) {
            Ok(mut engine) => {
                fitted = true;
                assert_eq!(answers(&mut engine).unwrap(), right);
            }
            Err(CudaError::OutOfMemory { needed_mib, free_mib, total_mib, .. }) => {
                assert!(!fitted, "less was enough");
                assert_eq!(total_mib, (enough / 16 * part) >> 20);
                assert!(free_mib <= needed_mib && free_mib <= total_mib);
            }
            Err(other) => panic!("{other:?}"),
        }
    }
    assert!(fitted, "{enough} bytes are enough");
}

#[test]
fn a_cache_that_cannot_grow_ends_its_step_with_the_numbers_and_no_more() {
    let Some(_turn) = turn() else { return };
    let mut engine = load();
    let loaded = allocated_bytes(&engine);
    answers(&mut engine).unwrap();
    let page = allocated_bytes(&engine) - loaded;
    drop(engine);
    // Later than loading, whose staging buffers are larger than this model's cache.
    let mut engine = load();
    limit_memory(&engine, loaded + page);
    let right = answers(&mut engine).unwrap();
    let error = engine.step(&[row(1, 0, &PROMPT)], &mut Vec::new()).unwrap_err();
    assert!(!error.is_fatal(), "{error:?}");
    let EngineError::OutOfMemory { source, .. } = &error else { panic!("{error:?}") };
    let Some(CudaError::OutOfMemory { what, total_mib, .. }) = source.downcast_ref() else {
        panic!("{source:?}")
    };
    assert_eq!((*what, *total_mib), ("the KV cache", (loaded + page) >> 20));
    // The engine goes on: with what the first sequence holds, and with its page once it is gone.
    let mut logits = Vec::new();
    engine.step(&[row(0, PROMPT.len() + 1, &[11])], &mut logits).unwrap();
    engine.release(Slot(0));
    assert_eq!(answers(&mut engine).unwrap(), right);
}

#[test]
fn a_refused_launch_is_a_typed_error_wherever_it_is() {
    let Some(_turn) = turn() else { return };
    let right = answers(&mut load()).unwrap();
    let mut numbers = 0;
    for number in 0.. {
        let mut engine = load();
        inject(&engine, Fault::Launch(number)).unwrap();
        match answers(&mut engine) {
            // Past the last launch of both steps.
            Ok(logits) => {
                assert_eq!(logits, right);
                break;
            }
            Err(error) => {
                assert!(matches!(cause(&error), CudaError::Call { call: "cuLaunchKernel", .. }));
                numbers += 1;
            }
        }
    }
    assert!(numbers > 10, "one launch an operation: {numbers}");
    assert_eq!(answers(&mut load()).unwrap(), right);
}

/// Runs the test `name` in a process of its own, where a lost GPU harms nobody; false in that process.
fn is_run_elsewhere(name: &str) -> bool {
    const ELSEWHERE: &str = "HYMT_TEST_IN_CHILD";
    if std::env::var_os(ELSEWHERE).is_some() {
        return false;
    }
    let child = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture"])
        .env(ELSEWHERE, "1")
        .status()
        .unwrap();
    assert!(child.success(), "{name} failed in its own process");
    true
}

/// After a fault that broke the context a new engine is either right, or refused as [`CudaError::Lost`].
fn is_right_or_lost(right: &[f32]) {
    match CudaEngine::load(&source(), &options(), &mut |_| {}) {
        Ok(mut engine) => {
            assert_eq!(answers(&mut engine).unwrap(), right);
            eprintln!("the driver gave a new context");
        }
        Err(error) => {
            assert!(matches!(error, CudaError::Lost { ordinal: 0, .. }), "{error:?}");
            eprintln!("the device is lost to this process: {error}");
        }
    }
}

fn break_a_context(fault: Fault) {
    let right = answers(&mut load()).unwrap();
    let (mut engine, mut other) = (load(), load());
    answers(&mut engine).unwrap();
    inject(&engine, fault).unwrap();
    let error = answers(&mut engine).unwrap_err();
    assert!(matches!(cause(&error), CudaError::Call { .. }), "{fault:?}: {error:?}");
    // It is the context of the whole process.
    let error = answers(&mut other).unwrap_err();
    assert!(matches!(cause(&error), CudaError::Call { .. }), "{fault:?}: {error:?}");
    drop(engine);
    let error = CudaEngine::load(&source(), &options(), &mut |_| {}).err().unwrap();
    assert!(matches!(error, CudaError::Broken { ordinal: 0, users: 1 }), "{error:?}");
    drop(other);
    is_right_or_lost(&right);
}

#[test]
fn a_trap_breaks_the_context_with_typed_errors() {
    let Some(_turn) = turn() else { return };
    if !is_run_elsewhere("a_trap_breaks_the_context_with_typed_errors") {
        break_a_context(Fault::Trap);
    }
}

#[test]
fn a_stray_write_breaks_the_context_with_typed_errors() {
    let Some(_turn) = turn() else { return };
    if !is_run_elsewhere("a_stray_write_breaks_the_context_with_typed_errors") {
        break_a_context(Fault::StrayWrite);
    }
}

/// An engine whose device has faults in the steps of these numbers, counted over all engines.
struct Unlucky {
    inner: CudaEngine,
    luck: Arc<Luck>,
}

struct Luck {
    faults: Vec<(usize, Fault)>,
    steps: AtomicUsize,
}

impl Unlucky {
    fn load(luck: &Arc<Luck>) -> Result<Box<dyn Engine>, CudaError> {
        let inner = CudaEngine::load(&source(), &options(), &mut |_| {})?;
        Ok(Box::new(Self { inner, luck: Arc::clone(luck) }))
    }

    fn meet_fate(&self) {
        let step = self.luck.steps.fetch_add(1, Ordering::Relaxed);
        for (_, fault) in self.luck.faults.iter().filter(|fault| fault.0 == step) {
            inject(&self.inner, *fault).unwrap();
        }
    }
}

impl Engine for Unlucky {
    fn spec(&self) -> &EngineSpec {
        self.inner.spec()
    }

    fn step(&mut self, batch: &[BatchRow<'_>], logits: &mut Vec<f32>) -> Result<(), EngineError> {
        self.meet_fate();
        self.inner.step(batch, logits)
    }

    fn step_shortlist(
        &mut self,
        batch: &[BatchRow<'_>],
        kept: usize,
        shortlists: &mut Vec<Shortlist>,
    ) -> Result<bool, EngineError> {
        self.meet_fate();
        self.inner.step_shortlist(batch, kept, shortlists)
    }

    fn logits_of(&mut self, row: usize, logits: &mut Vec<f32>) -> Result<(), EngineError> {
        self.inner.logits_of(row, logits)
    }

    fn release(&mut self, slot: Slot) {
        self.inner.release(slot);
    }
}

type Answers = Vec<Result<hymt_llm::request::Completion, hymt_llm::request::GenerateError>>;

fn requests() -> Vec<GenerateRequest> {
    let mut random = seeded();
    (0..9)
        .map(|_| GenerateRequest {
            prompt: (0..random.random_range(1..40))
                .map(|_| random.random_range(0..VOCAB))
                .collect(),
            new_tokens_max: random.random_range(1..20),
            sampling: SamplingParams::default(),
            stop: [VOCAB - 1].into(),
            priority: 128,
            deadline: None,
            draft: Vec::new(),
        })
        .collect()
}

/// Answers of a thread whose engines have `faults`.
fn answered(requests: &[GenerateRequest], faults: Vec<(usize, Fault)>) -> (Answers, Stats) {
    let luck = Arc::new(Luck { faults, steps: AtomicUsize::new(0) });
    let engine = Unlucky::load(&luck).unwrap();
    let rebuild: Rebuild = Box::new(move || Unlucky::load(&luck).map_err(Into::into));
    let (tokenizer, config) = (Arc::new(Tokenizer::bytes()), ThreadConfig::default());
    let handle = InferenceThread::spawn_rebuilding(engine, rebuild, tokenizer, config);
    let answers = handle.submit(requests.to_vec()).unwrap().wait();
    (answers, handle.stats())
}

fn tokens(answers: Answers) -> Vec<Vec<TokenId>> {
    answers.into_iter().map(|answer| answer.unwrap().tokens).collect()
}

#[test]
fn the_thread_goes_on_after_a_refused_launch_and_every_answer_is_right() {
    let Some(_turn) = turn() else { return };
    let requests = requests();
    let (right, stats) = answered(&requests, Vec::new());
    let (right, steps) = (tokens(right), stats.steps as usize);
    let mut random = seeded();
    for _ in 0..6 {
        let step = random.random_range(0..steps);
        let (answers, stats) = answered(&requests, vec![(step, Fault::Launch(0))]);
        assert_eq!(tokens(answers), right, "a refused launch in step {step}");
        assert_eq!((stats.faults, stats.rebuilds, stats.failed), (1, 1, 0), "{step}");
    }
}

#[test]
fn a_thread_whose_gpu_breaks_answers_rightly_or_with_an_error() {
    let Some(_turn) = turn() else { return };
    if is_run_elsewhere("a_thread_whose_gpu_breaks_answers_rightly_or_with_an_error") {
        return;
    }
    let requests = requests();
    let (right, stats) = answered(&requests, Vec::new());
    let (right, steps) = (tokens(right), stats.steps as usize);
    let step = seeded().random_range(0..steps);
    let (answers, stats) = answered(&requests, vec![(step, Fault::Trap)]);
    assert_eq!(answers.len(), right.len(), "one answer each");
    let mut failed = 0;
    for (answer, right) in answers.into_iter().zip(&right) {
        match answer {
            Ok(completion) => assert_eq!(&completion.tokens, right),
            Err(error) => {
                eprintln!("answered with: {error}");
                failed += 1;
            }
        }
    }
    assert!(stats.faults >= 1);
    assert_eq!(stats.failed, failed, "each failure is counted");
    assert!(failed == 0 || stats.rebuilds == 0, "a new engine would have answered: {stats:?}");
}
