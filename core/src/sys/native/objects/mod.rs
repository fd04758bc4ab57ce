//! eventfd, timerfd and signalfd where the system has none: a queue each, whose knotes say when it can
//! be read, and beside it in this process's memory what it counts.
//!
//! So a descriptor is a real one: poll, select, kevent and epoll say of it what they say of a queue,
//! and it may be closed and duplicated like any other. But the kernel knows nothing of what it counts,
//! so `read`, `write` and `fcntl` of such a number have to be those of here; the headers see to that.
//! What belongs to a number that was closed is found out by the queue's mark ([`super::marked`]).
//!
//! All of it may be called from a signal handler: all signals are blocked while anything is locked.
//!
//! Rejected: a socket or a pipe for an eventfd, which can be polled for room too. It takes a second
//! descriptor that nobody closes, or a name in the file system.

mod bell;
mod event;
mod filter;
mod siginfo;
mod signal;
mod timer;

use std::os::fd::RawFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use libc::{c_int, c_void, pollfd, sigset_t};
use nix::errno::Errno;

use super::marked::{self, Marked, Table};
use super::raw::{self, keep_errno};

pub use event::{EFD_CLOEXEC, EFD_NONBLOCK, EFD_SEMAPHORE, eventfd};
pub use siginfo::SignalInfo;
pub use signal::{SFD_CLOEXEC, SFD_NONBLOCK, signalfd};
pub use timer::{
    TFD_CLOEXEC, TFD_NONBLOCK, TFD_TIMER_ABSTIME, TFD_TIMER_CANCEL_ON_SET, Times, timerfd_create,
    timerfd_gettime, timerfd_settime,
};

/// One of the three.
#[derive(Debug)]
struct Object {
    /// The queue's mark.
    id: usize,
    nonblock: AtomicBool,
    state: Mutex<State>,
}

/// What it counts.
#[derive(Debug)]
enum State {
    Event(event::Counter),
    Timer(timer::Timer),
    Signal(signal::Signals),
}

impl Marked for Object {
    fn id(&self) -> usize {
        self.id
    }
}

impl Object {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

static TABLE: Table<Object> = Table::new();

/// Runs `work` with all signals blocked, so that a handler finds nothing locked. errno stays as it is.
fn guarded<T>(work: impl FnOnce() -> T) -> T {
    keep_errno(|| {
        // SAFETY: sigset_t is plain data, filled before it is read; the pointers are to our own.
        let before = unsafe {
            let (mut all, mut before): (sigset_t, sigset_t) = std::mem::zeroed();
            libc::sigfillset(&mut all);
            libc::pthread_sigmask(libc::SIG_SETMASK, &all, &mut before);
            before
        };
        let result = work();
        // SAFETY: the mask of before.
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &before, std::ptr::null_mut()) };
        result
    })
}

/// Makes one, and begins with it.
fn create(
    mut state: State,
    close_on_exec: bool,
    nonblock: bool,
    begin: impl FnOnce(&mut State, RawFd) -> Result<(), Errno>,
) -> Result<RawFd, Errno> {
    let (kq, id) = marked::create()?;
    super::set_close_on_exec(kq, close_on_exec);
    if let Err(errno) = begin(&mut state, kq) {
        // It is known to nobody.
        let _ = raw::close(kq);
        return Err(errno);
    }
    let object = Object { id, nonblock: AtomicBool::new(nonblock), state: Mutex::new(state) };
    TABLE.insert(kq, Arc::new(object));
    filter::add(kq);
    Ok(kq)
}

/// What a number is, if it is one of ours.
fn find(fd: RawFd) -> Option<Arc<Object>> {
    TABLE.proven(fd).or_else(|| {
        let found = TABLE.duplicate(fd)?;
        filter::add(fd);
        Some(found)
    })
}

/// What a number is that a call of ours is made for.
///
/// # Errors
/// - `EBADF`: it is not open.
/// - `EINVAL`: it is none of ours.
fn named(fd: RawFd) -> Result<Arc<Object>, Errno> {
    find(fd).ok_or_else(|| {
        // SAFETY: takes a number.
        let is_open = unsafe { libc::fcntl(fd, libc::F_GETFD) != -1 };
        if is_open { Errno::EINVAL } else { Errno::EBADF }
    })
}

/// Is it one of ours, as far as is known? Asked of every number that is read or written.
fn may_be(fd: RawFd) -> Option<Arc<Object>> {
    if !filter::has(fd) {
        return None;
    }
    guarded(|| TABLE.proven(fd))
}

/// What the system says of a read or write of a queue, or of a library's queue that it knows nothing
/// of: then the number may be a duplicate's.
fn may_be_duplicate(fd: RawFd, errno: Errno) -> Option<Arc<Object>> {
    let of_a_queue = [Errno::ENXIO, Errno::EOPNOTSUPP, Errno::EINVAL, Errno::ENODEV, Errno::EBADF];
    if filter::is_empty() || !of_a_queue.contains(&errno) {
        return None;
    }
    guarded(|| find(fd))
}

/// One of ours; or what the system's call, which is made where the number is not known to be one, says.
fn object_or(fd: RawFd, call: impl FnOnce() -> isize) -> Result<Arc<Object>, Result<usize, Errno>> {
    if let Some(object) = may_be(fd) {
        return Ok(object);
    }
    let n = call();
    let duplicate = (n < 0).then(Errno::last).and_then(|errno| may_be_duplicate(fd, errno));
    duplicate.ok_or_else(|| Errno::result(n).map(|n| n as usize))
}

/// `read(fd, buf, count)` - takes what one of ours has counted, and waits for it unless it is not to
/// block; of every other descriptor it is read(2). Returns the number of bytes.
///
/// # Errors
/// - `EAGAIN`: there is nothing to read, and it does not block.
/// - `EINVAL`: there is no room for a number (8 bytes) or a signal ([`SignalInfo`]).
/// - `EINTR`: a signal handler ran.
/// - Those of read(2).
///
/// # Safety
/// `buf` has room for `count` bytes.
pub unsafe fn read(fd: RawFd, buf: *mut c_void, count: usize) -> Result<usize, Errno> {
    // SAFETY: the caller's promise.
    let object = match object_or(fd, || unsafe { libc::read(fd, buf, count) }) {
        Ok(object) => object,
        Err(done) => return done,
    };
    loop {
        let taken = guarded(|| {
            let mut state = object.lock();
            match &mut *state {
                // SAFETY: the caller's promise.
                State::Event(counter) => unsafe { number(buf, count, || counter.take(fd)) },
                // SAFETY: the caller's promise.
                State::Timer(timer) => unsafe { number(buf, count, || timer.take(fd)) },
                // SAFETY: the caller's promise.
                State::Signal(signals) => unsafe { signals.take(fd, buf.cast(), count) },
            }
        });
        if taken != Err(Errno::EAGAIN) || object.nonblock.load(Ordering::Relaxed) {
            return taken;
        }
        sleep(fd)?;
    }
}

/// Gives a number to a caller who has room for it.
///
/// # Safety
/// `buf` has room for `count` bytes.
unsafe fn number(
    buf: *mut c_void,
    count: usize,
    take: impl FnOnce() -> Result<u64, Errno>,
) -> Result<usize, Errno> {
    if count < size_of::<u64>() {
        return Err(Errno::EINVAL);
    }
    if buf.is_null() {
        return Err(Errno::EFAULT);
    }
    let number = take()?;
    // SAFETY: the caller's promise; C's may be at any address.
    unsafe { buf.cast::<u64>().write_unaligned(number) };
    Ok(size_of::<u64>())
}

/// Sleeps until the queue has something.
fn sleep(fd: RawFd) -> Result<(), Errno> {
    let mut entry = pollfd { fd, events: libc::POLLIN, revents: 0 };
    // SAFETY: one entry, ours.
    unsafe { raw::poll(&mut entry, 1, -1) }?;
    if entry.revents & libc::POLLNVAL != 0 { Err(Errno::EBADF) } else { Ok(()) }
}

/// `write(fd, buf, count)` - adds to an eventfd, and waits for room unless it is not to block; of every
/// other descriptor it is write(2). Returns the number of bytes.
///
/// # Errors
/// - `EAGAIN`: there is no room for the number, and it does not block.
/// - `EINVAL`: it is shorter than 8 bytes, or `u64::MAX`; or a timerfd or signalfd is to be written.
/// - `EINTR`: a signal handler ran.
/// - Those of write(2).
///
/// # Safety
/// `buf` holds `count` bytes.
pub unsafe fn write(fd: RawFd, buf: *const c_void, count: usize) -> Result<usize, Errno> {
    // SAFETY: the caller's promise.
    let object = match object_or(fd, || unsafe { libc::write(fd, buf, count) }) {
        Ok(object) => object,
        Err(done) => return done,
    };
    loop {
        let given = guarded(|| match &mut *object.lock() {
            State::Event(_) if count < size_of::<u64>() => Err(Errno::EINVAL),
            State::Event(_) if buf.is_null() => Err(Errno::EFAULT),
            State::Event(counter) => {
                // SAFETY: the caller's promise; C's may be at any address.
                let number = unsafe { buf.cast::<u64>().read_unaligned() };
                counter.add(fd, number).map(|()| size_of::<u64>())
            }
            State::Timer(_) | State::Signal(_) => Err(Errno::EINVAL),
        });
        if given != Err(Errno::EAGAIN) || object.nonblock.load(Ordering::Relaxed) {
            return given;
        }
        // A counter that is full is no everyday thing, and a queue does not tell of room.
        const LOOK: c_int = 10;
        // SAFETY: no entries.
        unsafe { raw::poll(std::ptr::null_mut(), 0, LOOK) }?;
    }
}

/// `fcntl(fd, cmd, arg)` - O_NONBLOCK of one of ours, which no queue has (F_GETFL, F_SETFL); everything
/// else, and of every other descriptor, is fcntl(2).
///
/// # Errors
/// Those of fcntl(2).
///
/// # Safety
/// As for fcntl(2), with `arg` the number or the pointer that the command takes.
pub unsafe fn fcntl(fd: RawFd, cmd: c_int, arg: isize) -> Result<c_int, Errno> {
    let ours = matches!(cmd, libc::F_GETFL | libc::F_SETFL) && !filter::is_empty();
    let Some(object) = ours.then(|| guarded(|| find(fd))).flatten() else {
        // SAFETY: the caller's promise.
        return Errno::result(unsafe { libc::fcntl(fd, cmd, arg) });
    };
    if cmd == libc::F_SETFL {
        object.nonblock.store(arg as c_int & libc::O_NONBLOCK != 0, Ordering::Relaxed);
        return Ok(0);
    }
    let nonblock = object.nonblock.load(Ordering::Relaxed);
    Ok(libc::O_RDWR | if nonblock { libc::O_NONBLOCK } else { 0 })
}
