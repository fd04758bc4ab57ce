//! The calls that block, on a native kqueue.
//!
//! They are cancellation points: at entry, and while they sleep where the system's threads have kevent(2)
//! so. The frames around it are `extern "C-unwind"` and lock nothing while it blocks.

use compat_epoll::c;
use kq_core::epoll_abi::epoll_event;
use libc::{c_int, sigset_t, timespec};
use nix::Result;

use crate::border::told;

unsafe extern "C-unwind" {
    /// pthread_testcancel(3).
    safe fn pthread_testcancel();
}

fn answer(result: Result<usize>) -> c_int {
    told(result.map(|ready| ready as c_int))
}

/// `epoll_wait(epfd, events, maxevents, timeout)` - takes what is ready, or waits (epoll_wait(2)).
///
/// # Safety
/// As for [`c::epoll_wait`].
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn epoll_wait(
    epfd: c_int,
    events: *mut epoll_event,
    maxevents: c_int,
    timeout: c_int,
) -> c_int {
    pthread_testcancel();
    // SAFETY: the caller's promise.
    answer(unsafe { c::epoll_wait(epfd, events, maxevents, timeout) })
}

/// `epoll_pwait(epfd, events, maxevents, timeout, sigmask)` - [`epoll_wait`] with a signal mask
/// (epoll_pwait(2)).
///
/// # Safety
/// As for [`c::epoll_pwait`].
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn epoll_pwait(
    epfd: c_int,
    events: *mut epoll_event,
    maxevents: c_int,
    timeout: c_int,
    sigmask: *const sigset_t,
) -> c_int {
    pthread_testcancel();
    // SAFETY: the caller's promise.
    answer(unsafe { c::epoll_pwait(epfd, events, maxevents, timeout, sigmask) })
}

/// `epoll_pwait2(epfd, events, maxevents, timeout, sigmask)` - [`epoll_pwait`] with a timeout in
/// nanoseconds (epoll_pwait2(2)).
///
/// # Safety
/// As for [`c::epoll_pwait2`].
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn epoll_pwait2(
    epfd: c_int,
    events: *mut epoll_event,
    maxevents: c_int,
    timeout: *const timespec,
    sigmask: *const sigset_t,
) -> c_int {
    pthread_testcancel();
    // SAFETY: the caller's promise.
    answer(unsafe { c::epoll_pwait2(epfd, events, maxevents, timeout, sigmask) })
}
