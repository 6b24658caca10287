//! An engine whose arithmetic breaks down: no garbage, and nobody else suffers.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::sync::Arc;

use hymt_llm::TokenId;
use hymt_llm::engine::scripted::ScriptedEngine;
use hymt_llm::engine::{BatchRow, Engine, EngineError, EngineSpec, Shortlist, Slot};
use hymt_llm::request::{GenerateError, GenerateRequest};
use hymt_llm::sampling::SamplingParams;
use hymt_llm::thread::{InferenceHandle, InferenceThread, ThreadConfig};
use hymt_llm::tokenizer::Tokenizer;

const VOCAB: usize = 257;
const STOP: TokenId = 256;
/// A prompt that begins with this token damages its own row.
const DAMAGED: TokenId = 9;
/// Length of a sequence from which on it does.
const DAMAGED_FROM: usize = 5;

/// Writes one value over the logits of damaged rows.
struct Damaged {
    inner: ScriptedEngine,
    value: f32,
    /// Whether it gives shortlists, and all logits of the last ones.
    is_short: bool,
    kept: Vec<f32>,
}

impl Engine for Damaged {
    fn spec(&self) -> &EngineSpec {
        self.inner.spec()
    }

    fn step(&mut self, batch: &[BatchRow<'_>], logits: &mut Vec<f32>) -> Result<(), EngineError> {
        self.inner.step(batch, logits)?;
        for row in logits.chunks_exact_mut(VOCAB) {
            // The script marks a damaged row by choosing this token.
            if row[DAMAGED as usize] == 1.0 {
                row.fill(self.value);
            }
        }
        Ok(())
    }

    fn step_shortlist(
        &mut self,
        batch: &[BatchRow<'_>],
        _kept: usize,
        shortlists: &mut Vec<Shortlist>,
    ) -> Result<bool, EngineError> {
        if !self.is_short {
            return Ok(false);
        }
        let mut logits = Vec::new();
        self.step(batch, &mut logits)?;
        let rows = logits.chunks_exact(VOCAB);
        *shortlists = rows.map(|row| Shortlist::best_of(row, 3)).collect();
        self.kept = logits;
        Ok(true)
    }

    fn logits_of(&mut self, row: usize, logits: &mut Vec<f32>) -> Result<(), EngineError> {
        *logits = self.kept[row * VOCAB..][..VOCAB].to_vec();
        Ok(())
    }

    fn release(&mut self, slot: Slot) {
        self.inner.release(slot);
    }
}

fn script(held: &[TokenId]) -> TokenId {
    match held.len() {
        DAMAGED_FROM.. if held[0] == DAMAGED => DAMAGED,
        12.. => STOP,
        _ => TokenId::from(b'x'),
    }
}

fn start(value: f32, is_short: bool) -> InferenceHandle {
    let inner = ScriptedEngine::new(VOCAB, 4, Box::new(script));
    let engine = Damaged { inner, value, is_short, kept: Vec::new() };
    let tokenizer = Arc::new(Tokenizer::bytes());
    InferenceThread::spawn(Box::new(engine), tokenizer, ThreadConfig::default())
}

fn request(first: TokenId, temperature: f32) -> GenerateRequest {
    GenerateRequest {
        prompt: vec![first, 1, 2],
        new_tokens_max: 50,
        sampling: SamplingParams { temperature, ..SamplingParams::default() },
        stop: [STOP].into(),
        priority: 0,
        deadline: None,
        draft: Vec::new(),
    }
}

/// A request with a draft meets the damage behind a guess that was right.
#[test]
fn logits_that_are_not_finite_end_their_request_only() {
    for value in [f32::NAN, f32::NEG_INFINITY, f32::INFINITY] {
        for temperature in [0.0, 0.01] {
            for (is_short, draft_len) in [(false, 0), (false, 7), (true, 0), (true, 7)] {
                let group = [1, DAMAGED, 2].map(|first| {
                    let mut request = request(first, temperature);
                    request.draft = vec![TokenId::from(b'x'); draft_len];
                    // A draw from few takes a shortlist, too.
                    request.sampling.top_k = if is_short { 2 } else { 0 };
                    request
                });
                ends_alone(&start(value, is_short), &group);
            }
        }
    }
}

/// The second of three requests is the damaged one.
fn ends_alone(handle: &InferenceHandle, group: &[GenerateRequest]) {
    let answers = handle.submit(group.to_vec()).unwrap().wait();
    let Err(GenerateError::Engine { detail }) = &answers[1] else {
        panic!("{group:?}: {:?}", answers[1]);
    };
    assert!(detail.contains("not finite"), "{detail}");
    for healthy in [&answers[0], &answers[2]] {
        assert_eq!(healthy.as_ref().unwrap().text, "x".repeat(9));
    }
    // Its slot is free again, and the thread lives.
    let again = (0..4).map(|_| request(3, group[0].sampling.temperature)).collect();
    assert!(handle.submit(again).unwrap().wait().iter().all(Result::is_ok));
    let stats = handle.stats();
    let counts = (stats.completed, stats.failed, stats.running, stats.stopped);
    assert_eq!(counts, (6, 1, 0, None));
}
