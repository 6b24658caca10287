//! The caller's side of a group of requests.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::Shared;
use crate::request::{Completion, GenerateError};
use crate::scheduler::RequestId;

/// Something that happened to a request.
#[derive(Debug, Clone, PartialEq)]
pub enum TicketEvent {
    /// Its answer grew by this text; pieces that came while nobody looked arrive as one.
    Text {
        /// The new text.
        delta: String,
    },
    /// It is complete; nothing follows.
    Done(Completion),
    /// It has no answer; nothing follows.
    Failed(GenerateError),
}

/// A group of submitted requests. Dropping it cancels those that have not ended, within one step.
pub struct TicketGroup {
    ids: Vec<RequestId>,
    state: Arc<GroupState>,
    shared: Arc<Shared>,
    /// Whose turn it is to be told first.
    turn: usize,
}

impl std::fmt::Debug for TicketGroup {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("TicketGroup").field("ids", &self.ids).finish_non_exhaustive()
    }
}

impl TicketGroup {
    pub(super) fn new(ids: Vec<RequestId>, state: Arc<GroupState>, shared: Arc<Shared>) -> Self {
        Self { ids, state, shared, turn: 0 }
    }

    /// How many requests it has.
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Never true: a group without requests is refused.
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// Waits for the next event of any request and says which one it belongs to. `None` when
    /// `timeout` has passed (without one it waits), or when every request has ended and was told.
    /// Requests take turns, so that one whose text grows faster than it is read hides no other.
    pub fn next_event(&mut self, timeout: Option<Duration>) -> Option<(usize, TicketEvent)> {
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        let mut tickets = self.state.lock();
        loop {
            let turns = (self.turn..tickets.len()).chain(0..self.turn);
            for index in turns {
                if let Some(event) = tickets[index].next() {
                    self.turn = (index + 1) % tickets.len();
                    return Some((index, event));
                }
            }
            if tickets.iter().all(|ticket| ticket.told) {
                return None;
            }
            tickets = match deadline {
                None => self.state.news.wait(tickets).unwrap_or_else(PoisonError::into_inner),
                Some(deadline) => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        return None;
                    }
                    let woken = self.state.news.wait_timeout(tickets, left);
                    woken.unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
    }

    /// Waits for all requests; one result each, in order.
    pub fn wait(mut self) -> Vec<Result<Completion, GenerateError>> {
        let mut results: Vec<_> = self.ids.iter().map(|_| Err(GenerateError::Cancelled)).collect();
        while let Some((index, event)) = self.next_event(None) {
            match event {
                TicketEvent::Text { .. } => {}
                TicketEvent::Done(completion) => results[index] = Ok(completion),
                TicketEvent::Failed(error) => results[index] = Err(error),
            }
        }
        results
    }

    /// Ends request `index` of the group, should it still run; it fails with
    /// [`GenerateError::Cancelled`], and the others go on. Does nothing for an index that there is not.
    pub fn cancel_one(&self, index: usize) {
        if let Some(id) = self.ids.get(index).filter(|_| !self.state.has_ended(index)) {
            self.shared.cancel(std::slice::from_ref(id));
        }
    }

    /// Ends what has not ended; each such request fails with [`GenerateError::Cancelled`].
    pub fn cancel(&self) {
        if !self.state.all_ended() {
            self.shared.cancel(&self.ids);
        }
    }
}

impl Drop for TicketGroup {
    fn drop(&mut self) {
        self.cancel();
    }
}

/// What the thread tells the caller. Its size is bounded by that of the answers, so a caller that
/// does not look never holds the thread up.
pub(super) struct GroupState {
    tickets: Mutex<Vec<Ticket>>,
    news: Condvar,
}

#[derive(Default)]
struct Ticket {
    unread: String,
    outcome: Option<Result<Completion, GenerateError>>,
    ended: bool,
    told: bool,
}

impl Ticket {
    fn next(&mut self) -> Option<TicketEvent> {
        if !self.unread.is_empty() {
            let delta = std::mem::take(&mut self.unread);
            return Some(TicketEvent::Text { delta });
        }
        let outcome = self.outcome.take()?;
        self.told = true;
        Some(outcome.map_or_else(TicketEvent::Failed, TicketEvent::Done))
    }
}

impl GroupState {
    pub(super) fn new(len: usize) -> Self {
        let tickets = Mutex::new((0..len).map(|_| Ticket::default()).collect());
        Self { tickets, news: Condvar::new() }
    }

    pub(super) fn text(&self, index: usize, piece: &str) {
        self.lock()[index].unread.push_str(piece);
        self.news.notify_all();
    }

    pub(super) fn end(&self, index: usize, outcome: Result<Completion, GenerateError>) {
        let mut tickets = self.lock();
        tickets[index].outcome = Some(outcome);
        tickets[index].ended = true;
        drop(tickets);
        self.news.notify_all();
    }

    fn has_ended(&self, index: usize) -> bool {
        self.lock()[index].ended
    }

    fn all_ended(&self) -> bool {
        self.lock().iter().all(|ticket| ticket.ended)
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Ticket>> {
        self.tickets.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
