//! A guess at an answer, and where in it the answer stands.
//!
//! Speculative decoding (Leviathan et al., 2023) with a draft that costs nothing: the answer to a
//! prompt that was nearly the same. The network reads the guessed tokens in one step and says after
//! each which one it would have chosen; as long as that is the next guess, the step has produced one more
//! token. Where it is another, the draft is searched for the place to go on from, as prompt lookup
//! does (Saxena, 2023), so that a word put in, left out or replaced in the middle does not lose the
//! rest.
//!
//! The search was chosen on growing sentences of the demo model's held-out requests: whether what fits
//! nowhere is taken for put in or for replaced makes 2.2 or 2.35 times fewer steps. More guesses where
//! little speaks for them gave 2.37 and cost a quarter more of them.

use crate::TokenId;

/// Longest draft of a request; what is longer is cut, and costs nothing but its speed. Tokens.
pub const DRAFT_TOKENS_MAX: usize = 1024;
/// Most guesses of a sequence in one step: where they are wrong, they cost arithmetic. The scheduler takes
/// fewer where more would make a cheap step dear. Tokens.
pub const GUESSES_MAX: usize = 32;
/// The same for a place that the last two tokens, the last one or none of them speak for.
const GUESSES_AFTER: [usize; 3] = [8, 4, 1];
/// How far from the expected place one token alone is searched for. Tokens.
const NEAR_AHEAD: usize = 6;
const NEAR_BEHIND: usize = 2;

#[derive(Debug, Default)]
pub(super) struct Draft {
    tokens: Vec<TokenId>,
    /// The next guess.
    next: usize,
    /// What speaks for it.
    trust: Trust,
}

/// What speaks for a place in a draft, the most first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
enum Trust {
    /// The answer has followed the draft to there.
    #[default]
    Followed,
    BothTokens,
    LastToken,
    Nothing,
}

impl Draft {
    /// A draft to be used from its beginning. It ends before its first stop token: what comes after
    /// one is never asked for.
    pub(super) fn new(mut tokens: Vec<TokenId>, stop: &[TokenId]) -> Self {
        let end = tokens.iter().position(|token| stop.contains(token)).unwrap_or(tokens.len());
        tokens.truncate(end.min(DRAFT_TOKENS_MAX));
        Self { tokens, next: 0, trust: Trust::Followed }
    }

    /// What the answer may go on with, `n` tokens at most. Without `tries_unlikely`, for a step in which
    /// a guess has its price, there is nothing where one token or none speaks for the place.
    pub(super) fn guesses(&self, n: usize, tries_unlikely: bool) -> &[TokenId] {
        let [both, last, nothing] = GUESSES_AFTER;
        let most = match self.trust {
            Trust::Followed => GUESSES_MAX,
            Trust::BothTokens => both,
            Trust::LastToken | Trust::Nothing if !tries_unlikely => 0,
            Trust::LastToken => last,
            Trust::Nothing => nothing,
        };
        let left = &self.tokens[self.next.min(self.tokens.len())..];
        &left[..n.min(most).min(left.len())]
    }

    /// The answer has grown by `token`, the last of `sequence`.
    pub(super) fn follow(&mut self, token: TokenId, sequence: &[TokenId]) {
        if self.tokens.get(self.next) == Some(&token) {
            self.next += 1;
            self.trust = Trust::Followed;
            return;
        }
        let before = sequence.len().checked_sub(2).map(|place| sequence[place]);
        let fits_both = |at: usize| {
            self.tokens[at] == token && at.checked_sub(1).map(|at| self.tokens[at]) == before
        };
        let (next, end) = (self.next.min(self.tokens.len()), self.tokens.len());
        // One token fits by chance as often as not, so alone it must be near: words were left out, or put
        // in where one was taken to be replaced.
        let fits = |at: &usize| self.tokens[*at] == token;
        let near = || {
            let ahead = next..end.min(next + NEAR_AHEAD);
            ahead.chain(next.saturating_sub(NEAR_BEHIND)..next).find(fits)
        };
        let both = (next..end).chain(0..next).find(|at| fits_both(*at));
        let found = both.map(|at| (at, Trust::BothTokens));
        // Otherwise the next guess was replaced. The last one stands for the end of the sentence, which
        // comes again however much is put in before it.
        (self.next, self.trust) = found
            .or_else(|| near().map(|at| (at, Trust::LastToken)))
            .map_or(((next + 1).min(end.saturating_sub(1)), Trust::Nothing), |(at, trust)| {
                (at + 1, trust)
            });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The guesses after each token of `answer`.
    fn guesses(draft: &[TokenId], answer: &[TokenId]) -> Vec<Vec<TokenId>> {
        let mut followed = Draft::new(draft.to_vec(), &[0]);
        let ends = 1..=answer.len();
        ends.map(|end| {
            followed.follow(answer[end - 1], &answer[..end]);
            followed.guesses(3, true).to_vec()
        })
        .collect()
    }

    #[test]
    fn a_draft_is_found_again_after_every_kind_of_edit() {
        let draft = [1, 2, 3, 4, 5, 6];
        for (what, answer) in [
            ("nothing", &[1, 2, 3][..]),
            ("9 put in", &[1, 2, 9, 3]),
            ("2 left out", &[1, 3]),
            ("2 replaced", &[1, 9, 3]),
            ("9 in front", &[9, 1, 2, 3]),
            ("9 put in twice", &[1, 9, 9, 2, 3]),
        ] {
            assert_eq!(guesses(&draft, answer).pop().unwrap(), [4, 5, 6], "{what}");
        }
    }

    #[test]
    fn both_tokens_find_a_better_place_than_the_last_alone() {
        let draft = [1, 2, 7, 3, 7, 4];
        assert_eq!(guesses(&draft, &[1, 3, 7]).pop().unwrap(), [4]);
        assert_eq!(guesses(&draft, &[1, 2, 7, 3, 7, 9, 2, 7]).pop().unwrap(), [3, 7, 4], "behind");
    }

    #[test]
    fn the_end_comes_again_after_all_that_is_put_in() {
        assert_eq!(guesses(&[1, 2, 6], &[1, 2, 7, 8, 9]), [&[2, 6][..], &[6], &[6], &[6], &[6]]);
    }

    #[test]
    fn the_less_speaks_for_a_place_the_fewer_are_tried() {
        let draft: Vec<TokenId> = (1..40).collect();
        let cases: [(&[TokenId], usize, usize); 4] =
            [(&[1], 32, 32), (&[1, 99, 5, 6], 32, 32), (&[1, 3], 4, 0), (&[1, 99], 1, 0)];
        for (answer, tried, likely) in cases {
            let mut followed = Draft::new(draft.clone(), &[0]);
            (1..=answer.len()).for_each(|end| followed.follow(answer[end - 1], &answer[..end]));
            let n = |tries_unlikely| followed.guesses(99, tries_unlikely).len();
            assert_eq!((n(true), n(false)), (tried, likely), "{answer:?}");
        }
        let mut followed = Draft::new(vec![1, 2, 3, 4, 5, 6, 7, 8, 9], &[0]);
        followed.follow(6, &[5, 6]);
        assert_eq!(followed.guesses(99, false), [7, 8, 9], "both tokens speak for it");
    }

    #[test]
    fn a_draft_ends_before_a_stop_and_at_its_bound() {
        assert_eq!(Draft::new(vec![1, 2, 0, 3], &[0]).guesses(9, true), [1, 2]);
        assert!(Draft::new(vec![0], &[0]).guesses(9, true).is_empty());
        let long = Draft::new(vec![1; 5000], &[0]);
        assert_eq!(
            (long.tokens.len(), long.guesses(5000, true).len()),
            (DRAFT_TOKENS_MAX, GUESSES_MAX)
        );
        assert_eq!(guesses(&[1, 2], &[1, 2]).pop().unwrap(), [0_u32; 0]);
        assert_eq!(guesses(&[], &[1]).pop().unwrap(), [0_u32; 0]);
    }
}
