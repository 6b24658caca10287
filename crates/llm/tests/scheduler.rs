//! The scheduler, without a thread, a clock or an engine.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use hymt_llm::TokenId;
use hymt_llm::engine::{EngineSpec, Slot};
use hymt_llm::request::{FinishReason, SubmitError};
use hymt_llm::scheduler::{Ended, Job, Plan, PlannedRow, RequestId, Scheduler, SchedulerConfig};
use proptest::prelude::*;

const STOP: TokenId = 9;

fn config(slots: usize) -> SchedulerConfig {
    SchedulerConfig {
        slots,
        context_tokens_max: 64,
        step_tokens_max: 16,
        prefill_tokens_beside_decode: 4,
        queue_limit: 8,
        cheap_step_tokens: usize::MAX,
    }
}

fn job(id: u64, prompt_tokens: usize) -> Job {
    Job {
        id: RequestId(id),
        prompt: vec![1; prompt_tokens],
        new_tokens_max: 3,
        stop: [STOP].into(),
        priority: 128,
        deadline: None,
        draft: Vec::new(),
    }
}

/// `(id, position, tokens, wants a token)` of each row.
fn rows(plan: &Plan) -> Vec<(u64, usize, usize, bool)> {
    plan.rows.iter().map(|r| (r.id.0, r.position, r.tokens.len(), r.wants_token)).collect()
}

/// Books `token` for every row that wants one.
fn complete(scheduler: &mut Scheduler, plan: &Plan, token: TokenId) -> Vec<Option<Ended>> {
    let wanted = plan.rows.iter().filter(|row| row.wants_token).count();
    let outcomes = scheduler.complete(plan, &vec![[token]; wanted]);
    outcomes.into_iter().map(|outcome| outcome.ended).collect()
}

#[test]
fn a_group_is_one_batch_from_prefill_to_the_last_token() {
    let mut scheduler = Scheduler::new(config(4));
    let now = Instant::now();
    scheduler.submit(vec![job(1, 5), job(2, 5), job(3, 5)]).unwrap();
    let plan = scheduler.plan(now);
    assert_eq!(rows(&plan), [(1, 0, 5, true), (2, 0, 5, true), (3, 0, 5, true)]);
    assert_eq!(complete(&mut scheduler, &plan, 2), [None; 3]);
    let plan = scheduler.plan(now);
    assert_eq!(rows(&plan), [(1, 5, 1, true), (2, 5, 1, true), (3, 5, 1, true)]);
    complete(&mut scheduler, &plan, 2);
    let plan = scheduler.plan(now);
    let length = Some(Ended::Finished(FinishReason::Length));
    assert_eq!(complete(&mut scheduler, &plan, 2), [length; 3]);
    let plan = scheduler.plan(now);
    assert!(plan.rows.is_empty());
    assert_eq!(plan.released, [Slot(0), Slot(1), Slot(2)]);
    assert!(scheduler.is_idle());
}

#[test]
fn a_stop_token_ends_one_and_lets_the_next_in() {
    let mut scheduler = Scheduler::new(config(1));
    let now = Instant::now();
    scheduler.submit(vec![job(1, 2), job(2, 2)]).unwrap();
    let plan = scheduler.plan(now);
    assert_eq!(rows(&plan), [(1, 0, 2, true)]);
    let ended = complete(&mut scheduler, &plan, STOP);
    assert_eq!(ended, [Some(Ended::Finished(FinishReason::Stop))]);
    let plan = scheduler.plan(now);
    assert_eq!(rows(&plan), [(2, 0, 2, true)]);
    assert_eq!(plan.released, [Slot(0)]);
}

#[test]
fn a_long_prompt_is_cut_and_does_not_stall_answers() {
    let mut scheduler = Scheduler::new(config(2));
    let now = Instant::now();
    scheduler.submit(vec![job(1, 20)]).unwrap();
    let plan = scheduler.plan(now);
    assert_eq!(rows(&plan), [(1, 0, 16, false)], "a step takes 16 tokens");
    complete(&mut scheduler, &plan, 2);
    let plan = scheduler.plan(now);
    assert_eq!(rows(&plan), [(1, 16, 4, true)]);
    complete(&mut scheduler, &plan, 2);
    scheduler.submit(vec![job(2, 6)]).unwrap();
    let plan = scheduler.plan(now);
    assert_eq!(rows(&plan), [(1, 20, 1, true), (2, 0, 4, false)], "4 prompt tokens beside answers");
    complete(&mut scheduler, &plan, 2);
    assert_eq!(rows(&scheduler.plan(now)), [(1, 21, 1, true), (2, 4, 2, true)]);
}

#[test]
fn priority_first_then_arrival() {
    let mut scheduler = Scheduler::new(config(1));
    let with = |id, priority| Job { priority, ..job(id, 1) };
    for (id, priority) in [(1, 128), (2, 10), (3, 200), (4, 200), (5, 128)] {
        scheduler.submit(vec![with(id, priority)]).unwrap();
    }
    let mut order = Vec::new();
    while !scheduler.is_idle() {
        let plan = scheduler.plan(Instant::now());
        order.extend(plan.rows.iter().map(|row| row.id.0));
        complete(&mut scheduler, &plan, STOP);
    }
    assert_eq!(order, [3, 4, 1, 5, 2]);
}

#[test]
fn refusals_name_the_bound_and_take_nothing() {
    let mut scheduler = Scheduler::new(config(1));
    assert_eq!(scheduler.submit(vec![]), Err(SubmitError::Empty { what: "the group" }));
    assert_eq!(scheduler.submit(vec![job(1, 0)]), Err(SubmitError::Empty { what: "a prompt" }));
    let too_long = Err(SubmitError::PromptTooLong { tokens: 64, limit: 63 });
    assert_eq!(scheduler.submit(vec![job(1, 3), job(2, 64)]), too_long);
    assert!(scheduler.is_idle(), "a group is taken whole or not at all");
    scheduler.submit((0..8).map(|id| job(id, 1)).collect()).unwrap();
    let full = Err(SubmitError::QueueFull { waiting: 8, limit: 8 });
    assert_eq!(scheduler.submit(vec![job(9, 1)]), full);
    let never = Err(SubmitError::GroupTooLarge { requests: 9, limit: 8 });
    assert_eq!(scheduler.submit((10..19).map(|id| job(id, 1)).collect()), never);
    assert_eq!(scheduler.n_waiting(), 8);
}

#[test]
fn a_group_starts_together_or_as_far_as_slots_allow() {
    let mut scheduler = Scheduler::new(config(3));
    let now = Instant::now();
    scheduler.submit(vec![job(1, 2)]).unwrap();
    scheduler.submit(vec![job(2, 2), job(3, 2), job(4, 2)]).unwrap();
    let plan = scheduler.plan(now);
    assert_eq!(rows(&plan), [(1, 0, 2, true), (2, 0, 2, true), (3, 0, 2, true)]);
    assert_eq!((scheduler.n_running(), scheduler.n_waiting()), (3, 1));
    complete(&mut scheduler, &plan, STOP);
    assert_eq!(rows(&scheduler.plan(now)), [(4, 0, 2, true)]);
}

#[test]
fn an_urgent_prompt_overtakes_a_long_one_that_already_has_a_slot() {
    let mut scheduler = Scheduler::new(config(2));
    let now = Instant::now();
    scheduler.submit(vec![Job { priority: 10, ..job(1, 40) }]).unwrap();
    let plan = scheduler.plan(now);
    assert_eq!(rows(&plan), [(1, 0, 16, false)]);
    complete(&mut scheduler, &plan, 2);
    scheduler.submit(vec![Job { priority: 200, ..job(2, 10) }]).unwrap();
    let plan = scheduler.plan(now);
    assert_eq!(rows(&plan), [(2, 0, 10, true), (1, 16, 6, false)]);
    complete(&mut scheduler, &plan, 2);
    assert_eq!(rows(&scheduler.plan(now)), [(2, 10, 1, true), (1, 22, 4, false)]);
}

#[test]
fn a_step_smaller_than_the_number_of_slots_is_never_exceeded() {
    let spec = EngineSpec {
        name: "small".to_owned(),
        vocab_size: 10,
        slots: 8,
        context_tokens_max: 64,
        step_tokens_max: 2,
    };
    let mut scheduler = Scheduler::new(SchedulerConfig::for_engine(&spec, 8));
    scheduler.submit((0..8).map(|id| job(id, 3)).collect()).unwrap();
    let mut finished = 0;
    while !scheduler.is_idle() {
        let plan = scheduler.plan(Instant::now());
        assert!(plan.rows.iter().map(|row| row.tokens.len()).sum::<usize>() <= 2, "{plan:?}");
        finished += complete(&mut scheduler, &plan, 2).into_iter().flatten().count();
    }
    assert_eq!(finished, 8);
}

#[test]
fn the_answer_is_cut_to_what_the_context_leaves() {
    let mut scheduler = Scheduler::new(config(1));
    scheduler.submit(vec![Job { new_tokens_max: 1000, ..job(1, 62) }]).unwrap();
    let mut tokens = 0;
    while !scheduler.is_idle() {
        let plan = scheduler.plan(Instant::now());
        tokens += plan.rows.iter().filter(|row| row.wants_token).count();
        complete(&mut scheduler, &plan, 2);
    }
    assert_eq!(tokens, 2, "62 of 64 positions are the prompt");
}

#[test]
fn deadlines_end_waiting_and_running_requests() {
    let mut scheduler = Scheduler::new(config(1));
    let start = Instant::now();
    let soon = start + Duration::from_millis(10);
    scheduler.submit(vec![Job { deadline: Some(soon), ..job(1, 1) }]).unwrap();
    scheduler.submit(vec![Job { deadline: Some(soon), ..job(2, 1) }, job(3, 1)]).unwrap();
    assert_eq!(scheduler.next_deadline(), Some(soon));
    assert_eq!(rows(&scheduler.plan(start)), [(1, 0, 1, true)]);
    let plan = scheduler.plan(soon);
    let late = |id| (RequestId(id), Ended::DeadlineExceeded);
    assert_eq!(plan.ended, [late(2), late(1)]);
    assert_eq!(
        (plan.released.as_slice(), rows(&plan)),
        ([Slot(0)].as_slice(), vec![(3, 0, 1, true)])
    );
    assert_eq!(scheduler.next_deadline(), None);
}

#[test]
fn a_cancelled_request_frees_its_slot_by_the_next_plan() {
    let mut scheduler = Scheduler::new(config(1));
    let now = Instant::now();
    scheduler.submit(vec![job(1, 1), job(2, 1)]).unwrap();
    let plan = scheduler.plan(now);
    // While the step runs:
    scheduler.cancel(RequestId(1));
    assert_eq!(complete(&mut scheduler, &plan, 2), [None], "its token goes with it");
    let plan = scheduler.plan(now);
    assert_eq!(plan.ended, [(RequestId(1), Ended::Cancelled)]);
    assert_eq!(
        (plan.released.as_slice(), rows(&plan)),
        ([Slot(0)].as_slice(), vec![(2, 0, 1, true)])
    );
}

#[test]
fn a_draft_is_cut_back_and_cancelled_like_any_answer() {
    let mut scheduler = Scheduler::new(config(2));
    let now = Instant::now();
    let drafted = |id| Job { draft: vec![4, 5, 6, 7], new_tokens_max: 9, ..job(id, 2) };
    scheduler.submit(vec![drafted(1), drafted(2), job(3, 1)]).unwrap();
    let plan = scheduler.plan(now);
    assert_eq!(rows(&plan), [(1, 0, 6, true), (2, 0, 6, true)], "with the end of the prompt");
    assert_eq!(plan.rows[0].guesses(), [4, 5, 6, 7]);
    // The first is cancelled while its step runs; of the second two guesses were right.
    scheduler.cancel(RequestId(1));
    let outcomes = scheduler.complete(&plan, &[vec![4, 5, 6, 7, 8], vec![4, 5, 8]]);
    assert_eq!(outcomes.iter().map(|outcome| outcome.n_taken).collect::<Vec<_>>(), [0, 3]);
    let plan = scheduler.plan(now);
    assert_eq!(plan.released, [Slot(0)]);
    let second = plan.rows.iter().find(|row| row.id == RequestId(2)).unwrap();
    assert_eq!((second.position, second.tokens[0]), (4, 8), "prompt, 4 and 5 are kept");
    assert_eq!(second.guesses(), [7], "6 was replaced");
    // A stop ends the answer in the middle of what was chosen.
    let choose = |row| [if row == second { STOP } else { 2 }];
    let chosen: Vec<_> = plan.rows.iter().map(choose).collect();
    let outcomes = scheduler.complete(&plan, &chosen);
    let stopped = Some(Ended::Finished(FinishReason::Stop));
    assert!(outcomes.iter().any(|outcome| (outcome.n_taken, outcome.ended) == (0, stopped)));
}

#[test]
fn a_failed_step_ends_its_rows_only() {
    let mut scheduler = Scheduler::new(config(1));
    let now = Instant::now();
    scheduler.submit(vec![job(1, 1), job(2, 1)]).unwrap();
    let plan = scheduler.plan(now);
    scheduler.fail(&plan.rows);
    let plan = scheduler.plan(now);
    assert_eq!(plan.ended, [(RequestId(1), Ended::Failed)]);
    assert_eq!(rows(&plan), [(2, 0, 1, true)]);
}

/// What a test does to the scheduler next.
#[derive(Debug, Clone)]
enum Action {
    Submit { prompts: Vec<usize>, priority: u8, deadline_ms: Option<u64> },
    Cancel(u64),
    Step { token: TokenId, fate: Fate, later_ms: u64 },
}

/// How a step of the engine ends.
#[derive(Debug, Clone, Copy)]
enum Fate {
    Good,
    Fails,
    /// The engine is gone, and with it the first row; a new one takes its place.
    LosesEngine,
}

fn action() -> impl Strategy<Value = Action> {
    let prompts = prop::collection::vec(1_usize..40, 1..4);
    let fate = prop_oneof![
        18 => Just(Fate::Good),
        1 => Just(Fate::Fails),
        1 => Just(Fate::LosesEngine),
    ];
    prop_oneof![
        (prompts, any::<u8>(), prop::option::of(0_u64..50)).prop_map(
            |(prompts, priority, deadline_ms)| Action::Submit { prompts, priority, deadline_ms }
        ),
        (0_u64..40).prop_map(Action::Cancel),
        (1_u32..10, fate, 0_u64..10).prop_map(|(token, fate, later_ms)| Action::Step {
            token,
            fate,
            later_ms
        }),
    ]
}

proptest! {
    #[test]
    fn every_request_ends_exactly_once(actions in prop::collection::vec(action(), 1..80)) {
        let config = config(3);
        let mut scheduler = Scheduler::new(config);
        let mut now = Instant::now();
        let mut next_id = 0;
        let mut open = HashSet::new();
        let mut held: HashMap<Slot, (RequestId, usize)> = HashMap::new();
        // Enough steps at the end to drain whatever is left.
        let drain = std::iter::repeat_n(Action::Step { token: STOP, fate: Fate::Good, later_ms: 1 }, 200);
        for action in actions.into_iter().chain(drain) {
            match action {
                Action::Submit { prompts, priority, deadline_ms } => {
                    let deadline = deadline_ms.map(|ms| now + Duration::from_millis(ms));
                    let jobs: Vec<_> = prompts.iter().zip(next_id..).map(|(len, id)| {
                        Job { priority, deadline, ..job(id, *len) }
                    }).collect();
                    let ids: Vec<_> = jobs.iter().map(|job| job.id).collect();
                    next_id += ids.len() as u64;
                    let waiting = scheduler.n_waiting();
                    match scheduler.submit(jobs) {
                        Ok(()) => open.extend(ids),
                        Err(SubmitError::QueueFull { .. }) => {
                            prop_assert!(waiting + ids.len() > config.queue_limit);
                        }
                        Err(other) => prop_assert!(false, "{other}"),
                    }
                }
                Action::Cancel(id) => scheduler.cancel(RequestId(id)),
                Action::Step { token, fate, later_ms } => {
                    now += Duration::from_millis(later_ms);
                    let plan = scheduler.plan(now);
                    for (id, _) in &plan.ended {
                        prop_assert!(open.remove(id), "{id:?} ended twice");
                    }
                    for slot in &plan.released {
                        held.remove(slot);
                    }
                    let tokens: usize = plan.rows.iter().map(|row| row.tokens.len()).sum();
                    prop_assert!(tokens <= config.step_tokens_max);
                    let slots: HashSet<_> = plan.rows.iter().map(|row| row.slot).collect();
                    prop_assert_eq!(slots.len(), plan.rows.len(), "one row a slot");
                    for row in &plan.rows {
                        let (owner, fed) = held.entry(row.slot).or_insert((row.id, 0));
                        prop_assert_eq!(*owner, row.id, "the slot belongs to another");
                        prop_assert_eq!(*fed, row.position, "a row goes on where the last ended");
                        *fed += row.tokens.len();
                    }
                    match fate {
                        Fate::Good => {}
                        Fate::Fails => {
                            scheduler.fail(&plan.rows);
                            continue;
                        }
                        Fate::LosesEngine => {
                            scheduler.fail(&plan.rows[..plan.rows.len().min(1)]);
                            scheduler.refeed();
                            held.values_mut().for_each(|(_, fed)| *fed = 0);
                            continue;
                        }
                    }
                    let wanted: Vec<_> = plan.rows.iter().filter(|row| row.wants_token).collect();
                    let outcomes = complete(&mut scheduler, &plan, token);
                    for (row, outcome) in wanted.iter().zip(outcomes) {
                        if outcome.is_some() {
                            prop_assert!(open.remove(&row.id), "{:?} ended twice", row.id);
                        }
                    }
                }
            }
        }
        prop_assert!(open.is_empty(), "never ended: {open:?}");
        prop_assert!(scheduler.is_idle());
    }
}

/// A request whose draft is `10, 11, ..`, `n` tokens of it.
fn drafted(id: u64, prompt_tokens: usize, n: u32) -> Job {
    Job { draft: (10..10 + n).collect(), new_tokens_max: 200, ..job(id, prompt_tokens) }
}

/// Room for everything, so that only the price of a step limits guesses.
fn with_cheap_steps(slots: usize, cheap_step_tokens: usize) -> Scheduler {
    Scheduler::new(SchedulerConfig {
        context_tokens_max: 500,
        step_tokens_max: 100,
        prefill_tokens_beside_decode: 100,
        cheap_step_tokens,
        queue_limit: 99,
        ..config(slots)
    })
}

/// The run of tokens after which all guesses were right.
fn as_guessed(row: &PlannedRow) -> Vec<TokenId> {
    let last = *row.tokens.last().unwrap();
    let next = if last == 1 { 10 } else { last + 1 };
    [row.guesses(), &[next]].concat()
}

fn complete_as_guessed(scheduler: &mut Scheduler, plan: &Plan) {
    let runs: Vec<_> = plan.rows.iter().map(as_guessed).collect();
    scheduler.complete(plan, &runs);
}

/// Known tokens and guesses of each row.
fn known_and_guessed(plan: &Plan) -> Vec<(usize, usize)> {
    plan.rows.iter().map(|row| (row.tokens.len() - row.n_guesses, row.n_guesses)).collect()
}

#[test]
fn guesses_fill_a_step_up_to_where_it_gets_dear() {
    let now = Instant::now();
    let mut scheduler = with_cheap_steps(3, 8);
    scheduler.submit(vec![drafted(1, 3, 100)]).unwrap();
    let plan = scheduler.plan(now);
    assert_eq!(known_and_guessed(&plan), [(3, 5)]);
    complete_as_guessed(&mut scheduler, &plan);
    let plan = scheduler.plan(now);
    assert_eq!(known_and_guessed(&plan), [(1, 7)]);
    complete_as_guessed(&mut scheduler, &plan);
    // One that has less leaves the rest to the others, and of those the oldest gets the odd one.
    scheduler.submit(vec![drafted(2, 2, 1), drafted(3, 1, 100)]).unwrap();
    let plan = scheduler.plan(now);
    assert_eq!(known_and_guessed(&plan), [(1, 2), (2, 1), (1, 1)]);
    complete_as_guessed(&mut scheduler, &plan);
    // The short draft is used up; what it still guesses is unlikely.
    assert_eq!(known_and_guessed(&scheduler.plan(now)), [(1, 3), (1, 0), (1, 2)]);
}

#[test]
fn a_full_batch_makes_no_guesses() {
    let now = Instant::now();
    for (slots, guessed) in [(7, 1), (8, 0)] {
        let mut scheduler = with_cheap_steps(slots, 8);
        scheduler.submit((0..slots as u64).map(|id| drafted(id, 1, 100)).collect()).unwrap();
        for _ in 0..3 {
            let plan = scheduler.plan(now);
            let n_guesses = plan.rows.iter().map(|row| row.n_guesses).sum::<usize>();
            assert_eq!((plan.rows.len(), n_guesses), (slots, guessed));
            complete_as_guessed(&mut scheduler, &plan);
        }
    }
}

#[test]
fn a_dear_step_takes_likely_guesses_only() {
    let now = Instant::now();
    // The answer to 1 has left its draft, that to 2 follows it.
    let begin = |cheap_step_tokens| {
        let mut scheduler = with_cheap_steps(3, cheap_step_tokens);
        scheduler.submit(vec![drafted(1, 1, 100), drafted(2, 1, 100)]).unwrap();
        let plan = scheduler.plan(now);
        scheduler.complete(&plan, &[vec![5], as_guessed(&plan.rows[1])]);
        scheduler
    };
    let mut scheduler = begin(8);
    assert_eq!(known_and_guessed(&scheduler.plan(now)), [(1, 0), (1, 6)], "likely ones first");
    let roomy = begin(40).plan(now);
    assert_eq!(known_and_guessed(&roomy), [(1, 1), (1, 32)], "then the others, while it is cheap");
    scheduler.submit(vec![drafted(3, 20, 50)]).unwrap();
    let plan = scheduler.plan(now);
    assert_eq!(known_and_guessed(&plan), [(1, 0), (1, 32), (20, 32)], "a prompt makes it dear");
    let mut scheduler = begin(1);
    assert_eq!(known_and_guessed(&scheduler.plan(now)), [(1, 0), (1, 32)], "sequences do");
    let mut scheduler = begin(usize::MAX);
    scheduler.submit(vec![drafted(3, 20, 50)]).unwrap();
    assert_eq!(known_and_guessed(&scheduler.plan(now)), [(1, 1), (1, 32), (20, 32)], "never");
}
