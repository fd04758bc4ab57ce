//! Waking queues out of a signal handler: each queue that watches signals has an eventfd, in a list
//! that is read without a lock.

use std::os::fd::RawFd;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicPtr, AtomicU32, AtomicU64, Ordering::SeqCst};

use libc::{EFD_CLOEXEC, EFD_NONBLOCK, EPOLL_CTL_ADD, EPOLLET, EPOLLIN, c_int};

use super::{bit, lock::Guard};
use crate::sys::linux::hidden::hidden;
use crate::sys::linux::lanes::epoll_event;
use crate::sys::linux::raw::{self, Result};
use crate::sys::linux::token::Token;

/// One queue's. Never freed: a queue that comes later takes it.
#[derive(Debug)]
pub(super) struct Ringer {
    in_use: AtomicBool,
    fd: AtomicI32,
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
    /// A queue's eventfd, registered with it.
    pub(super) fn open(kq: RawFd) -> Result<&'static Self> {
        let fd = hidden(|| raw::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK))?;
        // Edges, as the queue's bell: nobody has to read it.
        let event = epoll_event(EPOLLIN as u32 | EPOLLET as u32, Token::Signals);
        if let Err(errno) = raw::epoll_ctl(kq, EPOLL_CTL_ADD, fd, &event) {
            let _ = raw::close(fd);
            return Err(errno);
        }
        let guard = Guard::lock();
        super::become_owner(&guard);
        let free = all().find(|ringer| !ringer.in_use.load(SeqCst));
        let ringer = free.unwrap_or_else(Self::make);
        ringer.fd.store(fd, SeqCst);
        ringer.in_use.store(true, SeqCst);
        Ok(ringer)
    }

    /// A new entry in the list. The lock is held.
    fn make() -> &'static Self {
        let ringer: &'static Self = Box::leak(Box::new(Self {
            in_use: AtomicBool::new(false),
            fd: AtomicI32::new(-1),
            mask: AtomicU64::new(0),
            ringing: AtomicU32::new(0),
            next: AtomicPtr::new(FIRST.load(SeqCst)),
        }));
        FIRST.store(std::ptr::from_ref(ringer).cast_mut(), SeqCst);
        ringer
    }

    /// Wakes the queue.
    pub(super) fn ring(&self) {
        let _ = raw::write(self.fd.load(SeqCst), &1_u64.to_ne_bytes());
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
        // EAGAIN: it was not rung.
        let _ = raw::read(self.fd.load(SeqCst), &mut [0; 8]);
    }

    /// Waits until nobody is about to ring that has seen the mask as it was.
    fn wait_until_quiet(&self) {
        // Not for ever: in a handler that has interrupted one that rings, we would wait for
        // ourselves. (Then that one writes to a closed number, or what has become of it: a program
        // that closes queues in nested handlers is on its own.)
        for _ in 0..10_000 {
            if self.ringing.load(SeqCst) == 0 {
                break;
            }
            raw::sched_yield();
        }
    }

    /// Closes the eventfd, once nobody is about to write to it.
    pub(super) fn retire(&self) {
        self.mask.store(0, SeqCst);
        self.wait_until_quiet();
        let _ = raw::close(self.fd.swap(-1, SeqCst));
        self.in_use.store(false, SeqCst);
    }
}
