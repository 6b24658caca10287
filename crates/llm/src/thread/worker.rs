//! The thread's own side: plans become steps, and faults become answers.

use std::collections::HashMap;
use std::error::Error;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, PoisonError};
use std::time::Instant;

use super::active::Active;
use super::logits::StepLogits;
use super::{FAULTS_IN_A_ROW_MAX, Rebuild, Shared};
use crate::TokenId;
use crate::engine::{BatchRow, Engine, EngineError, EngineSpec, LogitsWanted};
use crate::request::{Completion, GenerateError};
use crate::scheduler::{Ended, Plan, PlannedRow, RequestId, Scheduler};

/// Why an answer ended whose arithmetic broke down; it would be token 0 for ever otherwise.
const NOT_FINITE: &str = "the engine's logits are not finite: its arithmetic overflowed, or the \
                          weights are damaged";

pub(super) struct Worker {
    /// `None` from a fatal fault until there is work for a new one.
    engine: Option<Box<dyn Engine>>,
    /// What `engine` is, and what one in its place has to be.
    spec: EngineSpec,
    rebuild: Option<Rebuild>,
    /// Fatal faults since the last step that succeeded.
    faults_in_a_row: usize,
    shared: Arc<Shared>,
    active: HashMap<RequestId, Active>,
    logits: StepLogits,
    /// The tokens chosen for each row of the step that wants some, as far as that has come; `None`
    /// where the logits are not finite.
    runs: Vec<Option<Vec<TokenId>>>,
}

impl Worker {
    pub(super) fn new(
        engine: Box<dyn Engine>,
        rebuild: Option<Rebuild>,
        shared: Arc<Shared>,
    ) -> Self {
        Self {
            spec: engine.spec().clone(),
            engine: Some(engine),
            rebuild,
            faults_in_a_row: 0,
            shared,
            active: HashMap::new(),
            logits: StepLogits::default(),
            runs: Vec::new(),
        }
    }

    pub(super) fn run(mut self) {
        // Whatever panics, and be it a fault of this file, everybody gets an answer.
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| self.serve())) {
            self.stop(&format!("the inference thread panicked: {}", panic_text(panic.as_ref())));
        }
    }

    fn serve(&mut self) {
        while let Some(plan) = self.next_plan() {
            self.end_planned(&plan);
            if let Some(engine) = &mut self.engine {
                plan.released.iter().for_each(|slot| engine.release(*slot));
            }
            if plan.rows.is_empty() {
                continue;
            }
            match self.ensure_engine().and_then(|()| self.step(&plan)) {
                Ok(()) => {
                    self.faults_in_a_row = 0;
                    self.book(&plan);
                }
                Err(error) => {
                    let fatal = error.is_fatal();
                    let detail = with_causes(&error);
                    tracing::error!(%detail, fatal, "a step failed");
                    if !fatal {
                        self.fail(&plan.rows, &detail);
                    } else if !self.survives(&plan, &detail) {
                        self.fail(&plan.rows, &detail);
                        return self.stop(&detail);
                    }
                }
            }
        }
        self.shared.lock().stopped = Some("it was shut down".to_owned());
    }

    /// After a fatal fault: a new engine in place of the broken one.
    fn ensure_engine(&mut self) -> Result<(), EngineError> {
        let (None, Some(rebuild)) = (&self.engine, &mut self.rebuild) else { return Ok(()) };
        let started = Instant::now();
        let made = catch_unwind(AssertUnwindSafe(rebuild))
            .unwrap_or_else(|panic| Err(format!("panicked: {}", panic_text(panic.as_ref())).into()))
            .and_then(|engine| match engine.spec() == &self.spec {
                true => Ok(engine),
                false => Err(format!("{:?} came in its place", engine.spec()).into()),
            });
        let engine = made.map_err(|source| EngineError::Device {
            engine: self.spec.name.clone(),
            source: Box::new(NotRebuilt { source }),
        })?;
        self.engine = Some(engine);
        self.shared.lock_stats().record_rebuild();
        let ms = started.elapsed().as_millis();
        tracing::warn!(engine = self.spec.name, ms, "the engine was made anew after a fault");
        Ok(())
    }

    /// Lets a broken engine go and gives the requests of its last step a second try, each one. False
    /// when this thread is to end.
    fn survives(&mut self, plan: &Plan, detail: &str) -> bool {
        let had_engine = self.engine.is_some();
        let engine = self.engine.take();
        // What is broken may panic once more when it goes; that was printed.
        let _ = catch_unwind(AssertUnwindSafe(|| drop(engine)));
        self.faults_in_a_row += 1;
        self.shared.lock_stats().record_fault();
        if self.rebuild.is_none() || self.faults_in_a_row > FAULTS_IN_A_ROW_MAX {
            return false;
        }
        let mut runs = self.runs.iter();
        let (mut lost, mut retried) = (Vec::new(), 0);
        for row in &plan.rows {
            let run = if row.wants_token { runs.next() } else { None };
            let has_chosen = run.is_some_and(|run| *run != Some(Vec::new()));
            let again = self.active.get_mut(&row.id).is_some_and(|active| {
                // A sampler that remembers would not choose the same again.
                active.take_retry() && !(has_chosen && active.remembers_choices())
            });
            match again && had_engine {
                true => retried += 1,
                false => lost.push(row.clone()),
            }
        }
        self.fail(&lost, detail);
        self.shared.lock().scheduler.refeed();
        self.shared.lock_stats().record_retries(retried);
        true
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
                logits: match row.logits_rows() {
                    0 => LogitsWanted::None,
                    1 => LogitsWanted::Last,
                    n => LogitsWanted::Tail(n),
                },
            })
            .collect();
        self.runs.clear();
        // Shortlists, if they can decide for each row.
        let kept_of = |row: &PlannedRow| self.active.get(&row.id)?.shortlist_kept();
        let kept = wanted(plan).map(kept_of).try_fold(0, |most, kept| Some(most.max(kept?)));
        // After a panic the engine is not used again, so a half-changed one does no harm.
        catch_unwind(AssertUnwindSafe(|| {
            let engine = self.engine.as_mut().expect("there is one; ensure_engine came first");
            self.logits.run(engine.as_mut(), &batch, kept)?;
            self.choose(plan)
        }))
        .unwrap_or_else(|panic| {
            Err(EngineError::Device {
                engine: self.spec.name.clone(),
                source: format!("panicked: {}", panic_text(panic.as_ref())).into(),
            })
        })
    }

    /// Chooses the tokens of each row that wants some.
    fn choose(&mut self, plan: &Plan) -> Result<(), EngineError> {
        let engine = self.engine.as_mut().expect("it has just made a step");
        let mut first = 0;
        for row in wanted(plan) {
            self.runs.push(Some(Vec::with_capacity(1)));
            let run = self.runs.last_mut().expect("just pushed");
            match self.active.get_mut(&row.id) {
                Some(active) => active.choose_run(row.guesses(), run, |index, sampler| {
                    self.logits.choose(engine.as_mut(), first + index, sampler)
                })?,
                // A request that is gone gets some token, and it comes to nothing.
                None => *run = Some(vec![0]),
            }
            first += row.logits_rows();
        }
        Ok(())
    }

    /// Books the tokens that were chosen.
    fn book(&mut self, plan: &Plan) {
        let runs = std::mem::take(&mut self.runs);
        let broken: Vec<_> = wanted(plan)
            .zip(&runs)
            .filter(|(_, run)| run.is_none())
            .map(|(row, _)| row.clone())
            .collect();
        self.fail(&broken, NOT_FINITE);
        // Those that failed are gone.
        let runs: Vec<_> = runs.into_iter().map(|run| run.unwrap_or_else(|| vec![0])).collect();
        let outcomes = self.shared.lock().scheduler.complete(plan, &runs);
        self.count_step(plan, &runs);
        for ((row, run), outcome) in wanted(plan).zip(runs).zip(outcomes) {
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

    /// Answers requests of a failed step with what went wrong.
    fn fail(&mut self, rows: &[PlannedRow], detail: &str) {
        self.shared.lock().scheduler.fail(rows);
        for row in rows {
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

/// Rows for which tokens are to be chosen.
fn wanted(plan: &Plan) -> impl Iterator<Item = &PlannedRow> {
    plan.rows.iter().filter(|row| row.wants_token)
}

/// An engine is broken, and there is no new one.
#[derive(Debug, thiserror::Error)]
#[error("it has failed and cannot be made anew")]
struct NotRebuilt {
    source: Box<dyn Error + Send + Sync>,
}

/// An error and its causes on one line.
fn with_causes(error: &EngineError) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
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
