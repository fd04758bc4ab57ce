//! nix's older functions on plain numbers, deprecated there and here.

use std::os::fd::RawFd;
use std::ptr;

use libc::c_int;
use nix::Result;
use nix::errno::Errno;

use crate::{EpollCreateFlags, EpollEvent, EpollOp, c};

/// `epoll_create(1024)` - makes an instance; the number is the caller's to close.
///
/// # Errors
/// As for [`Epoll::new`](crate::Epoll::new).
#[deprecated(since = "0.1.0", note = "Use Epoll::new() instead")]
#[inline]
pub fn epoll_create() -> Result<RawFd> {
    c::epoll_create(1024)
}

/// `epoll_create1(flags)` - makes an instance; the number is the caller's to close.
///
/// # Errors
/// As for [`Epoll::new`](crate::Epoll::new).
#[deprecated(since = "0.1.0", note = "Use Epoll::new() instead")]
#[inline]
pub fn epoll_create1(flags: EpollCreateFlags) -> Result<RawFd> {
    c::epoll_create1(flags.bits())
}

/// `epoll_ctl(epfd, op, fd, event)` - registers, changes, or ends a registration.
///
/// # Errors
/// - `EINVAL`: no event for an operation that needs one.
/// - `EBADF`: one of the numbers is not open.
/// - Those of [`Epoll::add`](crate::Epoll::add), [`Epoll::modify`](crate::Epoll::modify) and
///   [`Epoll::delete`](crate::Epoll::delete).
#[deprecated(since = "0.1.0", note = "Use corresponding Epoll methods instead")]
#[inline]
pub fn epoll_ctl<'a, T>(epfd: RawFd, op: EpollOp, fd: RawFd, event: T) -> Result<()>
where
    T: Into<Option<&'a mut EpollEvent>>,
{
    let event: Option<&mut EpollEvent> = event.into();
    if event.is_none() && op != EpollOp::EpollCtlDel {
        return Err(Errno::EINVAL);
    }
    let event: *const EpollEvent = event.map_or(ptr::null(), |event| event);
    // SAFETY: EpollEvent is a transparent epoll_event; the pointer is null or from a reference.
    unsafe { c::epoll_ctl(epfd, op as c_int, fd, event.cast()) }
}

/// `epoll_wait(epfd, events, timeout_ms)` - takes what is ready, or waits until something is.
///
/// # Errors
/// - `EBADF`: `epfd` is not open.
/// - `EINVAL`: it is no epoll instance.
/// - Those of [`Epoll::wait`](crate::Epoll::wait).
///
/// # Examples
/// ```
/// #![allow(deprecated)]
/// use std::io::Write;
/// use std::os::fd::AsRawFd;
///
/// use compat_epoll::*;
///
/// let (reader, mut writer) = std::io::pipe()?;
/// writer.write_all(b"x")?;
/// let epfd = epoll_create()?;
/// let mut event = EpollEvent::new(EpollFlags::EPOLLIN, 7);
/// epoll_ctl(epfd, EpollOp::EpollCtlAdd, reader.as_raw_fd(), &mut event)?;
/// let mut events = [EpollEvent::empty(); 8];
/// assert_eq!(epoll_wait(epfd, &mut events, -1)?, 1);
/// assert_eq!(events[0], event);
/// # Ok::<(), std::io::Error>(())
/// ```
#[deprecated(since = "0.1.0", note = "Use Epoll::wait() instead")]
#[inline]
pub fn epoll_wait(epfd: RawFd, events: &mut [EpollEvent], timeout_ms: isize) -> Result<usize> {
    let room = events.len() as c_int;
    // SAFETY: EpollEvent is a transparent epoll_event, and there are `room` of them.
    unsafe { c::epoll_wait(epfd, events.as_mut_ptr().cast(), room, timeout_ms as c_int) }
}
