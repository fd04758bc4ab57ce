//! The standard library's synchronisation, in the shape in which it is checked: core/tests/loom
//! compiles the files beside this one with loom's.

use std::sync::{MutexGuard, PoisonError};
use std::time::Instant;

pub(crate) use std::sync::atomic::{AtomicU64, Ordering};
pub(crate) use std::sync::{Condvar, Mutex};

/// When a thread that waits for its turn gives up.
pub(crate) type Deadline = Instant;

pub(crate) fn is_over(until: Option<Deadline>) -> bool {
    until.is_some_and(|until| until <= Instant::now())
}

/// A panic under the lock was our own bug; what it guards is changed in one step.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Waits to be notified, at most until then. (The mutex is that of the guard.)
pub(crate) fn wait<'a, T>(
    _mutex: &'a Mutex<T>,
    condvar: &Condvar,
    guard: MutexGuard<'a, T>,
    until: Option<Deadline>,
) -> MutexGuard<'a, T> {
    match until {
        None => condvar.wait(guard).unwrap_or_else(PoisonError::into_inner),
        Some(until) => {
            let time = until.saturating_duration_since(Instant::now());
            condvar.wait_timeout(guard, time).unwrap_or_else(PoisonError::into_inner).0
        }
    }
}
