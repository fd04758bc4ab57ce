//! signalfd(2) where the system has none, with the names of `nix::sys::signalfd`.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use bitflags::bitflags;
use kq_core::objects;
pub use kq_core::objects::SignalInfo as siginfo;
use libc::c_int;
use nix::Result;
use nix::errno::Errno;
pub use nix::sys::signal::SigSet;

bitflags! {
    /// How a signalfd is made (signalfd(2)).
    #[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
    pub struct SfdFlags: c_int {
        /// It does not block.
        const SFD_NONBLOCK = objects::SFD_NONBLOCK;
        /// It is closed on exec.
        const SFD_CLOEXEC = objects::SFD_CLOEXEC;
    }
}

/// Signals that are read. The program blocks them, as with nix's.
///
/// Its descriptor is a queue's: only what is here takes a signal from it.
#[derive(Debug)]
pub struct SignalFd(OwnedFd);

impl SignalFd {
    /// [`SignalFd::with_flags`] without flags.
    ///
    /// # Errors
    /// As there.
    pub fn new(mask: &SigSet) -> Result<Self> {
        Self::with_flags(mask, SfdFlags::empty())
    }

    /// `signalfd(-1, mask, flags)` - makes one (signalfd(2)).
    ///
    /// # Errors
    /// - `EMFILE`, `ENFILE`, `ENOMEM`: as kqueue(2) says.
    #[doc(alias("signalfd"))]
    pub fn with_flags(mask: &SigSet, flags: SfdFlags) -> Result<Self> {
        // SAFETY: the mask is a reference.
        let fd = unsafe { objects::signalfd(-1, mask.as_ref(), flags.bits()) }?;
        // SAFETY: made just now, and known to nobody else.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// `signalfd(fd, mask)` - has it read these signals from now on (signalfd(2)).
    ///
    /// # Errors
    /// - `ENOMEM`: there is no memory for a knote.
    pub fn set_mask(&self, mask: &SigSet) -> Result<()> {
        // SAFETY: the mask is a reference.
        unsafe { objects::signalfd(self.as_raw_fd(), mask.as_ref(), 0) }.map(drop)
    }

    /// `read(fd)` - takes a signal, and waits for one unless it is not to block; None where there is
    /// none then.
    ///
    /// # Errors
    /// - `EINTR`: a signal handler ran.
    pub fn read_signal(&self) -> Result<Option<siginfo>> {
        let mut info = siginfo::default();
        let room = size_of::<siginfo>();
        // SAFETY: an info of ours.
        match unsafe { objects::read(self.as_raw_fd(), (&raw mut info).cast(), room) } {
            Ok(_) => Ok(Some(info)),
            Err(Errno::EAGAIN) => Ok(None),
            Err(errno) => Err(errno),
        }
    }
}

impl AsFd for SignalFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl AsRawFd for SignalFd {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

impl From<SignalFd> for OwnedFd {
    fn from(signals: SignalFd) -> Self {
        signals.0
    }
}
