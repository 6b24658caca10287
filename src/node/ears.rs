//! Where live speech comes from: the topic `speech`, the voices of REP-155, and whether the robot
//! speaks itself.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::NodeError;
use super::shared::Shared;
use super::speech::Said;
use crate::config::InputMode;
use crate::ros::wire::Time;
use crate::ros::wire::common::BoolMsg;
use crate::ros::wire::hri::AnyLiveSpeech;
use crate::ros::{Graph, MessageInfo, Node, QosProfile, RosError, Subscription};

/// Who speaks where nothing says so; what ROS4HRI nodes use.
const ANONYMOUS: &str = "anonymous_speaker";

/// Voices that are followed at once.
pub(super) const VOICES_MAX: usize = 32;

/// Where voices are, by REP-155: `/humans/voices/<id>/speech`.
const VOICES: &str = "/humans/voices/";

/// The subscriptions, alive as long as this is.
pub(super) struct SpeechInputs {
    speech: Option<Arc<Subscription<AnyLiveSpeech>>>,
    _is_speaking: Option<Subscription<BoolMsg>>,
}

impl SpeechInputs {
    pub(super) fn start(
        node: &Node,
        shared: &Arc<Shared>,
        mode: InputMode,
        is_speaking: &str,
    ) -> Result<Self, NodeError> {
        let speech = match mode {
            InputMode::Hri => None,
            InputMode::Topic | InputMode::Both => {
                listen(node, shared, &shared.names.topic("speech")?, ANONYMOUS)
            }
        };
        let is_speaking = match is_speaking {
            "" => None,
            topic => {
                let (topic, mouth) = (shared.names.topic(topic)?, Arc::clone(shared));
                let qos = shared.qos.subscription(&topic, QosProfile::DEFAULT);
                let hear = move |message: BoolMsg, _| {
                    mouth.with_speech(|speech| speech.mute(message.data));
                };
                Some(node.subscription(&topic, &qos, hear)?)
            }
        };
        Ok(Self { speech, _is_speaking: is_speaking })
    }

    /// Whether the topic `speech` is heard.
    pub(super) fn hears_speech(&self) -> bool {
        self.speech.is_some()
    }
}

/// Hears one speaker. A middleware that does not know `hri_msgs` cannot; that is said once.
fn listen(
    node: &Node,
    shared: &Arc<Shared>,
    topic: &str,
    speaker: &str,
) -> Option<Arc<Subscription<AnyLiveSpeech>>> {
    let (ear, speaker) = (Arc::clone(shared), speaker.to_owned());
    let qos = shared.qos.subscription(topic, QosProfile::DEFAULT);
    let hear = move |message: Result<AnyLiveSpeech, &RosError>, info: MessageInfo| {
        if let Ok(message) = message {
            hear(&ear, &speaker, message, info);
        }
    };
    match node.subscription_with_malformed(topic, &qos, hear) {
        Ok(subscription) => {
            let subscription = Arc::new(subscription);
            let weak = Arc::downgrade(&subscription);
            shared.ears.add(topic, weak);
            Some(subscription)
        }
        Err(error) => {
            tracing::warn!(%error, "{topic} is not heard: hri_msgs is not installed here");
            None
        }
    }
}

fn hear(shared: &Shared, speaker: &str, message: AnyLiveSpeech, info: MessageInfo) {
    if shared.outputs.is_own(info.source) {
        shared.counters.own_output.fetch_add(1, Ordering::Relaxed);
        return;
    }
    if !message.r#final.is_empty() {
        shared.count_heard();
    }
    let sent = message.header.stamp;
    let said = Said {
        speaker: speaker.to_owned(),
        incremental: message.incremental,
        r#final: message.r#final,
        locale: message.locale,
        // A recogniser that leaves the stamp out gets that of the middleware.
        stamp: if sent == Time::default() { shared.clock.stamp(&info) } else { sent },
    };
    let heard = shared.with_speech(|speech| speech.hear(said));
    let counter = match heard {
        Some(true) => return,
        Some(false) => &shared.counters.overflowed,
        None => &shared.counters.not_active,
    };
    counter.fetch_add(1, Ordering::Relaxed);
}

/// Follows the voices that come and go.
pub(super) struct Voices {
    node: Arc<Node>,
    graph: Graph,
    heard: Mutex<BTreeMap<String, Arc<Subscription<AnyLiveSpeech>>>>,
}

impl Voices {
    pub(super) fn new(node: Arc<Node>, graph: Graph) -> Self {
        Self { node, graph, heard: Mutex::default() }
    }

    /// Looks who is there now: by the topics, because `/humans/voices/tracked` is sent once and a
    /// late node misses it.
    pub(super) fn look(&self, shared: &Arc<Shared>) {
        let mut present = BTreeMap::new();
        for topic in self.graph.topics() {
            if topic.n_publishers > 0
                && let Some(voice) = voice(&topic.name)
            {
                present.insert(voice.to_owned(), topic.name.clone());
            }
        }
        let mut heard = self.heard();
        let gone: Vec<_> = heard.keys().filter(|v| !present.contains_key(*v)).cloned().collect();
        for voice in gone {
            heard.remove(&voice);
            tracing::info!(voice, "a voice is gone");
            shared.with_speech(|speech| speech.forget(&voice));
        }
        for (voice, topic) in present {
            if heard.contains_key(&voice) {
                continue;
            }
            if heard.len() >= VOICES_MAX {
                tracing::warn!(voice, limit = VOICES_MAX, "too many voices; one is not heard");
                break;
            }
            if let Some(subscription) = listen(&self.node, shared, &topic, &voice) {
                tracing::info!(voice, "a voice is there");
                heard.insert(voice, subscription);
            }
        }
    }

    fn heard(&self) -> MutexGuard<'_, BTreeMap<String, Arc<Subscription<AnyLiveSpeech>>>> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The voice whose speech is on a topic.
pub(super) fn voice(topic: &str) -> Option<&str> {
    let id = topic.strip_prefix(VOICES)?.strip_suffix("/speech")?;
    (!id.is_empty() && !id.contains('/')).then_some(id)
}

#[cfg(test)]
mod tests {
    use super::voice;

    #[test]
    fn voices_are_found_by_their_topics() {
        assert_eq!(voice("/humans/voices/anna/speech"), Some("anna"));
        for other in [
            "/humans/voices/tracked",
            "/humans/voices/anna/audio",
            "/humans/voices//speech",
            "/humans/voices/a/b/speech",
            "/robot/humans/voices/anna/speech",
        ] {
            assert_eq!(voice(other), None, "{other}");
        }
    }
}
