//! Sampling against the logits processors of Hugging Face transformers.
//!
//! `tests/golden/make_sampling_golden.py` made the cases.

use std::collections::BTreeMap;

use hymt_llm::TokenId;
use hymt_llm::sampling::{Sampler, SamplingParams};
use serde::Deserialize;

/// The reference computes probabilities in f32.
const PROBABILITY_TOLERANCE: f64 = 1e-5;

#[derive(Deserialize)]
struct Case {
    ids: Vec<TokenId>,
    logits: Vec<f32>,
    temperature: f32,
    top_k: usize,
    top_p: f32,
    repetition_penalty: f32,
    kept: BTreeMap<TokenId, f64>,
}

fn cases() -> Vec<Case> {
    serde_json::from_str(include_str!("golden/sampling.json")).expect("the golden file is JSON")
}

impl Case {
    fn params(&self) -> SamplingParams {
        SamplingParams {
            temperature: self.temperature,
            top_k: self.top_k,
            top_p: self.top_p,
            repetition_penalty: self.repetition_penalty,
            seed: 1,
        }
    }
}

#[test]
fn the_same_tokens_are_kept_with_the_same_probabilities() {
    for case in cases() {
        let mut sampler = Sampler::new(case.params(), &case.ids).unwrap();
        let kept: BTreeMap<TokenId, f64> = sampler
            .candidates(&case.logits)
            .iter()
            .map(|candidate| (candidate.id, candidate.probability))
            .collect();
        assert!(kept.keys().eq(case.kept.keys()), "{:?}: {kept:?}", case.params());
        for (id, probability) in &kept {
            let difference = (probability - case.kept[id]).abs();
            assert!(difference < PROBABILITY_TOLERANCE, "{:?}: token {id}", case.params());
        }
    }
}

#[test]
fn every_draw_is_one_of_the_kept_tokens() {
    for case in cases() {
        for seed in 0..50 {
            let params = SamplingParams { seed, ..case.params() };
            let id = Sampler::new(params, &case.ids).unwrap().sample(&case.logits);
            assert!(case.kept.contains_key(&id), "{params:?} drew {id}");
        }
    }
}

#[test]
fn greedy_takes_the_most_probable_of_the_penalised_tokens() {
    for case in cases() {
        let params = SamplingParams { temperature: 0.0, ..case.params() };
        let id = Sampler::new(params, &case.ids).unwrap().sample(&case.logits);
        let most = case.kept.values().copied().fold(0.0, f64::max);
        assert_eq!(case.kept[&id], most, "{params:?}");
    }
}
