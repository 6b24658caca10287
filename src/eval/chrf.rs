//! chrF and chrF++, equal to sacreBLEU's with one reference.
//!
//! Popović 2015, <https://aclanthology.org/W15-3049>, and 2017,
//! <https://aclanthology.org/W17-4770>; beta is 2 and orders that neither side has are left out
//! ("effective order"), as in sacreBLEU 2.6.

use std::collections::HashMap;

use super::{is_python_space, python_words};

/// Longest n-gram of characters.
const CHAR_ORDER: usize = 6;
/// Longest n-gram of words in chrF++.
const WORD_ORDER: usize = 2;
/// Recall counts `BETA` times as much as precision.
const BETA: f64 = 2.0;

/// sacreBLEU's signature of chrF, without a version.
pub const CHRF_SIGNATURE: &str = "nrefs:1|case:mixed|eff:yes|nc:6|nw:0|space:no";
/// sacreBLEU's signature of chrF++, without a version.
pub const CHRF_PP_SIGNATURE: &str = "nrefs:1|case:mixed|eff:yes|nc:6|nw:2|space:no";

/// Sums over the segments of a corpus, from which both scores follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ChrfStats {
    chars: [Counts; CHAR_ORDER],
    words: [Counts; WORD_ORDER],
}

/// n-grams of one order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Counts {
    hypothesis: usize,
    reference: usize,
    matches: usize,
}

impl ChrfStats {
    /// Adds one segment.
    pub fn add(&mut self, hypothesis: &str, reference: &str) {
        let chars =
            |line: &str| -> Vec<char> { line.chars().filter(|c| !is_python_space(*c)).collect() };
        let (a, b) = (chars(hypothesis), chars(reference));
        for (order, counts) in (1..).zip(&mut self.chars) {
            counts.add(&a, &b, order);
        }
        let (a, b) = (words(hypothesis), words(reference));
        for (order, counts) in (1..).zip(&mut self.words) {
            counts.add(&a, &b, order);
        }
    }

    /// chrF, 0 to 100.
    pub fn chrf(&self) -> f64 {
        score(self.chars.iter())
    }

    /// chrF++, 0 to 100.
    pub fn chrf_pp(&self) -> f64 {
        score(self.chars.iter().chain(&self.words))
    }
}

impl Counts {
    fn add<T: Eq + std::hash::Hash>(&mut self, hypothesis: &[T], reference: &[T], order: usize) {
        let (ours, known) = (ngrams(hypothesis, order), ngrams(reference, order));
        // n-grams of an order that the reference is too short for are not held against anybody.
        if !known.is_empty() {
            self.hypothesis += ours.values().sum::<usize>();
        }
        self.reference += known.values().sum::<usize>();
        self.matches += ours
            .iter()
            .filter_map(|(ngram, count)| known.get(ngram).map(|known| count.min(known)))
            .sum::<usize>();
    }
}

fn score<'a>(orders: impl Iterator<Item = &'a Counts>) -> f64 {
    let (mut precision, mut recall, mut n) = (0.0, 0.0, 0);
    for order in orders.filter(|order| order.hypothesis > 0 && order.reference > 0) {
        precision += order.matches as f64 / order.hypothesis as f64;
        recall += order.matches as f64 / order.reference as f64;
        n += 1;
    }
    if precision + recall == 0.0 {
        return 0.0;
    }
    let (precision, recall) = (precision / f64::from(n), recall / f64::from(n));
    let factor = BETA * BETA;
    100.0 * ((1.0 + factor) * precision * recall) / (factor * precision + recall)
}

fn ngrams<T: Eq + std::hash::Hash>(items: &[T], order: usize) -> HashMap<&[T], usize> {
    let mut counts = HashMap::new();
    for ngram in items.windows(order) {
        *counts.entry(ngram).or_default() += 1;
    }
    counts
}

/// Words, of which one punctuation mark at the end, or else at the beginning, is cut off; of
/// `(hi)` only the last one, as the authors' program does.
fn words(line: &str) -> Vec<&str> {
    let mut words = Vec::new();
    for word in python_words(line) {
        let mut chars = word.chars();
        let (first, last) = (chars.next(), chars.next_back());
        match (first, last) {
            (Some(_), Some(mark)) if mark.is_ascii_punctuation() => {
                let (stem, mark) = word.split_at(word.len() - 1);
                words.extend([stem, mark]);
            }
            (Some(mark), Some(_)) if mark.is_ascii_punctuation() => {
                let (mark, stem) = word.split_at(1);
                words.extend([mark, stem]);
            }
            _ => words.push(word),
        }
    }
    words
}
