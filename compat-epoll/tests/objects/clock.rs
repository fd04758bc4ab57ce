//! The time of day, which a test can set: for this process alone.

use std::sync::atomic::{AtomicI64, Ordering};

use libc::{c_int, c_long, clockid_t, timespec};

/// By how many seconds it is ahead of the machine's.
static AHEAD: AtomicI64 = AtomicI64::new(0);

/// Sets it forth by so many seconds; back, where they are negative.
pub(crate) fn put_forth(seconds: i64) {
    AHEAD.fetch_add(seconds, Ordering::SeqCst);
}

/// The time of day, in milliseconds.
pub(crate) fn real_ms() -> i64 {
    let mut time = timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: a time of ours.
    assert_eq!(unsafe { clock_gettime(libc::CLOCK_REALTIME, &mut time) }, 0);
    time.tv_sec * 1000 + time.tv_nsec / 1_000_000
}

/// What this program calls by that name, and what is linked into it.
///
/// # Safety
/// As for clock_gettime(2).
#[unsafe(no_mangle)]
unsafe extern "C" fn clock_gettime(clock: clockid_t, time: *mut timespec) -> c_int {
    // SAFETY: the caller's promise.
    let result = unsafe { libc::syscall(libc::SYS_clock_gettime, c_long::from(clock), time) };
    if result == 0 && clock == libc::CLOCK_REALTIME {
        // SAFETY: the kernel has written it.
        unsafe { (*time).tv_sec += AHEAD.load(Ordering::SeqCst) };
    }
    result as c_int
}
