//! Nodes: a name in the graph and the endpoints that belong to it.

use std::sync::{Arc, Mutex, PoisonError};

use super::{
    Client, DdsError, Gid, MessageInfo, Publisher, Responder, Server, ServiceStyle, Subscription,
    context::ContextInner, graph::NodeEntities,
};
use crate::ros::{
    qos::QosProfile,
    wire::{Message, Service, Time, rcl::Log},
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
    shared: Arc<NodeShared>,
    rosout: Publisher<Log>,
}

/// What a node and its endpoints share.
pub(super) struct NodeShared {
    pub(super) context: Arc<ContextInner>,
    pub(super) name: String,
    pub(super) namespace: String,
    /// Endpoints, so that a change publishes all of them; `None` once the node is gone.
    endpoints: Mutex<Option<Endpoints>>,
}

#[derive(Default, Clone)]
struct Endpoints {
    readers: Vec<Gid>,
    writers: Vec<Gid>,
}

impl Node {
    pub(super) fn new(
        context: Arc<ContextInner>,
        name: &str,
        namespace: &str,
    ) -> Result<Self, DdsError> {
        let shared = Arc::new(NodeShared {
            context,
            name: name.to_owned(),
            namespace: namespace.to_owned(),
            endpoints: Mutex::new(Some(Endpoints::default())),
        });
        let rosout = Publisher::new(&shared, "/rosout", &QosProfile::ROSOUT)?;
        Ok(Self { shared, rosout })
    }

    /// The name, without namespace.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.shared.name
    }

    /// The namespace, with a leading slash.
    #[must_use]
    pub fn namespace(&self) -> &str {
        &self.shared.namespace
    }

    /// Namespace and name, as in `/robot/translator`.
    #[must_use]
    pub fn fully_qualified_name(&self) -> String {
        self.shared.fully_qualified_name()
    }

    /// Publishes `M` on a fully qualified topic.
    ///
    /// # Errors
    /// [`DdsError::NameNotQualified`], [`DdsError::Create`] or [`DdsError::Closed`].
    pub fn publisher<M: Message>(
        &self,
        topic: &str,
        qos: &QosProfile,
    ) -> Result<Publisher<M>, DdsError> {
        Publisher::new(&self.shared, topic, qos)
    }

    /// Hands every `M` on a fully qualified topic to `callback`, on the spin thread.
    ///
    /// The callback must return soon: all other callbacks wait for it.
    ///
    /// # Errors
    /// As [`Self::publisher`].
    pub fn subscription<M: Message>(
        &self,
        topic: &str,
        qos: &QosProfile,
        callback: impl FnMut(M, MessageInfo) + Send + 'static,
    ) -> Result<Subscription<M>, DdsError> {
        Subscription::new(&self.shared, topic, qos, callback)
    }

    /// As [`Self::subscription`], and hands over also why a sample was no `M`.
    ///
    /// # Errors
    /// As [`Self::publisher`].
    pub fn subscription_with_malformed<M: Message>(
        &self,
        topic: &str,
        qos: &QosProfile,
        callback: impl FnMut(Result<M, &DdsError>, MessageInfo) + Send + 'static,
    ) -> Result<Subscription<M>, DdsError> {
        Subscription::with_malformed(&self.shared, topic, qos, callback)
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
    ) -> Result<(Subscription<M>, crossbeam_channel::Receiver<(M, MessageInfo)>), DdsError> {
        Subscription::queue(&self.shared, topic, qos, capacity)
    }

    /// Serves `S` under a fully qualified name, in both wire styles.
    ///
    /// The handler runs on the spin thread and must return soon; it may send the [`Responder`] to
    /// another thread, which answers when it can.
    ///
    /// # Errors
    /// As [`Self::publisher`].
    pub fn service<S: Service>(
        &self,
        name: &str,
        handler: impl FnMut(S::Request, Responder<S::Response>) + Send + 'static,
    ) -> Result<Server<S>, DdsError> {
        Server::new(&self.shared, name, handler)
    }

    /// A client of `S` in the Enhanced style, which also our own servers speak.
    ///
    /// # Errors
    /// As [`Self::publisher`].
    pub fn client<S: Service>(&self, name: &str) -> Result<Client<S>, DdsError> {
        self.client_with_style(name, ServiceStyle::Enhanced)
    }

    /// A client of `S` in the wire style of its server.
    ///
    /// # Errors
    /// As [`Self::publisher`].
    pub fn client_with_style<S: Service>(
        &self,
        name: &str,
        style: ServiceStyle,
    ) -> Result<Client<S>, DdsError> {
        Client::new(&self.shared, name, style)
    }

    /// Publishes a line on `/rosout`, under the node's logger name.
    ///
    /// A line that cannot be sent is counted, not reported: reporting would be another line.
    pub fn rosout(&self, level: LogLevel, msg: &str, file: &str, function: &str, line: u32) {
        let log = Log {
            stamp: Time::now(),
            level: level as u8,
            name: self.shared.logger_name(),
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

impl Drop for Node {
    fn drop(&mut self) {
        *self.shared.endpoints.lock().unwrap_or_else(PoisonError::into_inner) = None;
        self.shared.publish();
    }
}

impl NodeShared {
    pub(super) fn add_reader(&self, gid: Gid) {
        self.change(|endpoints| endpoints.readers.push(gid));
    }

    pub(super) fn add_writer(&self, gid: Gid) {
        self.change(|endpoints| endpoints.writers.push(gid));
    }

    pub(super) fn remove(&self, gids: &[Gid]) {
        for gid in gids {
            self.context.graph.remove_local(*gid);
        }
        self.change(|endpoints| {
            endpoints.readers.retain(|gid| !gids.contains(gid));
            endpoints.writers.retain(|gid| !gids.contains(gid));
        });
    }

    fn change(&self, change: impl FnOnce(&mut Endpoints)) {
        if let Some(endpoints) =
            self.endpoints.lock().unwrap_or_else(PoisonError::into_inner).as_mut()
        {
            change(endpoints);
        } else {
            return;
        }
        self.publish();
    }

    /// Puts this node's present state into the participant's message.
    fn publish(&self) {
        self.context.update_nodes(|nodes| {
            // Read inside, so that of two changes at once the later one stays.
            let endpoints = self.endpoints.lock().unwrap_or_else(PoisonError::into_inner).clone();
            let is_this = |node: &NodeEntities| {
                node.node_name == self.name && node.node_namespace == self.namespace
            };
            nodes.retain(|node| !is_this(node));
            nodes.extend(endpoints.map(|endpoints| NodeEntities {
                node_namespace: self.namespace.clone(),
                node_name: self.name.clone(),
                reader_gid_seq: endpoints.readers,
                writer_gid_seq: endpoints.writers,
            }));
        });
    }

    fn fully_qualified_name(&self) -> String {
        format!("{}/{}", self.namespace.trim_end_matches('/'), self.name)
    }

    /// rcl names loggers with dots: `/robot/translator` logs as `robot.translator`.
    fn logger_name(&self) -> String {
        self.fully_qualified_name().trim_start_matches('/').replace('/', ".")
    }
}
