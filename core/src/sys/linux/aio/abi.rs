//! AIO by number and pointer: what the C library exports.

use std::os::fd::RawFd;

use libc::timespec;
use nix::errno::Errno;

pub use super::calls::{cancel, close_list, suspend};
pub use super::{AioCancel, Deed};

use super::calls::{self, Notify};
use super::{Buffer, Order};
use crate::sys::linux::memory;
use crate::sys::linux::raw::Result;

/// Which queue is to be told of a completion: `struct sigevent` with SIGEV_KEVENT.
#[derive(Clone, Copy, Debug)]
pub struct Told {
    /// The queue.
    pub kq: RawFd,
    /// EV_CLEAR, EV_DISPATCH, EV_ONESHOT.
    pub flags: u16,
    /// The event's udata.
    pub udata: usize,
}

/// A request: `struct aiocb`.
#[derive(Clone, Copy, Debug)]
pub struct Request {
    /// Its name: the address of the aiocb.
    pub ident: usize,
    /// On which descriptor.
    pub fd: RawFd,
    /// Its bytes.
    pub buffer: *mut u8,
    /// How many.
    pub len: usize,
    /// Where in the file.
    pub offset: i64,
    /// Who is to be told.
    pub told: Option<Told>,
    /// The list that it belongs to, if it is one that a queue is told of; that queue.
    pub list: Option<(usize, RawFd)>,
}

/// `aio_read(2)` and its kin.
///
/// # Errors
/// See [`Kqueue::aio_submit`](crate::Kqueue::aio_submit), and:
/// - `EINVAL`: a queue is to be told of the request, and another one of its list; a request of that
///   name is under way.
///
/// # Safety
/// The buffer stays, and nobody else uses it, until the request is over.
pub unsafe fn begin(deed: Deed, request: Request) -> Result<()> {
    let Request { ident, fd, buffer, len, offset, told, list } = request;
    calls::make_way(ident)?;
    // sendfile(2): no bytes are all that follow.
    let (buffer, bytes) = match deed {
        Deed::SendFile { .. } => {
            let bytes = if len == 0 { u64::MAX } else { len as u64 };
            (Buffer::for_file(bytes), Some(bytes))
        }
        _ => (Buffer::Theirs(buffer, len), None),
    };
    let told = told.map(Notify::from);
    let (at, kq) = (list.map(|(at, _)| at), list.map(|(_, kq)| kq));
    if let (Some(kq), Some(notify)) = (kq, told)
        && kq != notify.kq
    {
        return Err(Errno::EINVAL);
    }
    let mut order = Order { deed, fd, buffer, offset, bytes, ident: Some(ident), list: at };
    match kq {
        Some(kq) => calls::begin_in_list(&mut order, kq, told),
        None => calls::begin(&mut order, told),
    }
    .map(drop)
}

impl From<Told> for Notify {
    fn from(told: Told) -> Self {
        Self { kq: told.kq, flags: told.flags, udata: told.udata }
    }
}

/// How a request fares: done, failed, or `EINPROGRESS`; None: there is none of that name.
pub fn error(ident: usize) -> Option<Result<()>> {
    calls::error(ident)
}

/// Takes a request that is over: how many bytes were moved, and what went wrong.
///
/// # Errors
/// - `EINVAL`: there is none of that name, or it is not over.
pub fn give_back(ident: usize) -> Result<(u64, Option<Errno>)> {
    calls::give_back(ident).map(|(outcome, _)| (outcome.moved, outcome.error))
}

/// `aio_waitcomplete(2)`: as [`give_back`], of the next request that is over, with its name.
///
/// # Errors
/// - `EAGAIN`: the time is over, or there is no descriptor to sleep on.
/// - `EINTR`: a signal handler ran.
pub fn wait_complete(timeout: Option<timespec>) -> Result<(usize, u64, Option<Errno>)> {
    calls::wait_complete(timeout).map(|(ident, done)| (ident, done.moved, done.error))
}

/// Begins a list of requests, of which a queue is to be told; `at` is its name. It has to be closed
/// when all its requests have been begun.
///
/// # Errors
/// - `EBADF`, `EINVAL`: no queue, or a list of that name.
/// - `ENOSYS`: there is no io_uring.
pub fn open_list(at: usize, told: Told) -> Result<()> {
    calls::open_list(at, told.into())
}

/// Whether memory of a C program's can be read.
///
/// # Errors
/// - `EFAULT`: some of it cannot.
pub fn check_readable(at: *const u8, len: usize) -> Result<()> {
    memory::check_readable(at, len)
}
