//! Whether a queue is open, and whether anybody sleeps in it: whoever closes it must know, and whoever
//! goes to sleep.
//!
//! The sleeper declares itself and then looks whether the queue is closed; the closer closes it and
//! then looks for sleepers. Both in one order that all agree on (SeqCst): so one of them sees the
//! other, and nobody sleeps on in a closed queue unknown.

use super::sync::{AtomicU32, Ordering, in_order};

#[derive(Debug)]
pub(crate) struct Handshake {
    /// Odd while the queue is open; counted up at open and at close.
    life: AtomicU32,
    /// Threads that sleep in a wait, or are about to. (One that was cancelled there stays counted:
    /// all that costs is an alarm for nobody.)
    sleepers: AtomicU32,
}

impl Handshake {
    pub(crate) fn new() -> Self {
        Self { life: AtomicU32::new(0), sleepers: AtomicU32::new(0) }
    }

    /// Unlike that of any other queue that had or will have this object.
    #[inline]
    pub(crate) fn life(&self) -> u32 {
        self.life.load(Ordering::Acquire)
    }

    /// The queue is open from here on; what it needs is in its place.
    pub(crate) fn open(&self) {
        self.life.fetch_add(1, Ordering::Release);
    }

    /// The queue is closed from here on; whether there may be sleepers to be woken.
    pub(crate) fn close(&self) -> bool {
        self.life.fetch_add(1, Ordering::SeqCst);
        in_order();
        self.sleepers.load(Ordering::SeqCst) > 0
    }

    /// Whether there may be sleepers. Who asks has made known before (SeqCst) what a thread looks for
    /// that goes to sleep.
    #[inline]
    pub(crate) fn has_sleepers(&self) -> bool {
        in_order();
        self.sleepers.load(Ordering::SeqCst) > 0
    }

    /// Runs a wait that may sleep; None where the life is over.
    #[inline]
    pub(crate) fn sleep<R>(&self, life: u32, wait: impl FnOnce() -> R) -> Option<R> {
        self.sleepers.fetch_add(1, Ordering::SeqCst);
        in_order();
        let woken = (self.life.load(Ordering::SeqCst) == life).then(wait);
        self.sleepers.fetch_sub(1, Ordering::SeqCst);
        woken
    }
}
