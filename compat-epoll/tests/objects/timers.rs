//! timerfd_create(2) and kin.

use std::os::fd::AsRawFd;

use kq_core::rules;
use kq_core::test_support::epoll::{ET, IN, event};
use kq_core::test_support::harness::Rule;
use kq_core::test_support::{sys, threads};
use libc::{
    CLOCK_MONOTONIC, CLOCK_REALTIME, POLLIN, TFD_CLOEXEC, TFD_NONBLOCK, TFD_TIMER_ABSTIME,
    itimerspec,
};
use nix::errno::Errno;

use super::calls::{Calls, times};

pub(crate) const RULES: &[Rule<Calls>] = rules![
    timerfd flags_and_clocks_are_checked,
    timerfd what_is_no_time_is_refused,
    timerfd errors_come_in_order,
    timerfd it_expires_once_or_again_and_again,
    timerfd what_was_missed_is_counted,
    timerfd a_moment_that_has_passed_is_at_once,
    timerfd it_tells_what_is_left,
    timerfd setting_it_forgets_what_has_expired,
    timerfd it_is_unset,
    timerfd an_expiry_is_one_edge_until_it_is_read,
    timerfd who_reads_waits,
    timerfd a_long_time_is_a_time,
];

const HOUR: i64 = 3600;
const NEVER: (i64, i64) = (0, 0);
const MILLI: (i64, i64) = (0, 1_000_000);

fn seconds(times: itimerspec) -> (i64, i64) {
    (times.it_value.tv_sec, times.it_interval.tv_sec)
}

fn now(clock: libc::clockid_t) -> i64 {
    // SAFETY: plain data, which the call fills.
    unsafe {
        let mut time: libc::timespec = std::mem::zeroed();
        libc::clock_gettime(clock, &mut time);
        time.tv_sec
    }
}

fn flags_and_clocks_are_checked(calls: Calls) {
    assert_eq!(calls.timerfd(CLOCK_MONOTONIC, 1).err(), Some(Errno::EINVAL));
    assert_eq!(calls.timerfd(libc::CLOCK_PROCESS_CPUTIME_ID, 0).err(), Some(Errno::EINVAL));
    assert_eq!(calls.timerfd(-1, 0).err(), Some(Errno::EINVAL));
    for clock in [CLOCK_MONOTONIC, CLOCK_REALTIME, libc::CLOCK_BOOTTIME] {
        let fd = calls.timerfd(clock, TFD_CLOEXEC | TFD_NONBLOCK).unwrap();
        assert_eq!(sys::fcntl(fd.as_raw_fd(), libc::F_GETFD, 0), Ok(libc::FD_CLOEXEC));
        assert_eq!(calls.number(&fd), Err(Errno::EAGAIN));
        assert_eq!(calls.read(fd.as_raw_fd(), &mut [0; 7]), Err(Errno::EINVAL));
        assert_eq!(seconds(calls.get(fd.as_raw_fd()).unwrap()), (0, 0));
    }
}

fn what_is_no_time_is_refused(calls: Calls) {
    let fd = calls.timerfd(CLOCK_MONOTONIC, 0).unwrap();
    let bad = [(-1, 0), (0, -1), (0, 1_000_000_000)];
    for bad in bad {
        for times in [times(bad, NEVER), times(NEVER, bad)] {
            assert_eq!(calls.set(fd.as_raw_fd(), 0, Some(times)).err(), Some(Errno::EINVAL));
        }
    }
    let good = Some(times((1, 0), NEVER));
    assert_eq!(calls.set(fd.as_raw_fd(), 4, good).err(), Some(Errno::EINVAL));
    assert_eq!(calls.set(fd.as_raw_fd(), 3, good).err(), None);
}

fn errors_come_in_order(calls: Calls) {
    let (reader, _writer) = sys::pipe().unwrap();
    let event = calls.eventfd(0, 0).unwrap();
    let good = Some(times((1, 0), NEVER));
    assert_eq!(calls.set(-1, 4, None).err(), Some(Errno::EFAULT));
    assert_eq!(calls.set(-1, 4, good).err(), Some(Errno::EINVAL));
    assert_eq!(calls.set(-1, 0, good).err(), Some(Errno::EBADF));
    for fd in [reader.as_raw_fd(), event.as_raw_fd()] {
        assert_eq!(calls.set(fd, 0, good).err(), Some(Errno::EINVAL));
        assert_eq!(calls.get(fd).err(), Some(Errno::EINVAL));
    }
    assert_eq!(calls.get(-1).err(), Some(Errno::EBADF));
}

fn it_expires_once_or_again_and_again(calls: Calls) {
    let fd = calls.timerfd(CLOCK_MONOTONIC, TFD_NONBLOCK).unwrap();
    let number = fd.as_raw_fd();
    calls.set(number, 0, Some(times(MILLI, NEVER))).unwrap();
    threads::wait_until_ready(number, POLLIN);
    assert_eq!(calls.number(&fd), Ok(1));
    assert_eq!(sys::poll(number, POLLIN), 0);
    assert_eq!(calls.number(&fd), Err(Errno::EAGAIN));
    calls.set(number, 0, Some(times(MILLI, MILLI))).unwrap();
    for _ in 0..5 {
        threads::wait_until_ready(number, POLLIN);
        assert!(calls.number(&fd).unwrap() >= 1);
    }
}

fn what_was_missed_is_counted(calls: Calls) {
    for clock in [CLOCK_MONOTONIC, CLOCK_REALTIME] {
        let fd = calls.timerfd(clock, TFD_NONBLOCK).unwrap();
        // From the first second of the clock on; in half of that no test is still here, unless the
        // machine was started just now.
        let interval = now(clock) - 1;
        let set = times((1, 0), (interval * 2 / 3, 0));
        calls.set(fd.as_raw_fd(), TFD_TIMER_ABSTIME, Some(set)).unwrap();
        threads::wait_until_ready(fd.as_raw_fd(), POLLIN);
        let (left, told) = seconds(calls.get(fd.as_raw_fd()).unwrap());
        assert_eq!(told, interval * 2 / 3);
        assert!((1..=interval / 3 + 1).contains(&left), "{left} of {interval}");
        assert_eq!(calls.number(&fd), Ok(2));
        assert_eq!(sys::poll(fd.as_raw_fd(), POLLIN), 0);
        let (left, _) = seconds(calls.get(fd.as_raw_fd()).unwrap());
        assert!((1..=interval / 3 + 1).contains(&left), "{left} of {interval}");
    }
}

fn a_moment_that_has_passed_is_at_once(calls: Calls) {
    let fd = calls.timerfd(CLOCK_REALTIME, TFD_NONBLOCK).unwrap();
    calls.set(fd.as_raw_fd(), TFD_TIMER_ABSTIME, Some(times((0, 1), NEVER))).unwrap();
    threads::wait_until_ready(fd.as_raw_fd(), POLLIN);
    assert_eq!(seconds(calls.get(fd.as_raw_fd()).unwrap()), (0, 0));
    assert_eq!(calls.number(&fd), Ok(1));
}

fn it_tells_what_is_left(calls: Calls) {
    let fd = calls.timerfd(CLOCK_REALTIME, TFD_NONBLOCK).unwrap();
    let number = fd.as_raw_fd();
    let was = calls.set(number, 0, Some(times((2 * HOUR, 0), (5, 6)))).unwrap();
    assert_eq!(seconds(was), (0, 0));
    let left = calls.get(number).unwrap();
    assert!((2 * HOUR - 600..=2 * HOUR).contains(&left.it_value.tv_sec));
    assert_eq!((left.it_interval.tv_sec, left.it_interval.tv_nsec), (5, 6));
    let at = now(CLOCK_REALTIME) + 3 * HOUR;
    let was = calls.set(number, TFD_TIMER_ABSTIME, Some(times((at, 0), NEVER))).unwrap();
    assert!((2 * HOUR - 600..=2 * HOUR).contains(&was.it_value.tv_sec));
    let (left, interval) = seconds(calls.get(number).unwrap());
    assert!((3 * HOUR - 600..=3 * HOUR).contains(&left));
    assert_eq!(interval, 0);
}

fn setting_it_forgets_what_has_expired(calls: Calls) {
    let fd = calls.timerfd(CLOCK_MONOTONIC, TFD_NONBLOCK).unwrap();
    let number = fd.as_raw_fd();
    calls.set(number, 0, Some(times(MILLI, NEVER))).unwrap();
    threads::wait_until_ready(number, POLLIN);
    calls.set(number, 0, Some(times((HOUR, 0), NEVER))).unwrap();
    assert_eq!(sys::poll(number, POLLIN), 0);
    assert_eq!(calls.number(&fd), Err(Errno::EAGAIN));
}

fn it_is_unset(calls: Calls) {
    let fd = calls.timerfd(CLOCK_MONOTONIC, TFD_NONBLOCK).unwrap();
    let number = fd.as_raw_fd();
    calls.set(number, 0, Some(times(MILLI, MILLI))).unwrap();
    threads::wait_until_ready(number, POLLIN);
    calls.set(number, 0, Some(times(NEVER, (7, 0)))).unwrap();
    assert_eq!(sys::poll(number, POLLIN), 0);
    assert_eq!(calls.number(&fd), Err(Errno::EAGAIN));
    assert_eq!(seconds(calls.get(number).unwrap()), (0, 7));
}

fn an_expiry_is_one_edge_until_it_is_read(calls: Calls) {
    let (ep, fd) = (calls.epoll.create(), calls.timerfd(CLOCK_MONOTONIC, TFD_NONBLOCK).unwrap());
    calls.epoll.add(&ep, &fd, IN | ET, 7).unwrap();
    let began = sys::monotonic_ns();
    calls.set(fd.as_raw_fd(), 0, Some(times(MILLI, (0, 100_000)))).unwrap();
    assert_eq!(calls.epoll.wait(&ep, 4, -1).unwrap(), [event(IN, 7)]);
    assert!(sys::monotonic_ns() - began >= 1_000_000);
    assert_eq!(calls.epoll.wait(&ep, 4, 5).unwrap(), []);
    assert!(calls.number(&fd).unwrap() >= 2);
    assert_eq!(calls.epoll.wait(&ep, 4, -1).unwrap(), [event(IN, 7)]);
}

fn who_reads_waits(calls: Calls) {
    let fd = calls.timerfd(CLOCK_MONOTONIC, 0).unwrap();
    let number = fd.as_raw_fd();
    let reader = threads::start(move || calls.number(&number));
    reader.wait_until_asleep();
    calls.set(number, 0, Some(times(MILLI, NEVER))).unwrap();
    assert_eq!(reader.join(), Ok(1));
}

fn a_long_time_is_a_time(calls: Calls) {
    let fd = calls.timerfd(CLOCK_MONOTONIC, TFD_NONBLOCK).unwrap();
    for long in [40 * 86_400, 1 << 33, i64::MAX] {
        calls.set(fd.as_raw_fd(), 0, Some(times((long, 999_999_999), (long, 0)))).unwrap();
        assert_eq!(sys::poll(fd.as_raw_fd(), POLLIN), 0);
        assert_eq!(calls.number(&fd), Err(Errno::EAGAIN));
        let (left, interval) = seconds(calls.get(fd.as_raw_fd()).unwrap());
        // Linux's own end: 292 years.
        let most = i64::MAX / 1_000_000_000;
        assert!(left <= long && left + 1_000_000_000 >= long.min(most), "{left}");
        assert_eq!(interval, long.min(most));
    }
}
