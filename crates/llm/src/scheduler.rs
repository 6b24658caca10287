//! The scheduler: a pure state machine that decides what the next step runs.
