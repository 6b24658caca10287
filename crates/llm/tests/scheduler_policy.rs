//! What the scheduler promises about order, budget and progress, and that none of it changes an
//! answer.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Instant;

use hymt_llm::TokenId;
use hymt_llm::engine::scripted::ScriptedEngine;
use hymt_llm::engine::{BatchRow, Engine, LogitsWanted, Slot};
use hymt_llm::request::FinishReason;
use hymt_llm::scheduler::{Ended, Job, RequestId, Scheduler, SchedulerConfig};
use proptest::prelude::*;

const VOCAB: usize = 24;
const STOP: TokenId = 0;

/// Depends on every token before, so that one misplaced token changes the rest of the answer.
fn hash(held: &[TokenId]) -> TokenId {
    let mix = |hash: u64, id: &TokenId| {
        (hash ^ u64::from(*id)).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(31)
    };
    (held.iter().fold(1, mix) % VOCAB as u64) as TokenId
}

/// What a prompt's answer is when nothing else runs and nothing is cut.
fn alone(job: &Job, context_tokens_max: usize) -> (Vec<TokenId>, FinishReason) {
    let mut held = job.prompt.clone();
    let room = context_tokens_max - job.prompt.len();
    for _ in 0..job.new_tokens_max.min(room) {
        let token = hash(&held);
        if token == STOP {
            return (held.split_off(job.prompt.len()), FinishReason::Stop);
        }
        held.push(token);
    }
    (held.split_off(job.prompt.len()), FinishReason::Length)
}

fn config() -> impl Strategy<Value = SchedulerConfig> {
    (1_usize..6, 0_usize..20, 0_usize..12).prop_map(|(slots, spare, beside)| SchedulerConfig {
        slots,
        context_tokens_max: 48,
        step_tokens_max: slots + spare,
        prefill_tokens_beside_decode: beside,
        queue_limit: 64,
    })
}

/// The step before which each group is submitted, and its requests.
fn groups() -> impl Strategy<Value = Vec<(usize, Vec<Job>)>> {
    let prompt = prop::collection::vec(1..VOCAB as TokenId, 1..47);
    let job = (prompt, 1_usize..30, 0_u8..4).prop_map(|(prompt, new_tokens_max, priority)| Job {
        id: RequestId(0),
        prompt,
        new_tokens_max,
        stop: [STOP].into(),
        priority,
        deadline: None,
    });
    let group = (0_usize..30, prop::collection::vec(job, 1..5));
    prop::collection::vec(group, 1..10).prop_map(|mut groups| {
        groups.sort_by_key(|(step, _)| *step);
        let jobs = groups.iter_mut().flat_map(|(_, jobs)| jobs);
        jobs.zip(0..).for_each(|(job, id)| job.id = RequestId(id));
        groups
    })
}

/// Higher priority first, then first come first served.
fn rank(job: &Job) -> (std::cmp::Reverse<u8>, RequestId) {
    (std::cmp::Reverse(job.priority), job.id)
}

/// One run of a scheduler over an engine, checked at every step.
struct Run {
    scheduler: Scheduler,
    engine: ScriptedEngine,
    jobs: HashMap<RequestId, Job>,
    waiting: Vec<RequestId>,
    /// Holds a slot, and how much of the prompt is left.
    prefilling: Vec<(RequestId, usize)>,
    answers: HashMap<RequestId, Vec<TokenId>>,
    /// Holds a slot and has at least one token.
    decoding: HashSet<RequestId>,
    ended: HashMap<RequestId, Ended>,
}

impl Run {
    fn new(config: SchedulerConfig) -> Self {
        Self {
            scheduler: Scheduler::new(config),
            engine: ScriptedEngine::new(VOCAB, config.slots, Box::new(hash)),
            jobs: HashMap::new(),
            waiting: Vec::new(),
            prefilling: Vec::new(),
            answers: HashMap::new(),
            decoding: HashSet::new(),
            ended: HashMap::new(),
        }
    }

    fn submit(&mut self, jobs: Vec<Job>) {
        self.waiting.extend(jobs.iter().map(|job| job.id));
        self.jobs.extend(jobs.iter().map(|job| (job.id, job.clone())));
        self.scheduler.submit(jobs).unwrap();
    }

    /// The rule of admission: free slots go to the best that wait.
    fn admit(&mut self, free: usize) {
        self.waiting.sort_by_key(|id| rank(&self.jobs[id]));
        let admitted = self.waiting.drain(..free.min(self.waiting.len()));
        self.prefilling.extend(admitted.map(|id| (id, self.jobs[&id].prompt.len())));
    }

    fn beside(&self) -> usize {
        self.scheduler.config().prefill_tokens_beside_decode
    }

    fn step(&mut self, now: Instant) -> Result<(), TestCaseError> {
        let config = *self.scheduler.config();
        self.admit(config.slots - self.scheduler.n_running());
        let (was_idle, plan) = (self.scheduler.is_idle(), self.scheduler.plan(now));
        plan.released.iter().for_each(|slot: &Slot| self.engine.release(*slot));
        prop_assert!(was_idle || !plan.rows.is_empty(), "work is left and nothing runs");
        prop_assert_eq!(self.scheduler.n_waiting(), self.waiting.len());

        let mut given: HashMap<_, _> =
            plan.rows.iter().map(|row| (row.id, row.tokens.len())).collect();
        for id in &self.decoding {
            prop_assert_eq!(given.remove(id), Some(1), "an answer was stalled");
        }
        let prefill: usize = given.values().sum();
        let beside = if self.decoding.is_empty() { usize::MAX } else { self.beside() };
        prop_assert!(prefill <= beside && prefill + self.decoding.len() <= config.step_tokens_max);
        // The budget goes to prompts in their order; only one that is complete lets the next on.
        let mut complete = true;
        self.prefilling.sort_by_key(|(id, _)| rank(&self.jobs[id]));
        for (id, left) in &mut self.prefilling {
            let given = given.remove(id).unwrap_or(0);
            prop_assert!(given == 0 || complete, "{id:?} jumped the queue: {plan:?}");
            *left -= given;
            complete &= *left == 0;
        }
        prop_assert!(given.is_empty(), "no slot was free for {given:?}");
        self.prefilling.retain(|(_, left)| *left > 0);

        let batch: Vec<_> = plan
            .rows
            .iter()
            .map(|row| BatchRow {
                slot: row.slot,
                position: row.position,
                tokens: &row.tokens,
                logits: if row.wants_token { LogitsWanted::Last } else { LogitsWanted::None },
            })
            .collect();
        let mut logits = Vec::new();
        self.engine.step(&batch, &mut logits).unwrap();
        let best = |row: &[f32]| row.iter().position(|logit| *logit == 1.0).unwrap() as TokenId;
        let tokens: Vec<_> = logits.chunks_exact(VOCAB).map(best).collect();
        let outcomes = self.scheduler.complete(&plan, &tokens);
        let wanted = plan.rows.iter().filter(|row| row.wants_token);
        for ((row, token), outcome) in wanted.zip(tokens).zip(outcomes) {
            self.decoding.insert(row.id);
            let answer = self.answers.entry(row.id).or_default();
            if outcome != Some(Ended::Finished(FinishReason::Stop)) {
                answer.push(token);
            }
            if let Some(outcome) = outcome {
                self.decoding.remove(&row.id);
                prop_assert_eq!(self.ended.insert(row.id, outcome), None);
            }
        }
        Ok(())
    }
}

proptest! {
    #[test]
    fn answers_do_not_depend_on_who_else_runs(config in config(), groups in groups()) {
        let mut run = Run::new(config);
        let mut groups = std::collections::VecDeque::from(groups);
        for step in 0.. {
            prop_assert!(step < 5000, "it makes no progress");
            while groups.front().is_some_and(|(at, _)| *at <= step) {
                run.submit(groups.pop_front().unwrap().1);
            }
            if groups.is_empty() && run.scheduler.is_idle() {
                break;
            }
            run.step(Instant::now())?;
        }
        prop_assert_eq!(run.ended.len(), run.jobs.len());
        for (id, job) in &run.jobs {
            let (answer, finish) = alone(job, config.context_tokens_max);
            prop_assert_eq!(run.ended[id], Ended::Finished(finish));
            prop_assert_eq!(&run.answers[id], &answer);
        }
    }
}

#[test]
fn repeating_the_header_once_does_not_end_the_answer() {
    const HEADER: TokenId = 7;
    let config = SchedulerConfig {
        slots: 1,
        context_tokens_max: 48,
        step_tokens_max: 8,
        prefill_tokens_beside_decode: 8,
        queue_limit: 1,
    };
    // Prompts that end with the header and not, and what the model says until it is stopped.
    let cases: [(&[TokenId], &[TokenId]); 4] = [
        (&[1, HEADER], &[HEADER, 5, STOP]),
        (&[1, HEADER], &[HEADER, HEADER]),
        (&[1, HEADER], &[5, HEADER]),
        (&[HEADER, 1], &[HEADER]),
    ];
    for (prompt, said) in cases {
        let mut scheduler = Scheduler::new(config);
        let (prompt, stop) = (prompt.to_vec(), [STOP, HEADER].into());
        let id = RequestId(0);
        let job = Job { id, prompt, new_tokens_max: 9, stop, priority: 0, deadline: None };
        scheduler.submit(vec![job]).unwrap();
        for (index, token) in said.iter().enumerate() {
            let plan = scheduler.plan(Instant::now());
            let ended = scheduler.complete(&plan, &[*token]);
            let last = index + 1 == said.len();
            assert_eq!(ended, [last.then_some(Ended::Finished(FinishReason::Stop))], "{said:?}");
        }
    }
}

#[test]
fn the_script_of_these_tests_stops_some_answers_and_not_all() {
    // Or the property above would see only one way to end.
    let stop: Arc<[TokenId]> = [STOP].into();
    let job = |first| Job {
        id: RequestId(0),
        prompt: vec![first, 5, 7],
        new_tokens_max: 20,
        stop: Arc::clone(&stop),
        priority: 0,
        deadline: None,
    };
    let reasons: Vec<_> = (1..20).map(|first| alone(&job(first), 48).1).collect();
    assert!(reasons.contains(&FinishReason::Stop) && reasons.contains(&FinishReason::Length));
}
