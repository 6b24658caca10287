//! Drafts through the inference thread: whatever they are, nothing but the number of steps changes.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::sync::{Arc, LazyLock};

use hymt_llm::TokenId;
use hymt_llm::engine::{BatchRow, Engine, EngineError, EngineSpec, Slot};
use hymt_llm::request::{Completion, FinishReason, GenerateRequest};
use hymt_llm::sampling::SamplingParams;
use hymt_llm::thread::{InferenceHandle, InferenceThread, ThreadConfig, TicketEvent};
use hymt_llm::tokenizer::Tokenizer;
use proptest::prelude::*;

/// Few, so that garbage is often right by chance and tokens repeat.
const VOCAB: usize = 12;
const STOP: TokenId = 11;
const CONTEXT: usize = 40;

/// Every logit depends on every token before it.
struct Noise {
    spec: EngineSpec,
    slots: Vec<Vec<TokenId>>,
}

impl Noise {
    fn new(step_tokens_max: usize) -> Self {
        let spec = EngineSpec {
            name: "noise".to_owned(),
            vocab_size: VOCAB,
            slots: 3,
            context_tokens_max: CONTEXT,
            step_tokens_max,
        };
        Self { slots: vec![Vec::new(); spec.slots], spec }
    }
}

fn mix(hash: u64, value: u64) -> u64 {
    (hash ^ value).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(31)
}

impl Engine for Noise {
    fn spec(&self) -> &EngineSpec {
        &self.spec
    }

    fn step(&mut self, batch: &[BatchRow<'_>], logits: &mut Vec<f32>) -> Result<(), EngineError> {
        logits.clear();
        self.spec.check_batch(batch, |slot| self.slots[slot].len())?;
        for row in batch {
            let held = &mut self.slots[usize::from(row.slot.0)];
            held.truncate(row.position);
            for (index, token) in row.tokens.iter().enumerate() {
                held.push(*token);
                if index + row.logits_rows() >= row.tokens.len() {
                    let hash = held.iter().fold(1, |hash, id| mix(hash, u64::from(*id)));
                    let logit = |id| (mix(hash, id) >> 56) as f32 / 64.0 - 2.0;
                    logits.extend((0..VOCAB as u64).map(logit));
                }
            }
        }
        Ok(())
    }

    fn release(&mut self, slot: Slot) {
        self.slots[usize::from(slot.0)].clear();
    }
}

fn start(step_tokens_max: usize) -> InferenceHandle {
    static TOKENIZER: LazyLock<Arc<Tokenizer>> = LazyLock::new(|| Arc::new(Tokenizer::bytes()));
    let engine = Box::new(Noise::new(step_tokens_max));
    InferenceThread::spawn(engine, Arc::clone(&TOKENIZER), ThreadConfig::default())
}

fn request() -> impl Strategy<Value = GenerateRequest> {
    let prompt = prop::collection::vec(0..VOCAB as TokenId, 1..20);
    let temperature = prop_oneof![4 => Just(0.0_f32), 1 => Just(0.8)];
    let penalty = prop_oneof![Just(1.0_f32), Just(1.3), Just(0.7)];
    let stop = prop_oneof![Just(vec![STOP]), Just(vec![]), Just(vec![STOP, 3])];
    let all = (prompt, 1_usize..40, temperature, penalty, stop);
    all.prop_map(|(prompt, new_tokens_max, temperature, repetition_penalty, stop)| {
        GenerateRequest {
            prompt,
            new_tokens_max,
            sampling: SamplingParams {
                temperature,
                repetition_penalty,
                ..SamplingParams::default()
            },
            stop: stop.into(),
            priority: 128,
            deadline: None,
            draft: Vec::new(),
        }
    })
}

/// What the caller hears of each request: streamed text, and the answer.
fn follow(
    handle: &InferenceHandle,
    group: Vec<GenerateRequest>,
) -> Vec<(String, Vec<TokenId>, FinishReason)> {
    let mut texts = vec![String::new(); group.len()];
    let mut answers: Vec<Option<Completion>> = vec![None; group.len()];
    let mut group = handle.submit(group).unwrap();
    while let Some((index, event)) = group.next_event(None) {
        match event {
            TicketEvent::Text { delta } => texts[index].push_str(&delta),
            TicketEvent::Done(answer) => answers[index] = Some(answer),
            TicketEvent::Failed(error) => panic!("{error}"),
        }
    }
    let answers = texts.into_iter().zip(answers).map(|(text, answer)| {
        let answer = answer.unwrap();
        assert_eq!(text, answer.text, "streamed text adds up");
        (text, answer.tokens, answer.finish)
    });
    answers.collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]
    #[test]
    fn no_draft_changes_an_answer(
        requests in prop::collection::vec(request(), 1..6),
        garbage in prop::collection::vec(prop::collection::vec(0..VOCAB as TokenId, 0..50), 6),
        cut in 0_usize..40,
        step_tokens_max in 3_usize..60,
    ) {
        let handle = start(step_tokens_max);
        let plain = follow(&handle, requests.clone());
        let before = handle.stats();
        prop_assert_eq!((before.tokens_drafted, before.tokens_accepted), (0, 0));
        let drafted = |draft: &dyn Fn(usize) -> Vec<TokenId>| -> Vec<_> {
            let all = requests.iter().enumerate();
            all.map(|(i, request)| GenerateRequest { draft: draft(i), ..request.clone() }).collect()
        };
        let answer = |i: usize| -> Vec<TokenId> { plain[i].1.clone() };
        prop_assert_eq!(&follow(&handle, drafted(&|i| garbage[i].clone())), &plain);
        prop_assert_eq!(&follow(&handle, drafted(&|i| {
            let (mut draft, cut) = (answer(i), cut.min(answer(i).len()));
            draft.splice(cut..(cut + 1).min(answer(i).len()), garbage[i].iter().take(2).copied());
            draft
        })), &plain);
        let middle = handle.stats();
        prop_assert_eq!(&follow(&handle, drafted(&answer)), &plain);
        let after = handle.stats();
        prop_assert!(after.steps - middle.steps <= before.steps, "a right draft costs no step");
        prop_assert!(after.tokens_accepted <= after.tokens_drafted);
        if step_tokens_max >= 59 && requests.len() == 1 {
            // One prompt and its whole answer fit a step, but for guesses beyond their bound.
            let is_greedy = requests[0].sampling.temperature == 0.0;
            let accepted = after.tokens_accepted - middle.tokens_accepted;
            prop_assert!(!is_greedy || plain[0].1.is_empty() || accepted as usize + 3 >= plain[0].1.len());
            prop_assert!(is_greedy || accepted == 0, "what is drawn takes no draft");
        }
    }
}

#[test]
fn a_draft_of_unknown_tokens_is_refused_like_a_prompt() {
    let request = GenerateRequest {
        prompt: vec![1],
        new_tokens_max: 3,
        sampling: SamplingParams::default(),
        stop: [STOP].into(),
        priority: 128,
        deadline: None,
        draft: vec![1, VOCAB as TokenId],
    };
    let refused = start(8).submit(vec![request]).unwrap_err().to_string();
    assert!(refused.contains("vocabulary of 12"), "{refused}");
}
