//! The program's descriptors: which number stands for which file.

use std::os::fd::{AsRawFd, OwnedFd, RawFd};

use kq_core::{abi, raw};
use libc::{O_NONBLOCK, POLLIN, POLLOUT, POLLPRI, POLLRDHUP};

use super::program::{SLOTS, Slot};

/// Whether the library is told of a close before it happens.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Closing {
    /// As by the C libraries' hooks.
    Hooked,
    /// As in a Rust program.
    Silent,
}

/// An open file. Its peer is the same with the lowest bit turned.
pub(crate) type File = u32;

/// poll's bits of all files, at one moment.
pub(crate) struct Look([(Option<File>, i16); SLOTS]);

impl Look {
    pub(crate) fn bits(&self, file: File) -> i16 {
        self.0.iter().find(|(of, _)| *of == Some(file)).map_or(0, |(_, bits)| *bits)
    }
}

/// See the module. All that is asked of a file is asked through a number that stands for it.
pub(crate) struct World {
    base: RawFd,
    closing: Closing,
    slots: [Option<File>; SLOTS],
    next: File,
}

impl World {
    pub(crate) fn new(base: RawFd, closing: Closing) -> Self {
        Self { base, closing, slots: [None; SLOTS], next: 0 }
    }

    pub(crate) fn fd(&self, slot: Slot) -> RawFd {
        self.base + slot as RawFd
    }

    pub(crate) fn slot(&self, fd: usize) -> Option<Slot> {
        fd.checked_sub(self.base as usize).filter(|&slot| slot < SLOTS)
    }

    pub(crate) fn file(&self, slot: Slot) -> Option<File> {
        self.slots[slot]
    }

    /// A number that stands for a file.
    pub(crate) fn any_slot(&self, file: File) -> Option<Slot> {
        (0..SLOTS).find(|&slot| self.slots[slot] == Some(file))
    }

    /// What poll(2) says of each open file.
    pub(crate) fn look(&self) -> Look {
        let events = POLLIN | POLLOUT | POLLPRI | POLLRDHUP;
        let mut entries: [libc::pollfd; SLOTS] = std::array::from_fn(|slot| {
            let fd = if self.slots[slot].is_some() { self.fd(slot) } else { -1 };
            libc::pollfd { fd, events, revents: 0 }
        });
        // SAFETY: as many entries as said.
        assert!(unsafe { libc::poll(entries.as_mut_ptr(), SLOTS as libc::nfds_t, 0) } >= 0);
        Look(std::array::from_fn(|slot| (self.slots[slot], entries[slot].revents)))
    }

    /// Bytes to read.
    pub(crate) fn unread(&self, file: File) -> i64 {
        let slot = self.any_slot(file).expect("asked of an open file");
        let mut bytes = 0;
        // SAFETY: FIONREAD writes one int.
        assert_eq!(unsafe { libc::ioctl(self.fd(slot), libc::FIONREAD, &mut bytes) }, 0);
        i64::from(bytes)
    }

    /// The number is about to stand for nothing, or another file.
    fn let_go(&mut self, slot: Slot) {
        if self.slots[slot].take().is_some() && self.closing == Closing::Hooked {
            abi::closing(self.fd(slot));
        }
    }

    pub(crate) fn close(&mut self, slot: Slot) {
        if self.slots[slot].is_some() {
            self.let_go(slot);
            raw::close(self.fd(slot)).unwrap();
        }
    }

    pub(crate) fn dup(&mut self, from: Slot, to: Slot) {
        let Some(file) = self.slots[from].filter(|_| from != to) else { return };
        self.let_go(to);
        self.place(self.fd(from), to, file);
    }

    fn place(&mut self, from: RawFd, to: Slot, file: File) {
        // (Raw: where the C library is linked, its dup2 tells of closes.)
        raw::dup3(from, self.fd(to), 0).unwrap();
        self.slots[to] = Some(file);
    }

    pub(crate) fn pair(&mut self, slots: (Slot, Slot), pipe: bool) {
        let ends: [OwnedFd; 2] = if pipe {
            let (reader, writer) = std::io::pipe().unwrap();
            [reader.into(), writer.into()]
        } else {
            let (a, b) = std::os::unix::net::UnixStream::pair().unwrap();
            [a.into(), b.into()]
        };
        for (end, slot) in ends.iter().zip([slots.0, slots.1]) {
            // SAFETY: takes no pointer.
            assert_eq!(unsafe { libc::fcntl(end.as_raw_fd(), libc::F_SETFL, O_NONBLOCK) }, 0);
            self.let_go(slot);
            self.place(end.as_raw_fd(), slot, self.next);
            self.next += 1;
        }
    }

    /// Writes; says whether anything was written.
    pub(crate) fn write(&self, slot: Slot, bytes: usize) -> bool {
        let data = [0_u8; 5000];
        // SAFETY: `data` is longer than any `bytes`. MSG_NOSIGNAL is not for pipes: SIGPIPE is
        // ignored in Rust programs.
        unsafe { libc::write(self.fd(slot), data.as_ptr().cast(), bytes) > 0 }
    }

    /// Reads; says whether anything was read.
    pub(crate) fn read(&self, slot: Slot, bytes: usize) -> bool {
        let mut data = [0_u8; 5000];
        // SAFETY: as above.
        unsafe { libc::read(self.fd(slot), data.as_mut_ptr().cast(), bytes) > 0 }
    }

    pub(crate) fn shutdown(&self, slot: Slot, how: i32) {
        // SAFETY: takes no pointer; an error (a pipe) is none of ours.
        unsafe { libc::shutdown(self.fd(slot), how) };
    }
}

impl Drop for World {
    fn drop(&mut self) {
        for slot in 0..SLOTS {
            self.close(slot);
        }
    }
}
