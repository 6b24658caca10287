//! `/diagnostics` and `~/status`: gathers the figures, once a second, on a thread of its own.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};

use super::NodeError;
use super::ears::Voices;
use super::glossaries::Watch;
use super::managed::Command;
use super::shared::{Faults, Shared};
use crate::app::{About, memory};
use crate::config::{LiveConfig, NodeConfig};
use crate::diagnostics::{
    self, Changes, EngineFigures, GlossaryFigures, InputFigures, LatencyFigures, Level,
};
use crate::lifecycle::State;
use crate::ros::wire::diagnostic::{DiagnosticArray, DiagnosticStatus, KeyValue};
use crate::ros::wire::{Header, Message, Status};
use crate::ros::{Graph, Node, Publisher, QosProfile, Subscription, SubscriptionStats};

/// How often memory that is free goes back to the system.
const TRIM_INTERVAL: Duration = Duration::from_secs(20);

/// Something that hears, for diagnostics.
pub(super) trait Ear: Send + Sync {
    /// Publishers that are heard.
    fn matched(&self) -> usize;
    /// Counters since the start.
    fn stats(&self) -> SubscriptionStats;
}

impl<M: Message> Ear for Subscription<M> {
    fn matched(&self) -> usize {
        Subscription::matched(self)
    }

    fn stats(&self) -> SubscriptionStats {
        Subscription::stats(self)
    }
}

/// Everything that hears, by topic; an ear that is gone is forgotten.
#[derive(Default)]
pub(super) struct Ears(Mutex<BTreeMap<String, Weak<dyn Ear>>>);

impl Ears {
    pub(super) fn add(&self, topic: &str, ear: Weak<dyn Ear>) {
        self.lock().insert(topic.to_owned(), ear);
    }

    fn alive(&self) -> Vec<(String, Arc<dyn Ear>)> {
        let mut ears = self.lock();
        ears.retain(|_, ear| ear.strong_count() > 0);
        ears.iter().filter_map(|(topic, ear)| Some((topic.clone(), ear.upgrade()?))).collect()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Weak<dyn Ear>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The thread.
pub(super) struct Health {
    kick: Sender<()>,
    thread: Option<JoinHandle<()>>,
}

impl Health {
    /// Starts the thread; a send on `kick` makes it publish the status at once, and dropping every
    /// sender ends it.
    pub(super) fn start(
        node: &Node,
        shared: &Arc<Shared>,
        graph: Graph,
        kick: (Sender<()>, Receiver<()>),
        faults: Faults,
        voices: Option<Voices>,
        period_s: f64,
    ) -> Result<Self, NodeError> {
        let names = &shared.names;
        let doctor = Doctor {
            shared: Arc::clone(shared),
            graph,
            faults,
            voices,
            diagnostics: node.publisher("/diagnostics", &QosProfile::DEFAULT)?,
            status: node.publisher(&names.topic("~/status")?, &QosProfile::LATCHED)?,
            changes: Changes::default(),
            watch: Watch::default(),
            trimmed_at: Instant::now(),
            period: Duration::from_secs_f64(period_s),
            before: Before { at: Instant::now(), heard: BTreeMap::new(), overflowed: 0 },
        };
        let (kick, inbox) = kick;
        let thread = std::thread::Builder::new()
            .name("hymt-health".to_owned())
            .spawn(move || doctor.run(&inbox))
            .expect("the system can start one more thread");
        Ok(Self { kick, thread: Some(thread) })
    }

    /// Ends the thread; the life cycle, which also holds a sender, has ended before.
    pub(super) fn end(&mut self) {
        let (closed, _) = bounded(0);
        drop(std::mem::replace(&mut self.kick, closed));
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

struct Doctor {
    shared: Arc<Shared>,
    graph: Graph,
    faults: Faults,
    voices: Option<Voices>,
    diagnostics: Publisher<DiagnosticArray>,
    status: Publisher<Status>,
    changes: Changes,
    watch: Watch,
    before: Before,
    trimmed_at: Instant,
    /// Time between two looks.
    period: Duration,
}

/// What the last look saw, for rates.
struct Before {
    at: Instant,
    heard: BTreeMap<String, u64>,
    overflowed: u64,
}

impl Doctor {
    fn run(mut self, kicks: &Receiver<()>) {
        self.publish_status(self.engine());
        loop {
            let due = self.before.at + self.period;
            let wake = self.watch_due().map_or(due, |at| at.min(due));
            match kicks.recv_timeout(wake.saturating_duration_since(Instant::now())) {
                Ok(()) => self.publish_status(self.engine()),
                Err(RecvTimeoutError::Timeout) if Instant::now() < due => self.watch_files(),
                Err(RecvTimeoutError::Timeout) => {
                    self.watch_files();
                    if self.trimmed_at.elapsed() >= TRIM_INTERVAL {
                        memory::release_unused();
                        self.trimmed_at = Instant::now();
                    }
                    self.look_for_fault();
                    if let Some(voices) = &self.voices {
                        voices.look(&self.shared);
                    }
                    let figures = self.engine();
                    self.examine(&figures);
                    self.publish_status(figures);
                }
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        self.publish_status(self.engine());
    }

    /// When the files of glossaries are looked at next; `None` if nobody asks for it.
    fn watch_due(&self) -> Option<Instant> {
        let is_asked_for = self.shared.store.snapshot().bool("glossary.watch");
        is_asked_for.then(|| self.watch.due(Instant::now()))
    }

    /// Takes changed files of glossaries, all or none; diagnostics tell why not, once a change.
    fn watch_files(&mut self) {
        if !self.shared.store.snapshot().bool("glossary.watch") {
            return self.watch.stop();
        }
        let files = self.shared.glossaries().files_read();
        if !self.watch.look(&files, Instant::now()) {
            return;
        }
        match self.shared.apply(true, |glossaries| Ok(glossaries.count())) {
            Ok((n_glossaries, n_entries)) => {
                self.watch.problem.clear();
                tracing::info!(
                    "glossary files have changed: {n_glossaries} glossaries with {n_entries} entries"
                );
            }
            Err(problems) => self.watch.problem = problems.join("; "),
        }
    }

    /// Reports an engine that has ended, also when nobody asks it for anything.
    fn look_for_fault(&self) {
        let session = self.shared.session();
        let stopped = session.and_then(|session| session.generator().stats().stopped);
        if let Some(reason) = stopped {
            // A full queue has such a report already.
            let _ = self.faults.try_send(Command::Fault(reason));
        }
    }

    fn examine(&mut self, engine: &EngineFigures) {
        let Ok(config) = NodeConfig::from_parameters(&self.shared.store.snapshot()) else { return };
        self.period = Duration::from_secs_f64(config.diagnostics_period_s);
        let statuses = [
            diagnostics::engine(engine),
            diagnostics::latency(&self.latency(&config)),
            diagnostics::input(&self.inputs()),
            diagnostics::glossary(&self.glossary(&config.live)),
        ];
        self.before.at = Instant::now();
        for status in self.changes.since(&statuses) {
            match status.level {
                Level::Ok => tracing::info!("{}: {}", status.part, status.message),
                Level::Warn => tracing::warn!("{}: {}", status.part, status.message),
                Level::Error => tracing::error!("{}: {}", status.part, status.message),
            }
        }
        let names = &self.shared.names;
        let name = if config.diagnostics_use_fqn {
            names.fully_qualified_name()
        } else {
            names.node().to_owned()
        };
        let status = statuses.into_iter().map(|status| to_wire(status, &name, &engine.device));
        let header = Header { stamp: self.shared.now(), frame_id: String::new() };
        let message = DiagnosticArray { header, status: status.collect() };
        if let Err(error) = self.diagnostics.publish(&message) {
            tracing::debug!(%error, "diagnostics are lost");
        }
    }

    fn engine(&self) -> EngineFigures {
        let session = self.shared.session();
        let stats = session.as_ref().map(|session| session.generator().stats());
        let stats = stats.unwrap_or_default();
        let guards = session.as_ref().map(|session| session.translator.guard_stats());
        let about = session.as_ref().map(|session| session.model.about.clone());
        let About { model, is_demo, engine, device, load_ms, .. } = about.unwrap_or_default();
        EngineFigures {
            state: self.shared.state(),
            model,
            engine,
            device,
            is_demo,
            memory_bytes: memory::resident_bytes().unwrap_or_default(),
            load_ms,
            running: stats.running,
            tokens_out: stats.tokens_out,
            rebuilds: stats.rebuilds,
            guards: guards.unwrap_or_default(),
            last_error: self.shared.last_error().map(|(error, _)| error).unwrap_or_default(),
        }
    }

    fn latency(&mut self, config: &NodeConfig) -> LatencyFigures {
        let total = self.shared.counters.overflowed.load(Ordering::Relaxed);
        let overflowed = total - std::mem::replace(&mut self.before.overflowed, total);
        LatencyFigures {
            summary: self.shared.latency().summary(Instant::now()),
            warn_ms: config.latency_warn_ms,
            queue_depth: self.shared.queue_depth(),
            queue_limit: config.queue_limit,
            overflowed,
        }
    }

    fn inputs(&mut self) -> Vec<InputFigures> {
        let seconds = self.before.at.elapsed().as_secs_f64().max(1e-3);
        let own_output = self.shared.counters.own_output.load(Ordering::Relaxed);
        let heard_at = self.shared.heard_at();
        let mut heard = BTreeMap::new();
        let mut inputs = Vec::new();
        for (topic, ear) in self.shared.ears.alive() {
            let stats = ear.stats();
            let earlier = self.before.heard.get(&topic).copied().unwrap_or_default();
            heard.insert(topic.clone(), stats.received);
            inputs.push(InputFigures {
                mismatches: self.mismatches(&topic),
                matched: ear.matched(),
                rate_hz: stats.received.saturating_sub(earlier) as f64 / seconds,
                last_age: heard_at.map(|at| at.elapsed()),
                malformed: stats.malformed,
                missed: stats.missed,
                own_output,
                topic,
            });
        }
        self.before.heard = heard;
        inputs
    }

    /// Publishers of a topic that offer less than we ask for.
    fn mismatches(&self, topic: &str) -> Vec<String> {
        let asked = self.shared.qos.subscription(topic, QosProfile::DEFAULT);
        let describe = |endpoint: crate::ros::Endpoint| {
            let reason = endpoint.mismatch_with(&asked)?;
            let node = endpoint.node.map_or_else(|| "a node".to_owned(), |n| n.fully_qualified());
            Some(format!("{node}: {reason}"))
        };
        self.graph.publishers(topic).into_iter().filter_map(describe).collect()
    }

    fn glossary(&self, live: &LiveConfig) -> GlossaryFigures {
        let (glossaries, entries) = self.shared.glossaries().count();
        let counters = &self.shared.counters;
        GlossaryFigures {
            files: live.glossary_files.len(),
            glossaries,
            entries: entries + live.terms.len(),
            applied: counters.terms_applied.load(Ordering::Relaxed),
            missed: counters.terms_missed.load(Ordering::Relaxed),
            problem: self.watch.problem.clone(),
        }
    }

    fn publish_status(&self, figures: EngineFigures) {
        let counters = &self.shared.counters;
        let count = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
        let size = |size: usize| u32::try_from(size).unwrap_or(u32::MAX);
        let latency = self.shared.latency().summary(Instant::now());
        let session = self.shared.session();
        let cache = session.map(|session| session.translator.cache_stats()).unwrap_or_default();
        let (last_error, last_error_stamp) = self.shared.last_error().unwrap_or_default();
        let status = Status {
            stamp: self.shared.now(),
            state: figures.state.id(),
            state_label: figures.state.label().to_owned(),
            model: figures.model,
            engine: figures.engine,
            device: figures.device,
            memory_bytes: figures.memory_bytes,
            queue_depth: size(self.shared.queue_depth()),
            queue_limit: size(self.shared.store.snapshot().size("limits.queue")),
            heard: count(&counters.heard),
            translated: count(&counters.translated),
            refused: count(&counters.refused),
            failed: count(&counters.failed),
            partials_dropped: count(&counters.partials_dropped),
            own_output_dropped: count(&counters.own_output),
            cache_hits: cache.hits,
            latency_p50_ms: latency.p50_ms,
            latency_p95_ms: latency.p95_ms,
            latency_max_ms: latency.max_ms,
            last_error,
            last_error_stamp,
        };
        if let Err(error) = self.status.publish(&status) {
            tracing::debug!(%error, "the status is lost");
        }
    }
}

fn to_wire(status: diagnostics::Status, node: &str, hardware_id: &str) -> DiagnosticStatus {
    let value = |(key, value): (&str, String)| KeyValue { key: key.to_owned(), value };
    DiagnosticStatus {
        level: status.level as u8,
        name: format!("{node}: {}", status.part),
        message: status.message,
        hardware_id: hardware_id.to_owned(),
        values: status.values.into_iter().map(value).collect(),
    }
}

/// States that a status message may show at once; the rest of the life cycle is transitions.
const _: () = assert!(State::Active as u8 == Status::ACTIVE);
