//! The TensorRT engine: HunYuanDenseV1 as an INT8 plan, built on the device it runs on.
//!
//! [`graph`] is the contract between the exported graph and the engine that feeds it; [`plan`] says
//! what a built plan is good for.

pub mod graph;
pub mod plan;
