//! EV_WAKEONE: of several queues that watch one file, one is told.

mod common;

use std::io::{ErrorKind, PipeReader, PipeWriter, Read, Write, pipe};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::scope;

use common::*;
use kq_core::EventFilter::*;
use kq_core::test_support::threads::{Background, start};
use kq_core::{Errno, EvFlags, FilterFlag, KEvent, Kqueue};

const ONE: EvFlags = EvFlags::EV_WAKEONE;
const LEVEL: EvFlags = EvFlags::empty();

fn add(kq: &Kqueue, fd: &impl AsRawFd, flags: EvFlags) -> Result<(), Errno> {
    apply(kq, &[change(fd, EVFILT_READ, ADD | flags, NONE, 0)])
}

/// Threads that sleep, each in a queue of its own that watches one pipe.
fn waiters(flags: EvFlags) -> (PipeReader, PipeWriter, Vec<Background<usize>>) {
    let (reader, writer) = pipe().unwrap();
    let waiters = (0..4)
        .map(|_| {
            let kq = Kqueue::new().unwrap();
            add(&kq, &reader, flags).unwrap();
            let waiter = start(move || take(&kq, SOON).len());
            assert!(waiter.wait_until_asleep());
            waiter
        })
        .collect();
    (reader, writer, waiters)
}

#[test]
fn each_activity_wakes_one_queue() {
    for flags in [ONE, ONE | CLEAR, ONE | EvFlags::EV_DISPATCH, ONE | EvFlags::EV_ONESHOT] {
        let (_reader, mut writer, mut waiters) = waiters(flags);
        for left in (0..4).rev() {
            writer.write_all(b"x").unwrap();
            while waiters.iter().all(|w| !w.is_finished()) {
                std::thread::yield_now();
            }
            // The others sleep on.
            waiters.retain(Background::wait_until_asleep);
            assert_eq!(waiters.len(), left, "{flags:?}");
        }
    }
}

#[test]
fn without_the_flag_all_are_woken() {
    let (_reader, mut writer, waiters) = waiters(LEVEL);
    writer.write_all(b"x").unwrap();
    waiters.into_iter().for_each(|waiter| assert_eq!(waiter.join(), 1));
}

#[test]
fn every_connection_is_accepted_by_one() {
    const CONNECTIONS: usize = 300;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    listener.set_nonblocking(true).unwrap();
    let accepted = AtomicUsize::new(0);
    let serve = || {
        let kq = Kqueue::new().unwrap();
        add(&kq, &listener, ONE).unwrap();
        let stop = KEvent::new(0, EVFILT_TIMER, ADD, FilterFlag::NOTE_MSECONDS, 1, 0);
        apply(&kq, &[stop]).unwrap();
        while accepted.load(Ordering::Relaxed) < CONNECTIONS {
            for event in take(&kq, SOON) {
                if event.filter() == Ok(EVFILT_READ) {
                    match listener.accept() {
                        Ok(_) => drop(accepted.fetch_add(1, Ordering::Relaxed)),
                        Err(e) => assert_eq!(e.kind(), ErrorKind::WouldBlock),
                    }
                }
            }
        }
    };
    scope(|threads| {
        (0..3).for_each(|_| drop(threads.spawn(serve)));
        for _ in 0..CONNECTIONS {
            TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        }
    });
    assert_eq!(accepted.into_inner(), CONNECTIONS);
}

#[test]
fn it_is_for_descriptors_and_for_the_first_knote_of_one() {
    let kq = Kqueue::new().unwrap();
    let (a, mut b) = UnixStream::pair().unwrap();
    let dir = Dir::new();
    let others = [EVFILT_EXCEPT, EVFILT_VNODE, EVFILT_USER, EVFILT_TIMER, EVFILT_SIGNAL, EVFILT_FS];
    for filter in others {
        let add = change(&a, filter, ADD | ONE, NONE, 1);
        assert_eq!(apply(&kq, &[add]), Err(Errno::EINVAL), "{filter:?}");
    }
    assert_eq!(add(&kq, &Kqueue::new().unwrap(), ONE), Err(Errno::EINVAL), "nested");
    assert_eq!(add(&kq, &dir.file("f"), ONE), Err(Errno::EPERM), "always ready");
    apply(&kq, &[change(&a, EVFILT_WRITE, ADD, NONE, 0)]).unwrap();
    assert_eq!(add(&kq, &a, ONE), Err(Errno::EINVAL), "its place is taken");
    apply(&kq, &[change(&a, EVFILT_WRITE, EvFlags::EV_DELETE, NONE, 0)]).unwrap();
    // The other way round it is no matter.
    add(&kq, &a, ONE).unwrap();
    apply(&kq, &[change(&a, EVFILT_WRITE, ADD, NONE, 0)]).unwrap();
    b.write_all(b"hello").unwrap();
    let mut events = take(&kq, SOON);
    events.sort_by_key(|event| event.filter().unwrap() as i16);
    let brief = |e: &KEvent| (e.filter().unwrap(), e.flags(), e.data() > 0);
    let told: Vec<_> = events.iter().map(brief).collect();
    assert_eq!(told, [(EVFILT_WRITE, LEVEL, true), (EVFILT_READ, ONE, true)]);
    apply(&kq, &[change(&a, EVFILT_WRITE, EvFlags::EV_DELETE, NONE, 0)]).unwrap();
    assert_eq!(one(&kq, SOON).data(), 5);
}

#[test]
fn it_can_be_switched_changed_and_deleted() {
    let kq = Kqueue::new().unwrap();
    let (a, mut b) = UnixStream::pair().unwrap();
    let apply = |flags, udata| {
        let fd = a.as_raw_fd() as usize;
        kq.kevent(&[KEvent::new(fd, EVFILT_READ, flags, NONE, 0, udata)], &mut [], None)
    };
    apply(ADD | ONE | EvFlags::EV_DISPATCH, 1).unwrap();
    for round in 2..5 {
        b.write_all(b"x").unwrap();
        assert_eq!(one(&kq, SOON).udata(), round - 1);
        assert_eq!(take(&kq, NOW), [], "disabled");
        assert!(!readable(&kq));
        apply(EvFlags::EV_ENABLE, round).unwrap();
        assert_eq!(one(&kq, SOON).data(), round - 1);
        apply(EvFlags::EV_ENABLE, round).unwrap();
    }
    (&a).read_exact(&mut [0; 3]).unwrap();
    apply(EvFlags::EV_DISABLE, 9).unwrap();
    b.write_all(b"x").unwrap();
    assert_eq!(take(&kq, NOW), []);
    // The flag stays, whatever a later EV_ADD says.
    apply(ADD | EvFlags::EV_ENABLE, 10).unwrap();
    assert_eq!((one(&kq, SOON).udata(), one_flags(&kq, &apply)), (10, ONE | EvFlags::EV_DISPATCH));
    apply(EvFlags::EV_DELETE, 0).unwrap();
    assert_eq!(take(&kq, NOW), []);
    assert_eq!(apply(EvFlags::EV_DELETE, 0), Err(Errno::ENOENT));
    // Once, and again.
    for _ in 0..2 {
        apply(ADD | ONE | EvFlags::EV_ONESHOT, 0).unwrap();
        assert_eq!(take(&kq, NOW).len(), 1);
        assert_eq!(apply(EvFlags::EV_ENABLE, 0), Err(Errno::ENOENT));
    }
}

fn one_flags(kq: &Kqueue, apply: &impl Fn(EvFlags, isize) -> Result<usize, Errno>) -> EvFlags {
    apply(EvFlags::EV_ENABLE, 10).unwrap();
    one(kq, SOON).flags()
}

#[test]
fn the_end_is_told() {
    let kq = Kqueue::new().unwrap();
    let (a, b) = UnixStream::pair().unwrap();
    add(&kq, &a, ONE).unwrap();
    b.shutdown(Shutdown::Write).unwrap();
    assert!(one(&kq, SOON).flags().contains(EvFlags::EV_EOF));
    drop(b);
    assert!(one(&kq, SOON).flags().contains(EvFlags::EV_EOF));
}

#[test]
fn a_number_that_was_closed_and_taken_again() {
    // High, so that no other test gets it meanwhile.
    const NUMBER: i32 = 777;
    let kq = Kqueue::new().unwrap();
    let at_number = |pipe: &PipeReader| {
        // SAFETY: takes no pointer; the number is this test's.
        own(unsafe { libc::dup3(pipe.as_raw_fd(), NUMBER, libc::O_CLOEXEC) })
    };
    for flags in [ONE, LEVEL] {
        let (first, second) = (pipe().unwrap(), pipe().unwrap());
        let at = at_number(&first.0);
        add(&kq, &at, flags).unwrap();
        drop((at, first));
        let at = at_number(&second.0);
        add(&kq, &at, ONE).unwrap();
        assert_eq!(take(&kq, NOW), []);
        (&second.1).write_all(b"x").unwrap();
        assert_eq!(one(&kq, SOON).flags(), ONE);
    }
}
