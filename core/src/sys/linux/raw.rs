//! The system calls the engine makes, raw: no libc symbol is called, since a compat library may
//! export that very symbol, and libc's `errno` is left alone, since a successful call must not
//! change it.
//!
//! One function per system call, named as it, with the kernel's own argument order. Where a
//! pointer comes from the caller of the library it stays a raw pointer: the kernel checks it and
//! says EFAULT.

use std::os::fd::RawFd;

use self::gate::{syscall0, syscall1, syscall2, syscall3, syscall4, syscall5, syscall6};
use libc::{c_int, c_uint, c_void};
use nix::errno::Errno;
use syscalls::Sysno;

mod file;
mod gate;
mod process;
mod signal;
mod uring;

pub use file::*;
pub use process::*;
pub use signal::*;
pub use uring::*;

/// The result of a system call.
pub type Result<T> = std::result::Result<T, Errno>;

/// Size of the kernel's signal set, in bytes: what `epoll_pwait`, `ppoll` and kin take beside the
/// mask (signal(7): 64 signals on every architecture we build for).
pub const SIGSET_BYTES: usize = 8;

/// How many bits a word of an fd_set has.
pub const FD_MASK_BITS: usize = 64;

/// Runs `work`: a system call of ours leaves errno alone.
#[inline]
pub fn keep_errno<T>(work: impl FnOnce() -> T) -> T {
    work()
}

/// The monotonic clock at its last tick.
pub const COARSE_CLOCK: libc::clockid_t = libc::CLOCK_MONOTONIC_COARSE;

/// Nothing has to be looked for: these are system calls.
#[inline]
pub fn prepare() {}

/// Turns the register value that a system call left into a result.
#[inline(always)]
fn check(value: usize) -> Result<usize> {
    // The kernel returns -errno in [-4095, -1]; every other value is a success.
    if value > -4096_isize as usize {
        Err(Errno::from_raw((value as isize).wrapping_neg() as c_int))
    } else {
        Ok(value)
    }
}

/// `epoll_create1(flags)`: a new epoll descriptor.
///
/// # Errors
/// Those of epoll_create1(2).
#[inline]
pub fn epoll_create1(flags: c_int) -> Result<RawFd> {
    // SAFETY: takes no pointer.
    check(unsafe { syscall1(Sysno::epoll_create1 as usize, flags as usize) }).map(|fd| fd as RawFd)
}

/// `epoll_ctl(epfd, op, fd, event)`. The kernel copies the event in, and checks the pointer.
///
/// # Errors
/// Those of epoll_ctl(2).
#[inline(always)]
pub fn epoll_ctl(epfd: RawFd, op: c_int, fd: RawFd, event: *const libc::epoll_event) -> Result<()> {
    // SAFETY: the kernel reads `event` with copy_from_user, which fails with EFAULT on a bad one.
    check(unsafe {
        syscall4(Sysno::epoll_ctl as usize, epfd as usize, op as usize, fd as usize, event as usize)
    })
    .map(drop)
}

/// `epoll_wait(epfd, events, maxevents, timeout_ms)`. Where the kernel has it, it is some 15 ns
/// quicker than `epoll_pwait` without a mask, which newer architectures have instead.
///
/// # Safety
/// As for [`epoll_pwait`].
///
/// # Errors
/// Those of epoll_wait(2).
#[inline(always)]
pub unsafe fn epoll_wait(
    epfd: RawFd,
    events: *mut libc::epoll_event,
    maxevents: c_int,
    timeout: c_int,
) -> Result<usize> {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: the caller's promise.
    return check(unsafe {
        syscall4(
            Sysno::epoll_wait as usize,
            epfd as usize,
            events as usize,
            maxevents as usize,
            timeout as usize,
        )
    });
    #[cfg(not(target_arch = "x86_64"))]
    // SAFETY: the caller's promise.
    return unsafe { epoll_pwait(epfd, events, maxevents, timeout, std::ptr::null()) };
}

/// `epoll_pwait(epfd, events, maxevents, timeout_ms, sigmask)`.
///
/// # Safety
/// The kernel writes up to `maxevents` events to `events`: that memory must belong to whoever
/// asked for this call. A pointer to nothing is EFAULT.
///
/// # Errors
/// Those of epoll_pwait(2).
#[inline]
pub unsafe fn epoll_pwait(
    epfd: RawFd,
    events: *mut libc::epoll_event,
    maxevents: c_int,
    timeout: c_int,
    sigmask: *const libc::sigset_t,
) -> Result<usize> {
    // SAFETY: the caller's promise on `events`; `sigmask` is only read, with copy_from_user.
    check(unsafe {
        syscall6(
            Sysno::epoll_pwait as usize,
            epfd as usize,
            events as usize,
            maxevents as usize,
            timeout as usize,
            sigmask as usize,
            SIGSET_BYTES,
        )
    })
}

/// `epoll_pwait2(epfd, events, maxevents, timeout, sigmask)`, Linux 5.11; ENOSYS before.
///
/// # Safety
/// As for [`epoll_pwait`].
///
/// # Errors
/// Those of epoll_pwait2(2).
#[inline]
pub unsafe fn epoll_pwait2(
    epfd: RawFd,
    events: *mut libc::epoll_event,
    maxevents: c_int,
    timeout: *const libc::timespec,
    sigmask: *const libc::sigset_t,
) -> Result<usize> {
    // SAFETY: the caller's promise on `events`; the others are only read, with copy_from_user.
    check(unsafe {
        syscall6(
            Sysno::epoll_pwait2 as usize,
            epfd as usize,
            events as usize,
            maxevents as usize,
            timeout as usize,
            sigmask as usize,
            SIGSET_BYTES,
        )
    })
}

/// `poll(fds, nfds, timeout)`, in milliseconds; negative: for ever. By the older call where the
/// architecture has it (see [`epoll_wait`]).
///
/// # Safety
/// As for [`ppoll`].
///
/// # Errors
/// Those of poll(2).
#[inline]
pub unsafe fn poll(fds: *mut libc::pollfd, nfds: usize, timeout: libc::c_int) -> Result<usize> {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: the caller's promise on `fds`.
    return check(unsafe { syscall3(Sysno::poll as usize, fds as usize, nfds, timeout as usize) });
    #[cfg(not(target_arch = "x86_64"))]
    {
        let mut time = libc::timespec {
            tv_sec: (timeout / 1000).into(),
            tv_nsec: (timeout % 1000 * 1_000_000).into(),
        };
        let time = if timeout < 0 { std::ptr::null_mut() } else { &raw mut time };
        // SAFETY: the caller's promise; `time` is null or ours.
        unsafe { ppoll(fds, nfds as libc::nfds_t, time, std::ptr::null()) }
    }
}

/// `ppoll(fds, nfds, timeout, sigmask)`. The kernel writes the time left into `timeout`.
///
/// # Safety
/// The kernel writes `revents` of `nfds` entries: they must belong to whoever asked for this call.
/// So must `timeout`. Pointers to nothing are EFAULT.
///
/// # Errors
/// Those of ppoll(2).
#[inline]
pub unsafe fn ppoll(
    fds: *mut libc::pollfd,
    nfds: libc::nfds_t,
    timeout: *mut libc::timespec,
    sigmask: *const libc::sigset_t,
) -> Result<usize> {
    // SAFETY: the caller's promise; `sigmask` is only read, with copy_from_user.
    check(unsafe {
        syscall5(
            Sysno::ppoll as usize,
            fds as usize,
            nfds as usize,
            timeout as usize,
            sigmask as usize,
            SIGSET_BYTES,
        )
    })
}

/// `close(fd)`.
///
/// # Errors
/// Those of close(2).
#[inline]
pub fn close(fd: RawFd) -> Result<()> {
    // SAFETY: takes no pointer. That the number is ours to close is the caller's business, as it
    // is with every number.
    check(unsafe { syscall1(Sysno::close as usize, fd as usize) }).map(drop)
}

/// `dup3(old, new, flags)`.
///
/// # Errors
/// Those of dup3(2).
#[inline]
pub fn dup3(old: RawFd, new: RawFd, flags: c_int) -> Result<()> {
    // SAFETY: takes no pointer. That the number is ours to replace is the caller's business.
    check(unsafe { syscall3(Sysno::dup3 as usize, old as usize, new as usize, flags as usize) })
        .map(drop)
}

/// `getdents64(fd, buf)`: entries of a directory, as many as fit; 0 at its end.
///
/// # Errors
/// Those of getdents64(2).
#[inline]
pub fn getdents64(fd: RawFd, buf: &mut [u8]) -> Result<usize> {
    // SAFETY: the kernel writes at most `buf.len()` bytes to `buf`, which is borrowed mutably.
    check(unsafe {
        syscall3(Sysno::getdents64 as usize, fd as usize, buf.as_mut_ptr() as usize, buf.len())
    })
}

/// `read(fd, buf)`.
///
/// # Errors
/// Those of read(2).
#[inline]
pub fn read(fd: RawFd, buf: &mut [u8]) -> Result<usize> {
    // SAFETY: the kernel writes at most `buf.len()` bytes to `buf`, which is borrowed mutably.
    check(unsafe {
        syscall3(Sysno::read as usize, fd as usize, buf.as_mut_ptr() as usize, buf.len())
    })
}

/// `write(fd, buf)`.
///
/// # Errors
/// Those of write(2).
#[inline]
pub fn write(fd: RawFd, buf: &[u8]) -> Result<usize> {
    // SAFETY: the kernel only reads `buf`, which is borrowed.
    check(unsafe { syscall3(Sysno::write as usize, fd as usize, buf.as_ptr() as usize, buf.len()) })
}

/// `fcntl(fd, cmd, arg)` for the commands whose argument is a number.
///
/// # Errors
/// Those of fcntl(2).
#[inline]
pub fn fcntl(fd: RawFd, cmd: c_int, arg: c_int) -> Result<c_int> {
    debug_assert!(matches!(
        cmd,
        libc::F_DUPFD_CLOEXEC
            | libc::F_GETFD
            | libc::F_SETFD
            | libc::F_GETFL
            | libc::F_SETFL
            | libc::F_GETPIPE_SZ
    ));
    // SAFETY: with those commands the kernel takes `arg` as a number.
    check(unsafe { syscall3(Sysno::fcntl as usize, fd as usize, cmd as usize, arg as usize) })
        .map(|v| v as c_int)
}

/// `ioctl(fd, request, &mut int)` for the requests that write one int (FIONREAD, SIOCOUTQ).
///
/// # Errors
/// Those of ioctl(2).
#[inline(always)]
pub fn ioctl_int(fd: RawFd, request: libc::c_ulong) -> Result<c_int> {
    let mut value: c_int = 0;
    // SAFETY: the requests named above write one int, and `value` is one.
    check(unsafe {
        syscall3(Sysno::ioctl as usize, fd as usize, request as usize, &raw mut value as usize)
    })
    .map(|_| value)
}

/// `getsockopt(fd, level, name)` for an option of type `T`; EINVAL if the kernel's has another
/// size than asked for and `T` would not be filled.
///
/// # Errors
/// Those of getsockopt(2).
#[inline]
pub fn getsockopt<T: Copy + Default>(fd: RawFd, level: c_int, name: c_int) -> Result<T> {
    let mut value = T::default();
    let mut len = size_of::<T>() as libc::socklen_t;
    // SAFETY: the kernel writes at most `len` bytes, the size of `value`, and updates `len`.
    check(unsafe {
        syscall5(
            Sysno::getsockopt as usize,
            fd as usize,
            level as usize,
            name as usize,
            &raw mut value as usize,
            &raw mut len as usize,
        )
    })
    .map(|_| value)
}

/// `socket(domain, kind, protocol)`.
///
/// # Errors
/// Those of socket(2).
#[inline]
pub fn socket(domain: c_int, kind: c_int, protocol: c_int) -> Result<RawFd> {
    // SAFETY: takes no pointer.
    check(unsafe {
        syscall3(Sysno::socket as usize, domain as usize, kind as usize, protocol as usize)
    })
    .map(|fd| fd as RawFd)
}

/// `eventfd2(initval, flags)`.
///
/// # Errors
/// Those of eventfd(2).
#[inline]
pub fn eventfd(initval: c_uint, flags: c_int) -> Result<RawFd> {
    // SAFETY: takes no pointer.
    check(unsafe { syscall2(Sysno::eventfd2 as usize, initval as usize, flags as usize) })
        .map(|fd| fd as RawFd)
}

/// `timerfd_create(clock, flags)`.
///
/// # Errors
/// Those of timerfd_create(2).
#[inline]
pub fn timerfd_create(clock: c_int, flags: c_int) -> Result<RawFd> {
    // SAFETY: takes no pointer.
    check(unsafe { syscall2(Sysno::timerfd_create as usize, clock as usize, flags as usize) })
        .map(|fd| fd as RawFd)
}

/// `timerfd_settime(fd, flags, new, NULL)`.
///
/// # Errors
/// Those of timerfd_settime(2).
#[inline]
pub fn timerfd_settime(fd: RawFd, flags: c_int, new: &libc::itimerspec) -> Result<()> {
    // SAFETY: the kernel only reads `new`; the old value is not asked for.
    check(unsafe {
        syscall4(
            Sysno::timerfd_settime as usize,
            fd as usize,
            flags as usize,
            std::ptr::from_ref(new) as usize,
            0,
        )
    })
    .map(drop)
}

/// `getpid()`, never cached: a vfork child shares our memory but not our number.
#[inline]
pub fn getpid() -> libc::pid_t {
    // SAFETY: takes no pointer and cannot fail.
    let pid = unsafe { syscall0(Sysno::getpid as usize) };
    pid as libc::pid_t
}

/// The soft limit of RLIMIT_NOFILE: poll takes no more entries.
///
/// # Errors
/// Those of prlimit(2).
pub fn descriptor_limit() -> Result<u64> {
    let mut limit = libc::rlimit64 { rlim_cur: 0, rlim_max: 0 };
    let (which, here) = (libc::RLIMIT_NOFILE as usize, &raw mut limit as usize);
    // SAFETY: of this process; no new limit is set, and the old one goes to a struct of ours.
    check(unsafe { syscall4(Sysno::prlimit64 as usize, 0, which, 0, here) })?;
    Ok(limit.rlim_cur)
}

/// `gettid()`.
#[inline]
pub fn gettid() -> libc::pid_t {
    // SAFETY: takes no pointer and cannot fail.
    let tid = unsafe { syscall0(Sysno::gettid as usize) };
    tid as libc::pid_t
}

/// `madvise(addr, len, advice)`.
///
/// # Safety
/// As for madvise(2): the advice must not take memory away that is in use.
///
/// # Errors
/// Those of madvise(2).
#[inline]
pub unsafe fn madvise(addr: *mut c_void, len: usize, advice: c_int) -> Result<()> {
    // SAFETY: the caller's promise.
    check(unsafe { syscall3(Sysno::madvise as usize, addr as usize, len, advice as usize) })
        .map(drop)
}

/// Has the kernel make memory ready to be written, which changes nothing that is in it; an error
/// where poll would say EFAULT (Linux 5.14, before that always).
///
/// # Safety
/// As for [`madvise`].
///
/// # Errors
/// Those of madvise(2).
pub unsafe fn populate(addr: *mut c_void, len: usize) -> Result<()> {
    // SAFETY: the caller's promise.
    unsafe { madvise(addr, len, libc::MADV_POPULATE_WRITE) }
}

/// `mmap` of `len` bytes of private, anonymous, writable memory, filled with zeros.
///
/// # Errors
/// Those of mmap(2).
#[inline]
pub fn mmap_anonymous(len: usize) -> Result<*mut c_void> {
    // SAFETY: maps new memory at an address of the kernel's choice; nothing that exists is touched.
    check(unsafe {
        syscall6(
            Sysno::mmap as usize,
            0,
            len,
            (libc::PROT_READ | libc::PROT_WRITE) as usize,
            (libc::MAP_PRIVATE | libc::MAP_ANONYMOUS) as usize,
            usize::MAX,
            0,
        )
    })
    .map(|address| address as *mut c_void)
}

/// `rt_sigprocmask(how, set, old)`.
///
/// # Safety
/// The kernel writes eight bytes to `old`, unless that is null: they must belong to whoever asked.
///
/// # Errors
/// Those of sigprocmask(2).
#[inline]
unsafe fn rt_sigprocmask(
    how: c_int,
    set: *const libc::sigset_t,
    old: *mut libc::sigset_t,
) -> Result<()> {
    // SAFETY: the caller's promise; `set` is only read, with copy_from_user.
    check(unsafe {
        syscall4(
            Sysno::rt_sigprocmask as usize,
            how as usize,
            set as usize,
            old as usize,
            SIGSET_BYTES,
        )
    })
    .map(drop)
}

/// Has the kernel check a time that a caller gave, without using it: `EFAULT` when it cannot be
/// read, `EINVAL` when it is negative or has a second's worth of nanoseconds.
///
/// A futex wait looks at its timeout before it looks at the number, which is not the expected one,
/// so it never waits. (To read the pointer ourselves would be a crash where the caller is owed
/// EFAULT.)
///
/// # Errors
/// `EFAULT`: it cannot be read. `EINVAL`: it is no time.
#[inline]
pub fn check_timespec(time: *const libc::timespec) -> Result<()> {
    let number = 0_u32;
    // SAFETY: `number` is ours; `time` is only read, with copy_from_user.
    let result = check(unsafe {
        syscall4(
            Sysno::futex as usize,
            &raw const number as usize,
            (libc::FUTEX_WAIT | libc::FUTEX_PRIVATE_FLAG) as usize,
            1,
            time as usize,
        )
    });
    match result {
        Err(Errno::EAGAIN) => Ok(()),
        Err(other) => Err(other),
        Ok(_) => Ok(()),
    }
}

/// `munmap(addr, len)`.
///
/// # Safety
/// As for munmap(2): nothing may use that memory any more.
///
/// # Errors
/// Those of munmap(2).
#[inline]
pub unsafe fn munmap(addr: *mut c_void, len: usize) -> Result<()> {
    // SAFETY: the caller's promise.
    check(unsafe { syscall2(Sysno::munmap as usize, addr as usize, len) }).map(drop)
}

/// `readlink(path, buf)`: the part of the target that fits.
///
/// # Errors
/// Those of readlink(2).
#[inline]
pub fn readlink<'a>(path: &std::ffi::CStr, buf: &'a mut [u8]) -> Result<&'a [u8]> {
    let (dir, path) = (libc::AT_FDCWD as usize, path.as_ptr() as usize);
    // SAFETY: the kernel reads `path`, which ends with a NUL, and writes at most `buf.len()` bytes.
    let len = check(unsafe {
        syscall4(Sysno::readlinkat as usize, dir, path, buf.as_mut_ptr() as usize, buf.len())
    })?;
    Ok(&buf[..len])
}

/// `pselect6(nfds, readfds, writefds, exceptfds, timeout, {sigmask, size})`. The kernel writes the
/// time left into `timeout`.
///
/// # Safety
/// The kernel writes the sets and the timeout: they must belong to whoever asked for this call.
/// Pointers to nothing are EFAULT.
///
/// # Errors
/// Those of pselect(2).
#[inline]
pub unsafe fn pselect(
    nfds: c_int,
    [readfds, writefds, exceptfds]: [*mut c_void; 3],
    timeout: *mut libc::timespec,
    sigmask: *const libc::sigset_t,
) -> Result<usize> {
    // pselect(2): six arguments are all a system call can have, so the last two share one.
    let mask = [sigmask as usize, SIGSET_BYTES];
    // SAFETY: the caller's promise; `mask` and what it points to are only read.
    check(unsafe {
        syscall6(
            Sysno::pselect6 as usize,
            nfds as usize,
            readfds as usize,
            writefds as usize,
            exceptfds as usize,
            timeout as usize,
            mask.as_ptr() as usize,
        )
    })
}

/// `close_range(first, last, 0)`, Linux 5.9; ENOSYS before.
///
/// # Errors
/// Those of close_range(2).
#[inline]
pub fn close_range(first: c_uint, last: c_uint) -> Result<()> {
    // SAFETY: takes no pointer. As for `close`, the numbers are the caller's business.
    check(unsafe { syscall3(Sysno::close_range as usize, first as usize, last as usize, 0) })
        .map(drop)
}
