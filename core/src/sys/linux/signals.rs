//! EVFILT_SIGNAL: every signal that the kernel delivers, or would if nobody blocked it, counted.
//!
//! Linux has no call that counts signals without taking them, so there are two sources:
//!
//! - While a signal is watched, the kernel's handler for it is ours (`action.rs`): it counts, wakes the
//!   queues, and does what the program's own action would have done. A signal whose action is to be
//!   ignored, or to end the process, is so counted too.
//! - A signal that every thread blocks stays *pending*. A signalfd, which is only polled and never
//!   read, wakes the queue for it; it is counted then (`pending.rs`), and not once more when
//!   it is delivered after all.
//!
//! The rejected ways: reading a signalfd takes the signal from the program, and sees nothing of what
//! is not blocked. Blocking the signal for that changes the program's mask, in one thread of many.
//!
//! All of this is the process's: actions are. So are the counts; a knote keeps what the count was
//! when it last reported. A forked child starts anew, with our handlers in place: they pass on.

pub(crate) mod action;
mod census;
mod count;
pub(crate) mod knote;
mod lock;
mod pending;
mod ringer;

use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU32, Ordering::SeqCst};

use libc::c_int;
use nix::errno::Errno;

use self::lock::Guard;
use super::fork;
use super::raw::{self, Result};

/// Signals are numbered from 1; 64 on every architecture that we build for.
const SIGNALS: usize = 65;

/// The process that watches, and whose counts these are.
static GENERATION: AtomicU32 = AtomicU32::new(0);
static PID: AtomicI32 = AtomicI32::new(0);
/// How many knotes watch a signal.
static WATCHERS: [AtomicU32; SIGNALS] = [const { AtomicU32::new(0) }; SIGNALS];
/// Every change of an action comes by [`action::change`].
static ALL_TOLD: AtomicBool = AtomicBool::new(false);

/// Declares that every change of a signal's action, but for raw system calls, is told to
/// [`change_action`]. A C library does that exports sigaction(3) and its kin. Without it each
/// kevent() looks whether the program has put a handler in the place of ours.
pub fn all_actions_are_told() {
    ALL_TOLD.store(true, SeqCst);
}

pub use self::action::{change_action, disguise, for_kernel};

/// For a C library: an action has been set by the next library's function.
pub fn action_was_set(signal: c_int) {
    if is_watched(signal) && is_ours() {
        action::reinstall(signal);
    }
}

/// A program has taken a pending signal by sigwait(3) or one of its kin: no handler will see it.
pub fn taken(signal: c_int) {
    if is_watched(signal) && is_ours() && count::happened(signal) {
        ringer::ring(signal);
    }
}

/// The bit of a signal in the kernel's sets.
fn bit(signal: c_int) -> u64 {
    1 << (signal - 1)
}

/// Whether this is the process whose counts these are. A vfork child shares the memory, so it takes
/// a system call to know.
fn is_ours() -> bool {
    GENERATION.load(SeqCst) == fork::generation() && PID.load(SeqCst) == raw::getpid()
}

fn is_watched(signal: c_int) -> bool {
    WATCHERS.get(signal as usize).is_some_and(|watchers| watchers.load(SeqCst) != 0)
}

/// Begins to count a signal, if nobody else has.
fn watch(signal: c_int) -> Result<()> {
    let guard = Guard::lock();
    become_owner(&guard);
    let watchers = &WATCHERS[signal as usize];
    if watchers.load(SeqCst) == 0 {
        count::restart(signal);
    }
    watchers.fetch_add(1, SeqCst);
    let done = action::install(&guard, signal);
    if done.is_err() {
        watchers.fetch_sub(1, SeqCst);
    }
    done
}

/// One knote less; the last one gives the program's action back to the kernel.
fn unwatch(signal: c_int) {
    let guard = Guard::lock();
    if GENERATION.load(SeqCst) != fork::generation() {
        return; // our parent's
    }
    if WATCHERS[signal as usize].fetch_sub(1, SeqCst) == 1 {
        action::uninstall(&guard, signal);
    }
}

/// In a forked child, what its parent watched is nobody's.
fn become_owner(_: &Guard) {
    let generation = fork::generation();
    if GENERATION.load(SeqCst) != generation {
        WATCHERS.iter().for_each(|watchers| watchers.store(0, SeqCst));
        ringer::forget_all();
        PID.store(raw::getpid(), SeqCst);
        GENERATION.store(generation, SeqCst);
    }
}

/// # Errors
/// - `EINVAL`: no signal's number, or one that cannot be caught, or one of libc's own.
fn number(ident: usize) -> Result<c_int> {
    /// libc's, for cancellation and for set*id of all threads.
    const LIBCS: std::ops::RangeInclusive<usize> = 32..=33;
    match ident {
        0 | SIGNALS.. => Err(Errno::EINVAL),
        _ if LIBCS.contains(&ident) => Err(Errno::EINVAL),
        _ if [libc::SIGKILL as usize, libc::SIGSTOP as usize].contains(&ident) => {
            Err(Errno::EINVAL)
        }
        _ => Ok(ident as c_int),
    }
}
