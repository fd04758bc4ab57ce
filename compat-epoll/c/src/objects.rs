//! eventfd, timerfd and signalfd, and read, write and fcntl of them, by the names that our headers give
//! them: where the system has its own, these are not in their way.
//!
//! Who waits in a read may be cancelled, as in [`crate::wait`].

use kq_core::objects::{self, Times};
use libc::{c_int, c_uint, c_void, sigset_t, ssize_t};

use crate::border::told;

/// `eventfd(initval, flags)` - see [`objects::eventfd`].
#[unsafe(no_mangle)]
pub extern "C" fn kqcompat_eventfd(initval: c_uint, flags: c_int) -> c_int {
    told(objects::eventfd(initval, flags))
}

/// `eventfd_read(fd, value)` - [`kqcompat_read`] of a number; returns 0 or -1.
///
/// # Safety
/// `value` can be written.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn kqcompat_eventfd_read(fd: c_int, value: *mut u64) -> c_int {
    // SAFETY: the caller's promise.
    let read = unsafe { kqcompat_read(fd, value.cast(), size_of::<u64>()) };
    if read == size_of::<u64>() as ssize_t { 0 } else { -1 }
}

/// `eventfd_write(fd, value)` - [`kqcompat_write`] of a number; returns 0 or -1.
#[unsafe(no_mangle)]
pub extern "C-unwind" fn kqcompat_eventfd_write(fd: c_int, value: u64) -> c_int {
    // SAFETY: a number of ours.
    let written = unsafe { kqcompat_write(fd, (&raw const value).cast(), size_of::<u64>()) };
    if written == size_of::<u64>() as ssize_t { 0 } else { -1 }
}

/// `timerfd_create(clockid, flags)` - see [`objects::timerfd_create`].
#[unsafe(no_mangle)]
pub extern "C" fn kqcompat_timerfd_create(clockid: c_int, flags: c_int) -> c_int {
    #[allow(clippy::unnecessary_cast, reason = "a clock's type differs from system to system")]
    told(objects::timerfd_create(clockid as libc::clockid_t, flags))
}

/// `timerfd_settime(fd, flags, new, old)` - see [`objects::timerfd_settime`].
///
/// # Safety
/// As there.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kqcompat_timerfd_settime(
    fd: c_int,
    flags: c_int,
    new: *const Times,
    old: *mut Times,
) -> c_int {
    // SAFETY: the caller's promise.
    told(unsafe { objects::timerfd_settime(fd, flags, new, old) }.map(|()| 0))
}

/// `timerfd_gettime(fd, now)` - see [`objects::timerfd_gettime`].
///
/// # Safety
/// As there.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kqcompat_timerfd_gettime(fd: c_int, now: *mut Times) -> c_int {
    // SAFETY: the caller's promise.
    told(unsafe { objects::timerfd_gettime(fd, now) }.map(|()| 0))
}

/// `signalfd(fd, mask, flags)` - see [`objects::signalfd`].
///
/// # Safety
/// As there.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kqcompat_signalfd(
    fd: c_int,
    mask: *const sigset_t,
    flags: c_int,
) -> c_int {
    // SAFETY: the caller's promise.
    told(unsafe { objects::signalfd(fd, mask, flags) })
}

/// `read(fd, buf, count)` - see [`objects::read`].
///
/// # Safety
/// As there.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn kqcompat_read(
    fd: c_int,
    buf: *mut c_void,
    count: usize,
) -> ssize_t {
    // SAFETY: the caller's promise.
    told(unsafe { objects::read(fd, buf, count) }.map(|bytes| bytes as ssize_t))
}

/// `write(fd, buf, count)` - see [`objects::write`].
///
/// # Safety
/// As there.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn kqcompat_write(
    fd: c_int,
    buf: *const c_void,
    count: usize,
) -> ssize_t {
    // SAFETY: the caller's promise.
    told(unsafe { objects::write(fd, buf, count) }.map(|bytes| bytes as ssize_t))
}

/// `fcntl(fd, cmd, arg)` - see [`objects::fcntl`]. The header gives it the third argument that C
/// passes, if it passes one.
///
/// # Safety
/// As there.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn kqcompat_fcntl(fd: c_int, cmd: c_int, arg: isize) -> c_int {
    // SAFETY: the caller's promise.
    told(unsafe { objects::fcntl(fd, cmd, arg) })
}
