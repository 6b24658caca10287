//! A model taken apart, for `hymt eval`: what it takes to ask it, and its bare network.

use hymt_core::prompt::PromptFamily;
use hymt_llm::chat::{ChatFormat, Opener};
use hymt_llm::engine::cpu::{CpuEngine, LoadProgress};
use hymt_llm::tokenizer::Tokenizer;

use super::{EngineOptions, check_folder, family, load_tokenizer};

/// What turns a request into tokens, and tokens into text.
#[derive(Debug)]
pub struct Asking {
    /// The model's tokenizer.
    pub tokenizer: Tokenizer,
    /// How a conversation looks.
    pub chat: ChatFormat,
    /// How the model wants to be asked.
    pub family: PromptFamily,
}

impl Asking {
    /// Reads what belongs to a model beside its weights.
    ///
    /// # Errors
    /// When the folder or its tokenizer is missing or damaged.
    pub fn load(options: &EngineOptions) -> anyhow::Result<Self> {
        check_folder(&options.model)?;
        let tokenizer = load_tokenizer(options)?;
        let chat = ChatFormat::detect(&tokenizer, Opener::default())?;
        Ok(Self { tokenizer, chat, family: family(options) })
    }
}

/// Loads a model into the CPU engine, whatever engine the options name.
///
/// # Errors
/// When a file of the model is missing or damaged.
pub fn load_cpu(
    options: &EngineOptions,
    progress: &mut dyn FnMut(LoadProgress),
) -> anyhow::Result<CpuEngine> {
    check_folder(&options.model)?;
    Ok(CpuEngine::load(&options.source(), &options.cpu(), progress)?)
}
