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
    let cheap = prop_oneof![Just(usize::MAX), 0_usize..12];
    (1_usize..6, 0_usize..20, 0_usize..12, cheap).prop_map(
        |(slots, spare, beside, cheap_step_tokens)| SchedulerConfig {
            slots,
            context_tokens_max: 48,
            step_tokens_max: slots + spare,
            prefill_tokens_beside_decode: beside,
            queue_limit: 64,
            cheap_step_tokens,
        },
    )
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
        draft: Vec::new(),
    });
    let group = (0_usize..30, prop::collection::vec(job, 1..5));
    prop::collection::vec(group, 1..10).prop_map(|mut groups| {
        groups.sort_by_key(|(step, _)| *step);
        let jobs = groups.iter_mut().flat_map(|(_, jobs)| jobs);
        jobs.zip(0..).for_each(|(job, id)| job.id = RequestId(id));
        groups
    })
}

/// What a request brings along as a draft.
#[derive(Debug, Clone)]
enum Draft {
    None,
    /// Any tokens at all, stop tokens included.
    Garbage(Vec<TokenId>),
    /// The answer, of which a part is replaced by other tokens.
    Edited {
        from: usize,
        removed: usize,
        put_in: Vec<TokenId>,
    },
}

fn draft() -> impl Strategy<Value = Draft> {
    let tokens = |max| prop::collection::vec(0..VOCAB as TokenId, 0..max);
    prop_oneof![
        Just(Draft::None),
        tokens(40).prop_map(Draft::Garbage),
        (0_usize..30, 0_usize..4, tokens(4)).prop_map(|(from, removed, put_in)| Draft::Edited {
            from,
            removed,
            put_in
        }),
    ]
}

impl Draft {
    fn give(&self, job: &mut Job) {
        match self {
            Self::None => {}
            Self::Garbage(tokens) => job.draft.clone_from(tokens),
            Self::Edited { from, removed, put_in } => {
                let (mut answer, _) = alone(job, 48);
                let from = (*from).min(answer.len());
                let end = (from + removed).min(answer.len());
                answer.splice(from..end, put_in.iter().copied());
                job.draft = answer;
            }
        }
    }
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
    /// Guesses that were right.
    accepted: usize,
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
            accepted: 0,
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
            plan.rows.iter().map(|row| (row.id, row.tokens.len() - row.n_guesses)).collect();
        for id in &self.decoding {
            prop_assert_eq!(given.remove(id), Some(1), "an answer was stalled");
        }
        let prefill: usize = given.values().sum();
        let beside = if self.decoding.is_empty() { usize::MAX } else { self.beside() };
        let guesses: usize = plan.rows.iter().map(|row| row.n_guesses).sum();
        let budgeted = prefill + guesses;
        prop_assert!(
            budgeted <= beside && budgeted + self.decoding.len() <= config.step_tokens_max
        );
        prop_assert!(plan.rows.iter().all(|row| row.wants_token || row.n_guesses == 0));
        let known = prefill + self.decoding.len();
        prop_assert!(
            guesses == 0 || !(known..known + guesses).contains(&config.cheap_step_tokens),
            "guesses made a cheap step dear: {plan:?}"
        );
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
                logits: match row.wants_token {
                    true => LogitsWanted::Tail(1 + row.n_guesses),
                    false => LogitsWanted::None,
                },
            })
            .collect();
        let mut logits = Vec::new();
        self.engine.step(&batch, &mut logits).unwrap();
        let best = |row: &[f32]| row.iter().position(|logit| *logit == 1.0).unwrap() as TokenId;
        let mut best = logits.chunks_exact(VOCAB).map(best);
        let wanted: Vec<_> = plan.rows.iter().filter(|row| row.wants_token).collect();
        let chosen: Vec<Vec<_>> = wanted
            .iter()
            .map(|row| {
                let all: Vec<_> = best.by_ref().take(1 + row.n_guesses).collect();
                let right = all.iter().zip(row.guesses()).take_while(|(a, b)| a == b).count();
                all[..=right].to_vec()
            })
            .collect();
        self.accepted += chosen.iter().map(|run| run.len() - 1).sum::<usize>();
        let outcomes = self.scheduler.complete(&plan, &chosen);
        for ((row, tokens), outcome) in wanted.iter().zip(chosen).zip(outcomes) {
            self.decoding.insert(row.id);
            let answer = self.answers.entry(row.id).or_default();
            answer.extend(&tokens[..outcome.n_taken]);
            if let Some(outcome) = outcome.ended {
                self.decoding.remove(&row.id);
                prop_assert_eq!(self.ended.insert(row.id, outcome), None);
            }
        }
        Ok(())
    }
}

proptest! {
    #[test]
    fn answers_do_not_depend_on_who_else_runs_nor_on_drafts(
        config in config(),
        groups in groups(),
        drafts in prop::collection::vec(draft(), 1..20),
    ) {
        let mut groups = groups;
        let jobs = groups.iter_mut().flat_map(|(_, jobs)| jobs);
        jobs.zip(drafts.iter().cycle()).for_each(|(job, draft)| draft.give(job));
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

/// A right draft is verified with the end of the prompt, in as few steps as its bounds allow.
#[test]
fn a_right_draft_saves_the_steps_of_its_tokens() {
    let config = |step_tokens_max| SchedulerConfig {
        slots: 1,
        context_tokens_max: 48,
        step_tokens_max,
        prefill_tokens_beside_decode: 8,
        queue_limit: 1,
        cheap_step_tokens: usize::MAX,
    };
    let plain = |first| Job {
        id: RequestId(0),
        prompt: vec![first, 5, 7],
        new_tokens_max: 20,
        stop: [STOP].into(),
        priority: 0,
        deadline: None,
        draft: Vec::new(),
    };
    let steps = |job: Job, step_tokens_max| {
        let (mut run, mut steps) = (Run::new(config(step_tokens_max)), 0);
        run.submit(vec![job]);
        while !run.scheduler.is_idle() {
            run.step(Instant::now()).unwrap();
            steps += 1;
        }
        (steps, run.accepted)
    };
    let long = (1..).map(plain).find(|job| alone(job, 48).0.len() == 20).unwrap();
    assert_eq!(steps(long.clone(), 40), (20, 0));
    let draft = alone(&long, 48).0;
    // The last token needs no guess: it is chosen behind the one before it.
    let right = Job { draft: draft.clone(), ..long.clone() };
    assert_eq!(steps(right.clone(), 40), (1, 19));
    // Two guesses beside the prompt, then four beside each token: 3 + 5 + 5 + 5 + 2 tokens.
    assert_eq!(steps(right, 5), (5, 15));
    // One token put in front, one left out in the middle.
    let edited = Job { draft: [&[23], &draft[..9], &draft[10..]].concat(), ..long };
    let (n, accepted) = steps(edited, 40);
    assert!(n <= 7 && accepted >= 13, "{n} steps, {accepted} accepted");
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
        cheap_step_tokens: usize::MAX,
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
        let job =
            Job { id, prompt, new_tokens_max: 9, stop, priority: 0, deadline: None, draft: vec![] };
        scheduler.submit(vec![job]).unwrap();
        for (index, token) in said.iter().enumerate() {
            let plan = scheduler.plan(Instant::now());
            let ended = scheduler.complete(&plan, &[[*token]])[0].ended;
            let last = index + 1 == said.len();
            assert_eq!(ended, last.then_some(Ended::Finished(FinishReason::Stop)), "{said:?}");
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
        draft: Vec::new(),
    };
    let reasons: Vec<_> = (1..20).map(|first| alone(&job(first), 48).1).collect();
    assert!(reasons.contains(&FinishReason::Stop) && reasons.contains(&FinishReason::Length));
}
