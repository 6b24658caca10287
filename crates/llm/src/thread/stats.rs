//! What the inference thread has done, for diagnostics.

use std::collections::VecDeque;
use std::time::Duration;

use super::active::total;
use crate::request::{Completion, GenerateError};

/// Completions whose times the percentiles are taken over.
pub const LATENCY_WINDOW: usize = 512;

/// A snapshot of an inference thread.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Stats {
    /// Requests waiting for a slot.
    pub waiting: usize,
    /// Requests in a slot.
    pub running: usize,
    /// Answers given.
    pub completed: u64,
    /// Requests that the engine failed.
    pub failed: u64,
    /// Requests cancelled.
    pub cancelled: u64,
    /// Requests whose deadline passed.
    pub expired: u64,
    /// Prompt tokens of completed requests.
    pub tokens_in: u64,
    /// Tokens of completed answers.
    pub tokens_out: u64,
    /// Steps of the engine that succeeded.
    pub steps: u64,
    /// Guesses of drafts that were verified.
    pub tokens_drafted: u64,
    /// Those of them that were right.
    pub tokens_accepted: u64,
    /// Faults that ended an engine.
    pub faults: u64,
    /// Engines made anew after one.
    pub rebuilds: u64,
    /// Requests that went on with a new engine after a step that ended theirs.
    pub retried: u64,
    /// Median time from submission to answer over the last [`LATENCY_WINDOW`] answers.
    pub p50: Duration,
    /// 95th percentile of the same.
    pub p95: Duration,
    /// Why the thread has stopped, if it has.
    pub stopped: Option<String>,
}

#[derive(Default)]
pub(super) struct StatsRecorder {
    totals: Stats,
    latencies: VecDeque<Duration>,
}

impl StatsRecorder {
    pub(super) fn record(&mut self, outcome: &Result<Completion, GenerateError>) {
        match outcome {
            Ok(completion) => {
                self.totals.completed += 1;
                self.totals.tokens_in += completion.tokens_in as u64;
                self.totals.tokens_out += completion.tokens.len() as u64;
                if self.latencies.len() == LATENCY_WINDOW {
                    self.latencies.pop_front();
                }
                self.latencies.push_back(total(completion));
            }
            Err(GenerateError::Cancelled) => self.totals.cancelled += 1,
            Err(GenerateError::DeadlineExceeded) => self.totals.expired += 1,
            Err(_) => self.totals.failed += 1,
        }
    }

    pub(super) fn record_step(&mut self, drafted: usize, accepted: usize) {
        self.totals.steps += 1;
        self.totals.tokens_drafted += drafted as u64;
        self.totals.tokens_accepted += accepted as u64;
    }

    pub(super) fn record_fault(&mut self) {
        self.totals.faults += 1;
    }

    pub(super) fn record_rebuild(&mut self) {
        self.totals.rebuilds += 1;
    }

    pub(super) fn record_retries(&mut self, n: u64) {
        self.totals.retried += n;
    }

    pub(super) fn snapshot(
        &self,
        waiting: usize,
        running: usize,
        stopped: Option<String>,
    ) -> Stats {
        let mut sorted: Vec<_> = self.latencies.iter().copied().collect();
        sorted.sort_unstable();
        let percentile = |percent: usize| {
            // Nearest rank: the smallest value with at least `percent` of the values at or below.
            let rank = (sorted.len() * percent).div_ceil(100).saturating_sub(1);
            sorted.get(rank).copied().unwrap_or_default()
        };
        Stats {
            waiting,
            running,
            stopped,
            p50: percentile(50),
            p95: percentile(95),
            ..self.totals.clone()
        }
    }
}
