//! The lock around changes of actions. sigaction(2) may be called in a signal handler, so whoever
//! holds it has all signals blocked; and in a forked child, so a holder that was left behind in the
//! parent does not count.

use std::sync::atomic::{AtomicU32, Ordering::SeqCst};

use crate::sys::linux::{fork, raw};

/// 0, or the generation of the process that a thread holds it in.
static HOLDER: AtomicU32 = AtomicU32::new(0);

/// The lock, held.
#[derive(Debug)]
pub(super) struct Guard {
    mask: u64,
}

impl Guard {
    pub(super) fn lock() -> Self {
        let mask = raw::change_mask(libc::SIG_SETMASK, u64::MAX);
        let us = fork::generation();
        let mut there = 0;
        while let Err(holder) = HOLDER.compare_exchange(there, us, SeqCst, SeqCst) {
            if holder == us {
                raw::sched_yield();
                there = 0;
            } else {
                there = holder;
            }
        }
        Self { mask }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        HOLDER.store(0, SeqCst);
        raw::change_mask(libc::SIG_SETMASK, self.mask);
    }
}
