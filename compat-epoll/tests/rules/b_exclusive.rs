//! Group B: what goes with EPOLLEXCLUSIVE.

use kq_core::test_support::{harness::Rule, sys};
use nix::errno::Errno;

use kq_core::test_support::epoll::{
    ERR, ET, EXCLUSIVE, Epoll, HUP, IN, ONESHOT, OUT, PRI, RDHUP, RDNORM, WAKEUP,
};

pub(crate) const RULES: &[Rule<Epoll>] = kq_core::rules![
    B12 exclusive_goes_only_with_some_bits,
    B13 exclusive_cannot_be_changed,
    B14 exclusive_cannot_watch_an_instance,
];

fn exclusive_goes_only_with_some_bits(epoll: Epoll) {
    let ep = epoll.create();
    let all = IN | OUT | ERR | HUP | WAKEUP | ET;
    for good in [0, IN, OUT, ERR, HUP, WAKEUP, ET, all] {
        let fd = sys::eventfd(0).unwrap();
        assert_eq!(epoll.add(&ep, &fd, EXCLUSIVE | good, 0), Ok(()), "{good:#x}");
    }
    for bad in [PRI, RDHUP, RDNORM, ONESHOT, 0x800, all | ONESHOT] {
        let fd = sys::eventfd(0).unwrap();
        assert_eq!(epoll.add(&ep, &fd, EXCLUSIVE | bad, 0), Err(Errno::EINVAL), "{bad:#x}");
    }
}

fn exclusive_cannot_be_changed(epoll: Epoll) {
    let (ep, fd) = (epoll.create(), sys::eventfd(0).unwrap());
    assert_eq!(epoll.modify(&ep, &fd, EXCLUSIVE | IN, 0), Err(Errno::EINVAL));
    epoll.add(&ep, &fd, IN, 0).unwrap();
    assert_eq!(epoll.modify(&ep, &fd, EXCLUSIVE | IN, 0), Err(Errno::EINVAL));
    epoll.delete(&ep, &fd).unwrap();
    epoll.add(&ep, &fd, EXCLUSIVE | IN, 0).unwrap();
    assert_eq!(epoll.modify(&ep, &fd, EXCLUSIVE | IN, 0), Err(Errno::EINVAL));
    assert_eq!(epoll.modify(&ep, &fd, IN, 0), Err(Errno::EINVAL));
    assert_eq!(epoll.delete(&ep, &fd), Ok(()));
}

fn exclusive_cannot_watch_an_instance(epoll: Epoll) {
    let (outer, inner) = (epoll.create(), epoll.create());
    assert_eq!(epoll.add(&outer, &inner, EXCLUSIVE | IN, 0), Err(Errno::EINVAL));
    assert_eq!(epoll.add(&outer, &inner, IN, 0), Ok(()));
}
