//! A set of descriptors that a test asks about again and again through a preloaded library.

use std::collections::BTreeMap;
use std::fs;
use std::os::fd::{AsRawFd, IntoRawFd, OwnedFd, RawFd};

use libc::pollfd;
use nix::errno::Errno;

use super::preload::{counter, policy};
use super::sets::readable;
use super::sys;
use crate::raw;

/// Asks which descriptors are readable, waiting so many milliseconds; -1: for ever. Lowest first.
pub type Ask = fn(&mut Watched, i32) -> Vec<RawFd>;

const WORDS: usize = 64;

/// See the module.
#[derive(Debug)]
pub struct Watched {
    /// The entries; poll has them as they are, select as a bitmap.
    pub array: Vec<pollfd>,
    map: [u64; WORDS],
    /// A call may fail; then it finds nothing, and `failed` says why.
    pub may_fail: bool,
    /// Why the last call failed.
    pub failed: Option<Errno>,
}

impl Watched {
    /// These descriptors.
    pub fn new(fds: &[RawFd]) -> Self {
        let array = fds.iter().copied().map(readable).collect();
        Self { array, map: [0; WORDS], may_fail: false, failed: None }
    }

    /// By the library's poll.
    pub fn poll(&mut self, timeout: i32) -> Vec<RawFd> {
        // SAFETY: the array is borrowed mutably.
        let ready = unsafe {
            libc::poll(self.array.as_mut_ptr(), self.array.len() as libc::nfds_t, timeout)
        };
        self.found_by_poll(Errno::result(ready).map(|n| n as usize))
    }

    /// By the library's select.
    pub fn select(&mut self, timeout: i32) -> Vec<RawFd> {
        self.map = [0; WORDS];
        let mut nfds = 0;
        for fd in self.array.iter().map(|entry| entry.fd) {
            self.map[fd as usize / 64] |= 1 << (fd % 64);
            nfds = nfds.max(fd + 1);
        }
        let mut time = libc::timeval { tv_sec: 0, tv_usec: i64::from(timeout) * 1000 };
        let time = if timeout < 0 { std::ptr::null_mut() } else { &raw mut time };
        let none = std::ptr::null_mut();
        // SAFETY: the map has room for every number that tests have; the time is null or ours.
        let ready = unsafe { libc::select(nfds, self.map.as_mut_ptr().cast(), none, none, time) };
        let is_set = |fd: &RawFd| self.map[*fd as usize / 64] >> (*fd % 64) & 1 == 1;
        let found = self.array.iter().map(|entry| entry.fd).filter(is_set).collect();
        self.found(Errno::result(ready).map(|n| n as usize), found)
    }

    /// What a poll of the array said and left in it.
    pub fn found_by_poll(&mut self, ready: sys::Result<usize>) -> Vec<RawFd> {
        let found = self.array.iter().filter(|fd| fd.revents != 0).map(|fd| fd.fd).collect();
        self.found(ready, found)
    }

    /// What a call said, and which descriptors it left.
    ///
    /// # Panics
    /// When it failed, unless it may, or when the two do not agree.
    pub fn found(&mut self, ready: sys::Result<usize>, found: Vec<RawFd>) -> Vec<RawFd> {
        self.failed = ready.err();
        match ready {
            Err(_) if self.may_fail => Vec::new(),
            Err(errno) => panic!("{errno}"),
            Ok(ready) => {
                assert_eq!(ready, found.len());
                sorted(found)
            }
        }
    }

    /// What the kernel says, by number.
    pub fn truth(&self) -> Vec<RawFd> {
        let mut copy = self.array.clone();
        let (ready, _) = super::sets::kernel_poll(&mut copy);
        ready.expect("poll");
        sorted(copy.iter().filter(|fd| fd.revents != 0).map(|fd| fd.fd).collect())
    }

    /// Asks until the library answers from its queue, if the policy lets it. Nothing may be ready.
    ///
    /// # Panics
    /// When it never does.
    pub fn warm_up(&mut self, ask: Ask) {
        let served = warm_up_by(20_000, || assert_eq!(ask(self, 0), self.truth()));
        assert!(served, "the queue never served: {}", super::preload::counters());
    }
}

/// Asks until the library answers from its queue, if the policy lets it, and has registered what it
/// will: so often at most. False where it never does.
pub fn warm_up_by(times: usize, mut ask: impl FnMut()) -> bool {
    if policy() == "off" {
        return true;
    }
    let (mut served, mut registered) = (0, 0);
    for _ in 0..times {
        let before = (counter("served"), counter("registered"));
        ask();
        served = if counter("served") > before.0 { served + 1 } else { 0 };
        registered = if counter("registered") == before.1 { registered + 1 } else { 0 };
        if served > 3 && registered > 3 {
            return true;
        }
    }
    false
}

fn sorted(mut fds: Vec<RawFd>) -> Vec<RawFd> {
    fds.sort_unstable();
    fds
}

/// So many eventfds, to be closed by [`close_all`], whatever has become of them.
pub fn eventfds(count: usize) -> Vec<RawFd> {
    (0..count).map(|_| sys::eventfd(0).expect("eventfd").into_raw_fd()).collect()
}

/// Closes numbers that may be closed already.
pub fn close_all(fds: &[RawFd]) {
    for &fd in fds {
        let _ = raw::close(fd);
    }
}

/// Makes an eventfd readable.
pub fn ring(fd: RawFd) {
    sys::write(fd, &1_u64.to_ne_bytes()).expect("an eventfd takes a number");
}

/// Makes an eventfd unreadable.
pub fn hush(fd: RawFd) {
    sys::read(fd, 8).expect("an eventfd that was rung");
}

/// Opens an eventfd at this number, which must be free.
pub fn reopen(fd: RawFd) {
    let new = sys::eventfd(0).expect("eventfd");
    if new.as_raw_fd() == fd {
        let _ = new.into_raw_fd();
        return;
    }
    let at = raw::fcntl(new.as_raw_fd(), libc::F_DUPFD_CLOEXEC, fd).expect("F_DUPFD");
    assert_eq!(at, fd, "the number is not free");
    // Not by libc: its close is a hook here, and what is tested.
    raw::close(new.into_raw_fd()).expect("it is open");
}

/// The library's queues: epoll descriptors of this process.
pub fn queues() -> Vec<RawFd> {
    let open = super::leak::open_descriptors();
    open.into_iter()
        .filter(|(fd, what)| what == "anon_inode:[eventpoll]" && !super::leak::is_roll(*fd, what))
        .map(|(fd, _)| fd)
        .collect()
}

fn is_alarm(registration: &str, open: &BTreeMap<RawFd, String>) -> bool {
    let fd = registration.split_whitespace().next().and_then(|fd| fd.parse().ok());
    fd.is_some_and(|fd| open.get(&fd).is_some_and(|kind| super::leak::is_alarm(fd, kind)))
}

/// How many registrations the library's queues have, as the kernel counts them.
pub fn registrations() -> usize {
    let count = |fd| {
        let info = fs::read_to_string(format!("/proc/self/fdinfo/{fd}")).expect("/proc is mounted");
        let numbers = info.lines().filter_map(|line| line.strip_prefix("tfd:"));
        let open = super::leak::open_descriptors();
        // Not the alarm, by which the queue is known.
        numbers.filter(|line| !is_alarm(line, &open)).count()
    };
    queues().into_iter().map(count).sum()
}

/// Runs `body` in a thread once the calling thread's task sleeps in a wait, after a pause of so many
/// milliseconds; then runs `sleep` in this thread.
pub fn while_asleep<T>(pause: u64, body: impl FnOnce() + Send, sleep: impl FnOnce() -> T) -> T {
    // SAFETY: takes no pointer.
    let task = unsafe { libc::gettid() };
    std::thread::scope(|scope| {
        scope.spawn(move || {
            super::threads::wait_until_task_sleeps(task);
            std::thread::sleep(std::time::Duration::from_millis(pause));
            body();
        });
        sleep()
    })
}

/// Keeps a descriptor's file open under another number.
pub fn keep(fd: RawFd) -> OwnedFd {
    let copy = sys::fcntl(fd, libc::F_DUPFD_CLOEXEC, 300).expect("F_DUPFD");
    sys::own(copy).expect("it is open")
}
