//! ROS 2 through the sourced installation: its `rcl`, its middleware, its compiled interfaces.
//!
//! Built on the bindings of `r2r` (`r2r_rcl`) and not on its nodes. Those hide the writer of a
//! sample, which [`MessageInfo::source`](super::MessageInfo::source) needs so that the node does
//! not translate itself; they drop what comes while ten samples wait, without a count; they want
//! every interface compiled in; and they panic where ROS says no. So here `rcl` is driven directly:
//!
//! | ROS 2 | here | `rcl` |
//! |---|---|---|
//! | context | [`R2rContext`] | `rcl_context_t`, one spin thread with one `rcl_wait_set_t`, one writing thread |
//! | node | `R2rNode` | `rcl_node_t` |
//! | topic | bytes | `rcl_publish_serialized_message`, `rcl_take_serialized_message` |
//! | service | bytes | `rcl_take_request`, `rcl_send_response`, with `rmw_serialize` between |
//! | types | by name | type support libraries, opened at run time |
//!
//! Everything that calls into ROS is in the folder `rcl`; above it there is no unsafe code.
//!
//! Differences from the `dds` adapter that come from below:
//! - All writes of a context share one thread, so one that the middleware holds up delays those
//!   behind it; what does not fit the outbox meanwhile is dropped and counted. What a reliable
//!   publisher overwrites because a subscriber has stopped, no middleware counts.
//! - How many samples were missed is known only where the middleware numbers them
//!   (`rmw_fastrtps`).
//! - A subscription has no identifier that `rmw` would tell.
//! - A node whose endpoints are still held stays in the graph until they are dropped too.

mod context;
mod endpoint;
mod graph;
mod node;
mod outbox;
mod rcl;
mod service;
mod slot;
mod spin;

pub use context::R2rContext;

/// Samples that the middleware holds for a subscription until the spin thread takes them.
///
/// On a busy machine the thread may come late by tens of milliseconds.
pub const READER_SAMPLES_MAX: usize = 512;

/// Samples that the middleware keeps for repair for each reliable, volatile publisher.
///
/// With less, a burst overwrites what a slow reader has not acknowledged, and nobody counts that.
pub const WRITER_SAMPLES_MAX: usize = 256;

/// Messages of one publisher, or replies of one server, that wait while the middleware takes no more.
///
/// More than in the `dds` adapter, because here every message passes through: a burst waits until
/// the writing thread gets its turn.
pub const OUTBOX_SAMPLES_MAX: usize = 256;

/// How long the end of a context waits for what still has to be written.
pub const OUTBOX_FLUSH_MAX: std::time::Duration = std::time::Duration::from_secs(1);
