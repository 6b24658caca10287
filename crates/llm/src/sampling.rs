//! From logits to the next token, in the order Hugging Face uses.
//!
//! Repetition penalty over prompt and output (no window; positive logits are divided, negative
//! ones multiplied), then temperature, top-k, top-p, and the draw. With temperature 0 the largest
//! penalised logit wins, and among equals the lowest id.

use std::cmp::Ordering;

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use crate::TokenId;
use crate::config::VOCAB_MAX;
use crate::engine::Shortlist;

/// Largest temperature.
pub const TEMPERATURE_MAX: f32 = 100.0;
/// Largest repetition penalty.
pub const REPETITION_PENALTY_MAX: f32 = 10.0;

/// How to choose tokens. The default is greedy.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SamplingParams {
    /// 0 is greedy; at most [`TEMPERATURE_MAX`].
    pub temperature: f32,
    /// Keep the k largest logits and those equal to the k-th; 0 keeps all.
    pub top_k: usize,
    /// Keep the most probable tokens until their sum reaches this, in (0, 1]; 1 keeps all.
    pub top_p: f32,
    /// Makes tokens of the prompt and the output less likely when above 1; in
    /// (0, [`REPETITION_PENALTY_MAX`]]; 1 does nothing.
    pub repetition_penalty: f32,
    /// Same seed, same tokens, for one version of this crate on 64-bit machines: the generator
    /// may change between versions.
    pub seed: u64,
}

impl Default for SamplingParams {
    fn default() -> Self {
        Self { temperature: 0.0, top_k: 0, top_p: 1.0, repetition_penalty: 1.0, seed: 0 }
    }
}

/// A sampling parameter is out of bounds.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{name} is {value}; allowed: {allowed}")]
pub struct SamplingError {
    /// Name of the parameter.
    pub name: &'static str,
    /// Its value.
    pub value: f32,
    /// The allowed range.
    pub allowed: String,
}

impl SamplingParams {
    /// Checks every field.
    ///
    /// # Errors
    /// [`SamplingError`] names the first one that is out of bounds.
    pub fn validate(&self) -> Result<(), SamplingError> {
        let check = |name, value: f32, sound: bool, allowed: String| {
            if sound { Ok(()) } else { Err(SamplingError { name, value, allowed }) }
        };
        let Self { temperature, top_p, repetition_penalty: penalty, .. } = *self;
        check(
            "temperature",
            temperature,
            (0.0..=TEMPERATURE_MAX).contains(&temperature),
            format!("0 to {TEMPERATURE_MAX}"),
        )?;
        check("top_p", top_p, top_p > 0.0 && top_p <= 1.0, "above 0, up to 1".to_owned())?;
        check(
            "repetition_penalty",
            penalty,
            penalty > 0.0 && penalty <= REPETITION_PENALTY_MAX,
            format!("above 0, up to {REPETITION_PENALTY_MAX}"),
        )
    }
}

/// Chooses the tokens of one sequence.
#[derive(Debug)]
pub struct Sampler {
    params: SamplingParams,
    rng: SmallRng,
    /// Tokens of prompt and output; stays empty when there is no penalty.
    seen: TokenSet,
    candidates: Vec<Candidate>,
}

/// A set of tokens, one bit each: it is asked for hundreds of tokens a step.
#[derive(Debug, Default)]
struct TokenSet(Vec<u64>);

impl TokenSet {
    /// What no vocabulary has is never asked for.
    fn insert(&mut self, id: TokenId) {
        if id as usize >= VOCAB_MAX {
            return;
        }
        let (word, bit) = (id as usize / 64, id % 64);
        if word >= self.0.len() {
            self.0.resize(word + 1, 0);
        }
        self.0[word] |= 1 << bit;
    }

    fn contains(&self, id: TokenId) -> bool {
        self.0.get(id as usize / 64).is_some_and(|word| word >> (id % 64) & 1 == 1)
    }
}

/// A token that may be drawn.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Candidate {
    /// The token.
    pub id: TokenId,
    /// Its probability among the candidates.
    pub probability: f64,
}

impl Sampler {
    /// A sampler for a sequence that starts with `prompt`.
    ///
    /// # Errors
    /// [`SamplingError`] when a parameter is out of bounds.
    pub fn new(params: SamplingParams, prompt: &[TokenId]) -> Result<Self, SamplingError> {
        params.validate()?;
        let mut sampler = Self {
            params,
            rng: SmallRng::seed_from_u64(params.seed),
            seen: TokenSet::default(),
            candidates: Vec::new(),
        };
        prompt.iter().for_each(|id| sampler.record(*id));
        Ok(sampler)
    }

    /// The parameters in use.
    pub fn params(&self) -> &SamplingParams {
        &self.params
    }

    /// Chooses the next token from one row of logits and counts it as output. NaN is never
    /// chosen while there is a number; of an empty row, or one of NaN only, the result is 0.
    pub fn sample(&mut self, logits: &[f32]) -> TokenId {
        let id = if self.params.temperature == 0.0 { self.best(logits) } else { self.draw(logits) };
        self.record(id);
        id
    }

    /// How many logits [`Self::sample_shortlist`] keeps to choose from, equals not counted; `None` when it
    /// can never decide.
    pub fn shortlist_kept(&self) -> Option<usize> {
        let SamplingParams { temperature, top_k, repetition_penalty, .. } = self.params;
        let kept = if temperature == 0.0 { 1 } else { top_k };
        (repetition_penalty >= 1.0 && kept > 0).then_some(kept)
    }

    /// Whether a choice depends on those before it: by a penalty, or by the numbers that were drawn.
    pub fn remembers_choices(&self) -> bool {
        self.params.temperature != 0.0 || self.params.repetition_penalty != 1.0
    }

    /// What [`Self::sample`] would choose from the whole row, when the shortlist is enough to
    /// know; `None`, and nothing is counted or drawn, when it is not.
    pub fn sample_shortlist(&mut self, list: &Shortlist) -> Option<TokenId> {
        if self.shortlist_kept().is_none()
            || list.entries.iter().any(|(_, logit)| !logit.is_finite())
        {
            return None;
        }
        let is_greedy = self.params.temperature == 0.0;
        // All are finite, and zeros of either sign are equal, as in whole rows.
        let better_first = |a: &(TokenId, f32), b: &(TokenId, f32)| {
            b.1.partial_cmp(&a.1).unwrap_or(Ordering::Equal).then(a.0.cmp(&b.0))
        };
        let penalised = list.entries.iter().map(|(id, logit)| (*id, self.penalised(*id, *logit)));
        let (kept, (kth_id, kth)) = if is_greedy {
            (Vec::new(), penalised.min_by(better_first)?)
        } else {
            let mut kept: Vec<_> = penalised.collect();
            let last = self.params.top_k - 1;
            if kept.len() <= last {
                return None;
            }
            let kth = *kept.select_nth_unstable_by(last, better_first).1;
            (kept, kth)
        };
        // A penalty of 1 or more never raises a logit, so nothing outside the list passes its
        // bound; what equals the bound may have an equal outside.
        if kth.partial_cmp(&list.bound) != Some(Ordering::Greater) {
            return None;
        }
        let id = if is_greedy {
            kth_id
        } else {
            self.collect_penalised(kept.into_iter().filter(|(_, logit)| *logit >= kth));
            self.draw_candidate()
        };
        self.record(id);
        Some(id)
    }

    /// Counts a token as output that was chosen elsewhere, for example an accepted draft.
    pub fn record(&mut self, id: TokenId) {
        if self.params.repetition_penalty != 1.0 {
            self.seen.insert(id);
        }
    }

    /// What [`Self::sample`] would draw from: the most probable first, and equals by id. Greedy
    /// has one candidate.
    pub fn candidates(&mut self, logits: &[f32]) -> &[Candidate] {
        if self.params.temperature == 0.0 {
            let id = self.best(logits);
            self.candidates.clear();
            self.candidates.push(Candidate { id, probability: 1.0 });
        } else {
            self.collect_candidates(logits);
        }
        &self.candidates
    }

    fn best(&self, logits: &[f32]) -> TokenId {
        let mut best = (0, f32::NEG_INFINITY);
        for (id, logit) in (0..).zip(logits) {
            // The penalty is worth a hash look-up only where it can matter.
            if *logit > best.1 || (self.params.repetition_penalty < 1.0 && !logit.is_nan()) {
                let logit = self.penalised(id, *logit);
                if logit > best.1 {
                    best = (id, logit);
                }
            }
        }
        best.0
    }

    fn draw(&mut self, logits: &[f32]) -> TokenId {
        self.collect_candidates(logits);
        self.draw_candidate()
    }

    fn draw_candidate(&mut self) -> TokenId {
        let mut left: f64 = self.rng.random();
        for candidate in &self.candidates {
            left -= candidate.probability;
            if left < 0.0 {
                return candidate.id;
            }
        }
        // Rounding may leave a little of the unit interval uncovered.
        self.candidates.last().map_or(0, |candidate| candidate.id)
    }

    fn penalised(&self, id: TokenId, logit: f32) -> f32 {
        let penalty = self.params.repetition_penalty;
        match self.seen.contains(id) {
            false => logit,
            true if logit < 0.0 => logit * penalty,
            true => logit / penalty,
        }
    }

    fn collect_candidates(&mut self, logits: &[f32]) {
        let numbers = (0..).zip(logits).filter(|(_, logit)| !logit.is_nan());
        let penalised: Vec<_> =
            numbers.map(|(id, logit)| (id, self.penalised(id, *logit))).collect();
        self.collect_penalised(penalised.into_iter());
    }

    fn collect_penalised(&mut self, penalised: impl Iterator<Item = (TokenId, f32)>) {
        // From here on `probability` first holds the scaled logit.
        let temperature = f64::from(self.params.temperature);
        let mut all = std::mem::take(&mut self.candidates);
        all.clear();
        all.extend(penalised.map(|(id, logit)| {
            let logit = logit.clamp(f32::MIN, f32::MAX);
            Candidate { id, probability: f64::from(logit) / temperature }
        }));
        keep_top_k(&mut all, self.params.top_k);
        all.sort_unstable_by(|a, b| b.probability.total_cmp(&a.probability).then(a.id.cmp(&b.id)));
        softmax(&mut all);
        keep_top_p(&mut all, f64::from(self.params.top_p));
        self.candidates = all;
    }
}

/// Keeps the `k` largest and whatever equals the smallest of them.
fn keep_top_k(all: &mut Vec<Candidate>, k: usize) {
    if k == 0 || k >= all.len() {
        return;
    }
    let (_, kth, _) =
        all.select_nth_unstable_by(k - 1, |a, b| b.probability.total_cmp(&a.probability));
    let threshold = kth.probability;
    all.retain(|candidate| candidate.probability >= threshold);
}

/// `all` is sorted, largest first.
fn softmax(all: &mut [Candidate]) {
    let Some(max) = all.first().map(|candidate| candidate.probability) else { return };
    let mut sum = 0.0;
    for candidate in &mut *all {
        candidate.probability = (candidate.probability - max).exp();
        sum += candidate.probability;
    }
    all.iter_mut().for_each(|candidate| candidate.probability /= sum);
}

/// Keeps a token while the more probable ones sum up to less than `p`.
fn keep_top_p(all: &mut Vec<Candidate>, p: f64) {
    if p >= 1.0 {
        return;
    }
    let mut sum = 0.0;
    let kept = all.iter().take_while(|candidate| {
        let keep = sum < p;
        sum += candidate.probability;
        keep
    });
    let n = kept.count().max(1).min(all.len());
    all.truncate(n);
    let sum: f64 = all.iter().map(|candidate| candidate.probability).sum();
    all.iter_mut().for_each(|candidate| candidate.probability /= sum);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sampler(params: SamplingParams, prompt: &[TokenId]) -> Sampler {
        Sampler::new(params, prompt).unwrap()
    }

    #[test]
    fn greedy_takes_the_lowest_of_equal_ids_and_never_nan() {
        let mut greedy = sampler(SamplingParams::default(), &[]);
        assert_eq!(greedy.sample(&[1.0, 3.0, 3.0, 2.0]), 1);
        assert_eq!(greedy.sample(&[f32::NAN, -5.0, f32::NAN, -2.0]), 3);
        assert_eq!(greedy.sample(&[f32::NAN, f32::NAN]), 0);
        assert_eq!(greedy.sample(&[]), 0);
        assert_eq!(greedy.sample(&[f32::NEG_INFINITY, f32::INFINITY]), 1);
    }

    #[test]
    fn the_penalty_divides_positive_and_multiplies_negative_logits() {
        let params = SamplingParams { repetition_penalty: 2.0, ..Default::default() };
        assert_eq!(sampler(params, &[1]).sample(&[1.0, 1.9]), 0);
        assert_eq!(sampler(params, &[1]).sample(&[-1.9, -1.0]), 0);
        assert_eq!(sampler(params, &[0, 1]).sample(&[1.0, 1.9]), 1);
        // Output counts as well as the prompt.
        let mut both = sampler(params, &[]);
        assert_eq!((both.sample(&[1.0, 1.9]), both.sample(&[1.0, 1.9])), (1, 0));
        // Below 1 it attracts.
        let params = SamplingParams { repetition_penalty: 0.5, ..Default::default() };
        assert_eq!(sampler(params, &[1]).sample(&[1.9, 1.0]), 1);
    }

    #[test]
    fn bad_parameters_are_named() {
        let good = SamplingParams::default();
        let cases = [
            ("temperature", SamplingParams { temperature: -0.1, ..good }),
            ("temperature", SamplingParams { temperature: f32::NAN, ..good }),
            ("temperature", SamplingParams { temperature: f32::INFINITY, ..good }),
            ("top_p", SamplingParams { top_p: 0.0, ..good }),
            ("top_p", SamplingParams { top_p: 1.5, ..good }),
            ("repetition_penalty", SamplingParams { repetition_penalty: 0.0, ..good }),
            ("repetition_penalty", SamplingParams { repetition_penalty: f32::NAN, ..good }),
        ];
        for (name, params) in cases {
            assert_eq!(params.validate().unwrap_err().name, name);
        }
    }

    #[test]
    fn draws_follow_the_probabilities() {
        let params = SamplingParams { temperature: 1.0, seed: 3, ..Default::default() };
        let mut sampler = sampler(params, &[]);
        let logits = [0.5_f32.ln(), 0.3_f32.ln(), 0.2_f32.ln(), f32::NEG_INFINITY];
        let mut counts = [0_u32; 4];
        for _ in 0..10_000 {
            counts[sampler.sample(&logits) as usize] += 1;
        }
        // Four standard deviations of a binomial with n = 10,000 are at most 200.
        assert!(counts[0].abs_diff(5000) < 200 && counts[1].abs_diff(3000) < 200, "{counts:?}");
        assert_eq!(counts[3], 0);
    }

    #[test]
    fn one_seed_gives_one_sequence() {
        let draw = |seed| {
            let params = SamplingParams { temperature: 1.0, seed, ..Default::default() };
            let mut sampler = sampler(params, &[]);
            (0..50).map(|_| sampler.sample(&[1.0; 40])).collect::<Vec<_>>()
        };
        assert_eq!(draw(1), draw(1));
        assert_ne!(draw(1), draw(2));
    }

    proptest! {
        #[test]
        fn a_sample_is_always_in_range(
            logits in proptest::collection::vec(any::<f32>(), 1..40),
            temperature in 0.0_f32..3.0,
            top_k in 0_usize..50,
            top_p in 0.01_f32..=1.0,
            repetition_penalty in 0.1_f32..3.0,
        ) {
            let params =
                SamplingParams { temperature, top_k, top_p, repetition_penalty, seed: 1 };
            let id = sampler(params, &[0, 3]).sample(&logits) as usize;
            prop_assert!(id < logits.len());
            prop_assert!(!logits[id].is_nan() || logits.iter().all(|x| x.is_nan()));
        }
    }

    proptest! {
        /// A shortlist decides what the whole row would, or says that it cannot.
        #[test]
        fn shortlists_choose_what_whole_rows_choose(
            logits in proptest::collection::vec(-8_i8..8, 8..60),
            kept in 1_usize..40,
            top_k in 1_usize..6,
            greedy in any::<bool>(),
            penalty in prop_oneof![Just(1.0_f32), Just(1.05), Just(2.0)],
            seen in proptest::collection::vec(0_u32..8, 0..5),
        ) {
            // Few levels, so that ties are common.
            let logits: Vec<f32> = logits.iter().map(|logit| f32::from(*logit) / 2.0).collect();
            let params = SamplingParams {
                temperature: if greedy { 0.0 } else { 0.7 },
                top_k,
                top_p: 0.8,
                repetition_penalty: penalty,
                seed: 3,
            };
            let mut order: Vec<u32> = (0..logits.len() as u32).collect();
            order.sort_by(|a, b| logits[*b as usize].total_cmp(&logits[*a as usize]));
            let kept = kept.min(order.len());
            let entries = order[..kept].iter().map(|id| (*id, logits[*id as usize])).collect();
            let bound = order.get(kept).map_or(f32::NEG_INFINITY, |id| logits[*id as usize]);
            let mut whole = Sampler::new(params, &seen).unwrap();
            let mut short = Sampler::new(params, &seen).unwrap();
            for _ in 0..4 {
                let list = Shortlist { entries: Vec::clone(&entries), bound };
                let expected = whole.sample(&logits);
                let got = short.sample_shortlist(&list).unwrap_or_else(|| short.sample(&logits));
                prop_assert_eq!(got, expected);
            }
            let mut all = Sampler::new(params, &seen).unwrap();
            let entries = (0..).zip(logits.iter().copied()).collect::<Vec<_>>();
            if entries.len() >= top_k {
                let list = Shortlist { entries, bound: f32::NEG_INFINITY };
                prop_assert!(all.sample_shortlist(&list).is_some(), "the whole row decides");
            }
        }
    }
}
