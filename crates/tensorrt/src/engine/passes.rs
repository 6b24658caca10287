//! Which passes through the network a batch takes. Pure.
//!
//! The network takes rows of equal length in slots that lie side by side. So short rows, decode steps
//! and drafts above all, go together in one pass of the decode profile from slot 0 on, where
//! addresses and, as the rows are rounded up to a power of two, shapes seldom change and a CUDA graph
//! serves many steps. Longer rows are cut into pieces that the prefill profile takes, and pieces of
//! neighbouring slots share a pass unless that would pad more than half of it away.

use std::ops::Range;

use hymt_llm::engine::BatchRow;

use super::limits::Limits;

/// One pass.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pass {
    /// True for profile 1, from slot 0 on.
    pub(super) is_decode: bool,
    /// Slot of the first row.
    pub(super) first_slot: usize,
    /// Rows; those without a piece are idle.
    pub(super) batch: usize,
    /// Tokens of a row, padding included.
    pub(super) tokens: usize,
    /// Logits of a row, padding included; at least 1.
    pub(super) logits: usize,
    /// What is computed.
    pub(super) pieces: Vec<Piece>,
}

/// Some tokens of one row of the batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Piece {
    /// Index of the row in the batch.
    pub(super) row: usize,
    /// Its slot.
    pub(super) slot: usize,
    /// Which of the row's tokens.
    pub(super) tokens: Range<usize>,
    /// Which of the row's tokens get logits; inside `tokens`.
    pub(super) logits: Range<usize>,
}

/// The passes of a batch, to be run in order.
pub(super) fn passes(batch: &[BatchRow<'_>], limits: &Limits) -> Vec<Pass> {
    let is_short = |row: &BatchRow<'_>| {
        row.tokens.len() <= limits.decode.tokens && row.logits_rows() <= limits.decode.logits
    };
    let rows = batch.iter().enumerate();
    let (short, long): (Vec<_>, Vec<_>) = rows.partition(|(_, row)| is_short(row));
    let mut passes = Vec::new();
    let pieces: Vec<Piece> =
        short.into_iter().map(|(index, row)| piece(index, row, 0..row.tokens.len())).collect();
    if let Some(last) = pieces.iter().map(|piece| piece.slot).max() {
        let rows = (last + 1).next_power_of_two().min(limits.decode.batch);
        passes.push(pass(true, 0, rows, pieces));
    }
    // The n-th pieces of all rows go together.
    let cut: Vec<Vec<Piece>> =
        long.into_iter().map(|(index, row)| pieces_of(index, row, limits)).collect();
    let rounds = cut.iter().map(Vec::len).max().unwrap_or(0);
    for round in 0..rounds {
        let mut pieces: Vec<Piece> =
            cut.iter().filter_map(|pieces| pieces.get(round).cloned()).collect();
        pieces.sort_by_key(|piece| piece.slot);
        passes.extend(groups(pieces, limits));
    }
    passes
}

/// Cuts a row so that each piece has no more tokens, and no more logits, than a pass takes.
fn pieces_of(index: usize, row: &BatchRow<'_>, limits: &Limits) -> Vec<Piece> {
    let (n, wanted) = (row.tokens.len(), row.logits_rows());
    let mut pieces = Vec::new();
    let mut from = 0;
    while from < n {
        // The logits wanted are those of the last tokens.
        let until_logits = (n - wanted).max(from) + limits.prefill.logits;
        let to = n.min(from + limits.prefill.tokens).min(until_logits);
        pieces.push(piece(index, row, from..to));
        from = to;
    }
    pieces
}

fn piece(index: usize, row: &BatchRow<'_>, tokens: Range<usize>) -> Piece {
    let first = (row.tokens.len() - row.logits_rows()).clamp(tokens.start, tokens.end);
    let logits = first..tokens.end;
    Piece { row: index, slot: usize::from(row.slot.0), tokens, logits }
}

/// Puts pieces, sorted by slot, into passes.
fn groups(pieces: Vec<Piece>, limits: &Limits) -> Vec<Pass> {
    let step = limits.first_slot_step();
    let mut groups: Vec<Vec<Piece>> = Vec::new();
    for piece in pieces {
        if let Some(group) = groups.last_mut()
            && may_join(group, &piece, limits.prefill.batch, step)
        {
            group.push(piece);
        } else {
            groups.push(vec![piece]);
        }
    }
    groups
        .into_iter()
        .map(|group| {
            let first = group[0].slot - group[0].slot % step;
            let last = group[group.len() - 1].slot;
            pass(false, first, last + 1 - first, group)
        })
        .collect()
}

fn may_join(group: &[Piece], piece: &Piece, batch_max: usize, step: usize) -> bool {
    let first = group[0].slot - group[0].slot % step;
    let rows = piece.slot + 1 - first;
    let lengths = || group.iter().chain([piece]).map(|piece| piece.tokens.len());
    let longest = lengths().max().unwrap_or(0);
    rows <= batch_max && rows * longest <= 2 * lengths().sum::<usize>()
}

fn pass(is_decode: bool, first_slot: usize, batch: usize, pieces: Vec<Piece>) -> Pass {
    let longest = |of: fn(&Piece) -> usize| pieces.iter().map(of).max().unwrap_or(0).max(1);
    let tokens = longest(|piece| piece.tokens.len());
    let logits = longest(|piece| piece.logits.len());
    Pass { is_decode, first_slot, batch, tokens, logits, pieces }
}

#[cfg(test)]
mod tests {
    use hymt_llm::engine::{LogitsWanted, Slot};
    use proptest::prelude::*;

    use super::*;
    use crate::engine::limits::ProfileLimits;

    fn limits(element_bytes: usize) -> Limits {
        Limits {
            layers: 2,
            kv_heads: 1,
            head_dim: 4,
            element_bytes,
            vocab: 40,
            context: 32,
            prefill: ProfileLimits { batch: 3, tokens: 7, logits: 2 },
            decode: ProfileLimits { batch: 6, tokens: 3, logits: 2 },
        }
    }

    fn wanted() -> impl Strategy<Value = LogitsWanted> {
        prop_oneof![
            Just(LogitsWanted::None),
            Just(LogitsWanted::Last),
            Just(LogitsWanted::All),
            (0_usize..9).prop_map(LogitsWanted::Tail),
        ]
    }

    proptest! {
        #[test]
        fn every_token_and_every_logit_once_and_within_bounds(
            rows in proptest::collection::btree_map(0_u16..6, (1_usize..30, wanted()), 0..6),
            order in any::<u64>(),
            element_bytes in prop_oneof![Just(1_usize), Just(2), Just(4)],
        ) {
            let limits = limits(element_bytes);
            let tokens = [0; 30];
            let mut batch: Vec<BatchRow<'_>> = rows
                .iter()
                .map(|(slot, (n, logits))| BatchRow {
                    slot: Slot(*slot), position: 0, tokens: &tokens[..*n], logits: *logits,
                })
                .collect();
            batch.sort_by_key(|row| u64::from(row.slot.0 + 1).wrapping_mul(order | 1));
            let (mut done, mut given) = (vec![0; batch.len()], vec![0; batch.len()]);
            for pass in passes(&batch, &limits) {
                let bounds = if pass.is_decode { limits.decode } else { limits.prefill };
                prop_assert!(pass.batch <= bounds.batch && pass.tokens <= bounds.tokens);
                prop_assert!((1..=bounds.logits).contains(&pass.logits));
                prop_assert!(pass.first_slot + pass.batch <= limits.decode.batch);
                prop_assert_eq!(pass.first_slot * limits.slot_bytes() % 256, 0);
                prop_assert!(!pass.is_decode || pass.first_slot == 0);
                let slots: std::collections::BTreeSet<_> =
                    pass.pieces.iter().map(|piece| piece.slot).collect();
                prop_assert_eq!(slots.len(), pass.pieces.len(), "a slot twice in a pass");
                for piece in &pass.pieces {
                    let row = &batch[piece.row];
                    prop_assert_eq!(usize::from(row.slot.0), piece.slot);
                    let slots = pass.first_slot..pass.first_slot + pass.batch;
                    prop_assert!(slots.contains(&piece.slot));
                    prop_assert_eq!(piece.tokens.start, done[piece.row], "in order");
                    prop_assert!(piece.tokens.len() <= pass.tokens && !piece.tokens.is_empty());
                    prop_assert!(piece.logits.len() <= pass.logits);
                    prop_assert!(piece.tokens.start <= piece.logits.start);
                    prop_assert_eq!(piece.tokens.end, piece.logits.end);
                    done[piece.row] = piece.tokens.end;
                    if !piece.logits.is_empty() {
                        let first = row.tokens.len() - row.logits_rows() + given[piece.row];
                        prop_assert_eq!(piece.logits.start, first);
                        given[piece.row] += piece.logits.len();
                    }
                }
            }
            for (index, row) in batch.iter().enumerate() {
                prop_assert_eq!(done[index], row.tokens.len());
                prop_assert_eq!(given[index], row.logits_rows());
            }
        }
    }

    #[test]
    fn neighbours_share_a_pass_unless_it_would_be_mostly_padding() {
        let tokens = [0; 7];
        let row = |slot, n: usize| BatchRow {
            slot: Slot(slot),
            position: 0,
            tokens: &tokens[..n],
            logits: LogitsWanted::Last,
        };
        type Case<'a> = (&'a [(u16, usize)], &'a [&'a [usize]]);
        // Slots that share a pass, of a batch of slots and lengths.
        let cases: [Case<'_>; 5] = [
            (&[(0, 7), (1, 6), (2, 7)], &[&[0, 1, 2]]),
            (&[(3, 7), (0, 7), (2, 7), (1, 7)], &[&[0, 1, 2], &[3]]),
            (&[(0, 7), (2, 7)], &[&[0, 2]]),
            (&[(0, 7), (5, 7)], &[&[0], &[5]]),
            (&[(0, 2), (4, 1), (1, 7)], &[&[0, 4], &[1]]),
        ];
        for (rows, expected) in cases {
            let batch: Vec<_> = rows.iter().map(|(slot, n)| row(*slot, *n)).collect();
            let found: Vec<Vec<usize>> = passes(&batch, &limits(2))
                .iter()
                .map(|pass| pass.pieces.iter().map(|piece| piece.slot).collect())
                .collect();
            assert_eq!(found, expected, "{rows:?}");
        }
    }
}
