//! The system's calls that poll and select stand on, by libc's functions.
//!
//! Those that a library of ours may export itself are the next library's ([`Next`]). Where there is no
//! next one, since the program has no dynamic linker, they are libc's of that name, unless that is ours.

use std::os::fd::RawFd;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicBool, Ordering};

use libc::{c_int, c_void, fd_set, nfds_t, pollfd, sigset_t, timespec, timeval};
use nix::errno::Errno;

use crate::next::Next;

/// How many bits a word of an fd_set has.
pub const FD_MASK_BITS: usize = if cfg!(any(
    kqcompat_layout = "netbsd",
    kqcompat_layout = "openbsd",
    kqcompat_layout = "macos"
)) {
    32
} else {
    64
};

/// The result of a call.
pub type Result<T> = std::result::Result<T, Errno>;

/// Size of a signal mask.
pub const SIGSET_BYTES: usize = size_of::<sigset_t>();

/// The monotonic clock: not every system has one that is read more cheaply.
pub const COARSE_CLOCK: libc::clockid_t = libc::CLOCK_MONOTONIC;

type Poll = unsafe extern "C-unwind" fn(*mut pollfd, nfds_t, c_int) -> c_int;
#[cfg(not(target_os = "macos"))]
type Ppoll =
    unsafe extern "C-unwind" fn(*mut pollfd, nfds_t, *const timespec, *const sigset_t) -> c_int;
type Select = unsafe extern "C-unwind" fn(
    c_int,
    *mut fd_set,
    *mut fd_set,
    *mut fd_set,
    *mut timeval,
) -> c_int;
type Pselect = unsafe extern "C-unwind" fn(
    c_int,
    *mut fd_set,
    *mut fd_set,
    *mut fd_set,
    *const timespec,
    *const sigset_t,
) -> c_int;

// SAFETY: poll(2).
static POLL: Next<Poll> = unsafe { Next::new(c"poll") };
// SAFETY: ppoll(2).
#[cfg(not(target_os = "macos"))]
static PPOLL: Next<Ppoll> = unsafe { Next::new(c"ppoll") };
// SAFETY: select(2); NetBSD's with a time_t of 64 bits; macOS's that takes any nfds.
static SELECT: Next<Select> = unsafe {
    Next::new(if cfg!(target_os = "netbsd") {
        c"__select50"
    } else if cfg!(target_os = "macos") {
        c"select$DARWIN_EXTSN"
    } else {
        c"select"
    })
};
// SAFETY: pselect(2), with the same differences.
static PSELECT: Next<Pselect> = unsafe {
    Next::new(if cfg!(target_os = "netbsd") {
        c"__pselect50"
    } else if cfg!(target_os = "macos") {
        c"pselect$DARWIN_EXTSN"
    } else {
        c"pselect"
    })
};

/// A library of ours exports functions of these names.
static EXPORTED: AtomicBool = AtomicBool::new(false);

/// To be called by a library that exports functions of these names: libc's may be behind them, and what
/// is linked by that name is the library's own.
pub fn are_exported() {
    EXPORTED.store(true, Ordering::Relaxed);
}

/// The function behind ours; None: libc's of that name will do.
///
/// # Errors
/// - `ENOSYS`: there is none, and what has the name is ours.
fn behind<F: Copy>(next: &Next<F>) -> Result<Option<F>> {
    match next.get() {
        None if EXPORTED.load(Ordering::Relaxed) => Err(Errno::ENOSYS),
        next => Ok(next),
    }
}

/// Looks for the functions behind ours: to be called early, since looking allocates.
pub fn prepare() {
    POLL.find();
    #[cfg(not(target_os = "macos"))]
    PPOLL.find();
    SELECT.find();
    PSELECT.find();
}

/// Runs `work`, and leaves errno as it was: calls that fail on the way are nobody's business.
pub fn keep_errno<T>(work: impl FnOnce() -> T) -> T {
    let errno = Errno::last_raw();
    let result = work();
    Errno::set_raw(errno);
    result
}

fn returned(value: c_int) -> Result<usize> {
    Errno::result(value).map(|value| value as usize)
}

/// `poll(fds, nfds, timeout)`, in milliseconds; negative: for ever.
///
/// # Safety
/// `fds` are `nfds` entries of whoever asked for this call.
///
/// # Errors
/// Those of poll(2).
pub unsafe fn poll(fds: *mut pollfd, nfds: usize, timeout: c_int) -> Result<usize> {
    // SAFETY: the caller's promise.
    returned(unsafe {
        match behind(&POLL)? {
            Some(next) => next(fds, nfds as nfds_t, timeout),
            None => libc::poll(fds, nfds as nfds_t, timeout),
        }
    })
}

/// `ppoll(fds, nfds, timeout, sigmask)`. The timeout is left as it is.
///
/// # Safety
/// As for [`poll`]; the timeout and the mask are null or can be read.
///
/// # Errors
/// Those of ppoll(2).
#[cfg(not(target_os = "macos"))]
pub unsafe fn ppoll(
    fds: *mut pollfd,
    nfds: nfds_t,
    timeout: *mut timespec,
    sigmask: *const sigset_t,
) -> Result<usize> {
    // SAFETY: the caller's promise.
    returned(unsafe {
        match behind(&PPOLL)? {
            Some(next) => next(fds, nfds, timeout, sigmask),
            None => libc::ppoll(fds, nfds, timeout, sigmask),
        }
    })
}

#[cfg(target_os = "macos")]
pub use super::macos::ppoll;

/// `select(nfds, {readfds, writefds, exceptfds}, timeout)`.
///
/// # Safety
/// The sets have `nfds` bits, or are null, and are of whoever asked for this call; the timeout is null
/// or can be read.
///
/// # Errors
/// Those of select(2).
pub unsafe fn select(
    nfds: c_int,
    [r, w, e]: [*mut fd_set; 3],
    timeout: *mut timeval,
) -> Result<usize> {
    // SAFETY: the caller's promise.
    returned(unsafe {
        match behind(&SELECT)? {
            Some(next) => next(nfds, r, w, e, timeout),
            None => libc::select(nfds, r, w, e, timeout),
        }
    })
}

/// `pselect(nfds, {readfds, writefds, exceptfds}, timeout, sigmask)`. As Linux does it, the time left
/// is written into `timeout`.
///
/// # Safety
/// The sets have `nfds` bits, or are null; they and the timeout are of whoever asked for this call;
/// the mask is null or can be read.
///
/// # Errors
/// Those of pselect(2).
pub unsafe fn pselect(
    nfds: c_int,
    sets: [*mut c_void; 3],
    timeout: *mut timespec,
    sigmask: *const sigset_t,
) -> Result<usize> {
    let [r, w, e] = sets.map(<*mut c_void>::cast::<fd_set>);
    let begun = std::time::Instant::now();
    // SAFETY: the caller's promise.
    let result = returned(unsafe {
        match behind(&PSELECT)? {
            Some(next) => next(nfds, r, w, e, timeout, sigmask),
            None => libc::pselect(nfds, r, w, e, timeout, sigmask),
        }
    });
    // SAFETY: the caller's promise.
    if let Some(time) = unsafe { timeout.as_mut() } {
        let left = |whole: timespec| {
            let whole = std::time::Duration::new(
                u64::try_from(whole.tv_sec).ok()?,
                u32::try_from(whole.tv_nsec).ok()?,
            );
            Some(whole.saturating_sub(begun.elapsed()))
        };
        if let Some(left) = left(*time) {
            time.tv_sec = left.as_secs() as libc::time_t;
            time.tv_nsec = left.subsec_nanos().into();
        }
    }
    result
}

/// `close(fd)`.
///
/// # Errors
/// Those of close(2).
pub fn close(fd: RawFd) -> Result<()> {
    // SAFETY: takes no pointer. That the number is ours to close is the caller's business.
    Errno::result(unsafe { libc::close(fd) }).map(drop)
}

/// `fcntl(fd, cmd, arg)` for commands that take a number or nothing.
///
/// # Errors
/// Those of fcntl(2).
pub fn fcntl(fd: RawFd, cmd: c_int, arg: c_int) -> Result<c_int> {
    // SAFETY: no pointer is passed.
    Errno::result(unsafe { libc::fcntl(fd, cmd, arg) })
}

/// `getpid()`.
pub fn getpid() -> libc::pid_t {
    // SAFETY: takes nothing.
    unsafe { libc::getpid() }
}

/// A number of the calling thread: the systems have no call for it in common.
pub fn gettid() -> libc::pid_t {
    // SAFETY: takes nothing.
    unsafe { libc::pthread_self() as usize as libc::pid_t }
}

/// The soft limit of RLIMIT_NOFILE: poll takes no more entries.
///
/// # Errors
/// Those of getrlimit(2).
#[allow(clippy::unnecessary_cast, reason = "some systems' limits are signed")]
pub fn descriptor_limit() -> Result<u64> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: fills a struct of ours.
    Errno::result(unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) })?;
    Ok(limit.rlim_cur as u64)
}

/// Would show that memory can be written: not every system has a call for it.
///
/// # Safety
/// As for madvise(2).
///
/// # Errors
/// `ENOSYS`.
pub unsafe fn populate(_addr: *mut c_void, _len: usize) -> Result<()> {
    Err(Errno::ENOSYS)
}

/// `mmap` of `len` bytes of private, anonymous, writable memory, filled with zeros.
///
/// # Errors
/// Those of mmap(2).
pub fn mmap_anonymous(len: usize) -> Result<*mut c_void> {
    let (protection, flags) =
        (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANON);
    // SAFETY: maps new memory at an address of the kernel's choice; nothing that exists is touched.
    match unsafe { libc::mmap(null_mut(), len, protection, flags, -1, 0) } {
        libc::MAP_FAILED => Err(Errno::last()),
        address => Ok(address),
    }
}

/// `munmap(addr, len)`.
///
/// # Safety
/// As for munmap(2): nothing may use that memory any more.
///
/// # Errors
/// Those of munmap(2).
pub unsafe fn munmap(addr: *mut c_void, len: usize) -> Result<()> {
    // SAFETY: the caller's promise.
    Errno::result(unsafe { libc::munmap(addr, len) }).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_next_one_a_library_has_none() {
        // SAFETY: there is no such function.
        static NONE: Next<Poll> = unsafe { Next::new(c"kqcompat_no_such_function") };
        assert!(behind(&NONE).unwrap().is_none());
        are_exported();
        assert_eq!(behind(&NONE).err(), Some(Errno::ENOSYS));
        assert!(behind(&POLL).unwrap().is_some());
    }
}
