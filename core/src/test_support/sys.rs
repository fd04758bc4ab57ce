//! The system calls that tests use, checked.

use std::ffi::CString;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::path::Path;
use std::ptr::null;

use libc::{c_int, c_void};
use nix::errno::Errno;

use super::threads::wait_until_process_sleeps;
use crate::{hooks, raw};

/// A result with the error number that the kernel gave.
pub type Result<T> = std::result::Result<T, Errno>;

/// Takes over a new descriptor.
pub(crate) fn own(fd: c_int) -> Result<OwnedFd> {
    // SAFETY: the callers pass what a system call that makes a descriptor returned just now.
    Errno::result(fd).map(|fd| unsafe { OwnedFd::from_raw_fd(fd) })
}

fn c_path(path: &Path) -> CString {
    CString::new(path.as_os_str().as_encoded_bytes()).expect("paths hold no zero byte")
}

/// `pipe2(O_NONBLOCK | O_CLOEXEC)`: the end to read from and the end to write to.
pub fn pipe() -> Result<(OwnedFd, OwnedFd)> {
    let mut ends = [0; 2];
    // SAFETY: the kernel writes two ints.
    Errno::result(unsafe { libc::pipe2(ends.as_mut_ptr(), libc::O_NONBLOCK | libc::O_CLOEXEC) })?;
    Ok((own(ends[0])?, own(ends[1])?))
}

/// `openpty()`: both sides of a pseudo-terminal, the master's first.
pub fn pty() -> Result<(OwnedFd, OwnedFd)> {
    let (mut master, mut slave) = (-1, -1);
    let name = std::ptr::null_mut();
    // SAFETY: the kernel writes two ints; no name, no settings, no size.
    let done = unsafe {
        let (settings, size) = (std::ptr::null(), std::ptr::null());
        libc::openpty(&mut master, &mut slave, name, settings, size)
    };
    Errno::result(done)?;
    Ok((own(master)?, own(slave)?))
}

/// `eventfd(count, EFD_NONBLOCK | EFD_CLOEXEC)`.
pub fn eventfd(count: u32) -> Result<OwnedFd> {
    // SAFETY: takes no pointer.
    own(unsafe { libc::eventfd(count, libc::EFD_NONBLOCK | libc::EFD_CLOEXEC) })
}

/// An epoll descriptor of the kernel's own.
///
/// # Panics
/// When there is none to be had.
pub fn own_epoll() -> OwnedFd {
    raw::epoll_create1(libc::EPOLL_CLOEXEC).and_then(own).expect("epoll_create1")
}

/// A timer on the monotonic clock, not armed.
pub fn timerfd() -> Result<OwnedFd> {
    // SAFETY: takes no pointer.
    own(unsafe {
        libc::timerfd_create(libc::CLOCK_MONOTONIC, libc::TFD_NONBLOCK | libc::TFD_CLOEXEC)
    })
}

/// Arms a timer, relative to now, in nanoseconds; 0 disarms it.
pub fn arm_timer(fd: RawFd, first: i64, interval: i64) -> Result<()> {
    let spec = |ns: i64| libc::timespec { tv_sec: ns / 1_000_000_000, tv_nsec: ns % 1_000_000_000 };
    let new = libc::itimerspec { it_value: spec(first), it_interval: spec(interval) };
    // SAFETY: the kernel reads `new`; the old value is not asked for.
    Errno::result(unsafe { libc::timerfd_settime(fd, 0, &new, std::ptr::null_mut()) }).map(drop)
}

/// A signalfd for those signals.
pub fn signalfd(signals: &[c_int]) -> Result<OwnedFd> {
    let set = super::signals::set_of(signals);
    // SAFETY: the set is valid.
    own(unsafe { libc::signalfd(-1, &set, libc::SFD_NONBLOCK | libc::SFD_CLOEXEC) })
}

/// An empty inotify queue.
pub fn inotify() -> Result<OwnedFd> {
    // SAFETY: takes no pointer.
    own(unsafe { libc::inotify_init1(libc::IN_NONBLOCK | libc::IN_CLOEXEC) })
}

/// Has an inotify queue report what `mask` says of the path.
pub fn watch(inotify: RawFd, path: &Path, mask: u32) -> Result<c_int> {
    // SAFETY: the path ends with a zero byte.
    Errno::result(unsafe { libc::inotify_add_watch(inotify, c_path(path).as_ptr(), mask) })
}

/// An empty file in memory.
pub fn memfd() -> OwnedFd {
    // SAFETY: the name ends with a zero byte.
    own(unsafe { libc::memfd_create(c"test".as_ptr(), libc::MFD_CLOEXEC) }).expect("memfd_create")
}

/// `open(path, flags | O_CLOEXEC, 0600)`.
pub fn open(path: impl AsRef<Path>, flags: c_int) -> Result<OwnedFd> {
    let path = c_path(path.as_ref());
    // SAFETY: the path ends with a zero byte.
    own(unsafe { libc::open(path.as_ptr(), flags | libc::O_CLOEXEC, 0o600) })
}

/// `mkfifo(path, 0600)`.
pub fn mkfifo(path: impl AsRef<Path>) -> Result<()> {
    let path = c_path(path.as_ref());
    // SAFETY: the path ends with a zero byte.
    Errno::result(unsafe { libc::mkfifo(path.as_ptr(), 0o600) }).map(drop)
}

/// `read(fd)` of up to `len` bytes.
pub fn read(fd: RawFd, len: usize) -> Result<Vec<u8>> {
    let mut buf = vec![0; len];
    // SAFETY: the kernel writes at most `len` bytes.
    let n = Errno::result(unsafe { libc::read(fd, buf.as_mut_ptr().cast(), len) })?;
    buf.truncate(n as usize);
    Ok(buf)
}

/// `write(fd, bytes)`.
pub fn write(fd: RawFd, bytes: &[u8]) -> Result<usize> {
    // SAFETY: the kernel reads `bytes`.
    Errno::result(unsafe { libc::write(fd, bytes.as_ptr().cast(), bytes.len()) })
        .map(|n| n as usize)
}

/// Writes chunks of `chunk` bytes until no more goes in, then single bytes; returns how many went.
pub fn fill(fd: RawFd, chunk: usize) -> usize {
    let mut total = 0;
    for size in [chunk, 1] {
        let bytes = vec![b'f'; size];
        loop {
            match write(fd, &bytes) {
                Ok(n) => total += n,
                Err(Errno::EAGAIN) => break,
                Err(other) => panic!("filling {fd}: {other}"),
            }
        }
    }
    total
}

/// Reads until nothing is left (or the end is reached); returns how many bytes there were.
pub fn drain(fd: RawFd) -> usize {
    let mut total = 0;
    loop {
        match read(fd, 65536) {
            Ok(bytes) if bytes.is_empty() => return total,
            Ok(bytes) => total += bytes.len(),
            Err(Errno::EAGAIN) => return total,
            Err(other) => panic!("draining {fd}: {other}"),
        }
    }
}

/// Closes a number; in a Rust program that tells of its closes, with the hooks around it. (Under a
/// preloaded library the hooks in the test's own copy of the engine have nobody to tell.)
fn closing<R>(fd: RawFd, close: impl FnOnce() -> R) -> R {
    if !hooks::are_complete() {
        return close();
    }
    hooks::before_close(fd);
    let result = close();
    hooks::after_close(fd);
    result
}

/// `close(fd)` of a number, whoever thinks to own it.
pub fn close(fd: RawFd) -> Result<()> {
    // SAFETY: takes no pointer. The test's numbers are its own.
    closing(fd, || Errno::result(unsafe { libc::close(fd) }).map(drop))
}

/// Closes every number from this one on, by raw system calls: also the queue that a preloaded
/// library, which hides it from close(2), may have made for the poll of Rust's own start.
pub fn close_from(first: RawFd) {
    for fd in super::leak::open_descriptors().into_keys().filter(|fd| *fd >= first) {
        raw::close(fd).expect("it is open");
    }
}

/// `dup(fd)`.
pub fn dup(fd: RawFd) -> Result<OwnedFd> {
    // SAFETY: takes no pointer.
    own(unsafe { libc::dup(fd) })
}

/// `dup2(fd, onto)`: the number that it has now, which is the caller's to close.
pub fn dup2(fd: RawFd, onto: RawFd) -> Result<RawFd> {
    // SAFETY: takes no pointer. The test's numbers are its own.
    closing(onto, || Errno::result(unsafe { libc::dup2(fd, onto) }))
}

/// `fcntl(fd, cmd, arg)` for a number.
pub fn fcntl(fd: RawFd, cmd: c_int, arg: c_int) -> Result<c_int> {
    // SAFETY: the tests pass commands that take a number or nothing.
    Errno::result(unsafe { libc::fcntl(fd, cmd, arg) })
}

/// Makes a descriptor nonblocking.
pub fn set_nonblocking(fd: &OwnedFd) {
    let flags = fcntl(fd.as_raw_fd(), libc::F_GETFL, 0).expect("F_GETFL");
    fcntl(fd.as_raw_fd(), libc::F_SETFL, flags | libc::O_NONBLOCK).expect("F_SETFL");
}

/// Is the number an open descriptor?
pub fn is_open(fd: RawFd) -> bool {
    fcntl(fd, libc::F_GETFD, 0).is_ok()
}

/// The kernel's own poll of one descriptor, without waiting: its revents.
pub fn poll(fd: RawFd, events: i16) -> i16 {
    poll_for(fd, events, 0)
}

/// The kernel's own poll of one descriptor for some milliseconds: its revents.
pub fn poll_for(fd: RawFd, events: i16, ms: i32) -> i16 {
    let deadline = monotonic_ns() + i64::from(ms) * 1_000_000;
    loop {
        let mut entry = libc::pollfd { fd, events, revents: 0 };
        let left = (deadline - monotonic_ns()).max(0);
        let mut time =
            libc::timespec { tv_sec: left / 1_000_000_000, tv_nsec: left % 1_000_000_000 };
        // SAFETY: one entry and one timespec, both ours.
        match super::faults::aside(|| unsafe { raw::ppoll(&mut entry, 1, &mut time, null()) }) {
            Ok(_) => return entry.revents,
            Err(Errno::EINTR) => {}
            Err(other) => panic!("poll of {fd}: {other}"),
        }
    }
}

/// Nanoseconds on the monotonic clock.
pub fn monotonic_ns() -> i64 {
    let mut now = MaybeUninit::<libc::timespec>::uninit();
    // SAFETY: the call fills the struct; it cannot fail for this clock.
    let now = unsafe {
        libc::clock_gettime(libc::CLOCK_MONOTONIC, now.as_mut_ptr());
        now.assume_init()
    };
    now.tv_sec * 1_000_000_000 + now.tv_nsec
}

/// An address that is mapped, but not to be touched (`PROT_NONE`) or only to be read.
pub fn guarded_page(protection: c_int) -> *mut c_void {
    // SAFETY: a new anonymous mapping, in nobody's way.
    let page = unsafe {
        libc::mmap(
            std::ptr::null_mut(),
            4096,
            protection,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
            -1,
            0,
        )
    };
    assert_ne!(page, libc::MAP_FAILED);
    page
}

/// Sets the soft limit on descriptors, and returns what it was.
pub fn set_descriptor_limit(soft: u64) -> u64 {
    let mut limit = MaybeUninit::<libc::rlimit>::uninit();
    // SAFETY: getrlimit fills the struct, setrlimit reads it.
    unsafe {
        assert_eq!(libc::getrlimit(libc::RLIMIT_NOFILE, limit.as_mut_ptr()), 0);
        let mut limit = limit.assume_init();
        let was = limit.rlim_cur;
        limit.rlim_cur = soft.min(limit.rlim_max);
        assert_eq!(libc::setrlimit(libc::RLIMIT_NOFILE, &limit), 0);
        was
    }
}

/// Runs `body` in a forked child, and returns the child's exit status. Only where this process has
/// one thread.
pub fn in_child(body: impl FnOnce() -> c_int) -> c_int {
    fork(body).wait()
}

/// The exit status of a forked child that runs `waits`, is stopped and continued twice while it sleeps
/// there, and is woken then. Only where this process has one thread.
pub fn stopped_and_continued(waits: impl FnOnce() -> c_int, wake: impl FnOnce()) -> c_int {
    let child = fork(waits);
    for _ in 0..2 {
        wait_until_process_sleeps(child.pid());
        child.stop_and_continue();
    }
    wait_until_process_sleeps(child.pid());
    wake();
    child.wait()
}

/// A forked child.
#[derive(Debug)]
pub struct Fork(libc::pid_t);

/// Forks; the child runs `body` and leaves with what it returns, without unwinding further.
pub fn fork(body: impl FnOnce() -> c_int) -> Fork {
    // SAFETY: the callers have one thread, so no lock is held by a thread that the child lacks; the
    // child leaves by _exit.
    unsafe {
        match libc::fork() {
            0 => {
                let run = std::panic::AssertUnwindSafe(body);
                libc::_exit(std::panic::catch_unwind(run).unwrap_or(101))
            }
            child => Fork(Errno::result(child).expect("fork")),
        }
    }
}

impl Fork {
    /// Its number.
    pub fn pid(&self) -> libc::pid_t {
        self.0
    }

    /// Stops it (SIGSTOP), waits until it has stopped, and continues it.
    pub fn stop_and_continue(&self) {
        let mut status = 0;
        // SAFETY: the kernel writes one int.
        unsafe {
            assert_eq!(libc::kill(self.0, libc::SIGSTOP), 0);
            assert_eq!(libc::waitpid(self.0, &mut status, libc::WUNTRACED), self.0);
            assert!(libc::WIFSTOPPED(status), "it ended: {status:#x}");
            assert_eq!(libc::kill(self.0, libc::SIGCONT), 0);
        }
    }

    /// Waits for its end: its exit status, or 128 and the signal that ended it.
    pub fn wait(self) -> c_int {
        let mut status = 0;
        // SAFETY: the kernel writes one int.
        while unsafe { libc::waitpid(self.0, &mut status, 0) } != self.0 {
            assert_eq!(Errno::last(), Errno::EINTR);
        }
        if libc::WIFEXITED(status) {
            libc::WEXITSTATUS(status)
        } else {
            128 + libc::WTERMSIG(status)
        }
    }
}
