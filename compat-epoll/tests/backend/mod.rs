//! Our Rust functions, as the tests call epoll.

use std::os::fd::RawFd;

use compat_epoll::c;
use kq_core::test_support::epoll::{Backend, Epoll};
use kq_core::test_support::sys::Result;
use libc::{c_int, epoll_event, sigset_t, timespec};

pub(crate) const COMPAT: Epoll = Epoll(&Compat);

struct Compat;

// SAFETY (each block here): the promise of the trait's users.
#[allow(clippy::undocumented_unsafe_blocks, reason = "said once, above")]
impl Backend for Compat {
    fn epoll_create(&self, size: c_int) -> Result<RawFd> {
        c::epoll_create(size)
    }

    fn epoll_create1(&self, flags: c_int) -> Result<RawFd> {
        c::epoll_create1(flags)
    }

    fn epoll_ctl(&self, epfd: RawFd, op: c_int, fd: RawFd, event: *mut epoll_event) -> Result<()> {
        unsafe { c::epoll_ctl(epfd, op, fd, event) }
    }

    fn epoll_wait(
        &self,
        epfd: RawFd,
        events: *mut epoll_event,
        maxevents: c_int,
        timeout: c_int,
    ) -> Result<usize> {
        unsafe { c::epoll_wait(epfd, events, maxevents, timeout) }
    }

    fn epoll_pwait(
        &self,
        epfd: RawFd,
        events: *mut epoll_event,
        maxevents: c_int,
        timeout: c_int,
        sigmask: *const sigset_t,
    ) -> Result<usize> {
        unsafe { c::epoll_pwait(epfd, events, maxevents, timeout, sigmask) }
    }

    fn epoll_pwait2(
        &self,
        epfd: RawFd,
        events: *mut epoll_event,
        maxevents: c_int,
        timeout: *const timespec,
        sigmask: *const sigset_t,
    ) -> Result<usize> {
        unsafe { c::epoll_pwait2(epfd, events, maxevents, timeout, sigmask) }
    }
}
