//! What the parts of the node share, and the states of it that come and go.
//!
//! ```text
//! Shared ── always: names, parameters, outputs, action, counters
//!   ├─ Session ── configured: the model, its translator
//!   └─ Active ─── active: the queue and the workers
//! ```

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};
use std::time::{Duration, Instant};

use crossbeam_channel::{Sender, TrySendError, bounded};
use hymt_core::generate::{CancelFlag, Generator};
use hymt_core::glossary::GlossarySet;
use hymt_core::translator::Translator;

use super::action::ActionServer;
use super::clock::StampClock;
use super::glossaries::Glossaries;
use super::health::Ears;
use super::log_file;
use super::outputs::{Ordered, Outputs};
use super::speech::Speech;
use super::talk::Talk;
use super::work::{Heard, Job, Workers};
use crate::app::{LlmGenerator, LoadedModel};
use crate::config::{LiveConfig, NodeConfig};
use crate::diagnostics::LatencyWindow;
use crate::lifecycle::{Machine, State};
use crate::ros::QosOverrides;
use crate::ros::names::NameResolver;
use crate::ros::param_store::{ParamSnapshot, ParameterStore};
use crate::ros::wire::{Time, TranslateResponse};

/// Jobs worked on at the same time. Each is one utterance or one call; more of them fill the
/// engine's batches, fewer keep the order cheap.
pub const WORKERS: usize = 4;

/// What the node counts, since it started.
#[derive(Debug, Default)]
pub struct Counters {
    /// Texts taken.
    pub heard: AtomicU64,
    /// Texts refused because the queue was full.
    pub overflowed: AtomicU64,
    /// Texts refused because they were not valid.
    pub refused: AtomicU64,
    /// Texts dropped because they were our own output.
    pub own_output: AtomicU64,
    /// Texts dropped because the node was not active.
    pub not_active: AtomicU64,
    /// Service calls and goals taken.
    pub called: AtomicU64,
    /// Translations published.
    pub translated: AtomicU64,
    /// Translations that the engine could not give.
    pub failed: AtomicU64,
    /// Hypotheses of live speech, and results of them, that were passed over.
    pub partials_dropped: AtomicU64,
    /// Glossary terms that were sent and used.
    pub terms_applied: AtomicU64,
    /// Glossary terms that were sent and not used.
    pub terms_missed: AtomicU64,
}

/// Everything that outlives the states of the node.
pub(super) struct Shared {
    pub(super) names: NameResolver,
    pub(super) store: ParameterStore,
    pub(super) counters: Arc<Counters>,
    pub(super) outputs: Arc<Outputs>,
    pub(super) action: ActionServer,
    pub(super) qos: QosOverrides,
    pub(super) ears: Ears,
    pub(super) clock: StampClock,
    machine: Mutex<Machine>,
    latency: Mutex<LatencyWindow>,
    heard_at: Mutex<Option<Instant>>,
    glossaries: Mutex<Glossaries>,
    /// Held while parameters are put into force. Taken before they are read, so that of two changes at
    /// once the older one never comes last. Not the lock of the glossaries: the store holds its own
    /// while [`Shared::check`] waits for that one.
    applying: Mutex<()>,
    session: RwLock<Option<Arc<Session>>>,
    active: RwLock<Option<Active>>,
    /// How long a heard text may take; 0 for no bound.
    pub(super) deadline_ms: AtomicU64,
    last_error: Mutex<Option<(String, Time)>>,
    was_full: AtomicBool,
    utterances: AtomicU64,
}

/// A loaded model and what asks it.
pub(super) struct Session {
    pub(super) model: LoadedModel,
    pub(super) translator: Arc<Translator>,
    pub(super) queue_limit: usize,
}

/// The queue and those who work on it.
struct Active {
    jobs: Sender<Job>,
    workers: Workers,
    cancel: CancelFlag,
    speech: Speech,
    talk: Talk,
    /// Place of the next text among those that were queued.
    order_next: Mutex<u64>,
}

/// Why a job was not taken; the job itself is given back where it is needed.
pub(super) enum NotTaken {
    NotActive(State, Job),
    Full(usize, Job),
}

impl NotTaken {
    /// Code and message, as `Translate.srv` has them.
    pub(super) fn words(&self) -> (u8, String) {
        match self {
            Self::NotActive(state, _) => (TranslateResponse::NOT_ACTIVE, not_active(*state)),
            Self::Full(limit, _) => (
                TranslateResponse::OVERLOADED,
                format!("the queue is full (limits.queue is {limit}); try again later"),
            ),
        }
    }

    pub(super) fn into_job(self) -> Job {
        match self {
            Self::NotActive(_, job) | Self::Full(_, job) => job,
        }
    }
}

/// What a caller reads while the node is not active.
pub(super) fn not_active(state: State) -> String {
    format!(
        "the node is {}; `ros2 lifecycle set` it to active, or start it with autostart:=true",
        state.label()
    )
}

#[allow(clippy::result_large_err, reason = "a job is moved back once, when it is refused")]
impl Shared {
    pub(super) fn new(
        names: NameResolver,
        store: ParameterStore,
        counters: Arc<Counters>,
        outputs: Arc<Outputs>,
        action: ActionServer,
        qos: QosOverrides,
        clock: StampClock,
    ) -> Self {
        Self {
            names,
            store,
            counters,
            outputs,
            action,
            qos,
            ears: Ears::default(),
            clock,
            machine: Mutex::default(),
            latency: Mutex::default(),
            heard_at: Mutex::default(),
            glossaries: Mutex::default(),
            applying: Mutex::default(),
            session: RwLock::default(),
            active: RwLock::default(),
            deadline_ms: AtomicU64::new(0),
            last_error: Mutex::default(),
            was_full: AtomicBool::new(false),
            utterances: AtomicU64::new(0),
        }
    }

    pub(super) fn machine(&self) -> MutexGuard<'_, Machine> {
        self.machine.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn state(&self) -> State {
        self.machine().state()
    }

    /// Times from hearing to publishing.
    pub(super) fn latency(&self) -> MutexGuard<'_, LatencyWindow> {
        self.latency.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// When something was heard last.
    pub(super) fn heard_at(&self) -> Option<Instant> {
        *self.heard_at.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Something is heard.
    pub(super) fn count_heard(&self) {
        self.counters.heard.fetch_add(1, Ordering::Relaxed);
        let now = Some(Instant::now());
        *self.heard_at.lock().unwrap_or_else(PoisonError::into_inner) = now;
    }

    /// The time for stamps.
    pub(super) fn now(&self) -> Time {
        self.clock.now()
    }

    /// The model, while the node is configured.
    pub(super) fn session(&self) -> Option<Arc<Session>> {
        self.session.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn set_session(&self, session: Option<Arc<Session>>) -> Option<Arc<Session>> {
        let mut held = self.session.write().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut *held, session)
    }

    /// The last thing that went wrong, and when.
    pub(super) fn last_error(&self) -> Option<(String, Time)> {
        self.last_error.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn set_last_error(&self, error: String) {
        let stamp = self.now();
        *self.last_error.lock().unwrap_or_else(PoisonError::into_inner) = Some((error, stamp));
    }

    /// A number for a new utterance, from 1.
    pub(super) fn next_utterance(&self) -> u64 {
        self.utterances.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Jobs that wait now.
    pub(super) fn queue_depth(&self) -> usize {
        self.active().as_ref().map_or(0, |active| active.jobs.len())
    }

    /// Puts a call or a goal into the queue.
    pub(super) fn enqueue(&self, job: Job) -> Result<(), NotTaken> {
        self.with_jobs(job, |active, job| active.jobs.try_send(job))
    }

    /// Puts a text into the queue and gives it its place.
    pub(super) fn enqueue_heard(&self, heard: Heard) -> Result<(), NotTaken> {
        let sent = self.with_jobs(Job::Heard(heard), |active, mut job| {
            let mut order = active.order_next.lock().unwrap_or_else(PoisonError::into_inner);
            let mut said = None;
            if let Job::Heard(heard) = &mut job {
                heard.order = *order;
                heard.context = active.talk.before(heard.utterance, heard.received);
                said = Some((heard.utterance, heard.text.clone(), heard.received));
            }
            active.jobs.try_send(job)?;
            *order += 1;
            // What was refused is not part of the talk.
            if let Some((utterance, text, received)) = said {
                active.talk.add(utterance, &text, received);
            }
            Ok(())
        });
        match &sent {
            Ok(()) => self.was_full.store(false, Ordering::Relaxed),
            Err(NotTaken::Full(limit, _)) => {
                if !self.was_full.swap(true, Ordering::Relaxed) {
                    tracing::warn!(limit, "the queue is full; texts are refused until it drains");
                }
            }
            Err(NotTaken::NotActive(..)) => {}
        }
        sent
    }

    fn with_jobs(
        &self,
        job: Job,
        send: impl FnOnce(&Active, Job) -> Result<(), TrySendError<Job>>,
    ) -> Result<(), NotTaken> {
        let active = self.active();
        let Some(active) = active.as_ref() else {
            return Err(NotTaken::NotActive(self.state(), job));
        };
        send(active, job).map_err(|error| match error {
            TrySendError::Full(job) => {
                NotTaken::Full(active.jobs.capacity().unwrap_or_default(), job)
            }
            TrySendError::Disconnected(job) => NotTaken::NotActive(State::Deactivating, job),
        })
    }

    /// Does something with live speech, while the node is active.
    pub(super) fn with_speech<T>(&self, with: impl FnOnce(&Speech) -> T) -> Option<T> {
        self.active().as_ref().map(|active| with(&active.speech))
    }

    /// The same with what is said on the topic `text`.
    pub(super) fn with_talk<T>(&self, with: impl FnOnce(&Talk) -> T) -> Option<T> {
        self.active().as_ref().map(|active| with(&active.talk))
    }

    fn active(&self) -> RwLockReadGuard<'_, Option<Active>> {
        self.active.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens the queue and starts the workers.
    pub(super) fn open(
        self: &Arc<Self>,
        session: &Arc<Session>,
        live: &LiveConfig,
        faults: &Faults,
    ) {
        let (jobs, queue) = bounded(session.queue_limit);
        let cancel = CancelFlag::default();
        let ordered = Arc::new(Ordered::new(Arc::clone(&self.outputs)));
        let workers = Workers::start(WORKERS, &queue, self, session, &ordered, &cancel, faults);
        let speech = Speech::start(self, session, live.speech());
        let talk = Talk::new(live.speech.context);
        let active = Active { jobs, workers, cancel, speech, talk, order_next: Mutex::new(0) };
        *self.active.write().unwrap_or_else(PoisonError::into_inner) = Some(active);
    }

    /// Closes the queue, lets taken work end within `grace`, and says how much was given up.
    pub(super) fn close(&self, grace: Duration) -> usize {
        let active = self.active.write().unwrap_or_else(PoisonError::into_inner).take();
        let Some(Active { jobs, workers, cancel, speech, .. }) = active else { return 0 };
        drop(jobs);
        let deadline = Instant::now() + grace;
        speech.end(deadline);
        while !workers.are_done() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(5));
        }
        let left = workers.give_up();
        cancel.cancel();
        self.action.cancel_all();
        workers.join();
        // What was published last must not leave with us unheard.
        if !self.outputs.wait_until_heard(deadline) {
            tracing::debug!("some subscribers have not acknowledged the last translations");
        }
        left
    }

    pub(super) fn glossaries(&self) -> MutexGuard<'_, Glossaries> {
        self.glossaries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether all that hangs on the parameters could follow these values.
    ///
    /// # Errors
    /// What could not.
    pub(super) fn check(&self, values: &ParamSnapshot) -> Result<(), String> {
        let live = LiveConfig::from_parameters(values)?;
        log_file::check(live.output_log.as_ref())?;
        let glossaries = self.glossaries().with_files(&live.glossary_files, false)?;
        glossaries.assemble(&live).map(drop)
    }

    /// Makes everything that may change while the node runs follow the parameters, with the
    /// glossaries as `edit` leaves them; all of it or nothing.
    ///
    /// # Errors
    /// What could not follow; nothing has changed then.
    pub(super) fn apply<T>(
        &self,
        reread: bool,
        edit: impl FnOnce(&mut Glossaries) -> Result<T, Vec<String>>,
    ) -> Result<T, Vec<String>> {
        let one = |problem: String| vec![problem];
        let _applying = self.applying.lock().unwrap_or_else(PoisonError::into_inner);
        let live = LiveConfig::from_parameters(&self.store.snapshot()).map_err(one)?;
        log_file::check(live.output_log.as_ref()).map_err(one)?;
        // Held to the end, so that two changes at once do not lose one.
        let mut held = self.glossaries();
        let mut glossaries = held.with_files(&live.glossary_files, reread).map_err(one)?;
        let edited = edit(&mut glossaries)?;
        let set = glossaries.assemble(&live).map_err(one)?;
        *held = glossaries;
        self.outputs.log_file.follow(live.output_log.as_ref());
        self.deadline_ms.store(live.deadline_ms(), Ordering::Relaxed);
        if let Some(session) = self.session() {
            let before = session.translator.config();
            let config = live.translator(&before, set);
            session.translator.reconfigure(config);
        }
        if let Err(error) = self.outputs.set_targets(&live.defaults.targets) {
            tracing::error!(%error, "the text topics could not be changed");
        }
        if let Err(error) = self.clock.follow(live.use_sim_time) {
            tracing::error!(%error, "/clock cannot be followed");
        }
        self.with_speech(|speech| speech.reconfigure(live.speech()));
        self.with_talk(|talk| talk.reconfigure(live.speech.context));
        Ok(edited)
    }
}

impl Session {
    /// The translator is complete once [`Shared::apply`] has seen the session.
    pub(super) fn new(model: LoadedModel, config: &NodeConfig) -> Self {
        let terms = GlossarySet::from_base(config.live.terms.clone());
        let translator = Arc::new(Translator::new(
            Arc::clone(&model.generator) as Arc<dyn Generator>,
            config.live.translator(&model.translator(), terms),
        ));
        Self { model, translator, queue_limit: config.queue_limit }
    }

    pub(super) fn generator(&self) -> &LlmGenerator {
        &self.model.generator
    }
}

/// Where workers report that the engine is gone.
pub(super) type Faults = Sender<super::managed::Command>;
