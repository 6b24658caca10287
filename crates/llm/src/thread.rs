//! The inference thread: owns the engine, acts on the scheduler's plans.
//!
//! Callers submit through an [`InferenceHandle`] and follow their requests through a
//! [`TicketGroup`]. The scheduler stands behind a lock that is held only to submit, to plan and to
//! book a step's tokens, never while the engine runs; so a full queue is refused at once, with a
//! typed error, and the thread sleeps on a condition variable when there is nothing to do.
//!
//! A fault of the engine ends the requests of that step. A fatal one, or a panic, ends the thread:
//! every request is answered with the reason, later ones are refused with it, the process lives.

mod active;
mod stats;
mod ticket;

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use self::active::Active;
use self::stats::StatsRecorder;
pub use self::stats::{LATENCY_WINDOW, Stats};
use self::ticket::GroupState;
pub use self::ticket::{TicketEvent, TicketGroup};
use crate::TokenId;
use crate::engine::{BatchRow, Engine, EngineError, LogitsWanted, Shortlist};
use crate::request::{Completion, GenerateError, GenerateRequest, SubmitError};
use crate::sampling::Sampler;
use crate::scheduler::{Ended, Job, Plan, PlannedRow, RequestId, Scheduler, SchedulerConfig};
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
/// Why an answer ended whose arithmetic broke down; it would be token 0 for ever otherwise.
const NOT_FINITE: &str = "the engine's logits are not finite: its arithmetic overflowed, or the \
                          weights are damaged";
/// Longest grace of a shutdown.
pub const GRACE_MAX: Duration = Duration::from_secs(24 * 60 * 60);

impl Default for ThreadConfig {
    fn default() -> Self {
        Self { queue_limit: QUEUE_LIMIT, name: "hymt-inference".to_owned() }
    }
}

/// Starts inference threads.
#[derive(Debug)]
pub struct InferenceThread;

impl InferenceThread {
    /// Moves `engine` into a thread of its own.
    pub fn spawn(
        engine: Box<dyn Engine>,
        tokenizer: Arc<Tokenizer>,
        config: ThreadConfig,
    ) -> InferenceHandle {
        let vocab_size = engine.spec().vocab_size;
        let scheduler = SchedulerConfig {
            tries_unlikely_guesses: engine.verifies_cheaply(),
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
        let worker = Worker {
            engine,
            shared: Arc::clone(&shared),
            active: HashMap::new(),
            logits: Vec::new(),
            shortlists: Vec::new(),
            chosen: Vec::new(),
        };
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

/// The thread's own side.
struct Worker {
    engine: Box<dyn Engine>,
    shared: Arc<Shared>,
    active: HashMap<RequestId, Active>,
    /// Of the rows that want a token, without those in `chosen`.
    logits: Vec<f32>,
    shortlists: Vec<Shortlist>,
    /// For each row that wants a token, the one that a shortlist decided.
    chosen: Vec<Option<TokenId>>,
}

impl Worker {
    fn run(mut self) {
        // Whatever panics, and be it a fault of this file, everybody gets an answer.
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| self.serve())) {
            self.stop(&format!("the inference thread panicked: {}", panic_text(panic.as_ref())));
        }
    }

    fn serve(&mut self) {
        while let Some(plan) = self.next_plan() {
            self.end_planned(&plan);
            plan.released.iter().for_each(|slot| self.engine.release(*slot));
            if plan.rows.is_empty() {
                continue;
            }
            match self.step(&plan) {
                Ok(()) => self.book(&plan),
                Err(error) => {
                    let fatal = error.is_fatal();
                    let detail = with_causes(&error);
                    tracing::error!(%detail, fatal, "a step failed");
                    self.fail(&plan, &detail);
                    if fatal {
                        return self.stop(&detail);
                    }
                }
            }
        }
        self.shared.lock().stopped = Some("it was shut down".to_owned());
    }

    /// Sleeps until there is something to do; `None` when the thread is to end.
    fn next_plan(&mut self) -> Option<Plan> {
        let mut inner = self.shared.lock();
        loop {
            self.active.extend(inner.arrivals.drain(..));
            let now = Instant::now();
            if inner.ending.is_some_and(|deadline| deadline <= now) {
                inner.scheduler.cancel_all();
            }
            let plan = inner.scheduler.plan(now);
            if plan != Plan::default() {
                return Some(plan);
            }
            if inner.ending.is_some() {
                return None;
            }
            let pause = inner.scheduler.next_deadline().map(|at| at.saturating_duration_since(now));
            inner = match pause {
                None => self.shared.work.wait(inner).unwrap_or_else(PoisonError::into_inner),
                Some(pause) => {
                    let woken = self.shared.work.wait_timeout(inner, pause);
                    woken.unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
    }

    fn end_planned(&mut self, plan: &Plan) {
        for (id, ended) in &plan.ended {
            self.finish(*id, *ended);
        }
    }

    fn step(&mut self, plan: &Plan) -> Result<(), EngineError> {
        let now = Instant::now();
        for row in &plan.rows {
            if let Some(active) = self.active.get_mut(&row.id) {
                active.started.get_or_insert(now);
            }
        }
        let batch: Vec<_> = plan
            .rows
            .iter()
            .map(|row| BatchRow {
                slot: row.slot,
                position: row.position,
                tokens: &row.tokens,
                logits: match row.wants_token {
                    true if row.n_guesses > 0 => LogitsWanted::Tail(1 + row.n_guesses),
                    true => LogitsWanted::Last,
                    false => LogitsWanted::None,
                },
            })
            .collect();
        let takes_shortlist = |row: &PlannedRow| {
            row.n_guesses == 0 && self.active.get(&row.id).is_some_and(Active::takes_shortlist)
        };
        let short = plan.rows.iter().filter(|row| row.wants_token).all(takes_shortlist);
        let (engine, logits, lists) = (&mut self.engine, &mut self.logits, &mut self.shortlists);
        // After a panic the engine is not used again, so a half-changed one does no harm.
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            if short && engine.step_shortlist(&batch, lists)? {
                return Ok(true);
            }
            engine.step(&batch, logits).map(|()| false)
        }));
        let vocab_size = self.engine.spec().vocab_size;
        let rows = plan.rows.iter().filter(|row| row.wants_token);
        let n_rows = rows.clone().count();
        let wanted: usize = rows.map(|row| 1 + row.n_guesses).sum();
        let device = |detail: String| EngineError::Device {
            engine: self.engine.spec().name.clone(),
            source: detail.into(),
        };
        match outcome {
            Err(panic) => Err(device(format!("panicked: {}", panic_text(panic.as_ref())))),
            Ok(Ok(true)) if self.shortlists.len() != n_rows => {
                let got = self.shortlists.len();
                Err(device(format!("gave {got} shortlists instead of {n_rows}")))
            }
            Ok(Ok(false)) if self.logits.len() != wanted * vocab_size => {
                let got = self.logits.len();
                Err(device(format!("gave {got} logits instead of {wanted} x {vocab_size}")))
            }
            Ok(Ok(true)) => self.choose_from_shortlists(plan),
            Ok(Ok(false)) => {
                self.chosen = vec![None; n_rows];
                Ok(())
            }
            Ok(Err(error)) => Err(error),
        }
    }

    /// Lets each sampler try its shortlist; whole rows are fetched for those that need them.
    fn choose_from_shortlists(&mut self, plan: &Plan) -> Result<(), EngineError> {
        self.chosen.clear();
        self.logits.clear();
        let (mut lists, mut row_logits) = (self.shortlists.iter(), Vec::new());
        for (index, row) in plan.rows.iter().enumerate().filter(|(_, row)| row.wants_token) {
            let list = lists.next().expect("as many as rows that want a token; just checked");
            let active = self.active.get_mut(&row.id);
            let token = active.map_or(Some(0), |active| active.choose_shortlist(list));
            if token.is_none() {
                self.engine.logits_of(index, &mut row_logits)?;
                self.logits.extend_from_slice(&row_logits);
            }
            self.chosen.push(token);
        }
        Ok(())
    }

    /// Chooses the tokens of each row that wants some and books them.
    fn book(&mut self, plan: &Plan) {
        let vocab_size = self.engine.spec().vocab_size;
        let rows: Vec<_> = plan.rows.iter().filter(|row| row.wants_token).collect();
        let mut runs = Vec::with_capacity(rows.len());
        let mut broken = Plan::default();
        let mut left = self.logits.as_slice();
        for (row, chosen) in rows.iter().zip(&self.chosen) {
            if let Some(token) = chosen {
                runs.push(vec![*token]);
                continue;
            }
            let (logits, rest) = left.split_at((1 + row.n_guesses) * vocab_size);
            left = rest;
            let active = self.active.get_mut(&row.id);
            let run = active.map(|active| active.choose_run(row.guesses(), logits, vocab_size));
            if run == Some(None) {
                broken.rows.push((*row).clone());
            }
            // A request that is gone gets some token, and it comes to nothing.
            runs.push(run.flatten().unwrap_or_else(|| vec![0]));
        }
        if !broken.rows.is_empty() {
            self.fail(&broken, NOT_FINITE);
        }
        let outcomes = self.shared.lock().scheduler.complete(plan, &runs);
        self.count_step(plan, &runs);
        for ((row, run), outcome) in rows.iter().zip(runs).zip(outcomes) {
            if let Some(active) = self.active.get_mut(&row.id) {
                run.iter().take(outcome.n_taken).for_each(|token| active.append(*token));
            }
            if let Some(ended) = outcome.ended {
                self.finish(row.id, ended);
            }
        }
    }

    /// Before anybody is answered, so that a caller who has its answer also finds its steps counted.
    fn count_step(&self, plan: &Plan, runs: &[Vec<TokenId>]) {
        let drafted = plan.rows.iter().map(|row| row.n_guesses).sum();
        // The last token of a run was not guessed.
        let accepted = runs.iter().map(|run| run.len().saturating_sub(1)).sum();
        self.shared.lock_stats().record_step(drafted, accepted);
    }

    fn finish(&mut self, id: RequestId, ended: Ended) {
        let Some(active) = self.active.get_mut(&id) else { return };
        let outcome = match ended {
            Ended::Finished(finish) => Ok(active.complete(finish)),
            Ended::DeadlineExceeded => Err(GenerateError::DeadlineExceeded),
            Ended::Cancelled => Err(GenerateError::Cancelled),
            Ended::Failed => Err(GenerateError::Engine { detail: "its step failed".to_owned() }),
        };
        self.answer(id, outcome);
    }

    /// Counts first, so that a caller who has its answer also finds it counted.
    fn answer(&mut self, id: RequestId, outcome: Result<Completion, GenerateError>) {
        if let Some(active) = self.active.remove(&id) {
            self.shared.lock_stats().record(&outcome);
            active.answer(outcome);
        }
    }

    /// Answers the requests of a failed step with what went wrong.
    fn fail(&mut self, plan: &Plan, detail: &str) {
        self.shared.lock().scheduler.fail(plan);
        for row in &plan.rows {
            self.answer_failure(row.id, detail);
        }
    }

    /// Answers everything that is left, and refuses what comes.
    fn stop(&mut self, detail: &str) {
        let mut inner = self.shared.lock();
        inner.stopped = Some(detail.to_owned());
        // A new one: after a panic the old one may be half changed.
        inner.scheduler = Scheduler::new(*inner.scheduler.config());
        self.active.extend(inner.arrivals.drain(..));
        drop(inner);
        let left: Vec<_> = self.active.keys().copied().collect();
        left.into_iter().for_each(|id| self.answer_failure(id, detail));
    }

    fn answer_failure(&mut self, id: RequestId, detail: &str) {
        self.answer(id, Err(GenerateError::Engine { detail: detail.to_owned() }));
    }
}

/// An error and its causes on one line.
fn with_causes(error: &EngineError) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no text".to_owned())
}
