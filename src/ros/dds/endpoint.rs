//! Untyped writers and readers: what publishers, subscriptions and services are made of.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Instant,
};

use rustdds::{
    DataReaderStatus, DataWriterStatus, RTPSEntity, SampleIdentity, StatusEvented, WriteOptions,
    dds::result::WriteError,
    mio1::{Token, event},
    no_key::{DataWriter, SimpleDataReader},
};

use super::{
    DdsError, OUTBOX_SAMPLES_MAX, SAMPLE_BYTES_MAX,
    raw::{Gid, Payload, RawAdapter, Sample},
    spin::{Backlog, Source, Spinner},
};

/// Writers whose sequence numbers one reader follows.
const WRITERS_TRACKED_MAX: usize = 256;

/// Counters of one publisher since it was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PublisherStats {
    /// Messages given to DDS.
    pub sent: u64,
    /// Messages given up because the outbox was full.
    pub dropped: u64,
}

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

/// A writer with an outbox, so that writing never blocks.
pub(super) struct RawWriter {
    topic: String,
    gid: Gid,
    state: Mutex<WriterState>,
    spinner: Arc<Spinner>,
    weak: Weak<RawWriter>,
}

struct WriterState {
    writer: DataWriter<Payload, RawAdapter>,
    readers: BTreeSet<Gid>,
    outbox: VecDeque<Outgoing>,
    retrying: bool,
    stats: PublisherStats,
}

struct Outgoing {
    payload: Payload,
    options: WriteOptions,
    /// A reply waits until its client's participant is matched, or until this instant.
    awaits: Option<([u8; 12], Instant)>,
}

impl RawWriter {
    pub(super) fn new(
        topic: String,
        writer: DataWriter<Payload, RawAdapter>,
        spinner: Arc<Spinner>,
    ) -> Arc<Self> {
        let gid = Gid::from(writer.guid());
        let state = WriterState {
            writer,
            readers: BTreeSet::new(),
            outbox: VecDeque::new(),
            retrying: false,
            stats: PublisherStats::default(),
        };
        Arc::new_cyclic(|weak| Self {
            topic,
            gid,
            state: Mutex::new(state),
            spinner,
            weak: weak.clone(),
        })
    }

    pub(super) fn gid(&self) -> Gid {
        self.gid
    }

    pub(super) fn stats(&self) -> PublisherStats {
        self.lock().stats
    }

    /// Matched readers.
    pub(super) fn matched(&self) -> usize {
        let mut state = self.lock();
        state.update_matched();
        state.readers.len()
    }

    /// Sends now, or puts into the outbox.
    pub(super) fn write(&self, payload: Payload, options: WriteOptions) -> Result<(), DdsError> {
        self.send(Outgoing { payload, options, awaits: None })
    }

    /// As [`Self::write`], but first waits, without blocking, for a reader of `participant`.
    pub(super) fn write_to(
        &self,
        participant: [u8; 12],
        deadline: Instant,
        payload: Payload,
        options: WriteOptions,
    ) -> Result<(), DdsError> {
        self.send(Outgoing { payload, options, awaits: Some((participant, deadline)) })
    }

    /// Sends now or fails; the caller learns the sample's identity.
    pub(super) fn write_now(
        &self,
        payload: Payload,
        options: WriteOptions,
    ) -> Result<SampleIdentity, DdsError> {
        self.check_size(&payload)?;
        let mut state = self.lock();
        let identity = state.writer.write_with_options(payload, options).map_err(|error| {
            DdsError::Write { topic: self.topic.clone(), reason: error.to_string() }
        })?;
        state.stats.sent += 1;
        Ok(identity)
    }

    /// Waits until every matched reliable reader has acknowledged all that was written.
    pub(super) fn wait_for_acknowledgments(&self, timeout: std::time::Duration) -> bool {
        let deadline = Instant::now() + timeout;
        loop {
            let done = {
                let state = self.lock();
                let acknowledged = state.writer.wait_for_acknowledgments(std::time::Duration::ZERO);
                state.outbox.is_empty() && acknowledged.unwrap_or(false)
            };
            if done || Instant::now() >= deadline {
                return done;
            }
            // The lock is free meanwhile, so that others can write.
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
    }

    fn send(&self, outgoing: Outgoing) -> Result<(), DdsError> {
        self.check_size(&outgoing.payload)?;
        let mut state = self.lock();
        state.update_matched();
        state.outbox.push_back(outgoing);
        let result = state.flush(&self.topic);
        while state.outbox.len() > OUTBOX_SAMPLES_MAX {
            state.outbox.pop_front();
            state.stats.dropped += 1;
            if state.stats.dropped.is_power_of_two() {
                let dropped = state.stats.dropped;
                tracing::warn!(
                    topic = self.topic,
                    dropped,
                    "the outbox is full: a reader is slow or gone"
                );
            }
        }
        if !state.outbox.is_empty() && !state.retrying {
            state.retrying = true;
            let weak: Weak<dyn Backlog> = self.weak.clone();
            drop(state);
            self.spinner.retry(weak);
        }
        result
    }

    fn check_size(&self, payload: &Payload) -> Result<(), DdsError> {
        let bytes = payload.len();
        if bytes <= SAMPLE_BYTES_MAX {
            return Ok(());
        }
        Err(DdsError::TooLarge { topic: self.topic.clone(), bytes, limit: SAMPLE_BYTES_MAX })
    }

    fn lock(&self) -> MutexGuard<'_, WriterState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Backlog for RawWriter {
    fn flush(&self) -> bool {
        let mut state = self.lock();
        state.update_matched();
        if let Err(error) = state.flush(&self.topic) {
            tracing::warn!(%error, "a message is lost");
        }
        state.retrying = !state.outbox.is_empty();
        state.retrying
    }
}

impl WriterState {
    fn update_matched(&mut self) {
        while let Some(status) = self.writer.try_recv_status() {
            if let DataWriterStatus::PublicationMatched { current, reader, .. } = status {
                let reader = Gid::from(reader);
                if current.count_change() >= 0 {
                    self.readers.insert(reader);
                } else {
                    self.readers.remove(&reader);
                }
            }
        }
    }

    /// Sends from the front; a reply that still waits for its reader lets others pass.
    fn flush(&mut self, topic: &str) -> Result<(), DdsError> {
        let mut waiting = VecDeque::new();
        let mut result = Ok(());
        while let Some(outgoing) = self.outbox.pop_front() {
            if self.must_wait(&outgoing) {
                waiting.push_back(outgoing);
                continue;
            }
            let Outgoing { payload, options, awaits } = outgoing;
            match self.writer.write_with_options(payload, options.clone()) {
                Ok(_) => self.stats.sent += 1,
                Err(WriteError::WouldBlock { data }) => {
                    waiting.push_back(Outgoing { payload: data, options, awaits });
                    break;
                }
                Err(error) => {
                    self.stats.dropped += 1;
                    let reason = error.to_string();
                    result = Err(DdsError::Write { topic: topic.to_owned(), reason });
                }
            }
        }
        waiting.append(&mut self.outbox);
        self.outbox = waiting;
        result
    }

    fn must_wait(&self, outgoing: &Outgoing) -> bool {
        outgoing.awaits.is_some_and(|(participant, deadline)| {
            let matched = self.readers.iter().any(|gid| gid.participant_prefix() == participant);
            !matched && Instant::now() < deadline
        })
    }
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
