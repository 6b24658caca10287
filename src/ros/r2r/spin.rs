//! The spin thread: waits for whatever comes and runs the handlers.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread::{JoinHandle, ThreadId};
use std::time::Duration;

use super::context::create_error;
use super::rcl::{self, Waitable};
use super::slot::{Close, Slot};
use crate::ros::RosError;

/// Samples taken from one source before the others get their turn.
const BUDGET: usize = 64;

/// Pause after a failed wait, so that a broken middleware does not take a whole core.
const FAILURE_PAUSE: Duration = Duration::from_millis(50);

/// Something whose samples the spin thread takes.
pub(super) trait Source: Send {
    /// What to wait for.
    fn waitable(&self) -> Waitable;

    /// Handles up to `budget` samples, as long as `is_open` says so.
    fn drain(&mut self, budget: usize, is_open: &dyn Fn() -> bool);
}

/// The way to the spin thread.
pub(super) struct Spinner {
    guard: Slot<rcl::Guard>,
    incoming: Mutex<Vec<Entry>>,
    stopping: AtomicBool,
    thread: Mutex<Option<JoinHandle<()>>>,
    thread_id: OnceLock<ThreadId>,
}

/// Keeps a source with the spin thread until dropped. A handler that runs meanwhile on another
/// thread is not waited for.
pub(super) struct Registration {
    open: Arc<AtomicBool>,
    spinner: Arc<Spinner>,
}

struct Entry {
    open: Arc<AtomicBool>,
    source: Box<dyn Source>,
}

impl Spinner {
    /// Starts the thread.
    pub(super) fn start(context: &Arc<rcl::Context>) -> Result<Arc<Self>, RosError> {
        let failed = |error: rcl::RclError| create_error("the spin thread".to_owned(), error);
        let wait_set = rcl::WaitSet::new(context).map_err(failed)?;
        let guard = Arc::new(rcl::Guard::new(context).map_err(failed)?);
        let spinner = Arc::new(Self {
            guard: Slot::of(Some(Arc::clone(&guard))),
            incoming: Mutex::default(),
            stopping: AtomicBool::new(false),
            thread: Mutex::default(),
            thread_id: OnceLock::new(),
        });
        let of_thread = Arc::clone(&spinner);
        let thread = std::thread::Builder::new()
            .name("ros-spin".to_owned())
            .spawn(move || of_thread.run(wait_set, &guard))
            .map_err(|source| RosError::Io { action: "start the spin thread", source })?;
        let _ = spinner.thread_id.set(thread.thread().id());
        *spinner.thread.lock().unwrap_or_else(PoisonError::into_inner) = Some(thread);
        Ok(spinner)
    }

    /// Hands a source to the thread.
    pub(super) fn add(self: &Arc<Self>, source: Box<dyn Source>) -> Registration {
        let open = Arc::new(AtomicBool::new(true));
        let entry = Entry { open: Arc::clone(&open), source };
        self.incoming.lock().unwrap_or_else(PoisonError::into_inner).push(entry);
        self.wake();
        Registration { open, spinner: Arc::clone(self) }
    }

    /// Whether the caller is the spin thread.
    pub(super) fn is_current(&self) -> bool {
        self.thread_id.get() == Some(&std::thread::current().id())
    }

    /// Ends the thread; when the thread itself asks, as soon as the handler returns.
    pub(super) fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
        self.wake();
        self.guard.close();
        // The thread cannot wait for itself; who drops the context later does.
        if !self.is_current() {
            let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
            if thread.is_some_and(|thread| thread.join().is_err()) {
                tracing::error!("the spin thread has panicked");
            }
        }
        self.incoming.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    fn wake(&self) {
        if let Some(guard) = self.guard.get() {
            guard.trigger();
        }
    }

    fn run(&self, mut wait_set: rcl::WaitSet, guard: &rcl::Guard) {
        let (mut entries, mut waitables, mut ready) = (Vec::new(), Vec::new(), Vec::new());
        let mut failures = 0u64;
        while !self.stopping.load(Ordering::Acquire) {
            self.update(&mut entries, &mut waitables);
            match wait_set.wait(&waitables, guard, &mut ready) {
                Ok(()) => self.drain(&mut entries, &ready),
                Err(error) => {
                    failures += 1;
                    if failures.is_power_of_two() {
                        tracing::error!(%error, failures, "ROS cannot wait for messages");
                    }
                    std::thread::sleep(FAILURE_PAUSE);
                }
            }
        }
    }

    /// Takes up what is new and lets go of what is no longer wanted.
    fn update(&self, entries: &mut Vec<Entry>, waitables: &mut Vec<Waitable>) {
        let mut incoming = self.incoming.lock().unwrap_or_else(PoisonError::into_inner);
        let is_open = |entry: &Entry| entry.open.load(Ordering::Acquire);
        if incoming.is_empty() && entries.iter().all(is_open) {
            return;
        }
        entries.append(&mut incoming);
        drop(incoming);
        entries.retain(is_open);
        waitables.clear();
        waitables.extend(entries.iter().map(|entry| entry.source.waitable()));
    }

    fn drain(&self, entries: &mut [Entry], ready: &[bool]) {
        for (entry, _) in entries.iter_mut().zip(ready).filter(|(_, ready)| **ready) {
            let Entry { open, source } = entry;
            let is_open = || open.load(Ordering::Acquire) && !self.stopping.load(Ordering::Acquire);
            source.drain(BUDGET, &is_open);
        }
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.open.store(false, Ordering::Release);
        self.spinner.wake();
    }
}

/// Reports the 1st, 2nd, 4th, 8th... failure of taking, so that a broken peer cannot flood the log.
pub(super) fn report_take(count: &mut u64, name: &str, error: &rcl::RclError) {
    *count += 1;
    if count.is_power_of_two() {
        tracing::warn!(name, count, %error, "ROS could not read what came");
    }
}
