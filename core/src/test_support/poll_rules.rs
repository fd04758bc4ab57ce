//! Group J: the rules of poll and ppoll, each a test, whoever answers. Each set has idle descriptors
//! beside those that the rule is about, and was asked about before, so that the engine serves it where
//! the policy lets it.

use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::ptr::{null, null_mut};

use libc::{c_int, nfds_t, pollfd, sigset_t, timespec};
use nix::errno::Errno;

use super::harness::Rule;
use super::sys::Result;
use super::watched::{ring, warm_up_by, while_asleep};
use super::{signals, sys};
use crate::raw;

/// The two calls, with C's arguments.
#[derive(Clone, Copy, Debug)]
pub struct PollApi {
    /// poll(2)
    pub poll: fn(*mut pollfd, nfds_t, c_int) -> Result<usize>,
    /// ppoll(2)
    pub ppoll: fn(*mut pollfd, nfds_t, *const timespec, *const sigset_t) -> Result<usize>,
    /// May it be given a pointer to nothing?
    pub takes_pointers: bool,
}

/// libc's, or a preloaded library's.
pub const C: PollApi = PollApi {
    // SAFETY (of both): the tests pass memory of theirs, or such as the kernel refuses.
    poll: |fds, nfds, timeout| {
        // SAFETY: see above.
        Errno::result(unsafe { libc::poll(fds, nfds, timeout) }).map(|n| n as usize)
    },
    ppoll: |fds, nfds, timeout, mask| {
        // SAFETY: see above.
        Errno::result(unsafe { libc::ppoll(fds, nfds, timeout, mask) }).map(|n| n as usize)
    },
    takes_pointers: true,
};

/// See the module.
pub const RULES: &[Rule<PollApi>] = crate::rules![
    J01 negative_and_closed_numbers,
    J02 entries_are_counted,
    J03 the_array_is_checked,
    J03 no_descriptors_is_a_sleep,
    J04 files_are_always_ready,
    J05 errors_are_reported_unasked,
    J06 a_handler_interrupts,
    J06 a_negative_timeout_waits,
    J07 a_bad_time_is_einval,
    J07 the_mask_holds_while_it_waits,
    J07 the_time_is_left_alone,
    J08 what_is_ready_wins_over_a_signal,
    J09 stopped_and_continued,
    J10 events_are_16_bits,
    L01 errno_is_left_alone,
];

const SIGNAL: c_int = libc::SIGUSR1;

/// An array: the entries of the test, and idle ones after them.
struct Array {
    api: PollApi,
    entries: Vec<pollfd>,
    about: usize,
    _idle: Vec<OwnedFd>,
}

impl Array {
    fn new(api: PollApi, about: &[(RawFd, i16)]) -> Self {
        let idle: Vec<OwnedFd> = (0..24).map(|_| sys::eventfd(0).expect("eventfd")).collect();
        let idle_entries = idle.iter().map(|fd| (fd.as_raw_fd(), libc::POLLIN));
        let all = about.iter().copied().chain(idle_entries);
        let entries = all.map(|(fd, events)| pollfd { fd, events, revents: 0x55 }).collect();
        let mut array = Self { api, entries, about: about.len(), _idle: idle };
        array.warm_up();
        array
    }

    /// Where much is ready, or is asked by number, some policies leave it to the kernel.
    fn warm_up(&mut self) {
        warm_up_by(1000, || {
            let _ = self.poll(0);
        });
    }

    fn poll(&mut self, timeout: c_int) -> Result<usize> {
        (self.api.poll)(self.entries.as_mut_ptr(), self.entries.len() as nfds_t, timeout)
    }

    fn ppoll(&mut self, time: Option<timespec>, mask: Option<&sigset_t>) -> Result<usize> {
        let time = time.as_ref().map_or(null(), std::ptr::from_ref);
        let mask = mask.map_or(null(), std::ptr::from_ref);
        (self.api.ppoll)(self.entries.as_mut_ptr(), self.entries.len() as nfds_t, time, mask)
    }

    /// What the test's own entries say; the idle ones say nothing.
    fn revents(&self) -> Vec<i16> {
        let (about, idle) = self.entries.split_at(self.about);
        assert!(idle.iter().all(|entry| entry.revents == 0), "{idle:?}");
        about.iter().map(|entry| entry.revents).collect()
    }
}

fn ms(ms: i64) -> Option<timespec> {
    Some(timespec { tv_sec: ms / 1000, tv_nsec: ms % 1000 * 1_000_000 })
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

fn negative_and_closed_numbers(api: PollApi) {
    let (read, write) = sys::pipe().unwrap();
    let closed = sys::eventfd(0).unwrap();
    let number = closed.as_raw_fd();
    let about = [(-1, libc::POLLIN), (-77, 0), (number, libc::POLLIN), (read.as_raw_fd(), 0)];
    let mut array = Array::new(api, &about);
    assert_eq!((array.poll(0), array.revents()), (Ok(0), vec![0; 4]));
    drop(closed);
    // First with time: nobody may have told of the close.
    for timeout in [-1, 0, 1000] {
        let expected = (Ok(1), vec![0, 0, libc::POLLNVAL, 0]);
        assert_eq!((array.poll(timeout), array.revents()), expected);
    }
    drop(write);
    assert_eq!(array.poll(-1), Ok(2));
    assert_eq!(array.revents(), [0, 0, libc::POLLNVAL, libc::POLLHUP]);
}

fn entries_are_counted(api: PollApi) {
    let (one, other) = super::sockets::unix_pair(libc::SOCK_STREAM).unwrap();
    let fd = one.as_raw_fd();
    let both = libc::POLLIN | libc::POLLOUT;
    let mut array = Array::new(api, &[(fd, both), (fd, libc::POLLIN), (fd, both)]);
    assert_eq!(array.poll(-1), Ok(2));
    assert_eq!(array.revents(), [libc::POLLOUT, 0, libc::POLLOUT]);
    sys::write(other.as_raw_fd(), b"!").unwrap();
    assert_eq!(array.poll(-1), Ok(3));
    assert_eq!(array.revents(), [both, libc::POLLIN, both]);
}

fn the_array_is_checked(api: PollApi) {
    let before = sys::set_descriptor_limit(64);
    let mut entries = [pollfd { fd: -1, events: 0, revents: 0 }; 65];
    assert_eq!((api.poll)(entries.as_mut_ptr(), 64, 0), Ok(0));
    assert_eq!((api.poll)(entries.as_mut_ptr(), 65, 0), Err(Errno::EINVAL));
    sys::set_descriptor_limit(before);
    if !api.takes_pointers {
        return;
    }
    let (read, write) = sys::pipe().unwrap();
    sys::write(write.as_raw_fd(), b"!").unwrap();
    for len in [1, 24] {
        for nowhere in [null_mut(), sys::guarded_page(libc::PROT_NONE).cast()] {
            assert_eq!((api.poll)(nowhere, len, 0), Err(Errno::EFAULT), "{len}");
            assert_eq!((api.ppoll)(nowhere, len, null(), null()), Err(Errno::EFAULT), "{len}");
        }
        // Memory that may be read, and not written.
        let page = sys::guarded_page(libc::PROT_READ | libc::PROT_WRITE);
        let entry = pollfd { fd: read.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        // SAFETY: the page is the test's own, and has room for 24.
        unsafe {
            (0..24).for_each(|at| page.cast::<pollfd>().add(at).write(entry));
            assert_eq!(libc::mprotect(page, 4096, libc::PROT_READ), 0);
        }
        assert_eq!((api.poll)(page.cast(), len, 0), Err(Errno::EFAULT), "{len}");
        let mut array = Array::new(api, &[(read.as_raw_fd(), libc::POLLIN)]);
        let mask = sys::guarded_page(libc::PROT_NONE).cast_const().cast();
        let all = array.entries.len() as nfds_t;
        let masked = (api.ppoll)(array.entries.as_mut_ptr(), all, null(), mask);
        assert_eq!(masked, Err(Errno::EFAULT));
    }
}

fn no_descriptors_is_a_sleep(api: PollApi) {
    let start = sys::monotonic_ns();
    assert_eq!((api.poll)(null_mut(), 0, 20), Ok(0));
    assert!(sys::monotonic_ns() - start >= 20_000_000);
    let mut array = Array::new(api, &[]);
    for time in [1, 15, 40] {
        let start = sys::monotonic_ns();
        assert_eq!(array.poll(time), Ok(0));
        assert!(sys::monotonic_ns() - start >= i64::from(time) * 1_000_000, "never early");
        let start = sys::monotonic_ns();
        assert_eq!(array.ppoll(ms(time.into()), None), Ok(0));
        assert!(sys::monotonic_ns() - start >= i64::from(time) * 1_000_000, "never early");
    }
}

fn files_are_always_ready(api: PollApi) {
    let paths = [("/proc/self/exe", libc::O_RDONLY), ("/", libc::O_DIRECTORY), ("/dev/null", 0)];
    let open = |(path, flags)| sys::open(path, flags).unwrap();
    let files = paths.map(open);
    let both = libc::POLLIN | libc::POLLOUT;
    let mut array = Array::new(api, &[0, 1, 2].map(|at: usize| (files[at].as_raw_fd(), both)));
    for timeout in [0, -1] {
        assert_eq!((array.poll(timeout), array.revents()), (Ok(3), vec![both; 3]));
    }
}

fn errors_are_reported_unasked(api: PollApi) {
    let (read, write) = sys::pipe().unwrap();
    let (idle, full) = sys::pipe().unwrap();
    sys::fill(full.as_raw_fd(), 4096);
    let about = [
        (write.as_raw_fd(), libc::POLLOUT),
        (write.as_raw_fd(), 0),
        (full.as_raw_fd(), libc::POLLOUT),
        (full.as_raw_fd(), 0),
    ];
    let mut array = Array::new(api, &about);
    assert_eq!((array.poll(0), array.revents()), (Ok(1), vec![libc::POLLOUT, 0, 0, 0]));
    drop(read);
    let broken = libc::POLLOUT | libc::POLLERR;
    assert_eq!((array.poll(-1), array.revents()), (Ok(2), vec![broken, libc::POLLERR, 0, 0]));
    drop(idle);
    assert_eq!(array.poll(-1), Ok(4));
    assert_eq!(array.revents(), [broken, libc::POLLERR, libc::POLLERR, libc::POLLERR]);
}

fn a_handler_interrupts(api: PollApi) {
    signals::catch(SIGNAL, libc::SA_RESTART);
    let fd = sys::eventfd(0).unwrap();
    let mut array = Array::new(api, &[(fd.as_raw_fd(), libc::POLLIN)]);
    for count in 1..4 {
        let timeout = if count == 2 { 60_000 } else { -1 };
        assert_eq!(interrupt(|| array.poll(timeout)), Err(Errno::EINTR));
        assert_eq!(signals::caught(SIGNAL), count);
    }
    ring(fd.as_raw_fd());
    assert_eq!(array.poll(-1), Ok(1));
}

fn a_negative_timeout_waits(api: PollApi) {
    let fd = sys::eventfd(0).unwrap();
    let mut array = Array::new(api, &[(fd.as_raw_fd(), libc::POLLIN)]);
    // The Rust one has a type for it.
    let times: &[c_int] = if api.takes_pointers { &[-1, -2, c_int::MIN] } else { &[-1] };
    for &timeout in times {
        let woken = while_asleep(30, || ring(fd.as_raw_fd()), || array.poll(timeout));
        assert_eq!((woken, array.revents()), (Ok(1), vec![libc::POLLIN]));
        sys::drain(fd.as_raw_fd());
    }
    assert_eq!(while_asleep(30, || ring(fd.as_raw_fd()), || array.ppoll(None, None)), Ok(1));
}

fn a_bad_time_is_einval(api: PollApi) {
    let fd = sys::eventfd(1).unwrap();
    let mut array = Array::new(api, &[(fd.as_raw_fd(), libc::POLLIN)]);
    for (tv_sec, tv_nsec) in [(-1, 0), (0, -1), (0, 1_000_000_000), (-1, 999_999_999)] {
        let bad = Some(timespec { tv_sec, tv_nsec });
        assert_eq!(array.ppoll(bad, None), Err(Errno::EINVAL), "{bad:?}");
    }
    assert_eq!(array.ppoll(Some(timespec { tv_sec: i64::MAX, tv_nsec: 999_999_999 }), None), Ok(1));
}

fn the_mask_holds_while_it_waits(api: PollApi) {
    signals::catch(SIGNAL, 0);
    let fd = sys::eventfd(0).unwrap();
    let mut array = Array::new(api, &[(fd.as_raw_fd(), libc::POLLIN)]);
    let (none, blocked) = (signals::set_of(&[]), signals::set_of(&[SIGNAL]));
    // Open in the call alone.
    signals::block(&[SIGNAL]);
    assert_eq!(interrupt(|| array.ppoll(None, Some(&none))), Err(Errno::EINTR));
    assert_eq!(signals::caught(SIGNAL), 1);
    signals::send_to_self(SIGNAL);
    assert_eq!(array.ppoll(ms(15), Some(&blocked)), Ok(0));
    assert_eq!(array.ppoll(ms(15), None), Ok(0));
    assert_eq!(signals::caught(SIGNAL), 1);
    assert_eq!(array.ppoll(ms(60_000), Some(&none)), Err(Errno::EINTR));
    assert!(signals::is_blocked(SIGNAL));
    // Blocked in the call alone.
    signals::unblock(&[SIGNAL]);
    let before = signals::caught(SIGNAL);
    let (task, number) = (raw::gettid(), fd.as_raw_fd());
    let body = move || {
        kill(task);
        ring(number);
    };
    assert_eq!(while_asleep(0, body, || array.ppoll(None, Some(&blocked))), Ok(1));
    assert_eq!(signals::caught(SIGNAL), before + 1);
    assert!(!signals::is_blocked(SIGNAL));
}

fn the_time_is_left_alone(api: PollApi) {
    let fd = sys::eventfd(0).unwrap();
    let mut array = Array::new(api, &[(fd.as_raw_fd(), libc::POLLIN)]);
    let time = timespec { tv_sec: 0, tv_nsec: 15_000_001 };
    let all = array.entries.len() as nfds_t;
    assert_eq!((api.ppoll)(array.entries.as_mut_ptr(), all, &time, null()), Ok(0));
    ring(fd.as_raw_fd());
    assert_eq!((api.ppoll)(array.entries.as_mut_ptr(), all, &time, null()), Ok(1));
    assert_eq!((time.tv_sec, time.tv_nsec), (0, 15_000_001));
}

fn what_is_ready_wins_over_a_signal(api: PollApi) {
    signals::catch(SIGNAL, 0);
    signals::block(&[SIGNAL]);
    let fd = sys::eventfd(0).unwrap();
    let mut array = Array::new(api, &[(fd.as_raw_fd(), libc::POLLIN)]);
    let none = signals::set_of(&[]);
    signals::send_to_self(SIGNAL);
    ring(fd.as_raw_fd());
    for time in [None, ms(0), ms(1000)] {
        assert_eq!(array.ppoll(time, Some(&none)), Ok(1));
        assert_eq!(signals::caught(SIGNAL), 0, "it stays pending");
    }
    sys::drain(fd.as_raw_fd());
    // Without waiting, too.
    assert_eq!(array.ppoll(ms(0), Some(&none)), Err(Errno::EINTR));
    assert_eq!((signals::caught(SIGNAL), array.ppoll(ms(0), Some(&none))), (1, Ok(0)));
}

fn stopped_and_continued(api: PollApi) {
    let fd = sys::eventfd(0).unwrap();
    let mut array = Array::new(api, &[(fd.as_raw_fd(), libc::POLLIN)]);
    let waits = || {
        array.warm_up();
        i32::from(array.poll(-1) != Ok(1))
    };
    assert_eq!(sys::stopped_and_continued(waits, || ring(fd.as_raw_fd())), 0, "the call went on");
}

fn events_are_16_bits(api: PollApi) {
    let (one, other) = super::sockets::unix_pair(libc::SOCK_STREAM).unwrap();
    sys::write(other.as_raw_fd(), b"!").unwrap();
    let fd = one.as_raw_fd();
    // -1 as epoll's 32 bits would be ET, ONESHOT and more.
    let odd = !(libc::POLLIN | libc::POLLOUT | libc::POLLRDNORM | libc::POLLWRNORM);
    let mut array = Array::new(api, &[(fd, -1), (fd, odd), (fd, i16::MIN)]);
    for _ in 0..3 {
        let ready = array.poll(-1).unwrap();
        let mut truth = array.entries.clone();
        let (count, revents) = super::sets::kernel_poll(&mut truth);
        assert_eq!((Ok(ready), array.revents()), (count, revents[..3].to_vec()));
        assert!(array.revents()[0] & libc::POLLIN != 0);
    }
}

fn errno_is_left_alone(api: PollApi) {
    let fd = sys::eventfd(0).unwrap();
    let mut array = Array::new(api, &[(fd.as_raw_fd(), libc::POLLIN)]);
    for (ready, timeout) in [(0, 0), (0, 15), (1, -1), (1, 0)] {
        if ready == 1 && timeout == -1 {
            ring(fd.as_raw_fd());
        }
        Errno::set_raw(12345);
        assert_eq!(array.poll(timeout), Ok(ready));
        assert_eq!(Errno::last_raw(), 12345, "{timeout}");
    }
}
