//! Clients of services.

use std::{
    collections::HashMap,
    marker::PhantomData,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicI64, Ordering},
    },
    time::{Duration, Instant},
};

use crossbeam_channel::{Receiver, Sender};
use rustdds::{SampleIdentity, SequenceNumber, Timestamp, WriteOptions, WriteOptionsBuilder};

use super::{
    CALLS_PENDING_MAX, DdsError, Gid, ServiceStyle,
    node::NodeShared,
    raw::{Payload, Sample, dds_name},
    reader::{Handler, RawReader},
    service::CycloneHeader,
    writer::RawWriter,
};
use crate::ros::{
    qos::QosProfile,
    wire::{Message, Service},
};

/// How often a waiting client looks again.
const LOOK_INTERVAL: Duration = Duration::from_millis(5);

/// How long a server is left to discover us after we have discovered it.
const SETTLE: Duration = Duration::from_millis(100);

/// A call got no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CallError {
    /// No answer in time.
    #[error("no answer from {service} within {timeout_ms} ms; is the node running?")]
    Timeout {
        /// The service.
        service: String,
        /// How long was waited.
        timeout_ms: u128,
    },
    /// Too many calls wait already.
    #[error("{limit} calls of {service} wait for an answer already")]
    TooManyCalls {
        /// The service.
        service: String,
        /// The limit.
        limit: usize,
    },
    /// A callback called, and would have waited for itself.
    #[error(
        "{service} was called from a callback, which would wait for itself; call it from another thread"
    )]
    FromCallback {
        /// The service.
        service: String,
    },
    /// The request could not be sent, or the answer could not be read.
    #[error(transparent)]
    Dds(#[from] DdsError),
}

type Pending = Arc<Mutex<HashMap<i64, Sender<Sample>>>>;

/// Calls `S` until dropped.
pub struct Client<S: Service> {
    service: String,
    style: ServiceStyle,
    reader: RawReader,
    writer: Arc<RawWriter>,
    pending: Pending,
    number_next: AtomicI64,
    node: Arc<NodeShared>,
    marker: PhantomData<fn(S)>,
}

impl<S: Service> Client<S> {
    pub(super) fn new(
        node: &Arc<NodeShared>,
        name: &str,
        style: ServiceStyle,
    ) -> Result<Self, DdsError> {
        let profile = &QosProfile::SERVICES;
        let requests = dds_name("rq", name, "Request")?;
        let replies = dds_name("rr", name, "Reply")?;
        let writer = node.context.writer(&requests, &S::Request::dds_type_name(), profile)?;
        let pending = Pending::default();
        // The reader's identifier is known only after the handler exists.
        let own = Arc::new(std::sync::OnceLock::new());
        let handler = reply_handler(style, writer.gid(), Arc::clone(&own), Arc::clone(&pending));
        let dds_type = S::Response::dds_type_name();
        let reader = node.context.reader(&replies, &dds_type, profile, Arc::default(), handler)?;
        let _ = own.set(reader.gid());
        node.add_writer(writer.gid());
        node.add_reader(reader.gid());
        Ok(Self {
            service: name.to_owned(),
            style,
            reader,
            writer,
            pending,
            number_next: AtomicI64::new(1),
            node: Arc::clone(node),
            marker: PhantomData,
        })
    }

    /// Whether a server is discovered in both directions.
    #[must_use]
    pub fn is_available(&self) -> bool {
        self.writer.matched() > 0 && self.reader.matched() > 0
    }

    /// Waits for a server; false when `timeout` passed first. Blocks the caller.
    ///
    /// A server counts only after 100 ms, because that we have discovered it does not say that it
    /// has discovered us, and a request that comes too early is lost.
    #[must_use]
    pub fn wait_for_service(&self, timeout: Duration) -> bool {
        let deadline = Instant::now() + timeout;
        let mut available_since = None;
        loop {
            let now = Instant::now();
            if self.is_available() {
                let since = *available_since.get_or_insert(now);
                if now.duration_since(since) >= SETTLE {
                    return true;
                }
            } else {
                available_since = None;
            }
            if now >= deadline {
                return false;
            }
            std::thread::sleep(LOOK_INTERVAL);
        }
    }

    /// Sends a request and waits for its reply. Blocks the caller for up to `timeout`.
    ///
    /// # Errors
    /// [`CallError`].
    pub fn call(&self, request: &S::Request, timeout: Duration) -> Result<S::Response, CallError> {
        if self.node.context.spinner.is_current() {
            return Err(CallError::FromCallback { service: self.service.clone() });
        }
        let (number, answer) = self.send(request)?;
        let received = answer.recv_timeout(timeout);
        self.lock_pending().remove(&number);
        match received {
            Ok(sample) => Ok(sample.payload.decode(self.style.header_len())?),
            Err(_) => Err(CallError::Timeout {
                service: self.service.clone(),
                timeout_ms: timeout.as_millis(),
            }),
        }
    }

    fn send(&self, request: &S::Request) -> Result<(i64, Receiver<Sample>), CallError> {
        let (sender, receiver) = crossbeam_channel::bounded(1);
        // Held over the write, so that the reply cannot come before its place is made.
        let mut pending = self.lock_pending();
        if pending.len() >= CALLS_PENDING_MAX {
            let service = self.service.clone();
            return Err(CallError::TooManyCalls { service, limit: CALLS_PENDING_MAX });
        }
        let number = match self.style {
            ServiceStyle::Enhanced => {
                let identity = self
                    .writer
                    .write_now(Payload::encode(&[], request)?, self.enhanced_options())?;
                i64::from(identity.sequence_number)
            }
            ServiceStyle::Cyclone => {
                let sequence_number = self.number_next.fetch_add(1, Ordering::Relaxed);
                let header =
                    CycloneHeader { client: client_id(self.writer.gid()), sequence_number };
                let payload = Payload::encode(&header.to_octets(), request)?;
                self.writer.write_now(payload, WriteOptions::default())?;
                sequence_number
            }
        };
        pending.insert(number, sender);
        Ok((number, receiver))
    }

    /// As `rmw_fastrtps`: our reply reader, and no number, since the sample has one.
    fn enhanced_options(&self) -> WriteOptions {
        WriteOptionsBuilder::new()
            .source_timestamp(Timestamp::now())
            .related_sample_identity(SampleIdentity {
                writer_guid: self.reader.gid().to_guid(),
                sequence_number: SequenceNumber::UNKNOWN,
            })
            .build()
    }

    fn lock_pending(&self) -> std::sync::MutexGuard<'_, HashMap<i64, Sender<Sample>>> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<S: Service> Drop for Client<S> {
    fn drop(&mut self) {
        self.node.remove(&[self.reader.gid(), self.writer.gid()]);
    }
}

/// Hands each reply to the call that waits for it; replies to other clients pass by.
fn reply_handler(
    style: ServiceStyle,
    writer: Gid,
    reader: Arc<std::sync::OnceLock<Gid>>,
    pending: Pending,
) -> Handler {
    Box::new(move |sample| {
        let number = match style {
            ServiceStyle::Enhanced => sample.related.and_then(|related| {
                let to = Gid::from(related.writer_guid);
                let ours = to == writer || reader.get() == Some(&to);
                ours.then_some(i64::from(related.sequence_number))
            }),
            ServiceStyle::Cyclone => CycloneHeader::read(&sample.payload).and_then(|header| {
                (header.client == client_id(writer)).then_some(header.sequence_number)
            }),
        };
        let Some(number) = number else { return Ok(()) };
        let waiting = pending.lock().unwrap_or_else(PoisonError::into_inner).remove(&number);
        if let Some(waiting) = waiting {
            // It has room for one; a call that gave up meanwhile does not mind.
            let _ = waiting.try_send(sample);
        }
        Ok(())
    })
}

/// What a client calls itself in the Cyclone style: the second half of its writer's identifier,
/// mixed with the first, since the second alone repeats between participants.
fn client_id(writer: Gid) -> u64 {
    let half = |range: std::ops::Range<usize>| {
        writer.0[range].iter().fold(0u64, |id, octet| id << 8 | u64::from(*octet))
    };
    half(0..8) ^ half(8..16)
}
