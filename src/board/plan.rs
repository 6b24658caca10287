//! Whether TensorRT has a plan to run: what the engine's plan cache says, in a form that
//! [`findings`](super::findings) can show.

/// State of the plan for the model at hand on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PlanState {
    /// This build has no TensorRT engine.
    NoEngine,
    /// No model was named, so there is nothing a plan could be of.
    NoModel,
    /// None has been built.
    Missing {
        /// The command that builds it.
        build: String,
    },
    /// There is one, of another model, TensorRT or device.
    Stale {
        /// What differs.
        reason: String,
        /// The command that builds it anew.
        build: String,
    },
    /// Ready to run.
    Ready {
        /// What it was built with, for people.
        about: String,
    },
}
