//! Typed publishers and subscriptions.

use std::{
    marker::PhantomData,
    sync::{Arc, atomic::Ordering},
    time::{Duration, SystemTime},
};

use crossbeam_channel::{Receiver, TrySendError};
use rustdds::{Timestamp, WriteOptionsBuilder};

use super::{
    DdsError, Gid, PublisherStats, SubscriptionStats,
    node::NodeShared,
    raw::{Payload, dds_name},
    reader::{Handler, RawReader, ReaderCounters},
    writer::RawWriter,
};
use crate::ros::{qos::QosProfile, wire::Message};

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

/// Publishes `M` on one topic until dropped.
pub struct Publisher<M> {
    writer: Arc<RawWriter>,
    node: Arc<NodeShared>,
    message: PhantomData<fn(M)>,
}

impl<M: Message> Publisher<M> {
    pub(super) fn new(
        node: &Arc<NodeShared>,
        topic: &str,
        qos: &QosProfile,
    ) -> Result<Self, DdsError> {
        let topic = dds_name("rt", topic, "")?;
        let writer = node.context.writer(&topic, &M::dds_type_name(), qos)?;
        node.add_writer(writer.gid());
        Ok(Self { writer, node: Arc::clone(node), message: PhantomData })
    }

    /// Sends a message, or keeps it in the outbox while DDS does not take it. Never blocks.
    ///
    /// # Errors
    /// [`DdsError::Serialize`], [`DdsError::TooLarge`] or [`DdsError::Write`].
    pub fn publish(&self, message: &M) -> Result<(), DdsError> {
        let options = WriteOptionsBuilder::new().source_timestamp(Timestamp::now()).build();
        self.writer.write(Payload::encode(&[], message)?, options)
    }
}

impl<M> Publisher<M> {
    /// The publisher's identifier, for telling our own messages from those of others.
    #[must_use]
    pub fn gid(&self) -> Gid {
        self.writer.gid()
    }

    /// Subscriptions that hear this publisher.
    #[must_use]
    pub fn matched(&self) -> usize {
        self.writer.matched()
    }

    /// Counters since the start.
    #[must_use]
    pub fn stats(&self) -> PublisherStats {
        self.writer.stats()
    }

    /// Waits until all reliable subscriptions have what was published; false when `timeout`
    /// passed first. For the end of a program; it blocks.
    #[must_use]
    pub fn wait_for_acknowledgments(&self, timeout: Duration) -> bool {
        self.writer.wait_for_acknowledgments(timeout)
    }
}

impl<M> Drop for Publisher<M> {
    fn drop(&mut self) {
        self.node.remove(&[self.writer.gid()]);
    }
}

/// Hears `M` on one topic until dropped.
///
/// A callback that runs while its subscription is dropped on another thread is not waited for.
pub struct Subscription<M> {
    reader: RawReader,
    node: Arc<NodeShared>,
    message: PhantomData<fn() -> M>,
}

impl<M: Message> Subscription<M> {
    pub(super) fn new(
        node: &Arc<NodeShared>,
        topic: &str,
        qos: &QosProfile,
        mut callback: impl FnMut(M, MessageInfo) + Send + 'static,
    ) -> Result<Self, DdsError> {
        Self::with_malformed(node, topic, qos, move |message, info| {
            if let Ok(message) = message {
                callback(message, info);
            }
        })
    }

    pub(super) fn with_malformed(
        node: &Arc<NodeShared>,
        topic: &str,
        qos: &QosProfile,
        callback: impl FnMut(Result<M, &DdsError>, MessageInfo) + Send + 'static,
    ) -> Result<Self, DdsError> {
        Self::with_counters(node, topic, qos, &Arc::default(), callback)
    }

    pub(super) fn queue(
        node: &Arc<NodeShared>,
        topic: &str,
        qos: &QosProfile,
        capacity: usize,
    ) -> Result<(Self, Receiver<(M, MessageInfo)>), DdsError> {
        let (sender, receiver) = crossbeam_channel::bounded(capacity.max(1));
        let counters = Arc::new(ReaderCounters::default());
        let dropped = Arc::clone(&counters);
        let subscription =
            Self::with_counters(node, topic, qos, &counters, move |message, info| {
                let Ok(message) = message else { return };
                if let Err(TrySendError::Full(_)) = sender.try_send((message, info)) {
                    dropped.dropped.fetch_add(1, Ordering::Relaxed);
                }
            })?;
        Ok((subscription, receiver))
    }

    fn with_counters(
        node: &Arc<NodeShared>,
        topic: &str,
        qos: &QosProfile,
        counters: &Arc<ReaderCounters>,
        mut callback: impl FnMut(Result<M, &DdsError>, MessageInfo) + Send + 'static,
    ) -> Result<Self, DdsError> {
        let topic = dds_name("rt", topic, "")?;
        let received = Arc::clone(counters);
        let handler: Handler = Box::new(move |sample| {
            let info = MessageInfo {
                source: sample.writer,
                source_time: sample.source_time,
                reception_time: SystemTime::now(),
            };
            match sample.payload.decode(0) {
                Ok(message) => {
                    received.received.fetch_add(1, Ordering::Relaxed);
                    callback(Ok(message), info);
                    Ok(())
                }
                Err(error) => {
                    callback(Err(&error), info);
                    Err(error)
                }
            }
        });
        let counters = Arc::clone(counters);
        let reader = node.context.reader(&topic, &M::dds_type_name(), qos, counters, handler)?;
        node.add_reader(reader.gid());
        Ok(Self { reader, node: Arc::clone(node), message: PhantomData })
    }
}

impl<M> Subscription<M> {
    /// The subscription's identifier.
    #[must_use]
    pub fn gid(&self) -> Gid {
        self.reader.gid()
    }

    /// Publishers that this subscription hears.
    #[must_use]
    pub fn matched(&self) -> usize {
        self.reader.matched()
    }

    /// Counters since the start.
    #[must_use]
    pub fn stats(&self) -> SubscriptionStats {
        self.reader.stats()
    }
}

impl<M> Drop for Subscription<M> {
    fn drop(&mut self) {
        self.node.remove(&[self.reader.gid()]);
    }
}
