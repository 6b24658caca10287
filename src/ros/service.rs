//! Typed servers of services.

use std::marker::PhantomData;
use std::sync::Arc;

use super::port::{NodePort, ReplyPort, RequestHandler, ServerPort};
use super::pubsub::Inbox;
use super::wire::{Message, Service};
use super::{Gid, RosError, SerializedMessage, SubscriptionStats};

/// Serves `S` until dropped.
pub struct Server<S: Service> {
    _port: Box<dyn ServerPort>,
    inbox: Arc<Inbox>,
    service: PhantomData<fn(S)>,
}

impl<S: Service> Server<S> {
    pub(super) fn new(
        node: &dyn NodePort,
        name: &str,
        mut handler: impl FnMut(S::Request, Responder<S::Response>) + Send + 'static,
    ) -> Result<Self, RosError> {
        let inbox = Inbox::new(name);
        let guard = Arc::clone(&inbox);
        let service: Arc<str> = name.into();
        let on_request: RequestHandler = Box::new(move |request, reply| {
            let client = reply.client();
            guard.take(request, client, |request: Result<S::Request, _>| {
                // A request that cannot be read is counted and reported; nothing in it says what
                // an answer would have to look like.
                if let Ok(request) = request {
                    handler(request, Responder::new(Arc::clone(&service), reply));
                }
            });
        });
        let port = node.server(name, S::ROS_TYPE, on_request)?;
        Ok(Self { _port: port, inbox, service: PhantomData })
    }

    /// Counters of the requests since the start.
    #[must_use]
    pub fn stats(&self) -> SubscriptionStats {
        self.inbox.stats(0)
    }
}

/// A reply could not be sent.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RespondError<R: Message> {
    /// The reply does not fit what this client can get; answer again with less.
    #[error(
        "a reply of {bytes} bytes is above the limit of {limit} bytes for this client; ask for \
         less at once"
    )]
    TooLarge {
        /// Answers the same request again.
        responder: Responder<R>,
        /// Size of the reply.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// The middleware did not take the reply.
    #[error(transparent)]
    Ros(#[from] RosError),
}

/// Answers one request, from any thread, at any time.
///
/// Dropping it without an answer is logged; the client then waits until its own timeout.
pub struct Responder<R: Message> {
    service: Arc<str>,
    reply: Option<Box<dyn ReplyPort>>,
    response: PhantomData<fn(R)>,
}

impl<R: Message> Responder<R> {
    fn new(service: Arc<str>, reply: Box<dyn ReplyPort>) -> Self {
        Self { service, reply: Some(reply), response: PhantomData }
    }

    /// The writer that sent the request.
    #[must_use]
    pub fn client(&self) -> Gid {
        self.reply.as_ref().map_or_else(Gid::default, |reply| reply.client())
    }

    /// Answers. Never blocks.
    ///
    /// # Errors
    /// [`RespondError::TooLarge`] gives the responder back; [`RespondError::Ros`] ends it.
    pub fn respond(mut self, response: &R) -> Result<(), RespondError<R>> {
        let Some(reply) = self.reply.take() else { return Ok(()) };
        let message = SerializedMessage::encode(response)?;
        let (bytes, limit) = (message.len(), reply.bytes_max());
        if bytes > limit {
            self.reply = Some(reply);
            return Err(RespondError::TooLarge { responder: self, bytes, limit });
        }
        Ok(reply.send(message)?)
    }
}

impl<R: Message> Responder<R> {
    /// Answers, and logs when that is not possible; for answers that are small and wait for nobody.
    pub fn respond_or_log(self, response: &R) {
        let service = Arc::clone(&self.service);
        if let Err(error) = self.respond(response) {
            tracing::warn!(%service, error = %error.to_string(), "a call could not be answered");
        }
    }
}

impl<R: Message> std::fmt::Debug for Responder<R> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Responder({} for {})", self.service, self.client())
    }
}

impl<R: Message> Drop for Responder<R> {
    fn drop(&mut self) {
        if self.reply.is_some() {
            tracing::warn!(service = %self.service, "a request was dropped without an answer");
        }
    }
}
