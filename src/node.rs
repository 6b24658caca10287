//! The translator node: what it hears, serves and publishes, over the types of [`crate::ros`].
//!
//! ```text
//! inputs ─► queue ─► workers ─► translator ─► outputs
//!    ▲                                           (in the order in which texts were heard)
//!    └ exist from the start; answer NOT_ACTIVE until the life cycle opens the queue
//! ```
//!
//! Callbacks put work into one bounded queue and return; a few workers take it from there and ask
//! the translator, which shares one engine and batches what comes together. Translations of what
//! was heard leave in the order in which it was heard.

mod action;
mod clock;
mod ears;
mod glossaries;
mod goals;
mod health;
mod idle_overrides;
mod inputs;
mod log_file;
mod managed;
mod outputs;
mod parameters;
mod services;
mod shared;
mod speech;
mod talk;
mod work;

use std::sync::Arc;
use std::time::Duration;

pub use self::managed::{ModelLoader, TransitionError};
pub use self::shared::{Counters, WORKERS};

use self::action::{ActionServer, ActionServices};
use self::clock::StampClock;
use self::ears::{SpeechInputs, Voices};
use self::health::Health;
use self::inputs::Inputs;
use self::managed::{LifecycleServices, Manager};
use self::outputs::Outputs;
use self::parameters::ParameterServices;
use self::services::GlossaryServices;
use self::shared::Shared;
use crate::app::About;
use crate::app::logging::{self, LogLine};
use crate::config::{InputMode, NodeConfig};
use crate::lifecycle::{State, Transition};
use crate::ros::names::{NameError, NameResolver};
use crate::ros::param_store::ParameterStore;
use crate::ros::{Context, LogLevel, Node, QosOverrides, RosError};

/// Name of the node unless remapped.
pub const NODE_NAME: &str = "translator";

/// Why a node could not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NodeError {
    /// A name is not valid.
    #[error(transparent)]
    Name(#[from] NameError),
    /// The middleware refused.
    #[error(transparent)]
    Ros(#[from] RosError),
    /// The parameters do not fit together.
    #[error("{reason}")]
    Parameters {
        /// Which and why.
        reason: String,
    },
    /// The node could not be brought up.
    #[error(transparent)]
    Transition(#[from] TransitionError),
}

/// A node that runs until it is dropped or [shut down](Self::shutdown).
pub struct TranslatorNode {
    shared: Arc<Shared>,
    counters: Arc<Counters>,
    // The order matters: endpoints close first, then the life cycle ends.
    endpoints: Option<Endpoints>,
    manager: Manager,
    health: Health,
    node: Arc<Node>,
}

struct Endpoints {
    _inputs: Inputs,
    speech: SpeechInputs,
    _action: ActionServices,
    _glossaries: GlossaryServices,
    _parameters: ParameterServices,
    _lifecycle: LifecycleServices,
}

impl TranslatorNode {
    /// Starts the node in `context`, unconfigured: everything is in the graph, no model is loaded.
    ///
    /// # Errors
    /// [`NodeError`] when a name is not valid or the middleware refuses.
    pub fn start(
        context: &Context,
        names: NameResolver,
        store: ParameterStore,
        qos: QosOverrides,
        loader: ModelLoader,
    ) -> Result<Self, NodeError> {
        let config = NodeConfig::from_parameters(&store.snapshot())
            .map_err(|reason| NodeError::Parameters { reason })?;
        for remark in idle_overrides::remarks(&names, &qos, &config.is_speaking_topic)? {
            tracing::warn!("{remark}");
        }
        let node = Arc::new(context.create_node(names.node(), names.namespace())?);
        let counters = Arc::new(Counters::default());
        let outputs = Arc::new(Outputs::new(
            Arc::clone(&node),
            &names,
            &qos,
            config.publish_partials,
            Arc::clone(&counters),
        )?);
        let action = ActionServer::new(&node, &names)?;
        let shared = Arc::new(Shared::new(
            names,
            store,
            Arc::clone(&counters),
            outputs,
            action,
            qos,
            StampClock::new(Arc::clone(&node)),
        ));
        shared
            .apply(false, |_| Ok(()))
            .map_err(|problems| NodeError::Parameters { reason: problems.join("; ") })?;
        // One place is enough: whoever finds it taken knows that a look is due.
        let (kick, kicks) = crossbeam_channel::bounded(1);
        let changed = {
            let kick = kick.clone();
            move || {
                let _ = kick.try_send(());
            }
        };
        let manager = Manager::start(&node, &shared, loader, changed)?;
        let endpoints = Endpoints {
            _lifecycle: manager.serve(&node, &shared)?,
            _parameters: ParameterServices::start(&node, &shared)?,
            _glossaries: GlossaryServices::start(&node, &shared)?,
            _action: ActionServices::start(&node, &shared)?,
            _inputs: Inputs::start(&node, &shared)?,
            speech: SpeechInputs::start(
                &node,
                &shared,
                config.input_mode,
                &config.is_speaking_topic,
            )?,
        };
        let voices = (config.input_mode != InputMode::Topic)
            .then(|| Voices::new(Arc::clone(&node), context.graph()));
        let health = Health::start(
            &node,
            &shared,
            context.graph(),
            (kick, kicks),
            manager.faults(),
            voices,
            config.diagnostics_period_s,
        )?;
        Ok(Self { shared, counters, endpoints: Some(endpoints), manager, health, node })
    }

    /// Takes a transition and waits until it is done.
    ///
    /// # Errors
    /// [`TransitionError`] when it is not possible or fails.
    pub fn change(&self, transition: Transition) -> Result<State, TransitionError> {
        self.manager.change(transition)
    }

    /// Configures and activates the node.
    ///
    /// # Errors
    /// [`TransitionError`] with the reason; the node is where it got to.
    pub fn bring_up(&self) -> Result<(), TransitionError> {
        self.change(Transition::Configure)?;
        self.change(Transition::Activate)?;
        Ok(())
    }

    /// Where the node is in its life.
    pub fn state(&self) -> State {
        self.shared.state()
    }

    /// What is loaded, while the node is configured.
    pub fn about(&self) -> Option<About> {
        self.shared.session().map(|session| session.model.about.clone())
    }

    /// Sends what is logged to `/rosout` until the node ends.
    pub fn forward_logs(&self) {
        let node = Arc::downgrade(&self.node);
        logging::set_rosout(Some(Box::new(move |line: &LogLine| {
            if let Some(node) = node.upgrade() {
                node.rosout(severity(line.level), &line.text, line.file, line.module, line.line);
            }
        })));
    }

    /// What the node counts.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// The resolved names of what the node hears, serves and publishes, one line each.
    ///
    /// # Errors
    /// Never in practice: the names were resolved at the start.
    pub fn interface(&self) -> Result<Vec<String>, NameError> {
        let names = &self.shared.names;
        let hears_speech = self.endpoints.as_ref().is_some_and(|e| e.speech.hears_speech());
        let mut lines = vec![
            format!("hears      {} (std_msgs/String)", names.topic("text")?),
            format!("serves     {} (hymt_ros/Translate)", names.service("~/translate")?),
            format!("serves     {} (hymt_ros/TranslateText)", names.service("~/translate_text")?),
            format!("publishes  {} (hymt_ros/Translation)", names.topic("~/translation")?),
        ];
        if hears_speech {
            let speech = names.topic("speech")?;
            lines.insert(1, format!("hears      {speech} (hri_msgs/LiveSpeech)"));
        }
        for topic in self.shared.outputs.text_topics() {
            lines.push(format!("publishes  {topic} (std_msgs/String)"));
        }
        Ok(lines)
    }

    /// Stops hearing, lets taken work end within `grace`, and says how much was given up.
    pub fn shutdown(mut self, grace: Duration) -> usize {
        self.end(grace)
    }

    fn end(&mut self, grace: Duration) -> usize {
        drop(self.endpoints.take());
        let left = self.manager.end(grace);
        self.shared.outputs.log_file.follow(None);
        self.health.end();
        logging::set_rosout(None);
        left
    }
}

impl Drop for TranslatorNode {
    fn drop(&mut self) {
        self.end(Duration::ZERO);
    }
}

fn severity(level: tracing::Level) -> LogLevel {
    match level {
        tracing::Level::ERROR => LogLevel::Error,
        tracing::Level::WARN => LogLevel::Warn,
        tracing::Level::INFO => LogLevel::Info,
        _ => LogLevel::Debug,
    }
}
