//! EV_LASTCHECK: the condition is tested again when the event is handed out.

mod common;

use std::cell::Cell;
use std::io::{PipeReader, Read, Write, pipe};
use std::os::fd::{AsRawFd, FromRawFd, RawFd};

use common::*;
use kq_core::EventFilter::*;
use kq_core::{Errno, EvFlags, KEvent, Kqueue, abi};
use libc::{c_int, timespec};

const LAST: EvFlags = EvFlags::EV_LASTCHECK;

thread_local! {
    /// What is read empty when the kernel has given out its events.
    static EMPTIED: Cell<RawFd> = const { Cell::new(-1) };
}

/// As the engine's own, but another reader comes between the kernel's answer and ours.
struct Overtaken;

impl abi::Wait for Overtaken {
    unsafe fn wait(
        kq: RawFd,
        events: *mut libc::epoll_event,
        room: c_int,
        timeout: Option<&timespec>,
    ) -> Result<usize, Errno> {
        // SAFETY: the caller's promise.
        let n = unsafe { abi::RawWait::wait(kq, events, room, timeout) };
        let fd = EMPTIED.replace(-1);
        if fd >= 0 {
            // SAFETY: open, and not closed here.
            let reader = unsafe { PipeReader::from_raw_fd(fd) };
            (&reader).read_exact(&mut [0]).unwrap();
            std::mem::forget(reader);
        }
        n
    }
}

/// Fetches what there is, while another thread reads the pipe empty.
fn overtaken(kq: &Kqueue, reader: &PipeReader) -> usize {
    EMPTIED.set(reader.as_raw_fd());
    let (mut events, none) = ([KEvent::default(); 4], std::ptr::null());
    // (A call that shall not wait at all does not come by it.)
    let soon = timespec { tv_sec: 0, tv_nsec: 1_000_000 };
    // SAFETY: arrays as long as said.
    unsafe { abi::kevent::<Overtaken>(kq.as_raw_fd(), none, 0, events.as_mut_ptr(), 4, &soon) }
        .unwrap()
}

#[test]
fn what_another_has_read_meanwhile_is_not_reported_and_comes_again() {
    let once = [EvFlags::empty(), CLEAR, EvFlags::EV_DISPATCH, EvFlags::EV_ONESHOT];
    for flags in once {
        let kq = Kqueue::new().unwrap();
        let (reader, mut writer) = pipe().unwrap();
        apply(&kq, &[change(&reader, EVFILT_READ, ADD | LAST | flags, NONE, 0)]).unwrap();
        for _ in 0..3 {
            writer.write_all(b"x").unwrap();
            assert_eq!(overtaken(&kq, &reader), 0, "{flags:?}");
            assert_eq!(take(&kq, NOW), []);
        }
        writer.write_all(b"xy").unwrap();
        assert_eq!(one(&kq, SOON).data(), 2, "{flags:?}");
    }
}

#[test]
fn without_the_flag_it_is() {
    let kq = Kqueue::new().unwrap();
    let (reader, mut writer) = pipe().unwrap();
    apply(&kq, &[change(&reader, EVFILT_READ, ADD | CLEAR, NONE, 0)]).unwrap();
    writer.write_all(b"x").unwrap();
    assert_eq!(overtaken(&kq, &reader), 1);
}

#[test]
fn what_holds_is_reported_as_ever() {
    let kq = Kqueue::new().unwrap();
    let (reader, writer) = pipe().unwrap();
    let changes = [
        change(&reader, EVFILT_READ, ADD | LAST, NONE, 0),
        change(&writer, EVFILT_WRITE, ADD | LAST | CLEAR, NONE, 0),
        KEvent::new(1, EVFILT_TIMER, ADD | LAST, NONE, 0, 0),
    ];
    apply(&kq, &changes).unwrap();
    let mut filters: Vec<_> = take(&kq, SOON).iter().map(|e| e.filter().unwrap()).collect();
    while !filters.contains(&EVFILT_TIMER) {
        filters.extend(take(&kq, SOON).iter().map(|e| e.filter().unwrap()));
    }
    assert!(filters.contains(&EVFILT_WRITE) && !filters.contains(&EVFILT_READ));
    drop(writer);
    apply(&kq, &[KEvent::new(1, EVFILT_TIMER, EvFlags::EV_DELETE, NONE, 0, 0)]).unwrap();
    let end = one(&kq, SOON);
    assert_eq!((end.filter(), end.flags()), (Ok(EVFILT_READ), LAST | EvFlags::EV_EOF));
}
