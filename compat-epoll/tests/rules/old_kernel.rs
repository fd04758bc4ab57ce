//! What holds where the kernel has no epoll_pwait2 (before Linux 5.11).

use std::os::fd::AsRawFd;
use std::ptr::{null, without_provenance};

use kq_core::test_support::{filter, harness::Rule, sys, threads};
use libc::{epoll_event, timespec};
use nix::errno::Errno;

use kq_core::test_support::epoll::{Epoll, IN, event};

pub(crate) const RULES: &[Rule<Epoll>] = kq_core::rules![
    D04_without_pwait2 times_are_rounded_up_to_milliseconds,
    D04_without_pwait2 errors_are_the_same,
    D04_without_pwait2 no_time_and_the_longest_time_wait,
    D04_without_pwait2 success_leaves_errno_alone,
];

fn refuse() {
    filter::refuse(&[libc::SYS_epoll_pwait2], Errno::ENOSYS);
}

fn times_are_rounded_up_to_milliseconds(epoll: Epoll) {
    refuse();
    let (ep, fd) = (epoll.create(), sys::eventfd(0).unwrap());
    assert_eq!(epoll.pwait2(&ep, 1, Some((0, 0))), Ok(vec![]));
    for ns in [1, 999_999, 1_000_001, 5_500_000] {
        let start = sys::monotonic_ns();
        assert_eq!(epoll.pwait2(&ep, 1, Some((0, ns))), Ok(vec![]));
        let took = sys::monotonic_ns() - start;
        assert!(took >= ns.div_euclid(1_000_000) * 1_000_000 + 1_000_000, "{took} ns for {ns} ns");
    }
    epoll.add(&ep, &fd, IN, 1).unwrap();
    sys::write(fd.as_raw_fd(), &1_u64.to_ne_bytes()).unwrap();
    for timeout in [None, Some((0, 0)), Some((1, 1))] {
        assert_eq!(epoll.pwait2(&ep, 1, timeout), Ok(vec![event(IN, 1)]));
    }
}

fn errors_are_the_same(epoll: Epoll) {
    refuse();
    let (ep, mut one) = (epoll.create(), [epoll_event { events: 0, u64: 0 }]);
    for bad in [(-1, 0), (0, -1), (0, 1_000_000_000)] {
        assert_eq!(epoll.pwait2(&ep, 1, Some(bad)), Err(Errno::EINVAL), "{bad:?}");
        // The time is looked at first.
        assert_eq!(epoll.pwait2(&-1, 1, Some(bad)), Err(Errno::EINVAL), "{bad:?}");
    }
    assert_eq!(epoll.pwait2(&-1, 1, Some((0, 1))), Err(Errno::EBADF));
    let page = sys::guarded_page(libc::PROT_NONE).cast_const().cast::<timespec>();
    for unreadable in [without_provenance(8), page] {
        let result = epoll.0.epoll_pwait2(ep.as_raw_fd(), one.as_mut_ptr(), 1, unreadable, null());
        assert_eq!(result, Err(Errno::EFAULT));
    }
}

fn no_time_and_the_longest_time_wait(epoll: Epoll) {
    refuse();
    let (ep, fd) = (epoll.create(), sys::eventfd(0).unwrap());
    epoll.add(&ep, &fd, IN, 1).unwrap();
    for timeout in [None, Some((i64::MAX, 999_999_999))] {
        let epfd = ep.as_raw_fd();
        let waiter = threads::start(move || epoll.pwait2(&epfd, 1, timeout));
        assert!(waiter.wait_until_asleep(), "{timeout:?}: {:?}", waiter.join());
        sys::write(fd.as_raw_fd(), &1_u64.to_ne_bytes()).unwrap();
        assert_eq!(waiter.join(), Ok(vec![event(IN, 1)]));
        sys::drain(fd.as_raw_fd());
    }
}

fn success_leaves_errno_alone(epoll: Epoll) {
    refuse();
    let (ep, fd) = (epoll.create(), sys::eventfd(1).unwrap());
    epoll.add(&ep, &fd, IN, 1).unwrap();
    Errno::set_raw(4242);
    assert_eq!(epoll.pwait2(&ep, 1, Some((0, 1))), Ok(vec![event(IN, 1)]));
    assert_eq!(Errno::last_raw(), 4242);
}
