//! Calls that wait for their reply, as both middlewares keep them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::port::ReplyHandler;
use super::{CallError, RosError};

/// Calls of one client that wait for their reply.
const CALLS_PENDING_MAX: usize = 64;

/// The calls of one client. Clones share them.
#[derive(Clone, Default)]
pub(super) struct Pending(Arc<Mutex<HashMap<i64, ReplyHandler>>>);

impl Pending {
    /// Sends a request with `write`, which gives its number, and keeps who waits for the reply.
    pub(super) fn send(
        &self,
        service: &str,
        on_reply: ReplyHandler,
        write: impl FnOnce() -> Result<i64, RosError>,
    ) -> Result<i64, CallError> {
        // Held over the write, so that the reply cannot come before its place is made.
        let mut pending = self.lock();
        if pending.len() >= CALLS_PENDING_MAX {
            let service = service.to_owned();
            return Err(CallError::TooManyCalls { service, limit: CALLS_PENDING_MAX });
        }
        let number = write()?;
        pending.insert(number, on_reply);
        Ok(number)
    }

    /// Who waits for the reply to a request; the place is free then.
    pub(super) fn take(&self, number: i64) -> Option<ReplyHandler> {
        self.lock().remove(&number)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<i64, ReplyHandler>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
