//! How often each signal came.

use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use libc::c_int;

use super::SIGNALS;

/// The count, and in the highest bits what is known of the last one that was counted while pending.
static COUNTS: [AtomicU64; SIGNALS] = [const { AtomicU64::new(0) }; SIGNALS];

/// One that is pending is in the count: its delivery is not to be counted again.
const AHEAD: u64 = 1 << 63;
/// As [`AHEAD`], but it is pending no more. Its handler has not begun yet, or somebody took it by
/// other ways, and nobody knows which. A handler that comes now is taken for its; one that is
/// pending is another.
const GONE: u64 = 1 << 62;
const COUNT: u64 = GONE - 1;

/// The count and its bits, to be compared when it is changed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Seen(u64);

pub(super) fn look(signal: c_int) -> Seen {
    Seen(COUNTS[signal as usize].load(SeqCst))
}

impl Seen {
    /// How many came.
    pub(super) fn count(self) -> u64 {
        self.0 & COUNT
    }

    /// Whether one that was pending is in the count.
    pub(super) fn is_ahead(self) -> bool {
        self.0 & AHEAD != 0
    }

    /// Counts one that is pending. False: something has changed since.
    pub(super) fn count_ahead(self, signal: c_int) -> bool {
        self.replace(signal, (self.count() + 1) | AHEAD)
    }

    /// What was counted while pending is pending no more. False: something has changed since.
    pub(super) fn note_gone(self, signal: c_int) -> bool {
        self.replace(signal, self.count() | GONE)
    }

    fn replace(self, signal: c_int, new: u64) -> bool {
        COUNTS[signal as usize].compare_exchange(self.0, new, SeqCst, SeqCst).is_ok()
    }
}

/// One was delivered, or taken. False: it was in the count already.
///
/// Async-signal-safe.
pub(super) fn happened(signal: c_int) -> bool {
    loop {
        let seen = look(signal);
        let known = seen.0 & (AHEAD | GONE) != 0;
        if seen.replace(signal, seen.count() + u64::from(!known)) {
            return !known;
        }
    }
}

/// Nobody watched until now.
pub(super) fn restart(signal: c_int) {
    COUNTS[signal as usize].fetch_and(COUNT, SeqCst);
}
