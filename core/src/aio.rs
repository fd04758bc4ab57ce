//! Asynchronous requests as a Rust program makes them.

use std::marker::PhantomData;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::sync::atomic::{AtomicUsize, Ordering};

use nix::errno::Errno;

use crate::event::EvFlags;
use crate::kqueue::Kqueue;
use crate::sys::linux::aio::calls::{self, Notify};
use crate::sys::linux::aio::{AioCancel, Buffer, Deed, Order, Outcome};

/// An asynchronous request that was not begun yet. It owns its buffer.
///
/// The descriptor need only be open until the request was begun: from then on the request holds on
/// to the file.
#[derive(Debug)]
pub struct AioRequest<'fd> {
    order: Order,
    fds: PhantomData<BorrowedFd<'fd>>,
}

// SAFETY: its buffer is a Vec; pointers it has none.
unsafe impl Send for AioRequest<'_> {}

impl<'fd> AioRequest<'fd> {
    fn new(deed: Deed, fd: BorrowedFd<'fd>, buffer: Buffer, offset: i64) -> Self {
        let fd = fd.as_raw_fd();
        let order = Order { deed, fd, buffer, offset, bytes: None, ident: None, list: None };
        Self { order, fds: PhantomData }
    }

    /// `aio_read` - reads at most as many bytes as `buffer` is long, once, as read(2) does; from
    /// `offset`, bytes from the beginning, where the file has an offset.
    pub fn read(fd: BorrowedFd<'fd>, buffer: Vec<u8>, offset: i64) -> Self {
        Self::new(Deed::Read, fd, Buffer::Owned(buffer), offset)
    }

    /// `aio_write` - writes `buffer`, at `offset` where the file has one and is not open to append.
    /// To a pipe or socket that blocks it writes all.
    pub fn write(fd: BorrowedFd<'fd>, buffer: Vec<u8>, offset: i64) -> Self {
        Self::new(Deed::Write, fd, Buffer::Owned(buffer), offset)
    }

    /// `aio_fsync` - has all that was written reach the disk, once the requests that were begun in
    /// this queue on this descriptor before are complete. `data_only`: as fdatasync(2).
    pub fn fsync(fd: BorrowedFd<'fd>, data_only: bool) -> Self {
        Self::new(Deed::Sync { data_only }, fd, Buffer::Owned(Vec::new()), 0)
    }

    /// `aio_send` - sends `buffer` on a socket: all of it, or until an error. `flags` are those of
    /// send(2); MSG_NOSIGNAL is implied.
    pub fn send(fd: BorrowedFd<'fd>, buffer: Vec<u8>, flags: i32) -> Self {
        Self::new(Deed::Send { flags }, fd, Buffer::Owned(buffer), 0)
    }

    /// `aio_recv` - receives from a socket until `buffer` is full, the other side has closed, or an
    /// error; of a socket that keeps the bounds of messages, one message. `flags` are those of
    /// recv(2).
    pub fn recv(fd: BorrowedFd<'fd>, buffer: Vec<u8>, flags: i32) -> Self {
        Self::new(Deed::Recv { flags }, fd, Buffer::Owned(buffer), 0)
    }

    /// `aio_sendfile` - sends `bytes` bytes of a regular file from `offset` on a socket, or as many
    /// as there are.
    pub fn sendfile(fd: BorrowedFd<'fd>, file: BorrowedFd<'fd>, offset: i64, bytes: u64) -> Self {
        let deed = Deed::SendFile { source: file.as_raw_fd() };
        let mut request = Self::new(deed, fd, Buffer::for_file(bytes), offset);
        request.order.bytes = Some(bytes);
        request
    }

    /// The buffer, of a request that could not be begun.
    pub fn into_buffer(self) -> Vec<u8> {
        owned(self.order.buffer)
    }
}

fn owned(buffer: Buffer) -> Vec<u8> {
    match buffer {
        Buffer::Owned(buffer) => buffer,
        Buffer::Theirs(..) => Vec::new(),
    }
}

/// What an EVFILT_AIO or EVFILT_LIO event shall carry.
#[derive(Clone, Copy, Debug)]
pub struct AioNotify {
    /// EV_CLEAR, EV_DISPATCH, EV_ONESHOT; or none: then the event is reported until the request is
    /// given back ([`Kqueue::aio_return`]).
    pub flags: EvFlags,
    /// The event's udata.
    pub udata: isize,
}

/// A request that could not be begun, and why.
#[derive(Debug)]
pub struct AioRefused<'fd> {
    /// Why; see [`Kqueue::aio_submit`].
    pub errno: Errno,
    /// As it was.
    pub request: AioRequest<'fd>,
}

impl std::fmt::Display for AioRefused<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "the request was not begun: {}", self.errno)
    }
}

impl std::error::Error for AioRefused<'_> {}

impl From<AioRefused<'_>> for Errno {
    fn from(refused: AioRefused<'_>) -> Self {
        refused.errno
    }
}

/// How a request ended.
#[derive(Debug)]
pub struct AioDone {
    /// Its buffer. (An `aio_sendfile`'s is the engine's own.)
    pub buffer: Vec<u8>,
    /// How many bytes were moved, also where it ended with an error.
    pub moved: usize,
    /// What it ended with; `ECANCELED`: it was cancelled.
    pub error: Option<Errno>,
}

impl AioDone {
    /// As the system call would have answered: the bytes moved, or the error.
    ///
    /// # Errors
    /// The request's own.
    pub fn result(&self) -> Result<usize, Errno> {
        self.error.map_or(Ok(self.moved), Err)
    }

    fn new((outcome, buffer): (Outcome, Buffer)) -> Self {
        Self { buffer: owned(buffer), moved: outcome.moved as usize, error: outcome.error }
    }
}

/// A list that was begun ([`Kqueue::lio_listio`]).
#[derive(Debug)]
pub struct AioList<'fd> {
    /// The ident of its EVFILT_LIO event.
    pub ident: usize,
    /// Of each request its ident, or the request and why it was not begun.
    pub requests: Vec<Result<usize, AioRefused<'fd>>>,
}

impl Kqueue {
    /// `aio_read`, `aio_write`, `aio_fsync`, `aio_send`, `aio_recv`, `aio_sendfile` with
    /// SIGEV_KEVENT - begins a request; returns its ident.
    ///
    /// When it is over, the queue has an EVFILT_AIO event with that ident: data is the errno that
    /// the request ended with, or 0; ext\[0\] how many bytes were moved. The request's outcome and its
    /// buffer are then there to be taken by [`Kqueue::aio_return`]. If the queue is dropped before,
    /// the request is cancelled; its buffer is freed when the kernel is through with it.
    ///
    /// ```
    /// # use kq_core::*;
    /// # use std::os::fd::AsFd;
    /// # fn main() -> Result<(), Errno> {
    /// let kq = Kqueue::new()?;
    /// let file = std::fs::File::open("/proc/self/exe").unwrap();
    /// let notify = AioNotify { flags: EvFlags::EV_ONESHOT, udata: 7 };
    /// let ident = match kq.aio_submit(AioRequest::read(file.as_fd(), vec![0; 4], 0), notify) {
    ///     Ok(ident) => ident,
    ///     Err(refused) if refused.errno == Errno::ENOSYS => return Ok(()), // no io_uring here
    ///     Err(refused) => return Err(refused.errno),
    /// };
    /// let mut events = [KEvent::default()];
    /// kq.kevent(&[], &mut events, None)?;
    /// assert_eq!((events[0].ident(), events[0].udata(), events[0].data()), (ident, 7, 0));
    /// assert_eq!(kq.aio_return(ident)?.buffer, b"\x7fELF");
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// - `EAGAIN`: too many requests are under way (4096 in a queue; those that wait for a pipe or
    ///   socket, no more than RLIMIT_NOFILE), or the kernel has no memory for it now. Try again when
    ///   one is complete.
    /// - `EBADF`: the descriptor is not open for this, or the queue not this process's.
    /// - `EINVAL`: a negative offset; flags that a request cannot have; to sync, or send, what cannot
    ///   be.
    /// - `ENOTSOCK`: to send to, or receive from, what is no socket.
    /// - `ENOSYS`: there is no io_uring, or it is forbidden.
    /// - `EMFILE`, `ENFILE`, `ENOMEM`: no descriptor or memory for the ring.
    #[doc(alias("aio_read", "aio_write", "aio_fsync", "aio_send", "aio_recv", "aio_sendfile"))]
    pub fn aio_submit<'fd>(
        &self,
        mut request: AioRequest<'fd>,
        notify: AioNotify,
    ) -> Result<usize, AioRefused<'fd>> {
        calls::begin(&mut request.order, Some(self.notify(notify)))
            .map_err(|errno| AioRefused { errno, request })
    }

    fn notify(&self, notify: AioNotify) -> Notify {
        Notify { kq: self.as_raw_fd(), flags: notify.flags.bits(), udata: notify.udata as usize }
    }

    /// `lio_listio(LIO_NOWAIT)` - begins requests, of which one EVFILT_LIO event tells when all that
    /// could be begun are over.
    ///
    /// # Errors
    /// - `EBADF`, `EINVAL`, `ENOSYS`, `EMFILE`, `ENFILE`, `ENOMEM`: as [`Kqueue::aio_submit`]; none
    ///   was begun.
    ///
    /// # Examples
    /// ```
    /// # use kq_core::*;
    /// # use std::os::fd::AsFd;
    /// # fn main() -> Result<(), Errno> {
    /// let kq = Kqueue::new()?;
    /// let file = std::fs::File::open("/proc/self/exe").unwrap();
    /// let read = |offset| AioRequest::read(file.as_fd(), vec![0; 4], offset);
    /// let notify = AioNotify { flags: EvFlags::EV_ONESHOT, udata: 7 };
    /// let list = match kq.lio_listio(vec![read(0), read(1)], notify) {
    ///     Err(Errno::ENOSYS) => return Ok(()), // no io_uring here
    ///     list => list?,
    /// };
    /// let mut events = [KEvent::default()];
    /// kq.kevent(&[], &mut events, None)?;
    /// assert_eq!((events[0].filter()?, events[0].ident()), (EventFilter::EVFILT_LIO, list.ident));
    /// for (request, bytes) in list.requests.into_iter().zip([4, 4]) {
    ///     assert_eq!(kq.aio_return(request?)?.result(), Ok(bytes));
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn lio_listio<'fd>(
        &self,
        requests: Vec<AioRequest<'fd>>,
        notify: AioNotify,
    ) -> Result<AioList<'fd>, Errno> {
        /// Odd, so that it is no pointer of a C program's.
        static NEXT: AtomicUsize = AtomicUsize::new(1);
        let ident = NEXT.fetch_add(2, Ordering::Relaxed);
        calls::open_list(ident, self.notify(notify))?;
        let begin = |mut request: AioRequest<'fd>| {
            request.order.list = Some(ident);
            calls::begin_in_list(&mut request.order, self.as_raw_fd(), None)
                .map_err(|errno| AioRefused { errno, request })
        };
        let requests = requests.into_iter().map(begin).collect();
        calls::close_list(ident, self.as_raw_fd())?;
        Ok(AioList { ident, requests })
    }

    /// `aio_error` - how a request of this queue fares.
    ///
    /// # Errors
    /// - `EINPROGRESS`: it is not over.
    /// - `EINVAL`: there is none with this ident.
    /// - What it ended with.
    pub fn aio_error(&self, ident: usize) -> Result<(), Errno> {
        calls::at_queue(self.as_raw_fd(), |knotes| {
            let aio = knotes.soft.aio_if_open();
            aio.and_then(|aio| {
                aio.collect();
                aio.error(ident)
            })
            .unwrap_or(Err(Errno::EINVAL))
        })
    }

    /// `aio_return` - takes a request that is over. Its knote goes; with the last of a list, the
    /// list's.
    ///
    /// # Errors
    /// - `EINVAL`: there is none with this ident, or it is not over.
    pub fn aio_return(&self, ident: usize) -> Result<AioDone, Errno> {
        calls::at_queue(self.as_raw_fd(), |knotes| {
            knotes.soft.collect_done();
            knotes.soft.give_back(ident).map(AioDone::new).ok_or(Errno::EINVAL)
        })
    }

    /// `aio_cancel` - ends a request before its time, if that can be. It is over then, with
    /// `ECANCELED`, and is to be taken by [`Kqueue::aio_return`]; its event comes as ever.
    ///
    /// # Errors
    /// - `EBADF`: the queue is not this process's.
    ///
    /// # Examples
    /// ```
    /// # use kq_core::*;
    /// # use std::os::fd::AsFd;
    /// # use std::os::unix::net::UnixStream;
    /// # fn main() -> Result<(), Errno> {
    /// let kq = Kqueue::new()?;
    /// let (here, _there) = UnixStream::pair().unwrap();
    /// let notify = AioNotify { flags: EvFlags::EV_ONESHOT, udata: 0 };
    /// // Nobody sends anything.
    /// let ident = match kq.aio_submit(AioRequest::recv(here.as_fd(), vec![0; 4], 0), notify) {
    ///     Err(refused) if refused.errno == Errno::ENOSYS => return Ok(()), // no io_uring here
    ///     ident => ident?,
    /// };
    /// assert_eq!(kq.aio_error(ident), Err(Errno::EINPROGRESS));
    /// assert_eq!(kq.aio_cancel(ident)?, AioCancel::Canceled);
    /// kq.kevent(&[], &mut [KEvent::default()], None)?;
    /// assert_eq!(kq.aio_return(ident)?.result(), Err(Errno::ECANCELED));
    /// # Ok(())
    /// # }
    /// ```
    pub fn aio_cancel(&self, ident: usize) -> Result<AioCancel, Errno> {
        calls::at_queue(self.as_raw_fd(), |knotes| {
            let aio = knotes.soft.aio_if_open();
            Ok(aio.map_or(AioCancel::AllDone, |aio| aio.cancel(ident)))
        })
    }
}
