//! Group K: the rules of select and pselect, each a test, whoever answers; as
//! [`poll_rules`](super::poll_rules).

use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::ptr::{null, null_mut};

use libc::{c_int, sigset_t, timespec, timeval};
use nix::errno::Errno;

use super::harness::Rule;
use super::sys::Result;
use super::watched::{ring, warm_up_by, while_asleep};
use super::{signals, sockets, sys, threads};
use crate::raw;

/// Words of a bitmap: FD_SETSIZE bits.
pub const WORDS: usize = 16;

/// The two calls, with C's arguments; bitmaps have [`WORDS`], or are null.
#[derive(Clone, Copy, Debug)]
pub struct SelectApi {
    /// select(2)
    pub select: fn(c_int, [*mut u64; 3], *mut timeval) -> Result<usize>,
    /// pselect(2)
    pub pselect: fn(c_int, [*mut u64; 3], *const timespec, *const sigset_t) -> Result<usize>,
    /// May it be given a pointer to nothing?
    pub takes_pointers: bool,
}

/// libc's, or a preloaded library's.
pub const C: SelectApi = SelectApi {
    // SAFETY (of both): the tests pass memory of theirs, or such as the kernel refuses.
    select: |nfds, sets, timeout| {
        let [r, w, e] = sets.map(<*mut u64>::cast);
        // SAFETY: see above.
        Errno::result(unsafe { libc::select(nfds, r, w, e, timeout) }).map(|n| n as usize)
    },
    pselect: |nfds, sets, timeout, mask| {
        let [r, w, e] = sets.map(<*mut u64>::cast);
        // SAFETY: see above.
        Errno::result(unsafe { libc::pselect(nfds, r, w, e, timeout, mask) }).map(|n| n as usize)
    },
    takes_pointers: true,
};

/// See the module.
pub const RULES: &[Rule<SelectApi>] = crate::rules![
    K01 a_closed_number_is_ebadf_and_nothing_is_touched,
    K02 bits_are_counted_and_sets_overwritten,
    K03 the_timeout_is_what_is_left,
    K03 a_bad_timeout_is_einval,
    K04 what_hup_err_and_pri_are,
    K05 hup_alone_is_not_writable,
    K06 files_are_ready_and_no_sets_are_a_sleep,
    K07 what_is_not_below_nfds_is_not_looked_at,
    K08 pselect_has_a_mask_and_leaves_the_time_alone,
    K09 a_handler_interrupts_and_nothing_is_touched,
    K09 sets_that_cannot_be_read_are_efault,
    K10 a_hang_up_is_no_exception,
    J09 stopped_and_continued,
    L01 errno_is_left_alone,
];

const SIGNAL: c_int = libc::SIGUSR1;
const R: usize = 0;
const W: usize = 1;
const E: usize = 2;

/// Three bitmaps, with idle descriptors besides those of the test.
struct Sets {
    api: SelectApi,
    asked: [[u64; WORDS]; 3],
    maps: [[u64; WORDS]; 3],
    nfds: c_int,
    idle: Vec<OwnedFd>,
}

impl Sets {
    fn new(api: SelectApi, about: &[(usize, RawFd)]) -> Self {
        let idle: Vec<OwnedFd> = (0..24).map(|_| sys::eventfd(0).expect("eventfd")).collect();
        let maps = [[0; WORDS]; 3];
        let mut sets = Self { api, asked: maps, maps, nfds: 0, idle };
        let idle: Vec<_> = sets.idle.iter().map(|fd| (R, fd.as_raw_fd())).collect();
        idle.iter().chain(about).for_each(|&(which, fd)| sets.insert(which, fd));
        sets.warm_up();
        sets
    }

    fn insert(&mut self, which: usize, fd: RawFd) {
        self.asked[which][fd as usize / 64] |= 1 << (fd % 64);
        self.nfds = self.nfds.max(fd + 1);
    }

    /// Where much is ready, or is asked by number, some policies leave it to the kernel.
    fn warm_up(&mut self) {
        warm_up_by(1000, || {
            let _ = self.select(0);
        });
    }

    fn pointers(&mut self) -> [*mut u64; 3] {
        self.maps = self.asked;
        self.maps.each_mut().map(|map| map.as_mut_ptr())
    }

    fn select(&mut self, ms: c_int) -> Result<usize> {
        self.select_for(&mut time(ms.into()), ms < 0)
    }

    fn select_for(&mut self, time: &mut timeval, for_ever: bool) -> Result<usize> {
        let time = if for_ever { null_mut() } else { std::ptr::from_mut(time) };
        (self.api.select)(self.nfds, self.pointers(), time)
    }

    /// Asks until that is the answer; the last one.
    fn soon(&mut self, expected: Result<usize>) -> Result<usize> {
        for _ in 0..20_000 {
            if self.select(0) == expected {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        self.select(0)
    }

    fn pselect(&mut self, time: Option<&timespec>, mask: Option<&sigset_t>) -> Result<usize> {
        let time = time.map_or(null(), std::ptr::from_ref);
        let mask = mask.map_or(null(), std::ptr::from_ref);
        (self.api.pselect)(self.nfds, self.pointers(), time, mask)
    }

    /// In which sets it is.
    fn left(&self, fd: &OwnedFd) -> [bool; 3] {
        let fd = fd.as_raw_fd();
        self.maps.map(|map| map[fd as usize / 64] >> (fd % 64) & 1 == 1)
    }

    fn is_empty(&self) -> bool {
        self.maps.as_flattened().iter().all(|&word| word == 0)
    }
}

fn time(ms: i64) -> timeval {
    timeval { tv_sec: ms.max(0) / 1000, tv_usec: ms.max(0) % 1000 * 1000 }
}

fn micros(time: timeval) -> i64 {
    time.tv_sec * 1_000_000 + time.tv_usec
}

/// Sends this thread a signal once it sleeps.
fn interrupt<T>(sleep: impl FnOnce() -> T) -> T {
    let task = raw::gettid();
    while_asleep(0, move || kill(task), sleep)
}

fn kill(task: libc::pid_t) {
    // SAFETY: takes no pointer; the thread waits for us.
    unsafe { libc::syscall(libc::SYS_tgkill, libc::getpid(), task, SIGNAL) };
}

fn a_closed_number_is_ebadf_and_nothing_is_touched(api: SelectApi) {
    for which in [R, W, E] {
        let ready = sys::eventfd(1).unwrap();
        let closed = sys::eventfd(0).unwrap();
        let number = closed.as_raw_fd();
        let mut sets = Sets::new(api, &[(R, ready.as_raw_fd()), (which, number)]);
        let writable = usize::from(which == W);
        // The numbers are those of the round before: where nobody tells of closes, what is seen of them
        // may be late by T; EBADF too, and then it goes on coming.
        assert_eq!(sets.soon(Ok(1 + writable)), Ok(1 + writable));
        drop(closed);
        assert_eq!(sets.soon(Err(Errno::EBADF)), Err(Errno::EBADF));
        assert_eq!(sets.maps, sets.asked);
        let mut left = time(1000);
        assert_eq!(sets.select_for(&mut left, false), Err(Errno::EBADF));
        assert_eq!(sets.pselect(None, None), Err(Errno::EBADF));
        assert_eq!(sets.maps, sets.asked);
    }
    assert_eq!((api.select)(-1, [null_mut(); 3], &mut time(0)), Err(Errno::EINVAL));
    assert_eq!((api.pselect)(-1, [null_mut(); 3], null(), null()), Err(Errno::EINVAL));
}

fn bits_are_counted_and_sets_overwritten(api: SelectApi) {
    let (one, other) = sockets::unix_pair(libc::SOCK_STREAM).unwrap();
    let fd = one.as_raw_fd();
    let mut sets = Sets::new(api, &[(R, fd), (W, fd), (E, fd)]);
    assert_eq!((sets.select(-1), sets.left(&one)), (Ok(1), [false, true, false]));
    sys::write(other.as_raw_fd(), b"!").unwrap();
    assert_eq!((sets.select(-1), sets.left(&one)), (Ok(2), [true, true, false]));
    let mut quiet = Sets::new(api, &[]);
    assert_eq!((quiet.select(15), quiet.is_empty()), (Ok(0), true));
    assert_eq!((quiet.select(0), quiet.is_empty()), (Ok(0), true));
}

fn the_timeout_is_what_is_left(api: SelectApi) {
    let fd = sys::eventfd(0).unwrap();
    let mut sets = Sets::new(api, &[(R, fd.as_raw_fd())]);
    let mut left = time(20);
    let start = sys::monotonic_ns();
    assert_eq!(sets.select_for(&mut left, false), Ok(0));
    assert!(sys::monotonic_ns() - start >= 20_000_000, "never early");
    assert_eq!(micros(left), 0);
    let mut left = time(600_000);
    let start = sys::monotonic_ns();
    let woken = while_asleep(30, || ring(fd.as_raw_fd()), || sets.select_for(&mut left, false));
    let passed = (sys::monotonic_ns() - start) / 1000;
    assert_eq!(woken, Ok(1));
    let spent = 600_000_000 - micros(left);
    assert!((30_000..=passed).contains(&spent), "{spent} of {passed} us");
    let mut left = time(600_000);
    assert_eq!(sets.select_for(&mut left, false), Ok(1));
    assert!((540_000_000..=600_000_000).contains(&micros(left)), "{}", micros(left));
    // Microseconds may be more than a second.
    let mut long = timeval { tv_sec: 0, tv_usec: 600_000_000 };
    assert_eq!(sets.select_for(&mut long, false), Ok(1));
    assert!((540_000_000..=600_000_000).contains(&micros(long)), "{}", micros(long));
    sys::drain(fd.as_raw_fd());
    signals::catch(SIGNAL, 0);
    let mut left = time(600_000);
    let interrupted = interrupt(|| sets.select_for(&mut left, false));
    assert_eq!(interrupted, Err(Errno::EINTR));
    assert!(micros(left) < 600_000_000 && micros(left) > 0, "{}", micros(left));
}

fn a_bad_timeout_is_einval(api: SelectApi) {
    let fd = sys::eventfd(1).unwrap();
    let mut sets = Sets::new(api, &[(R, fd.as_raw_fd())]);
    for (tv_sec, tv_usec) in [(-1, 0), (0, -1)] {
        let mut bad = timeval { tv_sec, tv_usec };
        assert_eq!(sets.select_for(&mut bad, false), Err(Errno::EINVAL));
    }
    for (tv_sec, tv_nsec) in [(-1, 0), (0, -1), (0, 1_000_000_000)] {
        let bad = timespec { tv_sec, tv_nsec };
        assert_eq!(sets.pselect(Some(&bad), None), Err(Errno::EINVAL));
    }
    assert_eq!(sets.maps, sets.asked);
}

fn what_hup_err_and_pri_are(api: SelectApi) {
    let (read, write) = sys::pipe().unwrap();
    let (gone, broken) = sys::pipe().unwrap();
    let (tcp, other) = sockets::tcp_pair().unwrap();
    let all = |fd: &OwnedFd| [R, W, E].map(|which| (which, fd.as_raw_fd()));
    let about = [all(&read), all(&broken), all(&tcp)].concat();
    let mut sets = Sets::new(api, &about);
    drop((write, gone));
    sockets::send(other.as_raw_fd(), b"!", libc::MSG_OOB).unwrap();
    threads::wait_until_ready(tcp.as_raw_fd(), libc::POLLPRI);
    for timeout in [-1, 0] {
        assert_eq!(sets.select(timeout), Ok(5));
        assert_eq!(sets.left(&read), [true, false, false], "HUP");
        assert_eq!(sets.left(&broken), [true, true, false], "ERR");
        assert_eq!(sets.left(&tcp), [false, true, true], "PRI");
    }
}

fn hup_alone_is_not_writable(api: SelectApi) {
    let (read, write) = sys::pipe().unwrap();
    let (stream, peer) = sockets::unix_pair(libc::SOCK_STREAM).unwrap();
    let about = [(W, read.as_raw_fd()), (R, stream.as_raw_fd())];
    let mut sets = Sets::new(api, &about);
    drop(write);
    assert_eq!((sets.select(0), sets.select(30)), (Ok(0), Ok(0)));
    assert!(sets.is_empty());
    sockets::shutdown(peer.as_raw_fd(), libc::SHUT_WR).unwrap();
    assert_eq!((sets.select(-1), sets.left(&stream)), (Ok(1), [true, false, false]));
}

fn files_are_ready_and_no_sets_are_a_sleep(api: SelectApi) {
    let file = sys::open("/proc/self/exe", libc::O_RDONLY).unwrap();
    let about = [R, W, E].map(|which| (which, file.as_raw_fd()));
    let mut sets = Sets::new(api, &about);
    for timeout in [0, -1] {
        assert_eq!((sets.select(timeout), sets.left(&file)), (Ok(2), [true, true, false]));
    }
    for nfds in [0, 100] {
        let start = sys::monotonic_ns();
        assert_eq!((api.select)(nfds, [null_mut(); 3], &mut time(20)), Ok(0));
        assert!(sys::monotonic_ns() - start >= 20_000_000);
    }
}

fn what_is_not_below_nfds_is_not_looked_at(api: SelectApi) {
    let low = sys::eventfd(1).unwrap();
    let mut sets = Sets::new(api, &[(R, low.as_raw_fd())]);
    let high = sys::eventfd(1).unwrap();
    let below = sets.nfds;
    sets.insert(R, high.as_raw_fd());
    assert_eq!(high.as_raw_fd() + 1, sets.nfds, "the last one");
    // Closed, too.
    sets.asked[R][WORDS - 1] |= 1 << 63;
    sets.nfds = below;
    sets.warm_up();
    for timeout in [0, -1] {
        assert_eq!((sets.select(timeout), sets.left(&low)), (Ok(1), [true, false, false]));
    }
    sets.nfds = high.as_raw_fd() + 1;
    assert_eq!((sets.select(-1), sets.left(&high)), (Ok(2), [true, false, false]));
}

fn pselect_has_a_mask_and_leaves_the_time_alone(api: SelectApi) {
    signals::catch(SIGNAL, 0);
    let fd = sys::eventfd(0).unwrap();
    let mut sets = Sets::new(api, &[(R, fd.as_raw_fd())]);
    let (none, blocked) = (signals::set_of(&[]), signals::set_of(&[SIGNAL]));
    let zero = timespec { tv_sec: 0, tv_nsec: 0 };
    let some = timespec { tv_sec: 0, tv_nsec: 15_000_001 };
    signals::block(&[SIGNAL]);
    assert_eq!(interrupt(|| sets.pselect(None, Some(&none))), Err(Errno::EINTR));
    assert_eq!(sets.maps, sets.asked);
    signals::send_to_self(SIGNAL);
    assert_eq!(sets.pselect(Some(&some), Some(&blocked)), Ok(0));
    assert_eq!(sets.pselect(Some(&some), None), Ok(0));
    assert_eq!(signals::caught(SIGNAL), 1);
    // What is ready wins; else the signal, also without waiting.
    ring(fd.as_raw_fd());
    for time in [None, Some(&zero), Some(&some)] {
        assert_eq!(sets.pselect(time, Some(&none)), Ok(1));
        assert_eq!(signals::caught(SIGNAL), 1, "it stays pending");
    }
    sys::drain(fd.as_raw_fd());
    assert_eq!(sets.pselect(Some(&zero), Some(&none)), Err(Errno::EINTR));
    assert_eq!(signals::caught(SIGNAL), 2);
    assert_eq!((some.tv_sec, some.tv_nsec), (0, 15_000_001));
    signals::unblock(&[SIGNAL]);
    let number = fd.as_raw_fd();
    let task = raw::gettid();
    let body = move || {
        kill(task);
        ring(number);
    };
    let woken = while_asleep(0, body, || sets.pselect(None, Some(&blocked)));
    assert_eq!(woken, Ok(1), "blocked in the call alone");
    assert_eq!(signals::caught(SIGNAL), 3);
    assert!(!signals::is_blocked(SIGNAL));
}

fn a_handler_interrupts_and_nothing_is_touched(api: SelectApi) {
    signals::catch(SIGNAL, libc::SA_RESTART);
    let fd = sys::eventfd(0).unwrap();
    let mut sets = Sets::new(api, &[(R, fd.as_raw_fd())]);
    for (count, timeout) in [(1, -1), (2, 60_000), (3, -1)] {
        assert_eq!(interrupt(|| sets.select(timeout)), Err(Errno::EINTR));
        assert_eq!((signals::caught(SIGNAL), sets.maps), (count, sets.asked));
    }
}

fn sets_that_cannot_be_read_are_efault(api: SelectApi) {
    if !api.takes_pointers {
        return;
    }
    let mut sets = Sets::new(api, &[]);
    for which in [R, W, E] {
        let mut pointers = sets.pointers();
        pointers[which] = sys::guarded_page(libc::PROT_NONE).cast();
        for nfds in [1, 64, 1000] {
            assert_eq!((api.select)(nfds, pointers, null_mut()), Err(Errno::EFAULT));
            assert_eq!((api.pselect)(nfds, pointers, null(), null()), Err(Errno::EFAULT));
        }
        // Memory that may be read, and not written.
        let page = sys::guarded_page(libc::PROT_READ);
        pointers[which] = page.cast();
        assert_eq!((api.select)(64, pointers, &mut time(0)), Err(Errno::EFAULT));
    }
    let mask = sys::guarded_page(libc::PROT_NONE).cast_const().cast();
    let (nfds, pointers) = (sets.nfds, sets.pointers());
    assert_eq!((api.pselect)(nfds, pointers, null(), mask), Err(Errno::EFAULT));
}

fn a_hang_up_is_no_exception(api: SelectApi) {
    let (read, write) = sys::pipe().unwrap();
    let (gone, broken) = sys::pipe().unwrap();
    let (stream, peer) = sockets::unix_pair(libc::SOCK_STREAM).unwrap();
    let about = [read.as_raw_fd(), broken.as_raw_fd(), stream.as_raw_fd()].map(|fd| (E, fd));
    let late = sys::eventfd(0).unwrap();
    let mut sets = Sets::new(api, &[&about[..], &[(R, late.as_raw_fd())]].concat());
    drop((write, gone, peer));
    assert_eq!((sets.select(0), sets.select(30)), (Ok(0), Ok(0)));
    // Nor does it spin: only the last wakes it.
    let woken = while_asleep(30, || ring(late.as_raw_fd()), || sets.select(-1));
    assert_eq!((woken, sets.left(&late)), (Ok(1), [true, false, false]));
}

fn stopped_and_continued(api: SelectApi) {
    let fd = sys::eventfd(0).unwrap();
    let mut sets = Sets::new(api, &[(R, fd.as_raw_fd())]);
    let waits = || {
        sets.warm_up();
        i32::from(sets.select(-1) != Ok(1))
    };
    assert_eq!(sys::stopped_and_continued(waits, || ring(fd.as_raw_fd())), 0, "the call went on");
}

fn errno_is_left_alone(api: SelectApi) {
    let fd = sys::eventfd(0).unwrap();
    let mut sets = Sets::new(api, &[(R, fd.as_raw_fd())]);
    for (ready, timeout) in [(0, 0), (0, 15), (1, -1), (1, 0)] {
        if ready == 1 && timeout == -1 {
            ring(fd.as_raw_fd());
        }
        Errno::set_raw(12345);
        assert_eq!(sets.select(timeout), Ok(ready));
        assert_eq!(Errno::last_raw(), 12345, "{timeout}");
    }
}
