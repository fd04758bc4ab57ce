//! kqueue where the system has it: FreeBSD, NetBSD, OpenBSD, DragonFly and macOS, and on Linux over
//! a library that exports `kqueue` and `kevent` (the cfg `kqcompat_native`).
//!
//! Nothing but those two symbols is assumed of what lies beneath.

#[cfg(not(target_os = "linux"))]
mod fit;
#[cfg(not(target_os = "linux"))]
pub(crate) mod fork;
#[cfg(kqcompat_native)]
pub(crate) mod kqueue;
#[cfg(kqcompat_native)]
mod layout;
#[cfg(any(target_os = "macos", all(test, kqcompat_native, target_os = "linux")))]
mod macos;
#[cfg(kqcompat_native)]
mod marked;
#[cfg(kqcompat_native)]
pub(crate) mod objects;
#[cfg(kqcompat_native)]
pub(crate) mod poll_queue;
#[cfg(kqcompat_native)]
pub mod raw;
#[cfg(kqcompat_native)]
pub(crate) mod readiness;
// The pure ones are tested on Linux too.
mod system;
mod translate;

/// Which descriptors behave is the system's.
#[cfg(all(kqcompat_native, target_os = "linux"))]
use crate::sys::linux::fit;
#[cfg(kqcompat_native)]
use std::os::fd::RawFd;

/// Sets or clears close-on-exec. A library's own kind of descriptor may not have it: all the same.
#[cfg(kqcompat_native)]
fn set_close_on_exec(fd: RawFd, on: bool) {
    let flag = if on { libc::FD_CLOEXEC } else { 0 };
    // SAFETY: takes a number.
    unsafe { libc::fcntl(fd, libc::F_SETFD, flag) };
}
