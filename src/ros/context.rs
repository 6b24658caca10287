//! Contexts, and which middleware carries them.

use super::port::ContextPort;
use super::{ContextOptions, Graph, Node, RosError};

/// Environment variable that names the middleware, like `RMW_IMPLEMENTATION` of ROS.
pub const MIDDLEWARE_VARIABLE: &str = "HYMT_MIDDLEWARE";

/// What carries the messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Middleware {
    /// DDS in pure Rust; needs no ROS installation.
    Dds,
    /// The `rcl` and `rmw` of the sourced ROS installation.
    R2r,
}

impl Middleware {
    /// Those in this build, the preferred one first: a ROS installation that we were built
    /// against is what the rest of the robot uses.
    pub const AVAILABLE: &'static [Self] = &[
        #[cfg(feature = "r2r")]
        Self::R2r,
        #[cfg(feature = "dds")]
        Self::Dds,
    ];

    /// What users type.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Dds => "dds",
            Self::R2r => "r2r",
        }
    }

    /// The one that [`MIDDLEWARE_VARIABLE`] names, or the preferred one of this build.
    ///
    /// # Errors
    /// [`RosError::NoMiddleware`] for one that this build does not have.
    pub fn from_env(get: &dyn Fn(&str) -> Option<String>) -> Result<Self, RosError> {
        let name = get(MIDDLEWARE_VARIABLE).filter(|name| !name.is_empty());
        let found = match &name {
            Some(name) => Self::AVAILABLE.iter().find(|each| each.name() == name),
            None => Self::AVAILABLE.first(),
        };
        found.copied().ok_or_else(|| missing(name.as_deref().unwrap_or("any")))
    }

    fn open(self, options: &ContextOptions) -> Result<Box<dyn ContextPort>, RosError> {
        match self {
            #[cfg(feature = "dds")]
            Self::Dds => Ok(Box::new(super::dds::DdsContext::new(options)?)),
            #[cfg(feature = "r2r")]
            Self::R2r => Ok(Box::new(super::r2r::R2rContext::new(options)?)),
            #[allow(unreachable_patterns, reason = "reachable in a build without it")]
            other => {
                let _ = options;
                Err(missing(other.name()))
            }
        }
    }
}

fn missing(name: &str) -> RosError {
    let available: Vec<_> = Middleware::AVAILABLE.iter().map(|each| each.name()).collect();
    RosError::NoMiddleware {
        name: name.to_owned(),
        available: if available.is_empty() {
            "none; build with the feature dds or r2r".to_owned()
        } else {
            available.join(", ")
        },
    }
}

/// A place in the graph for nodes: one participant and one thread that runs all callbacks.
///
/// Dropping it ends the thread and takes leave of the other participants; handles of nodes and
/// endpoints that are still held turn inert.
pub struct Context {
    port: Box<dyn ContextPort>,
    middleware: Middleware,
}

impl Context {
    /// Joins the graph.
    ///
    /// # Errors
    /// [`RosError::Create`] or [`RosError::Io`] when the middleware cannot start,
    /// [`RosError::NoMiddleware`] when this build does not have it.
    pub fn new(middleware: Middleware, options: &ContextOptions) -> Result<Self, RosError> {
        let port = middleware.open(options)?;
        Ok(Self { port, middleware })
    }

    /// Adds a node. The names are taken as they are: `name` without, `namespace` with a leading
    /// slash, both already validated.
    ///
    /// # Errors
    /// [`RosError`] when `/rosout` cannot be opened or the context is shut down.
    pub fn create_node(&self, name: &str, namespace: &str) -> Result<Node, RosError> {
        Node::new(self.port.create_node(name, namespace)?, name, namespace)
    }

    /// What is known of the other participants.
    #[must_use]
    pub fn graph(&self) -> Graph {
        Graph::new(self.port.graph())
    }

    /// What carries the messages.
    #[must_use]
    pub fn middleware(&self) -> Middleware {
        self.middleware
    }

    /// The DDS domain.
    #[must_use]
    pub fn domain_id(&self) -> u16 {
        self.port.domain_id()
    }

    /// Ends the callbacks and takes leave of the other participants; the same as dropping.
    pub fn shutdown(&self) {
        self.port.shutdown();
    }
}

impl Drop for Context {
    fn drop(&mut self) {
        self.shutdown();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_middleware_is_refused_with_those_that_there_are() {
        let error = Middleware::from_env(&|_| Some("zenoh".to_owned())).unwrap_err().to_string();
        assert!(error.starts_with("middleware 'zenoh' is not part of this build"), "{error}");
        for available in Middleware::AVAILABLE {
            assert!(error.contains(available.name()), "{error}");
        }
        let first = Middleware::AVAILABLE.first().copied();
        assert_eq!(Middleware::from_env(&|_| None).ok(), first);
    }
}
