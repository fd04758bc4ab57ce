//! The calls that block.
//!
//! Each is a cancellation point (pthreads(7)), as in C: the thread may end inside, by an unwinding
//! that passes through our frame. So the frame is `extern "C-unwind"` and owns nothing that is to be
//! dropped. The engine's own work is done before and after the blocking call, and only that is guarded.

use kq_core::readiness::parts::{Millis, Rest, Since, Waiting, begin_wait, until_taken};
use libc::{c_int, epoll_event, sigset_t, timespec};
use nix::errno::Errno;

use crate::border::told;
use crate::next;

/// What the C library's function returned; where it failed, it has set errno.
#[inline]
fn returned(ready: c_int) -> Result<usize, Failed> {
    usize::try_from(ready).map_err(|_| Failed)
}

/// errno says why.
#[derive(Debug)]
struct Failed;

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
    let call = Call { epfd, events, maxevents, sigmask: None };
    // SAFETY: the caller's promise.
    unsafe { call.wait(timeout) }
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
    let call = Call { epfd, events, maxevents, sigmask: Some(sigmask) };
    // SAFETY: the caller's promise.
    unsafe { call.wait(timeout) }
}

/// The blocking part of the two calls whose timeout is in milliseconds; epoll_wait has no mask.
#[derive(Clone, Copy)]
struct Call {
    epfd: c_int,
    events: *mut epoll_event,
    maxevents: c_int,
    sigmask: Option<*const sigset_t>,
}

impl Call {
    /// # Safety
    /// As for [`compat_epoll::c::epoll_pwait`].
    #[inline(always)]
    unsafe fn make(self, timeout: c_int) -> c_int {
        let Self { epfd, events, maxevents, sigmask } = self;
        // SAFETY: the caller's promise.
        unsafe {
            match sigmask {
                None => next::epoll_wait()(epfd, events, maxevents, timeout),
                Some(mask) => next::epoll_pwait()(epfd, events, maxevents, timeout, mask),
            }
        }
    }

    /// The whole call.
    ///
    /// # Safety
    /// As for [`compat_epoll::c::epoll_pwait`].
    #[inline(always)]
    unsafe fn wait(self, timeout: c_int) -> c_int {
        let waiting = match begin_wait(self.epfd) {
            Ok(waiting) => waiting,
            Err(errno) => return told(Err(errno)),
        };
        let mut fetched = None;
        if !waiting.has_knotes() {
            // SAFETY: the caller's promise.
            let ready = unsafe { self.make(timeout) };
            if ready < 0 || waiting.end_plainly(ready as usize) {
                return ready;
            }
            fetched = Some(ready);
        }
        // SAFETY: the caller's promise.
        unsafe { self.until_taken(waiting, fetched, timeout) }
    }

    /// Where kevent() has put knotes on the queue; `fetched`: they came after that many events.
    ///
    /// # Safety
    /// As for [`compat_epoll::c::epoll_pwait`].
    #[cold]
    #[inline(never)]
    unsafe fn until_taken(
        self,
        waiting: Waiting,
        mut fetched: Option<c_int>,
        timeout: c_int,
    ) -> c_int {
        let mut since = Since::now(waiting);
        until_taken(
            timeout,
            // SAFETY: the caller's promise.
            |ms| returned(fetched.take().unwrap_or_else(|| unsafe { self.make(ms) })),
            // SAFETY: the caller's promise; they have just been written.
            |ready| unsafe { waiting.end(self.events, self.maxevents, ready) },
            || since.left_of_millis(timeout),
        )
        .map_or(-1, |ready| ready as c_int)
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
    let waiting = match begin_wait(epfd) {
        Ok(waiting) => waiting,
        Err(errno) => return told(Err(errno)),
    };
    let mut since = Since::now(waiting);
    until_taken(
        Rest::CallersOwn,
        // SAFETY: the caller's promise; what remains of its time is on our stack.
        |rest| unsafe { pwait2(epfd, events, maxevents, rest.or(timeout), sigmask) },
        // SAFETY: the caller's promise; they have just been written.
        |ready| unsafe { waiting.end(events, maxevents, ready) },
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
    let mut left = unsafe { Millis::of(timeout) }.map_err(|errno| {
        errno.set();
        Failed
    })?;
    loop {
        let part = left.take_part();
        // SAFETY: the caller's promise.
        let ready = unsafe { next::epoll_pwait()(epfd, events, maxevents, part, sigmask) };
        if ready != 0 || left.is_over() {
            return returned(ready);
        }
    }
}
