//! BLEU, equal to sacreBLEU's corpus BLEU with one reference.
//!
//! Papineni et al. 2002, <https://aclanthology.org/P02-1040>; tokenisers, exponential smoothing and
//! corner cases as in sacreBLEU 2.6 (Post 2018, <https://aclanthology.org/W18-6319>).

use std::collections::HashMap;

use hymt_core::language::Language;

use super::{is_python_space, python_words};

/// Longest n-gram.
const ORDER: usize = 4;
/// sacreBLEU's stand-in for the logarithm of zero.
const LOG_OF_ZERO: f64 = -9_999_999_999.0;

/// How a line becomes tokens; each is sacreBLEU's of that name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Tokenizer {
    /// mteval-v13a, for languages that write spaces.
    V13a,
    /// Each Chinese character a token, the rest as 13a.
    Zh,
    /// Each character a token.
    Char,
}

impl Tokenizer {
    /// The one for a target language. Where sacreBLEU would want a dictionary (Japanese) and for
    /// other scripts without spaces it is `char`.
    pub fn of(language: Language) -> Self {
        if language.is_chinese() {
            Self::Zh
        } else if language.has_word_spaces() {
            Self::V13a
        } else {
            Self::Char
        }
    }

    /// sacreBLEU's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::V13a => "13a",
            Self::Zh => "zh",
            Self::Char => "char",
        }
    }

    /// sacreBLEU's signature of a corpus score with this tokeniser, without a version.
    pub fn signature(self) -> String {
        format!("nrefs:1|case:mixed|eff:no|tok:{}|smooth:exp", self.name())
    }

    /// The line with its tokens separated by white space.
    fn separate(self, line: &str) -> String {
        let line = line.trim_end_matches(is_python_space);
        match self {
            Self::V13a => separate_13a(&format!(" {} ", unescape(line))),
            Self::Zh => separate_zh(line),
            Self::Char => line.chars().flat_map(|c| [c, ' ']).collect(),
        }
    }
}

/// Sums over the segments of a corpus, from which its score follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct BleuStats {
    hypothesis_len: usize,
    reference_len: usize,
    /// n-grams that the reference has too, by order.
    correct: [usize; ORDER],
    /// n-grams of the hypothesis, by order.
    total: [usize; ORDER],
}

impl BleuStats {
    /// Adds one segment.
    pub fn add(&mut self, tokenizer: Tokenizer, hypothesis: &str, reference: &str) {
        let (hypothesis, reference) =
            (tokenizer.separate(hypothesis), tokenizer.separate(reference));
        let hypothesis: Vec<_> = python_words(&hypothesis).collect();
        let reference: Vec<_> = python_words(&reference).collect();
        self.hypothesis_len += hypothesis.len();
        self.reference_len += reference.len();
        for order in 1..=ORDER {
            let known = counts(&reference, order);
            for (ngram, count) in counts(&hypothesis, order) {
                self.total[order - 1] += count;
                self.correct[order - 1] += known.get(ngram).map_or(0, |known| count.min(*known));
            }
        }
    }

    /// The score, 0 to 100.
    pub fn score(&self) -> f64 {
        if self.correct.iter().all(|n| *n == 0) {
            return 0.0;
        }
        let mut precisions = [0.0; ORDER];
        let mut smoothing = 1.0;
        for ((precision, correct), total) in precisions.iter_mut().zip(self.correct).zip(self.total)
        {
            if total == 0 {
                break;
            }
            *precision = if correct == 0 {
                smoothing *= 2.0;
                100.0 / (smoothing * total as f64)
            } else {
                100.0 * correct as f64 / total as f64
            };
        }
        let log = |p: &f64| if *p == 0.0 { LOG_OF_ZERO } else { p.ln() };
        let mean = precisions.iter().map(log).sum::<f64>() / ORDER as f64;
        self.brevity_penalty() * mean.exp()
    }

    fn brevity_penalty(&self) -> f64 {
        let (hypothesis, reference) = (self.hypothesis_len as f64, self.reference_len as f64);
        if self.hypothesis_len >= self.reference_len {
            1.0
        } else if self.hypothesis_len == 0 {
            0.0
        } else {
            (1.0 - reference / hypothesis).exp()
        }
    }
}

fn counts<'a, 'b>(tokens: &'b [&'a str], order: usize) -> HashMap<&'b [&'a str], usize> {
    let mut counts = HashMap::new();
    for ngram in tokens.windows(order) {
        *counts.entry(ngram).or_default() += 1;
    }
    counts
}

fn unescape(line: &str) -> String {
    let line = line.replace("<skipped>", "").replace("-\n", "").replace('\n', " ");
    // In this order: `&amp;lt;` becomes `<`, as it does there.
    line.replace("&quot;", "\"").replace("&amp;", "&").replace("&lt;", "<").replace("&gt;", ">")
}

/// The four substitutions of mteval-v13a, each over the whole line and without overlaps.
fn separate_13a(line: &str) -> String {
    let mut spaced = String::with_capacity(line.len() * 2);
    for c in line.chars() {
        if is_western_mark(c) {
            spaced.extend([' ', c, ' ']);
        } else {
            spaced.push(c);
        }
    }
    let is_point = |c: char| matches!(c, '.' | ',');
    let is_digit = |c: char| c.is_ascii_digit();
    let spaced = pairs(&spaced, |a, b| !is_digit(a) && is_point(b), |a, b| [a, ' ', b, ' ']);
    let spaced = pairs(&spaced, |a, b| is_point(a) && !is_digit(b), |a, b| [' ', a, ' ', b]);
    pairs(&spaced, |a, b| is_digit(a) && b == '-', |a, b| [a, ' ', b, ' '])
}

/// ASCII punctuation but for `'`, `,`, `-` and `.`; the space itself does no harm.
fn is_western_mark(c: char) -> bool {
    matches!(c, '{'..='~' | '['..='`' | ' '..='&' | '('..='+' | ':'..='@' | '/')
}

/// Replaces, from the left and without overlaps, each pair of characters that `matches`.
fn pairs(
    line: &str,
    matches: impl Fn(char, char) -> bool,
    replace: impl Fn(char, char) -> [char; 4],
) -> String {
    let mut out = String::with_capacity(line.len() * 2);
    let mut chars = line.chars().peekable();
    while let Some(a) = chars.next() {
        match chars.next_if(|b| matches(a, *b)) {
            Some(b) => out.extend(replace(a, b)),
            None => out.push(a),
        }
    }
    out
}

fn separate_zh(line: &str) -> String {
    let mut spaced = String::with_capacity(line.len() * 2);
    for c in line.trim_matches(is_python_space).chars() {
        if is_chinese(c) {
            spaced.extend([' ', c, ' ']);
        } else {
            spaced.push(c);
        }
    }
    separate_13a(&spaced)
}

/// What sacreBLEU's `zh` takes for Chinese. Its two ranges beyond the basic plane are written with
/// four-digit escapes, and so mean U+2001 to U+2A6D (general punctuation, arrows and more) and
/// U+2F81 to U+2FA1; equal scores need the same.
fn is_chinese(c: char) -> bool {
    matches!(c,
        '\u{3400}'..='\u{4db5}' | '\u{4e00}'..='\u{9fbb}' | '\u{f900}'..='\u{fa2d}'
        | '\u{fa30}'..='\u{fa6a}' | '\u{fa70}'..='\u{fad9}' | '\u{2001}'..='\u{2a6d}'
        | '\u{2f81}'..='\u{2fa1}' | '\u{ff00}'..='\u{ffef}' | '\u{2e80}'..='\u{2eff}'
        | '\u{3000}'..='\u{303f}' | '\u{31c0}'..='\u{31ef}' | '\u{2f00}'..='\u{2fdf}'
        | '\u{2ff0}'..='\u{2fff}' | '\u{3100}'..='\u{312f}' | '\u{31a0}'..='\u{31bf}'
        | '\u{fe10}'..='\u{fe1f}' | '\u{fe30}'..='\u{fe4f}' | '\u{3200}'..='\u{33ff}')
}
