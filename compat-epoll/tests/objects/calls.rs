//! The calls, whoever answers.

use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

use kq_core::test_support::epoll::{self, Epoll};
use kq_core::test_support::sys::Result;
use libc::{c_int, c_uint, itimerspec, signalfd_siginfo, sigset_t, timespec};
use nix::errno::Errno;

/// As C has them. Each is safe to call with what the tests pass: memory of their own, or null.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Calls {
    eventfd: fn(c_uint, c_int) -> Result<RawFd>,
    timerfd_create: fn(c_int, c_int) -> Result<RawFd>,
    settime: fn(RawFd, c_int, *const itimerspec, *mut itimerspec) -> Result<()>,
    gettime: fn(RawFd, *mut itimerspec) -> Result<()>,
    signalfd: fn(RawFd, *const sigset_t, c_int) -> Result<RawFd>,
    read: fn(RawFd, &mut [u8]) -> Result<usize>,
    write: fn(RawFd, &[u8]) -> Result<usize>,
    fcntl: fn(RawFd, c_int, c_int) -> Result<c_int>,
    /// Who watches them.
    pub(crate) epoll: Epoll,
}

fn owned(fd: RawFd) -> OwnedFd {
    // SAFETY: made just now, and known to nobody else.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

pub(crate) fn times(value: (i64, i64), interval: (i64, i64)) -> itimerspec {
    let of = |(tv_sec, tv_nsec)| timespec { tv_sec, tv_nsec };
    itimerspec { it_interval: of(interval), it_value: of(value) }
}

impl Calls {
    pub(crate) fn eventfd(self, initval: u32, flags: c_int) -> Result<OwnedFd> {
        (self.eventfd)(initval, flags).map(owned)
    }

    pub(crate) fn timerfd(self, clock: c_int, flags: c_int) -> Result<OwnedFd> {
        (self.timerfd_create)(clock, flags).map(owned)
    }

    /// Sets a timer; returns what it was.
    pub(crate) fn set(
        self,
        fd: RawFd,
        flags: c_int,
        new: Option<itimerspec>,
    ) -> Result<itimerspec> {
        let mut old = times((-1, -1), (-1, -1));
        let new = new.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
        (self.settime)(fd, flags, new, &mut old).map(|()| old)
    }

    pub(crate) fn get(self, fd: RawFd) -> Result<itimerspec> {
        let mut now = times((-1, -1), (-1, -1));
        (self.gettime)(fd, &mut now).map(|()| now)
    }

    pub(crate) fn signalfd(self, mask: &sigset_t, flags: c_int) -> Result<OwnedFd> {
        (self.signalfd)(-1, mask, flags).map(owned)
    }

    pub(crate) fn set_mask(
        self,
        fd: RawFd,
        mask: Option<&sigset_t>,
        flags: c_int,
    ) -> Result<RawFd> {
        (self.signalfd)(fd, mask.map_or(std::ptr::null(), std::ptr::from_ref), flags)
    }

    pub(crate) fn read(self, fd: RawFd, buf: &mut [u8]) -> Result<usize> {
        (self.read)(fd, buf)
    }

    /// Reads a number.
    pub(crate) fn number(self, fd: &impl AsRawFd) -> Result<u64> {
        let mut bytes = [0; 8];
        let n = self.read(fd.as_raw_fd(), &mut bytes)?;
        assert_eq!(n, 8);
        Ok(u64::from_ne_bytes(bytes))
    }

    /// Reads a signal.
    pub(crate) fn signal(self, fd: &impl AsRawFd) -> Result<signalfd_siginfo> {
        let mut bytes = [0; 128];
        let n = self.read(fd.as_raw_fd(), &mut bytes)?;
        assert_eq!(n, 128);
        // SAFETY: plain data of that size.
        Ok(unsafe { std::mem::transmute::<[u8; 128], signalfd_siginfo>(bytes) })
    }

    pub(crate) fn write(self, fd: RawFd, bytes: &[u8]) -> Result<usize> {
        (self.write)(fd, bytes)
    }

    /// Writes a number.
    pub(crate) fn add(self, fd: &impl AsRawFd, number: u64) -> Result<usize> {
        self.write(fd.as_raw_fd(), &number.to_ne_bytes())
    }

    pub(crate) fn fcntl(self, fd: RawFd, cmd: c_int, arg: c_int) -> Result<c_int> {
        (self.fcntl)(fd, cmd, arg)
    }
}

// SAFETY (each block here): what the tests pass, see Calls.
#[allow(clippy::undocumented_unsafe_blocks, reason = "said once, above")]
pub(crate) const KERNEL: Calls = Calls {
    eventfd: |initval, flags| Errno::result(unsafe { libc::eventfd(initval, flags) }),
    timerfd_create: |clock, flags| Errno::result(unsafe { libc::timerfd_create(clock, flags) }),
    settime: |fd, flags, new, old| {
        Errno::result(unsafe { libc::timerfd_settime(fd, flags, new, old) }).map(drop)
    },
    gettime: |fd, now| Errno::result(unsafe { libc::timerfd_gettime(fd, now) }).map(drop),
    signalfd: |fd, mask, flags| Errno::result(unsafe { libc::signalfd(fd, mask, flags) }),
    read: |fd, buf| {
        let n = unsafe { libc::read(fd, buf.as_mut_ptr().cast(), buf.len()) };
        Errno::result(n).map(|n| n as usize)
    },
    write: |fd, bytes| {
        let n = unsafe { libc::write(fd, bytes.as_ptr().cast(), bytes.len()) };
        Errno::result(n).map(|n| n as usize)
    },
    fcntl: |fd, cmd, arg| Errno::result(unsafe { libc::fcntl(fd, cmd, arg) }),
    epoll: epoll::KERNEL,
};

// SAFETY (each block here): as above.
#[allow(clippy::undocumented_unsafe_blocks, reason = "said once, above")]
#[cfg(kqcompat_native)]
pub(crate) const OURS: Calls = {
    use kq_core::objects;
    Calls {
        eventfd: objects::eventfd,
        timerfd_create: objects::timerfd_create,
        settime: |fd, flags, new, old| unsafe {
            objects::timerfd_settime(fd, flags, new.cast(), old.cast())
        },
        gettime: |fd, now| unsafe { objects::timerfd_gettime(fd, now.cast()) },
        signalfd: |fd, mask, flags| unsafe { objects::signalfd(fd, mask, flags) },
        read: |fd, buf| unsafe { objects::read(fd, buf.as_mut_ptr().cast(), buf.len()) },
        write: |fd, bytes| unsafe { objects::write(fd, bytes.as_ptr().cast(), bytes.len()) },
        fcntl: |fd, cmd, arg| unsafe { objects::fcntl(fd, cmd, arg as isize) },
        epoll: crate::backend::COMPAT,
    }
};
