//! The calls that block.
//!
//! Each is a cancellation point (pthreads(7)), as in C: the thread may end inside, by an unwinding
//! that passes through our frame. So the frame is `extern "C-unwind"`, owns nothing that is to be
//! dropped, and the blocking call lies outside of any catch_unwind, which would abort the process.
//! The engine's own work is done before and after it, guarded.

use kq_core::readiness::parts::{Millis, Rest, Since, Waiting, begin_wait, until_taken};
use libc::{c_int, epoll_event, sigset_t, timespec};
use nix::errno::Errno;

use crate::border::attempt;
use crate::next;

/// What the C library's function returned; where it failed, it has set errno.
#[inline]
fn returned(ready: c_int) -> Result<usize, Failed> {
    usize::try_from(ready).map_err(|_| Failed)
}

/// errno says why.
#[derive(Debug)]
struct Failed;

/// Has the engine see what is ready; errno stays as it is.
///
/// # Safety
/// As for [`Waiting::end`].
#[inline]
unsafe fn end(waiting: Waiting, events: *mut epoll_event, maxevents: c_int, ready: usize) -> usize {
    if waiting.end_plainly(ready) {
        return ready;
    }
    // SAFETY: the caller's promise.
    unsafe { end_guarded(waiting, events, maxevents, ready) }
}

/// # Safety
/// As for [`Waiting::end`].
#[cold]
unsafe fn end_guarded(
    waiting: Waiting,
    events: *mut epoll_event,
    maxevents: c_int,
    ready: usize,
) -> usize {
    // SAFETY: the caller's promise.
    attempt(|| Ok(unsafe { waiting.end(events, maxevents, ready) })).unwrap_or(ready)
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
    let next = next::epoll_wait();
    // SAFETY: the caller's promise.
    unsafe { by_millis(epfd, events, maxevents, timeout, |ms| next(epfd, events, maxevents, ms)) }
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
    let next = next::epoll_pwait();
    // SAFETY: the caller's promise.
    unsafe {
        by_millis(epfd, events, maxevents, timeout, |ms| next(epfd, events, maxevents, ms, sigmask))
    }
}

/// The two calls whose timeout is in milliseconds.
///
/// # Safety
/// As for [`compat_epoll::c::epoll_wait`], of which `call` is the blocking part.
#[inline]
unsafe fn by_millis(
    epfd: c_int,
    events: *mut epoll_event,
    maxevents: c_int,
    timeout: c_int,
    call: impl Fn(c_int) -> c_int,
) -> c_int {
    let Some(waiting) = attempt(|| begin_wait(epfd)) else { return -1 };
    let mut since = Since::now(waiting);
    until_taken(
        timeout,
        |ms| returned(call(ms)),
        // SAFETY: the caller's promise; they have just been written.
        |ready| unsafe { end(waiting, events, maxevents, ready) },
        || since.left_of_millis(timeout),
    )
    .map_or(-1, |ready| ready as c_int)
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
    let mut since = Since::now(waiting);
    until_taken(
        Rest::CallersOwn,
        // SAFETY: the caller's promise; what remains of its time is on our stack.
        |rest| unsafe { pwait2(epfd, events, maxevents, rest.or(timeout), sigmask) },
        // SAFETY: the caller's promise; they have just been written.
        |ready| unsafe { end(waiting, events, maxevents, ready) },
        // SAFETY: the kernel could read it, or the wait would have failed.
        || unsafe { since.left_of(timeout) },
    )
    .map_or(-1, |ready| ready as c_int)
}

/// The blocking part of [`epoll_pwait2`].
///
/// # Safety
/// As there.
unsafe fn pwait2(
    epfd: c_int,
    events: *mut epoll_event,
    maxevents: c_int,
    timeout: *const timespec,
    sigmask: *const sigset_t,
) -> Result<usize, Failed> {
    let errno = Errno::last_raw();
    // SAFETY: the caller's promise.
    let ready = unsafe { next::epoll_pwait2()(epfd, events, maxevents, timeout, sigmask) };
    if ready >= 0 || Errno::last() != Errno::ENOSYS {
        return returned(ready);
    }
    Errno::set_raw(errno);
    // SAFETY: the caller's promise.
    let mut left = attempt(|| unsafe { Millis::of(timeout) }).ok_or(Failed)?;
    loop {
        let part = left.take_part();
        // SAFETY: the caller's promise.
        let ready = unsafe { next::epoll_pwait()(epfd, events, maxevents, part, sigmask) };
        if ready != 0 || left.is_over() {
            return returned(ready);
        }
    }
}
