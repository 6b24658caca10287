//! The decode kernels for each number of tokens, with drafts and without: against the way of prompts and
//! against the CPU engine, both to the bit, at the ends of pages and from poisoned memory. Needs a GPU;
//! says so without.
//!
//! `HYMT_TOKENS=1,8` takes only these numbers of tokens, for tools that make everything slow.

#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "a test says what it skipped")]

#[path = "support/gpu.rs"]
mod gpu;

use hymt_cuda::testing::{limit_blocks, poison_cache, poison_workspace, set_decodes};
use hymt_cuda::{CudaEngine, CudaOptions};
use hymt_llm::TokenId;
use hymt_llm::engine::cpu::{CpuEngine, CpuOptions};
use hymt_llm::engine::{BatchRow, Engine, LogitsWanted, Shortlist, Slot};
use hymt_llm::synth::{SynthDtype, SynthOptions, SynthShape, write_model};
use hymt_llm::weights::ModelSource;
use rand::rngs::SmallRng;
use rand::{Rng as _, SeedableRng as _};

use crate::gpu::has_gpu;

const SLOTS: usize = 8;
const CONTEXT: usize = 600;
/// Steps of each case.
const STEPS: usize = 2;
/// Tokens that each sequence has before the step, in turn: around the limits of pages (256) and of splits
/// of attention (128), and none at all.
const HELD: [usize; 11] = [255, 256, 257, 0, 127, 128, 511, 512, 1, 254, 63];
/// Multiprocessors: all there are; eleven, of which more than two tokens take the eight of an Orin Nano; and one,
/// which alone has more tiles of every matrix than its stream of weights has stages.
const BLOCKS: [usize; 3] = [usize::MAX, 11, 1];
/// Most tokens that decode on a single multiprocessor.
const TOKENS_OF_ONE: usize = 2;
/// Sequences, each in the slot of its number: how much of them an engine is to hold, and how many tokens
/// each step brings, more than one where there is a draft.
struct Sequences {
    tokens: Vec<Vec<TokenId>>,
    held: Vec<usize>,
    lens: Vec<usize>,
}

impl Sequences {
    fn random(random: &mut SmallRng, vocab: usize, held: &[usize], lens: &[usize]) -> Self {
        let mut tokens = |n: usize| -> Vec<TokenId> {
            (0..n).map(|_| random.random_range(0..vocab as TokenId)).collect()
        };
        Self {
            tokens: held.iter().zip(lens).map(|(held, len)| tokens(held + STEPS * len)).collect(),
            held: held.to_vec(),
            lens: lens.to_vec(),
        }
    }

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

    /// Step `number` behind what is held.
    fn batch(&self, number: usize) -> Vec<BatchRow<'_>> {
        let rows = (0..).zip(&self.tokens).zip(self.held.iter().zip(&self.lens));
        rows.map(|((slot, tokens), (held, len))| {
            let position = held + number * len;
            let tokens = &tokens[position..position + len];
            BatchRow { slot: Slot(slot), position, tokens, logits: LogitsWanted::All }
        })
        .collect()
    }
}

/// How `n` tokens of a step are shared out: one each, all to one sequence, and some of both.
fn shares(n: usize) -> Vec<Vec<usize>> {
    let mut all = vec![vec![1; n]];
    if n > 1 {
        all.push(vec![n]);
    }
    if n > 2 {
        all.push(vec![1, n - 1]);
    }
    if n > 4 {
        all.push(vec![n - 4, 1, 3]);
    }
    all
}

#[track_caller]
fn same_bits(got: &[f32], want: &[f32], what: &str) {
    let bits = |values: &[f32]| values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
    assert!(bits(got) == bits(want), "{what}");
}

/// Engines of one model: one decodes, another takes everything the way of prompts, so that each reads the
/// keys that it has written itself; and the CPU's.
struct Engines {
    decoding: CudaEngine,
    prompting: CudaEngine,
    cpu: CpuEngine,
}

impl Engines {
    fn new(shape: SynthShape) -> (SmallRng, Self) {
        let named = std::env::var("HYMT_SEED").ok();
        let seed = named.map_or_else(|| rand::rng().random(), |seed| seed.parse().unwrap());
        eprintln!("HYMT_SEED={seed} repeats this");
        let folder = tempfile::tempdir().unwrap();
        let synth = SynthOptions { shape, dtype: SynthDtype::Int8, seed };
        write_model(folder.path(), &synth, &mut |_| {}).unwrap();
        let options = CudaOptions {
            slots: SLOTS,
            context_tokens_max: CONTEXT,
            step_tokens_max: 300,
            ..CudaOptions::default()
        };
        let source = ModelSource::Dir(folder.path().to_owned());
        let load = || CudaEngine::load(&source, &options, &mut |_| {}).unwrap();
        let (decoding, mut prompting) = (load(), load());
        set_decodes(&mut prompting, false);
        let options =
            CpuOptions { slots: SLOTS, context_tokens_max: CONTEXT, ..CpuOptions::default() };
        let cpu = CpuEngine::load(&source, &options, &mut |_| {}).unwrap();
        (SmallRng::seed_from_u64(seed), Self { decoding, prompting, cpu })
    }

    /// Brings all to where the steps begin, over pages that the sequences before left.
    fn feed(&mut self, sequences: &Sequences) {
        for engine in [&mut self.decoding, &mut self.prompting] {
            poison_cache(engine).unwrap();
            sequences.feed(engine);
        }
        sequences.feed(&mut self.cpu);
    }

    /// A step by the decode kernels: its logits are, to the bit, the CPU engine's and those of the way of
    /// prompts, also where only some are wanted, and those of the shortlists.
    fn step(&mut self, batch: &[BatchRow<'_>], what: &str) {
        let (mut got, mut want, mut lists) = (Vec::new(), Vec::new(), Vec::new());
        poison_workspace(&mut self.prompting).unwrap();
        self.prompting.step(batch, &mut want).unwrap();
        self.cpu.step(batch, &mut got).unwrap();
        same_bits(&want, &got, &format!("prompts against the CPU, {what}"));
        assert!(!self.prompting.step_shortlist(batch, 20, &mut lists).unwrap(), "{what}");
        let vocab = self.decoding.spec().vocab_size;
        // Some first: what all leave is what the next step reads.
        let some = some_wanted(batch);
        for (batch, kept) in [(&some[..], kept_of(&some)), (batch, kept_of(batch))] {
            let want: Vec<f32> = kept.flat_map(|at| want[at * vocab..][..vocab].to_vec()).collect();
            poison_workspace(&mut self.decoding).unwrap();
            self.decoding.step(batch, &mut got).unwrap();
            same_bits(&got, &want, what);
            poison_workspace(&mut self.decoding).unwrap();
            let is_decode = self.decoding.step_shortlist(batch, 20, &mut lists).unwrap();
            assert!(is_decode, "{what}: no decode kernel");
            self.compare_lists(&lists, &got, what);
        }
        assert!(got.iter().all(|logit| logit.is_finite()), "{what}: poison in the answer");
    }

    /// Each shortlist has logits of its row, and nothing outside passes its bound.
    fn compare_lists(&mut self, lists: &[Shortlist], logits: &[f32], what: &str) {
        let vocab = self.decoding.spec().vocab_size;
        assert_eq!(lists.len(), logits.len() / vocab, "{what}");
        let mut whole = Vec::new();
        for (index, (list, row)) in lists.iter().zip(logits.chunks_exact(vocab)).enumerate() {
            self.decoding.logits_of(index, &mut whole).unwrap();
            same_bits(&whole, row, what);
            let mut is_listed = vec![false; vocab];
            for (id, logit) in &list.entries {
                assert_eq!(row[*id as usize].to_bits(), logit.to_bits(), "{what}, row {index}");
                is_listed[*id as usize] = true;
            }
            let outside = row.iter().zip(&is_listed).filter(|(_, listed)| !**listed);
            let largest = outside.map(|(logit, _)| *logit).fold(f32::NEG_INFINITY, f32::max);
            assert!(largest <= list.bound, "{what}, row {index}: {largest} > {}", list.bound);
            assert!(!list.entries.is_empty(), "{what}, row {index}");
        }
    }
}

/// The same rows, of which the first wants its last two logits, the second none, the third its last, and
/// so on.
fn some_wanted<'a>(batch: &[BatchRow<'a>]) -> Vec<BatchRow<'a>> {
    let kinds = [LogitsWanted::Tail(2), LogitsWanted::None, LogitsWanted::Last];
    batch
        .iter()
        .zip(kinds.iter().cycle())
        .map(|(row, logits)| BatchRow { logits: *logits, ..*row })
        .collect()
}

/// Which of a batch's tokens have logits that are wanted.
fn kept_of(batch: &[BatchRow<'_>]) -> impl Iterator<Item = usize> + use<> {
    let mut kept = Vec::new();
    let mut end = 0;
    for row in batch {
        end += row.tokens.len();
        kept.extend(end - row.logits_rows()..end);
    }
    kept.into_iter()
}

/// Numbers of tokens to try.
fn counts() -> Vec<usize> {
    let named = std::env::var("HYMT_TOKENS").unwrap_or_else(|_| "1,2,3,4,5,6,7,8".to_owned());
    named.split(',').map(|n| n.parse::<usize>().unwrap().min(SLOTS)).collect()
}

#[test]
fn decoding_is_what_a_prompt_would_give_for_each_number_of_tokens() {
    if !has_gpu() {
        return;
    }
    let (mut random, mut engines) = Engines::new(SynthShape::Tiny);
    let vocab = engines.cpu.spec().vocab_size;
    let mut held = HELD.iter().cycle().copied();
    for blocks in BLOCKS {
        limit_blocks(&mut engines.decoding, blocks);
        let most = engines.decoding.cheap_step_tokens();
        assert_eq!(most, if blocks == 1 { TOKENS_OF_ONE } else { SLOTS }, "{blocks} blocks");
        let counts = counts().into_iter().filter(|n| *n <= most);
        for lens in counts.flat_map(shares) {
            let held: Vec<usize> = held.by_ref().take(lens.len()).collect();
            let sequences = Sequences::random(&mut random, vocab, &held, &lens);
            engines.feed(&sequences);
            // The second step reads the keys that the first one wrote.
            for step in 0..STEPS {
                let what = format!("{lens:?} tokens, {held:?} held, {blocks} blocks, step {step}");
                engines.step(&sequences.batch(step), &what);
            }
        }
    }
}

/// As wide as the 1.8B models: other code than that of the small shape, and chunks of columns.
#[test]
fn decoding_at_the_width_of_the_real_models_is_what_a_prompt_would_give() {
    if !has_gpu() {
        return;
    }
    if std::env::var_os("HYMT_TOKENS").is_some() {
        eprintln!(
            "SKIPPED: HYMT_TOKENS is set, and this shape is too large for tools that slow it"
        );
        return;
    }
    let (mut random, mut engines) = Engines::new(SynthShape::B1_8Slice);
    let (vocab, most) = (engines.decoding.spec().vocab_size, engines.decoding.cheap_step_tokens());
    // Drafts that end in the next split, in the next page, right at an end, and behind two splits.
    let drafts = [127, 254, 248, 510, 3].into_iter().flat_map(|held| [2, 4, 8].map(|n| (held, n)));
    let drafts = drafts.map(|(held, n)| (usize::MAX, vec![held], vec![n]));
    let mut held = HELD.iter().cycle().copied();
    let mut mixed = |blocks, n: usize| {
        let with_held = |lens: Vec<usize>| (blocks, held.by_ref().take(lens.len()).collect(), lens);
        shares(n).into_iter().map(with_held).collect::<Vec<_>>()
    };
    let sizes = [(usize::MAX, 1), (usize::MAX, 2), (usize::MAX, 4), (usize::MAX, 8), (11, 5)];
    let mixed: Vec<_> = sizes.into_iter().flat_map(|(blocks, n)| mixed(blocks, n)).collect();
    for (blocks, held, lens) in drafts.chain(mixed) {
        let n: usize = lens.iter().sum();
        if n > most {
            eprintln!("SKIPPED: {n} tokens, for which this device has no decode kernel");
            continue;
        }
        limit_blocks(&mut engines.decoding, blocks);
        let sequences = Sequences::random(&mut random, vocab, &held, &lens);
        engines.feed(&sequences);
        for step in 0..STEPS {
            let what = format!("{lens:?} tokens, {held:?} held, {blocks} blocks, step {step}");
            engines.step(&sequences.batch(step), &what);
        }
    }
}
