//! The ROS 2 edge. Nothing outside this module knows a middleware.
//!
//! | ROS 2 | here |
//! |---|---|
//! | context | [`Context`]: one participant and one thread that runs all callbacks |
//! | node | [`Node`] |
//! | publisher, subscription | [`Publisher`], [`Subscription`] |
//! | service, client | [`Server`] and [`Responder`], [`Client`] |
//! | graph | [`Graph`] |
//!
//! The types above are written once. Below them, [`port`] says what a middleware has to offer, and
//! `dds` and `r2r` offer it.
//!
//! Invariants:
//! - No call waits for the network, [`Client::call`] and the `wait_for_*` functions excepted.
//!   What cannot be sent at once waits in a bounded outbox; what does not fit there is dropped,
//!   the oldest first, and counted.
//! - Callbacks run on one thread, one at a time. A callback that panics is caught and counted.
//! - Samples are taken from the middleware as bytes and decoded here, so a malformed one is
//!   counted and reported and the next one is read as usual.
//! - Dropping the [`Context`] (or [`Context::shutdown`]) takes leave of the other participants,
//!   whatever handles are still held elsewhere.

pub mod args;
pub mod cdr;
mod client;
mod context;
pub mod convert;
#[cfg(feature = "dds")]
pub mod dds;
mod error;
#[cfg(any(feature = "dds", feature = "r2r"))]
mod gaps;
mod gid;
mod graph;
pub mod names;
mod node;
mod options;
pub mod param_file;
pub mod param_store;
pub mod param_value;
#[cfg(any(feature = "dds", feature = "r2r"))]
mod pending;
pub mod port;
mod pubsub;
pub mod qos;
pub mod qos_overrides;
#[cfg(feature = "r2r")]
pub mod r2r;
mod service;
pub mod wire;

pub use cdr::SerializedMessage;
pub use client::{CallError, Client};
pub use context::{Context, MIDDLEWARE_VARIABLE, Middleware};
pub use error::RosError;
pub use gid::Gid;
pub use graph::{Endpoint, Graph, NodeName, TopicInfo};
pub use node::{LogLevel, Node};
pub use options::{ContextOptions, DOMAIN_ID_MAX, DiscoveryRange, OptionsError};
pub use pubsub::{MessageInfo, Publisher, PublisherStats, Subscription, SubscriptionStats};
pub use qos::QosProfile;
pub use qos_overrides::QosOverrides;
pub use service::{RespondError, Responder, Server};
