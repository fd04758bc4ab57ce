//! Signals: a handler that counts, and the thread's mask.

use std::mem::MaybeUninit;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicUsize, Ordering};

use libc::c_int;

const SIGNALS: usize = 65;

static CAUGHT: [AtomicUsize; SIGNALS] = [const { AtomicUsize::new(0) }; SIGNALS];

extern "C" fn note(signal: c_int) {
    CAUGHT[signal as usize].fetch_add(1, Ordering::SeqCst);
}

/// Installs a handler that counts; `flags` as `SA_RESTART`.
pub fn catch(signal: c_int, flags: c_int) {
    set_action(signal, note as *const () as usize, flags);
}

/// Installs a handler of the test's own, which must be async-signal-safe.
pub fn handle(signal: c_int, handler: extern "C" fn(c_int)) {
    set_action(signal, handler as *const () as usize, 0);
}

/// Has the signal ignored.
pub fn ignore(signal: c_int) {
    set_action(signal, libc::SIG_IGN, 0);
}

fn set_action(signal: c_int, action: usize, flags: c_int) {
    // SAFETY: an all-zero sigaction is a valid one, and the handler is async-signal-safe: it adds to
    // an atomic.
    unsafe {
        let mut sa: libc::sigaction = std::mem::zeroed();
        sa.sa_sigaction = action;
        sa.sa_flags = flags;
        assert_eq!(libc::sigaction(signal, &sa, null_mut()), 0);
    }
}

/// How often [`catch`]'s handler ran for this signal.
pub fn caught(signal: c_int) -> usize {
    CAUGHT[signal as usize].load(Ordering::SeqCst)
}

/// A set of those signals.
pub fn set_of(signals: &[c_int]) -> libc::sigset_t {
    let mut set = MaybeUninit::uninit();
    // SAFETY: sigemptyset fills the set; the numbers are checked.
    unsafe {
        libc::sigemptyset(set.as_mut_ptr());
        for &signal in signals {
            assert_eq!(libc::sigaddset(set.as_mut_ptr(), signal), 0);
        }
        set.assume_init()
    }
}

/// Blocks those signals in this thread.
pub fn block(signals: &[c_int]) {
    change_mask(libc::SIG_BLOCK, signals);
}

/// Unblocks those signals in this thread.
pub fn unblock(signals: &[c_int]) {
    change_mask(libc::SIG_UNBLOCK, signals);
}

fn change_mask(how: c_int, signals: &[c_int]) {
    // SAFETY: both sets are valid or null.
    assert_eq!(unsafe { libc::pthread_sigmask(how, &set_of(signals), null_mut()) }, 0);
}

/// Is the signal blocked in this thread?
pub fn is_blocked(signal: c_int) -> bool {
    let mut set = set_of(&[]);
    // SAFETY: the kernel's answer goes to a valid set.
    unsafe {
        assert_eq!(libc::pthread_sigmask(libc::SIG_BLOCK, std::ptr::null(), &mut set), 0);
        libc::sigismember(&set, signal) == 1
    }
}

/// Sends a signal to this process.
pub fn send_to_process(signal: c_int) {
    // SAFETY: takes no pointer.
    assert_eq!(unsafe { libc::kill(libc::getpid(), signal) }, 0);
}

/// Sends a signal to this thread.
pub fn send_to_self(signal: c_int) {
    // SAFETY: takes no pointer; this thread is alive.
    assert_eq!(unsafe { libc::pthread_kill(libc::pthread_self(), signal) }, 0);
}
