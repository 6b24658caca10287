//! Typed publishers and subscriptions.

use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use crossbeam_channel::{Receiver, TrySendError};

use super::port::{NodePort, PublisherPort, SampleHandler, SubscriptionPort};
use super::{Gid, QosProfile, RosError, SerializedMessage, wire::Message};

/// Where a message comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MessageInfo {
    /// The writer; equal to [`Publisher::gid`] for what we said ourselves.
    pub source: Gid,
    /// When it was written, by the clock of the writer.
    pub source_time: Option<SystemTime>,
    /// When it arrived here.
    pub reception_time: SystemTime,
}

impl MessageInfo {
    /// A message that arrives now.
    #[must_use]
    pub fn arriving(source: Gid, source_time: Option<SystemTime>) -> Self {
        Self { source, source_time, reception_time: SystemTime::now() }
    }
}

/// Counters of one publisher since it was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PublisherStats {
    /// Messages given to the middleware.
    pub sent: u64,
    /// Messages given up because the outbox was full.
    pub dropped: u64,
}

/// Counters of one subscription or server since it was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SubscriptionStats {
    /// Messages handed to the callback or queue.
    pub received: u64,
    /// Samples that were not a message of the type.
    pub malformed: u64,
    /// Samples that never came here, by the gaps in the numbers of their writers: overwritten
    /// before they were read, or given up by the writer.
    pub missed: u64,
    /// Messages that did not fit the queue of [`super::Node::subscription_queue`].
    pub dropped: u64,
    /// Callbacks that panicked.
    pub panicked: u64,
}

/// Publishes `M` on one topic until dropped.
pub struct Publisher<M> {
    port: Box<dyn PublisherPort>,
    message: PhantomData<fn(M)>,
}

impl<M: Message> Publisher<M> {
    pub(super) fn new(
        node: &dyn NodePort,
        topic: &str,
        qos: &QosProfile,
    ) -> Result<Self, RosError> {
        Ok(Self { port: node.publisher(topic, M::ROS_TYPE, qos)?, message: PhantomData })
    }

    /// Sends a message, or keeps it in the outbox while the middleware does not take it. Never
    /// blocks.
    ///
    /// # Errors
    /// [`RosError::Serialize`], [`RosError::TooLarge`] or [`RosError::Write`].
    pub fn publish(&self, message: &M) -> Result<(), RosError> {
        self.port.publish(SerializedMessage::encode(message)?)
    }
}

impl<M> Publisher<M> {
    /// The publisher's identifier, for telling our own messages from those of others.
    #[must_use]
    pub fn gid(&self) -> Gid {
        self.port.gid()
    }

    /// Subscriptions that hear this publisher.
    #[must_use]
    pub fn matched(&self) -> usize {
        self.port.matched()
    }

    /// Counters since the start.
    #[must_use]
    pub fn stats(&self) -> PublisherStats {
        self.port.stats()
    }

    /// Waits until all reliable subscriptions have what was published; false when `timeout`
    /// passed first. For the end of a program; it blocks.
    #[must_use]
    pub fn wait_for_acknowledgments(&self, timeout: Duration) -> bool {
        self.port.wait_for_acknowledgments(timeout)
    }
}

/// Hears `M` on one topic until dropped.
///
/// A callback that runs while its subscription is dropped on another thread is not waited for.
pub struct Subscription<M> {
    port: Box<dyn SubscriptionPort>,
    inbox: Arc<Inbox>,
    message: PhantomData<fn() -> M>,
}

impl<M: Message> Subscription<M> {
    pub(super) fn new(
        node: &dyn NodePort,
        topic: &str,
        qos: &QosProfile,
        callback: impl FnMut(Result<M, &RosError>, MessageInfo) + Send + 'static,
    ) -> Result<Self, RosError> {
        Self::with_inbox(node, topic, qos, &Inbox::new(topic), callback)
    }

    #[allow(clippy::type_complexity, reason = "a pair that the caller takes apart at once")]
    pub(super) fn queue(
        node: &dyn NodePort,
        topic: &str,
        qos: &QosProfile,
        capacity: usize,
    ) -> Result<(Self, Receiver<(M, MessageInfo)>), RosError> {
        let (sender, receiver) = crossbeam_channel::bounded(capacity.max(1));
        let inbox = Inbox::new(topic);
        let counted = Arc::clone(&inbox);
        let subscription = Self::with_inbox(node, topic, qos, &inbox, move |message, info| {
            let Ok(message) = message else { return };
            if let Err(TrySendError::Full(_)) = sender.try_send((message, info)) {
                counted.dropped.fetch_add(1, Ordering::Relaxed);
            }
        })?;
        Ok((subscription, receiver))
    }

    fn with_inbox(
        node: &dyn NodePort,
        topic: &str,
        qos: &QosProfile,
        inbox: &Arc<Inbox>,
        mut callback: impl FnMut(Result<M, &RosError>, MessageInfo) + Send + 'static,
    ) -> Result<Self, RosError> {
        let guard = Arc::clone(inbox);
        let handler: SampleHandler = Box::new(move |sample, info| {
            guard.take(sample, info.source, |message| callback(message, info));
        });
        let port = node.subscription(topic, M::ROS_TYPE, qos, handler)?;
        Ok(Self { port, inbox: Arc::clone(inbox), message: PhantomData })
    }
}

impl<M> Subscription<M> {
    /// The subscription's identifier.
    #[must_use]
    pub fn gid(&self) -> Gid {
        self.port.gid()
    }

    /// Publishers that this subscription hears.
    #[must_use]
    pub fn matched(&self) -> usize {
        self.port.matched()
    }

    /// Counters since the start.
    #[must_use]
    pub fn stats(&self) -> SubscriptionStats {
        self.inbox.stats(self.port.missed())
    }
}

/// Stands between the bytes of an adapter and a callback: decodes, counts, reports, catches.
pub(super) struct Inbox {
    name: String,
    received: AtomicU64,
    malformed: AtomicU64,
    dropped: AtomicU64,
    panicked: AtomicU64,
}

impl Inbox {
    /// For the topic or service `name`.
    pub(super) fn new(name: &str) -> Arc<Self> {
        Arc::new(Self {
            name: name.to_owned(),
            received: AtomicU64::new(0),
            malformed: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
            panicked: AtomicU64::new(0),
        })
    }

    /// Hands a sample on as a message, or as the reason why it is none.
    pub(super) fn take<M: Message>(
        &self,
        sample: Result<SerializedMessage, RosError>,
        source: Gid,
        callback: impl FnOnce(Result<M, &RosError>),
    ) {
        let message = sample.and_then(|sample| M::read(&sample));
        let reason = match &message {
            Ok(_) => {
                self.received.fetch_add(1, Ordering::Relaxed);
                None
            }
            Err(error) => Some(error.to_string()),
        };
        // The callback gets the message by value and the error by reference.
        let outcome = match message {
            Ok(message) => catch_unwind(AssertUnwindSafe(|| callback(Ok(message)))),
            Err(error) => catch_unwind(AssertUnwindSafe(|| callback(Err(&error)))),
        };
        if outcome.is_err() {
            self.panicked.fetch_add(1, Ordering::Relaxed);
            tracing::error!(name = self.name, "a callback panicked; going on");
        }
        if let Some(reason) = reason {
            self.report_malformed(&reason, source);
        }
    }

    pub(super) fn stats(&self, missed: u64) -> SubscriptionStats {
        SubscriptionStats {
            received: self.received.load(Ordering::Relaxed),
            malformed: self.malformed.load(Ordering::Relaxed),
            missed,
            dropped: self.dropped.load(Ordering::Relaxed),
            panicked: self.panicked.load(Ordering::Relaxed),
        }
    }

    /// Counts; reports the 1st, 2nd, 4th, 8th..., so that a broken peer cannot flood the log.
    fn report_malformed(&self, reason: &str, writer: Gid) {
        let count = self.malformed.fetch_add(1, Ordering::Relaxed) + 1;
        if count.is_power_of_two() {
            tracing::warn!(name = self.name, count, reason, %writer, "malformed message ignored");
        }
    }
}
