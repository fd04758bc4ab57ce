//! kqueue and kevent by descriptor number and pointer: what the C library exports.

use std::os::fd::RawFd;
use std::sync::atomic::{AtomicBool, Ordering};

use libc::{c_int, timespec};
use nix::errno::Errno;

use crate::entry::Entry;
use crate::event::KEvent;
use crate::wait::WaitFlags;

use super::entries::Entries;
use super::kevent::{self, Caller};
use super::memory::{check_readable, check_writable};
use super::queue::{self, Rules, duplicates};
use super::raw::{self, Result};
use super::wait_min::kevent_min as kevent_min_of;

/// Whether queues made by [`kqueue`] are private.
static PRIVATE: AtomicBool = AtomicBool::new(false);

/// Has [`kqueue`] make private queues from here on, or not (see
/// [`Kqueue::private`](crate::Kqueue::private)): the C library's setting `KQCOMPAT_PRIVATE`.
pub fn set_private(private: bool) {
    PRIVATE.store(private, Ordering::Relaxed);
}

/// `kqueue()`, `kqueue1(flags)` - makes a queue; `O_CLOEXEC` and `O_NONBLOCK` are the flags there
/// are. Returns its descriptor, which is close-on-exec in any case.
///
/// # Errors
/// - `EINVAL`: another flag.
/// - `EMFILE`, `ENFILE`, `ENOMEM`: no descriptor, or no memory.
pub fn kqueue(flags: c_int) -> Result<RawFd> {
    if flags & !(libc::O_CLOEXEC | libc::O_NONBLOCK) != 0 {
        return Err(Errno::EINVAL);
    }
    // Always: a program that was executed has no use for an epoll set whose queue it has not got.
    let fd = raw::epoll_create1(libc::EPOLL_CLOEXEC)?;
    if flags & libc::O_NONBLOCK != 0 {
        raw::fcntl(fd, libc::F_SETFL, libc::O_NONBLOCK)?;
    }
    match queue::open(fd, Rules::Kqueue, PRIVATE.load(Ordering::Relaxed)) {
        Some(_) => Ok(fd),
        None => {
            let _ = raw::close(fd);
            Err(Errno::EMFILE)
        }
    }
}

/// How a wait sleeps: the system call that blocks, `epoll_pwait2` or one of its kin. A C library puts
/// libc's own here, which is a cancellation point.
///
/// A type and not a function's address, so that the call is made where the wait is, without a function in
/// between: to return from one after a system call takes longer (docs/performance.md).
pub trait Wait {
    /// Waits without a signal mask, with a timeout that is not zero, or none for for ever; returns how
    /// many events came. With room for no events it makes `ppoll` instead, and returns 0 when there are
    /// some, or the time is over.
    ///
    /// # Errors
    /// Those of the system call.
    ///
    /// # Safety
    /// Room for `maxevents` events at `events`.
    unsafe fn wait(
        kq: RawFd,
        events: *mut libc::epoll_event,
        maxevents: c_int,
        timeout: Option<&timespec>,
    ) -> Result<usize>;
}

/// `kevent(kq, changelist, nchanges, eventlist, nevents, timeout)` - see
/// [`Kqueue::kevent`](crate::Kqueue::kevent). Nothing is locked or to be dropped while it waits.
///
/// # Errors
/// Those of [`Kqueue::kevent`](crate::Kqueue::kevent), and:
/// - `EFAULT`: a pointer to memory that cannot be read, or (the eventlist) written.
/// - `EBADF`: `kq` is no queue of this process.
/// - `EINVAL`: a negative count.
///
/// # Safety
/// The arrays are as long as said, and nobody else uses the eventlist meanwhile. Pointers to nothing
/// are EFAULT.
///
/// # Examples
/// ```
/// use kq_core::{EvFlags, EventFilter, FilterFlag, KEvent, abi};
///
/// let kq = abi::kqueue(libc::O_CLOEXEC)?;
/// let flags = EvFlags::EV_ADD | EvFlags::EV_ONESHOT;
/// let timer = KEvent::new(7, EventFilter::EVFILT_TIMER, flags, FilterFlag::NOTE_MSECONDS, 1, 0);
/// let mut event = KEvent::default();
/// // SAFETY: one change, and room for one event.
/// let n = unsafe { abi::kevent::<abi::RawWait>(kq, &timer, 1, &mut event, 1, std::ptr::null()) }?;
/// assert_eq!((n, event.ident()), (1, 7));
/// // Whoever closes the number tells of it first.
/// abi::closing(kq);
/// # unsafe { libc::close(kq) };
/// # Ok::<(), kq_core::Errno>(())
/// ```
#[inline(always)]
pub unsafe fn kevent<W: Wait>(
    kq: RawFd,
    changes: *const KEvent,
    nchanges: c_int,
    events: *mut KEvent,
    nevents: c_int,
    timeout: *const timespec,
) -> Result<usize> {
    // SAFETY: the caller's promise, and of `check` that the memory is there.
    unsafe {
        let call = check(kq, changes, nchanges, events, nevents, timeout)?;
        let (nchanges, nevents) = (nchanges as usize, nevents as usize);
        let timeout = call.timeout.as_ref();
        kevent::kevent::<W>(&call.caller, changes, nchanges, events, nevents, timeout)
    }
}

/// `kevent_min(kq, changelist, nchanges, eventlist, nevents, min, timeout, flags)` - see
/// [`Kqueue::wait_min`](crate::Kqueue::wait_min).
///
/// # Errors
/// Those of [`Kqueue::wait_min`](crate::Kqueue::wait_min) and of [`kevent`].
///
/// # Safety
/// As for [`kevent`].
#[allow(clippy::too_many_arguments, reason = "those of the C function")]
pub unsafe fn kevent_min<W: Wait>(
    kq: RawFd,
    changes: *const KEvent,
    nchanges: c_int,
    events: *mut KEvent,
    nevents: c_int,
    min: c_int,
    timeout: *const timespec,
    flags: WaitFlags,
) -> Result<usize> {
    // SAFETY: as in `kevent`.
    unsafe {
        let call = check(kq, changes, nchanges, events, nevents, timeout)?;
        let (nchanges, nevents) = (nchanges as usize, nevents as usize);
        let min = usize::try_from(min).map_err(|_| Errno::EINVAL)?;
        // An edge knote may have several events here.
        check_writable(events.cast(), nevents * size_of::<KEvent>())?;
        let timeout = call.timeout.as_ref();
        kevent_min_of::<W>(call.caller, changes, nchanges, events, nevents, min, timeout, flags)
    }
}

/// The first name that a directory's VNODE knote has gathered, taken; see
/// [`Kqueue::take_entries`](crate::Kqueue::take_entries).
///
/// # Errors
/// - `EBADF`: `kq` is no queue of this process.
/// - `ENOENT`: the descriptor has no VNODE knote in this queue.
pub fn entry(kq: RawFd, directory: RawFd) -> Result<Option<Entry>> {
    let queue = queue::find(kq).or_else(|| duplicates::find(kq)).ok_or(Errno::EBADF)?;
    let mut knotes = queue.knotes(queue.life())?;
    knotes.soft.entries(directory).map(Entries::take_one).ok_or(Errno::ENOENT)
}

/// A call whose arguments are good.
struct Call {
    caller: Caller,
    timeout: Option<timespec>,
}

/// Checks a caller's arguments: the counts are not negative, and the memory is there.
///
/// # Safety
/// As for [`kevent`].
#[inline(always)]
unsafe fn check(
    kq: RawFd,
    changes: *const KEvent,
    nchanges: c_int,
    events: *mut KEvent,
    nevents: c_int,
    timeout: *const timespec,
) -> Result<Call> {
    let timeout = if timeout.is_null() {
        None
    } else {
        check_readable(timeout.cast(), size_of::<timespec>())?;
        // SAFETY: just checked; it need not be aligned.
        Some(unsafe { timeout.read_unaligned() })
    };
    let queue = queue::find(kq).or_else(|| duplicates::find(kq)).ok_or(Errno::EBADF)?;
    let nchanges = usize::try_from(nchanges).map_err(|_| Errno::EINVAL)?;
    let nevents = usize::try_from(nevents).map_err(|_| Errno::EINVAL)?;
    let caller = Caller { queue, life: queue.life(), kq };
    check_readable(changes.cast(), nchanges * size_of::<KEvent>())?;
    // More than there are knotes will not be written.
    let written = nevents.min((nchanges + queue.most_events()).max(1));
    // SAFETY: the caller's promise.
    unsafe { check_writable(events.cast(), written * size_of::<KEvent>()) }?;
    Ok(Call { caller, timeout })
}
