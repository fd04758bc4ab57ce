//! Private queues: what they leave out or put off loses no event.

use std::io::{Read, Write};
use std::os::fd::{AsRawFd, IntoRawFd, RawFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use kq_core::EventFilter::{self, EVFILT_READ, EVFILT_TIMER, EVFILT_USER, EVFILT_WRITE};
use kq_core::{Errno, EvFlags, FilterFlag, KEvent, Kqueue};
use libc::timespec;

const NOW: Option<timespec> = Some(timespec { tv_sec: 0, tv_nsec: 0 });
const NONE: FilterFlag = FilterFlag::empty();

fn change(
    kq: &Kqueue,
    ident: usize,
    filter: EventFilter,
    flags: EvFlags,
    fflags: FilterFlag,
) -> Result<(), Errno> {
    let change = KEvent::new(ident, filter, flags, fflags, 0, 0);
    kq.kevent(&[change], &mut [], None).map(drop)
}

fn on_fd(kq: &Kqueue, fd: RawFd, filter: EventFilter, flags: EvFlags) -> Result<(), Errno> {
    change(kq, fd as usize, filter, flags, NONE)
}

/// (ident, filter) of what a wait with so much room returns.
fn wait(kq: &Kqueue, room: usize, timeout: Option<timespec>) -> Vec<(usize, EventFilter)> {
    let mut events = vec![KEvent::new(0, EVFILT_READ, EvFlags::empty(), NONE, 0, 0); room];
    let n = kq.kevent(&[], &mut events, timeout).unwrap();
    events[..n].iter().map(|e| (e.ident(), e.filter().unwrap())).collect()
}

fn readable() -> (UnixStream, UnixStream) {
    let (a, mut b) = UnixStream::pair().unwrap();
    b.write_all(b"x").unwrap();
    (a, b)
}

/// Runs `act` while a thread sleeps in the queue, and returns what that thread got.
fn while_asleep(kq: &Kqueue, act: impl FnOnce()) -> Vec<(usize, EventFilter)> {
    std::thread::scope(|scope| {
        let before = kq.counters().waits;
        let sleeper = scope.spawn(|| wait(kq, 4, None));
        while kq.counters().waits == before {
            std::thread::yield_now();
        }
        // Whether it sleeps by now, or is about to: both must see what comes.
        act();
        sleeper.join().unwrap()
    })
}

const ADD_DISPATCH: EvFlags = EvFlags::EV_ADD.union(EvFlags::EV_DISPATCH);

#[test]
fn a_dispatched_knote_is_silent_until_it_is_enabled() {
    let kq = Kqueue::private().unwrap();
    let (mut a, _b) = readable();
    let fd = a.as_raw_fd();
    on_fd(&kq, fd, EVFILT_READ, ADD_DISPATCH).unwrap();
    for _ in 0..5 {
        assert_eq!(wait(&kq, 4, NOW), [(fd as usize, EVFILT_READ)]);
        // Left armed it fires while disabled, is disarmed, and stays silent.
        (0..4).for_each(|_| assert_eq!(wait(&kq, 4, NOW), []));
        on_fd(&kq, fd, EVFILT_READ, EvFlags::EV_ENABLE | EvFlags::EV_DISPATCH).unwrap();
    }
    // Enabled at once after the report: no wait between.
    for _ in 0..5 {
        assert_eq!(wait(&kq, 4, NOW), [(fd as usize, EVFILT_READ)]);
        on_fd(&kq, fd, EVFILT_READ, EvFlags::EV_ENABLE | EvFlags::EV_DISPATCH).unwrap();
    }
    a.read_exact(&mut [0]).unwrap();
    assert_eq!(wait(&kq, 4, NOW), []);
}

#[test]
fn a_sleeper_is_told_of_what_is_enabled() {
    let kq = Kqueue::private().unwrap();
    let (a, _b) = readable();
    let fd = a.as_raw_fd();
    for flags in [EvFlags::empty(), EvFlags::EV_DISPATCH] {
        for round in 0..200 {
            on_fd(&kq, fd, EVFILT_READ, EvFlags::EV_ADD | flags | EvFlags::EV_ENABLE).unwrap();
            assert_eq!(wait(&kq, 4, NOW).len(), 1);
            if flags.is_empty() {
                on_fd(&kq, fd, EVFILT_READ, EvFlags::EV_DISABLE).unwrap();
            }
            if round % 2 == 0 {
                assert_eq!(wait(&kq, 4, NOW), []); // disarmed
            }
            let got = while_asleep(&kq, || {
                on_fd(&kq, fd, EVFILT_READ, EvFlags::EV_ENABLE).unwrap();
            });
            assert_eq!(got, [(fd as usize, EVFILT_READ)], "{flags:?}");
        }
        on_fd(&kq, fd, EVFILT_READ, EvFlags::EV_DELETE).unwrap();
    }
}

#[test]
fn a_sleeper_is_told_of_a_trigger() {
    let kq = Kqueue::private().unwrap();
    change(&kq, 1, EVFILT_USER, EvFlags::EV_ADD | EvFlags::EV_CLEAR, NONE).unwrap();
    let trigger = || {
        change(&kq, 1, EVFILT_USER, EvFlags::empty(), FilterFlag::NOTE_TRIGGER).unwrap();
    };
    for _ in 0..500 {
        assert_eq!(while_asleep(&kq, trigger), [(1, EVFILT_USER)]);
    }
    // Before the wait begins, too.
    trigger();
    assert_eq!(wait(&kq, 4, None), [(1, EVFILT_USER)]);
    assert_eq!(wait(&kq, 4, NOW), []);
}

#[test]
fn neither_user_events_nor_descriptors_starve() {
    let kq = Kqueue::private().unwrap();
    let (a, _b) = readable();
    on_fd(&kq, a.as_raw_fd(), EVFILT_READ, EvFlags::EV_ADD).unwrap();
    for ident in 1..=3 {
        change(&kq, ident, EVFILT_USER, EvFlags::EV_ADD, FilterFlag::NOTE_TRIGGER).unwrap();
    }
    for room in [1, 2, 3, 4, 5] {
        let mut seen = Vec::new();
        for _ in 0..16 {
            let got = wait(&kq, room, None);
            assert!(!got.is_empty() && got.len() <= room);
            let mut once = got.clone();
            once.sort_by_key(|&(ident, filter)| (ident, filter as i16));
            once.dedup();
            assert_eq!(once.len(), got.len(), "twice in {got:?}");
            seen.extend(got);
        }
        for ident in 1..=3 {
            assert!(seen.contains(&(ident, EVFILT_USER)), "room {room}: {seen:?}");
        }
        assert!(seen.contains(&(a.as_raw_fd() as usize, EVFILT_READ)), "room {room}: {seen:?}");
    }
}

#[test]
fn write_interest_on_and_off_beside_read() {
    let kq = Kqueue::private().unwrap();
    let (mut a, _b) = readable();
    let fd = a.as_raw_fd();
    on_fd(&kq, fd, EVFILT_READ, EvFlags::EV_ADD).unwrap();
    on_fd(&kq, fd, EVFILT_WRITE, EvFlags::EV_ADD | EvFlags::EV_DISABLE).unwrap();
    a.read_exact(&mut [0]).unwrap();
    for _ in 0..3 {
        on_fd(&kq, fd, EVFILT_WRITE, EvFlags::EV_ENABLE).unwrap();
        assert_eq!(wait(&kq, 4, NOW), [(fd as usize, EVFILT_WRITE)]);
        on_fd(&kq, fd, EVFILT_WRITE, EvFlags::EV_DISABLE).unwrap();
        (0..3).for_each(|_| assert_eq!(wait(&kq, 4, NOW), []));
        on_fd(&kq, fd, EVFILT_WRITE, EvFlags::EV_ENABLE).unwrap();
        on_fd(&kq, fd, EVFILT_WRITE, EvFlags::EV_DISABLE).unwrap();
        assert_eq!(wait(&kq, 4, NOW), []);
    }
}

/// Replaces what a number means, where nobody sees it.
fn replace(fd: RawFd, by: UnixStream) {
    let other = by.into_raw_fd();
    // SAFETY: both numbers are the test's own.
    unsafe {
        assert_eq!(libc::dup2(other, fd), fd);
        libc::close(other);
    }
}

#[test]
fn a_closed_number_is_found_out_by_each_call_that_is_made() {
    let enable = EvFlags::EV_ENABLE | EvFlags::EV_DISPATCH;
    for disarmed in [false, true] {
        let kq = Kqueue::private().unwrap();
        let (a, _b) = readable();
        let fd = a.into_raw_fd();
        on_fd(&kq, fd, EVFILT_READ, ADD_DISPATCH).unwrap();
        assert_eq!(wait(&kq, 4, NOW).len(), 1);
        if disarmed {
            assert_eq!(wait(&kq, 4, NOW), []);
        }
        let (other, _other) = readable();
        replace(fd, other);
        // Where a call is made, it says so; where none is, the knote reports nothing of the new file.
        let expected = if disarmed { Err(Errno::ENOENT) } else { Ok(()) };
        assert_eq!(on_fd(&kq, fd, EVFILT_READ, enable), expected);
        assert_eq!(wait(&kq, 4, NOW), []);
        assert_eq!(on_fd(&kq, fd, EVFILT_READ, EvFlags::EV_DELETE), Err(Errno::ENOENT));
        // Added, it is watched like any other.
        on_fd(&kq, fd, EVFILT_READ, ADD_DISPATCH).unwrap();
        assert_eq!(wait(&kq, 4, NOW), [(fd as usize, EVFILT_READ)]);
        on_fd(&kq, fd, EVFILT_READ, enable).unwrap();
        assert_eq!(wait(&kq, 4, NOW), [(fd as usize, EVFILT_READ)]);
        // Or added without that it was deleted.
        let (other, _other) = readable();
        replace(fd, other);
        on_fd(&kq, fd, EVFILT_READ, EvFlags::EV_ADD).unwrap();
        assert_eq!(wait(&kq, 4, NOW), [(fd as usize, EVFILT_READ)]);
        // Told of beforehand, as by the C libraries' hooks, the close leaves no knote.
        kq_core::abi::closing(fd);
        // SAFETY: the number is the test's own.
        assert_eq!(unsafe { libc::close(fd) }, 0);
        assert_eq!(on_fd(&kq, fd, EVFILT_READ, enable), Err(Errno::EBADF));
        assert_eq!(kq.counters().knotes, 0);
    }
}

#[test]
fn two_queues_on_one_source_do_not_disturb_each_other() {
    let (one, two) = (Kqueue::private().unwrap(), Kqueue::new().unwrap());
    let (mut a, mut b) = readable();
    let fd = a.as_raw_fd();
    for kq in [&one, &two] {
        on_fd(kq, fd, EVFILT_READ, ADD_DISPATCH).unwrap();
    }
    for _ in 0..5 {
        for kq in [&one, &two] {
            assert_eq!(wait(kq, 4, NOW), [(fd as usize, EVFILT_READ)]);
            assert_eq!(wait(kq, 4, NOW), []);
        }
        a.read_exact(&mut [0]).unwrap();
        for kq in [&one, &two] {
            on_fd(kq, fd, EVFILT_READ, EvFlags::EV_ENABLE | EvFlags::EV_DISPATCH).unwrap();
            assert_eq!(wait(kq, 4, NOW), []);
        }
        b.write_all(b"x").unwrap();
    }
}

#[test]
fn a_child_has_no_queue_and_the_parents_goes_on() {
    let kq = Kqueue::private().unwrap();
    let (a, _b) = readable();
    let fd = a.as_raw_fd();
    on_fd(&kq, fd, EVFILT_READ, ADD_DISPATCH).unwrap();
    change(&kq, 1, EVFILT_USER, EvFlags::EV_ADD | EvFlags::EV_CLEAR, NONE).unwrap();
    assert_eq!(wait(&kq, 4, NOW).len(), 1);
    // Held back while the child is made, of which the child must send nothing.
    on_fd(&kq, fd, EVFILT_READ, EvFlags::EV_ENABLE).unwrap();
    change(&kq, 1, EVFILT_USER, EvFlags::empty(), FilterFlag::NOTE_TRIGGER).unwrap();
    // SAFETY: the child makes system calls only, and ends by _exit.
    unsafe {
        let child = libc::fork();
        if child == 0 {
            let mut event = [KEvent::new(0, EVFILT_READ, EvFlags::empty(), NONE, 0, 0)];
            let none = kq.kevent(&[], &mut event, NOW) == Err(Errno::EBADF);
            libc::_exit(i32::from(!none));
        }
        let mut status = -1;
        assert_eq!(libc::waitpid(child, &mut status, 0), child);
        assert_eq!(status, 0);
    }
    let mut got = wait(&kq, 4, None);
    got.sort_by_key(|&(ident, _)| ident);
    assert_eq!(got, [(1, EVFILT_USER), (fd as usize, EVFILT_READ)]);
}

#[test]
fn timers_and_time_limits_are_as_ever() {
    let kq = Kqueue::private().unwrap();
    let begun = Instant::now();
    let short = Some(timespec { tv_sec: 0, tv_nsec: 20_000_000 });
    assert_eq!(wait(&kq, 4, short), []);
    assert!(begun.elapsed() >= Duration::from_millis(20));
    let timer = KEvent::new(7, EVFILT_TIMER, EvFlags::EV_ADD, FilterFlag::NOTE_MSECONDS, 5, 0);
    kq.kevent(&[timer], &mut [], None).unwrap();
    assert_eq!(wait(&kq, 4, None), [(7, EVFILT_TIMER)]);
    assert_eq!(wait(&kq, 4, None), [(7, EVFILT_TIMER)]);
}

/// Threads that re-arm and wait at once: each byte is told to somebody, and to one at a time.
#[test]
fn threads_that_dispatch_share_a_queue() {
    const BYTES: usize = 2000;
    let kq = Kqueue::private().unwrap();
    let (a, mut b) = UnixStream::pair().unwrap();
    a.set_nonblocking(true).unwrap();
    let fd = a.as_raw_fd();
    change(&kq, 9, EVFILT_USER, EvFlags::EV_ADD, NONE).unwrap();
    on_fd(&kq, fd, EVFILT_READ, ADD_DISPATCH).unwrap();
    let read = std::sync::atomic::AtomicUsize::new(0);
    let inside = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        use std::sync::atomic::Ordering::SeqCst;
        for _ in 0..3 {
            scope.spawn(|| {
                loop {
                    let got = wait(&kq, 1, None);
                    if got[0].1 == EVFILT_USER {
                        break;
                    }
                    assert!(!inside.swap(true, SeqCst), "told to two at once");
                    let n = (&a).read(&mut [0]).unwrap_or(0);
                    inside.store(false, SeqCst);
                    if read.fetch_add(n, SeqCst) + n == BYTES {
                        let (flags, fflags) = (EvFlags::empty(), FilterFlag::NOTE_TRIGGER);
                        change(&kq, 9, EVFILT_USER, flags, fflags).unwrap();
                    }
                    on_fd(&kq, fd, EVFILT_READ, EvFlags::EV_ENABLE | EvFlags::EV_DISPATCH).unwrap();
                }
            });
        }
        for _ in 0..BYTES {
            b.write_all(b"x").unwrap();
        }
    });
    assert_eq!(read.into_inner(), BYTES);
}
