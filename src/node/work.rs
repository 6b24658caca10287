//! The workers: from a text or a service call to its translations.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::Receiver;
use hymt_core::error::{ErrorCode, RequestError};
use hymt_core::generate::CancelFlag;
use hymt_core::request::{RawRequest, TranslateRequest};
use hymt_core::translator::{Translation as Translated, Translator};

use super::action::FEEDBACK_INTERVAL;
use super::managed::Command;
use super::outputs::Ordered;
use super::shared::{Faults, Session, Shared, not_active};
use super::talk::Talk;
use crate::lifecycle::State;
use crate::ros::convert::{Utterance, raw_request};
use crate::ros::wire::action::{GoalStatus, TranslateTextGoal, TranslateTextResult, Uuid};
use crate::ros::wire::{self, Header, TranslateResponse, Translation};
use crate::ros::{RespondError, Responder};

/// Most texts of one service call, as `srv/Translate.srv` says.
pub(super) const TEXTS_MAX: usize = 64;

/// Something to do.
#[allow(clippy::large_enum_variant, reason = "both are moved once and live in one queue")]
pub(super) enum Job {
    /// A text heard on a topic.
    Heard(Heard),
    /// A call of `~/translate`.
    Called {
        request: wire::TranslateRequest,
        responder: Responder<TranslateResponse>,
        received: Instant,
    },
    /// A goal of `~/translate_text`.
    Goal { id: Uuid, goal: TranslateTextGoal, cancel: CancelFlag, received: Instant },
}

/// A text heard on a topic.
pub(super) struct Heard {
    /// Its place among those that were queued.
    pub(super) order: u64,
    /// Its number among all.
    pub(super) utterance: u64,
    pub(super) header: Header,
    pub(super) text: String,
    /// What was said before, a sentence a line.
    pub(super) context: String,
    pub(super) received: Instant,
}

/// The threads that work.
pub(super) struct Workers {
    threads: Vec<JoinHandle<()>>,
    queue: Receiver<Job>,
    busy: Arc<AtomicUsize>,
    giving_up: Arc<AtomicBool>,
}

impl Workers {
    pub(super) fn start(
        n: usize,
        queue: &Receiver<Job>,
        shared: &Arc<Shared>,
        session: &Arc<Session>,
        ordered: &Arc<Ordered>,
        cancel: &CancelFlag,
        faults: &Faults,
    ) -> Self {
        let busy = Arc::new(AtomicUsize::new(0));
        let giving_up = Arc::new(AtomicBool::new(false));
        let threads = (0..n)
            .map(|number| {
                let worker = Worker {
                    shared: Arc::clone(shared),
                    session: Arc::clone(session),
                    ordered: Arc::clone(ordered),
                    cancel: cancel.clone(),
                    faults: faults.clone(),
                };
                let (queue, busy) = (queue.clone(), Arc::clone(&busy));
                let giving_up = Arc::clone(&giving_up);
                std::thread::Builder::new()
                    .name(format!("hymt-worker-{number}"))
                    .spawn(move || {
                        for job in &queue {
                            if giving_up.load(Ordering::Acquire) {
                                worker.skip(job);
                                continue;
                            }
                            busy.fetch_add(1, Ordering::AcqRel);
                            worker.run(job);
                            busy.fetch_sub(1, Ordering::AcqRel);
                        }
                    })
                    .expect("the system can start a few more threads")
            })
            .collect();
        Self { threads, queue: queue.clone(), busy, giving_up }
    }

    /// True when all that waited is done; the queue must be closed.
    ///
    /// An empty queue and no busy worker would not do: a job that has just been taken is in neither.
    pub(super) fn are_done(&self) -> bool {
        self.threads.iter().all(JoinHandle::is_finished)
    }

    /// Makes the workers skip what waits; returns how many jobs are not finished.
    pub(super) fn give_up(&self) -> usize {
        self.giving_up.store(true, Ordering::Release);
        self.queue.len() + self.busy.load(Ordering::Acquire)
    }

    /// Waits for the threads; the queue must be closed.
    pub(super) fn join(self) {
        for thread in self.threads {
            // A worker catches the panics of its jobs.
            let _ = thread.join();
        }
    }
}

struct Worker {
    shared: Arc<Shared>,
    session: Arc<Session>,
    ordered: Arc<Ordered>,
    cancel: CancelFlag,
    faults: Faults,
}

impl Worker {
    /// Gives a job up, and tells whoever waits for it.
    fn skip(&self, job: Job) {
        let refusal = || not_active(State::Deactivating);
        match job {
            // A text gives its place free, for a worker may wait for it.
            Job::Heard(heard) => self.ordered.publish(heard.order, Vec::new()),
            Job::Called { responder, .. } => {
                let code = TranslateResponse::NOT_ACTIVE;
                let response =
                    TranslateResponse { code, message: refusal(), ..TranslateResponse::default() };
                answer(responder, &response);
            }
            Job::Goal { id, .. } => {
                let code = TranslateTextResult::NOT_ACTIVE;
                let result = TranslateTextResult {
                    code,
                    message: refusal(),
                    ..TranslateTextResult::default()
                };
                self.shared.action.end(id, GoalStatus::STATUS_ABORTED, &result);
            }
        }
    }

    fn run(&self, job: Job) {
        match job {
            Job::Heard(heard) => {
                let order = heard.order;
                let results = catch_unwind(AssertUnwindSafe(|| self.hear(heard)));
                // Those behind it wait for its place, whatever happened.
                self.ordered.publish(order, results.unwrap_or_else(|_| report_panic()));
            }
            Job::Called { request, responder, received } => {
                let response = catch_unwind(AssertUnwindSafe(|| self.call(&request, received)));
                answer(responder, &response.unwrap_or_else(|_| internal_error()));
            }
            Job::Goal { id, goal, cancel, received } => {
                self.shared.action.begin(id);
                let work = AssertUnwindSafe(|| self.pursue(id, goal, &cancel, received));
                let (status, result) = catch_unwind(work).unwrap_or_else(|_| {
                    let TranslateResponse { code, message, .. } = internal_error();
                    let result =
                        TranslateTextResult { code, message, ..TranslateTextResult::default() };
                    (GoalStatus::STATUS_ABORTED, result)
                });
                self.shared.action.end(id, status, &result);
            }
        }
        self.look_for_fault();
    }

    /// Reports an engine that has ended; the life cycle does the rest.
    fn look_for_fault(&self) {
        if let Some(reason) = self.session.generator().stats().stopped
            && !self.cancel.is_cancelled()
        {
            // A full queue has such a report already.
            let _ = self.faults.try_send(Command::Fault(reason));
        }
    }

    fn translator(&self) -> &Translator {
        &self.session.translator
    }

    fn hear(&self, heard: Heard) -> Vec<Translation> {
        let Heard { utterance, header, text, context, received, .. } = heard;
        let since = || received.elapsed().as_secs_f32() * 1e3;
        let request =
            self.translator().request(&RawRequest { text: &text, ..RawRequest::default() });
        let utterance = Utterance { header, id: utterance, text };
        // Not in the raw request: too long a context of ours is cut, one of a caller is refused.
        let limits = self.translator().config().limits;
        let before = self.shared.with_talk(Talk::language).flatten();
        let with_before = |request: TranslateRequest| {
            request.with_context(&context, &limits).with_spoken_before(before)
        };
        match request.map(with_before) {
            Err(error) => {
                // The reason names positions and bounds, never the text itself.
                tracing::warn!(utterance = utterance.id, %error, "a text was refused");
                self.shared.counters.refused.fetch_add(1, Ordering::Relaxed);
                let targets = self.translator().config().defaults.targets.clone();
                let detail = error.to_string();
                let reject = |target| utterance.rejection(Some(target), &detail, since());
                targets.into_iter().map(reject).collect()
            }
            Ok(request) => {
                let mut options = request.generate_options(received, self.cancel.clone());
                options.deadline = match self.shared.deadline_ms.load(Ordering::Relaxed) {
                    0 => None,
                    ms => Some(received + Duration::from_millis(ms)),
                };
                let results = self.translator().translate(&request, &options, &mut |_, _| ());
                tracing::debug!(utterance = utterance.id, total_ms = since(), "translated");
                self.shared.latency().add(Instant::now(), since());
                let surely = results.iter().find(|result| result.source_confidence > 0.0);
                if let Some(language) = surely.and_then(|result| result.source) {
                    self.shared.with_talk(|talk| talk.spoke(language));
                }
                results.iter().map(|result| utterance.translation(result, since())).collect()
            }
        }
    }

    /// Translates the text of a goal, telling how it grows; gives the goal's end.
    fn pursue(
        &self,
        id: Uuid,
        goal: TranslateTextGoal,
        cancel: &CancelFlag,
        received: Instant,
    ) -> (i8, TranslateTextResult) {
        let (text, request) = one_text(goal);
        let raw = raw_request(&request, &text);
        let request = match self.translator().request(&raw) {
            Ok(request) => request,
            Err(error) => {
                let (code, message) = (error.code() as u8, error.to_string());
                let result = TranslateTextResult { code, message, ..Default::default() };
                return (GoalStatus::STATUS_ABORTED, result);
            }
        };
        let header = Header { stamp: self.shared.now(), frame_id: String::new() };
        let utterance = Utterance { header, id: self.shared.next_utterance(), text };
        let total_ms = || received.elapsed().as_secs_f32() * 1e3;
        let options = request.generate_options(received, cancel.clone());
        let mut revisions = vec![(0, None); request.targets().len()];
        let mut on_partial = |target: usize, text: &str| {
            let (revision, told): &mut (u32, Option<Instant>) = &mut revisions[target];
            if told.is_some_and(|told| told.elapsed() < FEEDBACK_INTERVAL) {
                return;
            }
            *told = Some(Instant::now());
            let language = request.targets()[target];
            let partial = utterance.partial(language, text, *revision, total_ms());
            *revision += 1;
            self.shared.action.feed_back(id, partial);
        };
        let results = self.translator().translate(&request, &options, &mut on_partial);
        let mut result = TranslateTextResult { success: true, ..TranslateTextResult::default() };
        for one in &results {
            if let Some((code, message)) = failure(one)
                && result.success
            {
                (result.success, result.code, result.message) = (false, code, message);
            }
            result.results.push(utterance.translation(one, total_ms()));
        }
        if cancel.is_cancelled() && !result.success {
            result.code = TranslateTextResult::CANCELLED;
            "the goal was cancelled".clone_into(&mut result.message);
            return (GoalStatus::STATUS_CANCELED, result);
        }
        let status =
            if result.success { GoalStatus::STATUS_SUCCEEDED } else { GoalStatus::STATUS_ABORTED };
        (status, result)
    }

    fn call(&self, request: &wire::TranslateRequest, received: Instant) -> TranslateResponse {
        let requests = match self.check(request) {
            Ok(requests) => requests,
            Err((code, message)) => {
                return TranslateResponse { code: code as u8, message, ..Default::default() };
            }
        };
        let Some(first) = requests.first() else { return internal_error() };
        let options = first.generate_options(received, self.cancel.clone());
        let all = self.translator().translate_all(&requests, &options, &mut |_, _, _| ());
        let total_ms = received.elapsed().as_secs_f32() * 1e3;
        let mut response = TranslateResponse {
            success: true,
            code: TranslateResponse::OK,
            ..TranslateResponse::default()
        };
        for (index, (results, text)) in all.iter().zip(&request.texts).enumerate() {
            let header = Header { stamp: self.shared.now(), frame_id: String::new() };
            let utterance = Utterance { header, id: index as u64, text: text.clone() };
            for result in results {
                if let Some((code, message)) = failure(result)
                    && response.success
                {
                    response.success = false;
                    response.code = code;
                    response.message = format!("texts[{index}] {message}");
                }
                response.results.push(utterance.translation(result, total_ms));
            }
        }
        response
    }

    /// All texts of a call, checked; the first fault refuses the call.
    fn check(
        &self,
        request: &wire::TranslateRequest,
    ) -> Result<Vec<TranslateRequest>, (ErrorCode, String)> {
        let n_texts = request.texts.len();
        if !(1..=TEXTS_MAX).contains(&n_texts) {
            let message = format!("texts has {n_texts} entries; allowed: 1 to {TEXTS_MAX}");
            return Err((ErrorCode::InvalidRequest, message));
        }
        let check = |(index, text): (usize, &String)| {
            let checked = self.translator().request(&raw_request(request, text));
            checked.map_err(|error| (error.code(), in_text(index, n_texts, &error)))
        };
        request.texts.iter().enumerate().map(check).collect()
    }
}

/// Code and words for a target that has no translation.
fn failure(result: &Translated) -> Option<(u8, String)> {
    let code = result.error.unwrap_or(ErrorCode::Failed) as u8;
    let words = || format!("into {}: {}", result.target, result.detail);
    (!result.status.is_success()).then(|| (code, words()))
}

/// The goal as a request of the service; its text stands beside.
fn one_text(goal: TranslateTextGoal) -> (String, wire::TranslateRequest) {
    let request = wire::TranslateRequest {
        texts: Vec::new(),
        source_locale: goal.source_locale,
        target_locales: goal.target_locales,
        glossary: goal.glossary,
        inline_terms: goal.inline_terms,
        context: goal.context,
        formality: goal.formality,
        priority: goal.priority,
        timeout_s: goal.timeout_s,
    };
    (goal.text, request)
}

/// Names the text where a call has several.
fn in_text(index: usize, n_texts: usize, error: &RequestError) -> String {
    if n_texts == 1 { error.to_string() } else { format!("texts[{index}]: {error}") }
}

/// Answers a call; a reply that is too large for the client's wire style becomes a refusal.
pub(super) fn answer(responder: Responder<TranslateResponse>, response: &TranslateResponse) {
    match responder.respond(response) {
        Ok(()) => {}
        Err(RespondError::TooLarge { responder, bytes, limit }) => {
            let message = format!(
                "the answer has {bytes} bytes, a reply to this client holds {limit}; send fewer or \
                 shorter texts, or fewer target_locales, a call"
            );
            let refusal = TranslateResponse {
                code: TranslateResponse::RESPONSE_TOO_LARGE,
                message,
                ..TranslateResponse::default()
            };
            if let Err(error) = responder.respond(&refusal) {
                tracing::warn!(%error, "a call could not be answered");
            }
        }
        Err(error) => tracing::warn!(%error, "a call could not be answered"),
    }
}

fn internal_error() -> TranslateResponse {
    TranslateResponse {
        code: TranslateResponse::FAILED,
        message: "internal error; the node's log has more".to_owned(),
        ..TranslateResponse::default()
    }
}

fn report_panic() -> Vec<Translation> {
    tracing::error!("a text could not be translated: internal error");
    Vec::new()
}
