//! The workers: from a text or a service call to its translations.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::Receiver;
use hymt_core::error::{ErrorCode, RequestError};
use hymt_core::generate::CancelFlag;
use hymt_core::request::{RawRequest, TranslateRequest};
use hymt_core::translator::Translator;

use super::outputs::Outputs;
use crate::ros::convert::{Utterance, raw_request};
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
}

/// A text heard on a topic.
pub(super) struct Heard {
    /// Its place among those that were queued.
    pub(super) order: u64,
    /// Its number among all.
    pub(super) utterance: u64,
    pub(super) header: Header,
    pub(super) text: String,
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
        translator: &Arc<Translator>,
        outputs: &Arc<Outputs>,
        deadline_ms: &Arc<AtomicU64>,
        cancel: &CancelFlag,
    ) -> Self {
        let busy = Arc::new(AtomicUsize::new(0));
        let giving_up = Arc::new(AtomicBool::new(false));
        let threads = (0..n)
            .map(|number| {
                let worker = Worker {
                    translator: Arc::clone(translator),
                    outputs: Arc::clone(outputs),
                    deadline_ms: Arc::clone(deadline_ms),
                    cancel: cancel.clone(),
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
    translator: Arc<Translator>,
    outputs: Arc<Outputs>,
    /// How long a heard text may take; 0 for no bound.
    deadline_ms: Arc<AtomicU64>,
    cancel: CancelFlag,
}

impl Worker {
    /// Gives a job up. A text gives its place free, for a worker may wait for it.
    fn skip(&self, job: Job) {
        if let Job::Heard(heard) = job {
            self.outputs.publish_in_order(heard.order, Vec::new());
        }
    }

    fn run(&self, job: Job) {
        match job {
            Job::Heard(heard) => {
                let order = heard.order;
                let results = catch_unwind(AssertUnwindSafe(|| self.hear(heard)));
                // Those behind it wait for its place, whatever happened.
                self.outputs.publish_in_order(order, results.unwrap_or_else(|_| report_panic()));
            }
            Job::Called { request, responder, received } => {
                let response = catch_unwind(AssertUnwindSafe(|| self.call(&request, received)));
                answer(responder, &response.unwrap_or_else(|_| internal_error()));
            }
        }
    }

    fn hear(&self, heard: Heard) -> Vec<Translation> {
        let Heard { utterance, header, text, received, .. } = heard;
        let since = || received.elapsed().as_secs_f32() * 1e3;
        let request = self.translator.request(&RawRequest { text: &text, ..RawRequest::default() });
        let utterance = Utterance { header, id: utterance, text };
        match request {
            Err(error) => {
                // The reason names positions and bounds, never the text itself.
                tracing::warn!(utterance = utterance.id, %error, "a text was refused");
                let targets = self.translator.config().defaults.targets.clone();
                let detail = error.to_string();
                let reject = |target| utterance.rejection(Some(target), &detail, since());
                targets.into_iter().map(reject).collect()
            }
            Ok(request) => {
                let mut options = request.generate_options(received, self.cancel.clone());
                options.deadline = match self.deadline_ms.load(Ordering::Relaxed) {
                    0 => None,
                    ms => Some(received + Duration::from_millis(ms)),
                };
                let results = self.translator.translate(&request, &options, &mut |_, _| ());
                tracing::debug!(utterance = utterance.id, total_ms = since(), "translated");
                results.iter().map(|result| utterance.translation(result, since())).collect()
            }
        }
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
        let all = self.translator.translate_all(&requests, &options, &mut |_, _, _| ());
        let total_ms = received.elapsed().as_secs_f32() * 1e3;
        let mut response = TranslateResponse {
            success: true,
            code: TranslateResponse::OK,
            ..TranslateResponse::default()
        };
        for (index, (results, text)) in all.iter().zip(&request.texts).enumerate() {
            let header = Header { stamp: wire::Time::now(), frame_id: String::new() };
            let utterance = Utterance { header, id: index as u64, text: text.clone() };
            for result in results {
                if !result.status.is_success() && response.success {
                    response.success = false;
                    response.code = result.error.unwrap_or(ErrorCode::Failed) as u8;
                    response.message =
                        format!("texts[{index}] into {}: {}", result.target, result.detail);
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
            let checked = self.translator.request(&raw_request(request, text));
            checked.map_err(|error| (error.code(), in_text(index, n_texts, &error)))
        };
        request.texts.iter().enumerate().map(check).collect()
    }
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
