//! Services and clients, with requests and responses as bytes.
//!
//! Unsafe, because they are C objects with a life of their own.
#![allow(unsafe_code)]

use std::sync::{Arc, Mutex, PoisonError};

use r2r_rcl as sys;

use super::context::report;
use super::message::NativeMessage;
use super::{Fixed, Node, RclError, ServiceType, c_name, check, check_take};
use crate::ros::{Gid, SerializedMessage};

/// Ties a response to its request.
#[derive(Clone, Copy)]
pub(crate) struct RequestId(sys::rmw_request_id_t);

impl RequestId {
    /// The writer of the request, as the middleware names it.
    pub(crate) fn client(&self) -> Gid {
        // Signed octets in Humble, unsigned ones since.
        Gid(self.0.writer_guid.map(|octet| octet.to_ne_bytes()[0]))
    }

    /// The client's number of the request.
    pub(crate) fn number(&self) -> i64 {
        self.0.sequence_number
    }

    fn unknown() -> Self {
        Self(sys::rmw_request_id_t { writer_guid: [0; 16], sequence_number: 0 })
    }
}

/// A server.
pub(crate) struct Service {
    raw: Fixed<sys::rcl_service_t>,
    node: Arc<Node>,
    kind: ServiceType,
    /// `rcl_send_response` is not documented as thread-safe.
    respond: Mutex<()>,
}

// SAFETY: only the spin thread takes, responses are serialised by `respond`, and the two go to
// different halves of the service; the end belongs to `Drop` alone.
unsafe impl Send for Service {}
// SAFETY: as for `Send`.
unsafe impl Sync for Service {}

impl Service {
    pub(crate) fn new(node: &Arc<Node>, name: &str, kind: ServiceType) -> Result<Self, RclError> {
        let name = c_name(name)?;
        let _endpoints = node.lock_endpoints();
        // SAFETY: the service is zero-initialised, the node is initialised and kept alive, the type
        // support lives for ever, and name and options are copied.
        unsafe {
            let raw = Fixed::new(sys::rcl_get_zero_initialized_service());
            let options = sys::rcl_service_get_default_options();
            let made = sys::rcl_service_init(
                raw.ptr(),
                node.ptr(),
                kind.ptr,
                name.as_ptr(),
                &raw const options,
            );
            check("rcl_service_init", made)?;
            Ok(Self { raw, node: Arc::clone(node), kind, respond: Mutex::new(()) })
        }
    }

    /// The next request; `None` when there is none.
    pub(crate) fn take(&self) -> Result<Option<(RequestId, SerializedMessage)>, RclError> {
        let native = NativeMessage::new(self.kind.request)?;
        let mut id = RequestId::unknown();
        // SAFETY: the service is initialised, and the struct is of its request type.
        let code = unsafe { sys::rcl_take_request(self.raw.ptr(), &raw mut id.0, native.ptr()) };
        if !check_take("rcl_take_request", code, sys::RCL_RET_SERVICE_TAKE_FAILED)? {
            return Ok(None);
        }
        Ok(Some((id, native.to_bytes()?)))
    }

    pub(crate) fn respond(
        &self,
        to: RequestId,
        response: &SerializedMessage,
    ) -> Result<(), RclError> {
        let native = NativeMessage::from_bytes(self.kind.response, response)?;
        let mut id = to.0;
        let _one_at_a_time = self.respond.lock().unwrap_or_else(PoisonError::into_inner);
        // SAFETY: the service is initialised, and the struct is of its response type.
        let code = unsafe { sys::rcl_send_response(self.raw.ptr(), &raw mut id, native.ptr()) };
        check("rcl_send_response", code)
    }

    pub(super) fn ptr(&self) -> *const sys::rcl_service_t {
        self.raw.ptr()
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _endpoints = self.node.lock_endpoints();
        // SAFETY: initialised in `new` with this node; a wait set that knows it holds a share.
        let ended = unsafe { sys::rcl_service_fini(self.raw.ptr(), self.node.ptr()) };
        report("service", check("rcl_service_fini", ended));
    }
}

/// A client.
pub(crate) struct Client {
    raw: Fixed<sys::rcl_client_t>,
    node: Arc<Node>,
    kind: ServiceType,
    /// `rcl_send_request` is not documented as thread-safe.
    send: Mutex<()>,
}

// SAFETY: only the spin thread takes, requests are serialised by `send`, and the two go to
// different halves of the client; the end belongs to `Drop` alone.
unsafe impl Send for Client {}
// SAFETY: as for `Send`.
unsafe impl Sync for Client {}

impl Client {
    pub(crate) fn new(node: &Arc<Node>, name: &str, kind: ServiceType) -> Result<Self, RclError> {
        let name = c_name(name)?;
        let _endpoints = node.lock_endpoints();
        // SAFETY: as for a service.
        unsafe {
            let raw = Fixed::new(sys::rcl_get_zero_initialized_client());
            let options = sys::rcl_client_get_default_options();
            let made = sys::rcl_client_init(
                raw.ptr(),
                node.ptr(),
                kind.ptr,
                name.as_ptr(),
                &raw const options,
            );
            check("rcl_client_init", made)?;
            Ok(Self { raw, node: Arc::clone(node), kind, send: Mutex::new(()) })
        }
    }

    /// Sends a request and gives its number.
    pub(crate) fn send(&self, request: &SerializedMessage) -> Result<i64, RclError> {
        let native = NativeMessage::from_bytes(self.kind.request, request)?;
        let mut number = 0;
        let _one_at_a_time = self.send.lock().unwrap_or_else(PoisonError::into_inner);
        // SAFETY: the client is initialised, and the struct is of its request type.
        let code = unsafe { sys::rcl_send_request(self.raw.ptr(), native.ptr(), &raw mut number) };
        check("rcl_send_request", code).map(|()| number)
    }

    /// The next response; `None` when there is none.
    pub(crate) fn take(&self) -> Result<Option<(RequestId, SerializedMessage)>, RclError> {
        let native = NativeMessage::new(self.kind.response)?;
        let mut id = RequestId::unknown();
        // SAFETY: the client is initialised, and the struct is of its response type.
        let code = unsafe { sys::rcl_take_response(self.raw.ptr(), &raw mut id.0, native.ptr()) };
        if !check_take("rcl_take_response", code, sys::RCL_RET_CLIENT_TAKE_FAILED)? {
            return Ok(None);
        }
        Ok(Some((id, native.to_bytes()?)))
    }

    /// Whether a server is discovered in both directions.
    pub(crate) fn is_available(&self) -> Result<bool, RclError> {
        let mut available = false;
        // SAFETY: node and client are initialised, and `available` is there for the call.
        let code = unsafe {
            sys::rcl_service_server_is_available(
                self.node.ptr(),
                self.raw.ptr(),
                &raw mut available,
            )
        };
        check("rcl_service_server_is_available", code).map(|()| available)
    }

    pub(super) fn ptr(&self) -> *const sys::rcl_client_t {
        self.raw.ptr()
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let _endpoints = self.node.lock_endpoints();
        // SAFETY: initialised in `new` with this node; a wait set that knows it holds a share.
        let ended = unsafe { sys::rcl_client_fini(self.raw.ptr(), self.node.ptr()) };
        report("client", check("rcl_client_fini", ended));
    }
}
