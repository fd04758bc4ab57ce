//! The C interfaces as tables of functions: libc's own and the compat libraries' have the same
//! types, so the code that measures is the same.

use std::io;
use std::os::fd::RawFd;

#[cfg(target_os = "linux")]
use anyhow::Result;
use kq_core::epoll_abi;
use libc::{c_int, fd_set, nfds_t, pollfd, timeval};

#[cfg(target_os = "linux")]
use super::libs::Lib;

/// A count that a C function returned, or errno.
#[inline]
pub(super) fn check(value: c_int) -> io::Result<usize> {
    usize::try_from(value).map_err(|_| io::Error::last_os_error())
}

/// epoll(7).
#[derive(Clone, Copy, Debug)]
pub(crate) struct EpollApi {
    pub(super) create1: unsafe extern "C" fn(c_int) -> c_int,
    pub(super) ctl: unsafe extern "C" fn(c_int, c_int, c_int, *mut epoll_abi::epoll_event) -> c_int,
    pub(super) wait:
        unsafe extern "C" fn(c_int, *mut epoll_abi::epoll_event, c_int, c_int) -> c_int,
}

impl EpollApi {
    #[cfg(target_os = "linux")]
    pub(crate) fn load(lib: &Lib) -> Result<Self> {
        // SAFETY: the types are those of <sys/epoll.h>.
        unsafe {
            Ok(Self {
                create1: lib.symbol("epoll_create1")?,
                ctl: lib.symbol("epoll_ctl")?,
                wait: lib.symbol("epoll_wait")?,
            })
        }
    }

    pub(crate) fn create(&self) -> io::Result<RawFd> {
        // SAFETY: takes no pointer.
        check(unsafe { (self.create1)(epoll_abi::EPOLL_CLOEXEC) }).map(|fd| fd as RawFd)
    }

    #[inline]
    pub(crate) fn ctl(
        &self,
        ep: RawFd,
        op: c_int,
        fd: RawFd,
        events: u32,
        data: u64,
    ) -> io::Result<()> {
        let mut event = epoll_abi::epoll_event { events, u64: data };
        // SAFETY: `event` is one epoll_event, which epoll_ctl reads.
        check(unsafe { (self.ctl)(ep, op, fd, &mut event) }).map(drop)
    }

    #[inline]
    pub(crate) fn wait(
        &self,
        ep: RawFd,
        events: &mut [epoll_abi::epoll_event],
        timeout: c_int,
    ) -> io::Result<usize> {
        // SAFETY: at most `events.len()` events are written, into memory borrowed mutably.
        check(unsafe { (self.wait)(ep, events.as_mut_ptr(), events.len() as c_int, timeout) })
    }
}

/// poll(2).
#[derive(Clone, Copy, Debug)]
pub(crate) struct PollApi {
    pub(super) poll: unsafe extern "C" fn(*mut pollfd, nfds_t, c_int) -> c_int,
}

impl PollApi {
    #[cfg(target_os = "linux")]
    pub(crate) fn load(lib: &Lib) -> Result<Self> {
        // SAFETY: the type is that of <poll.h>.
        unsafe { Ok(Self { poll: lib.symbol("poll")? }) }
    }

    #[inline]
    pub(crate) fn poll(&self, fds: &mut [pollfd], timeout: c_int) -> io::Result<usize> {
        // SAFETY: `fds.len()` entries are read and written, in memory borrowed mutably.
        check(unsafe { (self.poll)(fds.as_mut_ptr(), fds.len() as nfds_t, timeout) })
    }
}

type SelectFn =
    unsafe extern "C" fn(c_int, *mut fd_set, *mut fd_set, *mut fd_set, *mut timeval) -> c_int;

/// select(2), whose sets may be longer than FD_SETSIZE: neither libc nor the kernel minds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SelectApi {
    pub(super) select: SelectFn,
}

impl SelectApi {
    #[cfg(target_os = "linux")]
    pub(crate) fn load(lib: &Lib) -> Result<Self> {
        // SAFETY: the type is that of <sys/select.h>.
        unsafe { Ok(Self { select: lib.symbol("select")? }) }
    }

    /// The sets are bitmaps of at least `nfds` bits each; an empty one is NULL.
    #[inline]
    pub(crate) fn select(
        &self,
        nfds: usize,
        read: &mut [u64],
        write: &mut [u64],
        timeout_ms: c_int,
    ) -> io::Result<usize> {
        debug_assert!([&*read, &*write].iter().all(|s| s.is_empty() || s.len() * 64 >= nfds));
        let ptr = |set: &mut [u64]| {
            if set.is_empty() { std::ptr::null_mut() } else { set.as_mut_ptr().cast::<fd_set>() }
        };
        #[allow(clippy::useless_conversion, reason = "some systems have fewer bits there")]
        let mut tv = timeval {
            tv_sec: (timeout_ms / 1000).into(),
            tv_usec: (timeout_ms % 1000 * 1000).into(),
        };
        let timeout = if timeout_ms < 0 { std::ptr::null_mut() } else { &raw mut tv };
        // SAFETY: each set has `nfds` bits or is NULL, and is borrowed mutably; `tv` lives on.
        check(unsafe {
            (self.select)(nfds as c_int, ptr(read), ptr(write), std::ptr::null_mut(), timeout)
        })
    }
}

/// close(2), which the compat libraries hook.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CloseApi {
    pub(super) close: unsafe extern "C" fn(c_int) -> c_int,
}

impl CloseApi {
    #[cfg(target_os = "linux")]
    pub(crate) fn load(lib: &Lib) -> Result<Self> {
        // SAFETY: the type is that of <unistd.h>.
        unsafe { Ok(Self { close: lib.symbol("close")? }) }
    }

    #[inline]
    pub(crate) fn close(&self, fd: RawFd) -> io::Result<()> {
        // SAFETY: takes no pointer. Only numbers that the benchmark opened for it are passed.
        check(unsafe { (self.close)(fd) }).map(drop)
    }
}
