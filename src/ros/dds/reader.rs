//! Untyped readers: what subscriptions and both ends of services read through.

use std::{
    collections::{BTreeMap, BTreeSet},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use rustdds::{
    DataReaderStatus, StatusEvented,
    mio1::{Token, event},
    no_key::SimpleDataReader,
};

use super::{
    DdsError,
    raw::{Gid, Payload, RawAdapter, Sample},
    spin::{Source, Spinner},
};

/// Writers whose sequence numbers one reader follows.
const WRITERS_TRACKED_MAX: usize = 256;

/// Counters of one subscription since it was made.
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

/// Counters that the handle and the spin thread share.
#[derive(Default)]
pub(super) struct ReaderCounters {
    pub(super) received: AtomicU64,
    pub(super) malformed: AtomicU64,
    pub(super) missed: AtomicU64,
    pub(super) dropped: AtomicU64,
    pub(super) panicked: AtomicU64,
}

impl ReaderCounters {
    pub(super) fn snapshot(&self) -> SubscriptionStats {
        SubscriptionStats {
            received: self.received.load(Ordering::Relaxed),
            malformed: self.malformed.load(Ordering::Relaxed),
            missed: self.missed.load(Ordering::Relaxed),
            dropped: self.dropped.load(Ordering::Relaxed),
            panicked: self.panicked.load(Ordering::Relaxed),
        }
    }
}

/// The handle of a reader; its samples go to a handler on the spin thread until it is dropped.
pub(super) struct RawReader {
    gid: Gid,
    token: Token,
    reader: Arc<SimpleDataReader<Payload, RawAdapter>>,
    writers: Mutex<BTreeSet<Gid>>,
    open: Arc<AtomicBool>,
    counters: Arc<ReaderCounters>,
    spinner: Arc<Spinner>,
}

/// What a handler does with a sample; an error means that the sample was malformed.
pub(super) type Handler = Box<dyn FnMut(Sample) -> Result<(), DdsError> + Send>;

impl RawReader {
    pub(super) fn new(
        topic: String,
        mut reader: SimpleDataReader<Payload, RawAdapter>,
        spinner: Arc<Spinner>,
        counters: Arc<ReaderCounters>,
        handler: Handler,
    ) -> Result<Self, DdsError> {
        let token = spinner.token();
        event::Source::register(
            &mut reader,
            spinner.registry(),
            token,
            rustdds::mio1::Interest::READABLE,
        )
        .map_err(|source| DdsError::Io { action: "register a reader", source })?;
        let reader = Arc::new(reader);
        let open = Arc::new(AtomicBool::new(true));
        let source = ReaderSource {
            topic,
            reader: Arc::clone(&reader),
            open: Arc::clone(&open),
            counters: Arc::clone(&counters),
            last_numbers: BTreeMap::new(),
            handler,
        };
        spinner.add(token, Box::new(source))?;
        let gid = Gid::from(reader.guid());
        Ok(Self { gid, token, reader, writers: Mutex::default(), open, counters, spinner })
    }

    pub(super) fn gid(&self) -> Gid {
        self.gid
    }

    pub(super) fn stats(&self) -> SubscriptionStats {
        self.counters.snapshot()
    }

    /// Matched writers.
    pub(super) fn matched(&self) -> usize {
        let mut writers = self.writers.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some(status) = self.reader.try_recv_status() {
            if let DataReaderStatus::SubscriptionMatched { current, writer, .. } = status {
                let writer = Gid::from(writer);
                if current.count_change() >= 0 {
                    writers.insert(writer);
                } else {
                    writers.remove(&writer);
                }
            }
        }
        writers.len()
    }
}

impl Drop for RawReader {
    fn drop(&mut self) {
        self.open.store(false, Ordering::Release);
        self.spinner.remove(self.token);
    }
}

struct ReaderSource {
    topic: String,
    reader: Arc<SimpleDataReader<Payload, RawAdapter>>,
    open: Arc<AtomicBool>,
    counters: Arc<ReaderCounters>,
    /// The newest sequence number of each writer.
    last_numbers: BTreeMap<Gid, i64>,
    handler: Handler,
}

impl Source for ReaderSource {
    fn drain(&mut self, budget: usize) -> bool {
        self.reader.drain_read_notifications();
        for _ in 0..budget {
            if !self.open.load(Ordering::Acquire) {
                return false;
            }
            match self.reader.try_take_one() {
                Ok(None) => return false,
                Ok(Some(change)) => self.handle(change.into()),
                Err(error) => self.malformed(&error.to_string()),
            }
        }
        true
    }
}

impl ReaderSource {
    fn handle(&mut self, sample: Sample) {
        let writer = sample.writer;
        self.count_missed(writer, sample.sequence_number);
        match catch_unwind(AssertUnwindSafe(|| (self.handler)(sample))) {
            Ok(Ok(())) => {}
            Ok(Err(error)) => self.malformed(&format!("{error} (writer {writer})")),
            Err(_) => {
                self.counters.panicked.fetch_add(1, Ordering::Relaxed);
                tracing::error!(topic = self.topic, "a callback panicked; going on");
            }
        }
    }

    fn count_missed(&mut self, writer: Gid, number: i64) {
        if self.last_numbers.len() >= WRITERS_TRACKED_MAX
            && !self.last_numbers.contains_key(&writer)
        {
            // Writers that are gone are not told apart from silent ones; starting over only
            // forgets gaps.
            self.last_numbers.clear();
        }
        let Some(last) = self.last_numbers.insert(writer, number) else { return };
        let Ok(missed @ 1..) = u64::try_from(number.saturating_sub(last).saturating_sub(1)) else {
            return;
        };
        let total = self.counters.missed.fetch_add(missed, Ordering::Relaxed) + missed;
        tracing::debug!(topic = self.topic, %writer, missed, total, "samples were missed");
    }

    /// Counts; reports the 1st, 2nd, 4th, 8th..., so that a broken peer cannot flood the log.
    fn malformed(&self, reason: &str) {
        let count = self.counters.malformed.fetch_add(1, Ordering::Relaxed) + 1;
        if count.is_power_of_two() {
            tracing::warn!(topic = self.topic, count, reason, "malformed message ignored");
        }
    }
}
