//! The kernel's epoll: by system calls, and through the C library.

use std::os::fd::RawFd;

use libc::{c_int, epoll_event, sigset_t, timespec};
use nix::errno::Errno;

use super::epoll::{Backend, Epoll};
use super::sys::Result;
use crate::raw;

/// The kernel, by system calls.
pub const KERNEL: Epoll = Epoll(&Kernel);
/// The kernel, through the C library's own symbols; or whoever was loaded before it.
pub const NATIVE: Epoll = Epoll(&Native);

struct Native;

fn count(result: c_int) -> Result<usize> {
    Errno::result(result).map(|n| n as usize)
}

// SAFETY (each block here): the promise of the trait's users.
#[allow(clippy::undocumented_unsafe_blocks, reason = "said once, above")]
impl Backend for Native {
    fn epoll_create(&self, size: c_int) -> Result<RawFd> {
        Errno::result(unsafe { libc::epoll_create(size) })
    }

    fn epoll_create1(&self, flags: c_int) -> Result<RawFd> {
        Errno::result(unsafe { libc::epoll_create1(flags) })
    }

    fn epoll_ctl(&self, epfd: RawFd, op: c_int, fd: RawFd, event: *mut epoll_event) -> Result<()> {
        Errno::result(unsafe { libc::epoll_ctl(epfd, op, fd, event) }).map(drop)
    }

    fn epoll_wait(
        &self,
        epfd: RawFd,
        events: *mut epoll_event,
        maxevents: c_int,
        timeout: c_int,
    ) -> Result<usize> {
        count(unsafe { libc::epoll_wait(epfd, events, maxevents, timeout) })
    }

    fn epoll_pwait(
        &self,
        epfd: RawFd,
        events: *mut epoll_event,
        maxevents: c_int,
        timeout: c_int,
        sigmask: *const sigset_t,
    ) -> Result<usize> {
        count(unsafe { libc::epoll_pwait(epfd, events, maxevents, timeout, sigmask) })
    }

    fn epoll_pwait2(
        &self,
        epfd: RawFd,
        events: *mut epoll_event,
        maxevents: c_int,
        timeout: *const timespec,
        sigmask: *const sigset_t,
    ) -> Result<usize> {
        // The C library has this function only since glibc 2.35; the kernel's is what counts.
        unsafe { raw::epoll_pwait2(epfd, events, maxevents, timeout, sigmask) }
    }
}

struct Kernel;

// SAFETY (each block here): the promise of the trait's users.
#[allow(clippy::undocumented_unsafe_blocks, reason = "said once, above")]
impl Backend for Kernel {
    /// The C library's check of the size is the kernel's.
    fn epoll_create(&self, size: c_int) -> Result<RawFd> {
        if size > 0 { raw::epoll_create1(0) } else { Err(Errno::EINVAL) }
    }

    fn epoll_create1(&self, flags: c_int) -> Result<RawFd> {
        raw::epoll_create1(flags)
    }

    fn epoll_ctl(&self, epfd: RawFd, op: c_int, fd: RawFd, event: *mut epoll_event) -> Result<()> {
        raw::epoll_ctl(epfd, op, fd, event)
    }

    fn epoll_wait(
        &self,
        epfd: RawFd,
        events: *mut epoll_event,
        maxevents: c_int,
        timeout: c_int,
    ) -> Result<usize> {
        unsafe { raw::epoll_pwait(epfd, events, maxevents, timeout, std::ptr::null()) }
    }

    fn epoll_pwait(
        &self,
        epfd: RawFd,
        events: *mut epoll_event,
        maxevents: c_int,
        timeout: c_int,
        sigmask: *const sigset_t,
    ) -> Result<usize> {
        unsafe { raw::epoll_pwait(epfd, events, maxevents, timeout, sigmask) }
    }

    fn epoll_pwait2(
        &self,
        epfd: RawFd,
        events: *mut epoll_event,
        maxevents: c_int,
        timeout: *const timespec,
        sigmask: *const sigset_t,
    ) -> Result<usize> {
        unsafe { raw::epoll_pwait2(epfd, events, maxevents, timeout, sigmask) }
    }
}
