//! Group F: EPOLLONESHOT.

use std::os::fd::AsRawFd;

use kq_core::test_support::{harness::Rule, sockets, sys};
use nix::errno::Errno;

use kq_core::test_support::epoll::{ET, Epoll, IN, ONESHOT, OUT, event};

pub(crate) const RULES: &[Rule<Epoll>] = kq_core::rules![
    F01 it_is_off_after_one_report_until_a_change,
    F02 while_it_is_off_not_even_a_hang_up_is_reported,
    F03 either_direction_turns_off_both,
    F04 a_change_without_it_makes_it_plain,
    F05 what_was_not_handed_out_is_not_turned_off,
];

fn it_is_off_after_one_report_until_a_change(epoll: Epoll) {
    let (ep, fd) = (epoll.create(), sys::eventfd(1).unwrap());
    epoll.add(&ep, &fd, IN | ONESHOT, 1).unwrap();
    for data in 2..4 {
        assert_eq!(epoll.ready(&ep), [event(IN, data - 1)]);
        assert_eq!(epoll.ready(&ep), []);
        sys::write(fd.as_raw_fd(), &1_u64.to_ne_bytes()).unwrap();
        assert_eq!(epoll.ready(&ep), []);
        assert_eq!(epoll.add(&ep, &fd, IN | ONESHOT, 9), Err(Errno::EEXIST));
        assert_eq!(epoll.modify(&ep, &fd, IN | ONESHOT, data), Ok(()));
    }
    assert_eq!(epoll.ready(&ep), [event(IN, 3)]);
}

fn while_it_is_off_not_even_a_hang_up_is_reported(epoll: Epoll) {
    let (ep, (read, write)) = (epoll.create(), sys::pipe().unwrap());
    epoll.add(&ep, &write, OUT | ONESHOT, 1).unwrap();
    assert_eq!(epoll.ready(&ep), [event(OUT, 1)]);
    drop(read);
    assert_eq!(epoll.ready(&ep), []);
    assert_eq!(epoll.delete(&ep, &write), Ok(()));
    let (ep, (one, other)) = (epoll.create(), sockets::unix_pair(libc::SOCK_STREAM).unwrap());
    epoll.add(&ep, &one, OUT | ONESHOT, 1).unwrap();
    assert_eq!(epoll.ready(&ep), [event(OUT, 1)]);
    drop(other);
    assert_eq!(epoll.ready(&ep), []);
}

fn either_direction_turns_off_both(epoll: Epoll) {
    let (ep, (one, other)) = (epoll.create(), sockets::unix_pair(libc::SOCK_STREAM).unwrap());
    epoll.add(&ep, &one, IN | OUT | ONESHOT, 1).unwrap();
    assert_eq!(epoll.ready(&ep), [event(OUT, 1)]);
    sys::write(other.as_raw_fd(), b"!").unwrap();
    assert_eq!(epoll.ready(&ep), []);
    epoll.modify(&ep, &one, IN | OUT | ONESHOT, 2).unwrap();
    assert_eq!(epoll.ready(&ep), [event(IN | OUT, 2)]);
    assert_eq!(epoll.ready(&ep), []);
}

fn a_change_without_it_makes_it_plain(epoll: Epoll) {
    let (ep, fd) = (epoll.create(), sys::eventfd(1).unwrap());
    epoll.add(&ep, &fd, IN | ONESHOT | ET, 1).unwrap();
    assert_eq!(epoll.ready(&ep), [event(IN, 1)]);
    epoll.modify(&ep, &fd, IN, 2).unwrap();
    for _ in 0..3 {
        assert_eq!(epoll.ready(&ep), [event(IN, 2)]);
    }
}

fn what_was_not_handed_out_is_not_turned_off(epoll: Epoll) {
    let ep = epoll.create();
    let counters = [1, 2].map(|n| {
        let fd = sys::eventfd(1).unwrap();
        epoll.add(&ep, &fd, IN | ONESHOT, n).unwrap();
        fd
    });
    assert_eq!(epoll.wait(&ep, 1, 0), Ok(vec![event(IN, 1)]));
    assert_eq!(epoll.wait(&ep, 1, 0), Ok(vec![event(IN, 2)]));
    assert_eq!(epoll.ready(&ep), []);
    drop(counters);
}
