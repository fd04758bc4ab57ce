//! READ, WRITE and EXCEPT.

use std::fs::File;
use std::io::Write;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::UnixStream;

use kq_core::EventFilter::{self, *};
use kq_core::test_support::{sockets, sys};
use kq_core::{Errno, EvFlags, FilterFlag, KEvent, Kqueue};
use libc::timespec;

use crate::run::{Body, Steps};

/// See the module.
pub(crate) const ALL: &[(&str, Body)] = &[
    ("descriptors::level", level),
    ("descriptors::edge_beside_level", edge_beside_level),
    ("descriptors::oneshot_and_dispatch", oneshot_and_dispatch),
    ("descriptors::disabled", disabled),
    ("descriptors::urgent_data", urgent_data),
    ("descriptors::a_listener", a_listener),
    ("descriptors::files", files),
    ("descriptors::low_water", low_water),
    ("descriptors::many_in_one_call", many_in_one_call),
    ("descriptors::closed_and_opened_again", closed_and_opened_again),
    ("descriptors::a_file_that_lives_on", a_file_that_lives_on),
];

const NOW: Option<timespec> = Some(timespec { tv_sec: 0, tv_nsec: 0 });
/// Only what is lost is waited for so long.
const LONG: Option<timespec> = Some(timespec { tv_sec: 20, tv_nsec: 0 });

pub(crate) const ADD: EvFlags = EvFlags::EV_ADD;
pub(crate) const DELETE: EvFlags = EvFlags::EV_DELETE;
pub(crate) const NONE: FilterFlag = FilterFlag::empty();

pub(crate) fn change(
    ident: impl TryInto<usize>,
    filter: EventFilter,
    flags: EvFlags,
    fflags: FilterFlag,
    data: isize,
) -> KEvent {
    let ident = ident.try_into().ok().expect("an ident is not negative");
    KEvent::new(ident, filter, flags, fflags, data, 7)
}

pub(crate) fn apply(steps: &mut Steps, kq: &Kqueue, change: KEvent) {
    steps.step(|| kq.kevent(&[change], &mut [], None));
}

/// As [`apply`], where a knote that is gone by now was to go.
pub(crate) fn delete(steps: &mut Steps, kq: &Kqueue, change: KEvent) {
    let mut again = false;
    steps.step(|| match kq.kevent(&[change], &mut [], None) {
        Err(Errno::ENOENT) if std::mem::replace(&mut again, true) => Ok(0),
        done => done,
    });
}

fn take(kq: &Kqueue, timeout: Option<timespec>) -> Result<Vec<(usize, EventFilter)>, Errno> {
    let mut events = [change(0, EVFILT_READ, ADD, NONE, 0); 16];
    let n = kq.kevent(&[], &mut events, timeout)?;
    let mut found = Vec::new();
    for event in &events[..n] {
        assert!(!event.flags().contains(EvFlags::EV_ERROR), "{event:?}");
        assert_eq!(event.udata(), 7);
        found.push((event.ident(), event.filter()?));
    }
    found.sort_unstable_by_key(|&(ident, filter)| (ident, filter as i16));
    Ok(found)
}

/// Waits until these have been told, in one call or more.
#[track_caller]
pub(crate) fn told(steps: &mut Steps, kq: &Kqueue, expected: &[(usize, EventFilter)]) {
    let mut expected = expected.to_vec();
    expected.sort_unstable_by_key(|&(ident, filter)| (ident, filter as i16));
    let mut all = Vec::new();
    while all != expected {
        let some = steps.step(|| take(kq, LONG));
        assert!(!some.is_empty(), "{expected:?} is lost, {all:?} came");
        all.extend(some);
        all.sort_unstable_by_key(|&(ident, filter)| (ident, filter as i16));
        all.dedup();
    }
}

#[track_caller]
pub(crate) fn quiet(steps: &mut Steps, kq: &Kqueue) {
    assert_eq!(steps.step(|| take(kq, NOW)), []);
}

pub(crate) fn queue(steps: &mut Steps) -> Kqueue {
    steps.step(Kqueue::new)
}

fn pair() -> (UnixStream, UnixStream) {
    let (a, b) = UnixStream::pair().expect("a pair");
    a.set_nonblocking(true).expect("O_NONBLOCK");
    (a, b)
}

fn at(fd: &impl AsRawFd) -> usize {
    fd.as_raw_fd() as usize
}

fn read(fd: &impl AsRawFd, flags: EvFlags) -> KEvent {
    change(at(fd), EVFILT_READ, flags, NONE, 0)
}

fn write(fd: &impl AsRawFd, flags: EvFlags) -> KEvent {
    change(at(fd), EVFILT_WRITE, flags, NONE, 0)
}

fn drain(fd: &impl AsRawFd) {
    sys::drain(fd.as_raw_fd());
}

fn level(steps: &mut Steps) {
    let kq = queue(steps);
    let (a, mut b) = pair();
    apply(steps, &kq, read(&a, ADD));
    quiet(steps, &kq);
    b.write_all(b"x").expect("room");
    for _ in 0..3 {
        told(steps, &kq, &[(at(&a), EVFILT_READ)]);
    }
    apply(steps, &kq, write(&a, ADD));
    told(steps, &kq, &[(at(&a), EVFILT_READ), (at(&a), EVFILT_WRITE)]);
    drain(&a);
    delete(steps, &kq, write(&a, DELETE));
    quiet(steps, &kq);
    delete(steps, &kq, read(&a, DELETE));
    b.write_all(b"x").expect("room");
    quiet(steps, &kq);
}

fn edge_beside_level(steps: &mut Steps) {
    let kq = queue(steps);
    let (a, mut b) = pair();
    apply(steps, &kq, read(&a, ADD | EvFlags::EV_CLEAR));
    apply(steps, &kq, write(&a, ADD));
    b.write_all(b"x").expect("room");
    told(steps, &kq, &[(at(&a), EVFILT_READ), (at(&a), EVFILT_WRITE)]);
    told(steps, &kq, &[(at(&a), EVFILT_WRITE)]);
    b.write_all(b"x").expect("room");
    told(steps, &kq, &[(at(&a), EVFILT_READ), (at(&a), EVFILT_WRITE)]);
    delete(steps, &kq, write(&a, DELETE));
    quiet(steps, &kq);
    b.write_all(b"x").expect("room");
    told(steps, &kq, &[(at(&a), EVFILT_READ)]);
    delete(steps, &kq, read(&a, DELETE));
    quiet(steps, &kq);
}

fn oneshot_and_dispatch(steps: &mut Steps) {
    let kq = queue(steps);
    let (a, mut b) = pair();
    b.write_all(b"x").expect("room");
    apply(steps, &kq, read(&a, ADD | EvFlags::EV_DISPATCH));
    for _ in 0..2 {
        told(steps, &kq, &[(at(&a), EVFILT_READ)]);
        quiet(steps, &kq);
        apply(steps, &kq, read(&a, EvFlags::EV_ENABLE));
    }
    apply(steps, &kq, write(&a, ADD | EvFlags::EV_ONESHOT));
    told(steps, &kq, &[(at(&a), EVFILT_READ), (at(&a), EVFILT_WRITE)]);
    quiet(steps, &kq);
    apply(steps, &kq, write(&a, ADD | EvFlags::EV_ONESHOT));
    told(steps, &kq, &[(at(&a), EVFILT_WRITE)]);
    quiet(steps, &kq);
}

fn disabled(steps: &mut Steps) {
    let kq = queue(steps);
    let (a, mut b) = pair();
    apply(steps, &kq, read(&a, ADD | EvFlags::EV_DISABLE));
    b.write_all(b"x").expect("room");
    quiet(steps, &kq);
    for _ in 0..2 {
        apply(steps, &kq, read(&a, EvFlags::EV_ENABLE));
        told(steps, &kq, &[(at(&a), EVFILT_READ)]);
        apply(steps, &kq, read(&a, EvFlags::EV_DISABLE));
        quiet(steps, &kq);
    }
    drop(b);
    quiet(steps, &kq);
    apply(steps, &kq, read(&a, EvFlags::EV_ENABLE));
    told(steps, &kq, &[(at(&a), EVFILT_READ)]);
    delete(steps, &kq, read(&a, DELETE));
}

fn urgent_data(steps: &mut Steps) {
    let kq = queue(steps);
    let (a, b) = sockets::tcp_pair().expect("tcp");
    let except = |flags| change(at(&a), EVFILT_EXCEPT, flags, FilterFlag::NOTE_OOB, 0);
    apply(steps, &kq, except(ADD));
    apply(steps, &kq, read(&a, ADD | EvFlags::EV_CLEAR));
    sockets::send(b.as_raw_fd(), b"!", libc::MSG_OOB).expect("room");
    told(steps, &kq, &[(at(&a), EVFILT_EXCEPT)]);
    sockets::recv(a.as_raw_fd(), 1, libc::MSG_OOB).expect("it is there");
    sockets::send(b.as_raw_fd(), b"x", 0).expect("room");
    told(steps, &kq, &[(at(&a), EVFILT_READ)]);
    delete(steps, &kq, except(DELETE));
    delete(steps, &kq, read(&a, DELETE));
    quiet(steps, &kq);
}

fn a_listener(steps: &mut Steps) {
    let kq = queue(steps);
    let listener = sockets::tcp_listener().expect("a listener");
    let port = sockets::port_of(listener.as_raw_fd()).expect("a port");
    apply(steps, &kq, read(&listener, ADD));
    let client = sockets::socket(libc::AF_INET, libc::SOCK_STREAM).expect("a socket");
    assert_eq!(sockets::connect(client.as_raw_fd(), port), Err(Errno::EINPROGRESS));
    told(steps, &kq, &[(at(&listener), EVFILT_READ)]);
    let dir = std::env::temp_dir().join(format!("kq-faults-{}", std::process::id()));
    let _ = std::fs::remove_file(&dir);
    let unix = std::os::unix::net::UnixListener::bind(&dir).expect("a listener");
    apply(steps, &kq, read(&unix, ADD));
    let _client = UnixStream::connect(&dir).expect("somebody listens");
    std::fs::remove_file(&dir).expect("it is there");
    told(steps, &kq, &[(at(&listener), EVFILT_READ), (at(&unix), EVFILT_READ)]);
}

fn files(steps: &mut Steps) {
    let kq = queue(steps);
    let file = sys::memfd();
    sys::write(file.as_raw_fd(), b"text").expect("room");
    let reader = File::open(format!("/proc/self/fd/{}", file.as_raw_fd())).expect("it is there");
    apply(steps, &kq, read(&reader, ADD));
    told(steps, &kq, &[(at(&reader), EVFILT_READ)]);
    apply(steps, &kq, write(&file, ADD));
    told(steps, &kq, &[(at(&reader), EVFILT_READ), (at(&file), EVFILT_WRITE)]);
    drain(&reader);
    told(steps, &kq, &[(at(&file), EVFILT_WRITE)]);
    delete(steps, &kq, write(&file, DELETE));
    quiet(steps, &kq);
    sys::write(file.as_raw_fd(), b"more").expect("room");
    told(steps, &kq, &[(at(&reader), EVFILT_READ)]);
    delete(steps, &kq, read(&reader, DELETE));
    let null = sys::open("/dev/null", libc::O_RDWR).expect("it is there");
    apply(steps, &kq, read(&null, ADD));
    told(steps, &kq, &[(at(&null), EVFILT_READ)]);
}

fn low_water(steps: &mut Steps) {
    let kq = queue(steps);
    let (a, mut b) = pair();
    apply(steps, &kq, change(at(&a), EVFILT_READ, ADD, FilterFlag::NOTE_LOWAT, 3));
    b.write_all(b"xx").expect("room");
    quiet(steps, &kq);
    b.write_all(b"xx").expect("room");
    told(steps, &kq, &[(at(&a), EVFILT_READ)]);
    delete(steps, &kq, read(&a, DELETE));
    let (reader, writer) = sys::pipe().expect("a pipe");
    sys::fill(writer.as_raw_fd(), 4096);
    let low = change(at(&writer), EVFILT_WRITE, ADD, FilterFlag::NOTE_LOWAT, 8192);
    apply(steps, &kq, low);
    quiet(steps, &kq);
    drain(&reader);
    told(steps, &kq, &[(at(&writer), EVFILT_WRITE)]);
}

fn many_in_one_call(steps: &mut Steps) {
    let kq = queue(steps);
    let pairs: Vec<_> = (0..6).map(|_| pair()).collect();
    let changes: Vec<KEvent> =
        pairs.iter().flat_map(|(a, _)| [read(a, ADD), write(a, ADD)]).collect();
    steps.step(|| kq.kevent(&changes, &mut [], None));
    for (_, b) in &pairs {
        (&*b).write_all(b"x").expect("room");
    }
    let all: Vec<_> =
        pairs.iter().flat_map(|(a, _)| [(at(a), EVFILT_READ), (at(a), EVFILT_WRITE)]).collect();
    told(steps, &kq, &all);
    // Errors and successes as answers; then nothing is waited for.
    let mut answers = [change(0, EVFILT_READ, ADD, NONE, 0); 16];
    let receipts: Vec<KEvent> =
        pairs.iter().map(|(a, _)| write(a, ADD | EvFlags::EV_RECEIPT)).collect();
    let n = steps.step(|| kq.kevent(&receipts, &mut answers, LONG));
    assert_eq!(n, pairs.len());
    assert!(answers[..n].iter().all(|answer| answer.flags().contains(EvFlags::EV_ERROR)));
}

/// Puts another file at a number, behind the queue's back; the old one is no more.
fn replace(number: RawFd, by: &impl AsRawFd) {
    sys::dup2(by.as_raw_fd(), number).expect("two open descriptors");
}

fn closed_and_opened_again(steps: &mut Steps) {
    let kq = queue(steps);
    let (a, b) = pair();
    let (c, mut d) = pair();
    apply(steps, &kq, read(&a, ADD | EvFlags::EV_CLEAR));
    apply(steps, &kq, write(&a, ADD));
    let number = a.as_raw_fd();
    replace(number, &c);
    drop((b, c));
    apply(steps, &kq, read(&a, ADD));
    d.write_all(b"x").expect("room");
    told(steps, &kq, &[(at(&a), EVFILT_READ)]);
    drain(&a);
    quiet(steps, &kq);
}

fn a_file_that_lives_on(steps: &mut Steps) {
    let kq = queue(steps);
    let (a, mut b) = pair();
    let (c, mut d) = pair();
    let kept = sys::dup(a.as_raw_fd()).expect("dup");
    apply(steps, &kq, read(&a, ADD));
    b.write_all(b"x").expect("room");
    // The old file is ready and stays so; its registration cannot be deleted any more.
    replace(a.as_raw_fd(), &c);
    apply(steps, &kq, read(&a, ADD));
    for _ in 0..4 {
        quiet(steps, &kq);
    }
    d.write_all(b"x").expect("room");
    told(steps, &kq, &[(at(&a), EVFILT_READ)]);
    drain(&a);
    quiet(steps, &kq);
    drop(kept);
}
