//! What a middleware has to offer: bytes in, bytes out, and the graph.
//!
//! Everything typed, counted and guarded is written once above these traits, in
//! `pubsub.rs`, `service.rs` and `client.rs`. An adapter moves bytes; it knows types by name only.
//!
//! Rules for an adapter:
//! - Handlers run on one thread per context, one at a time, and never after the endpoint's port is
//!   dropped and its current call has returned. They do not panic: the layer above catches.
//! - No call waits for the network, `wait_for_acknowledgments` excepted. What cannot be sent at
//!   once waits in a bounded outbox; what does not fit is dropped, the oldest first, and counted.
//! - Dropping a port closes its endpoint.
//! - All names are fully qualified and validated.

use std::sync::Arc;
use std::time::Duration;

use super::client::CallError;
use super::graph::{Endpoint, NodeName, TopicInfo};
use super::{Gid, MessageInfo, PublisherStats, QosProfile, RosError, SerializedMessage};

/// Takes what a subscription hears. An error tells of a sample that was no message at all, for
/// example one above the limit of the adapter.
pub type SampleHandler = Box<dyn FnMut(Result<SerializedMessage, RosError>, MessageInfo) + Send>;

/// Takes the requests of a service, with the way to answer each.
pub type RequestHandler =
    Box<dyn FnMut(Result<SerializedMessage, RosError>, Box<dyn ReplyPort>) + Send>;

/// Takes the one reply to one request.
pub type ReplyHandler = Box<dyn FnOnce(Result<SerializedMessage, RosError>) + Send>;

/// A context: joins the graph, runs the handlers, ends.
pub trait ContextPort: Send + Sync {
    /// Adds a node; `namespace` has a leading slash.
    ///
    /// # Errors
    /// [`RosError::Create`] or [`RosError::Closed`].
    fn create_node(&self, name: &str, namespace: &str) -> Result<Arc<dyn NodePort>, RosError>;

    /// The view of the graph.
    fn graph(&self) -> Arc<dyn GraphPort>;

    /// The DDS domain, `ROS_DOMAIN_ID`.
    fn domain_id(&self) -> u16;

    /// Ends the handlers and leaves the graph; handles that are still held turn inert.
    fn shutdown(&self);
}

/// A node: makes endpoints that show under its name.
pub trait NodePort: Send + Sync {
    /// A publisher of `ros_type`, as `std_msgs/msg/String`.
    ///
    /// # Errors
    /// [`RosError::Create`], [`RosError::Closed`] or [`RosError::NameNotQualified`].
    fn publisher(
        &self,
        topic: &str,
        ros_type: &'static str,
        qos: &QosProfile,
    ) -> Result<Box<dyn PublisherPort>, RosError>;

    /// A subscription.
    ///
    /// # Errors
    /// As [`Self::publisher`].
    fn subscription(
        &self,
        topic: &str,
        ros_type: &'static str,
        qos: &QosProfile,
        handler: SampleHandler,
    ) -> Result<Box<dyn SubscriptionPort>, RosError>;

    /// A server of `ros_type`, as `std_srvs/srv/Trigger`; its halves are `<type>_Request` and
    /// `<type>_Response`.
    ///
    /// # Errors
    /// As [`Self::publisher`].
    fn server(
        &self,
        name: &str,
        ros_type: &'static str,
        handler: RequestHandler,
    ) -> Result<Box<dyn ServerPort>, RosError>;

    /// A client of `ros_type`.
    ///
    /// # Errors
    /// As [`Self::publisher`].
    fn client(&self, name: &str, ros_type: &'static str) -> Result<Box<dyn ClientPort>, RosError>;
}

/// One publisher.
pub trait PublisherPort: Send + Sync {
    /// Sends, or keeps in the outbox. Never blocks.
    ///
    /// # Errors
    /// [`RosError::TooLarge`] or [`RosError::Write`].
    fn publish(&self, message: SerializedMessage) -> Result<(), RosError>;

    /// The identifier that subscribers see as [`MessageInfo::source`].
    fn gid(&self) -> Gid;

    /// Matched subscriptions.
    fn matched(&self) -> usize;

    /// Counters since the start.
    fn stats(&self) -> PublisherStats;

    /// Waits until every reliable subscription has everything; false when `timeout` passed first.
    fn wait_for_acknowledgments(&self, timeout: Duration) -> bool;
}

/// One subscription.
pub trait SubscriptionPort: Send + Sync {
    /// Its identifier.
    fn gid(&self) -> Gid;

    /// Matched publishers.
    fn matched(&self) -> usize;

    /// Samples that were sent and never came here, as far as the middleware can tell.
    fn missed(&self) -> u64;
}

/// One server; alive until dropped.
pub trait ServerPort: Send + Sync {}

/// The way to answer one request.
pub trait ReplyPort: Send {
    /// The writer of the request.
    fn client(&self) -> Gid;

    /// Largest reply that this client can get. Octets.
    fn bytes_max(&self) -> usize;

    /// Answers. Never blocks.
    ///
    /// # Errors
    /// [`RosError::Closed`], [`RosError::TooLarge`] or [`RosError::Write`].
    fn send(self: Box<Self>, reply: SerializedMessage) -> Result<(), RosError>;
}

/// One client.
pub trait ClientPort: Send + Sync {
    /// Whether a server is discovered in both directions.
    fn is_available(&self) -> bool;

    /// Sends a request. `on_reply` runs on the context's thread, at most once.
    ///
    /// # Errors
    /// [`CallError::TooManyCalls`] or [`CallError::Ros`].
    fn send(&self, request: SerializedMessage, on_reply: ReplyHandler) -> Result<i64, CallError>;

    /// Gives a request up; its reply, should it come, is dropped.
    fn forget(&self, number: i64);

    /// Whether the caller is the thread that would run `on_reply`.
    fn is_callback_thread(&self) -> bool;
}

/// The graph as this context sees it, our own endpoints included.
pub trait GraphPort: Send + Sync {
    /// All nodes.
    fn nodes(&self) -> Vec<NodeName>;

    /// All topics, without the halves of services.
    fn topics(&self) -> Vec<TopicInfo>;

    /// All services with a server: name and type.
    fn services(&self) -> Vec<(String, String)>;

    /// The publishers of a topic.
    fn publishers(&self, topic: &str) -> Vec<Endpoint>;

    /// The subscriptions of a topic.
    fn subscriptions(&self, topic: &str) -> Vec<Endpoint>;
}
