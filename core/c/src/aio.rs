//! `aio_read` and its kin, declared in `include/aio.h`, under symbols of their own.
//!
//! A program that is compiled with that header calls these; who was compiled with the system's calls
//! libc's, in the same process too. (Exporting `aio_read` itself would take libc's from libraries
//! whose struct aiocb is another.)

use std::ptr::null_mut;

use kq_core::abi::aio::{self, AioCancel, Deed, Request, Told};
use kq_core::{Errno, EvFlags};
use libc::{c_int, c_long, c_void, off_t, ssize_t, timespec};

use crate::answer;

/// `struct sigevent`, as glibc and musl have it.
#[derive(Debug)]
#[repr(C)]
pub struct SigEvent {
    value: usize,
    /// sigev_notify_kqueue, or a signal.
    signo: c_int,
    notify: c_int,
    kevent_flags: c_int,
    rest: [c_int; 11],
}

const _: () = assert!(size_of::<SigEvent>() == size_of::<libc::sigevent>());

const SIGEV_SIGNAL: c_int = 0;
const SIGEV_NONE: c_int = 1;
const SIGEV_KEVENT: c_int = 3;

/// `struct aiocb` of `include/aio.h`.
#[derive(Debug)]
#[repr(C)]
pub struct AioCb {
    fildes: c_int,
    offset: off_t,
    buf: *mut u8,
    nbytes: usize,
    spare: [c_int; 2],
    spare2: *mut c_void,
    lio_opcode: c_int,
    reqprio: c_int,
    status: c_long,
    error: c_long,
    private: *mut c_void,
    sigevent: SigEvent,
}

impl SigEvent {
    /// Who is to be told. (FreeBSD's SIGEV_NONE is 0, which here is a signal: with signal 0, then.)
    ///
    /// # Errors
    /// - `ENOTSUP`: a signal, or a thread.
    /// - `EINVAL`: none of these.
    fn told(&self) -> Result<Option<Told>, Errno> {
        match (self.notify, self.signo) {
            (SIGEV_NONE, _) | (SIGEV_SIGNAL, 0) => Ok(None),
            (SIGEV_KEVENT, kq) => {
                // What does not fit is no flag that a request can have.
                let flags = u16::try_from(self.kevent_flags).unwrap_or(EvFlags::all().bits());
                Ok(Some(Told { kq, flags, udata: self.value }))
            }
            (SIGEV_SIGNAL | 2 | 4, _) => Err(Errno::ENOTSUP),
            _ => Err(Errno::EINVAL),
        }
    }
}

/// Begins a request. As on FreeBSD, `aio_error` knows afterwards why it could not be.
///
/// # Safety
/// `iocb` points to nothing, or to a request that stays where it is, and its buffer too, until it is
/// over.
unsafe fn begin(deed: Deed, iocb: *mut AioCb, list: Option<(usize, c_int)>) -> Result<(), Errno> {
    aio::check_readable(iocb.cast(), size_of::<AioCb>())?;
    // SAFETY: just checked; the caller's promise.
    let iocb = unsafe { &mut *iocb };
    (iocb.status, iocb.error) = (-1, 0);
    let begun = iocb.sigevent.told().and_then(|told| {
        let ident = std::ptr::from_mut(iocb) as usize;
        let (buffer, len) = match deed {
            Deed::Sync { .. } => (null_mut(), 0),
            _ => (iocb.buf, iocb.nbytes),
        };
        let (fd, offset) = (iocb.fildes, iocb.offset);
        // SAFETY: the caller's promise.
        unsafe { aio::begin(deed, Request { ident, fd, buffer, len, offset, told, list }) }
    });
    iocb.error = begun.err().unwrap_or(Errno::EINPROGRESS) as c_long;
    begun
}

macro_rules! exports {
    ($($(#[$doc:meta])* fn $name:ident($($arg:ident: $type:ty),*) = $deed:expr;)*) => {$(
        $(#[$doc])*
        ///
        /// errno: see [`kq_core::Kqueue::aio_submit`]; `EFAULT`; `ENOTSUP` where a signal or a
        /// thread is to be told.
        ///
        /// # Safety
        /// The request stays where it is, and nobody else uses its buffer, until it is over.
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $name($($arg: $type,)* iocb: *mut AioCb) -> c_int {
            // SAFETY: the caller's promise.
            answer($deed.and_then(|deed| unsafe { begin(deed, iocb, None) }).map(|()| 0))
        }
    )*};
}

exports! {
    /// `aio_read(iocb)` - reads.
    fn kqcompat_aio_read() = Ok(Deed::Read);
    /// `aio_write(iocb)` - writes.
    fn kqcompat_aio_write() = Ok(Deed::Write);
    /// `aio_fsync(op, iocb)` - `O_SYNC` or `O_DSYNC`, once the requests before it on the descriptor
    /// and queue are complete.
    fn kqcompat_aio_fsync(op: c_int) = match op {
        libc::O_SYNC => Ok(Deed::Sync { data_only: false }),
        libc::O_DSYNC => Ok(Deed::Sync { data_only: true }),
        _ => Err(Errno::EINVAL),
    };
}

/// `aio_send(iocb, flags)` - sends all, with flags of send(2).
///
/// errno: as [`kqcompat_aio_read`].
///
/// # Safety
/// As for [`kqcompat_aio_read`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kqcompat_aio_send(iocb: *mut AioCb, flags: c_int) -> c_int {
    // SAFETY: the caller's promise.
    answer(unsafe { begin(Deed::Send { flags }, iocb, None) }.map(|()| 0))
}

/// `aio_recv(iocb, flags)` - receives until the buffer is full or the other side closes, with flags
/// of recv(2).
///
/// errno: as [`kqcompat_aio_read`].
///
/// # Safety
/// As for [`kqcompat_aio_read`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kqcompat_aio_recv(iocb: *mut AioCb, flags: c_int) -> c_int {
    // SAFETY: the caller's promise.
    answer(unsafe { begin(Deed::Recv { flags }, iocb, None) }.map(|()| 0))
}

/// `aio_sendfile(iocb, file)` - sends a part of a regular file on a socket.
///
/// errno: as [`kqcompat_aio_read`].
///
/// # Safety
/// As for [`kqcompat_aio_read`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kqcompat_aio_sendfile(iocb: *mut AioCb, file: c_int) -> c_int {
    // SAFETY: the caller's promise.
    answer(unsafe { begin(Deed::SendFile { source: file }, iocb, None) }.map(|()| 0))
}

/// `aio_error(iocb)` - 0, the errno that the request ended with, `EINPROGRESS`, or `EINVAL` for what
/// is no request; the value itself, not in errno.
///
/// # Safety
/// `iocb` points to a request or to nothing.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kqcompat_aio_error(iocb: *const AioCb) -> c_int {
    match aio::error(iocb as usize) {
        Some(result) => result.err().map_or(0, |errno| errno as c_int),
        None if aio::check_readable(iocb.cast(), size_of::<AioCb>()).is_err() => {
            Errno::EINVAL as c_int
        }
        // SAFETY: just checked; the caller's promise.
        None => match unsafe { ((*iocb).status, (*iocb).error) } {
            // It could not be begun.
            (-1, error) if error != 0 && error != Errno::EINPROGRESS as c_long => error as c_int,
            _ => Errno::EINVAL as c_int,
        },
    }
}

/// Puts down how a request ended, where the program may look.
///
/// # Safety
/// `iocb` is a request.
unsafe fn ended(iocb: *mut AioCb, moved: u64, error: Option<Errno>) -> Result<ssize_t, Errno> {
    let status = error.map_or(moved as ssize_t, |_| -1);
    // SAFETY: the caller's promise.
    unsafe {
        (*iocb).status = status as c_long;
        (*iocb).error = error.map_or(0, |errno| errno as c_long);
    }
    error.map_or(Ok(status), Err)
}

/// `aio_return(iocb)` - what the request's system call would have returned, or -1. Its knote goes.
///
/// errno: what the request ended with; `EINVAL` for what is no request that is over.
///
/// # Safety
/// `iocb` points to a request or to nothing.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kqcompat_aio_return(iocb: *mut AioCb) -> ssize_t {
    let done = aio::give_back(iocb as usize)
        // SAFETY: there was a request of that address.
        .and_then(|(moved, error)| unsafe { ended(iocb, moved, error) });
    answer_size(done)
}

fn answer_size(result: Result<ssize_t, Errno>) -> ssize_t {
    result.unwrap_or_else(|errno| {
        errno.set();
        -1
    })
}

/// `aio_waitcomplete(iocbp, timeout)` - waits for the next request to be over, and returns it as
/// [`kqcompat_aio_return`] does; where there is none in time, `*iocbp` is null.
///
/// errno: `EAGAIN` the time is over; `EINTR`; `EINVAL` no time; `EFAULT`; what the request ended with.
///
/// # Safety
/// `iocbp` and `timeout` point to one of each, or `timeout` to nothing.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kqcompat_aio_waitcomplete(
    iocbp: *mut *mut AioCb,
    timeout: *mut timespec,
) -> ssize_t {
    // SAFETY: the caller's promise.
    let (checked, timeout) = match unsafe { time(timeout) } {
        Err(errno) => (Err(errno), None),
        Ok(time) => (aio::check_readable(iocbp.cast(), size_of::<usize>()), time),
    };
    if let Err(errno) = checked {
        return answer_size(Err(errno));
    }
    let done = aio::wait_complete(timeout);
    let iocb = done.map_or(null_mut(), |(ident, ..)| ident as *mut AioCb);
    // SAFETY: just checked; the caller's promise.
    unsafe { iocbp.write(iocb) };
    // SAFETY: there was a request of that address.
    answer_size(done.and_then(|(_, moved, error)| unsafe { ended(iocb, moved, error) }))
}

/// A time, or none for for ever.
///
/// # Safety
/// It points to a time or to nothing.
unsafe fn time(at: *const timespec) -> Result<Option<timespec>, Errno> {
    if at.is_null() {
        return Ok(None);
    }
    aio::check_readable(at.cast(), size_of::<timespec>())?;
    // SAFETY: just checked.
    let time = unsafe { at.read_unaligned() };
    if time.tv_sec < 0 || !(0..1_000_000_000).contains(&time.tv_nsec) {
        return Err(Errno::EINVAL);
    }
    Ok(Some(time))
}

/// `aio_cancel(fd, iocb)` - ends one request, or with a null pointer all of a descriptor's, before
/// their time: `AIO_CANCELED`, `AIO_NOTCANCELED` if one at least goes on, `AIO_ALLDONE`, or -1.
///
/// errno: `EBADF`.
#[unsafe(no_mangle)]
pub extern "C" fn kqcompat_aio_cancel(fd: c_int, iocb: *mut AioCb) -> c_int {
    let ident = (!iocb.is_null()).then_some(iocb as usize);
    answer(aio::cancel(fd, ident).map(|found| match found {
        AioCancel::Canceled => 1,
        AioCancel::NotCanceled => 2,
        AioCancel::AllDone => 3,
    }))
}

/// A C array of pointers, null ones left out.
///
/// # Safety
/// It is as long as said.
unsafe fn requests<T>(list: *const *mut T, n: c_int) -> Result<Vec<*mut T>, Errno> {
    let n = usize::try_from(n).map_err(|_| Errno::EINVAL)?;
    aio::check_readable(list.cast(), n * size_of::<*mut T>())?;
    // SAFETY: just checked.
    let all = (0..n).map(|at| unsafe { list.add(at).read() });
    Ok(all.filter(|iocb| !iocb.is_null()).collect())
}

/// `aio_suspend(list, n, timeout)` - waits until one at least of some requests is over: 0, or -1.
///
/// errno: `EAGAIN` the time is over; `EINTR`; `EINVAL` a negative number, no time; `EFAULT`.
///
/// # Safety
/// The array is as long as said; `timeout` points to one or to nothing.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kqcompat_aio_suspend(
    list: *const *mut AioCb,
    n: c_int,
    timeout: *const timespec,
) -> c_int {
    // SAFETY: the caller's promise.
    let suspended = unsafe { time(timeout) }.and_then(|timeout| {
        // SAFETY: as above.
        let idents: Vec<usize> =
            unsafe { requests(list, n) }?.iter().map(|&p| p as usize).collect();
        aio::suspend(&idents, timeout)
    });
    answer(suspended.map(|()| 0))
}

const LIO_WAIT: c_int = 1;

/// `lio_listio(mode, list, n, sigevent)` - begins requests, each as its aio_lio_opcode says, and
/// waits for them (`LIO_WAIT`), or has a queue be told by EVFILT_LIO, ident the list's address, when
/// all are over (`LIO_NOWAIT`).
///
/// errno: `EIO` one at least could not be begun or, with LIO_WAIT, failed; `EAGAIN` one at least could
/// not be begun for want of room; `EINTR`; `EINVAL` no mode, a bad number; that of [`SigEvent::told`].
///
/// # Safety
/// As for [`kqcompat_aio_read`], of each; the array is as long as said.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kqcompat_lio_listio(
    mode: c_int,
    list: *const *mut AioCb,
    n: c_int,
    sigevent: *const SigEvent,
) -> c_int {
    // SAFETY: the caller's promise.
    answer(unsafe { listio(mode, list, n, sigevent) }.map(|()| 0))
}

/// # Safety
/// As for [`kqcompat_lio_listio`].
unsafe fn listio(
    mode: c_int,
    list: *const *mut AioCb,
    n: c_int,
    sigevent: *const SigEvent,
) -> Result<(), Errno> {
    if !(0..=LIO_WAIT).contains(&mode) {
        return Err(Errno::EINVAL);
    }
    // SAFETY: the caller's promise.
    let iocbs = unsafe { requests(list, n) }?;
    let mut told = None;
    if mode != LIO_WAIT && !sigevent.is_null() {
        aio::check_readable(sigevent.cast(), size_of::<SigEvent>())?;
        // SAFETY: just checked.
        told = unsafe { &*sigevent }.told()?;
    }
    let at = list as usize;
    // A list has no flags of its own (FreeBSD).
    told.map_or(Ok(()), |told| aio::open_list(at, Told { flags: 0, ..told }))?;
    let of_list = told.map(|told| (at, told.kq));
    let (mut begun, mut failed, mut full) = (Vec::new(), false, false);
    for iocb in iocbs {
        // SAFETY: the caller's promise.
        match unsafe { begin_listed(iocb, of_list) } {
            Ok(true) => begun.push(iocb as usize),
            Ok(false) => {}
            Err(Errno::EAGAIN) => full = true,
            Err(_) => failed = true,
        }
    }
    told.map_or(Ok(()), |told| aio::close_list(at, told.kq))?;
    if mode == LIO_WAIT {
        failed |= wait_for_all(begun)?;
    }
    match (failed, full) {
        (true, _) => Err(Errno::EIO),
        (false, true) => Err(Errno::EAGAIN),
        (false, false) => Ok(()),
    }
}

/// Waits until all are over; whether one failed.
fn wait_for_all(mut idents: Vec<usize>) -> Result<bool, Errno> {
    let mut failed = false;
    loop {
        idents.retain(|&ident| match aio::error(ident) {
            Some(Err(Errno::EINPROGRESS)) => true,
            over => {
                failed |= matches!(over, Some(Err(_)));
                false
            }
        });
        if idents.is_empty() {
            return Ok(failed);
        }
        aio::suspend(&idents, None)?;
    }
}

/// Begins one of a list. False: there was nothing to do.
///
/// # Safety
/// As for [`begin`].
unsafe fn begin_listed(iocb: *mut AioCb, list: Option<(usize, c_int)>) -> Result<bool, Errno> {
    const LIO_NOP: c_int = 0;
    const LIO_WRITE: c_int = 1;
    const LIO_READ: c_int = 2;
    aio::check_readable(iocb.cast(), size_of::<AioCb>())?;
    // SAFETY: just checked; the caller's promise.
    let deed = match unsafe { (*iocb).lio_opcode } {
        LIO_NOP => return Ok(false),
        LIO_WRITE => Deed::Write,
        LIO_READ => Deed::Read,
        _ => return Err(Errno::EINVAL),
    };
    // SAFETY: as above.
    unsafe { begin(deed, iocb, list) }.map(|()| true)
}
