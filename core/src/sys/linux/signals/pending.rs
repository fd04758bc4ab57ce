//! Signals that nobody takes: blocked, and so pending.

use libc::c_int;

use super::census::{Fate, fate};
use super::{bit, count, ringer};
use crate::sys::linux::raw;

/// Counts those of these signals that are pending and stay so; looks which of those that were
/// counted are pending no more. True: of one it is not known yet, and is to be looked at again.
pub(super) fn look(mask: u64) -> bool {
    let mut open = false;
    for signal in (1..super::SIGNALS as c_int).filter(|&signal| mask & bit(signal) != 0) {
        open |= look_at(signal);
    }
    open
}

fn look_at(signal: c_int) -> bool {
    loop {
        // In this order: a handler that comes between changes what was seen.
        let seen = count::look(signal);
        let pending = raw::rt_sigpending() & bit(signal) != 0;
        let done = match (pending, seen.is_ahead()) {
            (true, true) | (false, false) => true,
            (true, false) => match fate(signal) {
                // A handler will count it, here or in another thread; or it is gone by now.
                Fate::Delivered | Fate::None => return true,
                Fate::Pending => {
                    let counted = seen.count_ahead(signal);
                    if counted {
                        ringer::ring(signal);
                    }
                    counted
                }
            },
            // It may be another thread's, where we cannot see it.
            (false, true) => fate(signal) != Fate::None || seen.note_gone(signal),
        };
        if done {
            return false;
        }
    }
}
