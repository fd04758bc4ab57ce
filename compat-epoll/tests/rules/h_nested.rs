//! Group H: an instance is a descriptor too. It can be polled, selected and watched.

use std::os::fd::{AsRawFd, OwnedFd};

use kq_core::test_support::{harness::Rule, sys, threads};

use kq_core::test_support::epoll::{ET, Epoll, IN, OUT, event};

pub(crate) const RULES: &[Rule<Epoll>] = kq_core::rules![
    H01 an_instance_is_readable_if_an_event_is_ready_and_never_writable,
    H02 polling_an_instance_does_not_take_an_edge,
    H03 a_poll_that_sleeps_on_an_instance_is_woken,
    H04 the_outer_one_reports_until_the_inner_one_has_nothing,
    H05 taking_an_edge_from_the_inner_one_clears_the_outer_one,
    H06 the_outer_one_may_be_edge_triggered,
    H07 closing_the_inner_one_ends_its_registration,
    H08 a_sleeping_wait_sees_what_is_added_to_the_inner_one,
];

const EVERYTHING: i16 = libc::POLLIN | libc::POLLOUT | libc::POLLPRI | libc::POLLRDHUP;
/// What poll says of a readable instance.
const READABLE: i16 = libc::POLLIN;

fn raise(fd: &OwnedFd) {
    sys::write(fd.as_raw_fd(), &1_u64.to_ne_bytes()).unwrap();
}

fn an_instance_is_readable_if_an_event_is_ready_and_never_writable(epoll: Epoll) {
    let (ep, fd) = (epoll.create(), sys::eventfd(0).unwrap());
    epoll.add(&ep, &fd, IN, 1).unwrap();
    assert_eq!(sys::poll(ep.as_raw_fd(), EVERYTHING), 0);
    raise(&fd);
    assert_eq!(sys::poll(ep.as_raw_fd(), EVERYTHING), READABLE);
    assert_eq!(sys::poll(ep.as_raw_fd(), libc::POLLOUT), 0);
    sys::drain(fd.as_raw_fd());
    assert_eq!(sys::poll(ep.as_raw_fd(), EVERYTHING), 0);
}

fn polling_an_instance_does_not_take_an_edge(epoll: Epoll) {
    let (ep, fd) = (epoll.create(), sys::eventfd(1).unwrap());
    epoll.add(&ep, &fd, IN | ET, 1).unwrap();
    assert_eq!(sys::poll(ep.as_raw_fd(), EVERYTHING), READABLE);
    assert_eq!(sys::poll(ep.as_raw_fd(), EVERYTHING), READABLE);
    assert_eq!(epoll.ready(&ep), [event(IN, 1)]);
    assert_eq!(sys::poll(ep.as_raw_fd(), EVERYTHING), 0);
    assert_eq!(epoll.ready(&ep), []);
}

fn a_poll_that_sleeps_on_an_instance_is_woken(epoll: Epoll) {
    let (ep, fd) = (epoll.create(), sys::eventfd(0).unwrap());
    epoll.add(&ep, &fd, IN, 1).unwrap();
    let epfd = ep.as_raw_fd();
    let poller = threads::start(move || sys::poll_for(epfd, EVERYTHING, 60_000));
    assert!(poller.wait_until_asleep());
    raise(&fd);
    assert_eq!(poller.join(), READABLE);
}

/// An outer instance that watches an inner one with these options, which watches a counter.
fn nested(epoll: Epoll, outer_bits: u32, inner_bits: u32) -> (OwnedFd, OwnedFd, OwnedFd) {
    let (outer, inner, fd) = (epoll.create(), epoll.create(), sys::eventfd(0).unwrap());
    epoll.add(&inner, &fd, inner_bits, 1).unwrap();
    epoll.add(&outer, &inner, outer_bits, 2).unwrap();
    assert_eq!(epoll.ready(&outer), []);
    (outer, inner, fd)
}

fn the_outer_one_reports_until_the_inner_one_has_nothing(epoll: Epoll) {
    let (outer, inner, fd) = nested(epoll, IN | OUT, IN);
    raise(&fd);
    for _ in 0..3 {
        assert_eq!(epoll.ready(&outer), [event(IN, 2)]);
    }
    for _ in 0..3 {
        assert_eq!(epoll.ready(&inner), [event(IN, 1)]);
        assert_eq!(epoll.ready(&outer), [event(IN, 2)]);
    }
    sys::drain(fd.as_raw_fd());
    assert_eq!(epoll.ready(&outer), []);
    assert_eq!(epoll.ready(&inner), []);
}

fn taking_an_edge_from_the_inner_one_clears_the_outer_one(epoll: Epoll) {
    let (outer, inner, fd) = nested(epoll, IN, IN | ET);
    raise(&fd);
    for _ in 0..2 {
        assert_eq!(epoll.ready(&outer), [event(IN, 2)]);
    }
    assert_eq!(epoll.ready(&inner), [event(IN, 1)]);
    assert_eq!(epoll.ready(&outer), []);
}

fn the_outer_one_may_be_edge_triggered(epoll: Epoll) {
    let (outer, inner, fd) = nested(epoll, IN | ET, IN);
    for _ in 0..3 {
        raise(&fd);
        assert_eq!(epoll.ready(&outer), [event(IN, 2)]);
        assert_eq!(epoll.ready(&outer), []);
        // A level-triggered event that was handed out waits to be looked at again, and so a next
        // one is no news to the outer instance until the inner one was found empty.
        sys::drain(fd.as_raw_fd());
        assert_eq!(epoll.ready(&inner), []);
    }
}

fn closing_the_inner_one_ends_its_registration(epoll: Epoll) {
    let (outer, inner, fd) = nested(epoll, IN, IN);
    raise(&fd);
    assert_eq!(epoll.ready(&outer), [event(IN, 2)]);
    drop(inner);
    assert_eq!(epoll.ready(&outer), []);
}

fn a_sleeping_wait_sees_what_is_added_to_the_inner_one(epoll: Epoll) {
    let (outer, inner, _fd) = nested(epoll, IN, IN);
    let waiter = epoll.waiter(&outer);
    let ready = sys::eventfd(1).unwrap();
    epoll.add(&inner, &ready, IN, 3).unwrap();
    assert_eq!(waiter.join(), Ok(vec![event(IN, 2)]));
}
