//! Group L: errno.

use std::os::fd::AsRawFd;

use kq_core::test_support::{harness::Rule, sys};
use nix::errno::Errno;

use kq_core::test_support::epoll::{Epoll, IN, OUT, event};

pub(crate) const RULES: &[Rule<Epoll>] = kq_core::rules![
    L01 success_leaves_errno_alone,
];

fn success_leaves_errno_alone(epoll: Epoll) {
    /// No error has this number.
    const MARK: i32 = 4242;
    let fd = sys::eventfd(1).unwrap();
    Errno::set_raw(MARK);
    let ep = epoll.create();
    let old = epoll.0.epoll_create(1).unwrap();
    epoll.add(&ep, &fd, IN, 1).unwrap();
    epoll.modify(&ep, &fd, OUT, 2).unwrap();
    assert_eq!(epoll.wait(&ep, 1, -1), Ok(vec![event(OUT, 2)]));
    assert_eq!(epoll.pwait(&ep, 1, 0, None), Ok(vec![event(OUT, 2)]));
    assert_eq!(epoll.pwait2(&ep, 1, None), Ok(vec![event(OUT, 2)]));
    epoll.delete(&ep, &fd).unwrap();
    assert_eq!(epoll.wait_on(ep.as_raw_fd(), 1, 1), Ok(vec![]));
    assert_eq!(epoll.pwait2(&ep, 1, Some((0, 1))), Ok(vec![]));
    assert_eq!(Errno::last_raw(), MARK);
    sys::close(old).unwrap();
}
