//! The life cycle of a managed node, as a pure state machine.
//!
//! States, transitions, numbers and labels are those of `rcl_lifecycle`'s default state machine
//! (`default_state_machine.c`) and of `lifecycle_msgs`, so `ros2 lifecycle` and Nav2's lifecycle
//! manager work on it. It decides what may happen; `node/managed.rs` makes it happen.
//!
//! ```text
//!                  configure              activate
//!   unconfigured ────────────► inactive ────────────► active
//!        ▲       ◄────────────          ◄────────────   │
//!        │          cleanup              deactivate     │ fault
//!        └───────────────── errorprocessing ◄───────────┘
//!   shutdown leads from each of the three to finalized
//! ```

/// A state: primary ones rest, the others last as long as a transition takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum State {
    /// Never entered; `rcl_lifecycle` lists it.
    Unknown = 0,
    /// No model is loaded.
    Unconfigured = 1,
    /// The model is loaded and warm; nothing is heard.
    Inactive = 2,
    /// At work.
    Active = 3,
    /// At the end; nothing leads out.
    Finalized = 4,
    /// The model is being loaded.
    Configuring = 10,
    /// The model is being let go.
    CleaningUp = 11,
    /// The node is ending.
    ShuttingDown = 12,
    /// Hearing begins.
    Activating = 13,
    /// Hearing ends.
    Deactivating = 14,
    /// Picking up the pieces.
    ErrorProcessing = 15,
}

/// What a manager may ask for. Shutdown has three numbers, one for each state it begins in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Transition {
    /// Loads the model and warms it up.
    Configure = 1,
    /// Lets the model go.
    Cleanup = 2,
    /// Begins to hear and serve.
    Activate = 3,
    /// Stops hearing and serving.
    Deactivate = 4,
    /// Ends from `Unconfigured`.
    UnconfiguredShutdown = 5,
    /// Ends from `Inactive`.
    InactiveShutdown = 6,
    /// Ends from `Active`.
    ActiveShutdown = 7,
}

/// How the work of a transition went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// As asked.
    Success,
    /// It could not be done; everything is as before.
    Failure,
    /// It went wrong; the node has to pick up the pieces.
    Error,
}

/// One edge of the graph.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Edge {
    /// Number, as in `lifecycle_msgs/Transition`.
    pub id: u8,
    /// In words.
    pub label: &'static str,
    /// Where it begins.
    pub start: State,
    /// Where it ends.
    pub goal: State,
}

/// A transition is not possible now.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("transition '{asked}' is not available in state '{}'; available: {available}", .state.label())]
pub struct NotAvailable {
    /// What was asked for.
    pub asked: String,
    /// Where the node is.
    pub state: State,
    /// What could be asked for.
    pub available: String,
}

impl State {
    /// All states in the order of `rcl_lifecycle`.
    pub const ALL: [Self; 11] = [
        Self::Unknown,
        Self::Unconfigured,
        Self::Inactive,
        Self::Active,
        Self::Finalized,
        Self::Configuring,
        Self::CleaningUp,
        Self::ShuttingDown,
        Self::Activating,
        Self::Deactivating,
        Self::ErrorProcessing,
    ];

    /// Number, as in `lifecycle_msgs/State`.
    #[must_use]
    pub fn id(self) -> u8 {
        self as u8
    }

    /// In words, as `ros2 lifecycle get` prints it.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Unconfigured => "unconfigured",
            Self::Inactive => "inactive",
            Self::Active => "active",
            Self::Finalized => "finalized",
            Self::Configuring => "configuring",
            Self::CleaningUp => "cleaningup",
            Self::ShuttingDown => "shuttingdown",
            Self::Activating => "activating",
            Self::Deactivating => "deactivating",
            Self::ErrorProcessing => "errorprocessing",
        }
    }
}

impl Transition {
    /// All transitions.
    pub const ALL: [Self; 7] = [
        Self::Configure,
        Self::Cleanup,
        Self::Activate,
        Self::Deactivate,
        Self::UnconfiguredShutdown,
        Self::InactiveShutdown,
        Self::ActiveShutdown,
    ];

    /// Number, as in `lifecycle_msgs/Transition`.
    #[must_use]
    pub fn id(self) -> u8 {
        self as u8
    }

    /// In words, as `ros2 lifecycle set` takes it.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Configure => "configure",
            Self::Cleanup => "cleanup",
            Self::Activate => "activate",
            Self::Deactivate => "deactivate",
            Self::UnconfiguredShutdown | Self::InactiveShutdown | Self::ActiveShutdown => {
                "shutdown"
            }
        }
    }

    /// Where it begins.
    #[must_use]
    pub fn start(self) -> State {
        match self {
            Self::Configure | Self::UnconfiguredShutdown => State::Unconfigured,
            Self::Cleanup | Self::Activate | Self::InactiveShutdown => State::Inactive,
            Self::Deactivate | Self::ActiveShutdown => State::Active,
        }
    }

    /// The state while it lasts.
    #[must_use]
    pub fn during(self) -> State {
        match self {
            Self::Configure => State::Configuring,
            Self::Cleanup => State::CleaningUp,
            Self::Activate => State::Activating,
            Self::Deactivate => State::Deactivating,
            Self::UnconfiguredShutdown | Self::InactiveShutdown | Self::ActiveShutdown => {
                State::ShuttingDown
            }
        }
    }
}

/// The states of transition: where each outcome leads, and the number of the first outcome.
const OUTCOMES: [(State, u8, [State; 3]); 6] = [
    (State::Configuring, 10, [State::Inactive, State::Unconfigured, State::ErrorProcessing]),
    (State::CleaningUp, 20, [State::Unconfigured, State::Inactive, State::ErrorProcessing]),
    (State::Activating, 30, [State::Active, State::Inactive, State::ErrorProcessing]),
    (State::Deactivating, 40, [State::Inactive, State::Active, State::ErrorProcessing]),
    (State::ShuttingDown, 50, [State::Finalized, State::Finalized, State::ErrorProcessing]),
    (State::ErrorProcessing, 60, [State::Unconfigured, State::Finalized, State::Finalized]),
];

const OUTCOME_LABELS: [&str; 3] = ["transition_success", "transition_failure", "transition_error"];

/// All edges, those that a manager may ask for first.
#[must_use]
pub fn graph() -> Vec<Edge> {
    let asked = Transition::ALL.iter().map(|transition| Edge {
        id: transition.id(),
        label: transition.label(),
        start: transition.start(),
        goal: transition.during(),
    });
    let ends = OUTCOMES.iter().flat_map(|(start, first, goals)| {
        (0..3u8).zip(goals).zip(OUTCOME_LABELS).map(move |((offset, goal), label)| Edge {
            id: first + offset,
            label,
            start: *start,
            goal: *goal,
        })
    });
    asked.chain(ends).collect()
}

/// Where a node is in its life.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Machine {
    state: State,
}

impl Default for Machine {
    fn default() -> Self {
        Self { state: State::Unconfigured }
    }
}

impl Machine {
    /// Where the node is.
    #[must_use]
    pub fn state(&self) -> State {
        self.state
    }

    /// The edges that lead out of the present state.
    #[must_use]
    pub fn available(&self) -> Vec<Edge> {
        graph().into_iter().filter(|edge| edge.start == self.state).collect()
    }

    /// The transition that is meant by a number, or by a label where there is one; a label wins,
    /// as in rclcpp, since `shutdown` has several numbers.
    ///
    /// # Errors
    /// [`NotAvailable`] with what is.
    pub fn find(&self, id: u8, label: &str) -> Result<Transition, NotAvailable> {
        let meant = |transition: &&Transition| {
            transition.start() == self.state
                && if label.is_empty() {
                    transition.id() == id
                } else {
                    transition.label() == label
                }
        };
        Transition::ALL.iter().find(meant).copied().ok_or_else(|| {
            let asked = if label.is_empty() { id.to_string() } else { label.to_owned() };
            let available: Vec<_> = Transition::ALL
                .iter()
                .filter(|transition| transition.start() == self.state)
                .map(|transition| transition.label())
                .collect();
            NotAvailable {
                asked: asked.chars().take(64).collect(),
                state: self.state,
                available: if available.is_empty() {
                    "none".to_owned()
                } else {
                    available.join(", ")
                },
            }
        })
    }

    /// Begins a transition.
    ///
    /// # Errors
    /// [`NotAvailable`] when it does not begin in the present state.
    pub fn begin(&mut self, transition: Transition) -> Result<Edge, NotAvailable> {
        let found = self.find(transition.id(), "")?;
        let edge =
            Edge { id: found.id(), label: found.label(), start: self.state, goal: found.during() };
        self.state = edge.goal;
        Ok(edge)
    }

    /// Ends the transition that lasts. Without one, only a fault while active does anything: it
    /// leads into error processing.
    pub fn end(&mut self, outcome: Outcome) -> Option<Edge> {
        let offset = match outcome {
            Outcome::Success => 0,
            Outcome::Failure => 1,
            Outcome::Error => 2,
        };
        // A fault while active is told as the failed deactivation that it causes.
        let state = match (self.state, outcome) {
            (State::Active, Outcome::Error) => State::Deactivating,
            (state, _) => state,
        };
        let (_, first, goals) = OUTCOMES.iter().find(|(start, ..)| *start == state)?;
        let edge = Edge {
            id: first + offset as u8,
            label: OUTCOME_LABELS[offset],
            start: self.state,
            goal: goals[offset],
        };
        self.state = edge.goal;
        Some(edge)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn through(machine: &mut Machine, transition: Transition, outcome: Outcome) -> State {
        machine.begin(transition).unwrap();
        assert_eq!(machine.state(), transition.during());
        machine.end(outcome).unwrap();
        machine.state()
    }

    #[test]
    fn a_whole_life() {
        let mut machine = Machine::default();
        let mut go = |transition| through(&mut machine, transition, Outcome::Success);
        assert_eq!(go(Transition::Configure), State::Inactive);
        assert_eq!(go(Transition::Activate), State::Active);
        assert_eq!(go(Transition::Deactivate), State::Inactive);
        assert_eq!(go(Transition::Cleanup), State::Unconfigured);
        assert_eq!(go(Transition::UnconfiguredShutdown), State::Finalized);
        assert!(machine.available().is_empty());
        assert_eq!(machine.end(Outcome::Success), None);
    }

    #[test]
    fn what_fails_goes_back_and_what_errs_is_processed() {
        let mut machine = Machine::default();
        assert_eq!(
            through(&mut machine, Transition::Configure, Outcome::Failure),
            State::Unconfigured
        );
        assert_eq!(
            through(&mut machine, Transition::Configure, Outcome::Error),
            State::ErrorProcessing
        );
        assert_eq!(machine.end(Outcome::Success).unwrap().id, 60);
        assert_eq!(machine.state(), State::Unconfigured);
    }

    #[test]
    fn a_fault_while_active_leads_through_error_processing() {
        let mut machine = Machine { state: State::Active };
        let edge = machine.end(Outcome::Error).unwrap();
        assert_eq!((edge.id, edge.start, edge.goal), (42, State::Active, State::ErrorProcessing));
        assert_eq!(machine.end(Outcome::Failure).unwrap().goal, State::Finalized);
    }

    #[test]
    fn a_label_finds_the_shutdown_of_the_state() {
        for (state, id) in [(State::Unconfigured, 5), (State::Inactive, 6), (State::Active, 7)] {
            assert_eq!(Machine { state }.find(0, "shutdown").unwrap().id(), id);
            // The number alone must fit the state.
            assert_eq!(Machine { state }.find(id, "").unwrap().id(), id);
        }
        let error = Machine::default().find(3, "").unwrap_err().to_string();
        assert_eq!(
            error,
            "transition '3' is not available in state 'unconfigured'; available: configure, \
             shutdown"
        );
        assert!(Machine { state: State::Configuring }.find(1, "configure").is_err());
    }

    #[test]
    fn the_graph_is_that_of_rcl() {
        let graph = graph();
        assert_eq!(graph.len(), 25);
        let edge = |id: u8| graph.iter().find(|edge| edge.id == id).unwrap();
        // From the constants of lifecycle_msgs/Transition.
        for (id, start, goal) in [
            (1, State::Unconfigured, State::Configuring),
            (11, State::Configuring, State::Unconfigured),
            (21, State::CleaningUp, State::Inactive),
            (41, State::Deactivating, State::Active),
            (51, State::ShuttingDown, State::Finalized),
            (62, State::ErrorProcessing, State::Finalized),
        ] {
            assert_eq!((edge(id).start, edge(id).goal), (start, goal), "{id}");
        }
    }
}
