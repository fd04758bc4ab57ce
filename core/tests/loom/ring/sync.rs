//! loom's synchronisation in the shape of `src/ring/sync.rs`. Time does not pass.

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

pub(crate) fn wait<'a, T>(
    condvar: &Condvar,
    guard: MutexGuard<'a, T>,
    _until: Option<Deadline>,
) -> MutexGuard<'a, T> {
    condvar.wait(guard).unwrap()
}
