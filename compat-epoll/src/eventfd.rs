//! eventfd(2) where the system has none, with the names of `nix::sys::eventfd`.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use bitflags::bitflags;
use kq_core::objects;
use libc::c_int;
use nix::Result;

bitflags! {
    /// How an eventfd is made (eventfd(2)).
    #[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
    pub struct EfdFlags: c_int {
        /// It is closed on exec.
        const EFD_CLOEXEC = objects::EFD_CLOEXEC;
        /// It does not block.
        const EFD_NONBLOCK = objects::EFD_NONBLOCK;
        /// Each read takes 1.
        const EFD_SEMAPHORE = objects::EFD_SEMAPHORE;
    }
}

/// A number that is added to and taken, and can be waited for while it is not 0.
///
/// Its descriptor is a queue's: of read(2) and write(2) only those of here know what it counts.
#[derive(Debug)]
#[repr(transparent)]
pub struct EventFd(pub OwnedFd);

impl EventFd {
    /// [`EventFd::from_value_and_flags`] with 0 and no flags.
    ///
    /// # Errors
    /// As there.
    pub fn new() -> Result<Self> {
        Self::from_value_and_flags(0, EfdFlags::empty())
    }

    /// `eventfd(init_val, flags)` - makes one that begins with a number (eventfd(2)).
    ///
    /// # Errors
    /// - `EMFILE`, `ENFILE`, `ENOMEM`: as kqueue(2) says.
    #[doc(alias = "eventfd")]
    pub fn from_value_and_flags(init_val: u32, flags: EfdFlags) -> Result<Self> {
        let fd = objects::eventfd(init_val, flags.bits())?;
        // SAFETY: made just now, and known to nobody else.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// [`EventFd::from_value_and_flags`] with 0.
    ///
    /// # Errors
    /// As there.
    pub fn from_flags(flags: EfdFlags) -> Result<Self> {
        Self::from_value_and_flags(0, flags)
    }

    /// [`EventFd::from_value_and_flags`] without flags.
    ///
    /// # Errors
    /// As there.
    pub fn from_value(init_val: u32) -> Result<Self> {
        Self::from_value_and_flags(init_val, EfdFlags::empty())
    }

    /// `write(fd, value)` - adds a number, and waits for room unless it is not to block.
    ///
    /// # Errors
    /// - `EAGAIN`: there is no room for the number, and it does not block.
    /// - `EINVAL`: the number is `u64::MAX`.
    /// - `EINTR`: a signal handler ran.
    #[doc(alias = "eventfd_write")]
    pub fn write(&self, value: u64) -> Result<usize> {
        // SAFETY: a number of ours.
        unsafe { objects::write(self.as_raw_fd(), (&raw const value).cast(), size_of::<u64>()) }
    }

    /// `read(fd)` - takes the number, or 1 of it, and waits for it unless it is not to block.
    ///
    /// # Errors
    /// - `EAGAIN`: it is 0, and does not block.
    /// - `EINTR`: a signal handler ran.
    #[doc(alias = "eventfd_read")]
    pub fn read(&self) -> Result<u64> {
        let mut value = 0_u64;
        // SAFETY: a number of ours.
        unsafe { objects::read(self.as_raw_fd(), (&raw mut value).cast(), size_of::<u64>()) }?;
        Ok(value)
    }
}

impl AsFd for EventFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl AsRawFd for EventFd {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

impl From<EventFd> for OwnedFd {
    fn from(eventfd: EventFd) -> Self {
        eventfd.0
    }
}
