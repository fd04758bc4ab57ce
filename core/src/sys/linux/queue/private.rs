//! A private queue: one that is only waited on through this library. Nobody polls its descriptor, or
//! has it nested in another set.
//!
//! There the kernel need not know what nobody waits for. While no thread sleeps in the queue
//!
//! - a level knote that is disabled, by EV_DISABLE or after its report by EV_DISPATCH, stays armed in
//!   the kernel, so to enable it again costs nothing. Only if the kernel tells of it while it is
//!   disabled is it disarmed, and then to enable it is a system call as in any queue;
//! - knotes that are no descriptor's stand in their line, and the bell is not rung for them: a wait
//!   looks there first.
//!
//! What the kernel's registration would not tell goes out at once, and so do EV_ADD and EV_DELETE: the
//! kernel alone knows whether a number was closed and means another file. So does every change where
//! EV_CLEAR is set, whose report is bound to the moment of the change. (To put off what is lacking
//! until the next wait was tried: it spares nothing that the above does not, and a number that was
//! closed and taken by another file meanwhile got a knote that nobody had added.)
//!
//! No wake-up is lost to a sleeper. A registration that was left as it is tells all that is wanted.
//! For the line: who leaves the bell alone says so ([`Held::is_any`]) and then looks for sleepers; who
//! goes to sleep is counted as one and then looks whether anything is held back. One of the two sees
//! the other. Who sleeps already has everything sent at once, as in any queue.

use super::sync::{AtomicBool, AtomicU32, Ordering};
use super::{Queue, QueueKnotes};
use crate::sys::linux::sink::Sink;

/// What a private queue tells those who are about to wait.
#[derive(Debug)]
pub(crate) struct Held {
    private: AtomicBool,
    any: AtomicBool,
    /// How many changes the kernel was not told of: an event that was fetched before the last of them
    /// is looked at again.
    changes: AtomicU32,
}

impl Held {
    pub(super) const fn new() -> Self {
        Self {
            private: AtomicBool::new(false),
            any: AtomicBool::new(false),
            changes: AtomicU32::new(0),
        }
    }

    /// A new queue begins.
    pub(super) fn begin(&self, private: bool) {
        self.private.store(private, Ordering::Relaxed);
        self.any.store(false, Ordering::Relaxed);
        self.changes.store(0, Ordering::Relaxed);
    }

    #[inline]
    pub(crate) fn is_private(&self) -> bool {
        self.private.load(Ordering::Relaxed)
    }

    /// Whether something has to be seen to before a wait may sleep.
    #[inline]
    pub(crate) fn is_any(&self) -> bool {
        self.any.load(Ordering::SeqCst)
    }

    #[inline]
    pub(crate) fn changes(&self) -> u32 {
        self.changes.load(Ordering::Acquire)
    }
}

impl Queue {
    /// Before the queue is unlocked: says what is held back, or sends it if somebody sleeps.
    pub(super) fn publish(&self, knotes: &mut QueueKnotes) {
        let held = &self.held;
        held.changes.store(knotes.descriptors.unsent, Ordering::Release);
        let any = knotes.soft.is_unannounced();
        if any != held.any.load(Ordering::Relaxed) {
            held.any.store(any, Ordering::SeqCst);
        }
        if any && self.handshake.has_sleepers() {
            knotes.hold(false);
            knotes.soft.announce();
            held.any.store(false, Ordering::SeqCst);
        }
    }
}

impl QueueKnotes {
    /// Whether the kernel may be told later (nobody sleeps) or not.
    pub(super) fn hold(&mut self, may: bool) {
        self.descriptors.hold = may;
        self.soft.hold = may;
    }

    /// Before a wait: lets those in the line report, in half of the room, so that neither they nor
    /// descriptors starve. True: somebody stands there, so the wait must not sleep.
    pub(crate) fn see_to_held(&mut self, sink: &mut Sink) -> bool {
        let waiting = self.soft.is_unannounced();
        if waiting {
            self.larger_half = !self.larger_half;
            let budget = (sink.room() + usize::from(self.larger_half)) / 2;
            self.report_soft(sink, budget);
        }
        waiting
    }
}
