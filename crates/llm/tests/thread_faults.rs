//! The inference thread and engines that break: whatever breaks and when, each request gets exactly
//! one answer, the right text or a typed error.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex};

use hymt_llm::TokenId;
use hymt_llm::engine::scripted::ScriptedEngine;
use hymt_llm::engine::{BatchRow, Engine, EngineError, EngineSpec, Shortlist, Slot};
use hymt_llm::request::{Completion, GenerateError, GenerateRequest, SubmitError};
use hymt_llm::sampling::SamplingParams;
use hymt_llm::thread::{
    FAULTS_IN_A_ROW_MAX, InferenceHandle, InferenceThread, Rebuild, ThreadConfig,
};
use hymt_llm::tokenizer::Tokenizer;
use proptest::prelude::*;

/// Bytes, and a stop token.
const VOCAB: usize = 257;
const STOP: TokenId = 256;
const SLOTS: usize = 3;

static TOKENIZER: LazyLock<Arc<Tokenizer>> = LazyLock::new(|| Arc::new(Tokenizer::bytes()));

/// What goes wrong in a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// The device fails.
    Fatal,
    Panic,
    /// The device fails after a shortlist, when whole rows are asked for.
    Logits,
    /// The step fails; the engine can go on.
    Error,
}

/// What is to go wrong with all engines of a thread, one after the other.
#[derive(Debug, Default)]
struct Misfortune {
    /// By the number of the step, counted over all engines.
    steps: BTreeMap<usize, Fault>,
    /// For each attempt to make an engine, whether it succeeds; all later ones do.
    rebuilds: Vec<bool>,
    n_steps: AtomicUsize,
    n_rebuilds: AtomicUsize,
    /// Faults that ended an engine.
    n_fatal: AtomicUsize,
}

/// A scripted engine with shortlists that breaks when it is due. The next token depends on all
/// that a slot holds, so an answer that lost any of it is another one.
struct Fragile {
    inner: ScriptedEngine,
    misfortune: Arc<Misfortune>,
    /// Of the last shortlists.
    logits: Vec<f32>,
    loses_logits: bool,
    is_broken: AtomicBool,
}

fn next_token(held: &[TokenId]) -> TokenId {
    let mix = |hash: u64, id: &TokenId| (hash ^ u64::from(*id)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let hash = held.iter().fold(0xcbf2_9ce4, mix) >> 40;
    if hash.is_multiple_of(23) { STOP } else { TokenId::from(b'a') + (hash % 26) as TokenId }
}

/// Gives the letters after the scripted token a chance, so that a draw is one.
fn soften(row: &mut [f32]) {
    let best = row.iter().position(|logit| *logit == 1.0).unwrap();
    (1..8).for_each(|step| row[(best + step) % VOCAB] = 1.0 - 0.1 * step as f32);
}

impl Fragile {
    fn new(misfortune: &Arc<Misfortune>) -> Self {
        Self {
            inner: ScriptedEngine::new(VOCAB, SLOTS, Box::new(next_token)),
            misfortune: Arc::clone(misfortune),
            logits: Vec::new(),
            loses_logits: false,
            is_broken: AtomicBool::new(false),
        }
    }

    fn dies(&self) -> EngineError {
        self.is_broken.store(true, Ordering::Relaxed);
        self.misfortune.n_fatal.fetch_add(1, Ordering::Relaxed);
        EngineError::Device { engine: "fragile".to_owned(), source: "the device is gone".into() }
    }

    fn misfortune_of_step(&mut self) -> Result<(), EngineError> {
        assert!(!self.is_broken.load(Ordering::Relaxed), "a broken engine is used again");
        let number = self.misfortune.n_steps.fetch_add(1, Ordering::Relaxed);
        self.loses_logits = false;
        match self.misfortune.steps.get(&number) {
            None => Ok(()),
            Some(Fault::Fatal) => Err(self.dies()),
            Some(Fault::Panic) => {
                self.dies();
                panic!("this engine panics in step {number}");
            }
            Some(Fault::Logits) => {
                self.loses_logits = true;
                Ok(())
            }
            Some(Fault::Error) => Err(EngineError::OutOfMemory {
                engine: "fragile".to_owned(),
                source: "no memory for the KV cache".into(),
            }),
        }
    }
}

impl Engine for Fragile {
    fn spec(&self) -> &EngineSpec {
        self.inner.spec()
    }

    fn step(&mut self, batch: &[BatchRow<'_>], logits: &mut Vec<f32>) -> Result<(), EngineError> {
        self.misfortune_of_step()?;
        self.inner.step(batch, logits)?;
        logits.chunks_exact_mut(VOCAB).for_each(soften);
        Ok(())
    }

    /// The best three, which decide for greedy decoding and a draw from two, not for one from five.
    fn step_shortlist(
        &mut self,
        batch: &[BatchRow<'_>],
        _kept: usize,
        shortlists: &mut Vec<Shortlist>,
    ) -> Result<bool, EngineError> {
        shortlists.clear();
        let mut logits = Vec::new();
        self.step(batch, &mut logits)?;
        shortlists.extend(logits.chunks_exact(VOCAB).map(|row| Shortlist::best_of(row, 3)));
        self.logits = logits;
        Ok(true)
    }

    fn logits_of(&mut self, row: usize, logits: &mut Vec<f32>) -> Result<(), EngineError> {
        if self.loses_logits {
            return Err(self.dies());
        }
        *logits = self.logits[row * VOCAB..][..VOCAB].to_vec();
        Ok(())
    }

    fn release(&mut self, slot: Slot) {
        self.inner.release(slot);
    }
}

fn start(misfortune: &Arc<Misfortune>) -> InferenceHandle {
    let again = Arc::clone(misfortune);
    let rebuild: Rebuild = Box::new(move || {
        let number = again.n_rebuilds.fetch_add(1, Ordering::Relaxed);
        match again.rebuilds.get(number) {
            Some(false) => Err("the device does not answer".into()),
            _ => Ok(Box::new(Fragile::new(&again))),
        }
    });
    let engine = Box::new(Fragile::new(misfortune));
    let config = ThreadConfig::default();
    InferenceThread::spawn_rebuilding(engine, rebuild, Arc::clone(&TOKENIZER), config)
}

/// A greedy request (0), or one that draws from `top_k` with a penalty, which a sampler that chose
/// twice would not answer the same.
fn request(seed: u64, prompt: &[u8], top_k: usize) -> GenerateRequest {
    let greedy = SamplingParams::default();
    let sampling = match top_k {
        0 => greedy,
        _ => SamplingParams { temperature: 0.9, top_k, repetition_penalty: 1.3, seed, ..greedy },
    };
    GenerateRequest {
        prompt: prompt.iter().map(|byte| TokenId::from(*byte)).collect(),
        new_tokens_max: 24,
        sampling,
        stop: [STOP].into(),
        priority: 128,
        deadline: None,
        draft: Vec::new(),
    }
}

/// The answers of an engine that never breaks, each request alone.
fn right_answers(requests: &[GenerateRequest]) -> Vec<Completion> {
    let handle = start(&Arc::default());
    let answer = |request: &GenerateRequest| {
        handle.submit(vec![request.clone()]).unwrap().wait().remove(0).unwrap()
    };
    requests.iter().map(answer).collect()
}

/// An answer in which one token is wrong.
fn draft(answer: &[TokenId], wrong: usize) -> Vec<TokenId> {
    let mut draft = answer.to_vec();
    if let Some(token) = draft.get_mut(wrong) {
        *token = TokenId::from(b'?');
    }
    draft
}

fn fault() -> impl Strategy<Value = Fault> {
    prop_oneof![Just(Fault::Fatal), Just(Fault::Panic), Just(Fault::Logits), Just(Fault::Error)]
}

fn requests() -> impl Strategy<Value = Vec<GenerateRequest>> {
    let one = (
        any::<u64>(),
        prop::collection::vec(any::<u8>(), 1..20),
        prop::sample::select(&[0, 2, 5][..]),
        any::<bool>(),
    )
        .prop_map(|(seed, prompt, top_k, is_strict)| {
            let mut request = request(seed, &prompt, top_k);
            if is_strict {
                // Much is said before in one long answer; then three tokens do not decide.
                request.sampling.repetition_penalty = 3.0;
                request.new_tokens_max = 100;
            }
            request
        });
    prop::collection::vec(one, 1..10)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    /// Groups of any size, so that some requests run, some wait and some come later when it breaks.
    #[test]
    fn each_request_gets_one_answer_and_a_right_one_or_an_error(
        requests in requests(),
        group in 1_usize..6,
        steps in prop::collection::btree_map(0_usize..60, fault(), 0..6),
        rebuilds in prop::collection::vec(prop::bool::weighted(0.8), 0..6),
        drafts in prop::collection::vec(prop::option::of(0_usize..24), 1..4),
    ) {
        let mut requests = requests;
        let right = right_answers(&requests);
        let drafted = requests.iter_mut().zip(&right).zip(drafts.iter().cycle());
        for ((request, right), cut) in drafted {
            request.draft = cut.map_or_else(Vec::new, |cut| draft(&right.tokens, cut));
        }
        let misfortune = Arc::new(Misfortune { steps, rebuilds, ..Misfortune::default() });
        let handle = start(&misfortune);
        let tickets: Vec<_> =
            requests.chunks(group).map(|group| handle.submit(group.to_vec())).collect();
        let (mut completed, mut failed) = (0, 0);
        for (ticket, right) in tickets.into_iter().zip(right.chunks(group)) {
            let answers = match ticket {
                Ok(ticket) => ticket.wait(),
                Err(SubmitError::Stopped { reason }) => {
                    prop_assert!(handle.stats().stopped.is_some(), "{reason}");
                    continue;
                }
                Err(other) => return Err(TestCaseError::fail(other.to_string())),
            };
            prop_assert_eq!(answers.len(), right.len());
            for (answer, right) in answers.iter().zip(right) {
                match answer {
                    Ok(answer) => {
                        completed += 1;
                        prop_assert_eq!(&answer.text, &right.text);
                        prop_assert_eq!(&answer.tokens, &right.tokens);
                    }
                    Err(GenerateError::Engine { detail }) => {
                        failed += 1;
                        prop_assert!(
                            ["the device is gone", "panics in step", "does not answer", "has no memory for this step"]
                                .iter()
                                .any(|cause| detail.contains(cause)),
                            "{}", detail
                        );
                    }
                    Err(other) => return Err(TestCaseError::fail(other.to_string())),
                }
            }
        }
        handle.shutdown(std::time::Duration::ZERO);
        let stats = handle.stats();
        prop_assert_eq!((stats.completed, stats.failed), (completed, failed));
        prop_assert_eq!((stats.waiting, stats.running, stats.cancelled), (0, 0, 0));
        let fatal = misfortune.n_fatal.load(Ordering::Relaxed) as u64;
        let attempts = misfortune.n_rebuilds.load(Ordering::Relaxed) as u64;
        prop_assert_eq!(stats.faults, fatal + attempts - stats.rebuilds);
        prop_assert!(failed == 0 || !misfortune.steps.is_empty());
    }
}

/// One step that ends the engine costs nobody an answer, whichever it is.
#[test]
fn one_fault_and_everybody_is_answered() {
    let requests: Vec<_> = (0..8)
        .map(|n| request(n, format!("text {n}").as_bytes(), [0, 2, 5][n as usize % 3]))
        .collect();
    let right = right_answers(&requests);
    let mut retried = 0;
    for number in 0..40 {
        for fault in [Fault::Fatal, Fault::Panic] {
            let steps = [(number, fault)].into();
            let misfortune = Arc::new(Misfortune { steps, ..Misfortune::default() });
            let handle = start(&misfortune);
            let answers = handle.submit(requests.clone()).unwrap().wait();
            for (answer, right) in answers.into_iter().zip(&right) {
                assert_eq!(answer.unwrap().tokens, right.tokens, "{fault:?} in step {number}");
            }
            let stats = handle.stats();
            assert_eq!((stats.faults, stats.rebuilds, stats.failed), (1, 1, 0));
            retried += stats.retried;
        }
    }
    assert!(retried > 40, "each fault hit somebody: {retried}");
}

/// A request that breaks every engine is not tried for ever, and takes nobody with it who comes later.
#[test]
fn a_request_that_breaks_engines_is_given_up() {
    let steps = [(0, Fault::Fatal), (1, Fault::Fatal)].into();
    let misfortune = Arc::new(Misfortune { steps, ..Misfortune::default() });
    let handle = start(&misfortune);
    let bad = handle.submit(vec![request(0, b"bad", 0)]).unwrap().wait();
    let Err(GenerateError::Engine { detail }) = &bad[0] else { panic!("{bad:?}") };
    assert!(detail.contains("fragile") && detail.contains("the device is gone"), "{detail}");
    let good = request(0, b"good", 0);
    let right = right_answers(std::slice::from_ref(&good));
    let answer = handle.submit(vec![good]).unwrap().wait().remove(0).unwrap();
    assert_eq!(answer.tokens, right[0].tokens);
    let stats = handle.stats();
    assert_eq!((stats.faults, stats.rebuilds, stats.retried, stats.failed), (2, 2, 1, 1));
    assert_eq!(stats.stopped, None);
}

/// A device that stays away ends the thread: everybody is told why, now and later.
#[test]
fn an_engine_that_cannot_be_made_again_ends_the_thread() {
    let misfortune = Arc::new(Misfortune {
        steps: [(0, Fault::Fatal)].into(),
        rebuilds: vec![false; 10],
        ..Misfortune::default()
    });
    let handle = start(&misfortune);
    let group = (0..40).map(|n| request(n, b"text", 0)).collect();
    for answer in handle.submit(group).unwrap().wait() {
        let Err(GenerateError::Engine { detail }) = &answer else { panic!("{answer:?}") };
        assert!(detail.contains("does not answer"), "{detail}");
    }
    let refused = handle.submit(vec![request(0, b"x", 0)]).unwrap_err();
    assert!(matches!(&refused, SubmitError::Stopped { reason } if reason.contains("not answer")));
    let attempts = misfortune.n_rebuilds.load(Ordering::Relaxed);
    assert_eq!(attempts, FAULTS_IN_A_ROW_MAX, "bounded");
}

/// Another engine in its place would give other answers under the same name.
#[test]
fn an_engine_of_another_kind_is_refused() {
    let misfortune =
        Arc::new(Misfortune { steps: [(0, Fault::Fatal)].into(), ..Misfortune::default() });
    let made = Arc::new(Mutex::new(0));
    let count = Arc::clone(&made);
    let rebuild: Rebuild = Box::new(move || {
        *count.lock().unwrap() += 1;
        Ok(Box::new(ScriptedEngine::new(VOCAB, SLOTS + 1, Box::new(next_token))))
    });
    let engine = Box::new(Fragile::new(&misfortune));
    let tokenizer = Arc::clone(&TOKENIZER);
    let handle =
        InferenceThread::spawn_rebuilding(engine, rebuild, tokenizer, ThreadConfig::default());
    let answer = handle.submit(vec![request(0, b"text", 0)]).unwrap().wait().remove(0);
    let detail = answer.unwrap_err().to_string();
    assert!(detail.contains("came in its place"), "{detail}");
    assert_eq!(*made.lock().unwrap(), 1);
}
