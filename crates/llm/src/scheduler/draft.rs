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
//! nowhere is taken for put in or for replaced makes 2.2 or 2.4 times fewer steps.

use crate::TokenId;

/// Longest draft of a request; what is longer is cut, and costs nothing but its speed. Tokens.
pub const DRAFT_TOKENS_MAX: usize = 1024;
/// Most guesses of a sequence in one step: where they are wrong, they cost arithmetic. Tokens.
pub const GUESSES_MAX: usize = 32;
/// The same for a place in the draft that was found by search and not yet confirmed. Tokens.
const UNSURE_GUESSES: usize = 4;
/// How far from the expected place one token alone is searched for. Tokens.
const NEAR_AHEAD: usize = 6;
const NEAR_BEHIND: usize = 2;

#[derive(Debug, Default)]
pub(super) struct Draft {
    tokens: Vec<TokenId>,
    /// The next guess.
    next: usize,
    /// False since the answer left the draft, until a guess was right again.
    is_sure: bool,
}

impl Draft {
    /// A draft to be used from its beginning. It ends before its first stop token: what comes after
    /// one is never asked for.
    pub(super) fn new(mut tokens: Vec<TokenId>, stop: &[TokenId]) -> Self {
        let end = tokens.iter().position(|token| stop.contains(token)).unwrap_or(tokens.len());
        tokens.truncate(end.min(DRAFT_TOKENS_MAX));
        Self { tokens, next: 0, is_sure: true }
    }

    /// What the answer may go on with, `n` tokens at most.
    pub(super) fn guesses(&self, n: usize) -> &[TokenId] {
        let n = n.min(if self.is_sure { GUESSES_MAX } else { UNSURE_GUESSES });
        let left = &self.tokens[self.next.min(self.tokens.len())..];
        &left[..n.min(left.len())]
    }

    /// The answer has grown by `token`, the last of `sequence`.
    pub(super) fn follow(&mut self, token: TokenId, sequence: &[TokenId]) {
        if self.tokens.get(self.next) == Some(&token) {
            self.next += 1;
            self.is_sure = true;
            return;
        }
        self.is_sure = false;
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
        let found = (next..end).chain(0..next).find(|at| fits_both(*at)).or_else(near);
        // Otherwise the next guess was replaced. The last one stands for the end of the sentence, which
        // comes again however much is put in before it.
        self.next = found.map_or((next + 1).min(end.saturating_sub(1)), |at| at + 1);
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
            followed.guesses(3).to_vec()
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
    fn a_draft_ends_before_a_stop_and_at_its_bound() {
        assert_eq!(Draft::new(vec![1, 2, 0, 3], &[0]).guesses(9), [1, 2]);
        assert!(Draft::new(vec![0], &[0]).guesses(9).is_empty());
        let long = Draft::new(vec![1; 5000], &[0]);
        assert_eq!((long.tokens.len(), long.guesses(5000).len()), (DRAFT_TOKENS_MAX, GUESSES_MAX));
        assert_eq!(guesses(&[1, 2], &[1, 2]).pop().unwrap(), [0_u32; 0]);
        assert_eq!(guesses(&[], &[1]).pop().unwrap(), [0_u32; 0]);
    }
}
