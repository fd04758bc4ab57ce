//! Crowds: 64 threads on one queue, many queues on one source. Each event is accounted for.
//! `KQCOMPAT_CASES` has them go on for more rounds. (Closing and deleting against waiting: core/tests/contract.)

use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::thread;

use kq_core::EventFilter::{EVFILT_READ, EVFILT_USER};
use kq_core::test_support::{compare, sys};
use kq_core::{EvFlags, EventFilter, FilterFlag, KEvent, Kqueue};
use libc::timespec;

const THREADS: usize = 64;
const NOW: Option<timespec> = Some(timespec { tv_sec: 0, tv_nsec: 0 });
const NONE: FilterFlag = FilterFlag::empty();
/// The USER knote by which all threads are told to end.
const END: usize = 0;

fn rounds() -> usize {
    compare::Plan::from_env(200).cases as usize
}

fn change(ident: usize, filter: EventFilter, flags: EvFlags, fflags: FilterFlag) -> KEvent {
    KEvent::new(ident, filter, flags, fflags, 0, ident as isize)
}

fn apply(kq: &Kqueue, changes: &[KEvent]) {
    kq.kevent(changes, &mut [], None).unwrap();
}

fn take(kq: &Kqueue, timeout: Option<timespec>) -> Vec<KEvent> {
    let mut events = [KEvent::default(); 8];
    let n = kq.kevent(&[], &mut events, timeout).unwrap();
    events[..n].to_vec()
}

/// One byte goes round in each of some sockets. Who is told of it reads it, writes it again, and has the
/// knote report again by `again`; until then nobody else is told.
fn go_round(flags: EvFlags, again: EvFlags) {
    let kq = Kqueue::new().unwrap();
    let pairs: Vec<_> = (0..16).map(|_| UnixStream::pair().unwrap()).collect();
    let held: Vec<_> = pairs.iter().map(|_| AtomicBool::new(false)).collect();
    let (told, wanted) = (AtomicUsize::new(0), rounds() * pairs.len());
    for (at, (reader, writer)) in pairs.iter().enumerate() {
        reader.set_nonblocking(true).unwrap();
        (&*writer).write_all(b"x").unwrap();
        let fd = reader.as_raw_fd() as usize;
        let add = KEvent::new(fd, EVFILT_READ, EvFlags::EV_ADD | flags, NONE, 0, at as isize + 1);
        apply(&kq, &[add]);
    }
    apply(&kq, &[change(END, EVFILT_USER, EvFlags::EV_ADD, NONE)]);
    let serve = |event: &KEvent| {
        let at = event.udata() as usize - 1;
        let (reader, writer) = &pairs[at];
        assert!(!held[at].swap(true, SeqCst), "told to two");
        let mut byte = [0];
        assert_eq!((&*reader).read(&mut byte).unwrap(), 1, "told of nothing");
        if told.fetch_add(1, SeqCst) + 1 >= wanted {
            apply(&kq, &[change(END, EVFILT_USER, EvFlags::empty(), FilterFlag::NOTE_TRIGGER)]);
            return;
        }
        (&*writer).write_all(&byte).unwrap();
        held[at].store(false, SeqCst);
        apply(&kq, &[KEvent::new(event.ident(), EVFILT_READ, again, NONE, 0, event.udata())]);
    };
    thread::scope(|threads| {
        for _ in 0..THREADS {
            threads.spawn(|| {
                loop {
                    let events = take(&kq, None);
                    events.iter().filter(|e| e.filter() == Ok(EVFILT_READ)).for_each(serve);
                    if events.iter().any(|e| e.filter() == Ok(EVFILT_USER)) {
                        return;
                    }
                }
            });
        }
    });
    assert!(told.load(SeqCst) >= wanted);
}

#[test]
fn sixty_four_threads_share_dispatch_knotes() {
    go_round(EvFlags::EV_DISPATCH, EvFlags::EV_ENABLE);
}

#[test]
fn sixty_four_threads_share_oneshot_knotes() {
    go_round(EvFlags::EV_ONESHOT, EvFlags::EV_ADD | EvFlags::EV_ONESHOT);
}

#[test]
fn sixty_four_threads_trigger_and_take() {
    let kq = Kqueue::new().unwrap();
    let knotes = 8;
    for ident in 0..=knotes {
        let clear = if ident == END { EvFlags::empty() } else { EvFlags::EV_CLEAR };
        apply(&kq, &[change(ident, EVFILT_USER, EvFlags::EV_ADD | clear, NONE)]);
    }
    // What was ordered of each, and what was seen of it when an event came.
    let ordered: Vec<_> = (0..=knotes).map(|_| AtomicUsize::new(0)).collect();
    let seen: Vec<_> = (0..=knotes).map(|_| AtomicUsize::new(0)).collect();
    let (events, triggers) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let trigger = |ident: usize| {
        apply(&kq, &[change(ident, EVFILT_USER, EvFlags::empty(), FilterFlag::NOTE_TRIGGER)]);
    };
    thread::scope(|threads| {
        let takers: Vec<_> = (0..THREADS / 2)
            .map(|_| {
                threads.spawn(|| {
                    loop {
                        for event in take(&kq, None) {
                            let ident = event.ident();
                            if ident == END {
                                return;
                            }
                            events.fetch_add(1, SeqCst);
                            seen[ident].fetch_max(ordered[ident].load(SeqCst), SeqCst);
                        }
                    }
                })
            })
            .collect();
        let makers: Vec<_> = (0..THREADS / 2)
            .map(|of| {
                let (ordered, trigger, triggers) = (&ordered, &trigger, &triggers);
                threads.spawn(move || {
                    for round in 0..rounds() {
                        let ident = 1 + (of + round) % knotes;
                        ordered[ident].fetch_add(1, SeqCst);
                        triggers.fetch_add(1, SeqCst);
                        trigger(ident);
                    }
                })
            })
            .collect();
        makers.into_iter().for_each(|maker| maker.join().unwrap());
        // Whatever was ordered is seen: no trigger is lost.
        let all_seen = || (1..=knotes).all(|i| seen[i].load(SeqCst) == ordered[i].load(SeqCst));
        while !all_seen() {
            thread::yield_now();
        }
        trigger(END);
        takers.into_iter().for_each(|taker| taker.join().unwrap());
    });
    let (events, triggers) = (events.load(SeqCst), triggers.load(SeqCst));
    assert!(events <= triggers, "{events} events of {triggers} triggers");
}

#[test]
fn many_queues_are_told_of_one_source() {
    let source = sys::eventfd(0).unwrap();
    let fd = source.as_raw_fd() as usize;
    let queues: Vec<_> = (0..THREADS).map(|_| Kqueue::new().unwrap()).collect();
    for kq in &queues {
        apply(kq, &[change(fd, EVFILT_READ, EvFlags::EV_ADD | EvFlags::EV_CLEAR, NONE)]);
    }
    let barrier = Barrier::new(queues.len() + 1);
    let rounds = rounds();
    thread::scope(|threads| {
        for kq in &queues {
            let barrier = &barrier;
            threads.spawn(move || {
                for round in 1..=rounds {
                    let events = take(kq, None);
                    assert_eq!(events.len(), 1, "once for each write");
                    assert_eq!(events[0].data(), round as isize);
                    barrier.wait();
                    assert_eq!(take(kq, NOW).len(), 0, "and not twice");
                    barrier.wait();
                }
            });
        }
        for _ in 0..rounds {
            sys::write(source.as_raw_fd(), &1_u64.to_ne_bytes()).unwrap();
            barrier.wait();
            barrier.wait();
        }
    });
}
