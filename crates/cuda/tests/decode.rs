//! The decode kernel for each number of sequences: against the way of prompts, to the bit, and against
//! the CPU engine, at the ends of pages and from poisoned memory. Needs a GPU; says so without.
//!
//! `HYMT_TOKENS=1,8` takes only these numbers of sequences, for tools that make everything slow.

#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "a test says what it skipped")]

#[path = "support/gpu.rs"]
mod gpu;

use hymt_cuda::testing::{limit_blocks, poison_cache, poison_workspace};
use hymt_cuda::{CudaEngine, CudaOptions};
use hymt_llm::TokenId;
use hymt_llm::engine::cpu::{CpuEngine, CpuOptions};
use hymt_llm::engine::{BatchRow, Engine, LogitsWanted, Slot};
use hymt_llm::synth::{SynthDtype, SynthOptions, SynthShape, write_model};
use hymt_llm::weights::ModelSource;
use rand::rngs::SmallRng;
use rand::{Rng as _, SeedableRng as _};

use crate::gpu::has_gpu;

const SLOTS: usize = 8;
const CONTEXT: usize = 600;
/// Tokens that each sequence has before the step, in turn: around the limits of pages (256) and of splits
/// of attention (128), and none at all.
const HELD: [usize; 11] = [255, 256, 257, 0, 127, 128, 511, 512, 1, 254, 63];
/// Multiprocessors: all there are, those of an Orin Nano, and one, which alone has more tiles of every
/// matrix than its stream of weights has stages.
const BLOCKS: [usize; 3] = [usize::MAX, 8, 1];
/// Relative, over all logits: the cache is f16 here and f32 there, and a rounding of an activation moves
/// by one level. The conformance test sees up to 0.019 on three models; these weights are new ones.
const CPU_TOLERANCE: f64 = 0.03;

/// Sequences, each in the slot of its number, and how much of them an engine is to hold.
struct Sequences {
    tokens: Vec<Vec<TokenId>>,
    held: Vec<usize>,
}

impl Sequences {
    /// The rows that bring each engine to where the step begins.
    fn feed(&self, engine: &mut dyn Engine) {
        let mut logits = Vec::new();
        for (slot, (tokens, held)) in (0..).zip(self.tokens.iter().zip(&self.held)) {
            let chunk = engine.spec().step_tokens_max;
            for (index, part) in tokens[..*held].chunks(chunk).enumerate() {
                let (slot, position) = (Slot(slot), index * chunk);
                let row = BatchRow { slot, position, tokens: part, logits: LogitsWanted::None };
                engine.step(&[row], &mut logits).unwrap();
            }
        }
    }

    /// Token `ahead` after what is held, of each sequence; with `before` tokens that are held already.
    fn batch(&self, ahead: usize, before: usize) -> Vec<BatchRow<'_>> {
        let rows = (0..).zip(self.tokens.iter().zip(&self.held));
        rows.map(|(slot, (tokens, held))| {
            let end = held + ahead + 1;
            let position = (end - 1).saturating_sub(before);
            let logits = LogitsWanted::Last;
            BatchRow { slot: Slot(slot), position, tokens: &tokens[position..end], logits }
        })
        .collect()
    }
}

#[track_caller]
fn same_bits(got: &[f32], want: &[f32], what: &str) {
    let bits = |values: &[f32]| values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
    assert!(bits(got) == bits(want), "{what}");
}

#[test]
fn decoding_is_what_a_prompt_would_give_for_each_number_of_sequences() {
    if !has_gpu() {
        return;
    }
    let named = std::env::var("HYMT_SEED").ok();
    let seed = named.map_or_else(|| rand::rng().random(), |seed| seed.parse().unwrap());
    eprintln!("HYMT_SEED={seed} repeats this");
    let mut random = SmallRng::seed_from_u64(seed);
    let folder = tempfile::tempdir().unwrap();
    let synth = SynthOptions { shape: SynthShape::Tiny, dtype: SynthDtype::Int8, seed };
    write_model(folder.path(), &synth, &mut |_| {}).unwrap();
    let source = ModelSource::Dir(folder.path().to_owned());
    let options = CudaOptions {
        slots: SLOTS,
        context_tokens_max: CONTEXT,
        step_tokens_max: 300,
        ..CudaOptions::default()
    };
    let mut gpu = CudaEngine::load(&source, &options, &mut |_| {}).unwrap();
    let options = CpuOptions { slots: SLOTS, context_tokens_max: CONTEXT, ..CpuOptions::default() };
    let mut cpu = CpuEngine::load(&source, &options, &mut |_| {}).unwrap();
    let vocab = gpu.spec().vocab_size;
    let (mut difference, mut size) = (0.0_f64, 0.0_f64);
    let named = std::env::var("HYMT_TOKENS").unwrap_or_else(|_| "1,2,3,4,5,6,7,8".to_owned());
    let counts: Vec<usize> =
        named.split(',').map(|n| n.parse::<usize>().unwrap().min(SLOTS)).collect();
    let runs = BLOCKS.iter().flat_map(|blocks| counts.iter().map(move |n| (*blocks, *n)));
    for (blocks, n) in runs {
        limit_blocks(&mut gpu, blocks);
        let held: Vec<usize> = HELD.iter().cycle().skip(n).take(n).copied().collect();
        let token = |random: &mut SmallRng| random.random_range(0..vocab as TokenId);
        let tokens = held.iter().map(|held| (0..held + 2).map(|_| token(&mut random)).collect());
        let sequences = Sequences { tokens: tokens.collect(), held };
        let what = format!("{n} sequences, {:?} held, {blocks} blocks", sequences.held);
        // Pages that the sequences before left.
        poison_cache(&mut gpu).unwrap();
        sequences.feed(&mut gpu);
        sequences.feed(&mut cpu);
        // The second step reads the keys that the first one wrote.
        for ahead in 0..2 {
            let (mut want, mut got, mut of_cpu) = (Vec::new(), Vec::new(), Vec::new());
            let mut lists = Vec::new();
            poison_workspace(&mut gpu).unwrap();
            gpu.step(&sequences.batch(ahead, 0), &mut got).unwrap();
            poison_workspace(&mut gpu).unwrap();
            let is_decode = gpu.step_shortlist(&sequences.batch(ahead, 0), &mut lists).unwrap();
            assert!(is_decode, "{what}: no decode kernel");
            let mut on_demand = Vec::new();
            for (index, (list, row)) in lists.iter().zip(got.chunks_exact(vocab)).enumerate() {
                gpu.logits_of(index, &mut on_demand).unwrap();
                same_bits(&on_demand, row, &what);
                let best = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
                let listed = list.entries.iter().map(|entry| entry.1);
                assert_eq!(listed.fold(f32::NEG_INFINITY, f32::max), best, "{what}");
            }
            poison_workspace(&mut gpu).unwrap();
            // A row of two tokens sends all of them the way of prompts.
            let batch = sequences.batch(ahead, 1);
            assert!(batch.iter().any(|row| row.tokens.len() == 2), "{what}");
            gpu.step(&batch, &mut want).unwrap();
            same_bits(&got, &want, &format!("{what}, step {ahead}"));
            cpu.step(&sequences.batch(ahead, 0), &mut of_cpu).unwrap();
            assert!(got.iter().all(|logit| logit.is_finite()), "{what}: poison in the answer");
            for (a, b) in got.iter().zip(&of_cpu) {
                difference += f64::from(a - b).powi(2);
                size += f64::from(*b).powi(2);
            }
        }
    }
    let relative = (difference / size).sqrt();
    eprintln!("relative error against the CPU engine {relative:.2e}");
    assert!(relative < CPU_TOLERANCE, "relative error {relative}");
}
