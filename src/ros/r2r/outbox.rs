//! The outbox: writes that the middleware may hold up, on a thread of their own.
//!
//! How long a write takes is for the middleware to decide: `rmw_cyclonedds` waits up to 100 ms in
//! `rcl_send_response` for a client that is not yet fully discovered, and others may wait for room.
//! That must not stop the spin thread or a worker, so every write waits here for its turn, bounded
//! and counted, and no caller waits.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::{OUTBOX_FLUSH_MAX, OUTBOX_SAMPLES_MAX, rcl::RclError};
use crate::ros::{PublisherStats, RosError};

/// A write, ready to be made. It holds what it writes to, so that a message outlives its publisher.
pub(super) type Write = Box<dyn FnOnce() -> Result<(), RclError> + Send>;

/// The writes of one publisher or server: their order, their bound, their counters.
pub(super) struct Line {
    name: String,
    sent: AtomicU64,
    dropped: AtomicU64,
}

/// The way to the writing thread.
pub(super) struct Outbox {
    state: Mutex<State>,
    changed: Condvar,
    thread: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<(Arc<Line>, Write)>,
    /// Whose write is being made.
    writing: Option<Arc<Line>>,
    stopping: bool,
}

impl Line {
    pub(super) fn new(name: &str) -> Arc<Self> {
        let (sent, dropped) = (AtomicU64::new(0), AtomicU64::new(0));
        Arc::new(Self { name: name.to_owned(), sent, dropped })
    }

    pub(super) fn stats(&self) -> PublisherStats {
        PublisherStats {
            sent: self.sent.load(Ordering::Relaxed),
            dropped: self.dropped.load(Ordering::Relaxed),
        }
    }

    /// Counts a lost write; reports the 1st, 2nd, 4th, 8th...
    fn drop_one(&self, reason: &dyn std::fmt::Display) {
        let dropped = self.dropped.fetch_add(1, Ordering::Relaxed) + 1;
        if dropped.is_power_of_two() {
            tracing::warn!(name = self.name, dropped, %reason, "a message could not be sent");
        }
    }
}

impl Outbox {
    /// Starts the thread.
    pub(super) fn start() -> Result<Arc<Self>, RosError> {
        let outbox = Arc::new(Self {
            state: Mutex::default(),
            changed: Condvar::new(),
            thread: Mutex::default(),
        });
        let of_thread = Arc::clone(&outbox);
        let thread = std::thread::Builder::new()
            .name("ros-write".to_owned())
            .spawn(move || of_thread.run())
            .map_err(|source| RosError::Io { action: "start the writing thread", source })?;
        *outbox.thread.lock().unwrap_or_else(PoisonError::into_inner) = Some(thread);
        Ok(outbox)
    }

    /// Puts a write at the end; what a full line has waited longest for is dropped and counted.
    /// False after the end.
    pub(super) fn push(&self, line: &Arc<Line>, write: Write) -> bool {
        let mut state = self.lock();
        if state.stopping {
            return false;
        }
        let of_line = |(other, _): &(Arc<Line>, Write)| Arc::ptr_eq(other, line);
        let oldest = (state.waiting.iter().filter(|entry| of_line(entry)).count()
            >= OUTBOX_SAMPLES_MAX)
            .then(|| state.waiting.iter().position(of_line))
            .flatten()
            .and_then(|oldest| state.waiting.remove(oldest));
        state.waiting.push_back((Arc::clone(line), write));
        drop(state);
        self.changed.notify_all();
        if oldest.is_some() {
            line.drop_one(&"the middleware does not take more; the oldest is dropped");
        }
        true
    }

    /// Waits until nothing of `line` waits any more; false when `timeout` passed first.
    pub(super) fn flush(&self, line: &Arc<Line>, timeout: Duration) -> bool {
        self.wait_until(timeout, |state| {
            let is_line = |other: &Arc<Line>| Arc::ptr_eq(other, line);
            !state.writing.iter().any(is_line)
                && !state.waiting.iter().any(|(other, _)| is_line(other))
        })
    }

    /// Writes what still waits, for up to [`OUTBOX_FLUSH_MAX`], and ends the thread.
    pub(super) fn stop(&self) {
        self.lock().stopping = true;
        self.changed.notify_all();
        let flushed = self.wait_until(OUTBOX_FLUSH_MAX, |state| {
            state.writing.is_none() && state.waiting.is_empty()
        });
        let left = std::mem::take(&mut self.lock().waiting);
        for (line, _) in &left {
            line.drop_one(&"the context ends");
        }
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        // A thread that the middleware holds up ends when it is let go; to wait for that would
        // hold up the end of the program.
        if flushed && thread.is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the writing thread has panicked");
        }
    }

    fn run(&self) {
        let mut state = self.lock();
        loop {
            let Some((line, write)) = state.waiting.pop_front() else {
                if state.stopping {
                    return;
                }
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            state.writing = Some(Arc::clone(&line));
            drop(state);
            match write() {
                Ok(()) => {
                    line.sent.fetch_add(1, Ordering::Relaxed);
                }
                Err(error) => line.drop_one(&error),
            }
            state = self.lock();
            state.writing = None;
            self.changed.notify_all();
        }
    }

    fn wait_until(&self, timeout: Duration, done: impl Fn(&State) -> bool) -> bool {
        let deadline = Instant::now() + timeout;
        let mut state = self.lock();
        while !done(&state) {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            state =
                self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::sync_channel;

    #[test]
    fn a_writer_that_is_held_up_holds_nobody_up_and_drops_the_oldest() {
        let outbox = Outbox::start().unwrap();
        let (stuck, other) = (Line::new("/stuck"), Line::new("/other"));
        let (let_go, held) = sync_channel::<()>(0);
        let (started, start) = sync_channel::<()>(0);
        let (written, order) = sync_channel(2 * OUTBOX_SAMPLES_MAX);
        assert!(outbox.push(
            &stuck,
            Box::new(move || {
                started.send(()).unwrap();
                held.recv().unwrap();
                Ok(())
            })
        ));
        start.recv().unwrap();
        for number in 0..OUTBOX_SAMPLES_MAX + 3 {
            let written = written.clone();
            outbox.push(&stuck, Box::new(move || written.send(number).map_err(|_| unreachable!())));
        }
        assert!(outbox.push(&other, Box::new(|| Ok(()))));
        assert!(!outbox.flush(&other, Duration::from_millis(1)));
        assert_eq!(stuck.stats(), PublisherStats { sent: 0, dropped: 3 });

        let_go.send(()).unwrap();
        assert!(outbox.flush(&stuck, Duration::from_secs(20)));
        assert!(outbox.flush(&other, Duration::from_secs(20)));
        let numbers: Vec<_> = order.try_iter().collect();
        assert_eq!(numbers, (3..OUTBOX_SAMPLES_MAX + 3).collect::<Vec<_>>());
        assert_eq!(other.stats(), PublisherStats { sent: 1, dropped: 0 });
        outbox.stop();
        assert!(!outbox.push(&other, Box::new(|| Ok(()))));
    }

    #[test]
    fn what_waits_at_the_end_is_still_written() {
        let outbox = Outbox::start().unwrap();
        let line = Line::new("/last");
        for _ in 0..10 {
            outbox.push(&line, Box::new(|| Ok(())));
        }
        outbox.stop();
        assert_eq!(line.stats(), PublisherStats { sent: 10, dropped: 0 });
    }
}
