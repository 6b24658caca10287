//! Nodes: a name in the graph and the endpoints that belong to it.

use std::sync::Arc;

use super::port::NodePort;
use super::wire::{Message, Service, Time, rcl::Log};
use super::{
    Client, MessageInfo, Publisher, QosProfile, Responder, RosError, Server, Subscription,
};

/// Severity of a line on `/rosout`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum LogLevel {
    /// For developers.
    Debug = Log::DEBUG,
    /// For operators.
    Info = Log::INFO,
    /// Something is not right.
    Warn = Log::WARN,
    /// Something failed.
    Error = Log::ERROR,
    /// The node cannot go on.
    Fatal = Log::FATAL,
}

/// A node. Endpoints made from it may outlive it; they then no longer show in the graph.
pub struct Node {
    port: Arc<dyn NodePort>,
    name: String,
    namespace: String,
    rosout: Publisher<Log>,
}

impl Node {
    pub(super) fn new(
        port: Arc<dyn NodePort>,
        name: &str,
        namespace: &str,
    ) -> Result<Self, RosError> {
        let rosout = Publisher::new(port.as_ref(), "/rosout", &QosProfile::ROSOUT)?;
        Ok(Self { port, name: name.to_owned(), namespace: namespace.to_owned(), rosout })
    }

    /// The name, without namespace.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The namespace, with a leading slash.
    #[must_use]
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// Namespace and name, as in `/robot/translator`.
    #[must_use]
    pub fn fully_qualified_name(&self) -> String {
        format!("{}/{}", self.namespace.trim_end_matches('/'), self.name)
    }

    /// Publishes `M` on a fully qualified topic.
    ///
    /// # Errors
    /// [`RosError::NameNotQualified`], [`RosError::Create`] or [`RosError::Closed`].
    pub fn publisher<M: Message>(
        &self,
        topic: &str,
        qos: &QosProfile,
    ) -> Result<Publisher<M>, RosError> {
        Publisher::new(self.port.as_ref(), topic, qos)
    }

    /// Hands every `M` on a fully qualified topic to `callback`, on the context's thread.
    ///
    /// The callback must return soon: all other callbacks wait for it.
    ///
    /// # Errors
    /// As [`Self::publisher`].
    pub fn subscription<M: Message>(
        &self,
        topic: &str,
        qos: &QosProfile,
        mut callback: impl FnMut(M, MessageInfo) + Send + 'static,
    ) -> Result<Subscription<M>, RosError> {
        self.subscription_with_malformed(topic, qos, move |message, info| {
            if let Ok(message) = message {
                callback(message, info);
            }
        })
    }

    /// As [`Self::subscription`], and hands over also why a sample was no `M`.
    ///
    /// # Errors
    /// As [`Self::publisher`].
    pub fn subscription_with_malformed<M: Message>(
        &self,
        topic: &str,
        qos: &QosProfile,
        callback: impl FnMut(Result<M, &RosError>, MessageInfo) + Send + 'static,
    ) -> Result<Subscription<M>, RosError> {
        Subscription::new(self.port.as_ref(), topic, qos, callback)
    }

    /// Puts every `M` on a fully qualified topic into a queue of `capacity`.
    ///
    /// What arrives while the queue is full is dropped and counted in
    /// [`Subscription::stats`]; the queue closes with the subscription.
    ///
    /// # Errors
    /// As [`Self::publisher`].
    #[allow(clippy::type_complexity, reason = "a pair that the caller takes apart at once")]
    pub fn subscription_queue<M: Message>(
        &self,
        topic: &str,
        qos: &QosProfile,
        capacity: usize,
    ) -> Result<(Subscription<M>, crossbeam_channel::Receiver<(M, MessageInfo)>), RosError> {
        Subscription::queue(self.port.as_ref(), topic, qos, capacity)
    }

    /// Serves `S` under a fully qualified name.
    ///
    /// The handler runs on the context's thread and must return soon; it may send the
    /// [`Responder`] to another thread, which answers when it can.
    ///
    /// # Errors
    /// As [`Self::publisher`].
    pub fn service<S: Service>(
        &self,
        name: &str,
        handler: impl FnMut(S::Request, Responder<S::Response>) + Send + 'static,
    ) -> Result<Server<S>, RosError> {
        Server::new(self.port.as_ref(), name, handler)
    }

    /// A client of `S`.
    ///
    /// # Errors
    /// As [`Self::publisher`].
    pub fn client<S: Service>(&self, name: &str) -> Result<Client<S>, RosError> {
        Client::new(self.port.as_ref(), name)
    }

    /// Publishes a line on `/rosout`, under the node's logger name.
    ///
    /// A line that cannot be sent is counted, not reported: reporting would be another line.
    pub fn rosout(&self, level: LogLevel, msg: &str, file: &str, function: &str, line: u32) {
        let log = Log {
            stamp: Time::now(),
            level: level as u8,
            // rcl names loggers with dots: `/robot/translator` logs as `robot.translator`.
            name: self.fully_qualified_name().trim_start_matches('/').replace('/', "."),
            msg: msg.to_owned(),
            file: file.to_owned(),
            function: function.to_owned(),
            line,
        };
        if let Err(error) = self.rosout.publish(&log) {
            tracing::trace!(%error, "a line for /rosout is lost");
        }
    }
}
