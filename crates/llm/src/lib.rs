//! Inference for HunYuanDenseV1 models (Tencent HY-MT1.5 and Hy-MT2).
//!
//! This crate turns token ids into token ids. It loads a model folder, runs it in f32 or INT8 on
//! the CPU, and schedules many requests on one engine with continuous batching. It does not know
//! that the work is translation, and it knows neither ROS nor a GPU.

pub mod chat;
pub mod config;
pub mod engine;
pub mod error;
pub mod format;
pub mod quant;
pub mod request;
pub mod sampling;
pub mod scheduler;
pub mod synth;
#[cfg(any(test, feature = "testkit"))]
pub mod testkit;
pub mod thread;
pub mod tokenizer;
pub mod weights;

/// A token id of the model's vocabulary, `0..vocab_size`.
pub type TokenId = u32;
