//! epoll_pwait and epoll_pwait2, whole: the system call between the halves of a wait.

use std::os::fd::RawFd;

use libc::{c_int, epoll_event, sigset_t, timespec};
use nix::errno::Errno;

use super::epoll_again::{Rest, Since, until_taken};
use super::epoll_millis::Millis;
use super::epoll_rules::{Waiting, begin_wait};
use super::raw::{self, Result};

/// `epoll_pwait(epfd, events, maxevents, timeout, sigmask)` - takes what is ready, or waits
/// (epoll_pwait(2)).
///
/// # Errors
/// Those of epoll_pwait(2).
///
/// # Safety
/// `events` may be any pointer, but if memory is there, `maxevents` events of it must be the
/// caller's to have overwritten. `sigmask` may be any pointer.
///
/// # Examples
/// ```
/// use std::os::fd::AsRawFd;
///
/// use kq_core::readiness;
/// use libc::{EPOLL_CTL_ADD, EPOLLIN, epoll_event};
///
/// let (reader, writer) = std::io::pipe().unwrap();
/// let epfd = readiness::epoll_create1(libc::EPOLL_CLOEXEC)?;
/// let mut event = epoll_event { events: EPOLLIN as u32, u64: 7 };
/// drop(writer);
/// // SAFETY: one event, which may be read and written.
/// let ready = unsafe {
///     readiness::epoll_ctl(epfd, EPOLL_CTL_ADD, reader.as_raw_fd(), &event)?;
///     readiness::epoll_pwait(epfd, &mut event, 1, -1, std::ptr::null())?
/// };
/// assert_eq!((ready, { event.events }, { event.u64 }), (1, libc::EPOLLHUP as u32, 7));
/// readiness::closed(epfd);
/// # unsafe { libc::close(epfd) };
/// # Ok::<(), kq_core::Errno>(())
/// ```
#[inline]
pub unsafe fn epoll_pwait(
    epfd: RawFd,
    events: *mut epoll_event,
    maxevents: c_int,
    timeout: c_int,
    sigmask: *const sigset_t,
) -> Result<usize> {
    let call = PwaitCall { epfd, events, maxevents, sigmask };
    let waiting = begin_wait(epfd)?;
    let mut fetched = None;
    if !waiting.has_knotes() {
        // SAFETY: the caller's promise.
        let ready = unsafe { call.make(timeout) }?;
        if waiting.end_plainly(ready) {
            return Ok(ready);
        }
        fetched = Some(ready);
    }
    // SAFETY: the caller's promise.
    unsafe { call.until_taken(waiting, fetched, timeout) }
}

/// The blocking part of [`epoll_pwait`].
#[derive(Clone, Copy)]
struct PwaitCall {
    epfd: RawFd,
    events: *mut epoll_event,
    maxevents: c_int,
    sigmask: *const sigset_t,
}

impl PwaitCall {
    /// # Safety
    /// As for [`epoll_pwait`].
    #[inline(always)]
    unsafe fn make(self, timeout: c_int) -> Result<usize> {
        let Self { epfd, events, maxevents, sigmask } = self;
        // SAFETY: the caller's promise.
        unsafe {
            if sigmask.is_null() {
                raw::epoll_wait(epfd, events, maxevents, timeout)
            } else {
                raw::epoll_pwait(epfd, events, maxevents, timeout, sigmask)
            }
        }
    }

    /// Where kevent() has put knotes on the queue; `fetched`: they came after that many events.
    ///
    /// # Safety
    /// As for [`epoll_pwait`].
    #[cold]
    #[inline(never)]
    unsafe fn until_taken(
        self,
        waiting: Waiting,
        mut fetched: Option<usize>,
        timeout: c_int,
    ) -> Result<usize> {
        let mut since = Since::now(waiting);
        until_taken(
            timeout,
            |timeout| match fetched.take() {
                Some(ready) => Ok(ready),
                // SAFETY: the caller's promise.
                None => unsafe { self.make(timeout) },
            },
            // SAFETY: the caller's promise; the kernel has just written them.
            |ready| unsafe { waiting.end(self.events, self.maxevents, ready) },
            || since.left_of_millis(timeout),
        )
    }
}

/// `epoll_pwait2(epfd, events, maxevents, timeout, sigmask)` - [`epoll_pwait`] with a timeout in
/// nanoseconds; null is for ever (epoll_pwait2(2)). Before Linux 5.11 whole milliseconds are waited,
/// rounded up.
///
/// # Errors
/// - `EFAULT`: `timeout` cannot be read.
/// - `EINVAL`: `timeout` is negative or has a second's worth of nanoseconds.
/// - Those of [`epoll_pwait`].
///
/// # Safety
/// As for [`epoll_pwait`]. `timeout` may be any pointer, but memory that can be read must stay so
/// during the call.
pub unsafe fn epoll_pwait2(
    epfd: RawFd,
    events: *mut epoll_event,
    maxevents: c_int,
    timeout: *const timespec,
    sigmask: *const sigset_t,
) -> Result<usize> {
    let waiting = begin_wait(epfd)?;
    let mut since = Since::now(waiting);
    let wait = |time: *const timespec| {
        // SAFETY: the caller's promise.
        match unsafe { raw::epoll_pwait2(epfd, events, maxevents, time, sigmask) } {
            // SAFETY: the caller's promise on `timeout`.
            Err(Errno::ENOSYS) => unsafe { Millis::of(time) }?
                // SAFETY: the caller's promise.
                .wait(|ms| unsafe { raw::epoll_pwait(epfd, events, maxevents, ms, sigmask) }),
            result => result,
        }
    };
    until_taken(
        Rest::CallersOwn,
        |rest| wait(rest.or(timeout)),
        // SAFETY: the caller's promise; the kernel has just written them.
        |ready| unsafe { waiting.end(events, maxevents, ready) },
        // SAFETY: the kernel could read it, or the wait would have failed.
        || unsafe { since.left_of(timeout) },
    )
}
