//! What the node hears and is asked: the topic `text` and the service `~/translate`.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use super::NodeError;
use super::shared::{NotTaken, Shared};
use super::work::{self, Heard, Job};
use crate::ros::wire::{Header, StringMsg, Translate, TranslateResponse};
use crate::ros::{MessageInfo, Node, QosProfile, RosError, Server, Subscription};

/// The endpoints, alive as long as this is.
pub(super) struct Inputs {
    _text: Arc<Subscription<StringMsg>>,
    _translate: Server<Translate>,
}

impl Inputs {
    pub(super) fn start(node: &Node, shared: &Arc<Shared>) -> Result<Self, NodeError> {
        let (ear, desk) = (Arc::clone(shared), Arc::clone(shared));
        let topic = shared.names.topic("text")?;
        let qos = shared.qos.subscription(&topic, QosProfile::DEFAULT);
        let text =
            Arc::new(node.subscription_with_malformed(&topic, &qos, move |message, info| {
                hear(&ear, message, info);
            })?);
        let weak = Arc::downgrade(&text);
        shared.ears.add(&topic, weak);
        Ok(Self {
            _text: text,
            _translate: node.service(
                &shared.names.service("~/translate")?,
                move |request, responder| {
                    desk.counters.called.fetch_add(1, Ordering::Relaxed);
                    let job = Job::Called { request, responder, received: Instant::now() };
                    if let Err(refused) = desk.enqueue(job) {
                        turn_away(refused);
                    }
                },
            )?,
        })
    }
}

/// A text was heard.
fn hear(shared: &Shared, message: Result<StringMsg, &RosError>, info: MessageInfo) {
    let counters = &shared.counters;
    if shared.outputs.is_own(info.source) {
        counters.own_output.fetch_add(1, Ordering::Relaxed);
        return;
    }
    shared.count_heard();
    let mut heard = Heard {
        order: 0,
        utterance: shared.next_utterance(),
        header: Header { stamp: shared.clock.stamp(&info), frame_id: String::new() },
        text: String::new(),
        context: String::new(),
        received: Instant::now(),
    };
    match message {
        Ok(message) => heard.text = message.data,
        // Whoever sent it must learn why nothing comes; what was sent cannot be shown.
        Err(error) => return shared.outputs.refuse(heard, &error.to_string()),
    }
    let Err(refused) = shared.enqueue_heard(heard) else { return };
    let detail = match &refused {
        NotTaken::Full(limit, _) => {
            counters.overflowed.fetch_add(1, Ordering::Relaxed);
            format!("{limit} texts wait already (limits.queue); this one was refused")
        }
        NotTaken::NotActive(..) => {
            counters.not_active.fetch_add(1, Ordering::Relaxed);
            refused.words().1
        }
    };
    if let Job::Heard(heard) = refused.into_job() {
        shared.outputs.refuse(heard, &detail);
    }
}

/// Answers a call that was not taken.
fn turn_away(refused: NotTaken) {
    let (code, message) = refused.words();
    if let Job::Called { responder, .. } = refused.into_job() {
        let response = TranslateResponse { code, message, ..TranslateResponse::default() };
        work::answer(responder, &response);
    }
}
