//! What is made when first needed, needed by two threads at once.

use std::os::fd::RawFd;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::thread;

use kq_core::EventFilter::EVFILT_USER;
use kq_core::test_support::compare::Plan;
use kq_core::test_support::threads::start;
use kq_core::{Errno, EvFlags, FilterFlag, KEvent, abi, raw, readiness};
use libc::timespec;

/// Long enough: only a failing test waits for it.
const SOON: timespec = timespec { tv_sec: 5, tv_nsec: 0 };
const NOW: timespec = timespec { tv_sec: 0, tv_nsec: 0 };

fn rounds() -> usize {
    Plan::from_env(300).cases as usize
}

fn kevent(
    kq: RawFd,
    changes: &[KEvent],
    events: &mut [KEvent],
    timeout: &timespec,
) -> Result<usize, Errno> {
    let (n, room) = (changes.len() as i32, events.len() as i32);
    // SAFETY: two slices.
    unsafe {
        abi::kevent::<abi::RawWait>(kq, changes.as_ptr(), n, events.as_mut_ptr(), room, timeout)
    }
}

fn triggered(ident: usize) -> [KEvent; 2] {
    let user = |flags, fflags| KEvent::new(ident, EVFILT_USER, flags, fflags, 0, ident as isize);
    [
        user(EvFlags::EV_ADD | EvFlags::EV_CLEAR, FilterFlag::empty()),
        user(EvFlags::empty(), FilterFlag::NOTE_TRIGGER),
    ]
}

/// As the hooks of the C libraries close.
fn close(fd: RawFd) {
    abi::closing(fd);
    raw::close(fd).unwrap();
}

/// Runs it in two threads that begin at once.
fn at_once(work: impl Fn(usize) + Sync) {
    // (A barrier wakes the one some time after the other.)
    let there = AtomicUsize::new(0);
    thread::scope(|scope| {
        for number in [1, 2] {
            let (work, there) = (&work, &there);
            scope.spawn(move || {
                there.fetch_add(1, SeqCst);
                while there.load(SeqCst) < 2 {
                    thread::yield_now();
                }
                work(number);
            });
        }
    });
}

/// Waits for an event.
fn waits(kq: RawFd) -> Result<KEvent, Errno> {
    let mut event = [KEvent::default()];
    kevent(kq, &[], &mut event, &SOON).map(|_| event[0])
}

/// The first knotes of an epoll instance: neither thread's are lost.
#[test]
fn an_instances_first_knotes() {
    for round in 0..rounds() {
        let epoll = readiness::epoll_create1(libc::EPOLL_CLOEXEC).unwrap();
        at_once(|ident| assert_eq!(kevent(epoll, &triggered(ident), &mut [], &NOW), Ok(0)));
        let mut events = [KEvent::default(); 4];
        assert_eq!(kevent(epoll, &[], &mut events, &NOW), Ok(2), "round {round}");
        assert_eq!(kevent(epoll, &[], &mut events, &NOW), Ok(0), "round {round}");
        readiness::closed(epoll);
        raw::close(epoll).unwrap();
    }
}

/// The first calls by another number of a queue: it counts once, so that the queue is over when all its
/// numbers are closed, and who sleeps in it wakes.
#[test]
fn a_duplicates_first_calls() {
    for round in 0..rounds() {
        let kq = abi::kqueue(0).unwrap();
        assert_eq!(kevent(kq, &triggered(1)[..1], &mut [], &NOW), Ok(0));
        let other = raw::fcntl(kq, libc::F_DUPFD_CLOEXEC, 0).unwrap();
        at_once(|_| assert_eq!(kevent(other, &[], &mut [KEvent::default()], &NOW), Ok(0)));
        let waiter = start(move || waits(kq));
        // (Before that its number might be another test's by the time that it sleeps.)
        assert!(waiter.wait_until_asleep());
        close(other);
        close(kq);
        assert_eq!(waiter.join(), Err(Errno::EBADF), "round {round}");
    }
}

/// A queue is closed, and its number is an epoll instance's before who slept in it looks.
#[test]
fn a_closed_queues_number() {
    for round in 0..rounds() {
        let kq = abi::kqueue(0).unwrap();
        let waiter = start(move || waits(kq));
        assert!(waiter.wait_until_asleep());
        close(kq);
        let epoll = readiness::epoll_create1(libc::EPOLL_CLOEXEC).unwrap();
        assert_eq!(waiter.join(), Err(Errno::EBADF), "round {round}");
        readiness::closed(epoll);
        raw::close(epoll).unwrap();
    }
}
