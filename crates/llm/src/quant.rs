//! Quantisation: the INT8 scheme, and the tool that turns a checkpoint into it.
//!
//! Start with [`checkpoint`], which is the tool; `smoothing` holds the algebra of the folds,
//! `search` the choice among them, `layer` what happens to one layer, `folder` the files.
//! [`activation_scales`] is for engines that cannot quantise activations as they come.

pub mod activation_scales;
pub mod checkpoint;
mod error;
mod folder;
pub mod int8;
mod layer;
pub mod levels;
mod plan;
mod resume;
mod search;
pub mod smoothing;
