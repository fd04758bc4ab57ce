//! Holding on to the file of a request.
//!
//! A request that takes more than one step, or that the kernel begins later, must go on with the
//! file that it began with, whatever becomes of the number. The ring has a table for that. (Not a
//! duplicate at a number of our own: closing that would drop the program's record locks, fcntl(2).)

use std::os::fd::RawFd;

use linux_raw_sys::io_uring::io_uring_sqe_flags_bit::IOSQE_FIXED_FILE_BIT;
use nix::errno::Errno;

use super::ring::{Entry, Ring};
use crate::sys::linux::raw::{self, Result};

/// The file of a request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum File {
    /// By the program's number: for what the kernel begins within the call that submits it.
    Number(RawFd),
    /// By its place in the ring's table.
    Held(u32),
}

impl File {
    pub(super) fn put_into(self, entry: &mut Entry) {
        match self {
            Self::Number(fd) => entry.fd = fd,
            Self::Held(place) => {
                entry.fd = place as i32;
                entry.flags |= 1 << IOSQE_FIXED_FILE_BIT as u8;
            }
        }
    }
}

/// The table. Made when first needed.
#[derive(Debug, Default)]
pub(super) struct Files {
    /// None: there is no table yet, or (before Linux 5.5) there cannot be one.
    free: Option<Vec<u32>>,
    impossible: bool,
}

impl Files {
    /// Takes hold of a file. (Before Linux 5.5 that cannot be done: then it goes by its number.)
    ///
    /// # Errors
    /// - `EAGAIN`: the table is full.
    /// - `EBADF`: there is no such descriptor.
    pub(super) fn hold(&mut self, ring: &Ring, fd: RawFd) -> Result<File> {
        if self.free.is_none() && !self.impossible {
            self.make(ring);
        }
        if self.impossible {
            return Ok(File::Number(fd));
        }
        let free = self.free.get_or_insert_default();
        let place = free.pop().ok_or(Errno::EAGAIN)?;
        raw::io_uring_update_file(ring.own.number(), place, fd)
            .inspect_err(|_| free.push(place))?;
        Ok(File::Held(place))
    }

    /// Lets go of it.
    pub(super) fn release(&mut self, ring: &Ring, file: File) {
        if let (File::Held(place), Some(free)) = (file, &mut self.free) {
            let _ = raw::io_uring_update_file(ring.own.number(), place, -1);
            free.push(place);
        }
    }

    /// A request has two files at most. The kernel wants no more places than the process may have
    /// descriptors.
    fn make(&mut self, ring: &Ring) {
        let mut places = 2 * ring.room();
        loop {
            match raw::io_uring_register_files(ring.own.number(), places) {
                Ok(()) => self.free = Some((0..places as u32).rev().collect()),
                Err(Errno::EMFILE | Errno::ENOMEM) if places > 2 => {
                    places /= 2;
                    continue;
                }
                Err(_) => self.impossible = true,
            }
            return;
        }
    }
}
