//! What a Rust program's queues do, told to `tracing` (feature `tracing`; without it nothing is here
//! but empty functions). The target is `kq_core`.
//!
//! - DEBUG: a queue is opened; it is closed, with what it did.
//! - TRACE: a call of kevent(), with its changes, the room for events, and what came of it.
//!
//! poll and select tell nothing call by call: they may run in a signal handler, where a subscriber may
//! not. [`crate::stats::trace_summary`] tells of them.

#[cfg(not(feature = "tracing"))]
pub(crate) use silent::{called, closed, opened};
#[cfg(feature = "tracing")]
pub(crate) use told::{called, closed, opened};

#[cfg(feature = "tracing")]
mod told {
    use std::os::fd::RawFd;

    use nix::errno::Errno;
    use tracing::{debug, trace};

    use crate::counters::Counters;

    pub(crate) fn opened(queue: RawFd) {
        debug!(target: "kq_core", queue, "queue opened");
    }

    pub(crate) fn closed(queue: RawFd, did: impl FnOnce() -> Counters) {
        if tracing::enabled!(target: "kq_core", tracing::Level::DEBUG) {
            let Counters { knotes, changes, waits, events, .. } = did();
            debug!(target: "kq_core", queue, knotes, changes, waits, events, "queue closed");
        }
    }

    pub(crate) fn called(queue: RawFd, changes: usize, room: usize, done: Result<usize, Errno>) {
        match done {
            Ok(events) => trace!(target: "kq_core", queue, changes, room, events, "kevent"),
            Err(errno) => trace!(target: "kq_core", queue, changes, room, %errno, "kevent failed"),
        }
    }
}

#[cfg(not(feature = "tracing"))]
mod silent {
    use std::os::fd::RawFd;

    use nix::errno::Errno;

    use crate::counters::Counters;

    #[inline]
    pub(crate) fn opened(_: RawFd) {}

    #[inline]
    pub(crate) fn closed(_: RawFd, _: impl FnOnce() -> Counters) {}

    #[inline]
    pub(crate) fn called(_: RawFd, _: usize, _: usize, _: Result<usize, Errno>) {}
}
