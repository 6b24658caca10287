//! Byte-level BPE tokenizers made from parts, with the `tokenizers` crate.

use tokenizers::decoders::byte_level::ByteLevel as ByteLevelDecoder;
use tokenizers::models::bpe::BPE;
use tokenizers::pre_tokenizers::PreTokenizerWrapper;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::sequence::Sequence;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
use tokenizers::{AddedToken, SplitDelimiterBehavior};

use super::{Tokenizer, TokenizerError};
use crate::TokenId;

/// Most entries of a vocabulary that is built here.
pub(super) const VOCAB_MAX: usize = crate::config::VOCAB_MAX;
/// Most merges. The 7B tokenizer, whose merges are derived, has some 300,000.
pub(super) const MERGES_MAX: usize = 1 << 20;

/// How text is cut into words before BPE.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Splits {
    /// The 1.8B family's three isolated splits, which are DeepSeek-V3's.
    Small,
    /// The 7B family's one, which is Qwen2's.
    Large,
}

impl Splits {
    fn patterns(self) -> &'static [&'static str] {
        match self {
            Self::Small => &[
                r"\p{N}{1,3}",
                "[\u{4e00}-\u{9fa5}\u{3040}-\u{309f}\u{30a0}-\u{30ff}]+",
                concat!(
                    r##"[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+"##,
                    r"|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+",
                    r"| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
                ),
            ],
            Self::Large => &[concat!(
                r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}",
                r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
            )],
        }
    }

    fn pre_tokenizer(self) -> tokenizers::Result<Sequence> {
        let mut steps = Vec::new();
        for pattern in self.patterns() {
            let pattern = SplitPattern::Regex((*pattern).to_owned());
            let split = Split::new(pattern, SplitDelimiterBehavior::Isolated, false)?;
            steps.push(PreTokenizerWrapper::Split(split));
        }
        steps.push(PreTokenizerWrapper::ByteLevel(ByteLevel::new(false, true, false)));
        Ok(Sequence::new(steps))
    }
}

/// Everything a tokenizer is made of.
pub(super) struct Parts {
    /// Entry `i` has id `i`.
    pub(super) vocab: Vec<String>,
    /// In the order in which they apply.
    pub(super) merges: Vec<(String, String)>,
    /// Whether a word that is an entry as a whole is taken without merging.
    pub(super) ignore_merges: bool,
    pub(super) splits: Splits,
    /// Special tokens and their ids; those beyond `vocab` must follow on it.
    pub(super) specials: Vec<(String, TokenId)>,
}

impl Parts {
    /// Builds the tokenizer. `origin` names the file in messages.
    pub(super) fn build(self, origin: &str) -> Result<Tokenizer, TokenizerError> {
        let bad = |detail: String| TokenizerError::Parse { origin: origin.to_owned(), detail };
        let library = |error: tokenizers::Error| bad(error.to_string());
        let n_entries = self.vocab.len();
        let vocab: tokenizers::models::bpe::Vocab = self.vocab.into_iter().zip(0..).collect();
        if vocab.len() != n_entries {
            return Err(bad(format!("{} entries appear twice", n_entries - vocab.len())));
        }
        // The library indexes out of bounds when a union is longer than every entry.
        let mut union = String::new();
        for (left, right) in &self.merges {
            union.clear();
            union.extend([left.as_str(), right]);
            if let Some(absent) =
                [left, right, &union].into_iter().find(|token| !vocab.contains_key(*token))
            {
                return Err(bad(format!("merge of '{left}' and '{right}': no entry '{absent}'")));
            }
        }
        let model = BPE::builder()
            .vocab_and_merges(vocab, self.merges)
            .ignore_merges(self.ignore_merges)
            .build()
            .map_err(library)?;
        let mut inner = tokenizers::Tokenizer::new(model);
        inner.with_pre_tokenizer(Some(self.splits.pre_tokenizer().map_err(library)?));
        inner.with_decoder(Some(ByteLevelDecoder::default()));
        let special = |content: &String| AddedToken::from(content.clone(), true).normalized(false);
        inner
            .add_special_tokens(self.specials.iter().map(|(content, _)| special(content)))
            .map_err(library)?;
        for (content, id) in &self.specials {
            let got = inner.token_to_id(content);
            if got != Some(*id) {
                return Err(bad(format!("special token '{content}' has id {got:?}, not {id}")));
            }
        }
        Tokenizer::finish(inner, origin)
    }
}
