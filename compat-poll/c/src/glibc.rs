//! The names that glibc has besides.

use std::ffi::c_int;

use kq_hooks_c::Next;
use libc::{nfds_t, pollfd, sigset_t, timespec};

use super::{poll, ppoll};

// SAFETY: libc's end of a program whose buffer was too small.
static CHK_FAIL: Next<unsafe extern "C" fn() -> !> = unsafe { Next::new(c"__chk_fail") };

pub(crate) fn find() {
    CHK_FAIL.find();
}

/// `__poll(fds, nfds, timeout)` - libc's other name of [`poll`].
///
/// # Safety
/// As for poll(2).
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn __poll(fds: *mut pollfd, nfds: nfds_t, timeout: c_int) -> c_int {
    // SAFETY: the caller's promise.
    unsafe { poll(fds, nfds, timeout) }
}

/// `__poll_chk(fds, nfds, timeout, size)` - [`poll`] as called with _FORTIFY_SOURCE, which knows the
/// size of the array in bytes.
///
/// # Safety
/// As for poll(2).
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn __poll_chk(
    fds: *mut pollfd,
    nfds: nfds_t,
    timeout: c_int,
    size: usize,
) -> c_int {
    check_size(nfds, size);
    // SAFETY: the caller's promise.
    unsafe { poll(fds, nfds, timeout) }
}

/// `__ppoll_chk(fds, nfds, timeout, sigmask, size)` - [`ppoll`] as called with _FORTIFY_SOURCE.
///
/// # Safety
/// As for ppoll(2).
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn __ppoll_chk(
    fds: *mut pollfd,
    nfds: nfds_t,
    timeout: *const timespec,
    sigmask: *const sigset_t,
    size: usize,
) -> c_int {
    check_size(nfds, size);
    // SAFETY: the caller's promise.
    unsafe { ppoll(fds, nfds, timeout, sigmask) }
}

fn check_size(nfds: nfds_t, size: usize) {
    if size / size_of::<pollfd>() < nfds as usize {
        match CHK_FAIL.get() {
            // SAFETY: takes nothing and does not return.
            Some(fail) => unsafe { fail() },
            None => std::process::abort(),
        }
    }
}
