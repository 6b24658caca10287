//! Waiting for whatever comes first.
//!
//! Unsafe, because a wait set is arrays of pointers to other objects.
#![allow(unsafe_code)]

use std::sync::Arc;

use r2r_rcl as sys;

use super::context::{lock_lifecycle, report};
use super::{Client, Context, Fixed, Guard, RclError, Service, Subscription, allocator, check};

/// What can be waited for.
#[derive(Clone)]
pub(crate) enum Waitable {
    Subscription(Arc<Subscription>),
    Service(Arc<Service>),
    Client(Arc<Client>),
}

/// Counts of each kind, in the order of `rcl_wait_set_resize`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Sizes {
    subscriptions: usize,
    services: usize,
    clients: usize,
}

/// A wait set for one guard condition and any number of waitables.
pub(crate) struct WaitSet {
    raw: Fixed<sys::rcl_wait_set_t>,
    sizes: Sizes,
    _context: Arc<Context>,
}

// SAFETY: it may move between threads; it is used by one at a time, since every use borrows it
// mutably.
unsafe impl Send for WaitSet {}

impl WaitSet {
    pub(crate) fn new(context: &Arc<Context>) -> Result<Self, RclError> {
        let _lifecycle = lock_lifecycle();
        // SAFETY: zero-initialised, and the context is initialised and kept alive.
        unsafe {
            let raw = Fixed::new(sys::rcl_get_zero_initialized_wait_set());
            let made =
                sys::rcl_wait_set_init(raw.ptr(), 0, 1, 0, 0, 0, 0, context.ptr(), allocator());
            check("rcl_wait_set_init", made)?;
            Ok(Self { raw, sizes: Sizes::default(), _context: Arc::clone(context) })
        }
    }

    /// Blocks until something is ready or `guard` is triggered. `ready` then says for each of
    /// `waitables` whether it is.
    pub(crate) fn wait(
        &mut self,
        waitables: &[Waitable],
        guard: &Guard,
        ready: &mut Vec<bool>,
    ) -> Result<(), RclError> {
        let indices = self.fill(waitables, guard)?;
        // SAFETY: filled with initialised objects that are borrowed for longer than the call.
        let code = unsafe { sys::rcl_wait(self.raw.ptr(), -1) };
        check("rcl_wait", code)?;
        ready.clear();
        ready.extend(
            waitables.iter().zip(indices).map(|(waitable, at)| self.is_ready(waitable, at)),
        );
        Ok(())
    }

    /// Puts everything in and gives the place of each.
    fn fill(&mut self, waitables: &[Waitable], guard: &Guard) -> Result<Vec<usize>, RclError> {
        let set = self.raw.ptr();
        let sizes = Sizes::of(waitables);
        // SAFETY: the set is initialised, and what is added is initialised and outlives the wait.
        // Resizing forgets what the set held, as clearing does.
        unsafe {
            if sizes == self.sizes {
                check("rcl_wait_set_clear", sys::rcl_wait_set_clear(set))?;
            } else {
                let Sizes { subscriptions, services, clients } = sizes;
                let code = sys::rcl_wait_set_resize(set, subscriptions, 1, 0, clients, services, 0);
                check("rcl_wait_set_resize", code)?;
                self.sizes = sizes;
            }
            let code =
                sys::rcl_wait_set_add_guard_condition(set, guard.ptr(), std::ptr::null_mut());
            check("rcl_wait_set_add_guard_condition", code)?;
            waitables.iter().map(|waitable| add(set, waitable)).collect()
        }
    }

    /// What is not ready has been replaced by null.
    fn is_ready(&self, waitable: &Waitable, at: usize) -> bool {
        // SAFETY: the set is initialised, its arrays have the sizes of the last `fill`, and `at` is
        // a place in the array of this kind that `fill` gave.
        unsafe {
            let set = &*self.raw.ptr();
            match waitable {
                Waitable::Subscription(_) => !(*set.subscriptions.add(at)).is_null(),
                Waitable::Service(_) => !(*set.services.add(at)).is_null(),
                Waitable::Client(_) => !(*set.clients.add(at)).is_null(),
            }
        }
    }
}

/// # Safety
/// `set` is initialised and has room for one more of this kind.
unsafe fn add(set: *mut sys::rcl_wait_set_t, waitable: &Waitable) -> Result<usize, RclError> {
    let mut at = 0;
    // SAFETY: the caller's promise, and the waitable is initialised.
    unsafe {
        match waitable {
            Waitable::Subscription(subscription) => check(
                "rcl_wait_set_add_subscription",
                sys::rcl_wait_set_add_subscription(set, subscription.ptr(), &raw mut at),
            )?,
            Waitable::Service(service) => check(
                "rcl_wait_set_add_service",
                sys::rcl_wait_set_add_service(set, service.ptr(), &raw mut at),
            )?,
            Waitable::Client(client) => check(
                "rcl_wait_set_add_client",
                sys::rcl_wait_set_add_client(set, client.ptr(), &raw mut at),
            )?,
        }
    }
    Ok(at)
}

impl Sizes {
    fn of(waitables: &[Waitable]) -> Self {
        let mut sizes = Self::default();
        for waitable in waitables {
            *match waitable {
                Waitable::Subscription(_) => &mut sizes.subscriptions,
                Waitable::Service(_) => &mut sizes.services,
                Waitable::Client(_) => &mut sizes.clients,
            } += 1;
        }
        sizes
    }
}

impl Drop for WaitSet {
    fn drop(&mut self) {
        let _lifecycle = lock_lifecycle();
        // SAFETY: initialised in `new` and not used after this.
        let ended = unsafe { sys::rcl_wait_set_fini(self.raw.ptr()) };
        report("wait set", check("rcl_wait_set_fini", ended));
    }
}
