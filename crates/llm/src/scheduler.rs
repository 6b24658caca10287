//! The scheduler: a pure state machine that decides what the next step runs.
//!
//! It owns no clock, no thread and no engine. It is told what was submitted, what was cancelled,
//! what time it is and which tokens a step produced; it answers with a [`Plan`]. The inference
//! thread acts on it.
//!
//! Policy:
//! - *Continuous batching.* A sequence joins and leaves at any step.
//! - *Order.* Higher priority first; among equals, first come first served. There is no ageing: a
//!   stream of high-priority work delays the rest without bound, and deadlines are what protects a
//!   caller from that. A group (one utterance into several languages) waits as neighbours, so it
//!   starts together when enough slots are free, and as many as fit otherwise.
//! - *Budget.* Each running answer gets its one token first; what is left of the step's tokens goes
//!   to prompts, in the same order as above, cut into chunks. While answers are running, prompts get at
//!   most [`SchedulerConfig::prefill_tokens_beside_decode`] a step, so that a long prompt cannot
//!   stall them.
//! - *Drafts.* A sequence that has one feeds guesses behind its last known token, up to
//!   [`GUESSES_MAX`] a step, and keeps those that the network would have chosen itself. Guesses get what
//!   prompts leave of the same budget, in equal shares, so they stall nobody either. They make no step
//!   dear: one that is within [`SchedulerConfig::cheap_step_tokens`] without them stays within it.

mod draft;
mod slots;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use self::draft::Draft;
pub use self::draft::{DRAFT_TOKENS_MAX, GUESSES_MAX};
use self::slots::SlotAllocator;
use crate::TokenId;
use crate::engine::{EngineSpec, Slot};
use crate::request::{FinishReason, SubmitError};

/// Names a request towards the scheduler.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RequestId(pub u64);

/// The scheduler's bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SchedulerConfig {
    /// KV-cache slots of the engine.
    pub slots: usize,
    /// Longest sequence of a slot. Tokens.
    pub context_tokens_max: usize,
    /// Most tokens of one step; at least `slots`.
    pub step_tokens_max: usize,
    /// Most prompt tokens of a step that also produces answers.
    pub prefill_tokens_beside_decode: usize,
    /// Most requests that wait for a slot.
    pub queue_limit: usize,
    /// Tokens of a step up to which one more costs little; see
    /// [`Engine::cheap_step_tokens`](crate::engine::Engine::cheap_step_tokens). Guesses fill a step up
    /// to there, also those that little speaks for. In a step that is larger without them each one has
    /// its price, so only likely ones are tried there.
    pub cheap_step_tokens: usize,
}

impl SchedulerConfig {
    /// The bounds of an engine, with `queue_limit` requests waiting at most. An engine whose step
    /// is smaller than its number of slots gets only as many sequences as one step can serve.
    pub fn for_engine(spec: &EngineSpec, queue_limit: usize) -> Self {
        Self {
            slots: spec.slots.min(spec.step_tokens_max),
            context_tokens_max: spec.context_tokens_max,
            step_tokens_max: spec.step_tokens_max,
            prefill_tokens_beside_decode: PREFILL_TOKENS_BESIDE_DECODE,
            queue_limit,
            cheap_step_tokens: usize::MAX,
        }
    }
}

/// Default of [`SchedulerConfig::prefill_tokens_beside_decode`]: about one prompt of a short
/// sentence.
pub const PREFILL_TOKENS_BESIDE_DECODE: usize = 64;

/// A request as the scheduler sees it.
#[derive(Debug, Clone)]
pub struct Job {
    /// Its name; never used twice.
    pub id: RequestId,
    /// The prompt; never empty.
    pub prompt: Vec<TokenId>,
    /// Most tokens of the answer, at least 1.
    pub new_tokens_max: usize,
    /// Tokens that end the answer, except for a first one that repeats the prompt's last.
    pub stop: Arc<[TokenId]>,
    /// Higher runs first.
    pub priority: u8,
    /// When it is of no use any more.
    pub deadline: Option<Instant>,
    /// What the answer may turn out to be. Only for greedy decoding: what is drawn by chance must not
    /// depend on guesses.
    pub draft: Vec<TokenId>,
}

/// What the next step runs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// Rows of the batch.
    pub rows: Vec<PlannedRow>,
    /// Slots whose sequences have ended since the last plan.
    pub released: Vec<Slot>,
    /// Requests that ended without a step.
    pub ended: Vec<(RequestId, Ended)>,
}

/// One row of the batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedRow {
    /// Whose row it is.
    pub id: RequestId,
    /// Where its sequence lives.
    pub slot: Slot,
    /// Position of the first token.
    pub position: usize,
    /// Tokens to append.
    pub tokens: Vec<TokenId>,
    /// True when the row reaches the end of what is known, so that a token is to be chosen.
    pub wants_token: bool,
    /// How many of `tokens`, at their end, are guesses. Where there are some, `wants_token` is true
    /// and a token is to be chosen after the last known one and after each guess that was right.
    pub n_guesses: usize,
}

impl PlannedRow {
    /// The guesses.
    pub fn guesses(&self) -> &[TokenId] {
        &self.tokens[self.tokens.len() - self.n_guesses..]
    }

    /// How many rows of logits it needs: after the last known token and after each guess.
    pub fn logits_rows(&self) -> usize {
        if self.wants_token { 1 + self.n_guesses } else { 0 }
    }
}

/// What became of the tokens chosen for a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Outcome {
    /// How many of them, from the first, belong to the answer: not a stop token, nor what follows.
    pub n_taken: usize,
    /// How the request ended, if it did.
    pub ended: Option<Ended>,
}

/// How a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// Its answer is complete.
    Finished(FinishReason),
    /// Its deadline passed.
    DeadlineExceeded,
    /// It was cancelled.
    Cancelled,
    /// Its step failed.
    Failed,
}

/// Decides what runs.
#[derive(Debug)]
pub struct Scheduler {
    config: SchedulerConfig,
    slots: SlotAllocator,
    /// By priority, then by arrival.
    waiting: VecDeque<Job>,
    /// By priority, then by admission.
    running: Vec<Running>,
    released: Vec<Slot>,
    ended: Vec<(RequestId, Ended)>,
}

/// A sequence in a slot.
#[derive(Debug)]
struct Running {
    /// Without its prompt, which is in `sequence`.
    job: Job,
    slot: Slot,
    /// Answer so far.
    output: usize,
    /// Prompt and answer.
    sequence: Vec<TokenId>,
    /// How much of `sequence` the engine holds.
    fed: usize,
    /// How much the current step feeds, guesses not counted.
    in_step: usize,
    draft: Draft,
}

impl Running {
    /// True when it feeds its last token alone. An answer whose engine was lost feeds what it has like
    /// a prompt.
    fn is_decoding(&self) -> bool {
        self.output > 0 && self.sequence.len() - self.fed == 1
    }

    /// Takes a token of the answer; how that ends it, if it does.
    fn grow(&mut self, token: TokenId) -> Option<FinishReason> {
        // A model that first repeats the header which asked for its answer goes on to give it.
        let repeats_header = self.output == 0 && self.sequence.last() == Some(&token);
        if self.job.stop.contains(&token) && !repeats_header {
            return Some(FinishReason::Stop);
        }
        self.sequence.push(token);
        self.output += 1;
        self.draft.follow(token, &self.sequence);
        (self.output >= self.job.new_tokens_max).then_some(FinishReason::Length)
    }

    /// Guesses that a step can use: each may yield a token, and one more is chosen after the last.
    fn guesses(&self, tries_unlikely: bool) -> &[TokenId] {
        let n = self.job.new_tokens_max - self.output - 1;
        self.draft.guesses(n, tries_unlikely)
    }
}

impl Scheduler {
    /// An idle scheduler.
    pub fn new(config: SchedulerConfig) -> Self {
        assert!(
            config.slots > 0 && config.step_tokens_max >= config.slots,
            "a step must have room for one token of every slot: {config:?}"
        );
        Self {
            slots: SlotAllocator::new(config.slots),
            waiting: VecDeque::new(),
            running: Vec::new(),
            released: Vec::new(),
            ended: Vec::new(),
            config,
        }
    }

    /// The bounds.
    pub fn config(&self) -> &SchedulerConfig {
        &self.config
    }

    /// Requests that wait for a slot.
    pub fn n_waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Requests that hold a slot.
    pub fn n_running(&self) -> usize {
        self.running.len()
    }

    /// True when nothing waits and nothing runs.
    pub fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.running.is_empty()
    }

    /// Takes a group of requests, all or none.
    ///
    /// # Errors
    /// When the group or a prompt is empty, a prompt does not fit the context, or the group does
    /// not fit the queue, now or ever.
    pub fn submit(&mut self, group: Vec<Job>) -> Result<(), SubmitError> {
        if group.is_empty() {
            return Err(SubmitError::Empty { what: "the group" });
        }
        let limit = self.config.context_tokens_max.saturating_sub(1);
        for job in &group {
            if job.prompt.is_empty() {
                return Err(SubmitError::Empty { what: "a prompt" });
            }
            if job.prompt.len() > limit {
                return Err(SubmitError::PromptTooLong { tokens: job.prompt.len(), limit });
            }
        }
        let (waiting, limit) = (self.waiting.len(), self.config.queue_limit);
        if group.len() > limit {
            return Err(SubmitError::GroupTooLarge { requests: group.len(), limit });
        }
        if waiting + group.len() > limit {
            return Err(SubmitError::QueueFull { waiting, limit });
        }
        for mut job in group {
            let room = self.config.context_tokens_max - job.prompt.len();
            job.new_tokens_max = job.new_tokens_max.clamp(1, room);
            let place = self.waiting.partition_point(|other| other.priority >= job.priority);
            self.waiting.insert(place, job);
        }
        Ok(())
    }

    /// Ends a request, waiting or running; the next plan says so and frees its slot.
    pub fn cancel(&mut self, id: RequestId) {
        self.end_where(|job| job.id == id, Ended::Cancelled);
    }

    /// Ends everything.
    pub fn cancel_all(&mut self) {
        self.end_where(|_| true, Ended::Cancelled);
    }

    /// Decides the next step. `now` is compared with deadlines.
    pub fn plan(&mut self, now: Instant) -> Plan {
        let late = |job: &Job| job.deadline.is_some_and(|deadline| deadline <= now);
        self.end_where(late, Ended::DeadlineExceeded);
        self.admit();
        Plan {
            rows: self.rows(),
            released: std::mem::take(&mut self.released),
            ended: std::mem::take(&mut self.ended),
        }
    }

    /// The earliest deadline, for a thread that has nothing to run and wants to sleep.
    pub fn next_deadline(&self) -> Option<Instant> {
        let running = self.running.iter().map(|running| &running.job);
        self.waiting.iter().chain(running).filter_map(|job| job.deadline).min()
    }

    /// Takes the result of the last plan: `chosen[i]` are the tokens chosen for the i-th row that wanted
    /// one. The first was chosen after the last known token; each other one after a guess that equals
    /// the one chosen before it. Returns one outcome for each, in the same order.
    pub fn complete<C: AsRef<[TokenId]>>(&mut self, plan: &Plan, chosen: &[C]) -> Vec<Outcome> {
        let mut chosen = chosen.iter();
        let mut outcomes = Vec::with_capacity(chosen.len());
        for row in &plan.rows {
            // A request cancelled while its step ran is gone; its tokens are dropped with it.
            let place = self.running.iter().position(|running| running.job.id == row.id);
            let tokens = if row.wants_token { chosen.next() } else { None };
            let tokens = tokens.map_or(&[][..], AsRef::as_ref);
            let outcome = place.map(|place| self.advance(place, row.guesses(), tokens));
            if row.wants_token {
                outcomes.push(outcome.unwrap_or_default());
            }
        }
        outcomes
    }

    /// Ends requests of the last plan, because its step failed.
    pub fn fail(&mut self, rows: &[PlannedRow]) {
        self.end_where(|job| rows.iter().any(|row| row.id == job.id), Ended::Failed);
    }

    /// The engine has forgotten everything: what runs is fed again from its beginning.
    pub fn refeed(&mut self) {
        for running in &mut self.running {
            running.fed = 0;
            running.in_step = 0;
        }
    }

    fn advance(&mut self, place: usize, guesses: &[TokenId], chosen: &[TokenId]) -> Outcome {
        let running = &mut self.running[place];
        running.fed += std::mem::take(&mut running.in_step);
        let mut outcome = Outcome::default();
        for (index, token) in chosen.iter().enumerate() {
            let finish = running.grow(*token);
            outcome.n_taken += usize::from(finish != Some(FinishReason::Stop));
            if let Some(finish) = finish {
                let running = self.running.remove(place);
                self.release(running.slot);
                outcome.ended = Some(Ended::Finished(finish));
                break;
            }
            // Behind a wrong guess the engine holds what nobody wants; the next row cuts it off.
            if guesses.get(index) != Some(token) {
                break;
            }
            running.fed += 1;
        }
        outcome
    }

    /// Moves waiting requests into free slots.
    fn admit(&mut self) {
        while !self.waiting.is_empty() {
            let Some(slot) = self.slots.take() else { return };
            let mut job = self.waiting.pop_front().expect("checked by the loop");
            let sequence = std::mem::take(&mut job.prompt);
            let draft = Draft::new(std::mem::take(&mut job.draft), &job.stop);
            // An urgent prompt must not queue again, behind a long one that came before it.
            let place = self.running.partition_point(|other| other.job.priority >= job.priority);
            let running = Running { job, slot, output: 0, sequence, fed: 0, in_step: 0, draft };
            self.running.insert(place, running);
        }
    }

    /// Shares the step's tokens out.
    fn rows(&mut self) -> Vec<PlannedRow> {
        let decoding = self.running.iter().filter(|running| running.is_decoding()).count();
        let mut budget = self.config.step_tokens_max - decoding;
        if decoding > 0 {
            budget = budget.min(self.config.prefill_tokens_beside_decode);
        }
        let mut rows = Vec::new();
        for running in &mut self.running {
            let known = running.sequence.len() - running.fed;
            let take = if running.is_decoding() { known } else { known.min(budget) };
            if take == 0 {
                continue;
            }
            if !running.is_decoding() {
                budget -= take;
            }
            running.in_step = take;
            rows.push(PlannedRow {
                id: running.job.id,
                slot: running.slot,
                position: running.fed,
                tokens: running.sequence[running.fed..running.fed + take].to_vec(),
                wants_token: take == known,
                n_guesses: 0,
            });
        }
        self.add_guesses(&mut rows, budget);
        rows
    }

    /// Puts guesses behind rows that reach the end of what is known; `budget` tokens in all, and no
    /// more than keep a cheap step cheap. Unlikely ones get what likely ones leave of a cheap step.
    fn add_guesses(&self, rows: &mut [PlannedRow], budget: usize) {
        let n_tokens = rows.iter().map(|row| row.tokens.len()).sum();
        let cheap = self.config.cheap_step_tokens.checked_sub(n_tokens);
        let left = self.share_guesses(rows, budget.min(cheap.unwrap_or(budget)), false);
        if cheap.is_some() {
            self.share_guesses(rows, left, true);
        }
    }

    /// Shares `budget` tokens out among rows that have no guesses yet. Returns what is left of it.
    fn share_guesses(
        &self,
        rows: &mut [PlannedRow],
        mut budget: usize,
        tries_unlikely: bool,
    ) -> usize {
        let mut rows: Vec<_> = rows
            .iter_mut()
            .rev()
            .filter(|row| row.wants_token && row.n_guesses == 0)
            .filter_map(|row| {
                let running = self.running.iter().find(|running| running.job.id == row.id)?;
                Some((row, running.guesses(tries_unlikely)))
            })
            .filter(|(_, guesses)| !guesses.is_empty())
            .collect();
        // Whoever has least first, so that what it leaves of its share is shared on; of equals who came
        // last, for what a division leaves goes to the end.
        rows.sort_by_key(|(_, guesses)| guesses.len());
        let mut left = rows.len();
        for (row, guesses) in rows {
            let n = guesses.len().min(budget / left);
            row.tokens.extend_from_slice(&guesses[..n]);
            row.n_guesses = n;
            budget -= n;
            left -= 1;
        }
        budget
    }

    fn end_where(&mut self, condition: impl Fn(&Job) -> bool, how: Ended) {
        let (ended, released) = (&mut self.ended, &mut self.released);
        let slots = &mut self.slots;
        self.waiting.retain(|job| {
            let ends = condition(job);
            if ends {
                ended.push((job.id, how));
            }
            !ends
        });
        self.running.retain(|running| {
            let ends = condition(&running.job);
            if ends {
                ended.push((running.job.id, how));
                slots.give_back(running.slot);
                released.push(running.slot);
            }
            !ends
        });
    }

    fn release(&mut self, slot: Slot) {
        self.slots.give_back(slot);
        self.released.push(slot);
    }
}
