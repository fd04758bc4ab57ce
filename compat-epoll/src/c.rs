//! The calls with the C library's signatures, and errors as [`Errno`].
//!
//! Pointers are checked by the kernel, which says `EFAULT`; all checks are made in its order:
//! epoll_ctl(2), epoll_wait(2).

use std::os::fd::RawFd;
use std::ptr;

pub use kq_core::epoll_abi::epoll_event;
use kq_core::readiness;
use libc::{c_int, sigset_t, timespec};
use nix::Result;
use nix::errno::Errno;

/// `epoll_create(size)` - makes an instance; returns its descriptor (epoll_create(2)).
///
/// # Errors
/// - `EINVAL`: `size` is not positive. It says nothing else.
/// - Those of [`epoll_create1`] but that.
pub fn epoll_create(size: c_int) -> Result<RawFd> {
    if size <= 0 {
        return Err(Errno::EINVAL);
    }
    readiness::epoll_create1(0)
}

/// `epoll_create1(flags)` - makes an instance; returns its descriptor (epoll_create1(2)).
///
/// # Errors
/// - `EINVAL`: a flag other than `EPOLL_CLOEXEC`.
/// - `EMFILE`, `ENFILE`: no descriptor is left to the process, to the system.
/// - `ENOMEM`: no memory is left to the kernel.
pub fn epoll_create1(flags: c_int) -> Result<RawFd> {
    readiness::epoll_create1(flags)
}

/// `epoll_ctl(epfd, op, fd, event)` - changes what is registered (epoll_ctl(2)).
///
/// # Errors
/// In this order:
/// - `EFAULT`: `event` cannot be read, and `op` is not `EPOLL_CTL_DEL`.
/// - `EBADF`: `epfd`, or `fd`, is not open.
/// - `EPERM`: `fd` cannot be waited for (a regular file, a directory).
/// - `EINVAL`: `epfd` is no epoll instance, or is `fd`; or `EPOLLEXCLUSIVE` is asked for together
///   with what does not go with it.
/// - `ELOOP`: `fd` is an instance that watches `epfd`, or too many lie in each other.
/// - `EEXIST`, `ENOENT`: `fd` is registered already, is not registered.
/// - `EINVAL`: an unknown `op`.
/// - `ENOMEM`, `ENOSPC`: no memory is left, or the user's limit on registrations is reached.
///
/// # Safety
/// `event` may be any pointer, but memory that can be read must stay so during the call.
#[inline]
pub unsafe fn epoll_ctl(
    epfd: RawFd,
    op: c_int,
    fd: RawFd,
    event: *const epoll_event,
) -> Result<()> {
    // SAFETY: the caller's promise.
    unsafe { readiness::epoll_ctl(epfd, op, fd, event) }
}

/// `epoll_wait(epfd, events, maxevents, timeout)` - takes what is ready, or waits until something is,
/// `timeout` milliseconds at most, for ever where it is negative (epoll_wait(2)). Returns how many
/// events it wrote.
///
/// # Errors
/// - `EBADF`: `epfd` is not open.
/// - `EINVAL`: `epfd` is no epoll instance, or `maxevents` is not positive or larger than any array.
/// - `EFAULT`: `events` cannot be written. No event is lost.
/// - `EINTR`: a signal handler ran, or the process was stopped and continued.
///
/// # Safety
/// `events` may be any pointer, but if memory is there, `maxevents` events of it must be the
/// caller's to have overwritten.
///
/// # Examples
/// ```
/// use std::io::Write;
/// use std::os::fd::AsRawFd;
///
/// use compat_epoll::c::{epoll_create1, epoll_ctl, epoll_event, epoll_wait};
///
/// let (reader, mut writer) = std::io::pipe()?;
/// writer.write_all(b"x")?;
/// let epfd = epoll_create1(0)?;
/// let mut event = epoll_event { events: 1, u64: 7 }; // EPOLLIN
/// // SAFETY: one event, which may be read and written.
/// let ready = unsafe {
///     epoll_ctl(epfd, 1, reader.as_raw_fd(), &event)?; // EPOLL_CTL_ADD
///     epoll_wait(epfd, &mut event, 1, -1)?
/// };
/// assert_eq!((ready, { event.u64 }), (1, 7));
/// # Ok::<(), std::io::Error>(())
/// ```
#[inline]
pub unsafe fn epoll_wait(
    epfd: RawFd,
    events: *mut epoll_event,
    maxevents: c_int,
    timeout: c_int,
) -> Result<usize> {
    // SAFETY: the caller's promise; no mask.
    unsafe { epoll_pwait(epfd, events, maxevents, timeout, ptr::null()) }
}

/// `epoll_pwait(epfd, events, maxevents, timeout, sigmask)` - [`epoll_wait`] with this mask of
/// blocked signals while it lasts; null leaves the thread's (epoll_pwait(2)).
///
/// # Errors
/// - `EFAULT`: `sigmask` cannot be read.
/// - Those of [`epoll_wait`].
///
/// # Safety
/// As for [`epoll_wait`]. `sigmask` may be any pointer.
#[inline]
pub unsafe fn epoll_pwait(
    epfd: RawFd,
    events: *mut epoll_event,
    maxevents: c_int,
    timeout: c_int,
    sigmask: *const sigset_t,
) -> Result<usize> {
    // SAFETY: the caller's promise.
    unsafe { readiness::epoll_pwait(epfd, events, maxevents, timeout, sigmask) }
}

/// `epoll_pwait2(epfd, events, maxevents, timeout, sigmask)` - [`epoll_pwait`] with a timeout in
/// nanoseconds; null is for ever (epoll_pwait2(2)).
///
/// Linux has it from 5.11; before, whole milliseconds are waited, rounded up.
///
/// # Errors
/// - `EFAULT`: `timeout` cannot be read.
/// - `EINVAL`: `timeout` is negative or has a second's worth of nanoseconds.
/// - Those of [`epoll_pwait`].
///
/// # Safety
/// As for [`epoll_wait`]. `timeout` and `sigmask` may be any pointers, but memory that can be read
/// must stay so during the call.
pub unsafe fn epoll_pwait2(
    epfd: RawFd,
    events: *mut epoll_event,
    maxevents: c_int,
    timeout: *const timespec,
    sigmask: *const sigset_t,
) -> Result<usize> {
    // SAFETY: the caller's promise.
    unsafe { readiness::epoll_pwait2(epfd, events, maxevents, timeout, sigmask) }
}
