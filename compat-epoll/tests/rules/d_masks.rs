//! Group D: the signal mask of epoll_pwait, and the timeout of epoll_pwait2.

use std::os::fd::AsRawFd;
use std::ptr::{null, without_provenance};

use kq_core::test_support::{harness::Rule, signals, sys, threads};
use libc::{epoll_event, sigset_t, timespec};
use nix::errno::Errno;

use kq_core::test_support::epoll::{Epoll, IN, event};

pub(crate) const RULES: &[Rule<Epoll>] = kq_core::rules![
    D01 the_mask_holds_for_the_wait_alone,
    D02 a_signal_that_the_mask_blocks_comes_after_the_wait,
    D03 no_mask_is_epoll_wait_and_a_bad_one_is_efault,
    D04 pwait2_takes_a_time_or_none,
    D04 pwait2_refuses_what_is_no_time,
    D04 pwait2_waits_less_than_a_millisecond_and_never_too_short,
    D04 pwait2_leaves_its_timeout_alone,
];

fn the_mask_holds_for_the_wait_alone(epoll: Epoll) {
    let ep = epoll.create();
    signals::catch(libc::SIGUSR1, 0);
    signals::block(&[libc::SIGUSR1]);
    signals::send_to_self(libc::SIGUSR1);
    let result = epoll.pwait(&ep, 1, -1, Some(&signals::set_of(&[])));
    assert_eq!((result, signals::caught(libc::SIGUSR1)), (Err(Errno::EINTR), 1));
    assert!(signals::is_blocked(libc::SIGUSR1));
    signals::send_to_self(libc::SIGUSR1);
    assert_eq!(epoll.wait(&ep, 1, 1), Ok(vec![]));
    assert_eq!(signals::caught(libc::SIGUSR1), 1);
}

fn a_signal_that_the_mask_blocks_comes_after_the_wait(epoll: Epoll) {
    let (ep, fd) = (epoll.create(), sys::eventfd(0).unwrap());
    epoll.add(&ep, &fd, IN, 1).unwrap();
    signals::catch(libc::SIGUSR1, 0);
    let epfd = ep.as_raw_fd();
    let waiter = threads::start(move || {
        let blocked = signals::set_of(&[libc::SIGUSR1]);
        let result = epoll.pwait(&epfd, 1, -1, Some(&blocked));
        (result, signals::caught(libc::SIGUSR1))
    });
    assert!(waiter.wait_until_asleep());
    waiter.signal(libc::SIGUSR1);
    assert!(waiter.wait_until_asleep());
    assert_eq!(signals::caught(libc::SIGUSR1), 0);
    sys::write(fd.as_raw_fd(), &1_u64.to_ne_bytes()).unwrap();
    assert_eq!(waiter.join(), (Ok(vec![event(IN, 1)]), 1));
}

fn no_mask_is_epoll_wait_and_a_bad_one_is_efault(epoll: Epoll) {
    let (ep, fd) = (epoll.create(), sys::eventfd(1).unwrap());
    epoll.add(&ep, &fd, IN, 1).unwrap();
    assert_eq!(epoll.pwait(&ep, 1, -1, None), Ok(vec![event(IN, 1)]));
    let mut one = [epoll_event { events: 0, u64: 0 }];
    let unreadable = sys::guarded_page(libc::PROT_NONE).cast_const().cast::<sigset_t>();
    for mask in [without_provenance(8), unreadable] {
        let epfd = ep.as_raw_fd();
        assert_eq!(epoll.0.epoll_pwait(epfd, one.as_mut_ptr(), 1, -1, mask), Err(Errno::EFAULT));
        let now = timespec { tv_sec: 0, tv_nsec: 0 };
        let result = epoll.0.epoll_pwait2(epfd, one.as_mut_ptr(), 1, &now, mask);
        assert_eq!(result, Err(Errno::EFAULT));
    }
}

fn pwait2_takes_a_time_or_none(epoll: Epoll) {
    let (ep, fd) = (epoll.create(), sys::eventfd(0).unwrap());
    epoll.add(&ep, &fd, IN, 1).unwrap();
    assert_eq!(epoll.pwait2(&ep, 1, Some((0, 0))), Ok(vec![]));
    for timeout in [None, Some((i64::MAX, 999_999_999))] {
        let epfd = ep.as_raw_fd();
        let waiter = threads::start(move || epoll.pwait2(&epfd, 1, timeout));
        assert!(waiter.wait_until_asleep(), "{timeout:?}: {:?}", waiter.join());
        sys::write(fd.as_raw_fd(), &1_u64.to_ne_bytes()).unwrap();
        assert_eq!(waiter.join(), Ok(vec![event(IN, 1)]));
        sys::drain(fd.as_raw_fd());
    }
}

fn pwait2_refuses_what_is_no_time(epoll: Epoll) {
    let (ep, fd) = (epoll.create(), sys::eventfd(1).unwrap());
    epoll.add(&ep, &fd, IN, 1).unwrap();
    for bad in [(-1, 0), (0, -1), (0, 1_000_000_000), (i64::MIN, 0), (0, i64::MAX)] {
        assert_eq!(epoll.pwait2(&ep, 1, Some(bad)), Err(Errno::EINVAL), "{bad:?}");
    }
    let mut one = [epoll_event { events: 0, u64: 0 }];
    let unreadable = sys::guarded_page(libc::PROT_NONE).cast_const().cast::<timespec>();
    for bad in [without_provenance(8), unreadable] {
        let result = epoll.0.epoll_pwait2(ep.as_raw_fd(), one.as_mut_ptr(), 1, bad, null());
        assert_eq!(result, Err(Errno::EFAULT));
    }
}

fn pwait2_waits_less_than_a_millisecond_and_never_too_short(epoll: Epoll) {
    let ep = epoll.create();
    for ns in [1, 1000, 300_000, 999_999, 2_500_000] {
        let start = sys::monotonic_ns();
        assert_eq!(epoll.pwait2(&ep, 1, Some((0, ns))), Ok(vec![]));
        let took = sys::monotonic_ns() - start;
        assert!(took >= ns, "{took} ns for {ns} ns");
    }
    // Below a millisecond is honoured: of many tries one at least is not rounded up. (How long the
    // others take says only how busy the machine is.)
    let quick = (0..1000).any(|_| {
        let start = sys::monotonic_ns();
        epoll.pwait2(&ep, 1, Some((0, 100_000))).unwrap();
        sys::monotonic_ns() - start < 1_000_000
    });
    assert!(quick, "a tenth of a millisecond took a whole one each time");
}

fn pwait2_leaves_its_timeout_alone(epoll: Epoll) {
    let (ep, mut one) = (epoll.create(), [epoll_event { events: 0, u64: 0 }]);
    let timeout = timespec { tv_sec: 0, tv_nsec: 2_000_000 };
    let given = &raw const timeout;
    assert_eq!(epoll.0.epoll_pwait2(ep.as_raw_fd(), one.as_mut_ptr(), 1, given, null()), Ok(0));
    // SAFETY: a valid pointer; volatile, since the call might have written through it.
    let after = unsafe { given.read_volatile() };
    assert_eq!((after.tv_sec, after.tv_nsec), (0, 2_000_000));
}
