//! poll(2) and select(2) on queues whose registrations survive the call.
//!
//! Each thread remembers a few sets of descriptors, each with a private queue. A call compares the
//! caller's entries with the remembered ones, sends the kernel the differences, and takes what is
//! ready: its cost hardly grows with the number of descriptors. docs/poll.md has the design, and
//! why no wake-up can be lost.
//!
//! The compat crates are thin readings of this module. It uses the system's own queues
//! (`sys::poll_queue`: on Linux epoll sets), not the queue object of the readiness view:
//! that one allocates, and poll may be called in a handler that interrupted malloc.

mod ask;
mod bits;
pub(crate) mod cell;
mod check;
mod compare;
mod counters;
mod dense;
pub(crate) mod facts;
mod front;
mod linger;
mod memory;
mod policy;
mod poll;
mod select;
mod serve;
mod set;
mod sleep;
mod table;
mod take;
mod thread;
mod timeout;
mod unhooked;
pub(crate) mod wait;
mod watch;

/// The system's own calls, by which it is asked.
pub use crate::sys::raw;
pub(crate) use counters::forget_counters;
pub use counters::{SetCounters, set_counters};
#[cfg(any(test, feature = "test-support"))]
pub(crate) use linger::LINGER;
pub use policy::{Policy, policy, set_policy};
pub use thread::prepare;
pub use timeout::SelectTimeout;
pub use wait::{Calls, RawCalls, Wait};

use std::sync::atomic::{AtomicI32, Ordering};

use libc::{c_int, pollfd};

use counters::{Count, count};
use raw::Result;
use serve::Outcome;

/// `poll(fds, nfds, ...)` - waits until a descriptor is ready; the result of poll(2) and ppoll(2).
///
/// # Safety
/// `fds` are `nfds` entries that the caller may write, or, if `wait.unproven`, what a C program says
/// they are. The mask is null or can be read, with the same exception.
///
/// # Errors
/// Those of poll(2).
#[inline]
pub unsafe fn poll<C: Calls>(fds: *mut pollfd, nfds: usize, wait: &Wait<'_, C>) -> Result<usize> {
    if hands_over_poll(nfds) { wait.calls.own() } else { poll_many(fds, nfds, wait) }
}

/// Whether a call of poll on so many entries is the kernel's: it is counted then, and to be made. A library
/// that makes it as the last it does, instead of calling [`poll`], leaves no frame around it, from which to
/// return after the system call takes long (docs/performance.md).
#[inline]
pub fn hands_over_poll(nfds: usize) -> bool {
    // Places are 32 bits; more entries than that there are never.
    let hands_over = nfds < policy::smallest() || nfds > u32::MAX as usize / 2;
    if hands_over {
        count_handed();
    }
    hands_over
}

/// As [`hands_over_poll`], of a call of select, whose sets are `unproven` where a C program makes it.
#[inline]
pub fn hands_over_select(nfds: c_int, unproven: bool) -> bool {
    let few = (nfds.max(0) as usize) < policy::smallest();
    let hands_over = few || unproven && !is_credible(nfds);
    if hands_over {
        count_handed();
    }
    hands_over
}

/// Apart: what it needs of the stack would be a frame.
#[inline(never)]
fn count_handed() {
    count(Count::Handed);
}

/// Apart, so that a call on a small set does not pay for the room that this needs.
#[inline(never)]
fn poll_many<C: Calls>(fds: *mut pollfd, len: usize, wait: &Wait<'_, C>) -> Result<usize> {
    serve_poll(fds, len, wait)
}

/// As [`poll`], in the caller's own frame, for a library that has seen to small sets before.
///
/// # Safety
/// As for [`poll`].
///
/// # Errors
/// Those of poll(2).
#[inline(always)]
pub unsafe fn poll_here<C: Calls>(
    fds: *mut pollfd,
    len: usize,
    wait: &Wait<'_, C>,
) -> Result<usize> {
    if hands_over_poll(len) { wait.calls.own() } else { serve_poll(fds, len, wait) }
}

#[inline(always)]
fn serve_poll<C: Calls>(fds: *mut pollfd, len: usize, wait: &Wait<'_, C>) -> Result<usize> {
    wait.calls.test_cancel();
    match raw::keep_errno(|| thread::call(&mut poll::PollCall { fds, len, wait })) {
        Outcome::Own(result) | Outcome::Ours(result) => result,
        Outcome::Another => wait.calls.own(),
    }
}

/// Who answered a call of select: the kernel's own function updates the caller's timeout itself.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum AnsweredBy {
    /// [`Calls::own`].
    Own,
    /// The engine.
    Engine,
}

/// `select(nfds, sets, ...)` - waits until a descriptor is ready; the result of select(2) and
/// pselect(2), and who answered. `sets` are the bitmaps to read, to write and of exceptions, or null.
///
/// # Safety
/// Each bitmap has `nfds` bits, rounded up to words, that the caller may write, or, if
/// `wait.unproven`, is what a C program says it is. The mask is null or can be read, with the same
/// exception.
///
/// # Errors
/// Those of select(2).
#[inline]
pub unsafe fn select<C: Calls>(
    nfds: c_int,
    sets: [*mut u64; 3],
    wait: &Wait<'_, C>,
) -> (Result<usize>, AnsweredBy) {
    if hands_over_select(nfds, wait.unproven) {
        return (wait.calls.own(), AnsweredBy::Own);
    }
    select_many(nfds, sets, wait)
}

/// See [`poll_many`].
#[inline(never)]
fn select_many<C: Calls>(
    nfds: c_int,
    sets: [*mut u64; 3],
    wait: &Wait<'_, C>,
) -> (Result<usize>, AnsweredBy) {
    serve_select(nfds, sets, wait)
}

/// As [`select`], in the caller's own frame, for a library that has seen to small sets before.
///
/// # Safety
/// As for [`select`].
///
/// # Errors
/// Those of select(2).
#[inline(always)]
pub unsafe fn select_here<C: Calls>(
    nfds: c_int,
    sets: [*mut u64; 3],
    wait: &Wait<'_, C>,
) -> (Result<usize>, AnsweredBy) {
    if hands_over_select(nfds, wait.unproven) {
        return (wait.calls.own(), AnsweredBy::Own);
    }
    serve_select(nfds, sets, wait)
}

#[inline(always)]
fn serve_select<C: Calls>(
    nfds: c_int,
    sets: [*mut u64; 3],
    wait: &Wait<'_, C>,
) -> (Result<usize>, AnsweredBy) {
    wait.calls.test_cancel();
    match raw::keep_errno(|| thread::call(&mut select::SelectCall { nfds, sets, wait })) {
        Outcome::Own(result) => (result, AnsweredBy::Own),
        Outcome::Ours(result) => (result, AnsweredBy::Engine),
        Outcome::Another => (wait.calls.own(), AnsweredBy::Own),
    }
}

/// Does a C program's bitmap have that many bits?
///
/// An fd_set has FD_SETSIZE. The kernel looks no further than the process ever had descriptors,
/// whatever nfds says; so more than FD_SETSIZE are believed only where the last one is open, which
/// a program that counts to its highest descriptor has.
#[inline]
fn is_credible(nfds: c_int) -> bool {
    static BELIEVED: AtomicI32 = AtomicI32::new(libc::FD_SETSIZE as c_int);
    if nfds <= BELIEVED.load(Ordering::Relaxed) {
        return true;
    }
    let open = raw::fcntl(nfds - 1, libc::F_GETFD, 0).is_ok();
    if open {
        BELIEVED.fetch_max(nfds, Ordering::Relaxed);
    }
    open
}
