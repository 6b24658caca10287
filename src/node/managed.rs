//! The managed node: what the transitions of [`crate::lifecycle`] do, on a thread of their own.
//!
//! Loading a model takes seconds, so no callback does it: `change_state` is answered by this thread
//! when the transition is done, while `get_state` is answered at once and shows it under way.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded};

use super::NodeError;
use super::shared::{Session, Shared};
use crate::app::{About, EngineOptions, LoadedModel, memory};
use crate::config::{EngineChoice, LiveConfig, NodeConfig};
use crate::lifecycle::{self, Edge, NotAvailable, Outcome, State, Transition};
use crate::ros::wire::lifecycle as wire;
use crate::ros::{Node, Publisher, QosProfile, Responder, Server};

/// Transitions that may wait for the thread.
const COMMANDS_MAX: usize = 16;

/// How long taken work may go on when the node is deactivated.
const DEACTIVATE_GRACE: Duration = Duration::from_secs(2);

/// Loads a model; called on the life cycle's thread.
pub type ModelLoader = Arc<dyn Fn(&EngineOptions) -> anyhow::Result<LoadedModel> + Send + Sync>;

/// A transition did not lead where it was meant to.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TransitionError {
    /// It is not possible now.
    #[error(transparent)]
    NotAvailable(#[from] NotAvailable),
    /// It failed; the node is where it was.
    #[error("cannot {transition}: {reason}")]
    Failed {
        /// The transition.
        transition: &'static str,
        /// Why.
        reason: String,
    },
    /// The node is ending.
    #[error("the node is ending")]
    Ending,
}

type Reply = Box<dyn FnOnce(Result<State, TransitionError>) + Send>;

/// What the thread is asked to do.
pub(super) enum Command {
    /// Take a transition and tell how it went.
    Change(Transition, Reply),
    /// The engine is gone, for this reason.
    Fault(String),
    /// End, with this much time for taken work; tell how much was given up.
    End(Duration, Sender<usize>),
}

/// The thread.
pub(super) struct Manager {
    commands: Sender<Command>,
    thread: Option<JoinHandle<()>>,
}

/// The five services, alive as long as this is.
pub(super) struct LifecycleServices {
    _change_state: Server<wire::ChangeState>,
    _get_state: Server<wire::GetState>,
    _get_available_states: Server<wire::GetAvailableStates>,
    _get_available_transitions: Server<wire::GetAvailableTransitions>,
    _get_transition_graph: Server<wire::GetAvailableTransitions>,
}

impl Manager {
    pub(super) fn start(
        node: &Node,
        shared: &Arc<Shared>,
        loader: ModelLoader,
        changed: impl Fn() + Send + 'static,
    ) -> Result<Self, NodeError> {
        let events =
            node.publisher(&shared.names.topic("~/transition_event")?, &QosProfile::DEFAULT)?;
        let (commands, inbox) = bounded(COMMANDS_MAX);
        let actor = Actor {
            shared: Arc::clone(shared),
            loader,
            events,
            commands: commands.clone(),
            changed: Box::new(changed),
        };
        let thread = std::thread::Builder::new()
            .name("hymt-lifecycle".to_owned())
            .spawn(move || actor.run(&inbox))
            .expect("the system can start one more thread");
        Ok(Self { commands, thread: Some(thread) })
    }

    /// Where engines that have ended are reported.
    pub(super) fn faults(&self) -> Sender<Command> {
        self.commands.clone()
    }

    /// Takes a transition and waits for it.
    pub(super) fn change(&self, transition: Transition) -> Result<State, TransitionError> {
        let (sender, receiver) = bounded(1);
        let reply: Reply = Box::new(move |outcome| {
            let _ = sender.send(outcome);
        });
        let sent = self.commands.send(Command::Change(transition, reply));
        sent.map_err(|_| TransitionError::Ending)?;
        receiver.recv().map_err(|_| TransitionError::Ending)?
    }

    /// Serves the five services.
    pub(super) fn serve(
        &self,
        node: &Node,
        shared: &Arc<Shared>,
    ) -> Result<LifecycleServices, NodeError> {
        let service = |name: &str| shared.names.service(&format!("~/{name}"));
        let (change, get, from_here) = (Arc::clone(shared), Arc::clone(shared), Arc::clone(shared));
        let commands = self.commands.clone();
        Ok(LifecycleServices {
            _change_state: node.service(
                &service("change_state")?,
                move |request: wire::ChangeStateRequest, responder| {
                    ask(&change, &commands, &request.transition, responder);
                },
            )?,
            _get_state: node.service(&service("get_state")?, move |_, responder| {
                responder
                    .respond_or_log(&wire::GetStateResponse { current_state: state(get.state()) });
            })?,
            _get_available_states: node.service(
                &service("get_available_states")?,
                |_, responder| {
                    let available_states = State::ALL.into_iter().map(state).collect();
                    responder
                        .respond_or_log(&wire::GetAvailableStatesResponse { available_states });
                },
            )?,
            _get_available_transitions: node.service(
                &service("get_available_transitions")?,
                move |_, responder| {
                    responder.respond_or_log(&descriptions(&from_here.machine().available()));
                },
            )?,
            _get_transition_graph: node.service(
                &service("get_transition_graph")?,
                |_, responder| {
                    responder.respond_or_log(&descriptions(&lifecycle::graph()));
                },
            )?,
        })
    }

    /// Ends the thread; returns how many jobs were given up.
    pub(super) fn end(&mut self, grace: Duration) -> usize {
        let Some(thread) = self.thread.take() else { return 0 };
        let (sender, receiver) = bounded(1);
        let sent = self.commands.send(Command::End(grace, sender));
        let left = sent.ok().and_then(|()| receiver.recv().ok()).unwrap_or_default();
        let _ = thread.join();
        left
    }
}

/// A manager asks for a transition.
fn ask(
    shared: &Shared,
    commands: &Sender<Command>,
    asked: &wire::Transition,
    responder: Responder<wire::ChangeStateResponse>,
) {
    let found = shared.machine().find(asked.id, &asked.label);
    let transition = match found {
        Ok(transition) => transition,
        Err(error) => {
            tracing::warn!("{error}");
            return responder.respond_or_log(&wire::ChangeStateResponse { success: false });
        }
    };
    let reply: Reply = Box::new(move |outcome| {
        responder.respond_or_log(&wire::ChangeStateResponse { success: outcome.is_ok() });
    });
    if let Err(error) = commands.try_send(Command::Change(transition, reply)) {
        tracing::warn!("{COMMANDS_MAX} transitions wait already; one is refused");
        if let Command::Change(_, reply) = error.into_inner() {
            reply(Err(TransitionError::Ending));
        }
    }
}

/// What the thread holds.
struct Actor {
    shared: Arc<Shared>,
    loader: ModelLoader,
    events: Publisher<wire::TransitionEvent>,
    /// For the workers, who report faults.
    commands: Sender<Command>,
    /// Told after every change of state.
    changed: Box<dyn Fn() + Send>,
}

impl Actor {
    fn run(self, inbox: &Receiver<Command>) {
        for command in inbox {
            match command {
                Command::Change(transition, reply) => reply(self.change(transition)),
                Command::Fault(reason) => self.fault(&reason),
                Command::End(grace, left) => {
                    let n_left = self.shared.close(grace);
                    self.unload();
                    let _ = left.send(n_left);
                    return;
                }
            }
        }
    }

    fn change(&self, transition: Transition) -> Result<State, TransitionError> {
        let begun = self.shared.machine().begin(transition)?;
        self.tell(&begun);
        let worked = match transition {
            Transition::Configure => self.configure(),
            Transition::Activate => self.activate(),
            Transition::Deactivate => self.deactivate(),
            Transition::Cleanup => self.cleanup(),
            Transition::UnconfiguredShutdown
            | Transition::InactiveShutdown
            | Transition::ActiveShutdown => self.deactivate().and_then(|()| self.cleanup()),
        };
        let outcome = if worked.is_ok() { Outcome::Success } else { Outcome::Failure };
        self.end(outcome);
        match worked {
            Ok(()) => {
                let state = self.shared.state();
                tracing::info!("the node is {}", state.label());
                Ok(state)
            }
            Err(error) => {
                let reason = format!("{error:#}");
                tracing::error!("cannot {}: {reason}", transition.label());
                self.shared.set_last_error(reason.clone());
                Err(TransitionError::Failed { transition: transition.label(), reason })
            }
        }
    }

    /// Loads the model and warms it up, so that the first text is as fast as the others.
    fn configure(&self) -> anyhow::Result<()> {
        // From here on what is fixed while configured is fixed.
        self.shared.store.set_configured(true);
        let configured = self.load();
        if configured.is_err() {
            // It may be the last step that failed, with the model in place already.
            self.unload();
            self.shared.store.set_configured(false);
        }
        configured
    }

    fn load(&self) -> anyhow::Result<()> {
        let config = NodeConfig::from_parameters(&self.shared.store.snapshot())
            .map_err(anyhow::Error::msg)?;
        let model = (self.loader)(&config.engine)?;
        // The scripted engine has no caches to fill, and its scripts count requests.
        if config.engine.engine != EngineChoice::Scripted {
            let started = Instant::now();
            model.generator.warm_up()?;
            tracing::debug!(warm_up_ms = started.elapsed().as_secs_f64() * 1e3, "warmed up");
        }
        introduce(&model, &config);
        let session = Session::new(model, &config);
        self.shared.set_session(Some(Arc::new(session)));
        // Again when a parameter changed meanwhile, which the callbacks' thread may do.
        loop {
            let seen = self.shared.store.snapshot();
            self.shared
                .apply(false, |_| Ok(()))
                .map_err(|problems| anyhow::anyhow!("{}", problems.join("; ")))?;
            if self.shared.store.snapshot() == seen {
                return Ok(());
            }
        }
    }

    fn activate(&self) -> anyhow::Result<()> {
        let session = self.shared.session();
        let session = session.ok_or_else(|| anyhow::anyhow!("no model is loaded"))?;
        let live = LiveConfig::from_parameters(&self.shared.store.snapshot())
            .map_err(anyhow::Error::msg)?;
        self.shared.open(&session, &live, &self.commands);
        Ok(())
    }

    /// Never fails; the type is that of its siblings.
    fn deactivate(&self) -> anyhow::Result<()> {
        let left = self.shared.close(DEACTIVATE_GRACE);
        if left > 0 {
            tracing::warn!(left, "jobs were given up");
        }
        Ok(())
    }

    fn cleanup(&self) -> anyhow::Result<()> {
        self.unload();
        self.shared.store.set_configured(false);
        Ok(())
    }

    /// Lets the model go; the last user frees its memory.
    fn unload(&self) {
        if let Some(session) = self.shared.set_session(None) {
            session.generator().shutdown(Duration::ZERO);
            drop(session);
            memory::release_unused();
        }
    }

    /// The engine is gone: through error processing to unconfigured, where it can be loaded anew.
    fn fault(&self, reason: &str) {
        // Several workers report the same fault; and it may be over already.
        if self.shared.state() != State::Active {
            return;
        }
        tracing::error!("the engine failed: {reason}; configure and activate the node again");
        self.shared.set_last_error(format!("the engine failed: {reason}"));
        self.end(Outcome::Error);
        self.shared.close(Duration::ZERO);
        self.unload();
        self.shared.store.set_configured(false);
        self.end(Outcome::Success);
    }

    fn end(&self, outcome: Outcome) {
        let ended = self.shared.machine().end(outcome);
        if let Some(edge) = ended {
            self.tell(&edge);
        }
    }

    fn tell(&self, edge: &Edge) {
        let event = wire::TransitionEvent {
            timestamp: u64::try_from(self.shared.now().as_nanos()).unwrap_or_default(),
            transition: wire::Transition { id: edge.id, label: edge.label.to_owned() },
            start_state: state(edge.start),
            goal_state: state(edge.goal),
        };
        if let Err(error) = self.events.publish(&event) {
            tracing::debug!(%error, "a transition event is lost");
        }
        (self.changed)();
    }
}

/// Says what was loaded, and what it cannot do.
fn introduce(model: &LoadedModel, config: &NodeConfig) {
    let About { model: name, engine, device, reason, load_ms, slots, context_tokens, is_demo } =
        &model.about;
    let family = model.family.name();
    tracing::info!("model      {name}, {family} prompts, loaded in {load_ms:.0} ms");
    tracing::info!(
        "engine     {engine} on {device} ({reason}), {slots} slots of {context_tokens} tokens"
    );
    if *is_demo {
        tracing::warn!(
            "the embedded demo model knows a small phrasebook in en, zh, de, fr, es, ja; set \
             model.path for real translation"
        );
    }
    let known = &model.languages;
    let targets = &config.live.defaults.targets;
    for target in targets.iter().filter(|t| !known.is_empty() && !known.contains(t)) {
        tracing::warn!("this model does not know '{target}'; texts into it will be refused");
    }
}

fn state(state: State) -> wire::State {
    wire::State { id: state.id(), label: state.label().to_owned() }
}

fn descriptions(edges: &[Edge]) -> wire::GetAvailableTransitionsResponse {
    let describe = |edge: &Edge| wire::TransitionDescription {
        transition: wire::Transition { id: edge.id, label: edge.label.to_owned() },
        start_state: state(edge.start),
        goal_state: state(edge.goal),
    };
    wire::GetAvailableTransitionsResponse {
        available_transitions: edges.iter().map(describe).collect(),
    }
}
