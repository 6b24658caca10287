//! The tokenizer in the metadata of a GGUF file.
//!
//! `tokenizer.ggml.pre` names the splits: `hunyuan-dense` for the 1.8B family, `hunyuan` for the
//! 7B family. GPT-2's, which a byte-level tokenizer would otherwise get, are neither.

use super::build::{MERGES_MAX, Parts, Splits, VOCAB_MAX};
use super::{Tokenizer, TokenizerError};
use crate::format::gguf::{Gguf, Value};

const MODEL: &str = "tokenizer.ggml.model";
const PRE: &str = "tokenizer.ggml.pre";
const TOKENS: &str = "tokenizer.ggml.tokens";
const TYPES: &str = "tokenizer.ggml.token_type";
const MERGES: &str = "tokenizer.ggml.merges";

/// `tokenizer.ggml.token_type` of a special token.
const CONTROL: u64 = 3;
/// Of a token that was added by hand; chat markers of some conversions.
const USER_DEFINED: u64 = 4;

/// Longest token. Bytes.
const TOKEN_BYTES_MAX: usize = 1024;

impl Tokenizer {
    /// Builds the tokenizer that a GGUF file describes; `origin` names the file in messages.
    ///
    /// # Errors
    /// [`TokenizerError::Gguf`] names the key, what it holds and what is read.
    pub fn from_gguf(gguf: &Gguf<'_>, origin: &str) -> Result<Self, TokenizerError> {
        let keys = Keys { gguf, origin };
        keys.one_of(MODEL, &[("gpt2", ())])?;
        let splits = keys.one_of(
            PRE,
            &[
                ("hunyuan-dense", Splits::Small),
                ("deepseek-v3", Splits::Small),
                ("hunyuan", Splits::Large),
                ("qwen2", Splits::Large),
            ],
        )?;
        let vocab = keys.texts(TOKENS, VOCAB_MAX)?;
        let types = keys.token_types(vocab.len())?;
        let specials = vocab
            .iter()
            .zip(types)
            .zip(0..)
            .filter(|((token, kind), _)| {
                *kind == CONTROL || *kind == USER_DEFINED && super::is_marker(token)
            })
            .map(|((token, _), id)| (token.clone(), id))
            .collect();
        let merges = keys
            .texts(MERGES, MERGES_MAX)?
            .into_iter()
            .map(|merge| keys.split_merge(&merge))
            .collect::<Result<Vec<_>, _>>()?;
        // llama.cpp, for which such files are made, merges every word.
        Parts { vocab, merges, ignore_merges: false, splits, specials }.build(origin)
    }
}

struct Keys<'a> {
    gguf: &'a Gguf<'a>,
    origin: &'a str,
}

impl<'a> Keys<'a> {
    fn refuse(&self, key: &'static str, value: String, allowed: String) -> TokenizerError {
        TokenizerError::Gguf { origin: self.origin.to_owned(), key, value, allowed }
    }

    fn get(&self, key: &'static str, allowed: &str) -> Result<&'a Value<'a>, TokenizerError> {
        let absent = || self.refuse(key, "absent".to_owned(), allowed.to_owned());
        self.gguf.get(key).ok_or_else(absent)
    }

    fn one_of<T: Copy>(
        &self,
        key: &'static str,
        choices: &[(&str, T)],
    ) -> Result<T, TokenizerError> {
        let allowed = choices.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
        let value = self.get(key, &allowed)?;
        let choice = choices.iter().find(|(name, _)| value.as_str() == Some(*name));
        choice.map(|(_, choice)| *choice).ok_or_else(|| self.refuse(key, value.describe(), allowed))
    }

    fn texts(&self, key: &'static str, max: usize) -> Result<Vec<String>, TokenizerError> {
        let allowed =
            format!("at most {max} strings of UTF-8, each of 1 to {TOKEN_BYTES_MAX} bytes");
        let value = self.get(key, &allowed)?;
        let refuse = |what: String| self.refuse(key, what, allowed.clone());
        let texts = value.as_array().filter(|array| array.len() <= max).and_then(|a| a.texts());
        let texts = texts.ok_or_else(|| refuse(value.describe()))?;
        texts
            .enumerate()
            .map(|(index, bytes)| {
                if !(1..=TOKEN_BYTES_MAX).contains(&bytes.len()) {
                    return Err(refuse(format!("{} bytes long in entry {index}", bytes.len())));
                }
                let text = std::str::from_utf8(bytes);
                text.map(str::to_owned).map_err(|_| refuse(format!("not UTF-8 in entry {index}")))
            })
            .collect()
    }

    fn token_types(&self, n: usize) -> Result<Vec<u64>, TokenizerError> {
        let allowed = format!("{n} integers, one for each token");
        let value = self.get(TYPES, &allowed)?;
        let types = value.as_array().filter(|array| array.len() == n).and_then(|a| a.scalars());
        types
            .and_then(|types| types.map(|kind| kind.as_u64()).collect::<Option<Vec<_>>>())
            .ok_or_else(|| self.refuse(TYPES, value.describe(), allowed))
    }

    /// The two halves of a merge. A half may begin with a space in old conversions, so the one that
    /// separates is looked for after the first byte, as llama.cpp does.
    fn split_merge(&self, merge: &str) -> Result<(String, String), TokenizerError> {
        let space = merge.char_indices().skip(1).find(|(_, symbol)| *symbol == ' ');
        let halves = space.map(|(at, _)| (merge[..at].to_owned(), merge[at + 1..].to_owned()));
        halves.ok_or_else(|| {
            let shown = format!("{merge:?}").chars().take(60).collect();
            self.refuse(MERGES, shown, "two tokens with a space between them".to_owned())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::gguf::tests::{File, text};
    use crate::tokenizer::byte_symbol;

    const STRING: u32 = 8;
    const ARRAY: u32 = 9;
    const SIGNED: u32 = 5;

    fn texts(entries: &[String]) -> Vec<u8> {
        let mut bytes = STRING.to_le_bytes().to_vec();
        bytes.extend((entries.len() as u64).to_le_bytes());
        bytes.extend(entries.iter().flat_map(|entry| text(entry)));
        bytes
    }

    fn types(kinds: &[i32]) -> Vec<u8> {
        let mut bytes = SIGNED.to_le_bytes().to_vec();
        bytes.extend((kinds.len() as u64).to_le_bytes());
        bytes.extend(kinds.iter().flat_map(|kind| kind.to_le_bytes()));
        bytes
    }

    /// Every byte, then `more`, of which those in angle brackets are special.
    struct Made {
        model: &'static str,
        pre: &'static str,
        vocab: Vec<String>,
        kinds: Vec<i32>,
        merges: Vec<String>,
    }

    fn made(more: &[&str], merges: &[&str]) -> Made {
        let more: Vec<String> = more.iter().map(|token| (*token).to_owned()).collect();
        let kinds = more.iter().map(|token| if token.starts_with('<') { 3 } else { 1 });
        Made {
            model: "gpt2",
            pre: "hunyuan",
            kinds: [1; 256].into_iter().chain(kinds).collect(),
            vocab: (0..=255).map(|byte| byte_symbol(byte).to_string()).chain(more).collect(),
            merges: merges.iter().map(|merge| (*merge).to_owned()).collect(),
        }
    }

    impl Made {
        fn build(&self) -> Result<Tokenizer, TokenizerError> {
            let bytes = File::default()
                .key(MODEL, STRING, &text(self.model))
                .key(PRE, STRING, &text(self.pre))
                .key(TOKENS, ARRAY, &texts(&self.vocab))
                .key(TYPES, ARRAY, &types(&self.kinds))
                .key(MERGES, ARRAY, &texts(&self.merges))
                .bytes(0);
            let gguf = Gguf::parse(&bytes, bytes.len() as u64).unwrap();
            Tokenizer::from_gguf(&gguf, "m.gguf")
        }
    }

    #[test]
    fn special_tokens_are_those_that_the_types_name() {
        let tokenizer = made(&["ab", "<|eos|>"], &["a b"]).build().unwrap();
        assert_eq!(tokenizer.special_id("<|eos|>"), Some(257));
        assert_eq!(tokenizer.encode("ab").unwrap(), [256]);
        assert!(!tokenizer.encode("<|eos|>").unwrap().contains(&257));
    }

    #[test]
    fn damage_is_named() {
        let cases = [
            (Made { model: "llama", ..made(&[], &[]) }, "tokenizer.ggml.model"),
            (Made { pre: "gpt-2", ..made(&[], &[]) }, "hunyuan-dense"),
            (Made { kinds: vec![1; 3], ..made(&[], &[]) }, "one for each token"),
            (made(&[""], &[]), "0 bytes long in entry 256"),
            (made(&["a"], &[]), "1 entries appear twice"),
            (made(&[], &["ab"]), "a space between them"),
            (made(&[], &["a b"]), "m.gguf"),
            // No merge leaves a word as long as it was, so that merging ends.
            (made(&[], &["a "]), "m.gguf"),
            (made(&["ab", "ba"], &["ab ba"]), "m.gguf"),
        ];
        for (index, (made, named)) in cases.into_iter().enumerate() {
            let message = made.build().unwrap_err().to_string();
            assert!(message.contains(named), "case {index}: '{named}' is not in: {message}");
        }
        let long = "x".repeat(TOKEN_BYTES_MAX + 1);
        let message = made(&[&long], &[]).build().unwrap_err().to_string();
        assert!(message.contains("1025 bytes long"), "{message}");
    }
}
