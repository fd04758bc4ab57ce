//! kevent() and epoll on the same descriptor.

use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;

use compat_epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags};
use kq_core::EventFilter::*;
use kq_core::{Errno, EvFlags, EventFilter, FilterFlag, KEvent, abi};

const NOW: libc::timespec = libc::timespec { tv_sec: 0, tv_nsec: 0 };

fn kevent(epoll: &Epoll, changes: &[KEvent], room: usize) -> Result<Vec<KEvent>, Errno> {
    let mut events = vec![KEvent::default(); room];
    // SAFETY: slices of the lengths that are said.
    let n = unsafe {
        abi::kevent::<abi::RawWait>(
            epoll.0.as_raw_fd(),
            changes.as_ptr(),
            changes.len() as i32,
            events.as_mut_ptr(),
            room as i32,
            &NOW,
        )
    }?;
    events.truncate(n);
    Ok(events)
}

fn brief(events: &[KEvent]) -> Vec<(usize, EventFilter, isize)> {
    events.iter().map(|e| (e.ident(), e.filter().unwrap(), e.udata())).collect()
}

#[test]
fn registrations_show_as_kevents_and_knotes_as_epoll_events() {
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).unwrap();
    let (mut a, mut b) = UnixStream::pair().unwrap();
    let both = EpollFlags::EPOLLIN | EpollFlags::EPOLLOUT | EpollFlags::EPOLLET;
    epoll.add(&a, EpollEvent::new(both, 42)).unwrap();
    b.write_all(b"abc").unwrap();
    let fd = a.as_raw_fd() as usize;

    // An edge for two filters, one slot: what finds no room is not lost.
    let first = kevent(&epoll, &[], 1).unwrap();
    assert_eq!(brief(&first), [(fd, EVFILT_READ, 42)]);
    assert_eq!(first[0].data(), 3);
    assert!(first[0].flags().contains(EvFlags::EV_CLEAR));
    assert_eq!(brief(&kevent(&epoll, &[], 4).unwrap()), [(fd, EVFILT_WRITE, 42)]);
    assert_eq!(kevent(&epoll, &[], 4).unwrap(), []);
    a.read_exact(&mut [0; 3]).unwrap();

    // A knote, seen by both calls.
    let add = EvFlags::EV_ADD | EvFlags::EV_CLEAR;
    let trigger = FilterFlag::NOTE_TRIGGER;
    let user = KEvent::new(9, EVFILT_USER, add, FilterFlag::empty(), 0, 77);
    let fire = KEvent::new(9, EVFILT_USER, EvFlags::empty(), trigger, 0, 77);
    kevent(&epoll, &[user, fire], 0).unwrap();
    assert_eq!(brief(&kevent(&epoll, &[], 4).unwrap()), [(9, EVFILT_USER, 77)]);
    kevent(&epoll, &[fire], 0).unwrap();
    let mut events = [EpollEvent::empty(); 4];
    assert_eq!(epoll.wait(&mut events, 0_u8), Ok(1));
    assert_eq!((events[0].data(), events[0].events()), (77, EpollFlags::EPOLLIN));
    assert_eq!(epoll.wait(&mut events, 0_u8), Ok(0));
}

#[test]
fn the_counters_show_what_went_through() {
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).unwrap();
    let (a, _b) = UnixStream::pair().unwrap();
    epoll.add(&a, EpollEvent::new(EpollFlags::EPOLLOUT, 1)).unwrap();
    let mut events = [EpollEvent::empty(); 4];
    epoll.wait(&mut events, 0_u8).unwrap();
    let counted = kq_core::readiness::counters_of(epoll.0.as_raw_fd()).unwrap();
    let seen = (counted.knotes, counted.changes, counted.waits, counted.events);
    assert_eq!(seen, (1, 1, 1, 1));
    epoll.delete(&a).unwrap();
    assert_eq!(kq_core::readiness::counters_of(epoll.0.as_raw_fd()).unwrap().knotes, 0);
}
