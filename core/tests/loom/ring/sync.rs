//! loom's synchronisation in the shape of `src/ring/sync.rs`.

use loom::sync::MutexGuard;

pub(crate) use loom::sync::atomic::{AtomicU64, Ordering};
pub(crate) use loom::sync::{Condvar, Mutex};

#[derive(Clone, Copy, Debug)]
pub(crate) struct Deadline;

pub(crate) fn is_over(until: Option<Deadline>) -> bool {
    until.is_some()
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap()
}

/// Time runs out at any moment, if at all.
pub(crate) fn wait<'a, T>(
    mutex: &'a Mutex<T>,
    condvar: &Condvar,
    guard: MutexGuard<'a, T>,
    until: Option<Deadline>,
) -> MutexGuard<'a, T> {
    if until.is_some() {
        drop(guard);
        return lock(mutex);
    }
    condvar.wait(guard).unwrap()
}
