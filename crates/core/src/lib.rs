//! The translation domain: languages, detection, glossaries, prompts, and the translator service.
//!
//! This crate knows what a translation is and how HY-MT models want to be asked for one. It does
//! not know that a language model answers (see [`generate::Generator`]), and it knows neither ROS
//! nor a GPU.
#![forbid(unsafe_code)]

pub mod detect;
pub mod error;
pub mod generate;
pub mod glossary;
pub mod language;
pub mod prompt;
pub mod request;
pub mod translator;
