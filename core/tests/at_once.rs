//! What is made when first needed, needed by two threads at once.

use std::os::fd::RawFd;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::thread;

use kq_core::EventFilter::EVFILT_USER;
use kq_core::test_support::compare::Plan;
use kq_core::{Errno, EvFlags, FilterFlag, KEvent, abi, raw, readiness};
use libc::timespec;

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
    unsafe { abi::kevent(kq, changes.as_ptr(), n, events.as_mut_ptr(), room, timeout, abi::wait) }
}

fn triggered(ident: usize) -> [KEvent; 2] {
    let user = |flags, fflags| KEvent::new(ident, EVFILT_USER, flags, fflags, 0, ident as isize);
    [
        user(EvFlags::EV_ADD | EvFlags::EV_CLEAR, FilterFlag::empty()),
        user(EvFlags::empty(), FilterFlag::NOTE_TRIGGER),
    ]
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
