//! Untyped writers: what publishers and both ends of services write through.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Instant,
};

use rustdds::{
    DataWriterStatus, RTPSEntity, SampleIdentity, StatusEvented, WriteOptions,
    dds::result::WriteError, no_key::DataWriter,
};

use super::{
    OUTBOX_SAMPLES_MAX, REPLY_SETTLE, WINDOW_BYTES_MAX, WINDOW_CHECK_SAMPLES, WINDOW_SAMPLES_MAX,
    raw::{Payload, RawAdapter},
    spin::{Backlog, Spinner},
};
use crate::ros::{Gid, PublisherStats, RosError, cdr::MESSAGE_BYTES_MAX};

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
    /// Matched readers, and when we learned of each.
    readers: BTreeMap<Gid, Instant>,
    outbox: VecDeque<Outgoing>,
    window: Window,
    retrying: bool,
    stats: PublisherStats,
}

/// What was sent since all readers had acknowledged everything.
#[derive(Default, Clone, Copy)]
struct Window {
    samples: usize,
    bytes: usize,
}

struct Outgoing {
    payload: Payload,
    options: WriteOptions,
    /// A reply waits until a reader of its client's participant is matched and has settled
    /// ([`REPLY_SETTLE`]), or until this instant.
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
            readers: BTreeMap::new(),
            outbox: VecDeque::new(),
            window: Window::default(),
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

    /// One of the matched readers.
    pub(super) fn first_reader(&self) -> Option<Gid> {
        let mut state = self.lock();
        state.update_matched();
        state.readers.keys().next().copied()
    }

    /// Sends now, or puts into the outbox.
    pub(super) fn write(&self, payload: Payload, options: WriteOptions) -> Result<(), RosError> {
        self.send(Outgoing { payload, options, awaits: None })
    }

    /// As [`Self::write`], but first waits, without blocking, for a reader of `participant`.
    pub(super) fn write_to(
        &self,
        participant: [u8; 12],
        deadline: Instant,
        payload: Payload,
        options: WriteOptions,
    ) -> Result<(), RosError> {
        self.send(Outgoing { payload, options, awaits: Some((participant, deadline)) })
    }

    /// Sends now or fails; the caller learns the sample's identity.
    pub(super) fn write_now(
        &self,
        payload: Payload,
        options: WriteOptions,
    ) -> Result<SampleIdentity, RosError> {
        self.check_size(&payload)?;
        let mut state = self.lock();
        let identity = state.writer.write_with_options(payload, options).map_err(|error| {
            RosError::Write { topic: self.topic.clone(), reason: error.to_string() }
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

    fn send(&self, outgoing: Outgoing) -> Result<(), RosError> {
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

    fn check_size(&self, payload: &Payload) -> Result<(), RosError> {
        let bytes = payload.len();
        if bytes <= MESSAGE_BYTES_MAX {
            return Ok(());
        }
        Err(RosError::TooLarge { topic: self.topic.clone(), bytes, limit: MESSAGE_BYTES_MAX })
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
                    self.readers.entry(reader).or_insert_with(Instant::now);
                } else {
                    self.readers.remove(&reader);
                }
            }
        }
    }

    /// Sends from the front; a reply that still waits for its reader lets others pass.
    fn flush(&mut self, topic: &str) -> Result<(), RosError> {
        let mut waiting = VecDeque::new();
        let mut result = Ok(());
        while let Some(outgoing) = self.outbox.pop_front() {
            if self.must_wait(&outgoing) {
                waiting.push_back(outgoing);
                continue;
            }
            if self.window_is_full() {
                waiting.push_back(outgoing);
                break;
            }
            let Outgoing { payload, options, awaits } = outgoing;
            let bytes = payload.len();
            match self.writer.write_with_options(payload, options.clone()) {
                Ok(_) => {
                    self.stats.sent += 1;
                    self.window.samples += 1;
                    self.window.bytes += bytes;
                }
                Err(WriteError::WouldBlock { data }) => {
                    waiting.push_back(Outgoing { payload: data, options, awaits });
                    break;
                }
                Err(error) => {
                    self.stats.dropped += 1;
                    let reason = error.to_string();
                    result = Err(RosError::Write { topic: topic.to_owned(), reason });
                }
            }
        }
        waiting.append(&mut self.outbox);
        self.outbox = waiting;
        result
    }

    /// Whether more is unacknowledged than may be. Looks only now and then, since RustDDS takes a
    /// lock for it.
    fn window_is_full(&mut self) -> bool {
        let Window { samples, bytes } = self.window;
        let is_full = samples >= WINDOW_SAMPLES_MAX || bytes >= WINDOW_BYTES_MAX;
        let is_due = samples > 0 && samples.is_multiple_of(WINDOW_CHECK_SAMPLES);
        if !is_full && !is_due {
            return false;
        }
        let acknowledged = self.writer.wait_for_acknowledgments(std::time::Duration::ZERO);
        if acknowledged.unwrap_or(false) {
            self.window = Window::default();
            return false;
        }
        is_full
    }

    fn must_wait(&self, outgoing: &Outgoing) -> bool {
        outgoing.awaits.is_some_and(|(participant, deadline)| {
            let of_client = |gid: &Gid| gid.participant_prefix() == participant;
            let settled =
                |(gid, since): (&Gid, &Instant)| of_client(gid) && since.elapsed() >= REPLY_SETTLE;
            !self.readers.iter().any(settled) && Instant::now() < deadline
        })
    }
}
