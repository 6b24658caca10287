//! Mirrors of `action_msgs` and `unique_identifier_msgs`, and what rosidl makes of our action.
//!
//! An action is three services and two topics: `<name>/_action/send_goal`, `cancel_goal`,
//! `get_result`, `feedback` and `status`.

use super::{Time, Translation, interface, service};

interface! {
    /// A universally unique identifier.
    #[derive(Eq, Hash, Copy)]
    pub struct Uuid = "unique_identifier_msgs/msg/UUID" {
        /// Its octets.
        uuid: [u8; 16],
    }
}

interface! {
    /// A goal, and when it was accepted.
    pub struct GoalInfo = "action_msgs/msg/GoalInfo" {
        /// The goal.
        goal_id: Uuid,
        /// When it was accepted.
        stamp: Time,
    }
}

interface! {
    /// How far a goal is.
    pub struct GoalStatus = "action_msgs/msg/GoalStatus" [
        /// Nothing is known of it.
        const STATUS_UNKNOWN: i8 = 0;
        /// Taken, not begun.
        const STATUS_ACCEPTED: i8 = 1;
        /// Being worked on.
        const STATUS_EXECUTING: i8 = 2;
        /// Asked to end.
        const STATUS_CANCELING: i8 = 3;
        /// Done.
        const STATUS_SUCCEEDED: i8 = 4;
        /// Ended because it was asked to.
        const STATUS_CANCELED: i8 = 5;
        /// Ended by a failure.
        const STATUS_ABORTED: i8 = 6;
    ] {
        /// The goal.
        goal_info: GoalInfo,
        /// One of the constants.
        status: i8,
    }
}

interface! {
    /// All goals that a server knows.
    pub struct GoalStatusArray = "action_msgs/msg/GoalStatusArray" {
        /// The goals.
        status_list: Vec<GoalStatus>,
    }
}

interface! {
    /// Request of [`CancelGoal`].
    ///
    /// Identifier and stamp both zero: every goal. Only the identifier zero: every goal accepted
    /// at or before the stamp. Only the stamp zero: that goal. Neither zero: both of the last two.
    pub struct CancelGoalRequest = "action_msgs/srv/CancelGoal_Request" {
        /// Which goals.
        goal_info: GoalInfo,
    }
}

interface! {
    /// Response of [`CancelGoal`].
    pub struct CancelGoalResponse = "action_msgs/srv/CancelGoal_Response" [
        /// At least one goal is being cancelled.
        const ERROR_NONE: i8 = 0;
        /// Refused.
        const ERROR_REJECTED: i8 = 1;
        /// No such goal.
        const ERROR_UNKNOWN_GOAL_ID: i8 = 2;
        /// The goal has ended already.
        const ERROR_GOAL_TERMINATED: i8 = 3;
    ] {
        /// One of the constants.
        return_code: i8,
        /// What is being cancelled.
        goals_canceling: Vec<GoalInfo>,
    }
}

service! {
    /// Asks goals to end.
    pub struct CancelGoal = "action_msgs/srv/CancelGoal": CancelGoalRequest => CancelGoalResponse
}

interface! {
    /// Goal of the action; the fields are those of [`super::TranslateRequest`] for one text.
    pub struct TranslateTextGoal = "hymt_ros/action/TranslateText_Goal" [
        /// As the target language usually has it.
        const FORMALITY_DEFAULT: u8 = 0;
        /// Informal address.
        const FORMALITY_LESS: u8 = 1;
        /// Formal address.
        const FORMALITY_MORE: u8 = 2;
    ] {
        /// The text.
        text: String,
        /// Empty or `auto`: detect.
        source_locale: String,
        /// Empty: the node's `target_locales`.
        target_locales: Vec<String>,
        /// Name of a glossary; empty: the node's default.
        glossary: String,
        /// `source=target`; they win over the glossary.
        inline_terms: Vec<String>,
        /// Text that helps and is not translated.
        context: String,
        /// One of the constants.
        formality: u8,
        /// Higher first; topics have 128.
        priority: u8,
        /// Seconds; 0: no deadline.
        timeout_s: f32,
    }
}

interface! {
    /// Result of the action.
    pub struct TranslateTextResult = "hymt_ros/action/TranslateText_Result" [
        /// Translated.
        const OK: u8 = 0;
        /// See `message`; nothing was translated.
        const INVALID_REQUEST: u8 = 1;
        /// See `message` for the nearest match.
        const UNSUPPORTED_LANGUAGE: u8 = 2;
        /// The queue is full; try again.
        const OVERLOADED: u8 = 3;
        /// `timeout_s` passed.
        const TIMEOUT: u8 = 4;
        /// The node is not active.
        const NOT_ACTIVE: u8 = 5;
        /// At least one result failed; see its status and detail.
        const FAILED: u8 = 6;
        /// The goal was cancelled.
        const CANCELLED: u8 = 8;
    ] {
        /// True when every result is `OK`, `PASSTHROUGH` or `TRUNCATED`.
        success: bool,
        /// One of the constants.
        code: u8,
        /// Why, in words, when `success` is false.
        message: String,
        /// One for each target.
        results: Vec<Translation>,
    }
}

interface! {
    /// Feedback of the action.
    pub struct TranslateTextFeedback = "hymt_ros/action/TranslateText_Feedback" {
        /// What there is so far.
        partial: Translation,
    }
}

interface! {
    /// Request of [`TranslateTextSendGoal`].
    pub struct SendGoalRequest = "hymt_ros/action/TranslateText_SendGoal_Request" {
        /// Chosen by the client.
        goal_id: Uuid,
        /// The goal.
        goal: TranslateTextGoal,
    }
}

interface! {
    /// Response of [`TranslateTextSendGoal`].
    pub struct SendGoalResponse = "hymt_ros/action/TranslateText_SendGoal_Response" {
        /// Whether the goal was taken.
        accepted: bool,
        /// When.
        stamp: Time,
    }
}

service! {
    /// Sends a goal.
    pub struct TranslateTextSendGoal = "hymt_ros/action/TranslateText_SendGoal":
        SendGoalRequest => SendGoalResponse
}

interface! {
    /// Request of [`TranslateTextGetResult`].
    pub struct GetResultRequest = "hymt_ros/action/TranslateText_GetResult_Request" {
        /// The goal.
        goal_id: Uuid,
    }
}

interface! {
    /// Response of [`TranslateTextGetResult`].
    pub struct GetResultResponse = "hymt_ros/action/TranslateText_GetResult_Response" {
        /// One of the constants of [`GoalStatus`].
        status: i8,
        /// The result.
        result: TranslateTextResult,
    }
}

service! {
    /// Waits for the result of a goal.
    pub struct TranslateTextGetResult = "hymt_ros/action/TranslateText_GetResult":
        GetResultRequest => GetResultResponse
}

interface! {
    /// Feedback with its goal, as it travels.
    pub struct FeedbackMessage = "hymt_ros/action/TranslateText_FeedbackMessage" {
        /// The goal.
        goal_id: Uuid,
        /// What there is so far.
        feedback: TranslateTextFeedback,
    }
}
