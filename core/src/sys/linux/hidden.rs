//! Descriptors of our own that the program shall not stumble over.

use std::os::fd::RawFd;
use std::sync::atomic::{AtomicU32, Ordering};

use super::raw::{self, Result};
use crate::hooks::numbers::NUMBERS;

/// Which of our descriptors was hidden at a number last: each has a serial number of its own. (A plain
/// array in .bss, as that of the hooks: no allocation and no lock, so that a signal handler may use it.)
static LAST: [AtomicU32; NUMBERS] = [const { AtomicU32::new(0) }; NUMBERS];
static SERIAL: AtomicU32 = AtomicU32::new(0);

/// A hidden descriptor of ours. Where the program has closed its number by a raw system call, another of
/// ours may lie there by now: this tells the two apart.
#[cfg(not(kqcompat_native))]
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Own {
    fd: RawFd,
    serial: u32,
}

#[cfg(not(kqcompat_native))]
impl Own {
    /// The one that was hidden at a number just now.
    pub(crate) fn at(fd: RawFd) -> Self {
        Self { fd, serial: last(fd) }
    }

    pub(crate) fn new(fd: RawFd, serial: u32) -> Self {
        Self { fd, serial }
    }

    pub(crate) fn number(self) -> RawFd {
        self.fd
    }

    pub(crate) fn serial(self) -> u32 {
        self.serial
    }

    /// For an atomic.
    pub(crate) fn to_bits(self) -> u64 {
        u64::from(self.serial) << 32 | u64::from(self.fd as u32)
    }

    pub(crate) fn from_bits(bits: u64) -> Self {
        Self { fd: bits as u32 as RawFd, serial: (bits >> 32) as u32 }
    }

    /// Whether none of ours was hidden at the number since. False: the program has closed it.
    pub(crate) fn is_last(self) -> bool {
        last(self.fd) == self.serial
    }
}

#[cfg(not(kqcompat_native))]
fn last(fd: RawFd) -> u32 {
    LAST.get(fd as usize).map_or(0, |serial| serial.load(Ordering::Acquire))
}

/// Where hidden descriptors begin, if the descriptor limit permits. Programs expect the lowest
/// free number for theirs, so ours lie above those in use; but not far above, since a table that
/// has grown makes each fork slower.
const FLOORS: [i32; 4] = [1000, 500, 240, 100];

/// Moves a new descriptor of ours to a high number, close-on-exec. Where there is no room up there
/// it stays where it is, which is no error.
///
/// The number it was made at is free again afterwards. That it was taken for a moment cannot be
/// avoided: no system call makes a descriptor at a number of our choice.
pub fn hide(fd: RawFd) -> RawFd {
    let hidden = move_up(fd);
    if let Some(last) = LAST.get(hidden as usize) {
        last.store(SERIAL.fetch_add(1, Ordering::Relaxed).wrapping_add(1), Ordering::Release);
    }
    hidden
}

fn move_up(fd: RawFd) -> RawFd {
    for floor in FLOORS {
        match raw::fcntl(fd, libc::F_DUPFD_CLOEXEC, floor) {
            Ok(high) => {
                // The number is ours alone, so closing it cannot fail in a way that matters.
                let _ = raw::close(fd);
                return high;
            }
            // EINVAL: the floor lies over RLIMIT_NOFILE. EMFILE: nothing free above it.
            Err(_) => continue,
        }
    }
    fd
}

/// Makes a descriptor with `make` and hides it.
///
/// # Errors
/// What `make` says.
pub fn hidden(make: impl FnOnce() -> Result<RawFd>) -> Result<RawFd> {
    make().map(hide)
}
