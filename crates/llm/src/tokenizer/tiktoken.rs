//! `hy.tiktoken`: the 7B family's tokenizer where a repository has no `tokenizer.json`.
//!
//! Lines of a token in base64 and its rank. tiktoken merges the neighbours whose union has the
//! lowest rank; so every way to cut a token into two tokens is a merge, in order of the token's
//! rank. The special tokens are those of `tokenization_hy.py`, after the last rank.

use std::collections::HashMap;
use std::path::Path;

use super::build::{MERGES_MAX, Parts, Splits, VOCAB_MAX};
use super::{TOKENIZER_BYTES_MAX, Tokenizer, TokenizerError, byte_symbol, read};

/// Name of the file in a model folder.
pub const TIKTOKEN_FILE: &str = "hy.tiktoken";
/// Longest token. The longest of any published vocabulary has 128 bytes; deriving merges takes
/// time with the square of it.
pub const TOKEN_LEN_MAX: usize = 256;
/// `<|extra_0|>` to `<|extra_204|>` follow the five named special tokens.
const N_EXTRA: usize = 205;

impl Tokenizer {
    /// Loads a file of tiktoken ranks.
    ///
    /// # Errors
    /// [`TokenizerError`] when the file is missing, too large or damaged.
    pub fn from_tiktoken_file(path: &Path) -> Result<Self, TokenizerError> {
        Self::from_tiktoken(&read(path, TOKENIZER_BYTES_MAX)?, &path.display().to_string())
    }

    /// Reads tiktoken ranks; `origin` names them in messages.
    ///
    /// # Errors
    /// [`TokenizerError::Tiktoken`] names the line.
    pub fn from_tiktoken(data: &[u8], origin: &str) -> Result<Self, TokenizerError> {
        let bad = |detail: String| TokenizerError::Tiktoken { origin: origin.to_owned(), detail };
        let tokens = tokens(data).map_err(bad)?;
        let merges = merges(&tokens).map_err(bad)?;
        let first = tokens.len();
        let specials = special_names().zip(first as u32..).collect();
        Parts {
            vocab: tokens.iter().map(|token| symbols(token)).collect(),
            merges,
            ignore_merges: true,
            splits: Splits::Large,
            specials,
        }
        .build(origin)
    }
}

fn special_names() -> impl Iterator<Item = String> {
    ["<|endoftext|>", "<|startoftext|>", "<|bos|>", "<|eos|>", "<|pad|>"]
        .into_iter()
        .map(str::to_owned)
        .chain((0..N_EXTRA).map(|n| format!("<|extra_{n}|>")))
}

/// The tokens by rank: every rank once, and every byte among them.
fn tokens(data: &[u8]) -> Result<Vec<Vec<u8>>, String> {
    let mut by_rank: Vec<(usize, Vec<u8>)> = Vec::new();
    for (index, line) in data.split(|byte| *byte == b'\n').enumerate() {
        let line = line.trim_ascii();
        if line.is_empty() {
            continue;
        }
        let parsed = parse_line(line).map_err(|detail| format!("line {}: {detail}", index + 1))?;
        by_rank.push(parsed);
        if by_rank.len() > VOCAB_MAX {
            return Err(format!("more than {VOCAB_MAX} tokens"));
        }
    }
    by_rank.sort_unstable();
    for (expected, (rank, _)) in by_rank.iter().enumerate() {
        if *rank != expected {
            return Err(format!("rank {expected} is missing, or one below it appears twice"));
        }
    }
    Ok(by_rank.into_iter().map(|(_, token)| token).collect())
}

fn parse_line(line: &[u8]) -> Result<(usize, Vec<u8>), String> {
    let space = line.iter().position(|byte| *byte == b' ').ok_or("no space before the rank")?;
    let (token, rank) = (&line[..space], &line[space + 1..]);
    let rank = std::str::from_utf8(rank)
        .ok()
        .and_then(|rank| rank.parse().ok())
        .filter(|rank| *rank < VOCAB_MAX)
        .ok_or_else(|| format!("the rank is no number below {VOCAB_MAX}"))?;
    let token = base64(token).ok_or("the token is not base64")?;
    if token.is_empty() || token.len() > TOKEN_LEN_MAX {
        return Err(format!("the token has {} bytes; allowed: 1 to {TOKEN_LEN_MAX}", token.len()));
    }
    Ok((rank, token))
}

/// Standard base64 with padding. Ten lines here instead of a dependency.
fn base64(text: &[u8]) -> Option<Vec<u8>> {
    if !text.len().is_multiple_of(4) || text.len() > TOKEN_LEN_MAX.div_ceil(3) * 4 {
        return None;
    }
    let digits = text.trim_ascii_end();
    let n_padding = digits.iter().rev().take_while(|byte| **byte == b'=').count();
    let digits = &digits[..digits.len() - n_padding];
    let (mut bits, mut n_bits, mut out) = (0_u32, 0, Vec::new());
    for byte in digits {
        let digit = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = bits << 6 | u32::from(digit);
        n_bits += 6;
        if n_bits >= 8 {
            n_bits -= 8;
            out.push((bits >> n_bits) as u8);
        }
    }
    (n_padding <= 2).then_some(out)
}

/// Every pair of tokens whose union is a token, by rank of the union, then of the left part.
fn merges(tokens: &[Vec<u8>]) -> Result<Vec<(String, String)>, String> {
    let ranks: HashMap<&[u8], usize> =
        tokens.iter().enumerate().map(|(rank, token)| (&token[..], rank)).collect();
    if ranks.len() != tokens.len() {
        return Err("a token appears twice".to_owned());
    }
    if let Some(byte) = (0..=u8::MAX).find(|byte| !ranks.contains_key(&[*byte][..])) {
        return Err(format!("byte {byte:#04x} has no token"));
    }
    let mut merges = Vec::new();
    for token in tokens {
        let mut pairs: Vec<_> = (1..token.len())
            .map(|cut| token.split_at(cut))
            .filter_map(|(left, right)| Some((*ranks.get(left)?, *ranks.get(right)?)))
            .collect();
        pairs.sort_unstable();
        let text = |rank: usize| symbols(&tokens[rank]);
        merges.extend(pairs.into_iter().map(|(left, right)| (text(left), text(right))));
        if merges.len() > MERGES_MAX {
            return Err(format!("more than {MERGES_MAX} merges"));
        }
    }
    Ok(merges)
}

/// Bytes as byte-level BPE writes them.
fn symbols(token: &[u8]) -> String {
    token.iter().map(|byte| byte_symbol(*byte)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_the_standard_one() {
        for (text, bytes) in [
            ("", Some(&b""[..])),
            ("Zg==", Some(b"f")),
            ("Zm8=", Some(b"fo")),
            ("Zm9v", Some(b"foo")),
            ("/+8=", Some(b"\xff\xef")),
            ("Zm9", None),
            ("Z===", None),
            ("Z*==", None),
        ] {
            assert_eq!(base64(text.as_bytes()).as_deref(), bytes, "{text}");
        }
    }
}
