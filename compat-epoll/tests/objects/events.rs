//! eventfd(2).

use std::os::fd::AsRawFd;

use kq_core::rules;
use kq_core::test_support::epoll::{ET, IN, event};
use kq_core::test_support::harness::Rule;
use kq_core::test_support::{signals, sys, threads};
use libc::{EFD_CLOEXEC, EFD_NONBLOCK, EFD_SEMAPHORE, POLLIN};
use nix::errno::Errno;

use super::calls::Calls;

pub(crate) const RULES: &[Rule<Calls>] = rules![
    eventfd flags_are_checked,
    eventfd it_is_taken_whole_or_by_ones,
    eventfd sizes_and_the_largest_number_are_refused,
    eventfd there_is_room_up_to_one_below_the_largest,
    eventfd it_can_be_read_while_it_is_not_0,
    eventfd a_write_to_an_empty_one_is_an_edge,
    eventfd each_write_is_an_edge,
    eventfd who_reads_waits_for_who_writes,
    eventfd who_writes_waits_for_who_reads,
    eventfd a_handler_ends_a_wait,
    eventfd a_handler_may_write,
    eventfd nonblock_is_set_and_taken_away,
    eventfd a_duplicate_is_the_same,
    eventfd a_closed_number_is_another_descriptor,
    eventfd everything_else_is_read_and_written_as_ever,
];

fn flags_are_checked(calls: Calls) {
    assert_eq!(calls.eventfd(0, 0x10).err(), Some(Errno::EINVAL));
    let fd = calls.eventfd(0, EFD_CLOEXEC).unwrap();
    assert_eq!(sys::fcntl(fd.as_raw_fd(), libc::F_GETFD, 0), Ok(libc::FD_CLOEXEC));
    let fd = calls.eventfd(0, 0).unwrap();
    assert_eq!(sys::fcntl(fd.as_raw_fd(), libc::F_GETFD, 0), Ok(0));
}

fn it_is_taken_whole_or_by_ones(calls: Calls) {
    let fd = calls.eventfd(2, EFD_NONBLOCK).unwrap();
    assert_eq!(calls.add(&fd, 3), Ok(8));
    assert_eq!(calls.number(&fd), Ok(5));
    assert_eq!(calls.number(&fd), Err(Errno::EAGAIN));
    let fd = calls.eventfd(1, EFD_NONBLOCK | EFD_SEMAPHORE).unwrap();
    assert_eq!(calls.add(&fd, 1), Ok(8));
    assert_eq!([calls.number(&fd), calls.number(&fd)], [Ok(1), Ok(1)]);
    assert_eq!(calls.number(&fd), Err(Errno::EAGAIN));
}

fn sizes_and_the_largest_number_are_refused(calls: Calls) {
    let fd = calls.eventfd(1, EFD_NONBLOCK).unwrap();
    let number = fd.as_raw_fd();
    assert_eq!(calls.read(number, &mut [0; 7]), Err(Errno::EINVAL));
    assert_eq!(calls.read(number, &mut []), Err(Errno::EINVAL));
    assert_eq!(calls.write(number, &[0; 7]), Err(Errno::EINVAL));
    assert_eq!(calls.add(&fd, u64::MAX), Err(Errno::EINVAL));
    assert_eq!(calls.add(&fd, 1), Ok(8));
    let mut room = [7; 20];
    assert_eq!(calls.read(number, &mut room), Ok(8));
    assert_eq!(room[..8], 2_u64.to_ne_bytes());
    assert_eq!(room[8..], [7; 12]);
}

fn there_is_room_up_to_one_below_the_largest(calls: Calls) {
    let fd = calls.eventfd(1, EFD_NONBLOCK).unwrap();
    assert_eq!(calls.add(&fd, u64::MAX - 1), Err(Errno::EAGAIN));
    assert_eq!(calls.add(&fd, u64::MAX - 2), Ok(8));
    assert_eq!(calls.add(&fd, 1), Err(Errno::EAGAIN));
    assert_eq!(calls.add(&fd, 0), Ok(8));
    assert_eq!(calls.number(&fd), Ok(u64::MAX - 1));
}

fn it_can_be_read_while_it_is_not_0(calls: Calls) {
    let fd = calls.eventfd(0, EFD_NONBLOCK | EFD_SEMAPHORE).unwrap();
    let readable = || sys::poll(fd.as_raw_fd(), POLLIN) == POLLIN;
    assert!(!readable());
    calls.add(&fd, 0).unwrap();
    assert!(!readable());
    calls.add(&fd, 2).unwrap();
    assert!(readable());
    calls.number(&fd).unwrap();
    assert!(readable());
    calls.number(&fd).unwrap();
    assert!(!readable());
}

fn a_write_to_an_empty_one_is_an_edge(calls: Calls) {
    let (ep, fd) = (calls.epoll.create(), calls.eventfd(0, EFD_NONBLOCK).unwrap());
    calls.epoll.add(&ep, &fd, IN | ET, 7).unwrap();
    let came = || calls.epoll.wait(&ep, 4, 0).unwrap();
    for _ in 0..3 {
        assert_eq!(came(), []);
        calls.add(&fd, 1).unwrap();
        assert_eq!(came(), [event(IN, 7)]);
        assert_eq!(came(), []);
        calls.number(&fd).unwrap();
    }
}

fn each_write_is_an_edge(calls: Calls) {
    let (ep, fd) = (calls.epoll.create(), calls.eventfd(1, EFD_NONBLOCK).unwrap());
    calls.epoll.add(&ep, &fd, IN | ET, 7).unwrap();
    let came = || calls.epoll.wait(&ep, 4, 0).unwrap();
    assert_eq!(came(), [event(IN, 7)]);
    assert_eq!(came(), []);
    for _ in 0..3 {
        calls.add(&fd, 1).unwrap();
        assert_eq!(came(), [event(IN, 7)]);
        assert_eq!(came(), []);
    }
    calls.add(&fd, 1).unwrap();
    calls.number(&fd).unwrap();
    assert_eq!(came(), []);
}

fn who_reads_waits_for_who_writes(calls: Calls) {
    let fd = calls.eventfd(0, 0).unwrap();
    let number = fd.as_raw_fd();
    let reader = threads::start(move || calls.number(&number));
    reader.wait_until_asleep();
    calls.add(&fd, 3).unwrap();
    assert_eq!(reader.join(), Ok(3));
}

fn who_writes_waits_for_who_reads(calls: Calls) {
    let fd = calls.eventfd(0, 0).unwrap();
    calls.add(&fd, u64::MAX - 1).unwrap();
    let number = fd.as_raw_fd();
    let writer = threads::start(move || calls.add(&number, 5));
    writer.wait_until_asleep();
    assert_eq!(calls.number(&fd), Ok(u64::MAX - 1));
    assert_eq!(writer.join(), Ok(8));
    assert_eq!(calls.number(&fd), Ok(5));
}

fn a_handler_ends_a_wait(calls: Calls) {
    signals::catch(libc::SIGUSR1, 0);
    let fd = calls.eventfd(0, 0).unwrap();
    let number = fd.as_raw_fd();
    let reader = threads::start(move || calls.number(&number));
    reader.wait_until_asleep();
    reader.signal(libc::SIGUSR1);
    assert_eq!(reader.join(), Err(Errno::EINTR));
}

/// It may have interrupted a call on the same descriptor.
fn a_handler_may_write(calls: Calls) {
    use std::sync::atomic::{AtomicI32, AtomicPtr, Ordering};
    static FD: AtomicI32 = AtomicI32::new(-1);
    static CALLS: AtomicPtr<Calls> = AtomicPtr::new(std::ptr::null_mut());
    const TIMES: u64 = 2000;
    extern "C" fn write(_: libc::c_int) {
        // SAFETY: set before the handler is.
        let calls = unsafe { *CALLS.load(Ordering::Relaxed) };
        if calls.add(&FD.load(Ordering::Relaxed), 1) != Ok(8) {
            std::process::abort();
        }
    }
    let fd = calls.eventfd(0, EFD_NONBLOCK).unwrap();
    FD.store(fd.as_raw_fd(), Ordering::Relaxed);
    let mut shared = calls;
    CALLS.store(&mut shared, Ordering::Relaxed);
    signals::handle(libc::SIGUSR1, write);
    let number = fd.as_raw_fd();
    // SAFETY: takes nothing.
    let this = unsafe { libc::pthread_self() } as usize;
    let sender = threads::start(move || {
        for _ in 0..TIMES {
            // SAFETY: the thread waits for this one.
            unsafe { libc::pthread_kill(this as libc::pthread_t, libc::SIGUSR1) };
            std::thread::yield_now();
        }
    });
    let (mut sum, mut added) = (0, 0);
    while !sender.is_finished() {
        calls.add(&number, 1).unwrap();
        added += 1;
        sum += calls.number(&number).unwrap_or(0);
    }
    sender.join();
    sum += calls.number(&number).unwrap_or(0);
    let handled = sum - added;
    // Standard signals that are pending at once are one.
    assert!((1..=TIMES).contains(&handled), "{handled}");
    assert_eq!(calls.number(&fd), Err(Errno::EAGAIN));
    assert_eq!(sys::poll(number, POLLIN), 0);
}

fn nonblock_is_set_and_taken_away(calls: Calls) {
    let fd = calls.eventfd(0, EFD_NONBLOCK).unwrap();
    let number = fd.as_raw_fd();
    let flags = || calls.fcntl(number, libc::F_GETFL, 0).unwrap();
    let mask = libc::O_ACCMODE | libc::O_NONBLOCK;
    assert_eq!(flags() & mask, libc::O_RDWR | libc::O_NONBLOCK);
    assert_eq!(calls.fcntl(number, libc::F_SETFL, 0), Ok(0));
    assert_eq!(flags() & mask, libc::O_RDWR);
    let reader = threads::start(move || calls.number(&number));
    reader.wait_until_asleep();
    calls.add(&fd, 1).unwrap();
    assert_eq!(reader.join(), Ok(1));
    assert_eq!(calls.fcntl(number, libc::F_SETFL, libc::O_NONBLOCK), Ok(0));
    assert_eq!(calls.number(&fd), Err(Errno::EAGAIN));
}

fn a_duplicate_is_the_same(calls: Calls) {
    let fd = calls.eventfd(0, EFD_NONBLOCK).unwrap();
    let other = sys::dup(fd.as_raw_fd()).unwrap();
    calls.add(&other, 4).unwrap();
    assert_eq!(calls.number(&fd), Ok(4));
    calls.add(&fd, 5).unwrap();
    drop(fd);
    assert_eq!(sys::poll(other.as_raw_fd(), POLLIN), POLLIN);
    assert_eq!(calls.number(&other), Ok(5));
    assert_eq!(calls.number(&other), Err(Errno::EAGAIN));
}

fn a_closed_number_is_another_descriptor(calls: Calls) {
    let (reader, writer) = sys::pipe().unwrap();
    let fd = calls.eventfd(3, EFD_NONBLOCK).unwrap();
    let number = fd.as_raw_fd();
    drop(fd);
    assert_eq!(calls.number(&number), Err(Errno::EBADF));
    let moved = sys::dup2(reader.as_raw_fd(), number).unwrap();
    assert_eq!(calls.write(writer.as_raw_fd(), b"abc"), Ok(3));
    let mut room = [0; 8];
    assert_eq!(calls.read(moved, &mut room), Ok(3));
    sys::close(moved).unwrap();
    let again = calls.eventfd(1, EFD_NONBLOCK).unwrap();
    assert_eq!(calls.number(&again), Ok(1));
}

fn everything_else_is_read_and_written_as_ever(calls: Calls) {
    let _there = calls.eventfd(0, 0).unwrap();
    let (reader, writer) = sys::pipe().unwrap();
    assert_eq!(calls.write(writer.as_raw_fd(), b"abc"), Ok(3));
    let mut room = [0; 2];
    assert_eq!(calls.read(reader.as_raw_fd(), &mut room), Ok(2));
    assert_eq!(&room, b"ab");
    assert_eq!(calls.write(reader.as_raw_fd(), b"a"), Err(Errno::EBADF));
    assert_eq!(calls.read(-1, &mut room), Err(Errno::EBADF));
    assert_eq!(calls.fcntl(writer.as_raw_fd(), libc::F_SETFL, libc::O_NONBLOCK), Ok(0));
    let flags = calls.fcntl(writer.as_raw_fd(), libc::F_GETFL, 0).unwrap();
    assert_eq!(flags & (libc::O_ACCMODE | libc::O_NONBLOCK), libc::O_WRONLY | libc::O_NONBLOCK);
    let timer = calls.timerfd(libc::CLOCK_MONOTONIC, 0).unwrap();
    assert_eq!(calls.add(&timer, 1), Err(Errno::EINVAL));
}
