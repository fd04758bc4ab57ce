//! Whether a queue is open, and whether anybody sleeps in it: whoever closes it must know, and whoever
//! goes to sleep.
//!
//! The sleeper declares itself and then looks whether the queue is closed; the closer closes it and
//! then looks for sleepers. Both in one order that all agree on (SeqCst): so one of them sees the
//! other, and nobody sleeps on in a closed queue unknown.

use super::sync::{AtomicU32, AtomicU64, Ordering, in_order};

#[derive(Debug)]
pub(crate) struct Handshake {
    /// Odd while the queue is open; counted up at open and at close.
    life: AtomicU32,
    /// How often a thread has gone to sleep in a wait, or was about to.
    sleeps: AtomicU64,
    /// How many of these are over. Counted beneath the queue's lock, which a wait takes when it ends in
    /// any case: that spares an instruction which locks the bus. (A sleep in which the thread was
    /// cancelled is never over: all that costs is an alarm for nobody.)
    over: AtomicU64,
}

impl Handshake {
    pub(crate) fn new() -> Self {
        Self { life: AtomicU32::new(0), sleeps: AtomicU64::new(0), over: AtomicU64::new(0) }
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
        self.has_sleepers()
    }

    /// Whether there may be sleepers. Who asks has made known before (SeqCst) what a thread looks for
    /// that goes to sleep.
    #[inline]
    pub(crate) fn has_sleepers(&self) -> bool {
        in_order();
        // In this order, so that none is missed: what is over by then had begun, and is read too.
        let over = self.over.load(Ordering::SeqCst);
        self.sleeps.load(Ordering::SeqCst) != over
    }

    /// How many sleeps there were.
    pub(crate) fn sleeps(&self) -> u64 {
        self.sleeps.load(Ordering::Relaxed)
    }

    /// Declares that this thread is about to sleep. False: the life is over, so it must not. In any case
    /// [`wake`](Self::wake) is to follow.
    #[inline(always)]
    pub(crate) fn may_sleep(&self, life: u32) -> bool {
        self.sleeps.fetch_add(1, Ordering::SeqCst);
        in_order();
        self.life.load(Ordering::SeqCst) == life
    }

    /// A sleep is over. Beneath the queue's lock.
    #[inline]
    pub(crate) fn wake(&self) {
        self.over.store(self.over.load(Ordering::Relaxed) + 1, Ordering::Release);
    }
}
