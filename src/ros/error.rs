//! What can go wrong at the ROS edge.

/// An operation on a context, node or endpoint failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RosError {
    /// A context, node or endpoint could not be made.
    #[error("could not create {what}: {reason}")]
    Create {
        /// The thing that was to be made.
        what: String,
        /// What the middleware says.
        reason: String,
    },
    /// The middleware needs the compiled interface of a type, and it is not installed.
    #[error(
        "the interface {ros_type} is not usable: {reason}; install its package, or source the \
         workspace that has it"
    )]
    NoInterface {
        /// The ROS type.
        ros_type: String,
        /// What is missing, or what the loader says.
        reason: String,
    },
    /// The context has been shut down.
    #[error("the ROS context is shut down; create {what} before that")]
    Closed {
        /// The thing that was to be made.
        what: String,
    },
    /// A topic or service name is not fully qualified.
    #[error("name {name:?} is not fully qualified; it must start with '/' and not end with '/'")]
    NameNotQualified {
        /// The name as given.
        name: String,
    },
    /// A message could not be turned into bytes.
    #[error("could not serialise {ros_type}: {reason}")]
    Serialize {
        /// The ROS type.
        ros_type: &'static str,
        /// What the serialiser says.
        reason: String,
    },
    /// Received bytes are not the message they should be.
    #[error("could not read {ros_type} from {bytes} bytes: {reason}")]
    Malformed {
        /// The ROS type.
        ros_type: &'static str,
        /// Size of the payload.
        bytes: usize,
        /// What the deserialiser says.
        reason: String,
    },
    /// A message is above the bound of this layer.
    #[error("a message of {bytes} bytes on {topic} is above the limit of {limit} bytes")]
    TooLarge {
        /// The topic, as the middleware names it.
        topic: String,
        /// Size of the payload.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// The middleware refused a write for a reason that waiting does not cure.
    #[error("could not write on {topic}: {reason}")]
    Write {
        /// The topic, as the middleware names it.
        topic: String,
        /// What the middleware says.
        reason: String,
    },
    /// A middleware that this build does not have was asked for.
    #[error("middleware '{name}' is not part of this build; available: {available}")]
    NoMiddleware {
        /// The one asked for.
        name: String,
        /// Those that there are.
        available: String,
    },
    /// The operating system refused something.
    #[error("could not {action}: {source}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// Why it failed.
        source: std::io::Error,
    },
}
