//! The two rings that we share with the kernel: what is to be done, and what is done.
//!
//! One entry is submitted at a time, in the call that puts it there, so the first ring is empty
//! between two calls. What is under way is never more than the second ring has room for, so that it
//! cannot overflow: who uses the ring keeps count ([`Ring::room`]).
//!
//! (The crate io-uring goes through libc's `syscall`, `mmap` and `close`, which may be exports of
//! ours; so its part that would serve here, some 100 lines, is done by raw calls.)

use std::os::fd::RawFd;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, Ordering};

use libc::c_void;
use linux_raw_sys::io_uring::{
    IORING_ENTER_GETEVENTS, IORING_FEAT_SINGLE_MMAP, IORING_OFF_SQ_RING, IORING_OFF_SQES,
    IORING_SETUP_CQSIZE, io_uring_cqe, io_uring_params, io_uring_sqe,
};
use nix::errno::Errno;

use crate::sys::linux::hidden::Own;
use crate::sys::linux::raw::{self, Result};
use crate::sys::linux::{registered, roll};

/// One thing to do: the kernel's `struct io_uring_sqe`, without the names that it has for the same
/// place.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub(crate) struct Entry {
    pub(crate) opcode: u8,
    pub(crate) flags: u8,
    pub(crate) ioprio: u16,
    pub(crate) fd: i32,
    pub(crate) offset: u64,
    pub(crate) address: u64,
    pub(crate) len: u32,
    pub(crate) op_flags: u32,
    /// Comes back with the completion.
    pub(crate) token: u64,
    pub(crate) rest: [u64; 3],
}

const _: () = assert!(size_of::<Entry>() == size_of::<io_uring_sqe>());

/// What came of one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Done {
    pub(crate) token: u64,
    /// As of a system call: a number, or an errno, negative.
    pub(crate) result: i32,
}

/// See the module. Who has it closes the descriptor, and looks whether that is still the ring: the
/// program may have closed it.
#[derive(Debug)]
pub(crate) struct Ring {
    pub(crate) own: Own,
    params: io_uring_params,
    rings: Mapping,
    entries: Mapping,
}

#[derive(Debug)]
struct Mapping {
    at: NonNull<c_void>,
    len: usize,
}

// SAFETY: memory that the ring owns; whoever has `&mut Ring` is the only one on our side.
unsafe impl Send for Ring {}

impl Ring {
    /// Makes one with room for `most` completions, or, on an old kernel or with little memory that
    /// may be locked (before Linux 5.12), for fewer.
    ///
    /// # Errors
    /// - `ENOSYS`: there is no io_uring here, or it is forbidden (kernel.io_uring_disabled, a seccomp
    ///   filter).
    /// - `EMFILE`, `ENFILE`, `ENOMEM`: no descriptor, or no memory.
    pub(crate) fn new(most: u32) -> Result<Self> {
        // SAFETY: numbers only, for which zero is a value.
        let mut params: io_uring_params = unsafe { std::mem::zeroed() };
        let own = roll::hidden(|| Self::set_up(most, &mut params))?;
        Self::map(own, params).inspect_err(|_| registered::close(-1, own))
    }

    fn set_up(mut most: u32, params: &mut io_uring_params) -> Result<RawFd> {
        /// One entry is submitted at a time.
        const SUBMITTED: u32 = 8;
        loop {
            // SAFETY: as in `new`.
            *params = unsafe { std::mem::zeroed() };
            params.flags = IORING_SETUP_CQSIZE;
            params.cq_entries = most;
            let made = match raw::io_uring_setup(SUBMITTED, params) {
                Err(Errno::EINVAL) => {
                    // Before Linux 5.5 it is twice the other ring's.
                    // SAFETY: as above.
                    *params = unsafe { std::mem::zeroed() };
                    raw::io_uring_setup(most / 2, params)
                }
                made => made,
            };
            match made {
                Err(Errno::ENOMEM) if most > 64 => most /= 4,
                Err(Errno::EPERM | Errno::EACCES | Errno::EINVAL) => return Err(Errno::ENOSYS),
                made => return made,
            }
        }
    }

    fn map(own: Own, params: io_uring_params) -> Result<Self> {
        if params.features & IORING_FEAT_SINGLE_MMAP == 0 {
            return Err(Errno::ENOSYS); // before Linux 5.4
        }
        let submitted = params.sq_off.array as usize + 4 * params.sq_entries as usize;
        let completed =
            params.cq_off.cqes as usize + size_of::<io_uring_cqe>() * params.cq_entries as usize;
        let fd = own.number();
        let rings = Mapping::new(submitted.max(completed), fd, IORING_OFF_SQ_RING)?;
        let len = size_of::<Entry>() * params.sq_entries as usize;
        let entries = Mapping::new(len, fd, IORING_OFF_SQES)?;
        let ring = Self { own, params, rings, entries };
        for at in 0..params.sq_entries {
            // Each place of the ring means the entry of its own number, now and for ever.
            ring.word(params.sq_off.array + 4 * at).store(at, Ordering::Relaxed);
        }
        Ok(ring)
    }

    /// How many may be under way at once.
    pub(crate) fn room(&self) -> usize {
        self.params.cq_entries as usize
    }

    /// A number in the shared memory, by its offset.
    fn word(&self, offset: u32) -> &AtomicU32 {
        // SAFETY: the kernel gave the offset of an aligned u32 within the mapping, which lives as
        // long as `self`; the kernel changes it too, so it is an atomic.
        unsafe { self.rings.at.byte_add(offset as usize).cast().as_ref() }
    }

    /// Submits one entry.
    ///
    /// # Errors
    /// - `EAGAIN`, `ENOMEM`, `EBUSY`: the kernel cannot take it now. Nothing was submitted.
    ///
    /// # Safety
    /// What the entry points to stays where it is until it is done, and belongs to nobody else where
    /// the kernel is to write.
    pub(crate) unsafe fn submit(&mut self, entry: Entry) -> Result<()> {
        let tail = self.word(self.params.sq_off.tail);
        let at = tail.load(Ordering::Relaxed);
        let place = (at & (self.params.sq_entries - 1)) as usize;
        // SAFETY: within the mapping; the kernel has taken all earlier entries, so this one is ours.
        unsafe { self.entries.at.cast::<Entry>().add(place).write(entry) };
        tail.store(at.wrapping_add(1), Ordering::Release);
        // SAFETY: the caller's promise.
        let taken = unsafe { raw::io_uring_enter(self.own.number(), 1, 0, 0) };
        if taken == Ok(1) {
            return Ok(());
        }
        // The kernel looks at the tail in the call only: it can be taken back.
        tail.store(at, Ordering::Release);
        Err(taken.err().unwrap_or(Errno::EAGAIN))
    }

    /// Waits for a completion. There must be one to come.
    pub(crate) fn wait(&self) {
        // SAFETY: submits nothing. An interrupted wait is the caller's to begin again.
        let _ = unsafe { raw::io_uring_enter(self.own.number(), 0, 1, IORING_ENTER_GETEVENTS) };
    }

    /// How many completions there are.
    pub(crate) fn ready(&self) -> u32 {
        let offsets = &self.params.cq_off;
        let head = self.word(offsets.head).load(Ordering::Relaxed);
        self.word(offsets.tail).load(Ordering::Acquire).wrapping_sub(head)
    }

    /// The next completion.
    pub(crate) fn take(&mut self) -> Option<Done> {
        let offsets = &self.params.cq_off;
        let head = self.word(offsets.head);
        let at = head.load(Ordering::Relaxed);
        if at == self.word(offsets.tail).load(Ordering::Acquire) {
            return None;
        }
        let place = (at & (self.params.cq_entries - 1)) as usize * size_of::<io_uring_cqe>();
        // SAFETY: within the mapping; below the tail the kernel has filled it, and it does not write
        // there again before the head has moved on.
        let done = unsafe {
            let cqe = self.rings.at.byte_add(offsets.cqes as usize + place).cast::<io_uring_cqe>();
            let cqe = cqe.as_ptr();
            Done {
                token: (&raw const (*cqe).user_data).read(),
                result: (&raw const (*cqe).res).read(),
            }
        };
        head.store(at.wrapping_add(1), Ordering::Release);
        Some(done)
    }
}

impl Mapping {
    fn new(len: usize, fd: RawFd, offset: u32) -> Result<Self> {
        let at = raw::mmap_shared(len, fd, u64::from(offset))?;
        Ok(Self { at: NonNull::new(at).ok_or(Errno::ENOMEM)?, len })
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: mapped by `new`, and its one user is being dropped.
        let _ = unsafe { raw::munmap(self.at.as_ptr(), self.len) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use linux_raw_sys::io_uring::io_uring_op;

    #[test]
    fn what_is_submitted_comes_back_in_any_number() {
        let mut ring = match Ring::new(64) {
            Err(Errno::ENOSYS) => return println!("skipped: there is no io_uring"),
            made => made.unwrap(),
        };
        assert!(ring.take().is_none());
        let nop = io_uring_op::IORING_OP_NOP as u8;
        for round in 0..10_u64 {
            let tokens = round * 100..round * 100 + ring.room() as u64;
            for token in tokens.clone() {
                // SAFETY: points to nothing.
                unsafe { ring.submit(Entry { opcode: nop, token, ..Entry::default() }) }.unwrap();
            }
            let mut came: Vec<u64> = std::iter::from_fn(|| ring.take()).map(|d| d.token).collect();
            came.sort_unstable();
            assert_eq!(came, tokens.collect::<Vec<_>>());
        }
        registered::close(-1, ring.own);
    }
}
