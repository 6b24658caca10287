//! The inference thread: owns the engine, acts on the scheduler's plans.
//!
//! Callers submit through an [`InferenceHandle`] and follow their requests through a
//! [`TicketGroup`]. The scheduler stands behind a lock that is held only to submit, to plan and to
//! book a step's tokens, never while the engine runs; so a full queue is refused at once, with a
//! typed error, and the thread sleeps on a condition variable when there is nothing to do.
//!
//! A fault of the engine ends the requests of that step. A fatal one, or a panic, ends the engine.
//! Where the thread was told how to make another, it does so when there is work: what the engine
//! knew is fed again, so answers in progress go on, and each request of the failed step gets one
//! more try. Otherwise, and after [`FAULTS_IN_A_ROW_MAX`] faults without a good step between them,
//! the thread ends: every request is answered with the reason, later ones are refused with it, the
//! process lives.

mod active;
pub mod logits;
mod stats;
mod ticket;
mod worker;

use std::error::Error;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use self::active::Active;
use self::stats::StatsRecorder;
pub use self::stats::{LATENCY_WINDOW, Stats};
use self::ticket::GroupState;
pub use self::ticket::{TicketEvent, TicketGroup};
use self::worker::Worker;
use crate::TokenId;
use crate::engine::Engine;
use crate::request::{GenerateRequest, SubmitError};
use crate::sampling::Sampler;
use crate::scheduler::{Job, RequestId, Scheduler, SchedulerConfig};
use crate::tokenizer::Tokenizer;

/// How to set an inference thread up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ThreadConfig {
    /// Requests that may wait for a slot.
    pub queue_limit: usize,
    /// Name of the thread.
    pub name: String,
}

/// Default of [`ThreadConfig::queue_limit`].
pub const QUEUE_LIMIT: usize = 256;
/// Requests taken during one step, those cancelled again included; where it is larger, the queue's
/// own limit holds instead. A caller that submits and cancels in a loop meets this bound.
pub const ARRIVALS_MAX: usize = 4096;
/// Fatal faults, one after the other, that a thread survives.
pub const FAULTS_IN_A_ROW_MAX: usize = 3;
/// Longest grace of a shutdown.
pub const GRACE_MAX: Duration = Duration::from_secs(24 * 60 * 60);

impl Default for ThreadConfig {
    fn default() -> Self {
        Self { queue_limit: QUEUE_LIMIT, name: "hymt-inference".to_owned() }
    }
}

/// Makes an engine like the first one, after that one has failed and was dropped. It is called by
/// the inference thread, which waits for it.
pub type Rebuild = Box<dyn FnMut() -> Result<Box<dyn Engine>, Box<dyn Error + Send + Sync>> + Send>;

/// Starts inference threads.
#[derive(Debug)]
pub struct InferenceThread;

impl InferenceThread {
    /// Moves `engine` into a thread of its own, which ends with it.
    pub fn spawn(
        engine: Box<dyn Engine>,
        tokenizer: Arc<Tokenizer>,
        config: ThreadConfig,
    ) -> InferenceHandle {
        Self::start(engine, None, tokenizer, config)
    }

    /// Moves `engine` into a thread of its own, which asks `rebuild` for another one, with the same
    /// [`EngineSpec`](crate::engine::EngineSpec), when it has failed.
    pub fn spawn_rebuilding(
        engine: Box<dyn Engine>,
        rebuild: Rebuild,
        tokenizer: Arc<Tokenizer>,
        config: ThreadConfig,
    ) -> InferenceHandle {
        Self::start(engine, Some(rebuild), tokenizer, config)
    }

    fn start(
        engine: Box<dyn Engine>,
        rebuild: Option<Rebuild>,
        tokenizer: Arc<Tokenizer>,
        config: ThreadConfig,
    ) -> InferenceHandle {
        let vocab_size = engine.spec().vocab_size;
        let scheduler = SchedulerConfig {
            cheap_step_tokens: engine.cheap_step_tokens(),
            ..SchedulerConfig::for_engine(engine.spec(), config.queue_limit)
        };
        let shared = Arc::new(Shared {
            inner: Mutex::new(Inner {
                scheduler: Scheduler::new(scheduler),
                arrivals: Vec::new(),
                next_id: 0,
                ending: None,
                stopped: None,
            }),
            work: Condvar::new(),
            stats: Mutex::new(StatsRecorder::default()),
        });
        let worker = Worker::new(engine, rebuild, Arc::clone(&shared));
        let thread = std::thread::Builder::new()
            .name(config.name)
            .spawn(move || worker.run())
            .expect("the system can start one more thread");
        let owner = Owner { shared, thread: Mutex::new(Some(thread)) };
        InferenceHandle { owner: Arc::new(owner), tokenizer, vocab_size }
    }
}

/// Submits requests; clones share one thread, and dropping the last one ends it.
#[derive(Clone)]
pub struct InferenceHandle {
    owner: Arc<Owner>,
    tokenizer: Arc<Tokenizer>,
    vocab_size: usize,
}

impl std::fmt::Debug for InferenceHandle {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("InferenceHandle").field("stats", &self.stats()).finish()
    }
}

impl InferenceHandle {
    /// Submits a group of requests, all or none; they run as one batch when slots are free.
    ///
    /// # Errors
    /// [`SubmitError`] at once when the queue is full, a request is not valid, or the thread has
    /// stopped.
    pub fn submit(&self, group: Vec<GenerateRequest>) -> Result<TicketGroup, SubmitError> {
        let shared = &self.owner.shared;
        let state = Arc::new(GroupState::new(group.len()));
        let submitted = Instant::now();
        let mut arrivals = Vec::with_capacity(group.len());
        for (index, request) in group.iter().enumerate() {
            self.check_vocabulary(&request.prompt)?;
            self.check_vocabulary(&request.draft)?;
            let sampler = Sampler::new(request.sampling, &request.prompt)?;
            let tokens_in = request.prompt.len();
            let tokenizer = Arc::clone(&self.tokenizer);
            let place = (Arc::clone(&state), index);
            arrivals.push(Active::new(sampler, tokenizer, place, tokens_in, submitted));
        }
        let mut inner = shared.lock();
        if let Some(reason) = inner.refusal() {
            return Err(SubmitError::Stopped { reason });
        }
        inner.check_arrivals(group.len())?;
        let first = inner.next_id;
        let ids: Vec<_> = (first..).take(group.len()).map(RequestId).collect();
        let jobs = group.into_iter().zip(&ids).map(|(request, id)| job(request, *id)).collect();
        inner.scheduler.submit(jobs)?;
        inner.next_id += ids.len() as u64;
        inner.arrivals.extend(ids.iter().copied().zip(arrivals));
        drop(inner);
        shared.work.notify_one();
        Ok(TicketGroup::new(ids, state, Arc::clone(shared)))
    }

    /// Here and not in the engine, where one bad prompt would fail its whole batch.
    fn check_vocabulary(&self, tokens: &[TokenId]) -> Result<(), SubmitError> {
        let vocab_size = self.vocab_size;
        match tokens.iter().find(|token| **token as usize >= vocab_size) {
            Some(&token) => Err(SubmitError::TokenOutOfRange { token, vocab_size }),
            None => Ok(()),
        }
    }

    /// What the thread has done so far, and what it is doing.
    pub fn stats(&self) -> Stats {
        let inner = self.owner.shared.lock();
        let (waiting, running) = (inner.scheduler.n_waiting(), inner.scheduler.n_running());
        let stopped = inner.stopped.clone();
        drop(inner);
        self.owner.shared.lock_stats().snapshot(waiting, running, stopped)
    }

    /// Ends the thread and waits for it: new requests are refused at once, those taken may run
    /// until `grace` ([`GRACE_MAX`] at most) has passed, and are then cancelled. Of several calls
    /// the shortest grace holds.
    pub fn shutdown(&self, grace: Duration) {
        self.owner.end(grace);
    }
}

/// Ends the thread when the last handle goes.
struct Owner {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Owner {
    fn end(&self, grace: Duration) {
        let at = Instant::now() + grace.min(GRACE_MAX);
        let mut inner = self.shared.lock();
        inner.ending = Some(inner.ending.map_or(at, |earlier| earlier.min(at)));
        drop(inner);
        self.shared.work.notify_one();
        // The lock is held while joining, so that a second caller waits as well.
        let mut thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(thread) = thread.take() {
            // The worker catches panics; one while the engine is dropped was printed by then.
            let _ = thread.join();
        }
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.end(Duration::ZERO);
    }
}

/// What handles, tickets and the thread share.
pub(crate) struct Shared {
    inner: Mutex<Inner>,
    work: Condvar,
    stats: Mutex<StatsRecorder>,
}

struct Inner {
    scheduler: Scheduler,
    /// Taken requests that the thread has not seen yet.
    arrivals: Vec<(RequestId, Active)>,
    next_id: u64,
    /// Set by a shutdown: when to cancel what is left.
    ending: Option<Instant>,
    /// Why the thread has ended.
    stopped: Option<String>,
}

impl Inner {
    fn refusal(&self) -> Option<String> {
        self.stopped.clone().or_else(|| self.ending.map(|_| "it is shutting down".to_owned()))
    }

    fn check_arrivals(&self, more: usize) -> Result<(), SubmitError> {
        let (waiting, queue_limit) = (self.arrivals.len(), self.scheduler.config().queue_limit);
        let limit = ARRIVALS_MAX.max(queue_limit);
        if waiting + more > limit {
            return Err(SubmitError::QueueFull { waiting, limit });
        }
        Ok(())
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Nothing between lock and unlock leaves the state half changed.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock_stats(&self) -> MutexGuard<'_, StatsRecorder> {
        self.stats.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends requests whose callers have lost interest.
    fn cancel(&self, ids: &[RequestId]) {
        let mut inner = self.lock();
        ids.iter().for_each(|id| inner.scheduler.cancel(*id));
        drop(inner);
        self.work.notify_one();
    }
}

fn job(request: GenerateRequest, id: RequestId) -> Job {
    let is_greedy = request.sampling.temperature == 0.0;
    Job {
        draft: if is_greedy { request.draft } else { Vec::new() },
        id,
        prompt: request.prompt,
        new_tokens_max: request.new_tokens_max,
        stop: request.stop,
        priority: request.priority,
        deadline: request.deadline,
    }
}
