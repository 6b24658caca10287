//! What every engine must do, whatever it runs on.
//!
//! An engine's own tests call [`run_conformance`] with a way to make fresh engines. The suite
//! knows nothing of the weights: it compares an engine with itself, to the bit, as the
//! [`Engine`] trait promises.

use crate::TokenId;
use crate::engine::{BatchRow, Engine, EngineError, LogitsWanted, Slot};

/// Slots the suite needs.
pub const SLOTS_MIN: usize = 4;
/// Context the suite needs. Tokens.
pub const CONTEXT_TOKENS_MIN: usize = 32;
/// Vocabulary the suite needs.
pub const VOCAB_MIN: usize = 32;

/// Runs every check, each on an engine of its own.
///
/// # Panics
/// When the engine breaks a rule, or is smaller than [`SLOTS_MIN`], [`CONTEXT_TOKENS_MIN`] and
/// [`VOCAB_MIN`] say.
pub fn run_conformance(make: &mut dyn FnMut() -> Box<dyn Engine>) {
    let spec = make().spec().clone();
    assert!(spec.slots >= SLOTS_MIN, "{spec:?}");
    assert!(spec.context_tokens_max >= CONTEXT_TOKENS_MIN, "{spec:?}");
    assert!(spec.step_tokens_max >= CONTEXT_TOKENS_MIN, "{spec:?}");
    assert!(spec.vocab_size >= VOCAB_MIN, "{spec:?}");
    logits_come_in_the_wanted_number(&mut *make());
    chunks_change_nothing(&mut *make());
    company_changes_nothing(&mut *make());
    an_earlier_position_cuts_back(&mut *make());
    drafts_can_be_verified(&mut *make());
    position_zero_starts_anew(&mut *make());
    release_forgets(&mut *make());
    every_slot_holds_a_whole_context(&mut *make());
    broken_batches_are_refused(&mut *make());
    a_refused_batch_leaves_other_slots_alone(&mut *make());
}

/// Some sequence of `n` different-looking tokens; `which` picks another one.
fn sequence(which: u32, n: usize) -> Vec<TokenId> {
    (0..n as u32).map(|i| (which * 7 + i * 5 + i * i * 3) % VOCAB_MIN as u32).collect()
}

fn row(slot: u16, position: usize, tokens: &[TokenId], logits: LogitsWanted) -> BatchRow<'_> {
    BatchRow { slot: Slot(slot), position, tokens, logits }
}

fn step(engine: &mut dyn Engine, batch: &[BatchRow<'_>]) -> Vec<f32> {
    // Whatever was in the buffer must be gone afterwards.
    let mut logits = vec![f32::NAN; 3];
    engine.step(batch, &mut logits).expect("a sound batch runs");
    let rows: usize = batch.iter().map(BatchRow::logits_rows).sum();
    assert_eq!(logits.len(), rows * engine.spec().vocab_size, "rows of logits");
    assert!(logits.iter().all(|logit| logit.is_finite()), "logits are numbers");
    logits
}

/// Logits after every token of a new sequence in `slot`.
fn all_logits(engine: &mut dyn Engine, slot: u16, tokens: &[TokenId]) -> Vec<f32> {
    step(engine, &[row(slot, 0, tokens, LogitsWanted::All)])
}

fn refusal(engine: &mut dyn Engine, batch: &[BatchRow<'_>]) -> EngineError {
    let error = engine.step(batch, &mut Vec::new()).expect_err("a broken batch is refused");
    assert!(!error.is_fatal(), "a broken batch is not the engine's failure: {error}");
    error
}

fn logits_come_in_the_wanted_number(engine: &mut dyn Engine) {
    let tokens = sequence(1, 9);
    let all = all_logits(engine, 0, &tokens);
    let last = step(engine, &[row(1, 0, &tokens, LogitsWanted::Last)]);
    assert_eq!(last, all[all.len() - engine.spec().vocab_size..], "last is the last of all");
    assert!(step(engine, &[row(2, 0, &tokens, LogitsWanted::None)]).is_empty());
    assert!(all[..engine.spec().vocab_size] != last, "logits depend on the tokens");
}

fn chunks_change_nothing(engine: &mut dyn Engine) {
    let tokens = sequence(2, 23);
    let whole = all_logits(engine, 0, &tokens);
    for chunk_len in [1, 2, 3, 5, 8, 16, 22] {
        let mut chunked = Vec::new();
        for (index, chunk) in tokens.chunks(chunk_len).enumerate() {
            let batch = [row(1, index * chunk_len, chunk, LogitsWanted::All)];
            chunked.append(&mut step(engine, &batch));
        }
        assert_eq!(chunked, whole, "chunks of {chunk_len}");
    }
}

fn company_changes_nothing(engine: &mut dyn Engine) {
    let sequences: Vec<_> = (0..4).map(|i| sequence(i, 3 + 4 * i as usize)).collect();
    let alone: Vec<_> = sequences.iter().map(|tokens| all_logits(engine, 3, tokens)).collect();
    for n in 2..=4 {
        let batch: Vec<_> =
            (0..n).map(|i| row(i as u16, 0, &sequences[i], LogitsWanted::All)).collect();
        assert_eq!(step(engine, &batch), alone[..n].concat(), "prefill of {n} sequences");
    }
    // One more token for each, in reverse order, beside a new prompt.
    let next = [11, 12, 13, 14];
    let mut batch: Vec<_> = (1..4)
        .rev()
        .map(|i| row(i as u16, sequences[i].len(), &next[i..=i], LogitsWanted::Last))
        .collect();
    batch.push(row(0, 0, &sequences[3], LogitsWanted::All));
    let together = step(engine, &batch);
    let vocab_size = engine.spec().vocab_size;
    for (index, i) in (1..4).rev().enumerate() {
        let tokens = [&sequences[i][..], &next[i..=i]].concat();
        let alone = step(engine, &[row(0, 0, &tokens, LogitsWanted::Last)]);
        assert_eq!(together[index * vocab_size..][..vocab_size], alone, "decode of sequence {i}");
    }
    assert_eq!(together[3 * vocab_size..], alone[3], "prefill beside decodes");
}

fn an_earlier_position_cuts_back(engine: &mut dyn Engine) {
    let (kept, rejected, right) = (sequence(3, 6), sequence(4, 5), sequence(5, 4));
    let expected = all_logits(engine, 0, &[&kept[..], &right].concat());
    all_logits(engine, 1, &[&kept[..], &rejected].concat());
    let after_cut = step(engine, &[row(1, kept.len(), &right, LogitsWanted::All)]);
    assert_eq!(after_cut, expected[kept.len() * engine.spec().vocab_size..]);
    // The rejected tokens are gone: there is nothing at their end to continue from.
    let beyond = kept.len() + right.len() + 1;
    refusal(engine, &[row(1, beyond, &right, LogitsWanted::None)]);
}

/// A prompt's end with a draft behind it, beside other work: the logits are those of a sequence that
/// grew token by token, and what is rejected leaves no trace.
fn drafts_can_be_verified(engine: &mut dyn Engine) {
    let vocab_size = engine.spec().vocab_size;
    let (prompt, right, wrong) = (sequence(11, 6), sequence(12, 3), sequence(13, 4));
    let grown = [&prompt[..], &right].concat();
    let expected = all_logits(engine, 0, &grown);
    let other = sequence(14, 3);
    let beside = all_logits(engine, 3, &other);
    let guessed = [&grown[..], &wrong].concat();
    let kept = expected.len() - (right.len() + 1) * vocab_size;
    step(engine, &[row(1, 0, &guessed[..2], LogitsWanted::None)]);
    let wanted = LogitsWanted::Tail(1 + right.len() + wrong.len());
    let batch = [row(1, 2, &guessed[2..], wanted), row(2, 0, &other, LogitsWanted::All)];
    let verified = step(engine, &batch);
    let n = (right.len() + 1) * vocab_size;
    assert_eq!(verified[..n], expected[kept..], "logits after each token of a draft");
    assert_eq!(verified[verified.len() - beside.len()..], beside, "a neighbour of a draft");
    // All of `wrong` is rejected; the next draft is right up to its last token.
    let next = [right[2], 5, 6];
    let longer = [&grown[..2 + prompt.len()], &next].concat();
    let expected = all_logits(engine, 0, &longer);
    let batch = [row(1, longer.len() - 3, &next, LogitsWanted::Tail(9))];
    assert_eq!(step(engine, &batch), expected[expected.len() - 3 * vocab_size..]);
}

fn position_zero_starts_anew(engine: &mut dyn Engine) {
    let (first, second) = (sequence(6, 12), sequence(7, 7));
    let expected = all_logits(engine, 0, &second);
    all_logits(engine, 1, &first);
    assert_eq!(all_logits(engine, 1, &second), expected);
}

fn release_forgets(engine: &mut dyn Engine) {
    let tokens = sequence(8, 8);
    let expected = all_logits(engine, 0, &tokens);
    let kept = all_logits(engine, 1, &tokens);
    engine.release(Slot(0));
    // Releasing twice, or a slot that does not exist, does nothing.
    engine.release(Slot(0));
    engine.release(Slot(u16::MAX));
    refusal(engine, &[row(0, 1, &tokens, LogitsWanted::Last)]);
    assert_eq!(all_logits(engine, 0, &tokens), expected);
    let on = step(engine, &[row(1, tokens.len() - 1, &tokens[7..], LogitsWanted::All)]);
    assert_eq!(on, kept[7 * engine.spec().vocab_size..], "other slots are not released");
}

fn every_slot_holds_a_whole_context(engine: &mut dyn Engine) {
    let spec = engine.spec().clone();
    // A long context would take long and show nothing more at its end.
    const FILLED_TOKENS_MAX: usize = 512;
    let n = spec.context_tokens_max.min(FILLED_TOKENS_MAX);
    let tokens = sequence(9, n);
    for (index, chunk) in tokens.chunks(spec.step_tokens_max).enumerate() {
        let position = index * spec.step_tokens_max;
        step(engine, &[row(spec.slots as u16 - 1, position, chunk, LogitsWanted::Last)]);
    }
    if n == spec.context_tokens_max {
        let batch = [row(spec.slots as u16 - 1, n, &tokens[..1], LogitsWanted::Last)];
        assert!(matches!(refusal(engine, &batch), EngineError::InvalidBatch { .. }));
    }
}

fn broken_batches_are_refused(engine: &mut dyn Engine) {
    let spec = engine.spec().clone();
    let (one, all) = ([1], LogitsWanted::All);
    let long = vec![1; spec.step_tokens_max + 1];
    let cases: [(&str, Vec<BatchRow<'_>>); 6] = [
        ("unknown slot", vec![row(spec.slots as u16, 0, &one, all)]),
        ("slot twice", vec![row(0, 0, &one, all), row(0, 0, &one, all)]),
        ("no tokens", vec![row(0, 0, &[], all)]),
        ("gap", vec![row(0, 1, &one, all)]),
        ("far beyond", vec![row(0, usize::MAX, &one, all)]),
        ("too many tokens", vec![row(0, 0, &long, LogitsWanted::None)]),
    ];
    for (what, batch) in cases {
        let error = refusal(engine, &batch);
        assert!(matches!(error, EngineError::InvalidBatch { .. }), "{what}: {error}");
    }
    for token in [spec.vocab_size as TokenId, TokenId::MAX] {
        let tokens = [1, token];
        match refusal(engine, &[row(0, 0, &tokens, all)]) {
            EngineError::TokenOutOfRange { token: named, vocab_size } => {
                assert_eq!((named, vocab_size), (token, spec.vocab_size));
            }
            other => panic!("token {token}: {other}"),
        }
    }
}

fn a_refused_batch_leaves_other_slots_alone(engine: &mut dyn Engine) {
    let tokens = sequence(10, 10);
    let expected = all_logits(engine, 0, &tokens);
    all_logits(engine, 1, &tokens[..9]);
    let out_of_range = [engine.spec().vocab_size as TokenId];
    for broken in [
        vec![row(2, 0, &tokens, LogitsWanted::All), row(3, 5, &tokens, LogitsWanted::All)],
        vec![row(2, 0, &tokens, LogitsWanted::All), row(3, 0, &out_of_range, LogitsWanted::All)],
    ] {
        refusal(engine, &broken);
    }
    let last = step(engine, &[row(1, 9, &tokens[9..], LogitsWanted::Last)]);
    assert_eq!(last, expected[9 * engine.spec().vocab_size..]);
}
