//! Waking queues out of a signal handler: each queue that watches signals has a bell for that, in a
//! list that is read without a lock.
//!
//! An eventfd that is always readable, rung and hushed by EPOLL_CTL_MOD as the queue's own bell is, and
//! for the same reason: a number that the program has closed may mean a file of its own.

use std::os::fd::RawFd;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicPtr, AtomicU32, AtomicU64, Ordering::SeqCst};

use libc::{EFD_CLOEXEC, EFD_NONBLOCK, EPOLL_CTL_MOD, EPOLLET, EPOLLIN, c_int};

use super::{bit, lock::Guard};
use crate::sys::linux::hidden::Own;
use crate::sys::linux::raw::{self, Result};
use crate::sys::linux::registered::{self, Registered};
use crate::sys::linux::roll;
use crate::sys::linux::token::Token;

/// An edge: nobody has to read it.
const RUNG: u32 = (EPOLLIN | EPOLLET) as u32;
const HUSHED: u32 = 0;

/// One queue's. Never freed: a queue that comes later takes it.
#[derive(Debug)]
pub(super) struct Ringer {
    in_use: AtomicBool,
    /// The queue's descriptor.
    kq: AtomicI32,
    /// The eventfd, and its serial number above ([`Own`]).
    own: AtomicU64,
    /// The signals that it is rung for.
    mask: AtomicU64,
    /// How many threads are about to ring it.
    ringing: AtomicU32,
    next: AtomicPtr<Ringer>,
}

static FIRST: AtomicPtr<Ringer> = AtomicPtr::new(null_mut());

fn all() -> impl Iterator<Item = &'static Ringer> {
    // SAFETY: the list holds leaked entries only; `next` was set before its entry was published.
    let follow = |at: &AtomicPtr<Ringer>| unsafe { at.load(SeqCst).as_ref() };
    std::iter::successors(follow(&FIRST), move |ringer| follow(&ringer.next))
}

/// Wakes the queues that watch a signal. Async-signal-safe.
pub(super) fn ring(signal: c_int) {
    for ringer in all() {
        if ringer.mask.load(SeqCst) & bit(signal) != 0 {
            ringer.ringing.fetch_add(1, SeqCst);
            // Once more: `retire` has either seen us, or we see it.
            if ringer.mask.load(SeqCst) & bit(signal) != 0 {
                ringer.ring();
            }
            ringer.ringing.fetch_sub(1, SeqCst);
        }
    }
}

/// In a forked child: they are its parent's.
pub(super) fn forget_all() {
    for ringer in all() {
        ringer.mask.store(0, SeqCst);
        ringer.ringing.store(0, SeqCst);
        ringer.in_use.store(false, SeqCst);
    }
}

impl Ringer {
    /// A queue's.
    pub(super) fn open(kq: RawFd) -> Result<&'static Self> {
        let own = make(kq, HUSHED)?;
        let guard = Guard::lock();
        super::become_owner(&guard);
        let free = all().find(|ringer| !ringer.in_use.load(SeqCst));
        let ringer = free.unwrap_or_else(Self::make);
        ringer.kq.store(kq, SeqCst);
        ringer.own.store(own.to_bits(), SeqCst);
        ringer.in_use.store(true, SeqCst);
        Ok(ringer)
    }

    /// The queue has another number from here on.
    pub(super) fn move_to(&self, kq: RawFd) {
        self.kq.store(kq, SeqCst);
    }

    /// A new entry in the list. The lock is held.
    fn make() -> &'static Self {
        let ringer: &'static Self = Box::leak(Box::new(Self {
            in_use: AtomicBool::new(false),
            kq: AtomicI32::new(-1),
            own: AtomicU64::new(0),
            mask: AtomicU64::new(0),
            ringing: AtomicU32::new(0),
            next: AtomicPtr::new(FIRST.load(SeqCst)),
        }));
        FIRST.store(std::ptr::from_ref(ringer).cast_mut(), SeqCst);
        ringer
    }

    /// Wakes the queue.
    pub(super) fn ring(&self) {
        let own = self.own.load(SeqCst);
        if self.control(own, RUNG).is_err() {
            self.make_another(own, RUNG);
        }
    }

    fn control(&self, own: u64, events: u32) -> Result<()> {
        let own = Own::from_bits(own);
        let event = registered::event(events, Token::Signals, own);
        registered::control(self.kq.load(SeqCst), EPOLL_CTL_MOD, own, &event)
    }

    /// The program has closed the number, or the queue's: that may mean an epoll set of its own by now.
    #[cold]
    fn make_another(&self, lost: u64, events: u32) {
        if roll::holds(Own::from_bits(lost)) {
            return;
        }
        let kq = self.kq.load(SeqCst);
        if let Ok(another) = make(kq, events)
            && self.own.compare_exchange(lost, another.to_bits(), SeqCst, SeqCst).is_err()
        {
            registered::close(kq, another); // somebody else has made one
        }
    }

    /// Makes it anew if the program has closed it. What it was rung for is to be looked at after that.
    pub(super) fn mend(&self) {
        let own = self.own.load(SeqCst);
        if self.control(own, HUSHED).is_err() {
            // Whoever rings from here on rings this one, or has made another.
            self.make_another(own, HUSHED);
        }
    }

    /// Whether it is rung for a signal.
    pub(super) fn rings_for(&self, signal: c_int) -> bool {
        self.mask() & bit(signal) != 0
    }

    pub(super) fn mask(&self) -> u64 {
        self.mask.load(SeqCst)
    }

    /// Rings for a signal from now on, or no longer.
    pub(super) fn set(&self, signal: c_int, on: bool) {
        if on {
            self.mask.fetch_or(bit(signal), SeqCst);
        } else {
            self.mask.fetch_and(!bit(signal), SeqCst);
        }
    }

    /// What it was rung for is no longer wanted: the queue must not be ready for that. Whoever needs
    /// it to be ready for another signal rings another bell.
    pub(super) fn hush(&self) {
        self.wait_until_quiet();
        let _ = self.control(self.own.load(SeqCst), HUSHED);
    }

    /// Waits until nobody is about to ring that has seen the mask as it was.
    fn wait_until_quiet(&self) {
        // Not for ever: in a handler that has interrupted one that rings, we would wait for
        // ourselves. (Then that one finds that the number is closed, or what has become of it.)
        for _ in 0..10_000 {
            if self.ringing.load(SeqCst) == 0 {
                break;
            }
            raw::sched_yield();
        }
    }

    /// Closes it, once nobody is about to ring it.
    pub(super) fn retire(&self) {
        self.mask.store(0, SeqCst);
        self.wait_until_quiet();
        registered::close(self.kq.load(SeqCst), Own::from_bits(self.own.load(SeqCst)));
        self.in_use.store(false, SeqCst);
    }
}

/// A bell, registered in a queue. Async-signal-safe.
fn make(kq: RawFd, events: u32) -> Result<Own> {
    let make = || raw::eventfd(1, EFD_CLOEXEC | EFD_NONBLOCK);
    Registered::new(kq, events as i32, Token::Signals, make).map(|made| made.own())
}
