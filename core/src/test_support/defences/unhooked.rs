//! Programs that tell nobody of their closes: what is noticed all the same, and when.

use std::os::fd::{AsRawFd, RawFd};

use crate::test_support::harness::Rule;
use crate::test_support::preload::counter;
use crate::test_support::watched::{
    Ask, Watched, close_all, eventfds, hush, keep, reopen, ring, while_asleep,
};
use crate::test_support::{passing, sockets, sys};

/// See the module.
pub const RULES: &[Rule<Ask>] = crate::rules![
    unhooked what_was_reported_is_noticed_at_once,
    unhooked a_number_that_was_another_file_before_is_not_mistaken,
    unhooked a_file_in_flight_is_found_out,
];

const COUNT: usize = 24;

fn close_and_reopen(fd: RawFd) {
    crate::raw::close(fd).expect("it is open");
    reopen(fd);
}

/// A program closes what was reported to it.
fn what_was_reported_is_noticed_at_once(ask: Ask) {
    let fds = eventfds(COUNT);
    let mut watched = Watched::new(&fds);
    watched.warm_up(ask);
    for round in 0..100 {
        let fd = fds[round % COUNT];
        ring(fd);
        assert_eq!(ask(&mut watched, -1), [fd]);
        close_and_reopen(fd);
        if round % 3 == 0 {
            ring(fd);
            assert_eq!(ask(&mut watched, 0), [fd]);
        } else {
            assert_eq!(while_asleep(0, || ring(fd), || ask(&mut watched, -1)), [fd]);
        }
        hush(fd);
        assert_eq!(ask(&mut watched, 0), []);
    }
    close_all(&fds);
}

/// Both files live on, and both were registered under the number.
fn a_number_that_was_another_file_before_is_not_mistaken(ask: Ask) {
    let fds = eventfds(COUNT);
    let number = fds[7];
    let one = keep(number);
    let other = sys::eventfd(0).expect("eventfd");
    let other = sys::fcntl(other.as_raw_fd(), libc::F_DUPFD_CLOEXEC, 300).and_then(sys::own);
    let other = other.expect("F_DUPFD");
    let mut watched = Watched::new(&fds);
    for _ in 0..5 {
        watched.warm_up(ask);
        for (now, before) in [(&other, &one), (&one, &other)] {
            sys::dup2(now.as_raw_fd(), number).expect("dup2");
            ring(before.as_raw_fd());
            assert_eq!(ask(&mut watched, 0), []);
            assert_eq!(ask(&mut watched, 15), []);
            hush(before.as_raw_fd());
            ring(number);
            while ask(&mut watched, 15) != [number] {}
            hush(number);
            watched.warm_up(ask);
        }
    }
    close_all(&fds);
}

/// A message holds the last reference to the old file: it is reported no more, and spins nobody.
fn a_file_in_flight_is_found_out(ask: Ask) {
    let fds = eventfds(COUNT);
    let (from, to) = sockets::unix_pair(libc::SOCK_STREAM).expect("socketpair");
    let mut watched = Watched::new(&fds);
    watched.warm_up(ask);
    ring(fds[5]);
    assert!(passing::send(from.as_raw_fd(), fds[5]).expect("sendmsg"));
    close_and_reopen(fds[5]);
    while !ask(&mut watched, 15).is_empty() {}
    watched.warm_up(ask);
    let rebuilt = counter("rebuilt");
    assert!(rebuilt <= 3, "{rebuilt} queues for one descriptor");
    assert_eq!(while_asleep(0, || ring(fds[5]), || ask(&mut watched, -1)), [fds[5]]);
    let received = passing::receive(to.as_raw_fd()).expect("recvmsg");
    close_all(&received);
    close_all(&fds);
}
