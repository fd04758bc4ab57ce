//! EVFILT_VNODE: many files, and those that are closed.

mod common;

use std::fs::{self, File};
use std::io::Write;
use std::os::fd::{AsRawFd, IntoRawFd};

use common::*;
use kq_core::EventFilter::EVFILT_VNODE;
use kq_core::{Errno, EvFlags, Kqueue};

/// Without a hook on close, a number that was closed is found out when something happens.
#[test]
fn a_closed_number_reports_no_more() {
    let dir = Dir::new();
    let mut file = dir.file("f");
    let other = dir.file("f");
    let number = other.as_raw_fd();
    let kq = Kqueue::new().unwrap();
    apply(&kq, &[change(&other, EVFILT_VNODE, ADD, ALL, 0)]).unwrap();
    file.write_all(b"1").unwrap();
    assert_eq!(one(&kq, NOW).ident(), number as usize);
    drop(other);
    file.write_all(b"1").unwrap();
    assert_eq!(take(&kq, NOW), []);
    assert_eq!(kq.counters().knotes, 0);

    // Closed, and taken by another file.
    let there = dir.file("g").into_raw_fd();
    apply(&kq, &[change(&there, EVFILT_VNODE, ADD, ALL, 0)]).unwrap();
    let third = dir.file("h");
    // SAFETY: puts another file at that number, which is ours.
    assert_eq!(unsafe { libc::dup2(third.as_raw_fd(), there) }, there);
    drop(own(there));
    let delete = change(&there, EVFILT_VNODE, EvFlags::EV_DELETE, NONE, 0);
    // (ENOENT: another test's thread has a file at that number already.)
    assert!(matches!(apply(&kq, &[delete]), Err(Errno::EBADF | Errno::ENOENT)));
    assert_eq!(kq.counters().knotes, 0);
}

/// The hook on close drops the knotes at once, even while a duplicate lives on.
#[test]
fn closing_drops_the_knotes_at_once() {
    let dir = Dir::new();
    let file = dir.file("f");
    let mut copy = file.try_clone().unwrap();
    let kq = watch(&file, ALL);
    assert_eq!(kq.counters().knotes, 1);
    kq_core::abi::closing(file.as_raw_fd());
    drop(file);
    assert_eq!(kq.counters().knotes, 0);
    copy.write_all(b"1").unwrap();
    assert!(!readable(&kq));
    assert_eq!(take(&kq, NOW), []);
}

#[test]
fn thousands_of_files_in_one_queue() {
    const MANY: usize = 3000;
    let dir = Dir::new();
    let kq = Kqueue::new().unwrap();
    // Few descriptors are asked for: the limit may be low.
    let files: Vec<File> = (0..MANY / 10).map(|i| dir.file(&i.to_string())).collect();
    for file in &files {
        apply(&kq, &[change(file, EVFILT_VNODE, ADD | CLEAR, ALL, 0)]).unwrap();
    }
    for round in 0..MANY {
        let mut file = &files[(round * 7) % files.len()];
        file.write_all(b"1").unwrap();
        let event = one(&kq, NOW);
        assert_eq!((event.ident() as i32, event.fflags()), (file.as_raw_fd(), WRITE | EXTEND));
    }
    for mut file in &files {
        file.write_all(b"1").unwrap();
    }
    let mut events = 0;
    while readable(&kq) {
        events += take(&kq, NOW).len();
    }
    assert_eq!(events, files.len());
}

/// inotify's queue is bounded: what was lost is found by looking at each file.
#[test]
fn nothing_is_lost_when_inotify_overflows() {
    let dir = Dir::new();
    let (mut a, mut b, late) = (dir.file("a"), dir.file("b"), dir.file("late"));
    let kq = Kqueue::new().unwrap();
    let asked = DELETE | WRITE | EXTEND | ATTRIB | LINK;
    for file in [&a, &b, &late] {
        apply(&kq, &[change(file, EVFILT_VNODE, ADD | CLEAR, asked, 0)]).unwrap();
    }
    // By turns, since like events in a row are one.
    for _ in 0..max_queued_events() / 2 + 10 {
        a.write_all(b"1").unwrap();
        b.write_all(b"1").unwrap();
    }
    (&late).write_all(b"1").unwrap();
    fs::remove_file(dir.path("late")).unwrap();
    let events = take(&kq, NOW);
    let of = |file: &File| {
        let event = events.iter().find(|e| e.ident() as i32 == file.as_raw_fd());
        event.map(|e| e.fflags())
    };
    assert!(of(&a).is_some_and(|told| told.contains(WRITE | EXTEND)), "{events:?}");
    assert!(of(&b).is_some_and(|told| told.contains(WRITE | EXTEND)), "{events:?}");
    let late_told = of(&late).expect("lost");
    assert!(late_told.contains(WRITE | EXTEND | LINK | DELETE), "{late_told:?}");
    assert_eq!(take(&kq, NOW), []);
    a.write_all(b"1").unwrap();
    assert_eq!(told(&kq), WRITE | EXTEND);
}

#[test]
fn a_waiting_thread_is_woken() {
    let dir = Dir::new();
    let mut file = dir.file("f");
    let kq = watch(&file, WRITE);
    std::thread::scope(|scope| {
        let waiter = scope.spawn(|| one(&kq, None).fflags());
        std::thread::sleep(std::time::Duration::from_millis(20));
        file.write_all(b"1").unwrap();
        assert_eq!(waiter.join().unwrap(), WRITE);
    });
}

/// The knote leaves nothing behind: no watch that goes on telling.
#[test]
fn a_queue_that_is_closed_gives_its_watches_back() {
    let dir = Dir::new();
    let file = dir.file("f");
    for _ in 0..150 {
        // As many instances as a user may have would be over soon.
        let kq = watch(&file, ALL);
        apply(&kq, &[change(&file, EVFILT_VNODE, EvFlags::EV_DISABLE, ALL, 0)]).unwrap();
    }
}
