//! Chat templates as token ids: special tokens pushed by id, user text encoded without them.
//!
//! The two families differ in everything: the 1.8B model opens with BOS and a user header and asks
//! with an assistant header; the 7B model closes the user turn instead. Source: the
//! `chat_template.jinja` of each repository; `tests/golden/make_chat_golden.py` renders them.

use std::sync::Arc;

use crate::TokenId;
use crate::tokenizer::{Tokenizer, TokenizerError};

/// Which of HY-MT's two chat formats a tokenizer speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChatFamily {
    /// `<BOS><｜hy_User｜>X<｜hy_Assistant｜>` (1.8B).
    Small,
    /// `<|startoftext|>X<|extra_0|>` (7B).
    Large,
}

/// What follows the user's text in the 1.8B format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Opener {
    /// The assistant header, as Hy-MT2's README and every other runtime do.
    #[default]
    Assistant,
    /// Placeholder 8, as HY-MT1.5's README does by leaving out `add_generation_prompt`.
    Placeholder8,
}

/// Why a tokenizer's chat format is not known.
#[derive(Debug, thiserror::Error)]
#[error(
    "the tokenizer has the special tokens of neither HY-MT family: \
     '{missing_small}' is missing for the 1.8B format, '{missing_large}' for the 7B format"
)]
pub struct ChatError {
    missing_small: String,
    missing_large: String,
}

/// The chat format of one tokenizer, with its ids resolved.
#[derive(Debug, Clone)]
pub struct ChatFormat {
    family: ChatFamily,
    begin: TokenId,
    system_end: TokenId,
    /// Before the user's text; the 7B format has none.
    user: Option<TokenId>,
    /// After the user's text.
    opener: TokenId,
    stop: Arc<[TokenId]>,
}

impl ChatFormat {
    /// Recognises the format by the special tokens that exist.
    ///
    /// # Errors
    /// [`ChatError`] naming a missing token of either family.
    pub fn detect(tokenizer: &Tokenizer, opener: Opener) -> Result<Self, ChatError> {
        match (Self::small(tokenizer, opener), Self::large(tokenizer)) {
            (Ok(format), _) | (Err(_), Ok(format)) => Ok(format),
            (Err(small), Err(large)) => {
                Err(ChatError { missing_small: small.to_owned(), missing_large: large.to_owned() })
            }
        }
    }

    fn small(tokenizer: &Tokenizer, opener: Opener) -> Result<Self, &'static str> {
        let id = |content| tokenizer.special_id(content).ok_or(content);
        let begin = id("<｜hy_begin▁of▁sentence｜>")?;
        let user = id("<｜hy_User｜>")?;
        let assistant = id("<｜hy_Assistant｜>")?;
        let placeholder_8 = id("<｜hy_place▁holder▁no▁8｜>")?;
        // The turn's end; then what a model that has lost its way may open with.
        let mut stop = vec![id("<｜hy_place▁holder▁no▁2｜>")?, begin, user];
        stop.extend(tokenizer.special_id("<｜hy_end▁of▁sentence｜>"));
        let opener = match opener {
            Opener::Assistant => {
                stop.extend([assistant, placeholder_8]);
                assistant
            }
            // Here the model writes the assistant header itself, so it must not stop it.
            Opener::Placeholder8 => placeholder_8,
        };
        Ok(Self {
            family: ChatFamily::Small,
            begin,
            system_end: id("<｜hy_place▁holder▁no▁3｜>")?,
            user: Some(user),
            opener,
            stop: stop.into(),
        })
    }

    fn large(tokenizer: &Tokenizer) -> Result<Self, &'static str> {
        let id = |content| tokenizer.special_id(content).ok_or(content);
        let mut stop = vec![id("<|eos|>")?];
        stop.extend(
            ["<|extra_5|>", "<|endoftext|>"].iter().filter_map(|c| tokenizer.special_id(c)),
        );
        Ok(Self {
            family: ChatFamily::Large,
            begin: id("<|startoftext|>")?,
            system_end: id("<|extra_4|>")?,
            user: None,
            opener: id("<|extra_0|>")?,
            stop: stop.into(),
        })
    }

    /// Which format this is.
    pub fn family(&self) -> ChatFamily {
        self.family
    }

    /// Tokens that end an answer.
    pub fn stop(&self) -> Arc<[TokenId]> {
        Arc::clone(&self.stop)
    }

    /// The prompt of one user turn, ready for the model's answer.
    ///
    /// # Errors
    /// [`TokenizerError::Encode`] when a text cannot be encoded.
    pub fn render(
        &self,
        tokenizer: &Tokenizer,
        system: Option<&str>,
        user: &str,
    ) -> Result<Vec<TokenId>, TokenizerError> {
        let mut ids = vec![self.begin];
        if let Some(system) = system {
            ids.extend(tokenizer.encode(system)?);
            ids.push(self.system_end);
        }
        ids.extend(self.user);
        ids.extend(tokenizer.encode(user)?);
        ids.push(self.opener);
        Ok(ids)
    }
}
