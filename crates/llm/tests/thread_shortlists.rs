//! What the thread asks shortlists for: as much as the row that keeps most, or nothing.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::sync::{Arc, Mutex};

use hymt_llm::TokenId;
use hymt_llm::engine::scripted::ScriptedEngine;
use hymt_llm::engine::{BatchRow, Engine, EngineError, EngineSpec, Shortlist, Slot};
use hymt_llm::request::GenerateRequest;
use hymt_llm::sampling::SamplingParams;
use hymt_llm::thread::{InferenceThread, ThreadConfig};
use hymt_llm::tokenizer::Tokenizer;

const VOCAB: usize = 257;
const STOP: TokenId = 256;

/// Gives no shortlists, and remembers what was asked for of how many rows of logits.
struct Recording {
    inner: ScriptedEngine,
    asked: Arc<Mutex<Vec<(usize, usize)>>>,
}

impl Engine for Recording {
    fn spec(&self) -> &EngineSpec {
        self.inner.spec()
    }

    fn step(&mut self, batch: &[BatchRow<'_>], logits: &mut Vec<f32>) -> Result<(), EngineError> {
        self.inner.step(batch, logits)
    }

    fn step_shortlist(
        &mut self,
        batch: &[BatchRow<'_>],
        kept: usize,
        _shortlists: &mut Vec<Shortlist>,
    ) -> Result<bool, EngineError> {
        let rows = batch.iter().map(BatchRow::logits_rows).sum();
        self.asked.lock().unwrap().push((rows, kept));
        Ok(false)
    }

    fn release(&mut self, slot: Slot) {
        self.inner.release(slot);
    }
}

/// Requests of one group, which run together; what was asked for while all of them did.
fn asked_for(group: &[SamplingParams]) -> Vec<usize> {
    let script = |held: &[TokenId]| if held.len() < 8 { TokenId::from(b'x') } else { STOP };
    let asked = Arc::new(Mutex::new(Vec::new()));
    let engine = Recording {
        inner: ScriptedEngine::new(VOCAB, 4, Box::new(script)),
        asked: Arc::clone(&asked),
    };
    let tokenizer = Arc::new(Tokenizer::bytes());
    let handle = InferenceThread::spawn(Box::new(engine), tokenizer, ThreadConfig::default());
    let request = |sampling: &SamplingParams| GenerateRequest {
        prompt: vec![1, 2],
        new_tokens_max: 50,
        sampling: *sampling,
        stop: [STOP].into(),
        priority: 0,
        deadline: None,
        draft: Vec::new(),
    };
    let answers = handle.submit(group.iter().map(request).collect()).unwrap().wait();
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    let asked = asked.lock().unwrap();
    asked.iter().filter(|(rows, _)| *rows == group.len()).map(|(_, kept)| *kept).collect()
}

#[test]
fn as_much_is_asked_for_as_the_row_that_keeps_most_does() {
    let greedy = SamplingParams::default();
    let twenty = SamplingParams { temperature: 0.7, top_k: 20, ..greedy };
    let three = SamplingParams { temperature: 0.7, top_k: 3, ..greedy };
    for (group, kept) in [
        (vec![greedy], 1),
        (vec![greedy, greedy], 1),
        (vec![greedy, twenty, three], 20),
        (vec![twenty, greedy], 20),
    ] {
        let asked = asked_for(&group);
        assert!(!asked.is_empty(), "{group:?}");
        assert!(asked.iter().all(|other| *other == kept), "{asked:?} for {group:?}");
    }
}

#[test]
fn nothing_is_asked_for_where_a_row_may_need_all_logits() {
    let greedy = SamplingParams::default();
    let from_all = SamplingParams { temperature: 0.7, ..greedy };
    let attracted = SamplingParams { repetition_penalty: 0.9, ..greedy };
    for other in [from_all, attracted] {
        assert_eq!(asked_for(&[greedy, other]), Vec::<usize>::new(), "{other:?}");
    }
}
