//! The action `~/translate_text`: three services and two topics, as `rcl_action` names them.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use hymt_core::generate::CancelFlag;

use super::NodeError;
use super::goals::{GoalBook, Wait};
use super::shared::Shared;
use super::work::Job;
use crate::ros::names::NameResolver;
use crate::ros::wire::action::{
    CancelGoal, FeedbackMessage, GetResultResponse, GoalStatus, GoalStatusArray, SendGoalRequest,
    SendGoalResponse, TranslateTextFeedback, TranslateTextGetResult, TranslateTextResult,
    TranslateTextSendGoal, Uuid,
};
use crate::ros::wire::{Time, Translation};
use crate::ros::{Node, Publisher, QosProfile, Responder, Server};

/// Partial texts of one goal are sent at most this often.
pub(super) const FEEDBACK_INTERVAL: Duration = Duration::from_millis(20);

const ACTION: &str = "~/translate_text/_action";

/// The goals and how they are told of.
pub(super) struct ActionServer {
    book: Mutex<GoalBook<Responder<GetResultResponse>>>,
    feedback: Publisher<FeedbackMessage>,
    status: Publisher<GoalStatusArray>,
}

/// The services, alive as long as this is.
pub(super) struct ActionServices {
    _send_goal: Server<TranslateTextSendGoal>,
    _cancel_goal: Server<CancelGoal>,
    _get_result: Server<TranslateTextGetResult>,
}

impl ActionServer {
    pub(super) fn new(node: &Node, names: &NameResolver) -> Result<Self, NodeError> {
        let topic = |name: &str| names.topic(&format!("{ACTION}/{name}"));
        Ok(Self {
            book: Mutex::default(),
            feedback: node.publisher(&topic("feedback")?, &QosProfile::DEFAULT)?,
            status: node.publisher(&topic("status")?, &QosProfile::LATCHED)?,
        })
    }

    /// Work on a goal begins.
    pub(super) fn begin(&self, id: Uuid) {
        let mut book = self.book();
        book.begin(id);
        self.tell(&book);
    }

    /// A partial text, for whoever watches.
    pub(super) fn feed_back(&self, goal_id: Uuid, partial: Translation) {
        let message = FeedbackMessage { goal_id, feedback: TranslateTextFeedback { partial } };
        if let Err(error) = self.feedback.publish(&message) {
            tracing::debug!(%error, "feedback is lost");
        }
    }

    /// A goal has ended.
    pub(super) fn end(&self, id: Uuid, status: i8, result: &TranslateTextResult) {
        let waiters = {
            let mut book = self.book();
            let waiters = book.end(id, status, result, Instant::now());
            self.tell(&book);
            waiters
        };
        for waiter in waiters {
            waiter.respond_or_log(&GetResultResponse { status, result: result.clone() });
        }
    }

    /// Asks all goals to end.
    pub(super) fn cancel_all(&self) {
        self.book().cancel_all();
    }

    /// The book is held, so that of two changes the later one is also told last.
    fn tell(&self, book: &GoalBook<Responder<GetResultResponse>>) {
        if let Err(error) = self.status.publish(&book.statuses()) {
            tracing::debug!(%error, "the status of goals is lost");
        }
    }

    fn book(&self) -> MutexGuard<'_, GoalBook<Responder<GetResultResponse>>> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ActionServices {
    pub(super) fn start(node: &Node, shared: &Arc<Shared>) -> Result<Self, NodeError> {
        let service = |name: &str| shared.names.service(&format!("{ACTION}/{name}"));
        let (send, cancel, result) = (Arc::clone(shared), Arc::clone(shared), Arc::clone(shared));
        Ok(Self {
            _send_goal: node.service(&service("send_goal")?, move |request, responder| {
                responder.respond_or_log(&send_goal(&send, request));
            })?,
            _cancel_goal: node.service(
                &service("cancel_goal")?,
                move |request: crate::ros::wire::action::CancelGoalRequest, responder| {
                    let response = {
                        let mut book = cancel.action.book();
                        let response = book.cancel(&request.goal_info);
                        cancel.action.tell(&book);
                        response
                    };
                    responder.respond_or_log(&response);
                },
            )?,
            _get_result: node.service(
                &service("get_result")?,
                move |request: crate::ros::wire::action::GetResultRequest, responder| {
                    get_result(&result.action, request.goal_id, responder);
                },
            )?,
        })
    }
}

/// Takes a goal. What is wrong with it, and that the node is not active or too busy, the result
/// says, because a rejection has no words.
fn send_goal(shared: &Shared, request: SendGoalRequest) -> SendGoalResponse {
    let (id, stamp) = (request.goal_id, shared.now());
    let accepted = {
        let mut book = shared.action.book();
        let accepted = book.accept(id, stamp.clone(), Instant::now());
        shared.action.tell(&book);
        accepted
    };
    let cancel = match accepted {
        Ok(cancel) => cancel,
        Err(reason) => {
            tracing::warn!(%reason, "a goal was rejected");
            return SendGoalResponse { accepted: false, stamp: Time::default() };
        }
    };
    enqueue(shared, request, cancel);
    SendGoalResponse { accepted: true, stamp }
}

fn enqueue(shared: &Shared, request: SendGoalRequest, cancel: CancelFlag) {
    let id = request.goal_id;
    let job = Job::Goal { id, goal: request.goal, cancel, received: Instant::now() };
    let refused = match shared.enqueue(job) {
        Ok(()) => return,
        Err(refused) => refused,
    };
    let (code, message) = refused.words();
    let result = TranslateTextResult { code, message, ..TranslateTextResult::default() };
    shared.action.end(id, GoalStatus::STATUS_ABORTED, &result);
}

fn get_result(action: &ActionServer, id: Uuid, responder: Responder<GetResultResponse>) {
    let waited = {
        let mut book = action.book();
        let waited = book.wait(id, responder, Instant::now());
        if matches!(waited, Wait::Kept) {
            // What was told before the client had the answer to its goal, rclpy could not relate
            // to it; without a status it does not cancel on Ctrl-C. Now it holds the goal.
            action.tell(&book);
        }
        waited
    };
    match waited {
        Wait::Kept => {}
        Wait::Ended(waiter, status, result) => {
            waiter.respond_or_log(&GetResultResponse { status, result });
        }
        Wait::Unknown(waiter) | Wait::TooMany(waiter) => {
            tracing::debug!("a result was asked for that is not known");
            waiter.respond_or_log(&GetResultResponse::default());
        }
    }
}
