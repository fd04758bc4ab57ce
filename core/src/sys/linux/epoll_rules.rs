//! A queue under epoll's own rules for close, dup and fork.
//!
//! The kernel's registration is the knote: it keeps the caller's 64 bits and the key (number, open
//! file), so a wait hands the kernel's events through as they are. What we keep beside it is
//! bookkeeping, and may be absent: a descriptor that was made before a fork, or came over a socket,
//! is adopted when it is first used.

use std::os::fd::RawFd;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use libc::{c_int, epoll_event};
use nix::errno::Errno;

use crate::counters::{count, uncount};

use super::both_rules;
use super::hidden::hidden;
use super::kevent::or_abort;
use super::queue::{self, Queue, Rules};
use super::raw::{self, Result};

/// What is registered for one number.
#[derive(Debug, Default)]
pub(crate) struct Interest {
    registered: AtomicBool,
    events: AtomicU32,
    data: AtomicU64,
}

/// `epoll_create1(flags)` - makes a queue under epoll's rules; returns its descriptor.
///
/// # Errors
/// - `EINVAL`: a flag other than `EPOLL_CLOEXEC`.
/// - `EMFILE`, `ENFILE`, `ENOMEM`: as epoll_create(2) says.
pub fn epoll_create1(flags: c_int) -> Result<RawFd> {
    let fd = raw::epoll_create1(flags)?;
    queue::open(fd, Rules::Epoll, false);
    Ok(fd)
}

/// Makes a queue under epoll's rules whose descriptor the program shall not stumble over: it lies
/// high and is close-on-exec.
///
/// # Errors
/// `EMFILE`, `ENFILE`, `ENOMEM`: as epoll_create(2) says.
pub fn epoll_create_hidden() -> Result<RawFd> {
    let fd = hidden(|| raw::epoll_create1(libc::EPOLL_CLOEXEC))?;
    queue::open(fd, Rules::Epoll, false);
    Ok(fd)
}

/// `epoll_ctl(epfd, op, fd, event)` - changes the interest list.
///
/// # Safety
/// `event` is null, or memory that the kernel may find out to be bad; memory that is good must stay
/// so during the call.
///
/// # Errors
/// Those of epoll_ctl(2), in the kernel's order; `EINVAL` too where `epfd` is a queue under kqueue's
/// rules.
#[inline]
pub unsafe fn epoll_ctl(
    epfd: RawFd,
    op: c_int,
    fd: RawFd,
    event: *const epoll_event,
) -> Result<()> {
    let known = queue::find(epfd);
    if known.is_some_and(|queue| queue.rules() == Rules::Kqueue) {
        return Err(Errno::EINVAL);
    }
    raw::epoll_ctl(epfd, op, fd, event)?;
    // SAFETY: the kernel has read an event from there for each op but DEL.
    unsafe { note_change(known, epfd, op, fd, event) };
    Ok(())
}

/// What the kernel has done is noted down. A function of its own, called after the system call: one that
/// makes the call costs its caller a mispredicted return.
///
/// # Safety
/// An event can be read at `event` for each op but DEL.
#[inline(never)]
unsafe fn note_change(
    known: Option<&'static Queue>,
    epfd: RawFd,
    op: c_int,
    fd: RawFd,
    event: *const epoll_event,
) {
    let Some(queue) = known.or_else(|| queue::open(epfd, Rules::Epoll, false)) else { return };
    count(&queue.counters.changes, 1);
    let Some(interest) = queue.interests.entry(fd) else { return };
    let is = op != libc::EPOLL_CTL_DEL;
    if is {
        // SAFETY: the caller's promise.
        interest.keep(unsafe { event.read_unaligned() });
    }
    if interest.register(is) {
        if is {
            count(&queue.counters.knotes, 1);
        } else {
            uncount(&queue.counters.knotes, 1);
        }
    }
}

impl Interest {
    /// What is registered, if it is with these 64 bits.
    pub(crate) fn matches(&self, data: u64) -> Option<u32> {
        let registered = self.registered.load(Ordering::Relaxed);
        (registered && self.data.load(Ordering::Relaxed) == data)
            .then(|| self.events.load(Ordering::Relaxed))
    }

    /// Forgets what an earlier queue left here.
    pub(crate) fn clear(&self) {
        self.registered.store(false, Ordering::Relaxed);
    }

    /// Keeps what is registered. (What is as it was is not written: other threads have it too.)
    #[inline]
    fn keep(&self, event: epoll_event) {
        if self.events.load(Ordering::Relaxed) != event.events {
            self.events.store(event.events, Ordering::Relaxed);
        }
        if self.data.load(Ordering::Relaxed) != event.u64 {
            self.data.store(event.u64, Ordering::Relaxed);
        }
    }

    /// Whether it is registered; says whether that is news.
    #[inline]
    fn register(&self, is: bool) -> bool {
        // First without an instruction that locks the bus: mostly it is as it was.
        self.registered.load(Ordering::Relaxed) != is
            && self.registered.swap(is, Ordering::Relaxed) != is
    }
}

/// `epoll_wait(epfd, events, maxevents, timeout)` - takes what is ready; `wait` makes the system
/// call that blocks, epoll_wait or one of its kin, with the caller's own arguments.
///
/// # Errors
/// What `wait` returns; `EINVAL` where `epfd` is a queue under kqueue's rules.
///
/// # Safety
/// If memory is at `events`, it has room for `maxevents`, and `wait` has the kernel fill the first as
/// many of it as it returns.
#[inline]
pub unsafe fn epoll_wait(
    epfd: RawFd,
    events: *mut epoll_event,
    maxevents: c_int,
    wait: impl FnOnce() -> Result<usize>,
) -> Result<usize> {
    let begun = begin_wait(epfd)?;
    let ready = wait()?;
    // SAFETY: the caller's promise.
    Ok(unsafe { begun.end(events, maxevents, ready) })
}

/// The first half of [`epoll_wait`], for a caller whose blocking call must not have our frames
/// around it: a thread that is cancelled in it unwinds. Nothing is locked between the halves and
/// nothing needs to be dropped, so the second may be left out. A panic in either ends the process.
///
/// # Errors
/// `EINVAL` where `epfd` is a queue under kqueue's rules.
#[inline]
pub fn begin_wait(epfd: RawFd) -> Result<Waiting> {
    or_abort!(begin(epfd))
}

#[inline(always)]
fn begin(epfd: RawFd) -> Result<Waiting> {
    let queue = match queue::find(epfd) {
        Some(queue) if queue.rules() == Rules::Kqueue => return Err(Errno::EINVAL),
        known => known,
    };
    if let Some(queue) = queue {
        count(&queue.counters.waits, 1);
    }
    Ok(Waiting { epfd, queue })
}

/// A wait that was begun.
#[derive(Clone, Copy, Debug)]
pub struct Waiting {
    epfd: RawFd,
    queue: Option<&'static Queue>,
}

impl Waiting {
    /// Whether kevent() has put knotes on the queue too. Then [`Waiting::end`] may make none of some
    /// events, where another thread was faster, and the wait has to go on.
    #[inline]
    pub fn has_knotes(self) -> bool {
        self.queue.is_some_and(|queue| !both_rules::has_none(queue))
    }

    /// The second half of [`epoll_wait`] where nothing is to be done but to count the `ready` events:
    /// no knotes of kevent() are on the same descriptor. False: it is to be [ended](Waiting::end).
    #[inline]
    pub fn end_plainly(self, ready: usize) -> bool {
        match self.queue {
            Some(queue) if both_rules::has_none(queue) => {
                count(&queue.counters.events, ready as u64);
                true
            }
            _ => false,
        }
    }

    /// The second half of [`epoll_wait`], where it did not fail: `ready` events are in `events`.
    /// Returns how many there are when knotes of kevent() on the same descriptor have been put in.
    ///
    /// # Safety
    /// `events` has room for `maxevents` events, and the kernel has just filled the first `ready`.
    #[inline]
    pub unsafe fn end(self, events: *mut epoll_event, maxevents: c_int, ready: usize) -> usize {
        if self.end_plainly(ready) {
            return ready;
        }
        // SAFETY: the caller's promise.
        or_abort!(unsafe { self.end_with_knotes(events, maxevents, ready) })
    }

    #[cold]
    unsafe fn end_with_knotes(
        self,
        events: *mut epoll_event,
        maxevents: c_int,
        ready: usize,
    ) -> usize {
        let Some(queue) = self.queue else {
            adopt(self.epfd, ready);
            return ready;
        };
        let ready = match both_rules::inner(queue) {
            None => ready,
            // SAFETY: the caller's promise; what the kernel took as a number of events is one.
            Some(inner) => unsafe {
                both_rules::expand(queue, inner, events, maxevents as usize, ready)
            },
        };
        count(&queue.counters.events, ready as u64);
        ready
    }
}

#[cold]
fn adopt(epfd: RawFd, ready: usize) {
    if let Some(queue) = queue::open(epfd, Rules::Epoll, false) {
        count(&queue.counters.waits, 1);
        count(&queue.counters.events, ready as u64);
    }
}

/// The number of a queue was closed by its owner, who tells us so.
pub fn closed(epfd: RawFd) {
    queue::forget(epfd);
}
