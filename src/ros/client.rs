//! Typed clients of services.

use std::marker::PhantomData;
use std::time::{Duration, Instant};

use super::port::{ClientPort, NodePort};
use super::wire::Service;
use super::{RosError, SerializedMessage};

/// How often a waiting client looks again.
const LOOK_INTERVAL: Duration = Duration::from_millis(5);

/// How long a server is left to discover us after we have discovered it.
const SETTLE: Duration = Duration::from_millis(100);

/// A call got no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CallError {
    /// No answer in time.
    #[error("no answer from {service} within {timeout_ms} ms; is the node running?")]
    Timeout {
        /// The service.
        service: String,
        /// How long was waited.
        timeout_ms: u128,
    },
    /// Too many calls wait already.
    #[error("{limit} calls of {service} wait for an answer already")]
    TooManyCalls {
        /// The service.
        service: String,
        /// The limit.
        limit: usize,
    },
    /// A callback called, and would have waited for itself.
    #[error(
        "{service} was called from a callback, which would wait for itself; call it from another thread"
    )]
    FromCallback {
        /// The service.
        service: String,
    },
    /// The request could not be sent, or the answer could not be read.
    #[error(transparent)]
    Ros(#[from] RosError),
}

/// Calls `S` until dropped.
pub struct Client<S: Service> {
    service: String,
    port: Box<dyn ClientPort>,
    marker: PhantomData<fn(S)>,
}

impl<S: Service> Client<S> {
    pub(super) fn new(node: &dyn NodePort, name: &str) -> Result<Self, RosError> {
        let port = node.client(name, S::ROS_TYPE)?;
        Ok(Self { service: name.to_owned(), port, marker: PhantomData })
    }

    /// Whether a server is discovered in both directions.
    #[must_use]
    pub fn is_available(&self) -> bool {
        self.port.is_available()
    }

    /// Waits for a server; false when `timeout` passed first. Blocks the caller.
    ///
    /// A server counts only after 100 ms, because that we have discovered it does not say that it
    /// has discovered us, and a request that comes too early is lost.
    #[must_use]
    pub fn wait_for_service(&self, timeout: Duration) -> bool {
        let deadline = Instant::now() + timeout;
        let mut available_since = None;
        loop {
            let now = Instant::now();
            if self.is_available() {
                let since = *available_since.get_or_insert(now);
                if now.duration_since(since) >= SETTLE {
                    return true;
                }
            } else {
                available_since = None;
            }
            if now >= deadline {
                return false;
            }
            std::thread::sleep(LOOK_INTERVAL);
        }
    }

    /// Sends a request and waits for its reply. Blocks the caller for up to `timeout`.
    ///
    /// # Errors
    /// [`CallError`].
    pub fn call(&self, request: &S::Request, timeout: Duration) -> Result<S::Response, CallError> {
        if self.port.is_callback_thread() {
            return Err(CallError::FromCallback { service: self.service.clone() });
        }
        let (sender, receiver) = crossbeam_channel::bounded(1);
        let on_reply = Box::new(move |reply| {
            // It has room for one; a call that gave up meanwhile does not mind.
            let _ = sender.try_send(reply);
        });
        let number = self.port.send(SerializedMessage::encode(request)?, on_reply)?;
        match receiver.recv_timeout(timeout) {
            Ok(reply) => Ok(reply?.decode()?),
            Err(_) => {
                self.port.forget(number);
                let timeout_ms = timeout.as_millis();
                Err(CallError::Timeout { service: self.service.clone(), timeout_ms })
            }
        }
    }
}
