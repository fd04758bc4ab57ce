//! poll(2) and select(2) on queues whose registrations survive the call.
//!
//! Each thread remembers a few sets of descriptors, each with a private queue. A call compares the
//! caller's entries with the remembered ones, sends the kernel the differences, and takes what is
//! ready: its cost hardly grows with the number of descriptors. docs/poll.md has the design, and
//! why no wake-up can be lost.
//!
//! The compat crates are thin readings of this module. It uses the kernel's epoll, not the queue
//! object of the readiness view: that one allocates, and poll may be called in a handler that
//! interrupted malloc.

pub(crate) mod cell;
mod compare;
mod counters;
mod fit;
mod memory;
mod policy;
mod poll;
mod serve;
mod set;
mod table;
mod thread;
mod wait;
mod watch;

pub use counters::{SetCounters, set_counters};
pub use policy::{Policy, policy, set_policy};
pub use thread::prepare;
pub use wait::{Calls, RawCalls, Wait};

use libc::pollfd;

use crate::sys::linux::raw::Result;
use counters::{Count, count};
use serve::Outcome;

/// Sets smaller than this are the kernel's.
const SMALLEST: usize = 8;

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
    let smallest = match policy() {
        Policy::Off => usize::MAX,
        Policy::RegisterAtFirstSight => 1,
        Policy::Default | Policy::Strict => SMALLEST,
    };
    // Places are 32 bits; more entries than that there are never.
    if nfds < smallest || nfds > u32::MAX as usize / 2 {
        count(Count::Handed);
        return wait.calls.own();
    }
    match thread::call(&mut poll::PollCall { fds, len: nfds, wait }) {
        Outcome::Own(result) | Outcome::Ours(result) => result,
        Outcome::Another => wait.calls.own(),
    }
}
