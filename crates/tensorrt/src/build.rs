//! Building plans, in a process of its own.
//!
//! A build takes minutes and as much memory as a board has. Where the kernel runs out of it, it ends
//! the build and not the program that asked for one; what TensorRT does not survive ends the worker
//! only; and nothing but a whole plan ever appears under a plan's name.
//!
//! | what | where |
//! |---|---|
//! | what is said between the two processes | here |
//! | starting, watching, cancelling and explaining the worker | [`supervisor`] |
//! | the worker itself | [`worker`] |
//! | is there memory for it | [`preflight`] |

pub mod preflight;
pub mod supervisor;
pub mod worker;

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::plan::{LayerReport, PlanShapes, Target};

/// Longest line between the processes. Bytes.
pub const LINE_BYTES_MAX: usize = 64 << 10;
/// Scratch memory that one layer may take unless asked otherwise. MiB. TensorRT's own limit is all of
/// the memory there is, and a tactic that asks for it ends the build on a small board.
pub const WORKSPACE_MIB: usize = 512;

/// What the worker is to build: one line of JSON on its standard input. When that is closed, the
/// build is cancelled.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BuildRequest {
    /// The exported graph.
    pub onnx: PathBuf,
    /// File to write the plan to; the supervisor gives it its name.
    pub plan: PathBuf,
    /// File of tactic timings; read if it is there, written in any case.
    pub timing_cache: PathBuf,
    /// Where layers run.
    pub target: Target,
    /// Layers that the DLA cannot run go to the GPU.
    pub gpu_fallback: bool,
    /// Bounds of the profiles.
    pub shapes: PlanShapes,
    /// Scratch memory that one layer may take. Bytes.
    pub workspace_bytes: usize,
    /// Optimisation level, 0 to 5; TensorRT's own where absent.
    pub level: Option<i32>,
}

/// What the worker says: one line of JSON each on its standard output.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Message {
    /// How far it is.
    Progress {
        /// What is being done.
        phase: String,
        /// What that is part of; empty for the outermost.
        parent: String,
        /// Steps done.
        step: i32,
        /// Steps of the phase.
        steps: i32,
        /// The phase ends.
        is_finished: bool,
    },
    /// A line of TensorRT's log, warnings and worse.
    Log(String),
    /// Where the layers will run; before the build begins.
    Layers(LayerReport),
    /// The plan is there. The last message.
    Done {
        /// Length of the plan.
        plan_bytes: u64,
    },
    /// There is none. The last message.
    Failed(Failure),
}

/// Why the worker failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Failure {
    /// It was cancelled.
    Cancelled,
    /// DLA was asked for, and these layers cannot run there.
    Dla(LayerReport),
    /// TensorRT, or a file; in words.
    Other(String),
}

/// No plan was built.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// The worker could not be started.
    #[error("cannot start '{}'", program.display())]
    Start {
        /// The program.
        program: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// It was cancelled.
    #[error(
        "the build was cancelled; nothing was written but the timing cache, so the next one is faster"
    )]
    Cancelled,
    /// Layers that the DLA cannot run.
    #[error(
        "the DLA can run {} of {} layers; the first that it cannot: {}. Build with --device gpu, or \
         with --allow-gpu-fallback, which runs those on the GPU",
        report.on_dla, report.total, report.off_dla.join(", ")
    )]
    Dla {
        /// The layers.
        report: LayerReport,
    },
    /// Killed by the kernel, most likely for its memory.
    #[error(
        "the build was killed by signal 9, most likely because memory ran out ({available_mib} MiB \
         were free at its start): close other programs, add swap, lower --workspace-mib or --context"
    )]
    Killed {
        /// Free before. MiB.
        available_mib: u64,
    },
    /// Ended by another signal.
    #[error("TensorRT's builder ended by signal {signal}; its last words: {words}")]
    Crashed {
        /// The signal.
        signal: i32,
        /// What it logged last.
        words: String,
    },
    /// Ended without saying how it went.
    #[error("the build ended with code {code} and no result; its last words: {words}")]
    Silent {
        /// Exit code.
        code: i32,
        /// What it logged last.
        words: String,
    },
    /// TensorRT said no.
    #[error("{detail}")]
    Failed {
        /// In its words.
        detail: String,
    },
}
