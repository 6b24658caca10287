//! Contexts, nodes and guard conditions.
//!
//! Unsafe, because they are C objects with a life of their own.
#![allow(unsafe_code)]

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use r2r_rcl as sys;

use super::{Fixed, RclError, allocator, c_name, check};
use crate::ros::{ContextOptions, DiscoveryRange};

/// Held while contexts, nodes, guard conditions and wait sets come and go.
///
/// `rcl` and the middleware start with the first of them in the process and stop with the last, and
/// do not expect both at once: seen as a wait set of `rmw_cyclonedds` that could not be made.
static LIFECYCLE: Mutex<()> = Mutex::new(());

/// To be held over a start or an end.
pub(super) fn lock_lifecycle() -> MutexGuard<'static, ()> {
    LIFECYCLE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// An initialised context.
pub(crate) struct Context {
    raw: Fixed<sys::rcl_context_t>,
}

// SAFETY: after `rcl_init` the struct is only read, apart from its end, which `Drop` has for
// itself; `rcl` documents the functions used here on an initialised context as usable from several
// threads, and creation of nodes is serialised by `LIFECYCLE`.
unsafe impl Send for Context {}
// SAFETY: as for `Send`.
unsafe impl Sync for Context {}

impl Context {
    /// Initialises ROS for a domain. No command line is handed on: names and parameters are
    /// resolved above.
    pub(crate) fn new(options: &ContextOptions) -> Result<Self, RclError> {
        let _lifecycle = lock_lifecycle();
        // SAFETY: `init` is zero-initialised before it is initialised, used only after that
        // succeeded, and ended by its owner on every way out; `raw` likewise, and `rcl_init` copies
        // the options. With `argc` 0, `argv` may be null.
        unsafe {
            check("rcutils_logging_initialize", sys::rcutils_logging_initialize())?;
            let mut init = InitOptions::new()?;
            init.set(options)?;
            let raw = Fixed::new(sys::rcl_get_zero_initialized_context());
            check("rcl_init", sys::rcl_init(0, std::ptr::null(), &raw const init.0, raw.ptr()))?;
            Ok(Self { raw })
        }
    }

    pub(super) fn ptr(&self) -> *mut sys::rcl_context_t {
        self.raw.ptr()
    }
}

impl Drop for Context {
    fn drop(&mut self) {
        let _lifecycle = lock_lifecycle();
        // SAFETY: initialised in `new`. Everything made from it holds a share of it, so nothing of
        // it is left.
        let ended = unsafe {
            check("rcl_shutdown", sys::rcl_shutdown(self.raw.ptr()))
                .and(check("rcl_context_fini", sys::rcl_context_fini(self.raw.ptr())))
        };
        report("context", ended);
    }
}

struct InitOptions(sys::rcl_init_options_t);

impl InitOptions {
    fn new() -> Result<Self, RclError> {
        // SAFETY: zero-initialised as the function wants it, and returned only when initialised.
        unsafe {
            let mut options = sys::rcl_get_zero_initialized_init_options();
            check(
                "rcl_init_options_init",
                sys::rcl_init_options_init(&raw mut options, allocator()),
            )?;
            Ok(Self(options))
        }
    }

    fn set(&mut self, options: &ContextOptions) -> Result<(), RclError> {
        let domain = usize::from(options.domain_id);
        // SAFETY: `self.0` is initialised; the pointer to its rmw part is checked, and valid as
        // long as `self.0`.
        unsafe {
            check(
                "rcl_init_options_set_domain_id",
                sys::rcl_init_options_set_domain_id(&raw mut self.0, domain),
            )?;
            let rmw = sys::rcl_init_options_get_rmw_init_options(&raw mut self.0);
            rmw.as_mut().map_or(Ok(()), |rmw| set_range(rmw, options.discovery_range))
        }
    }
}

impl Drop for InitOptions {
    fn drop(&mut self) {
        // SAFETY: initialised in `new` and not used after this.
        let ended = unsafe { sys::rcl_init_options_fini(&raw mut self.0) };
        report("init options", check("rcl_init_options_fini", ended));
    }
}

/// `Subnet` is what is left alone: `rcl` then reads the environment itself and also knows
/// `SYSTEM_DEFAULT` and `ROS_STATIC_PEERS`.
#[cfg(not(ros_before_iron))]
#[allow(clippy::unnecessary_wraps, reason = "older distributions refuse something here")]
fn set_range(rmw: &mut sys::rmw_init_options_t, range: DiscoveryRange) -> Result<(), RclError> {
    use sys::rmw_automatic_discovery_range_e::{
        RMW_AUTOMATIC_DISCOVERY_RANGE_LOCALHOST, RMW_AUTOMATIC_DISCOVERY_RANGE_OFF,
    };
    match range {
        DiscoveryRange::Subnet => {}
        DiscoveryRange::Localhost => {
            rmw.discovery_options.automatic_discovery_range =
                RMW_AUTOMATIC_DISCOVERY_RANGE_LOCALHOST;
        }
        DiscoveryRange::Off => {
            rmw.discovery_options.automatic_discovery_range = RMW_AUTOMATIC_DISCOVERY_RANGE_OFF;
        }
    }
    Ok(())
}

/// Before Iron there was only `ROS_LOCALHOST_ONLY`.
#[cfg(ros_before_iron)]
fn set_range(rmw: &mut sys::rmw_init_options_t, range: DiscoveryRange) -> Result<(), RclError> {
    match range {
        DiscoveryRange::Subnet => {}
        DiscoveryRange::Localhost => {
            rmw.localhost_only = sys::rmw_localhost_only_e::RMW_LOCALHOST_ONLY_ENABLED;
        }
        DiscoveryRange::Off => {
            return Err(RclError::Unsupported { what: "ROS_AUTOMATIC_DISCOVERY_RANGE=OFF" });
        }
    }
    Ok(())
}

/// A node in the graph.
pub(crate) struct Node {
    raw: Fixed<sys::rcl_node_t>,
    /// Held while an endpoint is made or ended. Both change a table of types in the node (since
    /// Iron), without a lock of `rcl`; seen as a crash when two threads dropped endpoints at once.
    endpoints: Mutex<()>,
    _context: Arc<Context>,
}

// SAFETY: what changes an initialised node is serialised by `endpoints`; questions go to `rmw`, which
// has locks of its own; the end belongs to `Drop` alone.
unsafe impl Send for Node {}
// SAFETY: as for `Send`.
unsafe impl Sync for Node {}

impl Node {
    pub(crate) fn new(
        context: &Arc<Context>,
        name: &str,
        namespace: &str,
    ) -> Result<Self, RclError> {
        let (name, namespace) = (c_name(name)?, c_name(namespace)?);
        let _lifecycle = lock_lifecycle();
        // SAFETY: the node is zero-initialised, its context is initialised and is kept alive by the
        // node, and both strings end with a zero octet and are copied.
        unsafe {
            let mut options = sys::rcl_node_get_default_options();
            // `/rosout` is published above, the same for every middleware.
            options.enable_rosout = false;
            let raw = Fixed::new(sys::rcl_get_zero_initialized_node());
            let made = sys::rcl_node_init(
                raw.ptr(),
                name.as_ptr(),
                namespace.as_ptr(),
                context.ptr(),
                &raw const options,
            );
            check("rcl_node_init", made)?;
            Ok(Self { raw, endpoints: Mutex::new(()), _context: Arc::clone(context) })
        }
    }

    /// To be held while an endpoint of this node is made or ended.
    pub(super) fn lock_endpoints(&self) -> MutexGuard<'_, ()> {
        self.endpoints.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn ptr(&self) -> *mut sys::rcl_node_t {
        self.raw.ptr()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _lifecycle = lock_lifecycle();
        // SAFETY: initialised in `new`; every endpoint of it holds a share, so none is left.
        let ended = unsafe { sys::rcl_node_fini(self.raw.ptr()) };
        report("node", check("rcl_node_fini", ended));
    }
}

/// Wakes a wait set from another thread.
pub(crate) struct Guard {
    raw: Fixed<sys::rcl_guard_condition_t>,
    _context: Arc<Context>,
}

// SAFETY: `rcl_trigger_guard_condition` is documented as thread-safe, and nothing else is called on
// it between its start and its end.
unsafe impl Send for Guard {}
// SAFETY: as for `Send`.
unsafe impl Sync for Guard {}

impl Guard {
    pub(crate) fn new(context: &Arc<Context>) -> Result<Self, RclError> {
        let _lifecycle = lock_lifecycle();
        // SAFETY: zero-initialised, and the context is initialised and kept alive.
        unsafe {
            let raw = Fixed::new(sys::rcl_get_zero_initialized_guard_condition());
            let options = sys::rcl_guard_condition_get_default_options();
            let made = sys::rcl_guard_condition_init(raw.ptr(), context.ptr(), options);
            check("rcl_guard_condition_init", made)?;
            Ok(Self { raw, _context: Arc::clone(context) })
        }
    }

    /// A wait that is going on, or else the next one, returns.
    pub(crate) fn trigger(&self) {
        // SAFETY: initialised in `new`.
        let triggered = unsafe { sys::rcl_trigger_guard_condition(self.raw.ptr()) };
        report("guard condition", check("rcl_trigger_guard_condition", triggered));
    }

    pub(super) fn ptr(&self) -> *const sys::rcl_guard_condition_t {
        self.raw.ptr()
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        let _lifecycle = lock_lifecycle();
        // SAFETY: initialised in `new`; a wait set borrows it while it waits.
        let ended = unsafe { sys::rcl_guard_condition_fini(self.raw.ptr()) };
        report("guard condition", check("rcl_guard_condition_fini", ended));
    }
}

/// What fails where nobody can be told, in destructors above all.
pub(super) fn report(what: &str, outcome: Result<(), RclError>) {
    if let Err(error) = outcome {
        tracing::warn!(%error, what, "ROS could not end this cleanly");
    }
}
