//! The C library's symbols, whichever they are: those of the preloaded library.

use std::mem::transmute;
use std::os::fd::RawFd;

use kq_core::test_support::epoll::{Backend, Epoll, NATIVE};
use kq_core::test_support::sys::Result;
use libc::{c_int, c_void, epoll_event, sigset_t, timespec};
use nix::errno::Errno;

/// What the dynamic linker finds first.
pub(crate) const LIBRARY: Epoll = Epoll(&Library);

struct Library;

impl Backend for Library {
    fn epoll_create(&self, size: c_int) -> Result<RawFd> {
        NATIVE.0.epoll_create(size)
    }

    fn epoll_create1(&self, flags: c_int) -> Result<RawFd> {
        NATIVE.0.epoll_create1(flags)
    }

    fn epoll_ctl(&self, epfd: RawFd, op: c_int, fd: RawFd, event: *mut epoll_event) -> Result<()> {
        NATIVE.0.epoll_ctl(epfd, op, fd, event)
    }

    fn epoll_wait(
        &self,
        epfd: RawFd,
        events: *mut epoll_event,
        maxevents: c_int,
        timeout: c_int,
    ) -> Result<usize> {
        NATIVE.0.epoll_wait(epfd, events, maxevents, timeout)
    }

    fn epoll_pwait(
        &self,
        epfd: RawFd,
        events: *mut epoll_event,
        maxevents: c_int,
        timeout: c_int,
        sigmask: *const sigset_t,
    ) -> Result<usize> {
        NATIVE.0.epoll_pwait(epfd, events, maxevents, timeout, sigmask)
    }

    /// By name: a C library may lack it (glibc before 2.35), ours does not.
    fn epoll_pwait2(
        &self,
        epfd: RawFd,
        events: *mut epoll_event,
        maxevents: c_int,
        timeout: *const timespec,
        sigmask: *const sigset_t,
    ) -> Result<usize> {
        type Pwait2 = unsafe extern "C-unwind" fn(
            c_int,
            *mut epoll_event,
            c_int,
            *const timespec,
            *const sigset_t,
        ) -> c_int;
        // SAFETY: what bears this name has this signature; the pointers are the test's.
        let n = unsafe {
            let found = libc::dlsym(libc::RTLD_DEFAULT, c"epoll_pwait2".as_ptr());
            assert!(!found.is_null());
            let epoll_pwait2 = transmute::<*mut c_void, Pwait2>(found);
            epoll_pwait2(epfd, events, maxevents, timeout, sigmask)
        };
        Errno::result(n).map(|n| n as usize)
    }
}
