//! What a translation model is worth, in figures: pure, without files, clocks or threads.
//!
//! | figure | where |
//! |---|---|
//! | BLEU as sacreBLEU computes it | [`bleu`] |
//! | chrF and chrF++ as sacreBLEU computes them | [`chrf`] |
//! | Kullback-Leibler divergence and top-1 agreement of two networks | [`divergence`] |
//! | how much a text repeats itself | [`repetition`] |
//! | the test set | [`rows`] |
//! | all of it, per language pair | [`report`] |
//!
//! No crate that is kept equals sacreBLEU to the last digit with its `13a` and `zh` tokenisers, so
//! these are our own; `tests/eval.rs` holds them against the PyPI package. [`network`] is the one
//! file that drives an engine.

pub mod bleu;
pub mod chrf;
pub mod divergence;
pub mod network;
pub mod repetition;
pub mod report;
pub mod rows;
pub mod svg;

/// White space as Python's `str.split` sees it: Unicode's, and the four ASCII separators.
fn is_python_space(c: char) -> bool {
    c.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&c)
}

/// The words of a line as Python's `str.split` gives them.
fn python_words(line: &str) -> impl Iterator<Item = &str> {
    line.split(is_python_space).filter(|word| !word.is_empty())
}
