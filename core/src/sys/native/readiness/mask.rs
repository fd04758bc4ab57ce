//! Sleeping with another mask of blocked signals, which kevent(2) does not take.

use std::os::fd::RawFd;
use std::time::Duration;

use libc::sigset_t;
use nix::errno::Errno;

/// Sleeps until the queue has something, `time` at most, with this mask, which is set and taken back
/// in one with the sleep.
///
/// # Errors
/// - `EINTR`: a signal handler ran.
/// - `EFAULT`: the mask cannot be read.
pub(crate) fn sleep(kq: RawFd, time: Duration, mask: *const sigset_t) -> Result<(), Errno> {
    let time = super::wait::timespec_of(time);
    // SAFETY: `time` is ours; the mask is null or the caller's, who promised that it can be read.
    Errno::result(unsafe { system(kq, &time, mask) }).map(drop)
}

/// # Safety
/// The mask is null or can be read.
#[cfg(not(target_os = "macos"))]
unsafe fn system(kq: RawFd, time: &libc::timespec, mask: *const sigset_t) -> libc::c_int {
    let mut entry = libc::pollfd { fd: kq, events: libc::POLLIN, revents: 0 };
    // SAFETY: one entry and a time, ours; the caller's promise.
    unsafe { libc::ppoll(&mut entry, 1, time, mask) }
}

/// macOS has no ppoll. Its pselect takes numbers below FD_SETSIZE: above, EINVAL.
///
/// # Safety
/// The mask is null or can be read.
#[cfg(target_os = "macos")]
unsafe fn system(kq: RawFd, time: &libc::timespec, mask: *const sigset_t) -> libc::c_int {
    if kq < 0 || kq as usize >= libc::FD_SETSIZE {
        Errno::EINVAL.set();
        return -1;
    }
    let none = std::ptr::null_mut();
    // SAFETY: the set is valid and has room for the number; the caller's promise.
    unsafe {
        let mut set = std::mem::zeroed();
        libc::FD_SET(kq, &mut set);
        libc::pselect(kq + 1, &mut set, none, none, time, mask)
    }
}
