//! The shim and its safe layer, driven through every state against a FAKE TensorRT.
//!
//! The fake (`tests/fake/`) is built from the same headers as the shim (11.4 in CI, others by hand) and
//! stands behind their tables of virtual functions, so what is tested is the shim: that each call
//! arrives, that each refusal comes back as the error it is, and that nothing ends the process. Nothing
//! is learnt about TensorRT.

#![cfg(feature = "shim")]
#![allow(unsafe_code, reason = "runs write to addresses, and the fake is opened by hand")]
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]
#![allow(clippy::print_stderr, reason = "what a test lacks is said aloud")]

#[path = "fake/building.rs"]
mod building;
#[path = "fake/control.rs"]
mod control;
#[path = "fake/decoder.rs"]
mod decoder;
#[path = "fake/host.rs"]
mod host;
#[path = "fake/model.rs"]
mod model;
#[path = "fake/refusing.rs"]
mod refusing;
#[path = "fake/running.rs"]
mod running;
#[path = "fake/support.rs"]
mod support;
