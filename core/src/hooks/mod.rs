//! What the C libraries tell the engine of closes.
//!
//! A descriptor's registration in a queue is by number and open file. A number that was closed and
//! opened again is another descriptor, and the kernel does not tell: the registration went away in
//! silence, or a dup keeps it alive and it can no longer be addressed. So a C library that exports
//! close(2) and its kin calls [`before_close`], the next library's function, and [`after_close`], in
//! this order:
//!
//! 1. the number becomes untrusted (nobody registers it from here on),
//! 2. each queue that has it is told, and the registration is deleted while the number still means
//!    the file,
//! 3. the number is closed,
//! 4. its generation is counted up and it may be trusted again.
//!
//! All of it is lock-free and allocates nothing: close is async-signal-safe. In a vfork child, which
//! shares our memory but not our descriptors, the hooks mark the number and touch no queue.
//!
//! Rust programs need not call any of this; one that does, at each close, gets the same promptness
//! as a C program (see [`all_closes_are_told`]).
//!
//! ```
//! use std::os::fd::{AsRawFd, OwnedFd};
//!
//! use kq_core::hooks::{after_close, all_closes_are_told, before_close};
//!
//! /// Every close of this program goes by here.
//! fn close(fd: OwnedFd) {
//!     let number = fd.as_raw_fd();
//!     before_close(number);
//!     drop(fd);
//!     after_close(number);
//! }
//!
//! all_closes_are_told();
//! close(std::io::pipe()?.0.into());
//! # Ok::<(), std::io::Error>(())
//! ```

pub(crate) mod numbers;
pub(crate) mod process;
mod sink;

use std::os::fd::RawFd;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::sets::{Policy, cell, set_policy};
use numbers::Number;
use process::Whose;
pub use sink::{Sink, add_sink};

/// Set once every close of the process comes by here.
static COMPLETE: AtomicBool = AtomicBool::new(false);

/// Declares that every close of this process, but for raw system calls, is told to these hooks. The
/// C libraries do, which export the functions that close. Without it what poll and select
/// report is checked by number, at the price of a system call.
pub fn all_closes_are_told() {
    COMPLETE.store(true, Ordering::Release);
}

#[inline]
pub(crate) fn are_complete() -> bool {
    COMPLETE.load(Ordering::Relaxed)
}

/// Set once the process has put itself under a filter of system calls.
static FILTERED: AtomicBool = AtomicBool::new(false);

/// The process has put itself, or one of its threads, under a filter of system calls, which may end
/// it at a call of ours: from here on poll and select are the kernel's own, and no close is told to
/// their queues.
pub fn calls_are_filtered() {
    set_policy(Policy::Off);
    FILTERED.store(true, Ordering::SeqCst);
}

/// Whether to leave a number alone: nobody but poll and select, which are the kernel's now, is
/// concerned.
fn leave_alone(number: Number) -> bool {
    FILTERED.load(Ordering::SeqCst) && !number.has_sink()
}

/// The number `fd` is about to be closed, or replaced by dup2.
#[inline]
pub fn before_close(fd: RawFd) {
    if let Some(number) = numbers::begin_close(fd)
        && number.is_watched()
        && !leave_alone(number)
    {
        tell(fd, number);
    }
}

/// The close that [`before_close`] told of is over, whatever it returned.
#[inline]
pub fn after_close(fd: RawFd) {
    let Some(number) = numbers::get(fd) else { return };
    if number.is_watched() && !leave_alone(number) {
        end_watched(fd);
    } else {
        numbers::end_close(fd, false);
    }
}

/// The numbers from `first` to `last` are about to be closed. What it returns is for
/// [`after_close_range`].
pub fn before_close_range(first: u32, last: u32) -> usize {
    let highest = numbers::highest();
    for fd in within(first, last, highest) {
        before_close(fd);
    }
    highest
}

/// The close that [`before_close_range`] told of, and returned `highest` for, is over.
pub fn after_close_range(first: u32, last: u32, highest: usize) {
    for fd in within(first, last, highest) {
        after_close(fd);
    }
    // Numbers that came under watch in the meantime were closed unannounced: say so now.
    for fd in within(first.max(highest as u32), last, numbers::highest()) {
        before_close(fd);
        after_close(fd);
    }
}

/// Something was done to a descriptor that may make it ready and wakes nobody: a socket option that
/// decides what readiness is (SO_OOBINLINE, SO_SELECT_ERR_QUEUE). The next poll or select asks the
/// kernel about all its entries. Without it, such readiness is seen some milliseconds later.
pub fn changed_silently() {
    cell::changed_silently();
}

fn within(first: u32, last: u32, highest: usize) -> std::ops::Range<RawFd> {
    let end = (u64::from(last) + 1).min(highest as u64);
    first.min(end as u32) as RawFd..end as RawFd
}

/// Is the number a descriptor of our own? To the program it is not open: closing it is EBADF.
///
/// False in a forked child, which has only copies and may close them.
#[inline]
pub fn is_hidden(fd: RawFd) -> bool {
    numbers::get(fd).is_some_and(|n| n.is_hidden() && !leave_alone(n)) && cell::is_ours(fd)
}

/// The first descriptor of our own among the numbers from `first` to `last`.
pub fn first_hidden(first: u32, last: u32) -> Option<RawFd> {
    within(first, last, numbers::highest()).find(|&fd| is_hidden(fd))
}

/// A queue under kqueue's rules watches this number: the sinks are told of its next close.
pub fn watch(fd: RawFd) {
    process::has_queues();
    numbers::set_sink(fd);
}

#[cold]
fn tell(fd: RawFd, number: Number) {
    let whose = process::whose();
    cell::closing(fd, number, whose);
    if number.has_sink() && whose != Whose::Shared {
        // First, and not when it is closed: then it may be another file, which is watched already.
        numbers::clear_sink(fd);
        if whose == Whose::Ours {
            sink::closing(fd);
        }
    }
}

#[cold]
fn end_watched(fd: RawFd) {
    numbers::end_close(fd, process::whose() != Whose::Shared);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The kernel gives a number out again before the hook that closed it is over.
    #[test]
    fn who_watches_a_number_before_its_close_is_over_is_told_of_the_next() {
        const FD: RawFd = numbers::NUMBERS as RawFd - 1;
        let has_sink = || numbers::get(FD).is_some_and(Number::has_sink);
        watch(FD);
        for _ in 0..3 {
            before_close(FD);
            assert!(!has_sink());
            watch(FD); // another thread's, of a file that it has just opened
            after_close(FD);
            assert!(has_sink());
        }
        before_close(FD);
        after_close(FD);
        assert!(!has_sink());
    }
}
