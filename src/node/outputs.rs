//! What the node publishes, in the order in which it was heard.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError, RwLock};
use std::time::Instant;

use hymt_core::language::Language;

use super::NodeError;
use super::log_file::LogFile;
use super::shared::Counters;
use super::work::Heard;
use crate::ros::convert::Utterance;
use crate::ros::names::NameResolver;
use crate::ros::qos::QosProfile;
use crate::ros::wire::{StringMsg, Translation};
use crate::ros::{Gid, Node, Publisher, QosOverrides};

/// Finished texts that may wait for one heard before them. Beyond it the workers wait, so the queue
/// fills and new texts are refused, instead of memory growing behind one slow text.
const READY_MAX: usize = 64;

/// The publishers of the node.
pub(super) struct Outputs {
    node: Arc<Node>,
    names: NameResolver,
    qos: QosOverrides,
    counters: Arc<Counters>,
    translation: Publisher<Translation>,
    texts: RwLock<BTreeMap<&'static str, TextOutput>>,
    has_partials: bool,
    pub(super) log_file: LogFile,
}

/// The plain texts of one target language.
struct TextOutput {
    topic: String,
    finals: Publisher<StringMsg>,
    /// Growing texts, in place of the one before.
    partials: Option<Publisher<StringMsg>>,
}

/// Puts the results of several workers back into order. Holds at most [`READY_MAX`].
pub(super) struct Ordered {
    outputs: Arc<Outputs>,
    sequence: Mutex<Sequence>,
    advanced: Condvar,
}

#[derive(Default)]
struct Sequence {
    next: u64,
    ready: BTreeMap<u64, Vec<Translation>>,
}

impl Outputs {
    pub(super) fn new(
        node: Arc<Node>,
        names: &NameResolver,
        qos: &QosOverrides,
        has_partials: bool,
        counters: Arc<Counters>,
    ) -> Result<Self, NodeError> {
        let topic = names.topic("~/translation")?;
        let translation = node.publisher(&topic, &qos.publisher(&topic, QosProfile::DEFAULT))?;
        let (names, qos) = (names.clone(), qos.clone());
        let (texts, log_file) = (RwLock::default(), LogFile::default());
        Ok(Self { node, names, qos, counters, translation, texts, has_partials, log_file })
    }

    /// Makes the text topics those of `targets`; the ones that stay keep their subscribers.
    pub(super) fn set_targets(&self, targets: &[Language]) -> Result<(), NodeError> {
        let mut texts = self.texts.write().unwrap_or_else(PoisonError::into_inner);
        texts.retain(|code, _| targets.iter().any(|target| target.code() == *code));
        for target in targets {
            if texts.contains_key(target.code()) {
                continue;
            }
            let (topic, finals) = self.text_publisher(*target, "text")?;
            let partials = match self.has_partials {
                true => Some(self.text_publisher(*target, "partial")?.1),
                false => None,
            };
            texts.insert(target.code(), TextOutput { topic, finals, partials });
        }
        Ok(())
    }

    fn text_publisher(
        &self,
        target: Language,
        name: &str,
    ) -> Result<(String, Publisher<StringMsg>), NodeError> {
        let topic = self.names.topic(&format!("~/{}/{name}", target.topic_name()))?;
        let qos = self.qos.publisher(&topic, QosProfile::DEFAULT);
        let publisher = self.node.publisher(&topic, &qos)?;
        Ok((topic, publisher))
    }

    /// Names of the text topics.
    pub(super) fn text_topics(&self) -> Vec<String> {
        let texts = self.texts.read().unwrap_or_else(PoisonError::into_inner);
        texts.values().map(|output| output.topic.clone()).collect()
    }

    /// Waits until subscribers have acknowledged what was published, or until `deadline`.
    pub(super) fn wait_until_heard(&self, deadline: Instant) -> bool {
        let left = || deadline.saturating_duration_since(Instant::now());
        let texts = self.texts.read().unwrap_or_else(PoisonError::into_inner);
        let heard = |output: &TextOutput| output.finals.wait_for_acknowledgments(left());
        self.translation.wait_for_acknowledgments(left()) && texts.values().all(heard)
    }

    /// True for what we publish ourselves, which must never be translated again.
    pub(super) fn is_own(&self, writer: Gid) -> bool {
        let texts = self.texts.read().unwrap_or_else(PoisonError::into_inner);
        let is_partial = |output: &TextOutput| {
            output.partials.as_ref().is_some_and(|partials| partials.gid() == writer)
        };
        texts.values().any(|output| output.finals.gid() == writer || is_partial(output))
    }

    /// Says at once, before those that still wait, that a text was refused and why.
    pub(super) fn refuse(&self, heard: Heard, detail: &str) {
        self.counters.refused.fetch_add(1, Ordering::Relaxed);
        let total_ms = heard.received.elapsed().as_secs_f32() * 1e3;
        let utterance = Utterance { header: heard.header, id: heard.utterance, text: heard.text };
        self.publish(&utterance.rejection(None, detail, total_ms));
    }

    pub(super) fn publish(&self, translation: &Translation) {
        self.count(translation);
        self.log_file.add(translation);
        if let Err(error) = self.translation.publish(translation) {
            tracing::error!(%error, utterance = translation.utterance_id, "a translation is lost");
        }
        let has_text = matches!(
            translation.status,
            Translation::OK | Translation::PASSTHROUGH | Translation::TRUNCATED
        );
        if !has_text {
            return;
        }
        let texts = self.texts.read().unwrap_or_else(PoisonError::into_inner);
        let Some(output) = texts.get(translation.target_locale.as_str()) else { return };
        let publisher = match translation.is_final {
            true => Some(&output.finals),
            false => output.partials.as_ref(),
        };
        let message = StringMsg { data: translation.text.clone() };
        if let Some(Err(error)) = publisher.map(|publisher| publisher.publish(&message)) {
            tracing::error!(%error, topic = output.topic, "a text is lost");
        }
    }

    fn count(&self, translation: &Translation) {
        if !translation.is_final {
            return;
        }
        let counter = match translation.status {
            Translation::OK | Translation::PASSTHROUGH | Translation::TRUNCATED => {
                Some(&self.counters.translated)
            }
            Translation::FAILED => Some(&self.counters.failed),
            _ => None,
        };
        if let Some(counter) = counter {
            counter.fetch_add(1, Ordering::Relaxed);
        }
        let add = |counter: &AtomicU64, n: usize| counter.fetch_add(n as u64, Ordering::Relaxed);
        add(&self.counters.terms_applied, translation.glossary_applied.len());
        add(&self.counters.terms_missed, translation.glossary_missed.len());
    }
}

impl Ordered {
    pub(super) fn new(outputs: Arc<Outputs>) -> Self {
        Self { outputs, sequence: Mutex::default(), advanced: Condvar::new() }
    }

    /// Publishes the results of the `order`-th text as soon as all before it are out. Blocks while
    /// too many wait already.
    ///
    /// Texts are taken in order, so the one that all wait for is always with a worker, and that
    /// worker does not block here.
    pub(super) fn publish(&self, order: u64, results: Vec<Translation>) {
        let sequence = self.sequence.lock().unwrap_or_else(PoisonError::into_inner);
        let must_wait =
            |sequence: &mut Sequence| order != sequence.next && sequence.ready.len() >= READY_MAX;
        let mut sequence =
            self.advanced.wait_while(sequence, must_wait).unwrap_or_else(PoisonError::into_inner);
        sequence.ready.insert(order, results);
        while let Some(results) = {
            let next = sequence.next;
            sequence.ready.remove(&next)
        } {
            sequence.next += 1;
            // Under the lock, so that two workers cannot overtake each other here.
            results.iter().for_each(|result| self.outputs.publish(result));
        }
        drop(sequence);
        self.advanced.notify_all();
    }
}
