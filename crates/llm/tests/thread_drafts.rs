//! Drafts through the inference thread: whatever they are, nothing but the number of steps changes.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};

use hymt_llm::TokenId;
use hymt_llm::engine::{BatchRow, Engine, EngineError, EngineSpec, Shortlist, Slot};
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
    /// Where it is there, steps end in shortlists.
    short: Option<Arc<Short>>,
    /// All logits of the last shortlists.
    kept: Vec<f32>,
    cheap_step_tokens: usize,
}

/// How shortlists were used.
#[derive(Debug, Default)]
struct Short {
    /// Rows of logits behind guesses, that is, all but the first one of a row of the batch.
    n_behind_guesses: AtomicUsize,
    /// Rows of logits that no shortlist decided.
    n_whole: AtomicUsize,
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
        let slots = vec![Vec::new(); spec.slots];
        Self { slots, spec, short: None, kept: Vec::new(), cheap_step_tokens: usize::MAX }
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

    /// None to five tokens long, so that many do not decide.
    fn step_shortlist(
        &mut self,
        batch: &[BatchRow<'_>],
        _kept: usize,
        shortlists: &mut Vec<Shortlist>,
    ) -> Result<bool, EngineError> {
        let Some(short) = self.short.clone() else { return Ok(false) };
        let mut logits = std::mem::take(&mut self.kept);
        self.step(batch, &mut logits)?;
        let n = |row: &[f32]| (row.iter().sum::<f32>() * 64.0).abs() as usize % 6;
        let rows = logits.chunks_exact(VOCAB);
        *shortlists = rows.map(|row| Shortlist::best_of(row, n(row))).collect();
        self.kept = logits;
        let behind = batch.iter().map(|row| row.logits_rows().saturating_sub(1)).sum();
        short.n_behind_guesses.fetch_add(behind, Ordering::Relaxed);
        Ok(true)
    }

    fn logits_of(&mut self, row: usize, logits: &mut Vec<f32>) -> Result<(), EngineError> {
        self.short.as_ref().unwrap().n_whole.fetch_add(1, Ordering::Relaxed);
        *logits = self.kept[row * VOCAB..][..VOCAB].to_vec();
        Ok(())
    }

    fn cheap_step_tokens(&self) -> usize {
        self.cheap_step_tokens
    }

    fn release(&mut self, slot: Slot) {
        self.slots[usize::from(slot.0)].clear();
    }
}

fn start(step_tokens_max: usize) -> InferenceHandle {
    spawn(Noise::new(step_tokens_max))
}

fn spawn(engine: Noise) -> InferenceHandle {
    static TOKENIZER: LazyLock<Arc<Tokenizer>> = LazyLock::new(|| Arc::new(Tokenizer::bytes()));
    InferenceThread::spawn(Box::new(engine), Arc::clone(&TOKENIZER), ThreadConfig::default())
}

/// The same with shortlists.
fn start_short(step_tokens_max: usize, cheap_step_tokens: usize) -> (InferenceHandle, Arc<Short>) {
    let short = Arc::new(Short::default());
    let engine =
        Noise { short: Some(Arc::clone(&short)), cheap_step_tokens, ..Noise::new(step_tokens_max) };
    (spawn(engine), short)
}

fn request() -> impl Strategy<Value = GenerateRequest> {
    let prompt = prop::collection::vec(0..VOCAB as TokenId, 1..20);
    let temperature = prop_oneof![4 => Just(0.0_f32), 1 => Just(0.8)];
    let penalty = prop_oneof![Just(1.0_f32), Just(1.3), Just(0.7)];
    let stop = prop_oneof![Just(vec![STOP]), Just(vec![]), Just(vec![STOP, 3])];
    let top_k = prop_oneof![Just(0_usize), Just(3)];
    let all = (prompt, 1_usize..40, temperature, top_k, penalty, stop);
    all.prop_map(|(prompt, new_tokens_max, temperature, top_k, repetition_penalty, stop)| {
        GenerateRequest {
            prompt,
            new_tokens_max,
            sampling: SamplingParams {
                temperature,
                top_k,
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

/// Right up to `cut`, and from there on after one token more.
fn edited(answer: &[TokenId], cut: usize, put_in: TokenId) -> Vec<TokenId> {
    let cut = cut.min(answer.len());
    [&answer[..cut], &[put_in], &answer[cut..]].concat()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]
    #[test]
    fn shortlists_choose_what_whole_rows_choose(
        requests in prop::collection::vec(request(), 1..6),
        garbage in prop::collection::vec(0..VOCAB as TokenId, 0..50),
        cut in 0_usize..40,
        step_tokens_max in 3_usize..60,
        cheap_step_tokens in prop_oneof![Just(usize::MAX), 0_usize..9],
    ) {
        let plain = follow(&start(step_tokens_max), requests.clone());
        let (short, _) = start_short(step_tokens_max, cheap_step_tokens);
        prop_assert_eq!(&follow(&short, requests.clone()), &plain);
        for draft in ["right", "wrong", "partly right"] {
            let drafted = requests.iter().zip(&plain).map(|(request, (_, answer, _))| {
                let draft = match draft {
                    "right" => answer.clone(),
                    "wrong" => garbage.clone(),
                    _ => edited(answer, cut, 7),
                };
                GenerateRequest { draft, ..request.clone() }
            });
            prop_assert_eq!(&follow(&short, drafted.collect()), &plain);
        }
    }
}

/// Or the property above would be empty: shortlists are used for drafts, and some do not decide.
#[test]
fn drafts_are_verified_with_shortlists() {
    let (handle, short) = start_short(59, usize::MAX);
    let whole = start(59);
    let mut accepted = 0;
    for first in 0..20 {
        let request = GenerateRequest {
            prompt: vec![first % VOCAB as TokenId, first / 2],
            new_tokens_max: 30,
            sampling: SamplingParams { repetition_penalty: 1.1, ..SamplingParams::default() },
            stop: [].into(),
            priority: 128,
            deadline: None,
            draft: Vec::new(),
        };
        let plain = follow(&whole, vec![request.clone()]);
        let draft = edited(&plain[0].1, 12, 5);
        let before = handle.stats();
        assert_eq!(follow(&handle, vec![GenerateRequest { draft, ..request }]), plain);
        let after = handle.stats();
        assert!(after.steps - before.steps < 15, "{} steps", after.steps - before.steps);
        accepted += after.tokens_accepted - before.tokens_accepted;
    }
    assert!(accepted > 20 * 15, "{accepted} guesses accepted");
    let count = |counter: &AtomicUsize| counter.load(Ordering::Relaxed);
    let (behind, n_whole) = (count(&short.n_behind_guesses), count(&short.n_whole));
    assert!(behind > 20 * 20 && n_whole > 20, "{short:?}");
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
