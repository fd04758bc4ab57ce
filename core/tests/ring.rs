//! The event ring.

mod common;

use std::collections::BTreeSet;
use std::io::{PipeReader, PipeWriter, Read, Write, pipe};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::scope;

use common::*;
use kq_core::EventFilter::*;
use kq_core::test_support::signals;
use kq_core::test_support::threads::start;
use kq_core::{Errno, EvFlags, FilterFlag, KEvent, Kqueue, Ring, abi};
use libc::timespec;

const LEVEL: EvFlags = EvFlags::empty();

fn pipes(kq: &Kqueue, n: usize, flags: EvFlags) -> Vec<(PipeReader, PipeWriter)> {
    let ends: Vec<_> = (0..n).map(|_| pipe().unwrap()).collect();
    for (reader, _) in &ends {
        apply(kq, &[change(reader, EVFILT_READ, ADD | flags, NONE, 0)]).unwrap();
    }
    ends
}

fn user(ident: usize, flags: EvFlags, fflags: FilterFlag) -> KEvent {
    KEvent::new(ident, EVFILT_USER, flags, fflags, 0, 0)
}

/// Adds a user event that comes at once, and once.
fn post(kq: &Kqueue, ident: usize) {
    let add = user(ident, ADD | EvFlags::EV_ONESHOT, NONE);
    apply(kq, &[add, user(ident, LEVEL, FilterFlag::NOTE_TRIGGER)]).unwrap();
}

#[test]
fn a_queue_has_one_ring() {
    let kq = Kqueue::new().unwrap();
    assert_eq!(Ring::new(&kq, 0).unwrap_err(), Errno::EINVAL);
    assert_eq!(Ring::new(&kq, (1 << 30) + 1).unwrap_err(), Errno::EINVAL);
    let ring = Ring::new(&kq, 3).unwrap();
    assert_eq!((ring.capacity(), ring.unread(), ring.overflows()), (3, 0, 0));
    assert_eq!(Ring::new(&kq, 3).unwrap_err(), Errno::EINVAL);
    assert_eq!(abi::RawRing::open(kq.as_raw_fd(), 3).unwrap_err(), Errno::EINVAL);
    drop(ring);
    let ring = Ring::new(kq, 3).unwrap();
    assert_eq!(abi::RawRing::open(ring.queue().as_raw_fd(), 3).unwrap_err(), Errno::EINVAL);
}

#[test]
fn events_come_as_kevent_tells_them() {
    let kq = Kqueue::new().unwrap();
    let ends = pipes(&kq, 1, CLEAR);
    (&ends[0].1).write_all(b"hello").unwrap();
    let ring = Ring::new(&kq, 8).unwrap();
    assert_eq!(ring.wait(SOON), Ok(1));
    let mut room = [KEvent::default(); 8];
    assert_eq!(ring.take(&mut room), 1);
    assert_eq!(room[0].ident(), ends[0].0.as_raw_fd() as usize);
    assert_eq!((room[0].data(), room[0].flags()), (5, CLEAR));
    assert_eq!((ring.take(&mut room), ring.wait(NOW)), (0, Ok(0)));
}

#[test]
fn what_finds_no_room_stays_in_the_queue_and_is_counted() {
    for flags in [CLEAR, LEVEL, EvFlags::EV_ONESHOT] {
        let kq = Kqueue::new().unwrap();
        let ends = pipes(&kq, 10, flags);
        ends.iter().for_each(|(_, writer)| (&*writer).write_all(b"x").unwrap());
        let ring = Ring::new(&kq, 4).unwrap();
        let mut room = [KEvent::default(); 3];
        assert_eq!(ring.wait(None), Ok(4));
        assert_eq!((ring.unread(), ring.overflows()), (4, 1));
        assert_eq!(ring.fill(), Ok(0));
        assert_eq!((ring.unread(), ring.overflows()), (4, 2), "nothing was overwritten");
        let mut seen = BTreeSet::new();
        while seen.len() < 10 {
            ring.wait(SOON).unwrap();
            let n = ring.take(&mut room);
            assert!(n > 0, "{seen:?}");
            for event in &room[..n] {
                let of = |(reader, _): &&(PipeReader, PipeWriter)| {
                    reader.as_raw_fd() as usize == event.ident()
                };
                let mut reader = &ends.iter().find(of).unwrap().0;
                // A level knote may stand in the ring twice.
                if seen.insert(event.ident()) {
                    reader.read_exact(&mut [0]).unwrap();
                } else {
                    assert_eq!(flags, LEVEL);
                }
            }
        }
        while ring.take(&mut room) > 0 {}
        assert_eq!(ring.wait(NOW), Ok(0));
    }
}

#[test]
fn what_was_read_and_not_committed_is_there_still() {
    let kq = Kqueue::new().unwrap();
    let ring = Arc::new(Ring::new(kq, 8).unwrap());
    (0..3).for_each(|ident| post(ring.queue(), ident));
    assert_eq!(ring.wait(SOON), Ok(3));
    let dies = std::thread::spawn({
        let ring = Arc::clone(&ring);
        move || {
            let mut room = [KEvent::default(); 8];
            let batch = ring.read(&mut room);
            assert_eq!(batch.len(), 3);
            std::panic::resume_unwind(Box::new("dies before it commits"));
        }
    });
    assert!(dies.join().is_err());
    assert_eq!(ring.wait(None), Ok(3));
    let mut room = [KEvent::default(); 8];
    assert!(ring.read(&mut room).commit_first(1));
    let (mut one, mut other) = ([KEvent::default(); 8], [KEvent::default(); 8]);
    let (one, other) = (ring.read(&mut one), ring.read(&mut other));
    assert_eq!(one.iter().map(KEvent::ident).collect::<Vec<_>>(), [1, 2]);
    assert_eq!(*one, *other);
    assert!(one.commit());
    assert!(!other.commit(), "another has taken them");
    assert_eq!(ring.unread(), 0);
}

#[test]
fn time_and_signals() {
    let ring = Ring::new(Arc::new(Kqueue::new().unwrap()), 8).unwrap();
    let never = Some(timespec { tv_sec: -1, tv_nsec: 0 });
    assert_eq!(ring.wait(never), Err(Errno::EINVAL));
    assert_eq!(ring.wait(NOW), Ok(0));
    assert_eq!(ring.wait(Some(timespec { tv_sec: 0, tv_nsec: 3_000_000 })), Ok(0));
    signals::catch(libc::SIGUSR2, 0);
    let waiter = start(move || ring.wait(Some(timespec { tv_sec: i64::MAX, tv_nsec: 0 })));
    assert!(waiter.wait_until_asleep());
    waiter.signal(libc::SIGUSR2);
    assert_eq!(waiter.join(), Err(Errno::EINTR));
}

#[test]
fn many_threads_take_each_event_once() {
    const EVENTS: usize = 4000;
    const STOP: usize = usize::MAX;
    for (capacity, threads) in [(1, 2), (3, 4), (256, 4)] {
        let kq = Kqueue::new().unwrap();
        let ring = Ring::new(&kq, capacity).unwrap();
        let taken: Vec<_> = (0..EVENTS).map(|_| AtomicUsize::new(0)).collect();
        let consume = |most: usize| {
            let mut room = vec![KEvent::default(); most];
            loop {
                assert!(ring.wait(SOON).unwrap() > 0, "stranded");
                let n = ring.take(&mut room);
                for event in &room[..n] {
                    if event.ident() == STOP {
                        post(&kq, STOP); // for the next thread
                        return;
                    }
                    taken[event.ident()].fetch_add(1, Ordering::Relaxed);
                }
            }
        };
        scope(|scope| {
            for most in 1..=threads {
                scope.spawn(move || consume(most));
            }
            (0..EVENTS).for_each(|ident| post(&kq, ident));
            while taken.iter().any(|n| n.load(Ordering::Relaxed) == 0) {
                std::thread::yield_now();
            }
            post(&kq, STOP);
        });
        assert!(taken.iter().all(|n| n.load(Ordering::Relaxed) == 1));
    }
}

#[test]
fn a_burst_wakes_as_many_threads_as_it_has_events() {
    let ring = Arc::new(Ring::new(Kqueue::new().unwrap(), 8).unwrap());
    let waiters: Vec<_> = (0..4)
        .map(|_| {
            let ring = Arc::clone(&ring);
            // Each thread takes one event, and does not come back.
            start(move || {
                let mut room = [KEvent::default()];
                while ring.wait(SOON)? > 0 {
                    if ring.take(&mut room) == 1 {
                        return Ok(room[0].ident());
                    }
                }
                Err(Errno::ETIMEDOUT)
            })
        })
        .collect();
    let mut changes: Vec<_> = (0..4).map(|i| user(i, ADD | EvFlags::EV_ONESHOT, NONE)).collect();
    changes.extend((0..4).map(|i| user(i, LEVEL, FilterFlag::NOTE_TRIGGER)));
    apply(ring.queue(), &changes).unwrap();
    let mut idents: Vec<_> = waiters.into_iter().map(|w| w.join().unwrap()).collect();
    idents.sort_unstable();
    assert_eq!(idents, [0, 1, 2, 3]);
}

#[test]
fn closing_the_queue_ends_every_wait() {
    let kq = abi::kqueue(0).unwrap();
    let ring = Arc::new(abi::RawRing::open(kq, 8).unwrap());
    let wait = || {
        let ring = Arc::clone(&ring);
        start(move || ring.wait(None))
    };
    let leader = wait();
    assert!(leader.wait_until_asleep());
    let followers = [wait(), wait()];
    abi::closing(kq);
    kq_core::raw::close(kq).unwrap();
    assert_eq!(leader.join(), Err(Errno::EBADF));
    followers.into_iter().for_each(|waiter| assert_eq!(waiter.join(), Err(Errno::EBADF)));
    assert_eq!((ring.fill(), ring.wait(NOW)), (Err(Errno::EBADF), Err(Errno::EBADF)));
    assert_eq!(abi::RawRing::open(kq, 8).unwrap_err(), Errno::EBADF);
}
