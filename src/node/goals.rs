//! The goals of the action server, as a pure book: no clock, no middleware.
//!
//! States and the rules of cancelling are those of `action_msgs` and the action design of ROS 2
//! (design.ros2.org, "Actions").

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use hymt_core::generate::CancelFlag;

use crate::ros::wire::Time;
use crate::ros::wire::action::{
    CancelGoalResponse, GoalInfo, GoalStatus, GoalStatusArray, TranslateTextResult, Uuid,
};

/// Goals that are known at once, ended ones included; beyond it new ones are rejected.
pub(super) const GOALS_MAX: usize = 64;

/// How long the result of an ended goal can be asked for.
pub(super) const RESULT_KEPT: Duration = Duration::from_secs(300);

/// Calls of `get_result` that may wait for one goal.
pub(super) const WAITERS_MAX: usize = 8;

/// All goals. `W` is whoever waits for a result.
pub(super) struct GoalBook<W> {
    goals: BTreeMap<[u8; 16], Goal<W>>,
}

struct Goal<W> {
    stamp: Time,
    status: i8,
    cancel: CancelFlag,
    waiters: Vec<W>,
    ended: Option<(Instant, TranslateTextResult)>,
}

/// Why a goal is rejected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Rejected {
    #[error("a goal with this identifier is known already")]
    Duplicate,
    #[error("{GOALS_MAX} goals are known already; wait for some to end")]
    TooMany,
}

/// What became of a wait for a result.
pub(super) enum Wait<W> {
    /// The goal has ended; here is how.
    Ended(W, i8, TranslateTextResult),
    /// The waiter is kept until it ends.
    Kept,
    /// There is no such goal.
    Unknown(W),
    /// Too many wait already.
    TooMany(W),
}

impl<W> Default for GoalBook<W> {
    fn default() -> Self {
        Self { goals: BTreeMap::new() }
    }
}

impl<W> GoalBook<W> {
    /// Takes a goal. An ended one makes room if there is none.
    pub(super) fn accept(
        &mut self,
        id: Uuid,
        stamp: Time,
        now: Instant,
    ) -> Result<CancelFlag, Rejected> {
        self.expire(now);
        if self.goals.contains_key(&id.uuid) {
            return Err(Rejected::Duplicate);
        }
        if self.goals.len() >= GOALS_MAX {
            let ended = |(id, goal): (&[u8; 16], &Goal<W>)| Some((goal.ended.as_ref()?.0, *id));
            let oldest = self.goals.iter().filter_map(ended).min();
            let (_, oldest) = oldest.ok_or(Rejected::TooMany)?;
            self.goals.remove(&oldest);
        }
        let cancel = CancelFlag::default();
        let goal = Goal {
            stamp,
            status: GoalStatus::STATUS_ACCEPTED,
            cancel: cancel.clone(),
            waiters: Vec::new(),
            ended: None,
        };
        self.goals.insert(id.uuid, goal);
        Ok(cancel)
    }

    /// Work on a goal begins; one that is being cancelled stays so.
    pub(super) fn begin(&mut self, id: Uuid) {
        if let Some(goal) = self.goals.get_mut(&id.uuid)
            && goal.status == GoalStatus::STATUS_ACCEPTED
        {
            goal.status = GoalStatus::STATUS_EXECUTING;
        }
    }

    /// A goal has ended; gives back who waits for its result.
    pub(super) fn end(
        &mut self,
        id: Uuid,
        status: i8,
        result: &TranslateTextResult,
        now: Instant,
    ) -> Vec<W> {
        let Some(goal) = self.goals.get_mut(&id.uuid) else { return Vec::new() };
        goal.status = status;
        goal.ended = Some((now, result.clone()));
        std::mem::take(&mut goal.waiters)
    }

    /// Somebody asks for a result.
    pub(super) fn wait(&mut self, id: Uuid, waiter: W, now: Instant) -> Wait<W> {
        self.expire(now);
        let Some(goal) = self.goals.get_mut(&id.uuid) else { return Wait::Unknown(waiter) };
        match &goal.ended {
            Some((_, result)) => Wait::Ended(waiter, goal.status, result.clone()),
            None if goal.waiters.len() >= WAITERS_MAX => Wait::TooMany(waiter),
            None => {
                goal.waiters.push(waiter);
                Wait::Kept
            }
        }
    }

    /// Asks goals to end, as `action_msgs/CancelGoal` says which.
    pub(super) fn cancel(&mut self, which: &GoalInfo) -> CancelGoalResponse {
        let any_id = which.goal_id.uuid == [0; 16];
        let any_time = which.stamp == Time::default();
        let is_meant = |id: &[u8; 16], goal: &Goal<W>| match (any_id, any_time) {
            (true, true) => true,
            (true, false) => order(&goal.stamp) <= order(&which.stamp),
            (false, true) => *id == which.goal_id.uuid,
            (false, false) => {
                *id == which.goal_id.uuid || order(&goal.stamp) <= order(&which.stamp)
            }
        };
        let mut response = CancelGoalResponse::default();
        for (id, goal) in &mut self.goals {
            if is_meant(id, goal) && goal.ended.is_none() {
                goal.status = GoalStatus::STATUS_CANCELING;
                goal.cancel.cancel();
                response.goals_canceling.push(info(id, goal));
            }
        }
        if response.goals_canceling.is_empty() && !any_id {
            response.return_code = if self.goals.contains_key(&which.goal_id.uuid) {
                CancelGoalResponse::ERROR_GOAL_TERMINATED
            } else {
                CancelGoalResponse::ERROR_UNKNOWN_GOAL_ID
            };
        }
        response
    }

    /// Asks all goals to end.
    pub(super) fn cancel_all(&mut self) {
        self.cancel(&GoalInfo::default());
    }

    /// How far every goal is.
    pub(super) fn statuses(&self) -> GoalStatusArray {
        let status = |(id, goal): (&[u8; 16], &Goal<W>)| GoalStatus {
            goal_info: info(id, goal),
            status: goal.status,
        };
        GoalStatusArray { status_list: self.goals.iter().map(status).collect() }
    }

    /// Forgets results that are older than [`RESULT_KEPT`].
    fn expire(&mut self, now: Instant) {
        self.goals.retain(|_, goal| {
            goal.ended
                .as_ref()
                .is_none_or(|(ended, _)| now.saturating_duration_since(*ended) < RESULT_KEPT)
        });
    }
}

fn info<W>(id: &[u8; 16], goal: &Goal<W>) -> GoalInfo {
    GoalInfo { goal_id: Uuid { uuid: *id }, stamp: goal.stamp.clone() }
}

fn order(time: &Time) -> (i32, u32) {
    (time.sec, time.nanosec)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: u8) -> Uuid {
        Uuid { uuid: [n; 16] }
    }

    fn at(sec: i32) -> Time {
        Time { sec, nanosec: 0 }
    }

    fn book(n: u8) -> GoalBook<u32> {
        let mut book = GoalBook::default();
        for n in 1..=n {
            book.accept(id(n), at(i32::from(n)), Instant::now()).unwrap();
        }
        book
    }

    fn cancelled(book: &mut GoalBook<u32>, goal_id: Uuid, stamp: Time) -> (i8, Vec<u8>) {
        let response = book.cancel(&GoalInfo { goal_id, stamp });
        let ids = response.goals_canceling.iter().map(|goal| goal.goal_id.uuid[0]).collect();
        (response.return_code, ids)
    }

    #[test]
    fn a_result_reaches_who_waited_and_who_asks_later() {
        let (mut book, now) = (book(1), Instant::now());
        book.begin(id(1));
        assert!(matches!(book.wait(id(1), 7, now), Wait::Kept));
        let result = TranslateTextResult { success: true, ..Default::default() };
        assert_eq!(book.end(id(1), GoalStatus::STATUS_SUCCEEDED, &result, now), [7]);
        assert!(matches!(book.wait(id(1), 8, now), Wait::Ended(8, 4, kept) if kept == result));
        let later = now + RESULT_KEPT;
        assert!(matches!(book.wait(id(1), 9, later), Wait::Unknown(9)));
    }

    #[test]
    fn cancelling_follows_the_four_cases() {
        assert_eq!(cancelled(&mut book(3), id(0), at(0)), (0, vec![1, 2, 3]));
        assert_eq!(cancelled(&mut book(3), id(0), at(2)), (0, vec![1, 2]));
        assert_eq!(cancelled(&mut book(3), id(2), at(0)), (0, vec![2]));
        assert_eq!(cancelled(&mut book(3), id(3), at(1)), (0, vec![1, 3]));
        assert_eq!(cancelled(&mut book(3), id(9), at(0)), (2, vec![]));
        let mut done = book(1);
        let _ = done.end(id(1), 4, &TranslateTextResult::default(), Instant::now());
        assert_eq!(cancelled(&mut done, id(1), at(0)), (3, vec![]));
    }

    #[test]
    fn a_cancelled_goal_does_not_begin() {
        let mut book: GoalBook<u32> = GoalBook::default();
        let flag = book.accept(id(1), at(1), Instant::now()).unwrap();
        book.cancel_all();
        assert!(flag.is_cancelled());
        book.begin(id(1));
        assert_eq!(book.statuses().status_list[0].status, GoalStatus::STATUS_CANCELING);
    }

    #[test]
    fn the_book_is_bounded_and_ended_goals_make_room() {
        let now = Instant::now();
        let mut book = book(GOALS_MAX as u8);
        assert_eq!(book.accept(id(1), at(1), now).unwrap_err(), Rejected::Duplicate);
        assert_eq!(book.accept(id(200), at(1), now).unwrap_err(), Rejected::TooMany);
        let _ = book.end(id(5), 4, &TranslateTextResult::default(), now);
        assert!(book.accept(id(200), at(1), now).is_ok());
        assert!(matches!(book.wait(id(5), 1, now), Wait::Unknown(1)));
        for waiter in 0..WAITERS_MAX as u32 {
            assert!(matches!(book.wait(id(200), waiter, now), Wait::Kept));
        }
        assert!(matches!(book.wait(id(200), 99, now), Wait::TooMany(99)));
    }
}
