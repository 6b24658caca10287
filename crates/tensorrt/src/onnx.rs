//! HunYuanDenseV1 as ONNX with explicit INT8, in pure Rust.
//!
//! | what | where |
//! |---|---|
//! | a model becomes a folder with a graph and its weights | [`export`] |
//! | the network as operators; start here | `network` |
//! | stored matrices become initialisers | `weights` |
//! | nodes, constants, the file of weights | `builder`, `data` |
//! | the messages of the ONNX file | [`proto`] |
//! | what parsers of TensorRT refuse | [`lint`] |
//! | of which model a graph is | [`origin`] |

mod builder;
mod data;
pub mod export;
pub mod lint;
mod network;
pub mod origin;
pub mod proto;
mod weights;

pub use export::{ExportError, ExportOptions, ExportReport, FloatType, WeightForm, export_model};
