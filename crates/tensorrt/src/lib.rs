//! The TensorRT engine: HunYuanDenseV1 as an INT8 plan, built on the device it runs on.
//!
//! [`graph`] is the contract between the exported graph and the engine that feeds it; [`onnx`]
//! writes that graph, and checks it against what TensorRT's parsers accept.

pub mod graph;
pub mod onnx;
