//! The translator node: what it hears, serves and publishes, over the types of `ros`.
//!
//! Callbacks put work into one bounded queue and return; a few workers take it from there and ask
//! the translator, which shares one engine and batches what comes together. Translations of what
//! was heard leave in the order in which it was heard.

mod outputs;
mod parameters;
mod work;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crossbeam_channel::{Sender, TrySendError, bounded};
use hymt_core::generate::{CancelFlag, Generator};
use hymt_core::translator::Translator;

use self::outputs::Outputs;
use self::parameters::ParameterServices;
use self::work::{Heard, Job, Workers};
use crate::app::logging::{self, LogLine};
use crate::app::{LlmGenerator, LoadedModel};
use crate::config::NodeConfig;
use crate::ros::names::{NameError, NameResolver};
use crate::ros::param_store::ParameterStore;
use crate::ros::qos::QosProfile;
use crate::ros::wire::{Header, StringMsg, Time, Translate, TranslateResponse};
use crate::ros::{Context, LogLevel, MessageInfo, Node, RosError, Server, Subscription};

/// Name of the node unless remapped.
pub const NODE_NAME: &str = "translator";

/// Jobs worked on at the same time. Each is one utterance or one service call; more of them fill
/// the engine's batches, fewer keep the order cheap.
pub const WORKERS: usize = 4;

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
}

/// What the node counts.
#[derive(Debug, Default)]
pub struct Counters {
    /// Texts taken.
    pub heard: AtomicU64,
    /// Texts refused because the queue was full.
    pub overflowed: AtomicU64,
    /// Texts dropped because they were our own output.
    pub own_output: AtomicU64,
    /// Service calls taken.
    pub called: AtomicU64,
}

/// A node that runs until it is dropped or [shut down](Self::shutdown).
pub struct TranslatorNode {
    names: NameResolver,
    outputs: Arc<Outputs>,
    counters: Arc<Counters>,
    generator: Arc<LlmGenerator>,
    cancel: CancelFlag,
    // The order matters: inputs close first, then the queue, then the workers end.
    inputs: Option<Inputs>,
    jobs: Option<Sender<Job>>,
    workers: Option<Workers>,
    node: Arc<Node>,
}

struct Inputs {
    _text: Subscription<StringMsg>,
    _translate: Server<Translate>,
    _parameters: ParameterServices,
}

impl TranslatorNode {
    /// Starts the node in `context`.
    ///
    /// # Errors
    /// [`NodeError`] when a name is not valid or the middleware refuses.
    pub fn start(
        context: &Context,
        names: NameResolver,
        store: ParameterStore,
        config: &NodeConfig,
        model: &LoadedModel,
    ) -> Result<Self, NodeError> {
        let node = Arc::new(context.create_node(names.node(), names.namespace())?);
        let translator = Arc::new(Translator::new(
            Arc::clone(&model.generator) as Arc<dyn Generator>,
            config.live.translator(model.family, &model.languages),
        ));
        let outputs = Arc::new(Outputs::new(Arc::clone(&node), &names)?);
        outputs.set_targets(&config.live.defaults.targets)?;
        let (jobs, queue) = bounded(config.queue_limit);
        let cancel = CancelFlag::default();
        let store = Arc::new(store);
        let deadline_ms = Arc::new(AtomicU64::new(config.live.deadline_ms()));
        let workers = Workers::start(WORKERS, &queue, &translator, &outputs, &deadline_ms, &cancel);
        let counters = Arc::new(Counters::default());
        let inputs = Inputs {
            _text: hear(&node, &names, &jobs, &outputs, &counters)?,
            _translate: serve(&node, &names, &jobs, &counters)?,
            _parameters: ParameterServices::start(
                &node,
                &names,
                &store,
                &translator,
                &outputs,
                &deadline_ms,
            )?,
        };
        Ok(Self {
            names,
            outputs,
            counters,
            generator: Arc::clone(&model.generator),
            cancel,
            inputs: Some(inputs),
            jobs: Some(jobs),
            workers: Some(workers),
            node,
        })
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
        let mut lines = vec![
            format!("hears      {} (std_msgs/String)", self.names.topic("text")?),
            format!("serves     {} (hymt_ros/Translate)", self.names.service("~/translate")?),
            format!("publishes  {} (hymt_ros/Translation)", self.names.topic("~/translation")?),
        ];
        for topic in self.outputs.text_topics() {
            lines.push(format!("publishes  {topic} (std_msgs/String)"));
        }
        Ok(lines)
    }

    /// Stops hearing, lets taken work end within `grace`, and says how much was given up.
    pub fn shutdown(mut self, grace: Duration) -> usize {
        self.end(grace)
    }

    fn end(&mut self, grace: Duration) -> usize {
        drop(self.inputs.take());
        drop(self.jobs.take());
        let Some(workers) = self.workers.take() else { return 0 };
        let deadline = Instant::now() + grace;
        while !workers.are_done() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(5));
        }
        let left = workers.give_up();
        self.cancel.cancel();
        workers.join();
        // What was published last must not leave with us unheard.
        if !self.outputs.wait_until_heard(deadline) {
            tracing::debug!("some subscribers have not acknowledged the last translations");
        }
        self.generator.shutdown(Duration::ZERO);
        logging::set_rosout(None);
        left
    }
}

impl Drop for TranslatorNode {
    fn drop(&mut self) {
        self.end(Duration::ZERO);
    }
}

/// Subscribes to `text`.
fn hear(
    node: &Node,
    names: &NameResolver,
    jobs: &Sender<Job>,
    outputs: &Arc<Outputs>,
    counters: &Arc<Counters>,
) -> Result<Subscription<StringMsg>, NodeError> {
    let (jobs, outputs, counters) = (jobs.clone(), Arc::clone(outputs), Arc::clone(counters));
    let (mut utterances, mut order) = (0, 0);
    let was_full = AtomicBool::new(false);
    let hear = move |message: Result<StringMsg, &RosError>, info: MessageInfo| {
        if outputs.is_own(info.source) {
            counters.own_output.fetch_add(1, Ordering::Relaxed);
            return;
        }
        counters.heard.fetch_add(1, Ordering::Relaxed);
        utterances += 1;
        let mut heard = Heard {
            order,
            utterance: utterances,
            header: Header { stamp: stamp(&info), frame_id: String::new() },
            text: String::new(),
            received: Instant::now(),
        };
        match message {
            Ok(message) => heard.text = message.data,
            // Whoever sent it must learn why nothing comes; what was sent cannot be shown.
            Err(error) => return outputs.refuse(heard, &error.to_string()),
        }
        match jobs.try_send(Job::Heard(heard)) {
            Ok(()) => {
                order += 1;
                was_full.store(false, Ordering::Relaxed);
            }
            Err(TrySendError::Full(Job::Heard(heard))) => {
                counters.overflowed.fetch_add(1, Ordering::Relaxed);
                if !was_full.swap(true, Ordering::Relaxed) {
                    let limit = jobs.capacity().unwrap_or_default();
                    tracing::warn!(limit, "the queue is full; texts are refused until it drains");
                }
                let limit = jobs.capacity().unwrap_or_default();
                let detail =
                    format!("{limit} texts wait already (limits.queue); this one was refused");
                outputs.refuse(heard, &detail);
            }
            Err(_) => {}
        }
    };
    Ok(node.subscription_with_malformed(&names.topic("text")?, &QosProfile::DEFAULT, hear)?)
}

/// Serves `~/translate`.
fn serve(
    node: &Node,
    names: &NameResolver,
    jobs: &Sender<Job>,
    counters: &Arc<Counters>,
) -> Result<Server<Translate>, NodeError> {
    let (jobs, counters) = (jobs.clone(), Arc::clone(counters));
    let handler = move |request, responder| {
        counters.called.fetch_add(1, Ordering::Relaxed);
        let job = Job::Called { request, responder, received: Instant::now() };
        if let Err(TrySendError::Full(Job::Called { responder, .. })) = jobs.try_send(job) {
            let limit = jobs.capacity().unwrap_or_default();
            work::answer(
                responder,
                &TranslateResponse {
                    code: TranslateResponse::OVERLOADED,
                    message: format!(
                        "the queue is full (limits.queue is {limit}); try again later"
                    ),
                    ..TranslateResponse::default()
                },
            );
        }
    };
    Ok(node.service(&names.service("~/translate")?, handler)?)
}

/// When the text was written, by the clock of its writer; its arrival where that is not known.
fn stamp(info: &MessageInfo) -> Time {
    let time = info.source_time.unwrap_or(info.reception_time);
    let since_epoch = time.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Time {
        sec: i32::try_from(since_epoch.as_secs()).unwrap_or(i32::MAX),
        nanosec: since_epoch.subsec_nanos(),
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
