//! The clock for stamps: the system's, or that of a simulation on `/clock`.
//!
//! Latencies, deadlines and time-outs never read it; they are on the steady clock.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::NodeError;
use crate::ros::wire::Time;
use crate::ros::wire::common::Clock;
use crate::ros::{MessageInfo, Node, QosProfile, Subscription};

/// What `use_sim_time` decides.
pub(super) struct StampClock {
    node: Arc<Node>,
    simulated: Mutex<Option<Simulated>>,
}

struct Simulated {
    now: Arc<Mutex<Time>>,
    _clock: Subscription<Clock>,
}

impl StampClock {
    pub(super) fn new(node: Arc<Node>) -> Self {
        Self { node, simulated: Mutex::default() }
    }

    /// Follows `/clock`, or the system again. A simulated clock stands at 0 until it is heard.
    pub(super) fn follow(&self, use_sim_time: bool) -> Result<(), NodeError> {
        let mut simulated = self.simulated();
        match (use_sim_time, simulated.is_some()) {
            (true, false) => {
                let now = Arc::new(Mutex::new(Time::default()));
                let hand = Arc::clone(&now);
                let tick = move |message: Clock, _: MessageInfo| {
                    *hand.lock().unwrap_or_else(PoisonError::into_inner) = message.clock;
                };
                let clock = self.node.subscription("/clock", &QosProfile::CLOCK, tick)?;
                *simulated = Some(Simulated { now, _clock: clock });
            }
            (false, true) => *simulated = None,
            _ => {}
        }
        Ok(())
    }

    /// The time now.
    pub(super) fn now(&self) -> Time {
        self.simulated_now().unwrap_or_else(Time::now)
    }

    /// When a message without a stamp of its own was said: by the clock of its writer, or its
    /// arrival where that is not known. In a simulation only `/clock` counts.
    pub(super) fn stamp(&self, info: &MessageInfo) -> Time {
        let said = || info.source_time.unwrap_or(info.reception_time).into();
        self.simulated_now().unwrap_or_else(said)
    }

    fn simulated_now(&self) -> Option<Time> {
        let simulated = self.simulated();
        let now = &simulated.as_ref()?.now;
        Some(now.lock().unwrap_or_else(PoisonError::into_inner).clone())
    }

    fn simulated(&self) -> MutexGuard<'_, Option<Simulated>> {
        self.simulated.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
