//! Group C: how long epoll_wait waits, and what ends it.

use std::os::fd::{AsRawFd, IntoRawFd, OwnedFd};

use kq_core::test_support::harness::Rule;
use kq_core::test_support::threads::Background;
use kq_core::test_support::{signals, sys, threads};
use libc::c_int;
use nix::errno::Errno;

use kq_core::test_support::epoll::{Epoll, Event, IN, event};

pub(crate) const RULES: &[Rule<Epoll>] = kq_core::rules![
    C05 a_wait_never_ends_early,
    C06 any_negative_timeout_is_for_ever,
    C07 the_longest_timeout_waits,
    C08 waiting_for_nothing_is_legal,
    C09 adding_something_ready_wakes_a_waiter,
    C10 a_change_that_makes_it_ready_wakes_a_waiter,
    C11 deleting_or_closing_what_is_watched_does_not_wake_a_waiter,
    C12 closing_the_instance_does_not_wake_a_waiter,
    C21 a_signal_handler_ends_a_wait_even_with_restart,
    C22 signals_that_are_ignored_or_blocked_do_not_end_a_wait,
    C23 being_stopped_and_continued_ends_a_wait,
    C24 what_is_ready_comes_before_a_pending_signal,
];

type Waiter = Background<Result<Vec<Event>, Errno>>;

fn a_wait_never_ends_early(epoll: Epoll) {
    let (ep, fd) = (epoll.create(), sys::eventfd(0).unwrap());
    epoll.add(&ep, &fd, IN, 0).unwrap();
    assert_eq!(epoll.wait(&ep, 1, 0), Ok(vec![]));
    for ms in [1, 2, 10, 30] {
        let start = sys::monotonic_ns();
        assert_eq!(epoll.wait(&ep, 1, ms), Ok(vec![]));
        let took = sys::monotonic_ns() - start;
        assert!(took >= i64::from(ms) * 1_000_000, "{took} ns for {ms} ms");
    }
}

/// Waits in a thread with that timeout, and looks that it sleeps and that an event wakes it.
fn waits_until_an_event(epoll: Epoll, timeout: c_int) {
    let (ep, fd) = (epoll.create(), sys::eventfd(0).unwrap());
    epoll.add(&ep, &fd, IN, 1).unwrap();
    let epfd = ep.as_raw_fd();
    let waiter = threads::start(move || epoll.wait_on(epfd, 1, timeout));
    assert!(waiter.wait_until_asleep(), "timeout {timeout}: {:?}", waiter.join());
    sys::write(fd.as_raw_fd(), &1_u64.to_ne_bytes()).unwrap();
    assert_eq!(waiter.join(), Ok(vec![event(IN, 1)]));
}

fn any_negative_timeout_is_for_ever(epoll: Epoll) {
    for timeout in [-1, -2, -1000, c_int::MIN] {
        waits_until_an_event(epoll, timeout);
    }
}

fn the_longest_timeout_waits(epoll: Epoll) {
    waits_until_an_event(epoll, c_int::MAX);
}

fn waiting_for_nothing_is_legal(epoll: Epoll) {
    let ep = epoll.create();
    assert_eq!(epoll.wait(&ep, 1, 0), Ok(vec![]));
    assert_eq!(epoll.wait(&ep, 1, 1), Ok(vec![]));
    let waiter = epoll.waiter(&ep);
    end(waiter);
}

/// Has a waiter that shall still be asleep end with EINTR.
#[track_caller]
fn end(waiter: Waiter) {
    assert!(waiter.wait_until_asleep(), "woken: {:?}", waiter.join());
    signals::catch(libc::SIGUSR1, 0);
    waiter.signal(libc::SIGUSR1);
    assert_eq!(waiter.join(), Err(Errno::EINTR));
}

fn adding_something_ready_wakes_a_waiter(epoll: Epoll) {
    let (ep, fd) = (epoll.create(), sys::eventfd(1).unwrap());
    let waiter = epoll.waiter(&ep);
    epoll.add(&ep, &fd, IN, 1).unwrap();
    assert_eq!(waiter.join(), Ok(vec![event(IN, 1)]));
}

fn a_change_that_makes_it_ready_wakes_a_waiter(epoll: Epoll) {
    let (ep, fd) = (epoll.create(), sys::eventfd(1).unwrap());
    epoll.add(&ep, &fd, 0, 1).unwrap();
    let waiter = epoll.waiter(&ep);
    epoll.modify(&ep, &fd, IN, 2).unwrap();
    assert_eq!(waiter.join(), Ok(vec![event(IN, 2)]));
}

fn deleting_or_closing_what_is_watched_does_not_wake_a_waiter(epoll: Epoll) {
    let (ep, one, two) = (epoll.create(), sys::eventfd(0).unwrap(), sys::eventfd(0).unwrap());
    epoll.add(&ep, &one, IN, 1).unwrap();
    epoll.add(&ep, &two, IN, 2).unwrap();
    let waiter = epoll.waiter(&ep);
    epoll.delete(&ep, &one).unwrap();
    assert!(waiter.wait_until_asleep());
    drop(two);
    end(waiter);
}

fn closing_the_instance_does_not_wake_a_waiter(epoll: Epoll) {
    let (ep, fd) = (epoll.create(), sys::eventfd(0).unwrap());
    epoll.add(&ep, &fd, IN, 1).unwrap();
    let waiter = epoll.waiter(&ep);
    sys::close(ep.into_raw_fd()).unwrap();
    assert!(waiter.wait_until_asleep());
    // It is still the same wait on the same list.
    sys::write(fd.as_raw_fd(), &1_u64.to_ne_bytes()).unwrap();
    assert_eq!(waiter.join(), Ok(vec![event(IN, 1)]));
}

fn a_signal_handler_ends_a_wait_even_with_restart(epoll: Epoll) {
    for flags in [0, libc::SA_RESTART] {
        let ep = epoll.create();
        signals::catch(libc::SIGUSR2, flags);
        let before = signals::caught(libc::SIGUSR2);
        let waiter = epoll.waiter(&ep);
        waiter.signal(libc::SIGUSR2);
        assert_eq!(waiter.join(), Err(Errno::EINTR));
        assert_eq!(signals::caught(libc::SIGUSR2), before + 1);
    }
}

fn signals_that_are_ignored_or_blocked_do_not_end_a_wait(epoll: Epoll) {
    let ep = epoll.create();
    signals::ignore(libc::SIGHUP);
    signals::catch(libc::SIGUSR2, 0);
    signals::block(&[libc::SIGUSR2]);
    // The waiter inherits the mask.
    let waiter = epoll.waiter(&ep);
    // Ignored; ignored by default; blocked.
    for signal in [libc::SIGHUP, libc::SIGCHLD, libc::SIGWINCH, libc::SIGUSR2] {
        waiter.signal(signal);
        assert!(waiter.wait_until_asleep(), "woken by {signal}");
    }
    assert_eq!(signals::caught(libc::SIGUSR2), 0);
    end(waiter);
}

fn being_stopped_and_continued_ends_a_wait(epoll: Epoll) {
    let ep: OwnedFd = epoll.create();
    let epfd = ep.as_raw_fd();
    let child = sys::fork(|| match epoll.wait_on(epfd, 1, -1) {
        Err(Errno::EINTR) => 0,
        other => {
            eprintln!("{other:?}");
            1
        }
    });
    threads::wait_until_process_sleeps(child.pid());
    child.stop_and_continue();
    assert_eq!(child.wait(), 0);
}

fn what_is_ready_comes_before_a_pending_signal(epoll: Epoll) {
    let (ep, fd) = (epoll.create(), sys::eventfd(0).unwrap());
    epoll.add(&ep, &fd, IN, 1).unwrap();
    signals::catch(libc::SIGUSR1, 0);
    signals::block(&[libc::SIGUSR1]);
    signals::send_to_self(libc::SIGUSR1);
    let none = signals::set_of(&[]);
    // Pending and not blocked during the call; but a call that does not wait is not interrupted.
    assert_eq!(epoll.pwait(&ep, 1, 0, Some(&none)), Ok(vec![]));
    sys::write(fd.as_raw_fd(), &1_u64.to_ne_bytes()).unwrap();
    for timeout in [0, 1000, -1] {
        assert_eq!(epoll.pwait(&ep, 1, timeout, Some(&none)), Ok(vec![event(IN, 1)]));
    }
    assert_eq!(signals::caught(libc::SIGUSR1), 0);
}
