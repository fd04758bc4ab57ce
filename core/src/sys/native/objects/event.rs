//! eventfd: a number that is added to and taken.

use std::os::fd::RawFd;

use libc::{c_int, c_uint};
use nix::errno::Errno;

use super::bell::Bell;
use super::{State, create, guarded};

/// Each read takes 1.
pub const EFD_SEMAPHORE: c_int = 1;
/// It is closed on exec.
pub const EFD_CLOEXEC: c_int = libc::O_CLOEXEC;
/// It does not block.
pub const EFD_NONBLOCK: c_int = libc::O_NONBLOCK;

/// It holds one less than a u64 does.
const MOST: u64 = u64::MAX - 1;

/// An eventfd.
#[derive(Debug)]
pub(super) struct Counter {
    count: u64,
    is_semaphore: bool,
    bell: Bell,
}

/// `eventfd(initval, flags)` - makes a counter that can be waited for (eventfd(2)); returns its
/// descriptor. It is read and written by [`super::read`] and [`super::write`].
///
/// # Errors
/// - `EINVAL`: an unknown flag.
/// - `EMFILE`, `ENFILE`, `ENOMEM`: as kqueue(2) says.
pub fn eventfd(initval: c_uint, flags: c_int) -> Result<RawFd, Errno> {
    if flags & !(EFD_SEMAPHORE | EFD_CLOEXEC | EFD_NONBLOCK) != 0 {
        return Err(Errno::EINVAL);
    }
    let counter =
        Counter { count: 0, is_semaphore: flags & EFD_SEMAPHORE != 0, bell: Bell::default() };
    guarded(|| {
        let (cloexec, nonblock) = (flags & EFD_CLOEXEC != 0, flags & EFD_NONBLOCK != 0);
        create(State::Event(counter), cloexec, nonblock, |state, kq| match state {
            State::Event(counter) => counter.add(kq, initval.into()),
            _ => Ok(()),
        })
    })
}

impl Counter {
    /// Takes all of it, or 1.
    ///
    /// # Errors
    /// - `EAGAIN`: it is 0.
    pub(super) fn take(&mut self, kq: RawFd) -> Result<u64, Errno> {
        if self.count == 0 {
            return Err(Errno::EAGAIN);
        }
        let taken = if self.is_semaphore { 1 } else { self.count };
        self.count -= taken;
        if self.count == 0 {
            self.bell.hush(kq);
        }
        Ok(taken)
    }

    /// Adds to it.
    ///
    /// # Errors
    /// - `EAGAIN`: it does not hold so much.
    /// - `EINVAL`: no counter holds so much.
    pub(super) fn add(&mut self, kq: RawFd, number: u64) -> Result<(), Errno> {
        if number > MOST {
            return Err(Errno::EINVAL);
        }
        let sum = self.count.checked_add(number).filter(|sum| *sum <= MOST);
        let sum = sum.ok_or(Errno::EAGAIN)?;
        if sum > 0 {
            self.bell.ring(kq)?;
        }
        self.count = sum;
        Ok(())
    }
}
