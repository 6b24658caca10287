//! Mirrors of `lifecycle_msgs`.

use super::{interface, service};

interface! {
    /// A state of a managed node.
    pub struct State = "lifecycle_msgs/msg/State" {
        /// A primary state (1..=4) or one of transition (10..=15).
        id: u8,
        /// The same in words.
        label: String,
    }
}

interface! {
    /// A transition between states.
    pub struct Transition = "lifecycle_msgs/msg/Transition" {
        /// Number of the transition; 0 where `label` says which.
        id: u8,
        /// The same in words.
        label: String,
    }
}

interface! {
    /// A transition and where it leads.
    pub struct TransitionDescription = "lifecycle_msgs/msg/TransitionDescription" {
        /// The transition.
        transition: Transition,
        /// Where it begins.
        start_state: State,
        /// Where it ends.
        goal_state: State,
    }
}

interface! {
    /// A transition that has happened.
    pub struct TransitionEvent = "lifecycle_msgs/msg/TransitionEvent" {
        /// Nanoseconds since the epoch.
        timestamp: u64,
        /// The transition.
        transition: Transition,
        /// Where it began.
        start_state: State,
        /// Where it ended.
        goal_state: State,
    }
}

interface! {
    /// Request of [`ChangeState`].
    pub struct ChangeStateRequest = "lifecycle_msgs/srv/ChangeState_Request" {
        /// The transition, by number or by label.
        transition: Transition,
    }
}

interface! {
    /// Response of [`ChangeState`].
    pub struct ChangeStateResponse = "lifecycle_msgs/srv/ChangeState_Response" {
        /// Whether the node is in the goal state now.
        success: bool,
    }
}

service! {
    /// Takes a transition and answers when it is done.
    pub struct ChangeState = "lifecycle_msgs/srv/ChangeState":
        ChangeStateRequest => ChangeStateResponse
}

interface! {
    /// Request of [`GetState`]: empty.
    pub struct GetStateRequest = "lifecycle_msgs/srv/GetState_Request" {
        /// Always 0.
        structure_needs_at_least_one_member: u8,
    }
}

interface! {
    /// Response of [`GetState`].
    pub struct GetStateResponse = "lifecycle_msgs/srv/GetState_Response" {
        /// Where the node is.
        current_state: State,
    }
}

service! {
    /// Where the node is.
    pub struct GetState = "lifecycle_msgs/srv/GetState": GetStateRequest => GetStateResponse
}

interface! {
    /// Request of [`GetAvailableStates`]: empty.
    pub struct GetAvailableStatesRequest = "lifecycle_msgs/srv/GetAvailableStates_Request" {
        /// Always 0.
        structure_needs_at_least_one_member: u8,
    }
}

interface! {
    /// Response of [`GetAvailableStates`].
    pub struct GetAvailableStatesResponse = "lifecycle_msgs/srv/GetAvailableStates_Response" {
        /// All states.
        available_states: Vec<State>,
    }
}

service! {
    /// All states that there are.
    pub struct GetAvailableStates = "lifecycle_msgs/srv/GetAvailableStates":
        GetAvailableStatesRequest => GetAvailableStatesResponse
}

interface! {
    /// Request of [`GetAvailableTransitions`]: empty.
    pub struct GetAvailableTransitionsRequest =
        "lifecycle_msgs/srv/GetAvailableTransitions_Request" {
        /// Always 0.
        structure_needs_at_least_one_member: u8,
    }
}

interface! {
    /// Response of [`GetAvailableTransitions`].
    pub struct GetAvailableTransitionsResponse =
        "lifecycle_msgs/srv/GetAvailableTransitions_Response" {
        /// The transitions.
        available_transitions: Vec<TransitionDescription>,
    }
}

service! {
    /// The transitions from here; under the name `get_transition_graph`, all of them.
    pub struct GetAvailableTransitions = "lifecycle_msgs/srv/GetAvailableTransitions":
        GetAvailableTransitionsRequest => GetAvailableTransitionsResponse
}
