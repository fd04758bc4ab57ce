//! The rules of kqueue that hold for READ, WRITE, EXCEPT, USER and TIMER.

use std::io::{Read, Write};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use kq_core::EventFilter::*;
use kq_core::{Errno, EvFlags, EventFilter, FilterFlag, KEvent, Kqueue};
use libc::timespec;

const NOW: Option<timespec> = Some(timespec { tv_sec: 0, tv_nsec: 0 });
const SOON: Option<timespec> = Some(timespec { tv_sec: 5, tv_nsec: 0 });

const ADD: EvFlags = EvFlags::EV_ADD;
const CLEAR: EvFlags = EvFlags::EV_CLEAR;

fn change(ident: &impl AsRawFd, filter: EventFilter, flags: EvFlags, udata: isize) -> KEvent {
    KEvent::new(ident.as_raw_fd() as usize, filter, flags, FilterFlag::empty(), 0, udata)
}

fn number(ident: usize, filter: EventFilter, flags: EvFlags, fflags: u32, data: isize) -> KEvent {
    KEvent::new(ident, filter, flags, FilterFlag::from_bits_retain(fflags), data, 0)
}

fn apply(kq: &Kqueue, changes: &[KEvent]) -> Result<(), Errno> {
    kq.kevent(changes, &mut [], None).map(drop)
}

fn take(kq: &Kqueue, room: usize, timeout: Option<timespec>) -> Vec<KEvent> {
    let mut events = vec![number(0, EVFILT_READ, EvFlags::empty(), 0, 0); room];
    let n = kq.kevent(&[], &mut events, timeout).expect("kevent");
    events.truncate(n);
    events
}

fn brief(events: &[KEvent]) -> Vec<(RawFd, EventFilter)> {
    events.iter().map(|e| (e.ident() as RawFd, e.filter().unwrap())).collect()
}

fn readable(fd: &impl AsRawFd) -> bool {
    let mut entry = libc::pollfd { fd: fd.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    // SAFETY: one entry.
    assert!(unsafe { libc::poll(&mut entry, 1, 0) } >= 0);
    entry.revents != 0
}

fn pair() -> (UnixStream, UnixStream) {
    UnixStream::pair().unwrap()
}

#[test]
fn a_fresh_queue_is_empty() {
    let kq = Kqueue::new().unwrap();
    assert_eq!(take(&kq, 4, NOW), []);
    assert!(!readable(&kq));
}

#[test]
fn read_is_level_by_default_and_tells_how_much() {
    let kq = Kqueue::new().unwrap();
    let (mut a, mut b) = pair();
    apply(&kq, &[change(&a, EVFILT_READ, ADD, 77)]).unwrap();
    assert_eq!(take(&kq, 4, NOW), []);
    b.write_all(b"hello").unwrap();
    for _ in 0..3 {
        let events = take(&kq, 4, SOON);
        assert_eq!(brief(&events), [(a.as_raw_fd(), EVFILT_READ)]);
        assert_eq!((events[0].data(), events[0].udata()), (5, 77));
        assert!(readable(&kq));
    }
    a.read_exact(&mut [0; 5]).unwrap();
    assert_eq!(take(&kq, 4, NOW), []);
    assert!(!readable(&kq));
}

#[test]
fn clear_reports_each_activity_once() {
    let kq = Kqueue::new().unwrap();
    let (a, mut b) = pair();
    apply(&kq, &[change(&a, EVFILT_READ, ADD | CLEAR, 0)]).unwrap();
    b.write_all(b"1").unwrap();
    let events = take(&kq, 4, SOON);
    assert!(events[0].flags().contains(CLEAR));
    assert_eq!(take(&kq, 4, NOW), []);
    b.write_all(b"2").unwrap();
    assert_eq!(take(&kq, 4, SOON)[0].data(), 2);
    assert_eq!(take(&kq, 4, NOW), []);
}

#[test]
fn an_edge_of_one_filter_does_not_bring_up_the_other() {
    for (read, write) in [(CLEAR, EvFlags::empty()), (CLEAR, CLEAR), (EvFlags::empty(), CLEAR)] {
        let kq = Kqueue::new().unwrap();
        let (a, mut b) = pair();
        let changes =
            [change(&a, EVFILT_WRITE, ADD | write, 1), change(&a, EVFILT_READ, ADD | read, 2)];
        apply(&kq, &changes).unwrap();
        assert_eq!(brief(&take(&kq, 4, NOW)), [(a.as_raw_fd(), EVFILT_WRITE)]);
        b.write_all(b"1").unwrap();
        let mut seen = brief(&take(&kq, 4, SOON));
        seen.retain(|&(_, filter)| filter == EVFILT_READ || write == CLEAR);
        assert_eq!(seen, [(a.as_raw_fd(), EVFILT_READ)], "read {read:?} write {write:?}");
        let filters: Vec<_> = take(&kq, 4, NOW).iter().map(|e| e.filter().unwrap()).collect();
        assert_eq!(filters.contains(&EVFILT_READ), read != CLEAR);
        assert_eq!(filters.contains(&EVFILT_WRITE), write != CLEAR);
    }
}

#[test]
fn with_one_slot_no_filter_starves() {
    for clear in [EvFlags::empty(), CLEAR] {
        let kq = Kqueue::new().unwrap();
        let (a, mut b) = pair();
        b.write_all(b"1").unwrap();
        let changes =
            [change(&a, EVFILT_READ, ADD | clear, 0), change(&a, EVFILT_WRITE, ADD | clear, 0)];
        apply(&kq, &changes).unwrap();
        let mut seen = Vec::new();
        for _ in 0..2 {
            seen.extend(brief(&take(&kq, 1, SOON)).iter().map(|&(_, f)| f as i16));
        }
        seen.sort_unstable();
        assert_eq!(seen, [EVFILT_WRITE as i16, EVFILT_READ as i16], "{clear:?}");
    }
}

#[test]
fn oneshot_is_gone_after_one_report_and_can_be_added_again() {
    let kq = Kqueue::new().unwrap();
    let (a, mut b) = pair();
    b.write_all(b"1").unwrap();
    for round in 0..3 {
        apply(&kq, &[change(&a, EVFILT_READ, ADD | EvFlags::EV_ONESHOT, round)]).unwrap();
        let events = take(&kq, 4, SOON);
        assert_eq!(events.len(), 1);
        assert_eq!(events[0].udata(), round);
        assert_eq!(take(&kq, 4, NOW), []);
        assert!(!readable(&kq));
        let delete = change(&a, EVFILT_READ, EvFlags::EV_DELETE, 0);
        assert_eq!(apply(&kq, &[delete]), Err(Errno::ENOENT));
    }
    assert_eq!(kq.counters().knotes, 0);
}

#[test]
fn dispatch_disables_until_enabled() {
    let kq = Kqueue::new().unwrap();
    let (a, mut b) = pair();
    b.write_all(b"1").unwrap();
    apply(&kq, &[change(&a, EVFILT_READ, ADD | EvFlags::EV_DISPATCH, 1)]).unwrap();
    for round in 1..4 {
        assert_eq!(take(&kq, 4, SOON)[0].udata(), round);
        assert_eq!(take(&kq, 4, NOW), []);
        assert!(!readable(&kq));
        apply(&kq, &[change(&a, EVFILT_READ, EvFlags::EV_ENABLE, round + 1)]).unwrap();
    }
    apply(&kq, &[change(&a, EVFILT_READ, EvFlags::EV_DELETE, 0)]).unwrap();
    assert_eq!(take(&kq, 4, NOW), []);
}

#[test]
fn disabled_is_silent_from_outside_too_even_for_a_hang_up() {
    let kq = Kqueue::new().unwrap();
    let (a, b) = pair();
    apply(&kq, &[change(&a, EVFILT_READ, ADD | EvFlags::EV_DISABLE, 0)]).unwrap();
    drop(b);
    assert_eq!(take(&kq, 4, NOW), []);
    assert!(!readable(&kq));
    apply(&kq, &[change(&a, EVFILT_READ, EvFlags::EV_ENABLE, 0)]).unwrap();
    let events = take(&kq, 4, SOON);
    assert!(events[0].flags().contains(EvFlags::EV_EOF));
    apply(&kq, &[change(&a, EVFILT_READ, EvFlags::EV_DISABLE, 0)]).unwrap();
    assert!(!readable(&kq));
    apply(&kq, &[change(&a, EVFILT_READ, EvFlags::EV_DELETE, 0)]).unwrap();
}

#[test]
fn level_knotes_share_and_leave_one_by_one() {
    let kq = Kqueue::new().unwrap();
    let (a, mut b) = pair();
    b.write_all(b"1").unwrap();
    let both = [change(&a, EVFILT_READ, ADD, 1), change(&a, EVFILT_WRITE, ADD, 2)];
    apply(&kq, &both).unwrap();
    assert_eq!(take(&kq, 4, SOON).len(), 2);
    apply(&kq, &[change(&a, EVFILT_READ, EvFlags::EV_DELETE, 0)]).unwrap();
    assert_eq!(brief(&take(&kq, 4, SOON)), [(a.as_raw_fd(), EVFILT_WRITE)]);
    apply(&kq, &[change(&a, EVFILT_WRITE, EvFlags::EV_DISABLE, 0)]).unwrap();
    assert_eq!(take(&kq, 4, NOW), []);
    apply(&kq, &[change(&a, EVFILT_READ, ADD, 3)]).unwrap();
    assert_eq!(brief(&take(&kq, 4, SOON)), [(a.as_raw_fd(), EVFILT_READ)]);
}

#[test]
fn a_oneshot_beside_a_level_knote_leaves_it_alone() {
    let kq = Kqueue::new().unwrap();
    let (a, mut b) = pair();
    b.write_all(b"1").unwrap();
    let both =
        [change(&a, EVFILT_READ, ADD | EvFlags::EV_ONESHOT, 1), change(&a, EVFILT_WRITE, ADD, 2)];
    apply(&kq, &both).unwrap();
    assert_eq!(take(&kq, 4, SOON).len(), 2);
    assert_eq!(brief(&take(&kq, 4, SOON)), [(a.as_raw_fd(), EVFILT_WRITE)]);
    apply(&kq, &[change(&a, EVFILT_READ, ADD | EvFlags::EV_ONESHOT, 1)]).unwrap();
    assert_eq!(take(&kq, 4, SOON).len(), 2);
}

#[test]
fn errors_and_receipts_come_back_as_events() {
    let kq = Kqueue::new().unwrap();
    let (a, mut b) = pair();
    b.write_all(b"1").unwrap();
    let changes = [
        change(&a, EVFILT_READ, ADD | EvFlags::EV_RECEIPT, 5),
        change(&a, EVFILT_WRITE, EvFlags::EV_DELETE, 6),
        number(99_999, EVFILT_READ, ADD, 0, 0),
    ];
    let mut events = vec![changes[0]; 4];
    assert_eq!(kq.kevent(&changes, &mut events, None), Ok(3));
    let answers: Vec<_> = events[..3].iter().map(|e| (e.udata(), e.data())).collect();
    let errno = |e: Errno| e as isize;
    assert_eq!(answers, [(5, 0), (6, errno(Errno::ENOENT)), (0, errno(Errno::EBADF))]);
    assert!(events[..3].iter().all(|e| e.flags() == EvFlags::EV_ERROR));

    // Without room the call fails with the first error, and what comes after is not done.
    let (c, _d) = pair();
    let changes =
        [change(&c, EVFILT_WRITE, EvFlags::EV_DELETE, 0), change(&c, EVFILT_WRITE, ADD, 0)];
    assert_eq!(apply(&kq, &changes), Err(Errno::ENOENT));
    let delete = change(&c, EVFILT_WRITE, EvFlags::EV_DELETE, 0);
    assert_eq!(apply(&kq, &[delete]), Err(Errno::ENOENT));
}

#[test]
fn bad_input() {
    let kq = Kqueue::new().unwrap();
    let (a, _b) = pair();
    let both = EvFlags::EV_ENABLE | EvFlags::EV_DISABLE;
    assert_eq!(apply(&kq, &[change(&a, EVFILT_READ, ADD | both, 0)]), Err(Errno::EINVAL));
    let other = kq.as_fd().try_clone_to_owned().unwrap();
    for flags in [ADD, ADD | EvFlags::EV_CLEAR, ADD | EvFlags::EV_DISABLE] {
        assert_eq!(apply(&kq, &[change(&kq, EVFILT_READ, flags, 0)]), Err(Errno::EINVAL));
        assert_eq!(apply(&kq, &[change(&other, EVFILT_READ, flags, 0)]), Err(Errno::EINVAL));
    }
    assert_eq!(apply(&kq, &[number(usize::MAX, EVFILT_READ, ADD, 0, 0)]), Err(Errno::EBADF));
    let delete = number(12_345, EVFILT_READ, EvFlags::EV_DELETE, 0, 0);
    assert_eq!(apply(&kq, &[delete]), Err(Errno::EBADF));
    for bad in [(-1, 0), (0, -1), (0, 1_000_000_000)] {
        let timeout = Some(timespec { tv_sec: bad.0, tv_nsec: bad.1 });
        let mut events = [change(&a, EVFILT_READ, ADD, 0)];
        assert_eq!(kq.kevent(&[], &mut events, timeout), Err(Errno::EINVAL));
        assert_eq!(kq.kevent(&[], &mut [], timeout), Ok(0));
    }
}

#[test]
fn user_triggers_combine_and_clear() {
    let kq = Kqueue::new().unwrap();
    let copy = FilterFlag::NOTE_FFCOPY.bits();
    let or = FilterFlag::NOTE_FFOR.bits();
    let and = FilterFlag::NOTE_FFAND.bits();
    let trigger = FilterFlag::NOTE_TRIGGER.bits();
    apply(&kq, &[number(1, EVFILT_USER, ADD | CLEAR, 0, 0)]).unwrap();
    assert_eq!(take(&kq, 4, NOW), []);
    let touch =
        |fflags| apply(&kq, &[number(1, EVFILT_USER, EvFlags::empty(), fflags, 0)]).unwrap();
    touch(copy | 0x00F0);
    touch(or | 0x000F);
    touch(and | 0x003C);
    assert!(!readable(&kq));
    touch(trigger);
    touch(trigger);
    assert!(readable(&kq));
    let events = take(&kq, 4, SOON);
    assert_eq!((events.len(), events[0].fflags().bits()), (1, 0x3C));
    assert_eq!(take(&kq, 4, NOW), []);
    assert!(!readable(&kq));
    touch(trigger);
    let events = take(&kq, 4, SOON);
    assert_eq!((events.len(), events[0].fflags().bits()), (1, 0));
}

#[test]
fn user_triggered_while_disabled_is_kept() {
    let kq = Kqueue::new().unwrap();
    let trigger = FilterFlag::NOTE_TRIGGER.bits();
    apply(&kq, &[number(1, EVFILT_USER, ADD | EvFlags::EV_DISABLE, 0, 0)]).unwrap();
    apply(&kq, &[number(1, EVFILT_USER, EvFlags::empty(), trigger, 0)]).unwrap();
    assert!(!readable(&kq));
    assert_eq!(take(&kq, 4, NOW), []);
    apply(&kq, &[number(1, EVFILT_USER, EvFlags::EV_ENABLE, 0, 0)]).unwrap();
    assert!(readable(&kq));
    for _ in 0..3 {
        assert_eq!(take(&kq, 4, SOON).len(), 1, "level until cleared");
    }
    apply(&kq, &[number(1, EVFILT_USER, EvFlags::EV_DELETE, 0, 0)]).unwrap();
    assert!(!readable(&kq));
    assert_eq!(take(&kq, 4, NOW), []);
}

#[test]
fn timers_count_their_expirations() {
    let kq = Kqueue::new().unwrap();
    let usec = FilterFlag::NOTE_USECONDS.bits();
    apply(&kq, &[number(3, EVFILT_TIMER, ADD, usec, 1000)]).unwrap();
    std::thread::sleep(Duration::from_millis(20));
    assert!(readable(&kq));
    let events = take(&kq, 4, SOON);
    assert_eq!(brief(&events), [(3, EVFILT_TIMER)]);
    assert!(events[0].data() >= 19, "{}", events[0].data());
    assert!(take(&kq, 4, SOON)[0].data() >= 1);
    apply(&kq, &[number(3, EVFILT_TIMER, EvFlags::EV_DELETE, 0, 0)]).unwrap();
    assert!(!readable(&kq));
    assert_eq!(take(&kq, 4, NOW), []);
}

#[test]
fn timers_oneshot_zero_absolute_and_disabled() {
    let kq = Kqueue::new().unwrap();
    let oneshot = ADD | EvFlags::EV_ONESHOT;
    let absolute = (FilterFlag::NOTE_ABSTIME | FilterFlag::NOTE_SECONDS).bits();
    apply(&kq, &[number(1, EVFILT_TIMER, oneshot, 0, 0)]).unwrap();
    assert_eq!(take(&kq, 4, SOON)[0].data(), 1);
    assert_eq!(kq.counters().knotes, 0);

    // A moment that is over fires at once, and stays over.
    apply(&kq, &[number(2, EVFILT_TIMER, ADD, absolute, 1)]).unwrap();
    for _ in 0..3 {
        assert_eq!(brief(&take(&kq, 4, SOON)), [(2, EVFILT_TIMER)]);
    }
    apply(&kq, &[number(2, EVFILT_TIMER, EvFlags::EV_DELETE, 0, 0)]).unwrap();
    apply(&kq, &[number(2, EVFILT_TIMER, ADD | CLEAR, absolute, 1)]).unwrap();
    assert_eq!(take(&kq, 4, SOON).len(), 1);
    assert_eq!(take(&kq, 4, NOW), []);

    // Disabled before it expires: delivered when it is enabled.
    apply(&kq, &[number(4, EVFILT_TIMER, oneshot, 0, 5)]).unwrap();
    apply(&kq, &[number(4, EVFILT_TIMER, EvFlags::EV_DISABLE, 0, 5)]).unwrap();
    std::thread::sleep(Duration::from_millis(10));
    assert!(!readable(&kq));
    apply(&kq, &[number(4, EVFILT_TIMER, EvFlags::EV_ENABLE, 0, 5)]).unwrap();
    assert_eq!(take(&kq, 4, SOON)[0].data(), 1);
}

#[test]
fn a_number_closed_and_reused_is_a_new_descriptor() {
    let kq = Kqueue::new().unwrap();
    let (a, _b) = pair();
    let fd = a.as_raw_fd();
    apply(&kq, &[change(&a, EVFILT_READ, ADD, 1), change(&a, EVFILT_WRITE, ADD, 1)]).unwrap();
    let (c, mut d) = pair();
    // SAFETY: puts another file at the number of `a`, which stays open there for `a` to close.
    assert_eq!(unsafe { libc::dup2(c.as_raw_fd(), fd) }, fd);
    let delete = change(&fd, EVFILT_READ, EvFlags::EV_DELETE, 0);
    assert_eq!(apply(&kq, &[delete]), Err(Errno::ENOENT));
    apply(&kq, &[change(&fd, EVFILT_READ, ADD, 2)]).unwrap();
    d.write_all(b"1").unwrap();
    let events = take(&kq, 4, SOON);
    assert_eq!((events.len(), events[0].udata()), (1, 2));
}

#[test]
fn eof_and_errors() {
    let kq = Kqueue::new().unwrap();
    let (a, mut b) = pair();
    apply(&kq, &[change(&a, EVFILT_READ, ADD, 0), change(&a, EVFILT_WRITE, ADD, 0)]).unwrap();
    b.write_all(b"xyz").unwrap();
    b.shutdown(std::net::Shutdown::Write).unwrap();
    let events = take(&kq, 4, SOON);
    let read = events.iter().find(|e| e.filter() == Ok(EVFILT_READ)).unwrap();
    assert!(read.flags().contains(EvFlags::EV_EOF) && read.data() == 3);
    let write = events.iter().find(|e| e.filter() == Ok(EVFILT_WRITE)).unwrap();
    assert!(!write.flags().contains(EvFlags::EV_EOF), "only one side is gone");
    drop(b);
    let events = take(&kq, 4, SOON);
    assert!(events.iter().all(|e| e.flags().contains(EvFlags::EV_EOF)), "{events:?}");
}

#[test]
fn an_unconnected_socket_is_silent_and_does_not_spin() {
    let kq = Kqueue::new().unwrap();
    // SAFETY: a new socket, owned from here on.
    let s = unsafe { OwnedFd::from_raw_fd(libc::socket(libc::AF_INET, libc::SOCK_STREAM, 0)) };
    apply(&kq, &[change(&s, EVFILT_READ, ADD, 0)]).unwrap();
    let before = kq.counters();
    assert_eq!(take(&kq, 4, Some(timespec { tv_sec: 0, tv_nsec: 20_000_000 })), []);
    assert_eq!(take(&kq, 4, NOW), []);
    assert!(!readable(&kq));
    assert_eq!(kq.counters().events, before.events);
}

#[test]
fn a_thousand_ready_are_returned_in_one_call() {
    let kq = Kqueue::new().unwrap();
    let pairs: Vec<_> = (0..700).map(|_| pair()).collect();
    let changes: Vec<_> = pairs.iter().map(|(a, _)| change(a, EVFILT_WRITE, ADD, 0)).collect();
    apply(&kq, &changes).unwrap();
    let mut seen = brief(&take(&kq, 1000, NOW));
    seen.sort_unstable_by_key(|&(fd, _)| fd);
    seen.dedup();
    assert_eq!(seen.len(), 700);
}

#[test]
fn every_ready_knote_gets_its_turn() {
    let kq = Kqueue::new().unwrap();
    let pairs: Vec<_> = (0..10).map(|_| pair()).collect();
    for (a, _) in &pairs {
        apply(&kq, &[change(a, EVFILT_WRITE, ADD, 0)]).unwrap();
    }
    apply(&kq, &[number(1, EVFILT_USER, ADD, FilterFlag::NOTE_TRIGGER.bits(), 0)]).unwrap();
    let mut turns = std::collections::HashMap::new();
    for _ in 0..110 {
        let events = take(&kq, 1, NOW);
        *turns.entry((events[0].ident(), events[0].filter().unwrap())).or_insert(0) += 1;
    }
    assert_eq!(turns.len(), 11, "{turns:?}");
    assert!(turns.values().all(|&n| (9..=11).contains(&n)), "{turns:?}");
}

#[test]
fn a_trigger_wakes_a_waiter_in_another_thread() {
    let kq = Kqueue::new().unwrap();
    apply(&kq, &[number(1, EVFILT_USER, ADD | CLEAR, 0, 0)]).unwrap();
    std::thread::scope(|scope| {
        let waiter = scope.spawn(|| take(&kq, 1, SOON).len());
        std::thread::sleep(Duration::from_millis(20));
        let trigger = FilterFlag::NOTE_TRIGGER.bits();
        apply(&kq, &[number(1, EVFILT_USER, EvFlags::empty(), trigger, 0)]).unwrap();
        assert_eq!(waiter.join().unwrap(), 1);
    });
}

#[test]
fn dispatch_is_delivered_once_whoever_waits() {
    let kq = Kqueue::new().unwrap();
    let (mut a, mut b) = pair();
    apply(&kq, &[change(&a, EVFILT_READ, ADD | EvFlags::EV_DISPATCH, 0)]).unwrap();
    for _ in 0..200 {
        let delivered = std::sync::atomic::AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let timeout = Some(timespec { tv_sec: 0, tv_nsec: 3_000_000 });
                    let n = take(&kq, 4, timeout).len();
                    delivered.fetch_add(n, std::sync::atomic::Ordering::Relaxed);
                });
            }
            b.write_all(b"1").unwrap();
        });
        assert!(delivered.into_inner() <= 1);
        while readable(&kq) {
            assert_eq!(take(&kq, 4, NOW).len(), 1);
        }
        a.read_exact(&mut [0]).unwrap();
        apply(&kq, &[change(&a, EVFILT_READ, EvFlags::EV_ENABLE, 0)]).unwrap();
        assert_eq!(take(&kq, 4, NOW), [], "the event before the enabling is stale");
    }
}

#[test]
fn a_child_has_no_queue_and_the_parent_keeps_its_own() {
    let kq = Kqueue::new().unwrap();
    let (a, mut b) = pair();
    apply(&kq, &[change(&a, EVFILT_READ, ADD, 0)]).unwrap();
    // SAFETY: the child makes calls of ours that neither lock nor allocate before they fail.
    unsafe {
        let child = libc::fork();
        if child == 0 {
            let bad = kq.kevent(&[], &mut [], NOW) == Err(Errno::EBADF);
            libc::_exit(if bad { 0 } else { 1 });
        }
        let mut status = 0;
        assert_eq!(libc::waitpid(child, &mut status, 0), child);
        assert_eq!(status, 0);
    }
    b.write_all(b"1").unwrap();
    assert_eq!(take(&kq, 1, SOON).len(), 1);
}

#[test]
fn out_of_band_data_is_an_exception() {
    let kq = Kqueue::new().unwrap();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let a = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (b, _) = listener.accept().unwrap();
    apply(&kq, &[change(&a, EVFILT_EXCEPT, ADD, 0)]).unwrap();
    // SAFETY: one byte.
    assert_eq!(unsafe { libc::send(b.as_raw_fd(), c"!".as_ptr().cast(), 1, libc::MSG_OOB) }, 1);
    let events = take(&kq, 4, SOON);
    assert_eq!(brief(&events), [(a.as_raw_fd(), EVFILT_EXCEPT)]);
    assert_eq!(events[0].fflags(), FilterFlag::NOTE_OOB);
}

#[test]
fn a_listening_socket_counts_its_backlog() {
    let kq = Kqueue::new().unwrap();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    apply(&kq, &[change(&listener, EVFILT_READ, ADD, 0)]).unwrap();
    let address = listener.local_addr().unwrap();
    let _clients: Vec<_> = (0..3).map(|_| std::net::TcpStream::connect(address).unwrap()).collect();
    assert_eq!(take(&kq, 4, SOON)[0].data(), 3);
}

#[test]
fn a_low_water_mark_holds_back() {
    let kq = Kqueue::new().unwrap();
    let (a, mut b) = pair();
    let mark = FilterFlag::NOTE_LOWAT;
    let add = KEvent::new(a.as_raw_fd() as usize, EVFILT_READ, ADD, mark, 10, 0);
    apply(&kq, &[add]).unwrap();
    for sent in 1..=12 {
        b.write_all(b"x").unwrap();
        let events = take(&kq, 4, NOW);
        assert_eq!(events.len(), usize::from(sent >= 10), "after {sent} bytes");
    }
}

#[test]
fn force_oneshot_reports_whatever_the_condition() {
    let kq = Kqueue::new().unwrap();
    let (a, _b) = pair();
    apply(&kq, &[change(&a, EVFILT_READ, ADD, 3)]).unwrap();
    apply(&kq, &[change(&a, EVFILT_READ, EvFlags::EV_FORCEONESHOT, 4)]).unwrap();
    assert!(readable(&kq));
    let events = take(&kq, 4, SOON);
    assert_eq!((events.len(), events[0].udata()), (1, 4));
    assert_eq!(take(&kq, 4, NOW), []);
    let delete = change(&a, EVFILT_READ, EvFlags::EV_DELETE, 0);
    assert_eq!(apply(&kq, &[delete]), Err(Errno::ENOENT));
}

#[test]
fn extensions_pass_through() {
    let kq = Kqueue::new().unwrap();
    let (a, _b) = pair();
    let ext = [1, 2, 3, 4];
    let user = number(1, EVFILT_USER, ADD, FilterFlag::NOTE_TRIGGER.bits(), 0);
    apply(&kq, &[change(&a, EVFILT_WRITE, ADD, 0).with_ext(ext), user.with_ext(ext)]).unwrap();
    let events = take(&kq, 4, SOON);
    assert_eq!(events.len(), 2);
    assert!(events.iter().all(|e| e.ext() == ext));
}
