//! Untyped readers: what subscriptions and both ends of services read through.

use std::{
    collections::BTreeSet,
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
    raw::{Payload, RawAdapter, Sample},
    spin::{Source, Spinner},
};
use crate::ros::{Gid, RosError, gaps::Gaps};

/// The handle of a reader; its samples go to a handler on the spin thread until it is dropped.
pub(super) struct RawReader {
    gid: Gid,
    token: Token,
    reader: Arc<SimpleDataReader<Payload, RawAdapter>>,
    writers: Mutex<BTreeSet<Gid>>,
    open: Arc<AtomicBool>,
    missed: Arc<AtomicU64>,
    spinner: Arc<Spinner>,
}

/// Takes the samples, on the spin thread.
pub(super) type Handler = Box<dyn FnMut(Sample) + Send>;

impl RawReader {
    pub(super) fn new(
        topic: String,
        mut reader: SimpleDataReader<Payload, RawAdapter>,
        spinner: Arc<Spinner>,
        handler: Handler,
    ) -> Result<Self, RosError> {
        let token = spinner.token();
        event::Source::register(
            &mut reader,
            spinner.registry(),
            token,
            rustdds::mio1::Interest::READABLE,
        )
        .map_err(|source| RosError::Io { action: "register a reader", source })?;
        let reader = Arc::new(reader);
        let open = Arc::new(AtomicBool::new(true));
        let gaps = Gaps::default();
        let missed = gaps.counter();
        let source = ReaderSource {
            topic,
            reader: Arc::clone(&reader),
            open: Arc::clone(&open),
            gaps,
            handler,
        };
        spinner.add(token, Box::new(source))?;
        let gid = Gid::from(reader.guid());
        Ok(Self { gid, token, reader, writers: Mutex::default(), open, missed, spinner })
    }

    pub(super) fn gid(&self) -> Gid {
        self.gid
    }

    /// Samples that never came here, by the gaps in the numbers of their writers.
    pub(super) fn missed(&self) -> u64 {
        self.missed.load(Ordering::Relaxed)
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
    gaps: Gaps,
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
                Err(error) => tracing::warn!(topic = self.topic, %error, "a sample is lost"),
            }
        }
        true
    }
}

impl ReaderSource {
    fn handle(&mut self, sample: Sample) {
        self.gaps.note(&self.topic, sample.writer, sample.sequence_number);
        // The handler has caught the panics of callbacks; this one keeps the thread alive whatever.
        if catch_unwind(AssertUnwindSafe(|| (self.handler)(sample))).is_err() {
            tracing::error!(topic = self.topic, "a handler panicked; going on");
        }
    }
}
