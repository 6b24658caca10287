//! Tokenizer and streaming detokenizer.
//!
//! A thin layer over Hugging Face's `tokenizers`, with two guarantees the application needs: user
//! text never yields a special token, and streamed text never ends in half a character.

mod build;
mod gguf;
mod tiktoken;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokenizers::{AddedToken, DecoderWrapper};

use crate::TokenId;
use crate::error::LoadError;
use crate::weights::{Container, GgufHeader};

pub use tiktoken::{TIKTOKEN_FILE, TOKEN_LEN_MAX};

/// Largest `tokenizer.json` that is read. Bytes; the 1.8B model's has about 10 MB.
pub const TOKENIZER_BYTES_MAX: u64 = 64 << 20;

/// The special tokens of HY-MT's 1.8B family that the chat template and the stop set use.
pub const SPECIALS_1_8B: &[&str] = &[
    "<｜hy_begin▁of▁sentence｜>",
    "<｜hy_end▁of▁sentence｜>",
    "<｜hy_▁pad▁｜>",
    "<｜hy_User｜>",
    "<｜hy_Assistant｜>",
    "<｜hy_place▁holder▁no▁2｜>",
    "<｜hy_place▁holder▁no▁3｜>",
    "<｜hy_place▁holder▁no▁8｜>",
];

/// Why a tokenizer could not be loaded or a text not be encoded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TokenizerError {
    /// The file is missing or unreadable.
    #[error("cannot read the tokenizer {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The file is larger than any real tokenizer.
    #[error("tokenizer {} has {bytes} bytes, at most {limit} are read", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Its size.
        bytes: u64,
        /// The bound.
        limit: u64,
    },
    /// The content is not a tokenizer.
    #[error("{origin} is not a valid tokenizer.json: {detail}")]
    Parse {
        /// File name or `embedded tokenizer`.
        origin: String,
        /// What the parser said.
        detail: String,
    },
    /// A file of tiktoken ranks is damaged.
    #[error("{origin} holds no tiktoken ranks: {detail}")]
    Tiktoken {
        /// File name.
        origin: String,
        /// Which line and why.
        detail: String,
    },
    /// The metadata of a GGUF file describe no tokenizer that is read.
    #[error("cannot read the tokenizer in {origin}: '{key}' is {value}; allowed: {allowed}")]
    Gguf {
        /// File name.
        origin: String,
        /// The key.
        key: &'static str,
        /// What it holds, shortened.
        value: String,
        /// What is read.
        allowed: String,
    },
    /// The folder has no tokenizer.
    #[error("no tokenizer.json and no {TIKTOKEN_FILE} in '{}'", dir.display())]
    Missing {
        /// The model folder.
        dir: PathBuf,
    },
    /// The GGUF file that holds the tokenizer is damaged.
    #[error("cannot read the tokenizer")]
    Load(#[from] LoadError),
    /// A tokenizer of another kind than HunYuan's.
    #[error("{origin} has no byte-level decoder; only byte-level BPE tokenizers are supported")]
    NotByteLevel {
        /// File name or `embedded tokenizer`.
        origin: String,
    },
    /// The library refused the text.
    #[error("the text could not be encoded: {detail}")]
    Encode {
        /// What it said.
        detail: String,
    },
}

/// Words whose tokens each thread remembers.
///
/// The library's own 10,000 would let words of up to 255 bytes, chosen by whoever speaks, take
/// 60 MB in each thread that encodes.
pub const CACHE_WORDS_MAX: usize = 1024;

/// A byte-level BPE tokenizer.
pub struct Tokenizer {
    inner: tokenizers::Tokenizer,
}

impl std::fmt::Debug for Tokenizer {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Tokenizer").field("vocab_size", &self.vocab_size()).finish()
    }
}

impl Tokenizer {
    /// The tokenizer of a model: `tokenizer.json` or else `hy.tiktoken` in its folder, or the
    /// metadata of its GGUF file. `None` for an embedded model, whose tokenizer is the caller's.
    ///
    /// # Errors
    /// [`TokenizerError`] when there is none, or it is damaged.
    pub fn of(container: &Container) -> Result<Option<Self>, TokenizerError> {
        match container {
            Container::Embedded => Ok(None),
            Container::Gguf(path) => {
                let header = GgufHeader::read(path)?;
                Self::from_gguf(&header.gguf()?, header.file()).map(Some)
            }
            Container::Folder(dir) => {
                let (json, ranks) = (dir.join("tokenizer.json"), dir.join(TIKTOKEN_FILE));
                if json.exists() {
                    Self::from_file(&json).map(Some)
                } else if ranks.exists() {
                    Self::from_tiktoken_file(&ranks).map(Some)
                } else {
                    Err(TokenizerError::Missing { dir: dir.clone() })
                }
            }
        }
    }

    /// Loads a `tokenizer.json`.
    ///
    /// # Errors
    /// [`TokenizerError`] when the file is missing, too large, malformed, or not byte-level.
    pub fn from_file(path: &Path) -> Result<Self, TokenizerError> {
        Self::parse(&read(path, TOKENIZER_BYTES_MAX)?, &path.display().to_string())
    }

    /// Parses the bytes of a `tokenizer.json`.
    ///
    /// # Errors
    /// [`TokenizerError`] when they are malformed or not byte-level.
    pub fn from_bytes(json: &[u8]) -> Result<Self, TokenizerError> {
        Self::parse(json, "embedded tokenizer")
    }

    /// A tokenizer that needs no file: one token per byte (ids `0..256`), then the specials of the
    /// 1.8B family. For the scripted engine and for tests.
    pub fn bytes() -> Self {
        Self::bytes_with_specials(SPECIALS_1_8B)
    }

    /// One token per byte (ids `0..256`), then `specials` in order.
    pub fn bytes_with_specials(specials: &[&str]) -> Self {
        let vocab: serde_json::Map<String, serde_json::Value> =
            (0..=u8::MAX).map(|byte| (byte_symbol(byte).to_string(), byte.into())).collect();
        let added: Vec<_> = specials
            .iter()
            .zip(256_u32..)
            .map(|(content, id)| {
                serde_json::json!({
                    "id": id, "content": content, "single_word": false, "lstrip": false,
                    "rstrip": false, "normalized": false, "special": true,
                })
            })
            .collect();
        let byte_level = serde_json::json!({
            "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false,
        });
        let json = serde_json::json!({
            "version": "1.0", "truncation": null, "padding": null, "added_tokens": added,
            "normalizer": null, "pre_tokenizer": byte_level, "post_processor": null,
            "decoder": byte_level, "model": { "type": "BPE", "vocab": vocab, "merges": [] },
        });
        let mut bytes = Self::from_bytes(json.to_string().as_bytes())
            .expect("the tokenizer above is well-formed");
        // Nothing is split here, so every text would be one word that never comes again.
        resize_cache(&mut bytes.inner, 0);
        bytes
    }

    fn parse(json: &[u8], origin: &str) -> Result<Self, TokenizerError> {
        let bad = |detail: String| TokenizerError::Parse { origin: origin.to_owned(), detail };
        // The library indexes out of bounds on merges whose union is longer than every entry of
        // the vocabulary (0.23.2, `BpeBuilder::build`), and a file must not end the process.
        let parsed = std::panic::catch_unwind(|| tokenizers::Tokenizer::from_bytes(json));
        match parsed {
            Ok(Ok(inner)) => Self::finish(inner, origin),
            Ok(Err(error)) => Err(bad(error.to_string())),
            Err(_) => Err(bad("its merges do not belong to its vocabulary".to_owned())),
        }
    }

    /// Gives a tokenizer of the library the guarantees of this module.
    fn finish(mut inner: tokenizers::Tokenizer, origin: &str) -> Result<Self, TokenizerError> {
        if !matches!(inner.get_decoder(), Some(DecoderWrapper::ByteLevel(_))) {
            return Err(TokenizerError::NotByteLevel { origin: origin.to_owned() });
        }
        make_markers_special(&mut inner)
            .map_err(|detail| TokenizerError::Parse { origin: origin.to_owned(), detail })?;
        // Without this the library recognises special tokens inside any text, whatever
        // `add_special_tokens` says, and a user could open a new turn.
        inner.set_encode_special_tokens(true);
        let _ = inner.with_truncation(None);
        inner.with_padding(None);
        resize_cache(&mut inner, CACHE_WORDS_MAX);
        Ok(Self { inner })
    }

    /// Number of entries, special tokens included.
    pub fn vocab_size(&self) -> usize {
        self.inner.get_vocab_size(true)
    }

    /// Token ids of `text`; never a special token, and none is added.
    ///
    /// # Errors
    /// [`TokenizerError::Encode`] when the library refuses the text.
    pub fn encode(&self, text: &str) -> Result<Vec<TokenId>, TokenizerError> {
        self.inner
            .encode_fast(text, false)
            .map(|encoding| encoding.get_ids().to_vec())
            .map_err(|error| TokenizerError::Encode { detail: error.to_string() })
    }

    /// Id of the special token with exactly this content.
    pub fn special_id(&self, content: &str) -> Option<TokenId> {
        self.inner.token_to_id(content).filter(|id| self.is_special(*id))
    }

    /// True for special tokens, which never become text.
    pub fn is_special(&self, id: TokenId) -> bool {
        let added = self.inner.get_added_vocabulary();
        added.simple_id_to_token(id).is_some_and(|content| added.is_special_token(&content))
    }

    /// Text of `ids` without special tokens; invalid UTF-8 becomes U+FFFD.
    pub fn decode(&self, ids: &[TokenId]) -> String {
        let mut text = String::new();
        let mut pending = Pending::default();
        for &id in ids {
            self.append_bytes(id, &mut pending.bytes);
            pending.drain_into(&mut text);
        }
        pending.finish_into(&mut text);
        text
    }

    /// Appends the bytes that `id` stands for: none for special or unknown ids.
    fn append_bytes(&self, id: TokenId, bytes: &mut Vec<u8>) {
        if self.is_special(id) {
            return;
        }
        let Some(token) = self.inner.id_to_token(id) else { return };
        let start = bytes.len();
        for symbol in token.chars() {
            match symbol_byte(symbol) {
                Some(byte) => bytes.push(byte),
                None => {
                    // Not a byte-level token: an added word, which stands for itself.
                    bytes.truncate(start);
                    bytes.extend_from_slice(token.as_bytes());
                    return;
                }
            }
        }
    }
}

/// Makes every added token that looks like a chat marker a special one.
///
/// Published files of this lineage declare turn headers as ordinary added tokens (DeepSeek's
/// distilled models have `<｜User｜>` with `"special": false`). The library finds those in any text,
/// so that a user could open a turn, and decodes them into the answer.
fn make_markers_special(inner: &mut tokenizers::Tokenizer) -> Result<(), String> {
    let markers: Vec<AddedToken> = inner
        .get_added_tokens_decoder()
        .into_values()
        .filter(|token| !token.special && is_marker(&token.content))
        .map(|token| AddedToken { special: true, ..token })
        .collect();
    if markers.is_empty() {
        return Ok(());
    }
    inner.add_special_tokens(markers).map(|_| ()).map_err(|error| error.to_string())
}

/// True for `<|...|>` and `<｜...｜>`.
fn is_marker(content: &str) -> bool {
    [("<|", "|>"), ("<｜", "｜>")]
        .iter()
        .any(|(open, close)| content.starts_with(open) && content.ends_with(close))
}

/// Turns a stream of tokens into pieces of text whose concatenation is what
/// [`Tokenizer::decode`] gives for the whole.
#[derive(Debug)]
pub struct DecodeStream {
    tokenizer: Arc<Tokenizer>,
    pending: Pending,
}

impl DecodeStream {
    /// A stream at its beginning.
    pub fn new(tokenizer: Arc<Tokenizer>) -> Self {
        Self { tokenizer, pending: Pending::default() }
    }

    /// Takes the next token and returns the text that has become certain, if any.
    pub fn push(&mut self, id: TokenId) -> Option<String> {
        self.tokenizer.append_bytes(id, &mut self.pending.bytes);
        let mut text = String::new();
        self.pending.drain_into(&mut text);
        (!text.is_empty()).then_some(text)
    }

    /// Ends the stream; half a character that was held back becomes U+FFFD.
    pub fn finish(&mut self) -> Option<String> {
        let mut text = String::new();
        self.pending.finish_into(&mut text);
        (!text.is_empty()).then_some(text)
    }
}

/// Bytes that do not yet form a whole character: at most three after each drain.
#[derive(Debug, Default)]
struct Pending {
    bytes: Vec<u8>,
}

impl Pending {
    /// Moves everything that is certain into `text`.
    fn drain_into(&mut self, text: &mut String) {
        let mut done = 0;
        loop {
            let rest = &self.bytes[done..];
            match std::str::from_utf8(rest) {
                Ok(valid) => {
                    text.push_str(valid);
                    done = self.bytes.len();
                    break;
                }
                Err(error) => {
                    let valid = &rest[..error.valid_up_to()];
                    text.push_str(std::str::from_utf8(valid).expect("checked just above"));
                    done += error.valid_up_to();
                    match error.error_len() {
                        Some(length) => {
                            text.push(char::REPLACEMENT_CHARACTER);
                            done += length;
                        }
                        None => break,
                    }
                }
            }
        }
        self.bytes.drain(..done);
    }

    fn finish_into(&mut self, text: &mut String) {
        if !self.bytes.is_empty() {
            text.push(char::REPLACEMENT_CHARACTER);
            self.bytes.clear();
        }
    }
}

/// Reads a file of at most `limit` bytes.
fn read(path: &Path, limit: u64) -> Result<Vec<u8>, TokenizerError> {
    let io = |source| TokenizerError::Read { path: path.to_owned(), source };
    let bytes = std::fs::metadata(path).map_err(io)?.len();
    if bytes > limit {
        return Err(TokenizerError::TooLarge { path: path.to_owned(), bytes, limit });
    }
    std::fs::read(path).map_err(io)
}

/// Bounds the library's cache of words.
fn resize_cache(inner: &mut tokenizers::Tokenizer, words: usize) {
    let mut model = inner.get_model().clone();
    model.resize_cache(words);
    inner.with_model(model);
}

/// The character that byte-level BPE writes for a byte: itself where it is printable Latin-1, else
/// one from U+0100 on, in order (GPT-2, `bytes_to_unicode`).
fn byte_symbol(byte: u8) -> char {
    if is_own_symbol(byte) {
        return char::from(byte);
    }
    let earlier = (0..byte).filter(|other| !is_own_symbol(*other)).count();
    char::from_u32(0x100 + earlier as u32).expect("at most 68 above U+0100")
}

fn symbol_byte(symbol: char) -> Option<u8> {
    let code = u32::from(symbol);
    if let Ok(byte) = u8::try_from(code) {
        return is_own_symbol(byte).then_some(byte);
    }
    const SHIFTED: [u8; SHIFTED_BYTES] = shifted_bytes();
    SHIFTED.get(code.checked_sub(0x100)? as usize).copied()
}

const fn is_own_symbol(byte: u8) -> bool {
    matches!(byte, b'!'..=b'~' | 0xA1..=0xAC | 0xAE..=0xFF)
}

/// How many bytes have no printable character of their own.
const SHIFTED_BYTES: usize = 68;

/// The bytes behind U+0100, U+0101, ...
const fn shifted_bytes() -> [u8; SHIFTED_BYTES] {
    let mut table = [0; SHIFTED_BYTES];
    let (mut byte, mut filled) = (0, 0);
    while byte < 256 {
        if !is_own_symbol(byte as u8) {
            table[filled] = byte as u8;
            filled += 1;
        }
        byte += 1;
    }
    table
}
