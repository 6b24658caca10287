//! Servers and clients of bytes.

use std::sync::{Arc, Weak};

use super::context::Shared;
use super::outbox::{Line, Outbox};
use super::rcl::{self, RclError, RequestId, ServiceType, Waitable};
use super::slot::{Close, Slot};
use super::spin::{Registration, Source, Spinner, report_take};
use crate::ros::cdr::MESSAGE_BYTES_MAX;
use crate::ros::pending::Pending;
use crate::ros::port::{ClientPort, ReplyHandler, ReplyPort, RequestHandler, ServerPort};
use crate::ros::{CallError, Gid, RosError, SerializedMessage};

/// A server, closed when dropped.
pub(super) struct R2rServer {
    service: Arc<Slot<rcl::Service>>,
    _registration: Registration,
}

impl R2rServer {
    pub(super) fn new(
        shared: &Shared,
        node: &Arc<rcl::Node>,
        name: &str,
        ros_type: &str,
        handler: RequestHandler,
    ) -> Result<Self, RclError> {
        let kind = ServiceType::find(ros_type)?;
        let service = Arc::new(rcl::Service::new(node, name, kind)?);
        let source = ServiceSource {
            service: Arc::clone(&service),
            outbox: Arc::clone(&shared.outbox),
            line: Line::new(name),
            name: name.into(),
            failures: 0,
            handler,
        };
        let registration = shared.spinner.add(Box::new(source));
        let service = Arc::new(Slot::of(Some(service)));
        shared.closes(&service);
        Ok(Self { service, _registration: registration })
    }
}

impl ServerPort for R2rServer {}

impl Drop for R2rServer {
    fn drop(&mut self) {
        self.service.close();
    }
}

struct ServiceSource {
    service: Arc<rcl::Service>,
    outbox: Arc<Outbox>,
    line: Arc<Line>,
    name: Arc<str>,
    failures: u64,
    handler: RequestHandler,
}

impl Source for ServiceSource {
    fn waitable(&self) -> Waitable {
        Waitable::Service(Arc::clone(&self.service))
    }

    fn drain(&mut self, budget: usize, is_open: &dyn Fn() -> bool) {
        for _ in 0..budget {
            if !is_open() {
                return;
            }
            match self.service.take() {
                Ok(Some((id, request))) => {
                    let service = Arc::downgrade(&self.service);
                    let reply = R2rReply {
                        service,
                        outbox: Arc::clone(&self.outbox),
                        line: Arc::clone(&self.line),
                        name: Arc::clone(&self.name),
                        id,
                    };
                    (self.handler)(Ok(request), Box::new(reply));
                }
                Ok(None) => return,
                // ROS took the request without telling whose it was, so nobody can be answered.
                Err(error) => report_take(&mut self.failures, &self.name, &error),
            }
        }
    }
}

/// The way to answer one request; it does not keep the server.
struct R2rReply {
    service: Weak<rcl::Service>,
    outbox: Arc<Outbox>,
    line: Arc<Line>,
    name: Arc<str>,
    id: RequestId,
}

impl ReplyPort for R2rReply {
    fn client(&self) -> Gid {
        self.id.client()
    }

    fn bytes_max(&self) -> usize {
        MESSAGE_BYTES_MAX
    }

    fn send(self: Box<Self>, reply: SerializedMessage) -> Result<(), RosError> {
        let closed = || RosError::Closed { what: format!("the reply of {}", self.name) };
        let (service, id) = (self.service.upgrade().ok_or_else(closed)?, self.id);
        let write = Box::new(move || service.respond(id, &reply));
        if self.outbox.push(&self.line, write) { Ok(()) } else { Err(closed()) }
    }
}

/// A client, closed when dropped.
pub(super) struct R2rClient {
    client: Arc<Slot<rcl::Client>>,
    _registration: Registration,
    name: String,
    pending: Pending,
    spinner: Arc<Spinner>,
}

impl R2rClient {
    pub(super) fn new(
        shared: &Shared,
        node: &Arc<rcl::Node>,
        name: &str,
        ros_type: &str,
    ) -> Result<Self, RclError> {
        let kind = ServiceType::find(ros_type)?;
        let client = Arc::new(rcl::Client::new(node, name, kind)?);
        let pending = Pending::default();
        let source = ClientSource {
            client: Arc::clone(&client),
            name: name.to_owned(),
            failures: 0,
            pending: pending.clone(),
        };
        let registration = shared.spinner.add(Box::new(source));
        let client = Arc::new(Slot::of(Some(client)));
        shared.closes(&client);
        let spinner = Arc::clone(&shared.spinner);
        Ok(Self { client, _registration: registration, name: name.to_owned(), pending, spinner })
    }
}

impl ClientPort for R2rClient {
    fn is_available(&self) -> bool {
        let Some(client) = self.client.get() else { return false };
        client.is_available().unwrap_or_else(|error| {
            tracing::debug!(service = self.name, %error, "servers are not known");
            false
        })
    }

    fn send(&self, request: SerializedMessage, on_reply: ReplyHandler) -> Result<i64, CallError> {
        let bytes = request.len();
        if bytes > MESSAGE_BYTES_MAX {
            let (topic, limit) = (self.name.clone(), MESSAGE_BYTES_MAX);
            return Err(RosError::TooLarge { topic, bytes, limit }.into());
        }
        let Some(client) = self.client.get() else {
            return Err(RosError::Closed { what: format!("a call of {}", self.name) }.into());
        };
        let write = || client.send(&request).map_err(|error| write_error(&self.name, &error));
        self.pending.send(&self.name, on_reply, write)
    }

    fn forget(&self, number: i64) {
        self.pending.take(number);
    }

    fn is_callback_thread(&self) -> bool {
        self.spinner.is_current()
    }
}

impl Drop for R2rClient {
    fn drop(&mut self) {
        self.client.close();
    }
}

struct ClientSource {
    client: Arc<rcl::Client>,
    name: String,
    failures: u64,
    pending: Pending,
}

impl Source for ClientSource {
    fn waitable(&self) -> Waitable {
        Waitable::Client(Arc::clone(&self.client))
    }

    fn drain(&mut self, budget: usize, is_open: &dyn Fn() -> bool) {
        for _ in 0..budget {
            if !is_open() {
                return;
            }
            match self.client.take() {
                Ok(Some((id, reply))) => {
                    if let Some(on_reply) = self.pending.take(id.number()) {
                        on_reply(Ok(reply));
                    }
                }
                Ok(None) => return,
                Err(error) => report_take(&mut self.failures, &self.name, &error),
            }
        }
    }
}

fn write_error(name: &str, error: &RclError) -> RosError {
    RosError::Write { topic: name.to_owned(), reason: error.to_string() }
}
