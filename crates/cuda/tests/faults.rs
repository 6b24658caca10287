//! Faults of the device: each ends in a typed error, and a new engine on the same device then gives
//! the right answers. Needs a GPU; says so without.
//!
//! The tests take turns: a broken context is that of the whole process.

#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "a test says what it skipped")]

use std::io::Write as _;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hymt_cuda::testing::{Fault, allocated_bytes, inject, limit_memory};
use hymt_cuda::{CudaEngine, CudaError, CudaOptions, device};
use hymt_llm::TokenId;
use hymt_llm::engine::{BatchRow, Engine, EngineError, EngineSpec, LogitsWanted, Shortlist, Slot};
use hymt_llm::request::GenerateRequest;
use hymt_llm::sampling::SamplingParams;
use hymt_llm::thread::{InferenceThread, Rebuild, ThreadConfig};
use hymt_llm::tokenizer::Tokenizer;
use hymt_llm::weights::ModelSource;
use rand::Rng as _;
use rand::SeedableRng as _;
use rand::rngs::SmallRng;

static TURNS: Mutex<()> = Mutex::new(());

/// This test's turn, if there is a GPU.
fn turn() -> Option<MutexGuard<'static, ()>> {
    let turn = TURNS.lock().unwrap_or_else(PoisonError::into_inner);
    match device::probe(0) {
        Ok(_) => Some(turn),
        Err(error) => {
            // Straight to the stream: the test runner swallows what the macros print.
            let said = format!("\n*** SKIPPED: needs an NVIDIA GPU: {error} ***\n");
            let _ = writeln!(std::io::stderr(), "{said}");
            let required = std::env::var_os("HYMT_REQUIRE_CUDA").is_some();
            assert!(!required, "HYMT_REQUIRE_CUDA is set, but there is no GPU: {error}");
            None
        }
    }
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
const PROMPT: [TokenId; 7] = [1, 5, 9, 2, 40, 7, 3];

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
fn a_cache_that_cannot_grow_ends_its_step_with_the_numbers() {
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
    let CudaError::OutOfMemory { what, total_mib, .. } = cause(&error) else { panic!("{error:?}") };
    assert_eq!((*what, *total_mib), ("the KV cache", (loaded + page) >> 20));
    drop(engine);
    assert_eq!(answers(&mut load()).unwrap(), right);
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

#[test]
fn a_broken_context_is_a_typed_error_and_its_successor_is_right() {
    let Some(_turn) = turn() else { return };
    let right = answers(&mut load()).unwrap();
    for fault in [Fault::Trap, Fault::StrayWrite] {
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
        assert_eq!(answers(&mut load()).unwrap(), right, "after {fault:?}");
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
        shortlists: &mut Vec<Shortlist>,
    ) -> Result<bool, EngineError> {
        self.meet_fate();
        self.inner.step_shortlist(batch, shortlists)
    }

    fn logits_of(&mut self, row: usize, logits: &mut Vec<f32>) -> Result<(), EngineError> {
        self.inner.logits_of(row, logits)
    }

    fn release(&mut self, slot: Slot) {
        self.inner.release(slot);
    }
}

#[test]
fn the_thread_goes_on_after_any_fault_and_every_answer_is_right() {
    let Some(_turn) = turn() else { return };
    let mut random = seeded();
    let requests: Vec<_> = (0..9)
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
        .collect();
    let answers = |faults: Vec<(usize, Fault)>| {
        let luck = Arc::new(Luck { faults, steps: AtomicUsize::new(0) });
        let engine = Unlucky::load(&luck).unwrap();
        let rebuild: Rebuild = Box::new(move || Unlucky::load(&luck).map_err(Into::into));
        let (tokenizer, config) = (Arc::new(Tokenizer::bytes()), ThreadConfig::default());
        let handle = InferenceThread::spawn_rebuilding(engine, rebuild, tokenizer, config);
        let answers = handle.submit(requests.clone()).unwrap().wait();
        (answers, handle.stats())
    };
    let tokens = |answers: Vec<Result<hymt_llm::request::Completion, _>>| -> Vec<_> {
        answers.into_iter().map(|answer| answer.unwrap().tokens).collect()
    };
    let (right, stats) = answers(Vec::new());
    let (right, steps) = (tokens(right), stats.steps as usize);
    for round in 0..12 {
        let fault = match round % 3 {
            0 => Fault::Trap,
            1 => Fault::StrayWrite,
            _ => Fault::Launch(0),
        };
        let step = random.random_range(0..steps);
        let (answers, stats) = answers(vec![(step, fault)]);
        assert_eq!(tokens(answers), right, "{fault:?} in step {step}");
        assert_eq!((stats.faults, stats.rebuilds, stats.failed), (1, 1, 0), "{fault:?}, {step}");
    }
}
