//! ROS 2 on the wire in pure Rust, over DDS.
//!
//! A thin layer on RustDDS that speaks what `rmw_fastrtps` and `rmw_cyclonedds` speak: topic and
//! type names, the node graph on `ros_discovery_info`, `/rosout`, and services in both of their
//! wire styles. It needs no ROS installation.
//!
//! | ROS 2 | DDS |
//! |---|---|
//! | context | one domain participant and one spin thread |
//! | node | an entry in `ros_discovery_info` |
//! | publisher, subscription | a writer or reader on `rt/...` |
//! | service, client | `rq/...Request` and `rr/...Reply` |
//!
//! Limits that come from below (RustDDS 0.15.1):
//! - [`DiscoveryRange::Localhost`](super::DiscoveryRange::Localhost) limits discovery, but the sockets are bound to all interfaces.
//! - In that range, on a machine whose loopback has no multicast, the endpoints of one context do
//!   not hear each other; those of two contexts do.
//! - A message whose writer leaves before the spin thread has taken it is lost, although it was
//!   acknowledged; `ros2 topic pub --once` stays for 100 ms after its message.
//! - A process that is killed lingers in its peers until its lease ends.
//! - The type hash that `rmw_cyclonedds` looks for since ROS 2 Iron cannot be sent, so it logs one
//!   harmless warning for each endpoint.

mod client;
mod context;
mod graph;
mod node;
mod raw;
mod reader;
mod service;
mod spin;
mod writer;

pub(super) use context::DdsContext;

/// Log filter for RustDDS, to be appended to one's own: it reports as errors what is none, such as
/// leaving a multicast group of an interface that has gone.
pub const LOG_DIRECTIVES: &str = ",rustdds=error,rustdds::network=off,mio=error";

/// What RustDDS calls an error and is none: a participant that leaves while news of it is on the way,
/// and a context that has ended, which is how its discovery is told to end.
pub const HARMLESS_LOGS: &[&str] = &[
    "Participant was updated, but DB does not have it. Strange.",
    "DomainParticipant doesn't exist anymore, exiting Discovery.",
];

/// Largest reply in the Enhanced style.
///
/// RustDDS sends a fragmented sample with inline QoS malformed, and it fragments near 64 KiB.
pub const ENHANCED_REPLY_BYTES_MAX: usize = 60_000;

/// Samples that wait in one outbox while DDS does not take more.
pub const OUTBOX_SAMPLES_MAX: usize = 64;

/// Unacknowledged samples that one writer keeps for repair before its outbox fills.
///
/// We count them ourselves and switch the window of RustDDS 0.15.1 off: it takes a reader that has
/// just been matched for one that has acknowledged nothing since the writer was made. Once a writer
/// had sent more than its window, every new subscriber stopped it for all the others, for up to a
/// second, and one that was killed stopped it until its lease ended; a soak lost texts that way.
pub const WINDOW_SAMPLES_MAX: usize = 8192;

/// The same in bytes.
pub const WINDOW_BYTES_MAX: usize = 32 << 20;

/// After so many samples a writer looks whether all are acknowledged.
pub const WINDOW_CHECK_SAMPLES: usize = 64;

/// Samples that DDS holds per topic until the spin thread takes them.
///
/// As many as a burst of the tests: on a busy machine the thread may come late by more than the 512
/// that were allowed before, and what is overwritten is lost. RustDDS keeps this many
/// also after they are taken, so memory per topic follows this times the size of a message.
pub const READER_SAMPLES_MAX: i32 = 1024;

/// How long a reply waits for the reader of its client to be discovered.
pub const REPLY_MATCH_WAIT: std::time::Duration = std::time::Duration::from_secs(2);

/// How long after a client's reader was matched the first reply to it is held back.
///
/// RustDDS reports a match before it sends its first heartbeat, and that heartbeat counts what was
/// written meanwhile. Cyclone DDS takes the first heartbeat it sees as the end of what it has missed,
/// so a reply written in between never reaches the caller: seen 2 times in 60 calls of
/// `ros2 param get` on a busy machine.
pub const REPLY_SETTLE: std::time::Duration = std::time::Duration::from_millis(50);

/// Participants whose nodes the graph remembers.
pub const GRAPH_PARTICIPANTS_MAX: usize = 1024;
