//! A queue is closed where nobody sees it, by a raw system call, with knotes of every filter. What it had
//! of its own is closed all the same, and nothing is done to what has its number.
//!
//! `KQCOMPAT_CASES` says how many queues.

#[path = "../kq/mod.rs"]
#[allow(dead_code, reason = "not all of it is needed here")]
mod kq;
#[path = "../raw_close/reuse.rs"]
#[allow(dead_code, reason = "not all of it is needed here")]
mod reuse;
mod things;

use std::collections::BTreeMap;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::process::ExitCode;

use kq::*;
use kq_core::EventFilter::*;
use kq_core::test_support::compare::CASES;
use kq_core::test_support::harness::Suite;
use kq_core::test_support::{leak, sys};
use kq_core::{EvFlags, FilterFlag, KEvent, Kqueue, abi};

use reuse::{KINDS, see};
use things::Things;

macro_rules! suite {
    ($($name:ident)*) => {
        fn main() -> ExitCode {
            let mut suite = Suite::new();
            $(suite.add(stringify!($name), $name);)*
            suite.run()
        }
    };
}

suite! {
    descriptors_stay_flat
    descriptors_stay_flat_where_other_files_take_the_numbers
    nothing_is_done_to_what_takes_the_number
    nothing_is_done_to_what_takes_all_numbers
    a_child_that_closes_it_leaves_its_parents_queue_alone
    threads_make_and_close_at_once
    one_that_is_known_by_two_numbers_lives_on
}

fn rounds(usual: usize) -> usize {
    std::env::var(CASES).ok().and_then(|n| n.parse().ok()).unwrap_or(usual)
}

fn close_unseen(kq: Kqueue) -> RawFd {
    let fd = kq.as_raw_fd();
    std::mem::forget(kq);
    // SAFETY: takes a number. No hook sees it.
    assert_eq!(unsafe { libc::syscall(libc::SYS_close, fd) }, 0);
    fd
}

/// Queues that are made find out those that were closed.
fn find_out() {
    for _ in 0..200 {
        drop(Kqueue::new().unwrap());
    }
}

fn descriptors_stay_flat() {
    let things = Things::new();
    let after = |rounds: usize| {
        for _ in 0..rounds {
            close_unseen(things.queue());
        }
        leak::open_descriptors().len()
    };
    let early = after(20);
    assert_eq!(after(rounds(100)), early);
    find_out();
    assert!(leak::open_descriptors().len() < early, "the last one's are closed too");
}

fn descriptors_stay_flat_where_other_files_take_the_numbers() {
    let things = Things::new();
    let mut programs: Vec<OwnedFd> = Vec::new();
    let mut one = |take: bool| {
        let fd = close_unseen(things.queue());
        if take {
            let made: OwnedFd =
                if programs.len().is_multiple_of(2) { sys::own_epoll() } else { sys::memfd() };
            assert_eq!(made.as_raw_fd(), fd, "the lowest number that is free");
            programs.push(made);
        }
        leak::open_descriptors().len() - programs.len()
    };
    let most = (0..20).map(|_| one(false)).max().unwrap();
    for _ in 0..rounds(100).min(500) {
        let open = one(true);
        // Some that are dead and not found yet.
        assert!(open < 6 * most, "{open} descriptors, {most} in the beginning");
    }
    find_out();
    assert!(one(false) <= most);
    find_out();
}

fn nothing_is_done_to_what_takes_the_number() {
    for (what, kind) in KINDS {
        let status = sys::in_child(|| {
            let things = Things::new();
            let fd = close_unseen(things.queue());
            if let Some(make) = kind {
                assert_eq!(sys::dup2(make().as_raw_fd(), fd), Ok(fd));
            }
            let before = see(fd);
            things.happen();
            find_out();
            things.happen();
            let left = hidden_of_queues();
            assert!(left.is_empty(), "{left:?}");
            assert_eq!(see(fd), before, "number {fd}");
            0
        });
        assert_eq!(status, 0, "number: {what}");
    }
}

/// What is open of the engine's, but for what stays.
fn hidden_of_queues() -> BTreeMap<RawFd, String> {
    let mut open = leak::open_descriptors();
    open.retain(|&fd, _| fd >= 100);
    leak::leave_out_what_stays(&mut open);
    open
}

fn nothing_is_done_to_what_takes_all_numbers() {
    for (what, kind) in KINDS {
        let status = sys::in_child(|| {
            let things = Things::new();
            let kq = things.queue();
            let mut ours: Vec<RawFd> = leak::open_descriptors().into_keys().collect();
            ours.retain(|&fd| fd >= 100);
            assert!(ours.len() > 10, "{ours:?}");
            ours.push(kq.as_raw_fd());
            std::mem::forget(kq);
            // SAFETY: takes a number. No hook sees it.
            ours.iter().for_each(|&fd| _ = unsafe { libc::syscall(libc::SYS_close, fd) });
            if let Some(make) = kind {
                ours.iter().for_each(|&fd| _ = sys::dup2(make().as_raw_fd(), fd).unwrap());
            }
            let before: Vec<_> = ours.iter().map(|&fd| see(fd)).collect();
            find_out();
            let after: Vec<_> = ours.iter().map(|&fd| see(fd)).collect();
            assert!(kind.is_none() || after == before, "{before:?}\n{after:?}");
            // And the next one works.
            things.is_well(&things.queue());
            0
        });
        assert_eq!(status, 0, "numbers: {what}");
    }
}

fn a_child_that_closes_it_leaves_its_parents_queue_alone() {
    let things = Things::new();
    let kq = things.queue();
    let before = leak::open_descriptors();
    let fd = kq.as_raw_fd();
    for all in [false, true] {
        let status = sys::in_child(|| {
            let last = if all { RawFd::MAX as u32 } else { fd as u32 };
            // SAFETY: takes numbers. No hook sees it.
            let done = unsafe { libc::syscall(libc::SYS_close_range, fd as u32, last, 0) };
            assert!(done == 0 || sys::close(fd).is_ok());
            find_out();
            let own = Kqueue::new().unwrap();
            apply(&own, &[change(1, EVFILT_USER, ADD, FilterFlag::NOTE_TRIGGER)]).unwrap();
            assert_eq!(now(&own).len(), 1);
            0
        });
        assert_eq!(status, 0);
        assert_eq!(leak::open_descriptors(), before);
        things.is_well(&kq);
    }
}

/// One finds out what others have closed, while its number may be a queue's again.
fn threads_make_and_close_at_once() {
    const THREADS: usize = 6;
    let things = Things::new();
    std::thread::scope(|threads| {
        for at in 0..THREADS {
            let things = &things;
            threads.spawn(move || {
                for round in 0..rounds(100) / 10 {
                    let kq = things.queue();
                    things.is_well(&kq);
                    if (round + at) % 3 == 0 { drop(kq) } else { _ = close_unseen(kq) }
                }
            });
        }
    });
    find_out();
    let left = hidden_of_queues();
    assert!(left.is_empty(), "{left:?}");
}

fn one_that_is_known_by_two_numbers_lives_on() {
    let kq = Kqueue::new().unwrap();
    let user = |flags, fflags| change(1, EVFILT_USER, flags, fflags);
    apply(&kq, &[user(ADD | EvFlags::EV_CLEAR, FilterFlag::empty())]).unwrap();
    let other = sys::dup(kq.as_raw_fd()).unwrap();
    let go = |changes: &[KEvent]| {
        let (mut events, now) = ([changes[0]; 4], libc::timespec { tv_sec: 0, tv_nsec: 0 });
        let (fd, changes, n) = (other.as_raw_fd(), changes.as_ptr(), changes.len() as i32);
        // SAFETY: two arrays of ours.
        unsafe { abi::kevent::<abi::RawWait>(fd, changes, n, events.as_mut_ptr(), 4, &now) }
    };
    let trigger = user(EvFlags::empty(), FilterFlag::NOTE_TRIGGER);
    assert_eq!(go(&[trigger]), Ok(1));
    close_unseen(kq);
    find_out();
    assert_eq!(go(&[trigger]), Ok(1));
    abi::closing(other.as_raw_fd());
}
