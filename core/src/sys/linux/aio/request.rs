//! One asynchronous request: what it is to do, how far it is, and which step comes next.

use std::os::fd::RawFd;

use linux_raw_sys::io_uring::io_uring_op::{self, *};
use linux_raw_sys::io_uring::{IORING_FSYNC_DATASYNC, io_uring_sqe_flags_bit::IOSQE_ASYNC_BIT};
use nix::errno::Errno;

use super::files::File;
use super::ring::Entry;
use crate::sys::linux::raw::Result;

/// What a request does.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Deed {
    /// Reads once, what is there.
    Read,
    /// Writes all.
    Write,
    /// Has what was written reach the disk; of the requests before it on this descriptor too.
    Sync {
        /// Without what is not needed to read it back (fdatasync).
        data_only: bool,
    },
    /// Sends all.
    Send {
        /// MSG_ flags of send(2).
        flags: i32,
    },
    /// Receives as much as was asked for, unless the other side ends before.
    Recv {
        /// MSG_ flags of recv(2).
        flags: i32,
    },
    /// Sends a file's bytes.
    SendFile {
        /// The file.
        source: RawFd,
    },
}

/// Where the bytes are.
#[derive(Debug)]
pub(crate) enum Buffer {
    /// Ours until the request is given back. Nobody looks at it before: the kernel may be writing.
    Owned(Vec<u8>),
    /// A C program's, which promises to leave it alone until then.
    Theirs(*mut u8, usize),
}

impl Buffer {
    /// A place that holds nothing.
    pub(crate) const NONE: Self = Self::Theirs(std::ptr::null_mut(), 0);

    /// For what of a file is on its way.
    pub(crate) fn for_file(bytes: u64) -> Self {
        const MOST: usize = 64 * 1024;
        Self::Owned(vec![0; usize::try_from(bytes).unwrap_or(MOST).min(MOST)])
    }

    fn bytes(&mut self) -> (*mut u8, usize) {
        match self {
            Self::Owned(bytes) => (bytes.as_mut_ptr(), bytes.len()),
            Self::Theirs(at, len) => (*at, *len),
        }
    }
}

/// How a request ended.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// How many bytes were moved, also where it failed.
    pub(crate) moved: u64,
    pub(crate) error: Option<Errno>,
}

#[derive(Debug)]
pub(super) enum State {
    /// Waits for the requests before it (Sync).
    Queued,
    /// The kernel has a step of it.
    Moving,
    /// The kernel tells when the descriptor is ready: it does not block, and so a step failed.
    Awaiting,
    Over(Outcome),
}

/// What there is to be done after a step.
#[derive(Debug, Eq, PartialEq)]
pub(super) enum Next {
    Step,
    Over(Option<Errno>),
}

/// What is known of the file.
#[derive(Clone, Copy, Debug)]
pub(super) struct Nature {
    pub(super) file: File,
    /// A file or a block device, which is never waited for.
    pub(super) regular: bool,
    pub(super) nonblocking: bool,
    /// A socket that keeps the bounds of messages.
    pub(super) datagrams: bool,
    /// It has an offset.
    pub(super) seekable: bool,
}

/// What the kernel reads while it has a step.
#[derive(Debug)]
struct Step {
    vector: libc::iovec,
    message: libc::msghdr,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) ident: usize,
    pub(super) fd: RawFd,
    pub(super) deed: Deed,
    pub(super) nature: Nature,
    /// SendFile: the file.
    pub(super) source: Option<File>,
    pub(super) buffer: Buffer,
    pub(super) list: Option<usize>,
    pub(super) state: State,
    /// Its name is a C program's, who will ask for it by that.
    pub(super) named: bool,
    /// Somebody wants it to end.
    pub(super) cancelled: bool,
    /// Nobody will ask for its outcome.
    pub(super) abandoned: bool,
    /// Nobody is to be woken for it.
    pub(super) quiet: bool,
    /// To be begun by a thread of the kernel's, which may block.
    in_thread: bool,
    /// Where the bytes are, and how many the buffer holds.
    at: *mut u8,
    room: usize,
    asked: u64,
    moved: u64,
    offset: u64,
    /// SendFile: what of the buffer is still to be sent.
    chunk: (usize, usize),
    step: Box<Step>,
}

// SAFETY: the pointers are to memory that stays where it is until the request is over, and that only
// the kernel looks at until then.
unsafe impl Send for Request {}

impl Request {
    pub(super) fn new(deed: Deed, fd: RawFd, nature: Nature, mut buffer: Buffer) -> Self {
        let (at, room) = buffer.bytes();
        // SAFETY: numbers and pointers only, for which zero is a value.
        let step = Box::new(unsafe { std::mem::zeroed::<Step>() });
        Self {
            ident: std::ptr::from_ref(&*step) as usize,
            fd,
            deed,
            nature,
            source: None,
            buffer,
            list: None,
            state: State::Queued,
            named: false,
            cancelled: false,
            abandoned: false,
            quiet: false,
            in_thread: false,
            at,
            room,
            asked: room as u64,
            moved: 0,
            offset: 0,
            chunk: (0, 0),
            step,
        }
    }

    /// Where in the file it begins.
    pub(super) fn begin_at(&mut self, offset: u64) {
        self.offset = offset;
    }

    /// SendFile: how many bytes of the file.
    pub(super) fn ask(&mut self, bytes: u64) {
        self.asked = bytes;
    }

    pub(super) fn is_over(&self) -> bool {
        matches!(self.state, State::Over(_))
    }

    /// Whether there is nothing to be done.
    pub(super) fn is_empty(&self) -> bool {
        let moves = !matches!(self.deed, Deed::Read | Deed::Write | Deed::Sync { .. });
        moves && self.asked == 0
    }

    /// Whether one step is all there is, if all goes well.
    pub(super) fn is_one_step(&self) -> bool {
        match self.deed {
            Deed::Read | Deed::Sync { .. } => !self.nature.nonblocking,
            Deed::Write => self.nature.regular,
            _ => false,
        }
    }

    pub(super) fn outcome(&self, error: Option<Errno>) -> Outcome {
        Outcome { moved: self.moved, error }
    }

    /// SendFile: whether the next step reads the file.
    fn reads_source(&self) -> bool {
        self.source.is_some() && self.chunk.0 == self.chunk.1
    }

    /// The next step, for the kernel.
    pub(super) fn entry(&mut self) -> Entry {
        let mut entry = Entry::default();
        let opcode = if matches!(self.state, State::Awaiting) {
            self.nature.file.put_into(&mut entry);
            let input = matches!(self.deed, Deed::Read | Deed::Recv { .. });
            entry.op_flags = if input { libc::POLLIN } else { libc::POLLOUT } as u32;
            IORING_OP_POLL_ADD
        } else {
            self.step_into(&mut entry)
        };
        entry.opcode = opcode as u8;
        if self.in_thread {
            entry.flags |= 1 << IOSQE_ASYNC_BIT as u8;
        }
        entry
    }

    fn step_into(&mut self, entry: &mut Entry) -> io_uring_op {
        let file = match self.source {
            Some(source) if self.reads_source() => source,
            _ => self.nature.file,
        };
        file.put_into(entry);
        let moved = self.moved as usize;
        let offset = if self.nature.seekable { self.offset + self.moved } else { 0 };
        let message = (libc::MSG_NOSIGNAL, std::ptr::from_ref(&self.step.message) as u64);
        match self.deed {
            Deed::Sync { data_only } => {
                entry.op_flags = if data_only { IORING_FSYNC_DATASYNC } else { 0 };
                IORING_OP_FSYNC
            }
            Deed::SendFile { .. } if self.reads_source() => {
                let left = self.asked - self.moved;
                self.vector(0, usize::try_from(left).unwrap_or(usize::MAX).min(self.room));
                (entry.address, entry.len) = (self.vector_at(), 1);
                entry.offset = self.offset + self.moved;
                IORING_OP_READV
            }
            Deed::SendFile { .. } => {
                self.vector(self.chunk.0, self.chunk.1);
                (entry.address, entry.len) = (message.1, 1);
                entry.op_flags = (message.0 | libc::MSG_WAITALL) as u32;
                IORING_OP_SENDMSG
            }
            Deed::Read | Deed::Write => {
                self.vector(moved, self.room);
                (entry.address, entry.len) = (self.vector_at(), 1);
                entry.offset = offset;
                if self.deed == Deed::Read { IORING_OP_READV } else { IORING_OP_WRITEV }
            }
            Deed::Send { flags } | Deed::Recv { flags } => {
                self.vector(moved, self.room);
                (entry.address, entry.len) = (message.1, 1);
                entry.op_flags = (flags | message.0 | libc::MSG_WAITALL) as u32;
                let sends = matches!(self.deed, Deed::Send { .. });
                if sends { IORING_OP_SENDMSG } else { IORING_OP_RECVMSG }
            }
        }
    }

    /// The bytes of the buffer that the next step is about.
    fn vector(&mut self, from: usize, to: usize) {
        // SAFETY: `from` is at most the buffer's length.
        let base = unsafe { self.at.add(from) };
        self.step.vector = libc::iovec { iov_base: base.cast(), iov_len: to - from };
        self.step.message.msg_iov = &raw mut self.step.vector;
        self.step.message.msg_iovlen = 1;
    }

    fn vector_at(&self) -> u64 {
        std::ptr::from_ref(&self.step.vector) as u64
    }

    /// The kernel has done a step: what is next?
    pub(super) fn advance(&mut self, result: i32) -> Next {
        let awaited = matches!(self.state, State::Awaiting);
        self.in_thread = false;
        self.state = State::Moving;
        match Self::checked(result) {
            // A thread that ends takes with it what it submitted; that goes on by another's hand.
            Err(Errno::ECANCELED | Errno::EINTR) if self.cancelled => {
                Next::Over(Some(Errno::ECANCELED))
            }
            Err(Errno::ECANCELED | Errno::EINTR) => Next::Step,
            Err(Errno::EAGAIN) if self.nature.regular || self.reads_source() => {
                self.in_thread = true;
                Next::Step
            }
            Err(Errno::EAGAIN) if !awaited => {
                self.state = State::Awaiting;
                Next::Step
            }
            Err(errno) => Next::Over(Some(errno)),
            Ok(_) if self.cancelled && awaited => Next::Over(Some(Errno::ECANCELED)),
            Ok(_) if awaited => Next::Step,
            Ok(n) => self.went_on(n),
        }
    }

    fn checked(result: i32) -> Result<usize> {
        usize::try_from(result).map_err(|_| Errno::from_raw(-result))
    }

    /// So many bytes were moved by a step.
    fn went_on(&mut self, n: usize) -> Next {
        if self.reads_source() {
            self.chunk = (0, n);
            return if n == 0 { Next::Over(None) } else { Next::Step };
        }
        self.moved += n as u64;
        self.chunk.0 += n;
        let all = match self.deed {
            Deed::Read | Deed::Sync { .. } => false,
            Deed::Write => !self.nature.regular && !self.nature.nonblocking,
            Deed::Send { .. } | Deed::Recv { .. } => !self.nature.datagrams,
            Deed::SendFile { .. } => true,
        };
        if n == 0 || self.moved == self.asked || !all {
            return Next::Over(None);
        }
        if self.cancelled { Next::Over(Some(Errno::ECANCELED)) } else { Next::Step }
    }
}
