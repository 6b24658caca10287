//! The translation domain: languages, detection, glossaries, prompts, and the translator service.
//!
//! This crate knows what a translation is and how HY-MT models want to be asked for one. It does
//! not know that a language model answers (see [`generate::Generator`]), and it knows neither ROS
//! nor a GPU. It holds no queue and starts no thread.
//!
//! | concept | type |
//! |---|---|
//! | one of the 38 languages | [`language::Language`] |
//! | which language a text is in | [`detect::Detector`] |
//! | terms, and which of them occur | [`glossary::Glossary`], [`glossary::select`], [`glossary::check`] |
//! | what a model is asked, word for word | [`prompt::build`], [`prompt::PromptFamily`] |
//! | a request from outside, and a checked one | [`request::RawRequest`], [`request::TranslateRequest`] |
//! | whatever completes prompts | [`generate::Generator`] |
//! | answers given before | [`cache::Cache`] |
//! | all of it in order | [`translator::Translator`] |
//! | what must not be translated | [`protect::protect`], [`protect::Protected::restore`] |
//! | what a model gets wrong, and how it is noticed | [`guard::read`], [`guard::GuardStats`] |
//! | sentences of a long text | [`segment::segment`], [`segment::join`] |
//! | what of a whole document is text, and how it goes back | [`document::Document`] |
//! | when growing hypotheses of speech are translated | [`speech::SpeechConductor`] |
//!
//! ```
//! use std::sync::Arc;
//! use hymt_core::generate::{Flow, GenerateError, GenerateOptions, GeneratePrompt, Generated, Generator};
//! use hymt_core::request::RawRequest;
//! use hymt_core::translator::{Translator, TranslatorConfig};
//!
//! /// A model that has learned one sentence.
//! struct Parrot;
//!
//! impl Generator for Parrot {
//!     fn generate(
//!         &self,
//!         prompts: &[GeneratePrompt],
//!         _: &GenerateOptions,
//!         _: &mut dyn FnMut(usize, &str) -> Flow,
//!     ) -> Vec<Result<Generated, GenerateError>> {
//!         let answer = |_| {
//!             let text = "Die Tür ist offen.".to_owned();
//!             let (tokens_in, tokens_out) = (30, 6);
//!             Ok(Generated { text, tokens_in, tokens_out, truncated: false, queue_ms: 0.0, inference_ms: 0.0 })
//!         };
//!         prompts.iter().map(answer).collect()
//!     }
//!
//!     fn count_tokens(&self, text: &str) -> usize {
//!         text.split_whitespace().count()
//!     }
//! }
//!
//! let translator = Translator::new(Arc::new(Parrot), TranslatorConfig::default());
//! let targets = ["de".to_owned()];
//! let terms = ["door=Tür".to_owned()];
//! let raw = RawRequest { text: "The door is open.", targets: &targets, inline_terms: &terms, ..RawRequest::default() };
//! let request = translator.request(&raw)?;
//! let results = translator.translate(&request, &GenerateOptions::default(), &mut |_, _| {});
//! assert_eq!(results[0].text, "Die Tür ist offen.");
//! assert_eq!(results[0].source.map(|language| language.code()), Some("en"));
//! assert_eq!(results[0].glossary_applied.len(), 1);
//! # Ok::<(), hymt_core::error::RequestError>(())
//! ```
#![forbid(unsafe_code)]

pub mod cache;
pub mod detect;
pub mod document;
pub mod error;
pub mod generate;
pub mod glossary;
pub mod guard;
pub mod language;
pub mod prompt;
pub mod protect;
pub mod request;
pub mod segment;
pub mod speech;
pub mod translator;
