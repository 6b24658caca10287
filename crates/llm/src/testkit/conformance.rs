//! What every engine must do, whatever it runs on.
//!
//! The suite knows nothing of the weights: it compares an engine with itself, to the bit, as the
//! [`Engine`] trait promises. It has two callers. An engine's own tests call [`run_conformance`],
//! which panics; `hymt selftest` goes through [`CHECKS`] on the hardware at hand and writes down
//! each [`Violation`].

use crate::TokenId;
use crate::engine::{BatchRow, Engine, EngineError, EngineSpec, LogitsWanted, Shortlist, Slot};

/// Slots the suite needs.
pub const SLOTS_MIN: usize = 4;
/// Context the suite needs. Tokens.
pub const CONTEXT_TOKENS_MIN: usize = 32;
/// Vocabulary the suite needs.
pub const VOCAB_MIN: usize = 32;

/// Every check, in the order in which one builds on another.
pub const CHECKS: [Check; 11] = [
    Check { rule: "logits come in the wanted number", examine: logits_come_in_the_wanted_number },
    Check { rule: "chunks change nothing", examine: chunks_change_nothing },
    Check { rule: "company changes nothing", examine: company_changes_nothing },
    Check { rule: "an earlier position cuts back", examine: an_earlier_position_cuts_back },
    Check { rule: "drafts can be verified", examine: drafts_can_be_verified },
    Check { rule: "shortlists are the head of the logits", examine: shortlists_are_the_head },
    Check { rule: "position zero starts anew", examine: position_zero_starts_anew },
    Check { rule: "release forgets", examine: release_forgets },
    Check { rule: "every slot holds a whole context", examine: every_slot_holds_a_whole_context },
    Check { rule: "broken batches are refused", examine: broken_batches_are_refused },
    Check {
        rule: "a refused batch leaves other slots alone",
        examine: a_refused_batch_leaves_other_slots_alone,
    },
];

/// One rule, and how an engine is held against it.
#[derive(Debug, Clone, Copy)]
pub struct Check {
    /// The rule, in a few words; unique.
    pub rule: &'static str,
    examine: fn(&mut dyn Engine) -> Result<(), Violation>,
}

/// How an engine broke a rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{detail}")]
pub struct Violation {
    /// What was done, what came of it, and what should have.
    pub detail: String,
}

impl Check {
    /// Holds a fresh engine, as large as [`require_size`] asks for, against the rule.
    ///
    /// # Errors
    /// The first [`Violation`]. The engine's own failures count as such.
    pub fn run(&self, engine: &mut dyn Engine) -> Result<(), Violation> {
        (self.examine)(engine)
    }
}

/// Whether the suite has room in an engine.
///
/// # Errors
/// What is smaller than [`SLOTS_MIN`], [`CONTEXT_TOKENS_MIN`] and [`VOCAB_MIN`] say.
pub fn require_size(spec: &EngineSpec) -> Result<(), Violation> {
    for (what, value, min) in [
        ("slots", spec.slots, SLOTS_MIN),
        ("tokens of context", spec.context_tokens_max, CONTEXT_TOKENS_MIN),
        ("tokens in a step", spec.step_tokens_max, CONTEXT_TOKENS_MIN),
        ("vocabulary", spec.vocab_size, VOCAB_MIN),
    ] {
        require(value >= min, || format!("{what}: {value}; the suite needs {min}"))?;
    }
    Ok(())
}

/// Runs every check, each on an engine of its own.
///
/// # Panics
/// With every [`Violation`], when the engine breaks a rule or is too small for the suite.
pub fn run_conformance(make: &mut dyn FnMut() -> Box<dyn Engine>) {
    if let Err(violation) = require_size(make().spec()) {
        panic!("the engine is too small: {violation}");
    }
    let broken: Vec<_> = CHECKS
        .iter()
        .filter_map(|check| Some(format!("{}: {}", check.rule, check.run(&mut *make()).err()?)))
        .collect();
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

fn require(holds: bool, detail: impl FnOnce() -> String) -> Result<(), Violation> {
    if holds { Ok(()) } else { Err(Violation { detail: detail() }) }
}

/// Whether logits are the expected ones, to the bit.
fn require_same(what: &str, got: &[f32], expected: &[f32]) -> Result<(), Violation> {
    let (n, wanted) = (got.len(), expected.len());
    require(n == wanted, || format!("{what}: {n} logits instead of {wanted}"))?;
    let unlike = || got.iter().zip(expected).enumerate().filter(|(_, (a, b))| a != b);
    let Some((index, (a, b))) = unlike().next() else { return Ok(()) };
    let detail = format!(
        "{what}: {} of {n} logits differ, number {index} first, which is {a:e} instead of {b:e}",
        unlike().count()
    );
    Err(Violation { detail })
}

/// Some sequence of `n` different-looking tokens; `which` picks another one.
fn sequence(which: u32, n: usize) -> Vec<TokenId> {
    (0..n as u32).map(|i| (which * 7 + i * 5 + i * i * 3) % VOCAB_MIN as u32).collect()
}

fn row(slot: u16, position: usize, tokens: &[TokenId], logits: LogitsWanted) -> BatchRow<'_> {
    BatchRow { slot: Slot(slot), position, tokens, logits }
}

fn step(engine: &mut dyn Engine, batch: &[BatchRow<'_>]) -> Result<Vec<f32>, Violation> {
    // Whatever was in the buffer must be gone afterwards.
    let mut logits = vec![f32::NAN; 3];
    if let Err(error) = engine.step(batch, &mut logits) {
        let detail = format!("a sound batch of {} rows failed: {}", batch.len(), chain(&error));
        return Err(Violation { detail });
    }
    let rows: usize = batch.iter().map(BatchRow::logits_rows).sum();
    let (n, wanted) = (logits.len(), rows * engine.spec().vocab_size);
    require(n == wanted, || format!("{n} logits instead of {wanted} for {rows} rows"))?;
    let broken = logits.iter().position(|logit| !logit.is_finite());
    require(broken.is_none(), || format!("logit {broken:?} of {n} is no finite number"))?;
    Ok(logits)
}

/// An error with its causes.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

/// Logits after every token of a new sequence in `slot`.
fn all_logits(
    engine: &mut dyn Engine,
    slot: u16,
    tokens: &[TokenId],
) -> Result<Vec<f32>, Violation> {
    step(engine, &[row(slot, 0, tokens, LogitsWanted::All)])
}

fn refusal(
    engine: &mut dyn Engine,
    what: &str,
    batch: &[BatchRow<'_>],
) -> Result<EngineError, Violation> {
    match engine.step(batch, &mut Vec::new()) {
        Ok(()) => Err(Violation { detail: format!("{what}: ran instead of being refused") }),
        Err(error) if error.is_fatal() => {
            let detail =
                format!("{what}: ended the engine instead of being refused: {}", chain(&error));
            Err(Violation { detail })
        }
        Err(error) => Ok(error),
    }
}

fn logits_come_in_the_wanted_number(engine: &mut dyn Engine) -> Result<(), Violation> {
    let tokens = sequence(1, 9);
    let all = all_logits(engine, 0, &tokens)?;
    let last = step(engine, &[row(1, 0, &tokens, LogitsWanted::Last)])?;
    let vocab_size = engine.spec().vocab_size;
    require_same("the last row against the last of all", &last, &all[all.len() - vocab_size..])?;
    // `step` has compared the number of logits with none.
    step(engine, &[row(2, 0, &tokens, LogitsWanted::None)])?;
    require(all[..vocab_size] != last, || {
        "the logits after one token and after nine are the same".to_owned()
    })
}

fn chunks_change_nothing(engine: &mut dyn Engine) -> Result<(), Violation> {
    let tokens = sequence(2, 23);
    let whole = all_logits(engine, 0, &tokens)?;
    for chunk_len in [1, 2, 3, 5, 8, 16, 22] {
        let mut chunked = Vec::new();
        for (index, chunk) in tokens.chunks(chunk_len).enumerate() {
            let batch = [row(1, index * chunk_len, chunk, LogitsWanted::All)];
            chunked.append(&mut step(engine, &batch)?);
        }
        require_same(&format!("chunks of {chunk_len} tokens"), &chunked, &whole)?;
    }
    Ok(())
}

fn company_changes_nothing(engine: &mut dyn Engine) -> Result<(), Violation> {
    let sequences: Vec<_> = (0..4).map(|i| sequence(i, 3 + 4 * i as usize)).collect();
    let mut alone = Vec::new();
    for tokens in &sequences {
        alone.push(all_logits(engine, 3, tokens)?);
    }
    for n in 2..=4 {
        let batch: Vec<_> =
            (0..n).map(|i| row(i as u16, 0, &sequences[i], LogitsWanted::All)).collect();
        let what = format!("prefill of {n} sequences at once");
        require_same(&what, &step(engine, &batch)?, &alone[..n].concat())?;
    }
    // One more token for each, in reverse order, beside a new prompt.
    let next = [11, 12, 13, 14];
    let mut batch: Vec<_> = (1..4)
        .rev()
        .map(|i| row(i as u16, sequences[i].len(), &next[i..=i], LogitsWanted::Last))
        .collect();
    batch.push(row(0, 0, &sequences[3], LogitsWanted::All));
    let together = step(engine, &batch)?;
    let vocab_size = engine.spec().vocab_size;
    for (index, i) in (1..4).rev().enumerate() {
        let tokens = [&sequences[i][..], &next[i..=i]].concat();
        let alone = step(engine, &[row(0, 0, &tokens, LogitsWanted::Last)])?;
        let got = &together[index * vocab_size..][..vocab_size];
        require_same(&format!("decode of sequence {i} beside others"), got, &alone)?;
    }
    require_same("prefill beside decodes", &together[3 * vocab_size..], &alone[3])
}

fn an_earlier_position_cuts_back(engine: &mut dyn Engine) -> Result<(), Violation> {
    let (kept, rejected, right) = (sequence(3, 6), sequence(4, 5), sequence(5, 4));
    let expected = all_logits(engine, 0, &[&kept[..], &right].concat())?;
    all_logits(engine, 1, &[&kept[..], &rejected].concat())?;
    let after_cut = step(engine, &[row(1, kept.len(), &right, LogitsWanted::All)])?;
    let expected = &expected[kept.len() * engine.spec().vocab_size..];
    require_same("what follows a cut", &after_cut, expected)?;
    // The rejected tokens are gone: there is nothing at their end to continue from.
    let beyond = kept.len() + right.len() + 1;
    let batch = [row(1, beyond, &right, LogitsWanted::None)];
    refusal(engine, "a position behind the cut", &batch).map(drop)
}

/// A prompt's end with a draft behind it, beside other work: the logits are those of a sequence that
/// grew token by token, and what is rejected leaves no trace.
fn drafts_can_be_verified(engine: &mut dyn Engine) -> Result<(), Violation> {
    let vocab_size = engine.spec().vocab_size;
    let (prompt, right, wrong) = (sequence(11, 6), sequence(12, 3), sequence(13, 4));
    let grown = [&prompt[..], &right].concat();
    let expected = all_logits(engine, 0, &grown)?;
    let other = sequence(14, 3);
    let beside = all_logits(engine, 3, &other)?;
    let guessed = [&grown[..], &wrong].concat();
    let kept = expected.len() - (right.len() + 1) * vocab_size;
    step(engine, &[row(1, 0, &guessed[..2], LogitsWanted::None)])?;
    let wanted = LogitsWanted::Tail(1 + right.len() + wrong.len());
    let batch = [row(1, 2, &guessed[2..], wanted), row(2, 0, &other, LogitsWanted::All)];
    let verified = step(engine, &batch)?;
    let n = (right.len() + 1) * vocab_size;
    require_same("logits after each token of a draft", &verified[..n], &expected[kept..])?;
    let neighbour = &verified[verified.len() - beside.len()..];
    require_same("a neighbour of a draft", neighbour, &beside)?;
    // All of `wrong` is rejected; the next draft is right up to its last token.
    let next = [right[2], 5, 6];
    let longer = [&grown[..2 + prompt.len()], &next].concat();
    let expected = all_logits(engine, 0, &longer)?;
    let batch = [row(1, longer.len() - 3, &next, LogitsWanted::Tail(9))];
    let second = step(engine, &batch)?;
    require_same("a second draft", &second, &expected[expected.len() - 3 * vocab_size..])
}

/// Behind a row whose logits nobody wants: there is a shortlist for each row of logits, and whole rows are
/// found by the same count. Once with a draft, once without: some engines have shortlists for the latter
/// only. An engine without any passes.
fn shortlists_are_the_head(engine: &mut dyn Engine) -> Result<(), Violation> {
    let held: Vec<_> = (0..3).map(|i| sequence(15 + i, 4 + i as usize)).collect();
    for (slot, tokens) in (0..).zip(&held) {
        step(engine, &[row(slot, 0, tokens, LogitsWanted::None)])?;
    }
    let tokens = [3, 1, 4];
    // Few are kept by whoever takes the best, more by whoever draws.
    for (n_of_second, kept) in [(3, 20), (3, 1), (1, 1)] {
        let second = &tokens[..n_of_second];
        let batch = [
            row(0, held[0].len(), &tokens[..1], LogitsWanted::None),
            row(1, held[1].len(), second, LogitsWanted::Tail(n_of_second)),
            row(2, held[2].len(), &tokens[..1], LogitsWanted::Last),
        ];
        if !shortlists_are_of(engine, &batch, kept)? {
            continue;
        }
        // What it appended is what a step would have.
        let grown = [&held[1][..], second, &[5]].concat();
        let next = step(engine, &[row(1, grown.len() - 1, &[5], LogitsWanted::Last)])?;
        let expected = step(engine, &[row(3, 0, &grown, LogitsWanted::Last)])?;
        require_same("what follows a shortlist", &next, &expected)?;
    }
    Ok(())
}

/// Whether the shortlists of a batch, and whole rows after them, are those of a step; false where the
/// engine gives none.
fn shortlists_are_of(
    engine: &mut dyn Engine,
    batch: &[BatchRow<'_>],
    kept: usize,
) -> Result<bool, Violation> {
    let vocab_size = engine.spec().vocab_size;
    let expected = step(engine, batch)?;
    // The same once more: each slot is cut back first.
    let Some(lists) = shortlists(engine, batch, kept)? else { return Ok(false) };
    let (n, wanted) = (lists.len(), expected.len() / vocab_size);
    require(n == wanted, || format!("{n} shortlists instead of {wanted}"))?;
    let mut whole = vec![f32::NAN; 3];
    for (index, (list, logits)) in lists.iter().zip(expected.chunks_exact(vocab_size)).enumerate() {
        require_head(&format!("shortlist {index} of {n}"), list, logits)?;
        if let Err(error) = engine.logits_of(index, &mut whole) {
            let detail = format!("row of logits {index} of {n} is lost: {}", chain(&error));
            return Err(Violation { detail });
        }
        require_same(&format!("row of logits {index} of {n}, whole"), &whole, logits)?;
    }
    Ok(true)
}

/// `None` where the engine gives none for this batch.
fn shortlists(
    engine: &mut dyn Engine,
    batch: &[BatchRow<'_>],
    kept: usize,
) -> Result<Option<Vec<Shortlist>>, Violation> {
    // Whatever was there must be gone afterwards.
    let mut lists = vec![Shortlist { entries: Vec::new(), bound: f32::NAN }];
    match engine.step_shortlist(batch, kept, &mut lists) {
        Ok(gives_some) => Ok(gives_some.then_some(lists)),
        Err(error) => {
            let detail = format!("a sound batch failed for shortlists: {}", chain(&error));
            Err(Violation { detail })
        }
    }
}

/// Whether a shortlist has the logits of the row, to the bit, and nothing outside passes its bound.
fn require_head(what: &str, list: &Shortlist, logits: &[f32]) -> Result<(), Violation> {
    let mut is_listed = vec![false; logits.len()];
    for (token, logit) in &list.entries {
        let expected = logits.get(*token as usize).copied();
        require(expected.map(f32::to_bits) == Some(logit.to_bits()), || {
            format!("{what}: token {token} has {logit:e} instead of {expected:?}")
        })?;
        let again = std::mem::replace(&mut is_listed[*token as usize], true);
        require(!again, || format!("{what}: token {token} is there twice"))?;
    }
    let bound = list.bound;
    require(!bound.is_nan(), || format!("{what}: its bound is no number"))?;
    let lost = (0..logits.len()).find(|token| !is_listed[*token] && logits[*token] > bound);
    require(lost.is_none(), || format!("{what}: token {lost:?} is beyond the bound {bound:e}"))
}

fn position_zero_starts_anew(engine: &mut dyn Engine) -> Result<(), Violation> {
    let (first, second) = (sequence(6, 12), sequence(7, 7));
    let expected = all_logits(engine, 0, &second)?;
    all_logits(engine, 1, &first)?;
    let anew = all_logits(engine, 1, &second)?;
    require_same("a slot that held another sequence", &anew, &expected)
}

fn release_forgets(engine: &mut dyn Engine) -> Result<(), Violation> {
    let tokens = sequence(8, 8);
    let expected = all_logits(engine, 0, &tokens)?;
    let kept = all_logits(engine, 1, &tokens)?;
    engine.release(Slot(0));
    // Releasing twice, or a slot that does not exist, does nothing.
    engine.release(Slot(0));
    engine.release(Slot(u16::MAX));
    let batch = [row(0, 1, &tokens, LogitsWanted::Last)];
    refusal(engine, "a position in a released slot", &batch)?;
    require_same("a released slot", &all_logits(engine, 0, &tokens)?, &expected)?;
    let on = step(engine, &[row(1, tokens.len() - 1, &tokens[7..], LogitsWanted::All)])?;
    let kept = &kept[7 * engine.spec().vocab_size..];
    require_same("a slot beside a released one", &on, kept)
}

fn every_slot_holds_a_whole_context(engine: &mut dyn Engine) -> Result<(), Violation> {
    let spec = engine.spec().clone();
    // A long context would take long and show nothing more at its end.
    const FILLED_TOKENS_MAX: usize = 512;
    let n = spec.context_tokens_max.min(FILLED_TOKENS_MAX);
    let tokens = sequence(9, n);
    for (index, chunk) in tokens.chunks(spec.step_tokens_max).enumerate() {
        let position = index * spec.step_tokens_max;
        step(engine, &[row(spec.slots as u16 - 1, position, chunk, LogitsWanted::Last)])?;
    }
    if n == spec.context_tokens_max {
        let batch = [row(spec.slots as u16 - 1, n, &tokens[..1], LogitsWanted::Last)];
        invalid(engine, "a token beyond the context", &batch)?;
    }
    Ok(())
}

/// Refused as a broken batch, not as anything else.
fn invalid(engine: &mut dyn Engine, what: &str, batch: &[BatchRow<'_>]) -> Result<(), Violation> {
    let error = refusal(engine, what, batch)?;
    let is_named = matches!(error, EngineError::InvalidBatch { .. });
    require(is_named, || format!("{what}: refused for another reason: {}", chain(&error)))
}

fn broken_batches_are_refused(engine: &mut dyn Engine) -> Result<(), Violation> {
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
        invalid(engine, what, &batch)?;
    }
    for token in [spec.vocab_size as TokenId, TokenId::MAX] {
        let tokens = [1, token];
        let error = refusal(engine, "a token beyond the vocabulary", &[row(0, 0, &tokens, all)])?;
        let is_named = matches!(error, EngineError::TokenOutOfRange { token: named, vocab_size }
            if (named, vocab_size) == (token, spec.vocab_size));
        require(is_named, || format!("token {token}: refused, but with: {}", chain(&error)))?;
    }
    Ok(())
}

fn a_refused_batch_leaves_other_slots_alone(engine: &mut dyn Engine) -> Result<(), Violation> {
    let tokens = sequence(10, 10);
    let expected = all_logits(engine, 0, &tokens)?;
    all_logits(engine, 1, &tokens[..9])?;
    let out_of_range = [engine.spec().vocab_size as TokenId];
    for broken in [
        vec![row(2, 0, &tokens, LogitsWanted::All), row(3, 5, &tokens, LogitsWanted::All)],
        vec![row(2, 0, &tokens, LogitsWanted::All), row(3, 0, &out_of_range, LogitsWanted::All)],
    ] {
        refusal(engine, "a batch of which one row is broken", &broken)?;
    }
    let last = step(engine, &[row(1, 9, &tokens[9..], LogitsWanted::Last)])?;
    let expected = &expected[9 * engine.spec().vocab_size..];
    require_same("a slot beside a refused batch", &last, expected)
}

#[cfg(test)]
mod tests;
