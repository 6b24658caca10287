//! `hymt_ros`: the translator that robots carry.
//!
//! The application that introduces [`hymt_core`] (what a translation is) to [`hymt_llm`] (what
//! computes it) and gives both a ROS 2 edge and a command line.

pub mod app;
pub mod board;
pub mod cli;
pub mod config;
pub mod diagnostics;
pub mod eval;
#[cfg(feature = "fetch")]
pub mod fetch;
pub mod lifecycle;
pub mod node;
pub mod parameters;
pub mod ros;
pub mod transcript;
mod words;
