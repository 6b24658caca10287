//! The TensorRT engine: HunYuanDenseV1 as an INT8 plan, built on the device it runs on.
//!
//! [`graph`] is the contract between the exported graph and the engine that feeds it; [`onnx`] writes
//! that graph, and checks it against what TensorRT's parsers accept; [`plan`] says what a built plan
//! is good for; [`build`] builds one in a process of its own; [`engine`] runs it. TensorRT itself is
//! reached in three steps: [`sys`] is `csrc/hymt_trt.h` in Rust, `result` checks each call, and
//! [`safe`] owns the handles; docs/tensorrt.md says what was tried on which version.

pub mod build;
pub mod device;
pub mod engine;
pub mod error;
pub mod graph;
pub mod onnx;
pub mod plan;
mod result;
pub mod safe;
pub mod sys;
