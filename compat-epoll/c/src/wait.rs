//! The calls that block.
//!
//! Each is a cancellation point (pthreads(7)), as in C: the thread may end inside, by an unwinding
//! that passes through our frame. So the frame is `extern "C-unwind"`, owns nothing that is to be
//! dropped, and the blocking call lies outside of any catch_unwind, which would abort the process.
//! The engine's own work is done before and after it, guarded.

use compat_epoll::c::{Millis, Waiting, begin_wait};
use libc::{c_int, epoll_event, sigset_t, timespec};
use nix::errno::Errno;

use crate::border::attempt;
use crate::next;

/// Has the engine note a wait that is over; errno stays as it is.
///
/// # Safety
/// As for [`Waiting::end`], where `ready` is not negative.
#[inline]
unsafe fn end(waiting: Waiting, events: *mut epoll_event, maxevents: c_int, ready: c_int) -> c_int {
    let Ok(n) = usize::try_from(ready) else { return ready };
    // SAFETY: the caller's promise.
    attempt(|| Ok(unsafe { waiting.end(events, maxevents, n) })).map_or(-1, |n| n as c_int)
}

/// `epoll_wait(epfd, events, maxevents, timeout)` - takes what is ready, or waits (epoll_wait(2)).
///
/// # Safety
/// As for [`compat_epoll::c::epoll_wait`].
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn epoll_wait(
    epfd: c_int,
    events: *mut epoll_event,
    maxevents: c_int,
    timeout: c_int,
) -> c_int {
    let Some(waiting) = attempt(|| begin_wait(epfd)) else { return -1 };
    // SAFETY: the caller's promise.
    unsafe {
        let ready = next::epoll_wait()(epfd, events, maxevents, timeout);
        end(waiting, events, maxevents, ready)
    }
}

/// `epoll_pwait(epfd, events, maxevents, timeout, sigmask)` - [`epoll_wait`] with a signal mask
/// (epoll_pwait(2)).
///
/// # Safety
/// As for [`compat_epoll::c::epoll_pwait`].
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn epoll_pwait(
    epfd: c_int,
    events: *mut epoll_event,
    maxevents: c_int,
    timeout: c_int,
    sigmask: *const sigset_t,
) -> c_int {
    let Some(waiting) = attempt(|| begin_wait(epfd)) else { return -1 };
    // SAFETY: the caller's promise.
    unsafe {
        let ready = next::epoll_pwait()(epfd, events, maxevents, timeout, sigmask);
        end(waiting, events, maxevents, ready)
    }
}

/// `epoll_pwait2(epfd, events, maxevents, timeout, sigmask)` - [`epoll_pwait`] with a timeout in
/// nanoseconds (epoll_pwait2(2)); before Linux 5.11, in whole milliseconds, rounded up.
///
/// # Safety
/// As for [`compat_epoll::c::epoll_pwait2`].
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn epoll_pwait2(
    epfd: c_int,
    events: *mut epoll_event,
    maxevents: c_int,
    timeout: *const timespec,
    sigmask: *const sigset_t,
) -> c_int {
    let Some(waiting) = attempt(|| begin_wait(epfd)) else { return -1 };
    let errno = Errno::last_raw();
    // SAFETY: the caller's promise.
    let mut ready = unsafe { next::epoll_pwait2()(epfd, events, maxevents, timeout, sigmask) };
    if ready < 0 && Errno::last() == Errno::ENOSYS {
        Errno::set_raw(errno);
        // SAFETY: the caller's promise.
        let Some(mut left) = attempt(|| unsafe { Millis::of(timeout) }) else { return -1 };
        ready = loop {
            let part = left.take_part();
            // SAFETY: the caller's promise.
            let ready = unsafe { next::epoll_pwait()(epfd, events, maxevents, part, sigmask) };
            if ready != 0 || left.is_over() {
                break ready;
            }
        };
    }
    // SAFETY: the caller's promise.
    unsafe { end(waiting, events, maxevents, ready) }
}
