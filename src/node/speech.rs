//! Live speech: the thread that conducts it, and the workers that translate what it starts.
//!
//! ```text
//! hypotheses ─┐                      ┌─► workers for finals ───┐
//! voices ─────┼─► events ─► conductor┤                         ├─► reports ─► conductor
//! robot speaks┘      (this thread)   └─► workers for partials ─┘
//!                          └─► outputs, in the conductor's order
//! ```
//!
//! [`SpeechConductor`] decides; this thread tells it the time and does what it says. Finals and
//! partials have workers of their own, so a final never waits behind a partial.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, TrySendError, at, bounded, never, select_biased};
use hymt_core::generate::{CancelFlag, GenerateOptions};
use hymt_core::language::Language;
use hymt_core::request::RawRequest;
use hymt_core::speech::{
    Decision, DropReason, Hypothesis, Publish, PublishText, RunId, RunResult, SpeechConductor,
    SpeechConfig, Start,
};
use hymt_core::translator::{Translation as Translated, Translator};

use super::shared::{Session, Shared};
use crate::ros::convert::Utterance;
use crate::ros::wire::{Header, Time, Translation};

/// Events that may wait for the thread. Beyond it hypotheses are dropped and counted.
const EVENTS_MAX: usize = 1024;

/// Reports of workers that may wait for the thread, and how many of them texts in progress may be:
/// every job must find room for its end, even while the thread waits to hand out the next one.
const REPORTS_MAX: usize = 256;
const REPORTS_PROGRESS_MAX: usize = 128;

/// Workers for finals; one utterance in several languages is one job.
const FINAL_WORKERS: usize = 2;

/// Priority of finals in the engine; texts on topics have 128.
const FINAL_PRIORITY: u8 = 160;

/// Priority of partials in the engine.
const PARTIAL_PRIORITY: u8 = 96;

/// Utterances of live speech are numbered from here on, those of the topic `text` from 1.
const UTTERANCES_FROM: u64 = 1 << 32;

/// What a recogniser says, on its way to the thread.
#[derive(Debug, Clone, Default)]
pub(super) struct Said {
    pub(super) speaker: String,
    pub(super) incremental: String,
    pub(super) r#final: String,
    pub(super) locale: String,
    pub(super) stamp: Time,
}

/// What the thread is told.
enum Event {
    Said(Said),
    Muted(bool),
    Gone(String),
    Reconfigure(Box<SpeechConfig>),
    ResetContext,
    End(Instant),
}

/// What the workers tell the thread.
enum Report {
    Progress(RunId, Language, String),
    Finished(RunId, Vec<Translated>),
}

/// The way to the thread.
pub(super) struct Speech {
    events: Sender<Event>,
    thread: Option<JoinHandle<()>>,
}

impl Speech {
    pub(super) fn start(
        shared: &Arc<Shared>,
        session: &Arc<Session>,
        config: SpeechConfig,
    ) -> Self {
        let (events, inbox) = bounded(EVENTS_MAX);
        let (reports, reported) = bounded(REPORTS_MAX);
        let n_partials = config.partial_runs_max.max(1);
        let (finals, finals_inbox) = bounded(config.speakers_max.max(1));
        let (partials, partials_inbox) = bounded(n_partials);
        let worker = Worker { translator: Arc::clone(&session.translator), reports };
        let mut workers = worker.spawn("final", FINAL_WORKERS, &finals_inbox);
        workers.extend(worker.spawn("partial", n_partials, &partials_inbox));
        let actor = Actor {
            shared: Arc::clone(shared),
            translator: Arc::clone(&session.translator),
            conductor: SpeechConductor::new(config),
            runs: HashMap::new(),
            finals,
            partials,
            workers,
        };
        let thread = std::thread::Builder::new()
            .name("hymt-speech".to_owned())
            .spawn(move || actor.run(&inbox, &reported))
            .expect("the system can start one more thread");
        Self { events, thread: Some(thread) }
    }

    /// A recogniser has said something; false when there was no room for it.
    pub(super) fn hear(&self, said: Said) -> bool {
        !matches!(self.events.try_send(Event::Said(said)), Err(TrySendError::Full(_)))
    }

    /// The robot has begun to speak, or has ended.
    pub(super) fn mute(&self, is_speaking: bool) {
        let _ = self.events.try_send(Event::Muted(is_speaking));
    }

    /// A voice is gone.
    pub(super) fn forget(&self, speaker: &str) {
        let _ = self.events.try_send(Event::Gone(speaker.to_owned()));
    }

    pub(super) fn reconfigure(&self, config: SpeechConfig) {
        // The thread always drains, so this is short.
        let _ = self.events.send(Event::Reconfigure(Box::new(config)));
    }

    pub(super) fn reset_context(&self) {
        let _ = self.events.send(Event::ResetContext);
    }

    /// Ends the thread and its workers; what runs may take until `deadline`.
    pub(super) fn end(mut self, deadline: Instant) {
        let _ = self.events.send(Event::End(deadline));
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

struct Actor {
    shared: Arc<Shared>,
    translator: Arc<Translator>,
    conductor: SpeechConductor,
    /// Runs in flight: how each is stopped.
    runs: HashMap<RunId, CancelFlag>,
    finals: Sender<Job>,
    partials: Sender<Job>,
    workers: Vec<JoinHandle<()>>,
}

/// A translation to do.
struct Job {
    start: Box<Start>,
    cancel: CancelFlag,
    received: Instant,
}

impl Actor {
    fn run(mut self, inbox: &Receiver<Event>, reported: &Receiver<Report>) {
        let mut ending: Option<Instant> = None;
        loop {
            let deadline = [self.conductor.next_deadline(), ending].into_iter().flatten().min();
            let timer = deadline.map_or_else(never, at);
            select_biased! {
                recv(reported) -> report => match report {
                    Ok(report) => self.note(report),
                    Err(_) => break,
                },
                recv(inbox) -> event => match event {
                    Ok(Event::End(deadline)) => ending = Some(deadline),
                    // Nothing new is taken up at the end.
                    Ok(Event::Said(_)) if ending.is_some() => {}
                    Ok(event) => self.handle(event),
                    Err(_) => break,
                },
                recv(timer) -> _ => {
                    let decisions = self.conductor.tick(Instant::now());
                    self.carry_out(decisions, &[]);
                }
            }
            self.count();
            let is_idle = self.runs.is_empty() && self.conductor.n_waiting() == 0;
            if ending.is_some_and(|deadline| is_idle || Instant::now() >= deadline) {
                break;
            }
        }
        let Self { finals, partials, workers, runs, .. } = self;
        runs.values().for_each(CancelFlag::cancel);
        drop((finals, partials));
        // A worker that reports must not wait for us.
        while workers.iter().any(|worker| !worker.is_finished()) {
            let _ = reported.recv_timeout(Duration::from_millis(5));
        }
    }

    fn handle(&mut self, event: Event) {
        let now = Instant::now();
        let decisions = match event {
            Event::Said(said) => self.hear(&said, now),
            Event::Muted(is_speaking) => self.conductor.muted(is_speaking, now),
            Event::Gone(speaker) => self.conductor.speaker_gone(&speaker, now),
            Event::Reconfigure(config) => self.conductor.reconfigure(*config, now),
            Event::ResetContext => {
                self.conductor.reset_context(None);
                Vec::new()
            }
            Event::End(_) => Vec::new(),
        };
        self.carry_out(decisions, &[]);
    }

    fn note(&mut self, report: Report) {
        let now = Instant::now();
        let mut results = Vec::new();
        let decisions = match report {
            Report::Progress(run, target, text) => {
                self.conductor.run_partial(run, target, &text, now)
            }
            Report::Finished(run, translated) => {
                self.runs.remove(&run);
                results = translated;
                let outcome = |one: &Translated| RunResult {
                    target: one.target,
                    text: one.status.is_success().then(|| one.text.clone()),
                };
                let outcomes: Vec<_> = results.iter().map(outcome).collect();
                self.conductor.run_finished(run, &outcomes, now)
            }
        };
        self.carry_out(decisions, &results);
    }

    fn hear(&mut self, said: &Said, now: Instant) -> Vec<Decision> {
        let hypothesis = Hypothesis {
            speaker: &said.speaker,
            locale: &said.locale,
            stamp_ns: said.stamp.as_nanos(),
            ..Hypothesis::default()
        };
        let hypothesis = hypothesis.with_live_speech(&said.incremental, &said.r#final);
        let detected = self.translator.guess(hypothesis.text);
        self.conductor.hypothesis(&Hypothesis { detected, ..hypothesis }, now)
    }

    /// Does what the conductor says; `results` are those of the run that has just ended.
    fn carry_out(&mut self, decisions: Vec<Decision>, results: &[Translated]) {
        for decision in decisions {
            match decision {
                Decision::Start(start) => self.begin(start),
                Decision::Cancel { run } => {
                    if let Some(flag) = self.runs.remove(&run) {
                        flag.cancel();
                    }
                }
                Decision::Publish(publish) => {
                    let result = results.iter().find(|result| result.target == publish.target);
                    self.shared.outputs.publish(&message(&publish, result));
                }
                Decision::Drop(dropped) => {
                    tracing::debug!(
                        speaker = %dropped.speaker,
                        utterance = dropped.utterance,
                        is_final = dropped.is_final,
                        reason = dropped.reason.name(),
                        "live speech passed over"
                    );
                }
            }
        }
    }

    fn begin(&mut self, start: Box<Start>) {
        let (run, is_final) = (start.run, start.is_final);
        let cancel = CancelFlag::default();
        self.runs.insert(run, cancel.clone());
        let queue = if is_final { &self.finals } else { &self.partials };
        let job = Job { start, cancel, received: Instant::now() };
        // The conductor starts no more than there is room for: one final a speaker, and as many
        // partials as there are workers. A cancelled run may still hold its worker for one step.
        if let Err(error) = queue.send(job) {
            tracing::error!(%error, "a speech worker is gone");
        }
    }

    /// Copies the conductor's counters to where diagnostics and status read them.
    fn count(&self) {
        let counters = self.conductor.counters();
        let partials: u64 = DropReason::ALL
            .iter()
            .filter(|reason| !matches!(reason, DropReason::UnknownRun | DropReason::HeldBack))
            .map(|reason| counters.dropped(*reason))
            .sum();
        self.shared.counters.partials_dropped.store(partials, Ordering::Relaxed);
    }
}

/// The message for a decision; what the engine said of it is `result`, when it comes from a run.
fn message(publish: &Publish, result: Option<&Translated>) -> Translation {
    let stamp = Time::from_nanos(publish.stamp_ns);
    let utterance = Utterance {
        header: Header { stamp, frame_id: String::new() },
        id: UTTERANCES_FROM + publish.utterance,
        text: publish.source_text.clone(),
    };
    let total_ms = result.map_or(0.0, |result| result.total_ms);
    let base = match result {
        Some(result) => utterance.translation(result, total_ms),
        None => utterance.partial(publish.target, "", 0, total_ms),
    };
    let (status, text, detail) = match &publish.text {
        PublishText::Text(text) => (base.status, text.clone(), base.detail.clone()),
        PublishText::Failed => (Translation::FAILED, String::new(), base.detail.clone()),
        PublishText::Withdrawn => {
            let detail = "what was shown of this utterance is withdrawn".to_owned();
            (Translation::REJECTED, String::new(), detail)
        }
    };
    let detail = match (publish.is_correction, publish.is_forced) {
        (true, _) => joined(&detail, "replaces the final that silence had called for"),
        (_, true) => joined(&detail, "silence ended the utterance; it may be corrected once"),
        _ => detail,
    };
    Translation {
        speaker_id: publish.speaker.to_string(),
        revision: publish.revision,
        is_final: publish.is_final,
        source_locale: publish.source.map_or("", Language::code).to_owned(),
        source_locale_confidence: publish.source_confidence,
        stable_chars: publish.stable_chars,
        status,
        text,
        detail,
        ..base
    }
}

fn joined(first: &str, second: &str) -> String {
    if first.is_empty() { second.to_owned() } else { format!("{first}; {second}") }
}

/// What a worker needs.
#[derive(Clone)]
struct Worker {
    translator: Arc<Translator>,
    reports: Sender<Report>,
}

impl Worker {
    fn spawn(&self, kind: &str, n: usize, inbox: &Receiver<Job>) -> Vec<JoinHandle<()>> {
        let spawn = |number| {
            let (worker, inbox) = (self.clone(), inbox.clone());
            std::thread::Builder::new()
                .name(format!("hymt-{kind}-{number}"))
                .spawn(move || inbox.iter().for_each(|job| worker.work(&job)))
                .expect("the system can start a few more threads")
        };
        (0..n).map(spawn).collect()
    }

    fn work(&self, job: &Job) {
        let translate = AssertUnwindSafe(|| {
            if job.cancel.is_cancelled() { Vec::new() } else { self.translate(job) }
        });
        let results = catch_unwind(translate).unwrap_or_else(|_| {
            tracing::error!("an utterance could not be translated: internal error");
            Vec::new()
        });
        // There is room, and the thread drains until its workers have ended.
        let _ = self.reports.send(Report::Finished(job.start.run, results));
    }

    fn translate(&self, job: &Job) -> Vec<Translated> {
        let start = &job.start;
        let targets: Vec<String> = start.targets.iter().map(|t| t.code().to_owned()).collect();
        let context: Vec<&str> = start.context.iter().map(|said| said.source.as_str()).collect();
        let raw = RawRequest {
            text: &start.text,
            source: start.source.map_or("", Language::code),
            targets: &targets,
            context: &context.join("\n"),
            ..RawRequest::default()
        };
        let request = match self.translator.request(&raw) {
            Ok(request) if start.is_final => request.with_drafts(&start.drafts),
            Ok(request) => request.with_drafts(&start.drafts).of_growing_text(),
            Err(error) => {
                // The reason names positions and bounds, never the text itself.
                tracing::warn!(utterance = start.utterance, %error, "an utterance was refused");
                return Vec::new();
            }
        };
        let options = GenerateOptions {
            priority: if start.is_final { FINAL_PRIORITY } else { PARTIAL_PRIORITY },
            deadline: None,
            cancel: job.cancel.clone(),
        };
        let mut on_partial = |target: usize, text: &str| {
            // Texts in progress may be lost: the next one holds them.
            if self.reports.len() < REPORTS_PROGRESS_MAX {
                let progress = Report::Progress(start.run, start.targets[target], text.to_owned());
                let _ = self.reports.try_send(progress);
            }
        };
        let mut results = self.translator.translate(&request, &options, &mut on_partial);
        let total_ms = job.received.elapsed().as_secs_f32() * 1e3;
        results.iter_mut().for_each(|result| result.total_ms = total_ms);
        results
    }
}
