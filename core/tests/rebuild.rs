//! A number closed without a word while its file lives on leaves a registration in the queue's epoll
//! set that can never be deleted. The queue gets rid of it by taking a new set; nobody may notice.

use std::io::Write;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::Duration;

use kq_core::EventFilter::*;
use kq_core::{Errno, EvFlags, EventFilter, FilterFlag, KEvent, Kqueue, abi, raw};
use libc::timespec;

const NOW: Option<timespec> = Some(timespec { tv_sec: 0, tv_nsec: 0 });
const LONG: Option<timespec> = Some(timespec { tv_sec: 20, tv_nsec: 0 });
const ADD: EvFlags = EvFlags::EV_ADD;

fn change(ident: usize, filter: EventFilter, flags: EvFlags, fflags: FilterFlag) -> KEvent {
    KEvent::new(ident, filter, flags, fflags, 0, 0)
}

fn read(fd: RawFd, flags: EvFlags) -> KEvent {
    change(fd as usize, EVFILT_READ, flags, FilterFlag::empty())
}

fn user(flags: EvFlags, fflags: FilterFlag) -> KEvent {
    change(9, EVFILT_USER, flags, fflags)
}

fn apply(kq: &Kqueue, changes: &[KEvent]) -> Result<(), Errno> {
    kq.kevent(changes, &mut [], None).map(drop)
}

fn take(kq: &Kqueue, timeout: Option<timespec>) -> Vec<(usize, EventFilter)> {
    let mut events = [user(EvFlags::empty(), FilterFlag::empty()); 8];
    let n = kq.kevent(&[], &mut events, timeout).unwrap();
    events[..n].iter().map(|e| (e.ident(), e.filter().unwrap())).collect()
}

fn readable(fd: RawFd) -> bool {
    let mut entry = libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
    // SAFETY: one entry.
    assert!(unsafe { libc::poll(&mut entry, 1, 0) } >= 0);
    entry.revents != 0
}

/// A number that nobody else in this process takes.
fn free_number() -> RawFd {
    static LAST: AtomicI32 = AtomicI32::new(800);
    LAST.fetch_add(1, Ordering::Relaxed)
}

fn dup_to(fd: RawFd, number: RawFd) {
    // SAFETY: the number is ours.
    assert_eq!(unsafe { libc::dup2(fd, number) }, number);
}

/// A pair of which the first end is readable.
fn ready_pair() -> (UnixStream, UnixStream) {
    let (a, mut b) = UnixStream::pair().unwrap();
    b.write_all(b"x").unwrap();
    (a, b)
}

/// Leaves a registration in the queue that fires for ever, as long as the result lives.
fn haunt(kq: &Kqueue) -> (UnixStream, UnixStream) {
    let (a, b) = ready_pair();
    let number = free_number();
    dup_to(a.as_raw_fd(), number);
    apply(kq, &[read(number, ADD)]).unwrap();
    raw::close(number).unwrap();
    assert_eq!(apply(kq, &[read(number, EvFlags::EV_DELETE)]), Err(Errno::EBADF));
    (a, b)
}

/// Has the queue find out; it has, when its descriptor is not readable any more.
fn exorcise(kq: &Kqueue) {
    assert!(readable(kq.as_raw_fd()), "nothing to get rid of");
    assert_eq!(take(kq, NOW), []);
    assert!(!readable(kq.as_raw_fd()));
}

#[test]
fn every_kind_of_knote_goes_on() {
    let kq = Kqueue::new().unwrap();
    let (a, mut b) = UnixStream::pair().unwrap();
    let (c, mut d) = UnixStream::pair().unwrap();
    let timer = |ms| KEvent::new(3, EVFILT_TIMER, ADD, FilterFlag::NOTE_MSECONDS, ms, 0);
    let file = tempfile();
    let knotes = [
        read(a.as_raw_fd(), ADD),
        read(c.as_raw_fd(), ADD | EvFlags::EV_CLEAR),
        // In a lane of its own.
        change(
            c.as_raw_fd() as usize,
            EVFILT_WRITE,
            ADD | EvFlags::EV_DISPATCH,
            FilterFlag::empty(),
        ),
        user(ADD | EvFlags::EV_CLEAR, FilterFlag::empty()),
        change(
            file.as_raw_fd() as usize,
            EVFILT_VNODE,
            ADD | EvFlags::EV_CLEAR,
            FilterFlag::NOTE_WRITE,
        ),
        timer(3_600_000),
    ];
    apply(&kq, &knotes).unwrap();
    assert_eq!(take(&kq, NOW), [(c.as_raw_fd() as usize, EVFILT_WRITE)]);
    for _ in 0..2 {
        let _keep = haunt(&kq);
        exorcise(&kq);
        assert_eq!(kq.counters().knotes, 6);
        b.write_all(b"1").unwrap();
        assert_eq!(take(&kq, LONG), [(a.as_raw_fd() as usize, EVFILT_READ)]);
        raw::read(a.as_raw_fd(), &mut [0; 8]).unwrap();
        d.write_all(b"1").unwrap();
        assert_eq!(take(&kq, LONG), [(c.as_raw_fd() as usize, EVFILT_READ)]);
        raw::read(c.as_raw_fd(), &mut [0; 8]).unwrap();
        assert_eq!(take(&kq, NOW), []);
        let enable = EvFlags::EV_ENABLE;
        apply(&kq, &[change(c.as_raw_fd() as usize, EVFILT_WRITE, enable, FilterFlag::empty())])
            .unwrap();
        assert_eq!(take(&kq, LONG), [(c.as_raw_fd() as usize, EVFILT_WRITE)]);
        apply(&kq, &[user(EvFlags::empty(), FilterFlag::NOTE_TRIGGER)]).unwrap();
        assert_eq!(take(&kq, LONG), [(9, EVFILT_USER)]);
        (&file).write_all(b"1").unwrap();
        assert_eq!(take(&kq, LONG), [(file.as_raw_fd() as usize, EVFILT_VNODE)]);
        apply(&kq, &[timer(1)]).unwrap();
        assert_eq!(take(&kq, LONG), [(3, EVFILT_TIMER)]);
        apply(&kq, &[timer(3_600_000)]).unwrap();
        assert_eq!(take(&kq, NOW), []);
        assert!(!readable(kq.as_raw_fd()));
    }
}

fn tempfile() -> std::fs::File {
    let path = std::env::temp_dir().join(format!("kqcompat-rebuild-{}", std::process::id()));
    let file = std::fs::File::create_new(&path).unwrap();
    std::fs::remove_file(path).unwrap();
    file
}

#[test]
fn in_a_nested_lane_too() {
    let kq = Kqueue::new().unwrap();
    let (a, b) = ready_pair();
    let number = free_number();
    dup_to(a.as_raw_fd(), number);
    // WRITE goes to a lane beside the edge of READ.
    let write = |flags| change(number as usize, EVFILT_WRITE, flags, FilterFlag::empty());
    apply(&kq, &[read(number, ADD | EvFlags::EV_CLEAR), write(ADD)]).unwrap();
    let other = [
        read(b.as_raw_fd(), ADD | EvFlags::EV_CLEAR),
        change(b.as_raw_fd() as usize, EVFILT_WRITE, ADD | EvFlags::EV_CLEAR, FilterFlag::empty()),
    ];
    apply(&kq, &other).unwrap();
    assert_eq!(take(&kq, LONG).len(), 3);
    raw::close(number).unwrap();
    assert_eq!(apply(&kq, &[write(EvFlags::EV_DELETE)]), Err(Errno::EBADF));
    let _ = take(&kq, NOW); // the other knotes of that lane may report once more
    assert_eq!(take(&kq, NOW), []);
    assert!(!readable(kq.as_raw_fd()));
    (&a).write_all(b"1").unwrap();
    assert_eq!(take(&kq, LONG), [(b.as_raw_fd() as usize, EVFILT_READ)]);
}

#[test]
fn threads_that_sleep_in_the_queue_go_on() {
    let kq = Kqueue::new().unwrap();
    let (a, mut b) = UnixStream::pair().unwrap();
    apply(&kq, &[read(a.as_raw_fd(), ADD)]).unwrap();
    // A sleeper may also be told of the number that haunts, while it is still open.
    let ours = (a.as_raw_fd() as usize, EVFILT_READ);
    let wait = || loop {
        let events = take(&kq, LONG);
        if events.is_empty() || events.contains(&ours) {
            return events.contains(&ours);
        }
    };
    std::thread::scope(|threads| {
        let waiters: Vec<_> = (0..3).map(|_| threads.spawn(wait)).collect();
        while kq.counters().waits < 3 {
            std::thread::yield_now();
        }
        std::thread::sleep(Duration::from_millis(5));
        let _keep = haunt(&kq);
        // The sleepers find out, or this does; either way they sleep in the new set now.
        while readable(kq.as_raw_fd()) {
            assert_eq!(take(&kq, NOW), []);
        }
        b.write_all(b"1").unwrap();
        for waiter in waiters {
            assert!(waiter.join().unwrap(), "a sleeper was left behind");
        }
    });
}

#[test]
fn those_who_watch_the_queue_go_on() {
    let (kq, outer) = (Kqueue::new().unwrap(), Kqueue::new().unwrap());
    // SAFETY: a new descriptor.
    let set = unsafe { OwnedFd::from_raw_fd(libc::epoll_create1(libc::EPOLL_CLOEXEC)) };
    let event = libc::epoll_event { events: libc::EPOLLIN as u32, u64: u64::MAX };
    raw::epoll_ctl(set.as_raw_fd(), libc::EPOLL_CTL_ADD, kq.as_raw_fd(), &event).unwrap();
    apply(&outer, &[read(kq.as_raw_fd(), ADD)]).unwrap();
    apply(&kq, &[user(ADD | EvFlags::EV_CLEAR, FilterFlag::empty())]).unwrap();
    let in_set = || {
        let mut event = libc::epoll_event { events: 0, u64: 0 };
        // SAFETY: room for one event.
        let n = unsafe { raw::epoll_pwait(set.as_raw_fd(), &mut event, 1, 0, std::ptr::null()) };
        (n.unwrap(), event.u64)
    };
    for _ in 0..2 {
        let _keep = haunt(&kq);
        exorcise(&kq);
        assert_eq!((take(&outer, NOW), in_set()), (vec![], (0, 0)));
        apply(&kq, &[user(EvFlags::empty(), FilterFlag::NOTE_TRIGGER)]).unwrap();
        assert_eq!(take(&outer, LONG), [(kq.as_raw_fd() as usize, EVFILT_READ)]);
        assert_eq!(in_set(), (1, u64::MAX));
        assert_eq!(take(&kq, LONG), [(9, EVFILT_USER)]);
    }
    // The registrations are those of the new set: they can be deleted.
    apply(&outer, &[read(kq.as_raw_fd(), EvFlags::EV_DELETE)]).unwrap();
    raw::epoll_ctl(set.as_raw_fd(), libc::EPOLL_CTL_DEL, kq.as_raw_fd(), std::ptr::null()).unwrap();
}

/// kevent() by number.
fn by_number(kq: RawFd, timeout: timespec) -> Result<usize, Errno> {
    let mut event = user(EvFlags::empty(), FilterFlag::empty());
    // SAFETY: no changes, room for one event.
    unsafe { abi::kevent::<abi::RawWait>(kq, std::ptr::null(), 0, &mut event, 1, &timeout) }
}

#[test]
fn duplicates_known_and_unknown_stay_the_queue() {
    let kq = Kqueue::new().unwrap();
    let (known, unknown) = (free_number(), free_number());
    dup_to(kq.as_raw_fd(), known);
    dup_to(kq.as_raw_fd(), unknown);
    assert_eq!(by_number(known, NOW.unwrap()), Ok(0));
    let _keep = haunt(&kq);
    exorcise(&kq);
    assert!(!readable(known));
    assert!(readable(unknown), "so that whoever polls it comes and asks");
    assert_eq!(by_number(unknown, NOW.unwrap()), Ok(0));
    assert!(!readable(unknown));
    apply(&kq, &[user(ADD, FilterFlag::NOTE_TRIGGER)]).unwrap();
    for number in [known, unknown] {
        assert!(readable(number));
        assert_eq!(by_number(number, NOW.unwrap()), Ok(1));
        abi::closing(number);
        raw::close(number).unwrap();
    }
    assert_eq!(take(&kq, NOW).len(), 1);
}

#[test]
fn flags_of_the_descriptor_stay() {
    for flags in [0, libc::O_CLOEXEC, libc::O_NONBLOCK, libc::O_CLOEXEC | libc::O_NONBLOCK] {
        let made = abi::kqueue(flags).unwrap();
        let read_flags = || [libc::F_GETFD, libc::F_GETFL].map(|c| raw::fcntl(made, c, 0).unwrap());
        let before = read_flags();
        let number = free_number();
        let (a, _b) = ready_pair();
        dup_to(a.as_raw_fd(), number);
        let add = read(number, ADD);
        // SAFETY: one change, no events.
        let change = |change: &KEvent| unsafe {
            abi::kevent::<abi::RawWait>(made, change, 1, std::ptr::null_mut(), 0, std::ptr::null())
        };
        assert_eq!(change(&add), Ok(0));
        raw::close(number).unwrap();
        assert_eq!(change(&read(number, EvFlags::EV_DELETE)), Err(Errno::EBADF));
        assert!(readable(made));
        assert_eq!(by_number(made, NOW.unwrap()), Ok(0));
        assert!(!readable(made));
        assert_eq!(read_flags(), before);
        abi::closing(made);
        raw::close(made).unwrap();
    }
}

#[test]
fn a_child_that_keeps_the_file_does_no_harm() {
    let kq = Kqueue::new().unwrap();
    let (a, b) = ready_pair();
    let number = free_number();
    dup_to(a.as_raw_fd(), number);
    drop(a);
    apply(&kq, &[read(number, ADD)]).unwrap();
    let (gate, opener) = std::io::pipe().unwrap();
    // SAFETY: the child only reads and leaves.
    let child = unsafe { libc::fork() };
    if child == 0 {
        let _ = raw::close(opener.as_raw_fd());
        let _ = raw::read(gate.as_raw_fd(), &mut [0]);
        // SAFETY: ends the child.
        unsafe { libc::_exit(0) };
    }
    raw::close(number).unwrap();
    // The number is taken by another file.
    let (c, mut d) = UnixStream::pair().unwrap();
    dup_to(c.as_raw_fd(), number);
    apply(&kq, &[read(number, ADD | EvFlags::EV_CLEAR)]).unwrap();
    exorcise(&kq);
    d.write_all(b"1").unwrap();
    assert_eq!(take(&kq, LONG), [(number as usize, EVFILT_READ)]);
    drop((opener, b));
    let mut status = 0;
    // SAFETY: one int.
    assert_eq!(unsafe { libc::waitpid(child, &mut status, 0) }, child);
    raw::close(number).unwrap();
}

#[test]
fn many_at_once_are_one_rebuild_and_no_spinning() {
    let kq = Kqueue::new().unwrap();
    let _keep: Vec<_> = (0..20).map(|_| haunt(&kq)).collect();
    let (a, _b) = ready_pair();
    apply(&kq, &[read(a.as_raw_fd(), ADD)]).unwrap();
    // With room for one event, 20 strays stand before it.
    let mut one = [read(0, EvFlags::empty())];
    assert_eq!(kq.kevent(&[], &mut one, LONG), Ok(1));
    assert_eq!(one[0].ident(), a.as_raw_fd() as usize);
    apply(&kq, &[read(a.as_raw_fd(), EvFlags::EV_DELETE)]).unwrap();
    let _ = take(&kq, NOW);
    let _ = take(&kq, NOW);
    assert!(!readable(kq.as_raw_fd()));
}
