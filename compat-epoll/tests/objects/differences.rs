//! Where ours differ from Linux's: docs/deviations.md.

use std::os::fd::{AsRawFd, OwnedFd};

use kq_core::objects;
use kq_core::rules;
use kq_core::test_support::epoll::{IN, OUT, event};
use kq_core::test_support::harness::Rule;
use kq_core::test_support::{signals, sys, threads};
use libc::{EFD_NONBLOCK, POLLIN, POLLOUT, SFD_NONBLOCK, SIGUSR1};
use nix::errno::Errno;

use kq_core::{EvFlags, EventFilter, FilterFlag, KEvent, Kqueue};

use super::calls::{Calls, KERNEL, times};
use super::clock;

pub(crate) const RULES: &[Rule<Calls>] = rules![
    differs an_eventfd_is_never_writable,
    differs only_ours_read_and_write_it,
    differs a_forked_child_has_none,
    differs a_handler_ends_a_wait_with_sa_restart_too,
    differs a_signal_that_was_taken_otherwise_is_told_until_it_is_read,
    differs an_absolute_timer_follows_a_clock_that_is_set_when_it_is_read,
    differs a_signal_that_is_ignored_by_default_gets_a_handler,
    differs no_alarm_clocks,
    differs null_is_efault,
    differs bands_are_never_told,
    differs an_instance_is_readable_once_for_nothing,
    differs an_edge_of_both_directions_is_told_in_each_of_two_waits,
    differs a_wait_that_is_stopped_and_continued_ends_as_kevents_does,
];

/// Of epoll itself: RDBAND, WRBAND and MSG, which the kernel tells of a socket that can be written.
fn bands_are_never_told(calls: Calls) {
    const WRBAND: u32 = libc::EPOLLWRBAND as u32;
    const BANDS: u32 = WRBAND | (libc::EPOLLRDBAND | libc::EPOLLMSG) as u32;
    let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
    std::io::Write::write_all(&mut &theirs, b"!").unwrap();
    for (calls, told) in [(KERNEL, WRBAND), (calls, 0)] {
        let ep = calls.epoll.create();
        calls.epoll.add(&ep, &ours, BANDS, 7).unwrap();
        assert_eq!(calls.epoll.bits(&ep), told);
        calls.epoll.modify(&ep, &ours, BANDS | IN | OUT, 7).unwrap();
        assert_eq!(calls.epoll.bits(&ep), told | IN | OUT);
    }
}

/// Of epoll itself: a write end that is registered for a hang-up alone has room.
fn an_instance_is_readable_once_for_nothing(calls: Calls) {
    let (_reader, writer) = sys::pipe().unwrap();
    for (calls, at_first) in [(KERNEL, 0), (calls, POLLIN)] {
        let ep = calls.epoll.create();
        calls.epoll.add(&ep, &writer, 0, 7).unwrap();
        assert_eq!(sys::poll(ep.as_raw_fd(), POLLIN), at_first);
        assert_eq!(calls.epoll.wait(&ep, 4, 0).unwrap(), []);
        assert_eq!(sys::poll(ep.as_raw_fd(), POLLIN), 0);
    }
}

/// Of epoll itself: a hang-up is an edge of two filters, and there is room for one of them in a wait.
fn an_edge_of_both_directions_is_told_in_each_of_two_waits(calls: Calls) {
    const EDGE: u32 = libc::EPOLLET as u32;
    for (calls, times) in [(KERNEL, 1), (calls, 2)] {
        let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        sys::fill(ours.as_raw_fd(), 4096);
        let ep = calls.epoll.create();
        calls.epoll.add(&ep, &ours, IN | OUT | EDGE, 7).unwrap();
        assert_eq!(calls.epoll.wait(&ep, 4, 0).unwrap(), []);
        drop(theirs);
        let all = calls.epoll.wait(&ep, 1, 0).unwrap();
        assert!(all.len() == 1 && all[0].events & (IN | OUT) == IN | OUT, "{all:?}");
        for _ in 1..times {
            assert_eq!(calls.epoll.wait(&ep, 1, 0).unwrap(), all);
        }
        assert_eq!(calls.epoll.wait(&ep, 1, 0).unwrap(), []);
    }
}

/// Of epoll itself: with EINTR, or not at all.
fn a_wait_that_is_stopped_and_continued_ends_as_kevents_does(calls: Calls) {
    const TOLD: i32 = 10;
    // The number of EINTRs before the event is told.
    let interruptions = |wait: &dyn Fn(&OwnedFd) -> Result<usize, Errno>| {
        let (reader, writer) = sys::pipe().unwrap();
        let waits = || {
            for interruptions in 0..TOLD {
                match wait(&reader) {
                    Err(Errno::EINTR) => {}
                    told => return if told == Ok(1) { TOLD + interruptions } else { 1 },
                }
            }
            2
        };
        let wake = || assert_eq!(sys::write(writer.as_raw_fd(), b"!"), Ok(1));
        let end = sys::stopped_and_continued(waits, wake);
        assert!(end >= TOLD, "{end}");
        end - TOLD
    };
    // Each makes its queue in the child, and again after each end: registering is no wait.
    let by_kevent = interruptions(&|reader| {
        let (kq, fd) = (Kqueue::new()?, reader.as_raw_fd() as usize);
        let none = FilterFlag::empty();
        let add = KEvent::new(fd, EventFilter::EVFILT_READ, EvFlags::EV_ADD, none, 0, 0);
        kq.kevent(&[add], &mut [add], None)
    });
    let by_epoll = interruptions(&|reader| {
        let ep = calls.epoll.create();
        calls.epoll.add(&ep, reader, IN, 7)?;
        calls.epoll.wait(&ep, 4, -1).map(|told| told.len())
    });
    assert_eq!(by_epoll, by_kevent);
}

fn an_eventfd_is_never_writable(calls: Calls) {
    let (ep, fd) = (calls.epoll.create(), calls.eventfd(0, EFD_NONBLOCK).unwrap());
    calls.epoll.add(&ep, &fd, IN | OUT, 7).unwrap();
    assert_eq!(sys::poll(fd.as_raw_fd(), POLLIN | POLLOUT), 0);
    assert_eq!(calls.epoll.wait(&ep, 4, 0).unwrap(), []);
    calls.add(&fd, 1).unwrap();
    assert_eq!(sys::poll(fd.as_raw_fd(), POLLIN | POLLOUT), POLLIN);
    assert_eq!(calls.epoll.wait(&ep, 4, 0).unwrap(), [event(IN, 7)]);
}

fn only_ours_read_and_write_it(calls: Calls) {
    let fd = calls.eventfd(1, EFD_NONBLOCK).unwrap();
    assert!(KERNEL.number(&fd).is_err());
    assert!(KERNEL.add(&fd, 1).is_err());
    assert_eq!(calls.number(&fd), Ok(1));
}

fn a_forked_child_has_none(calls: Calls) {
    let fd = calls.eventfd(1, EFD_NONBLOCK).unwrap();
    let child = sys::in_child(|| i32::from(calls.number(&fd).is_ok()));
    assert_eq!(child, 0);
    assert_eq!(calls.number(&fd), Ok(1));
}

fn a_handler_ends_a_wait_with_sa_restart_too(calls: Calls) {
    signals::catch(SIGUSR1, libc::SA_RESTART);
    let fd = calls.eventfd(0, 0).unwrap();
    let number = fd.as_raw_fd();
    let reader = threads::start(move || calls.number(&number));
    reader.wait_until_asleep();
    reader.signal(SIGUSR1);
    assert_eq!(reader.join(), Err(Errno::EINTR));
}

fn a_signal_that_was_taken_otherwise_is_told_until_it_is_read(calls: Calls) {
    signals::block(&[SIGUSR1]);
    let mask = signals::set_of(&[SIGUSR1]);
    let fd = calls.signalfd(&mask, SFD_NONBLOCK).unwrap();
    signals::send_to_process(SIGUSR1);
    let mut signal = 0;
    // SAFETY: a set and room for a number, ours.
    assert_eq!(unsafe { libc::sigwait(&mask, &mut signal) }, 0);
    assert_eq!(sys::poll(fd.as_raw_fd(), POLLIN), POLLIN);
    assert_eq!(calls.signal(&fd).err(), Some(Errno::EAGAIN));
    assert_eq!(sys::poll(fd.as_raw_fd(), POLLIN), 0);
}

fn an_absolute_timer_follows_a_clock_that_is_set_when_it_is_read(calls: Calls) {
    const HOUR: i64 = 3600;
    const NEVER: (i64, i64) = (0, 0);
    for flag in [0, libc::TFD_TIMER_CANCEL_ON_SET] {
        let fd = calls.timerfd(libc::CLOCK_REALTIME, libc::TFD_NONBLOCK).unwrap();
        let set = |in_ms: i64| {
            let at = clock::real_ms() + in_ms;
            let moment = times((at / 1000, at % 1000 * 1_000_000), NEVER);
            calls.set(fd.as_raw_fd(), libc::TFD_TIMER_ABSTIME | flag, Some(moment)).unwrap();
        };
        // Set forth: the moment has passed, and nothing tells so but a read.
        set(HOUR * 1000);
        clock::put_forth(2 * HOUR);
        assert_eq!(sys::poll(fd.as_raw_fd(), POLLIN), 0);
        assert_eq!(calls.number(&fd), Ok(1));
        // Set back: it tells too early, and a read says that it is not time yet.
        set(50);
        clock::put_forth(-HOUR);
        assert_eq!(sys::poll_for(fd.as_raw_fd(), POLLIN, 60_000), POLLIN);
        assert_eq!(calls.number(&fd), Err(Errno::EAGAIN));
        assert_eq!(sys::poll(fd.as_raw_fd(), POLLIN), 0);
        clock::put_forth(HOUR);
        assert_eq!(calls.number(&fd), Ok(1));
    }
}

fn a_signal_that_is_ignored_by_default_gets_a_handler(calls: Calls) {
    let action = |signal| {
        // SAFETY: plain data, which the call fills.
        unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            assert_eq!(libc::sigaction(signal, std::ptr::null(), &mut action), 0);
            action.sa_sigaction
        }
    };
    signals::ignore(libc::SIGWINCH);
    let watched = [libc::SIGURG, libc::SIGCHLD, libc::SIGWINCH, SIGUSR1];
    let before = watched.map(action);
    assert_eq!(before, [libc::SIG_DFL, libc::SIG_DFL, libc::SIG_IGN, libc::SIG_DFL]);
    let _fd = calls.signalfd(&signals::set_of(&watched), SFD_NONBLOCK).unwrap();
    let after = watched.map(action);
    // Not those that the program itself has ignored, or that end it.
    assert_eq!(after[2..], before[2..]);
    for handler in &after[..2] {
        assert!(![libc::SIG_DFL, libc::SIG_IGN].contains(handler));
    }
    signals::send_to_self(libc::SIGURG);
}

fn no_alarm_clocks(calls: Calls) {
    for clock in [libc::CLOCK_REALTIME_ALARM, libc::CLOCK_BOOTTIME_ALARM] {
        assert_eq!(calls.timerfd(clock, 0).err(), Some(Errno::EINVAL));
    }
}

/// And takes nothing; whatever is not null is taken to be good.
fn null_is_efault(calls: Calls) {
    let fd = calls.eventfd(1, EFD_NONBLOCK).unwrap();
    let number = fd.as_raw_fd();
    // SAFETY: null is never followed.
    unsafe {
        assert_eq!(objects::read(number, std::ptr::null_mut(), 8), Err(Errno::EFAULT));
        assert_eq!(objects::write(number, std::ptr::null(), 8), Err(Errno::EFAULT));
    }
    assert_eq!(calls.number(&fd), Ok(1));
}
