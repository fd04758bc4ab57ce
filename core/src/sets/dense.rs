//! Where much is ready the kernel's own call is the faster one.

use crate::hooks;

use super::set::Set;

/// How many calls the kernel serves after one with a large part ready. Long enough that a set that
/// is dense at each second call stays with it.
const CALLS: u32 = 16;
/// The same where registrations must be compared anew, each by a system call, before they serve.
const CALLS_UNHOOKED: u32 = 128;

impl Set {
    /// So many results and the kernel's own call is as fast: an event costs some 70 ns to take, and
    /// in an unhooked program twice a system call to verify; the kernel's poll costs 27 ns an entry.
    pub(crate) fn dense_limit(&self) -> usize {
        if hooks::are_complete() { self.entries / 3 + 1 } else { self.entries / 16 + 1 }
    }

    /// The queue had more than [`Set::dense_limit`] results: the next calls are the kernel's.
    pub(crate) fn is_found_dense(&mut self) {
        self.dense = CALLS;
    }

    /// The kernel's call had so many results.
    pub(crate) fn note_density(&mut self, ready: usize) {
        if ready > self.dense_limit() {
            self.dense = if hooks::are_complete() { CALLS } else { CALLS_UNHOOKED };
        } else {
            self.dense = self.dense.saturating_sub(1);
        }
    }
}
