//! Shares that can be taken away.

use std::sync::{Arc, Mutex, PoisonError};

/// A share that anyone may use until it is closed: after [`Slot::close`] nobody gets it any more,
/// and it ends as soon as the last call that has it returns.
pub(super) struct Slot<T>(Mutex<Option<Arc<T>>>);

/// Something that the end of the context closes.
pub(super) trait Close: Send + Sync {
    fn close(&self);
}

impl<T> Slot<T> {
    pub(super) fn new(value: T) -> Self {
        Self::of(Some(Arc::new(value)))
    }

    pub(super) fn of(share: Option<Arc<T>>) -> Self {
        Self(Mutex::new(share))
    }

    /// `None` after it was closed.
    pub(super) fn get(&self) -> Option<Arc<T>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The share, made first where there is none.
    pub(super) fn get_or_make(&self, make: impl FnOnce() -> Option<T>) -> Option<Arc<T>> {
        let mut share = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if share.is_none() {
            *share = make().map(Arc::new);
        }
        share.clone()
    }
}

impl<T: Send + Sync> Close for Slot<T> {
    fn close(&self) {
        let share = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        // Ends here, outside the lock.
        drop(share);
    }
}
