//! Group E: edge-triggered.

use std::os::fd::{AsRawFd, OwnedFd};
use std::ptr::null_mut;

use kq_core::test_support::{harness::Rule, sockets, sys};
use nix::errno::Errno;

use kq_core::test_support::epoll::{ET, Epoll, HUP, IN, OUT, event};

pub(crate) const RULES: &[Rule<Epoll>] = kq_core::rules![
    E01 an_edge_is_reported_once,
    E02 each_write_is_an_edge_even_if_data_was_left,
    E03 reading_some_is_no_edge,
    E04 what_is_ready_when_added_is_reported_once,
    E05 a_change_reports_anew_what_is_still_ready,
    E06 an_edge_reports_everything_that_is_true,
    E07 an_edge_that_is_over_before_the_wait_is_dropped,
    E08 emptying_and_filling_again_is_an_edge,
    E09 a_pipe_is_an_output_edge_when_it_leaves_full,
    E10 edges_that_could_not_be_handed_out_stay,
    E11 a_hang_up_after_data_is_another_edge,
    E12 draining_a_counter_is_no_edge_but_a_change_is,
];

/// What data goes through: where it comes out, and where it goes in.
fn channels() -> [(OwnedFd, OwnedFd); 3] {
    let unix = sockets::unix_pair(libc::SOCK_STREAM).unwrap();
    [sys::pipe().unwrap(), unix, sockets::tcp_pair().unwrap()]
}

fn write(fd: &OwnedFd) {
    sys::write(fd.as_raw_fd(), b"data").unwrap();
}

fn an_edge_is_reported_once(epoll: Epoll) {
    for (from, to) in &channels() {
        let ep = epoll.create();
        epoll.add(&ep, from, IN | ET, 1).unwrap();
        write(to);
        assert_eq!(epoll.bits_soon(&ep), IN);
        assert_eq!(epoll.ready(&ep), []);
        assert_eq!(epoll.wait(&ep, 1, 5), Ok(vec![]));
    }
}

fn each_write_is_an_edge_even_if_data_was_left(epoll: Epoll) {
    for (from, to) in &channels() {
        let ep = epoll.create();
        epoll.add(&ep, from, IN | ET, 1).unwrap();
        for _ in 0..3 {
            write(to);
            assert_eq!(epoll.bits_soon(&ep), IN);
            assert_eq!(epoll.ready(&ep), []);
        }
    }
    let (ep, counter) = (epoll.create(), sys::eventfd(0).unwrap());
    epoll.add(&ep, &counter, IN | ET, 1).unwrap();
    for _ in 0..3 {
        sys::write(counter.as_raw_fd(), &1_u64.to_ne_bytes()).unwrap();
        assert_eq!(epoll.ready(&ep), [event(IN, 1)]);
        assert_eq!(epoll.ready(&ep), []);
    }
}

fn reading_some_is_no_edge(epoll: Epoll) {
    for (from, to) in &channels() {
        let ep = epoll.create();
        epoll.add(&ep, from, IN | ET, 1).unwrap();
        write(to);
        assert_eq!(epoll.bits_soon(&ep), IN);
        assert_eq!(sys::read(from.as_raw_fd(), 1).unwrap(), b"d");
        assert_eq!(epoll.ready(&ep), []);
    }
}

fn what_is_ready_when_added_is_reported_once(epoll: Epoll) {
    for (from, to) in &channels() {
        let ep = epoll.create();
        write(to);
        sys::poll_for(from.as_raw_fd(), libc::POLLIN, 60_000);
        epoll.add(&ep, from, IN | ET, 1).unwrap();
        assert_eq!(epoll.ready(&ep), [event(IN, 1)]);
        assert_eq!(epoll.ready(&ep), []);
    }
}

fn a_change_reports_anew_what_is_still_ready(epoll: Epoll) {
    for (from, to) in &channels() {
        let ep = epoll.create();
        epoll.add(&ep, from, IN | ET, 1).unwrap();
        write(to);
        assert_eq!(epoll.bits_soon(&ep), IN);
        epoll.modify(&ep, from, IN | ET, 2).unwrap();
        assert_eq!(epoll.ready(&ep), [event(IN, 2)]);
        assert_eq!(epoll.ready(&ep), []);
        sys::drain(from.as_raw_fd());
        epoll.modify(&ep, from, IN | ET, 3).unwrap();
        assert_eq!(epoll.ready(&ep), []);
    }
}

fn an_edge_reports_everything_that_is_true(epoll: Epoll) {
    let (ep, (one, other)) = (epoll.create(), sockets::unix_pair(libc::SOCK_STREAM).unwrap());
    epoll.add(&ep, &one, IN | OUT | ET, 1).unwrap();
    assert_eq!(epoll.ready(&ep), [event(OUT, 1)]);
    assert_eq!(epoll.ready(&ep), []);
    write(&other);
    assert_eq!(epoll.ready(&ep), [event(IN | OUT, 1)]);
    assert_eq!(epoll.ready(&ep), []);
}

fn an_edge_that_is_over_before_the_wait_is_dropped(epoll: Epoll) {
    for (from, to) in &channels() {
        let ep = epoll.create();
        epoll.add(&ep, from, IN | ET, 1).unwrap();
        write(to);
        sys::poll_for(from.as_raw_fd(), libc::POLLIN, 60_000);
        assert_eq!(sys::drain(from.as_raw_fd()), 4);
        assert_eq!(epoll.ready(&ep), []);
    }
}

fn emptying_and_filling_again_is_an_edge(epoll: Epoll) {
    for (from, to) in &channels() {
        let ep = epoll.create();
        epoll.add(&ep, from, IN | ET, 1).unwrap();
        write(to);
        assert_eq!(epoll.bits_soon(&ep), IN);
        assert_eq!(sys::drain(from.as_raw_fd()), 4);
        write(to);
        assert_eq!(epoll.bits_soon(&ep), IN);
        assert_eq!(epoll.ready(&ep), []);
    }
}

fn a_pipe_is_an_output_edge_when_it_leaves_full(epoll: Epoll) {
    let (ep, (read, write)) = (epoll.create(), sys::pipe().unwrap());
    epoll.add(&ep, &write, OUT | ET, 1).unwrap();
    assert_eq!(epoll.ready(&ep), [event(OUT, 1)]);
    sys::write(write.as_raw_fd(), &[0; 4096]).unwrap();
    assert_eq!(sys::read(read.as_raw_fd(), 4096).unwrap().len(), 4096);
    assert_eq!(epoll.ready(&ep), [], "never full");
    sys::fill(write.as_raw_fd(), 4096);
    assert_eq!(epoll.ready(&ep), []);
    assert_eq!(sys::read(read.as_raw_fd(), 4096).unwrap().len(), 4096);
    assert_eq!(epoll.ready(&ep), [event(OUT, 1)]);
    assert_eq!(sys::read(read.as_raw_fd(), 4096).unwrap().len(), 4096);
    assert_eq!(epoll.ready(&ep), []);
}

fn edges_that_could_not_be_handed_out_stay(epoll: Epoll) {
    let ep = epoll.create();
    let counters = [0, 1, 2].map(|n| {
        let fd = sys::eventfd(1).unwrap();
        epoll.add(&ep, &fd, IN | ET, n).unwrap();
        fd
    });
    for _ in 0..2 {
        let result = epoll.0.epoll_wait(ep.as_raw_fd(), null_mut(), 8, 0);
        assert_eq!(result, Err(Errno::EFAULT));
    }
    for n in 0..3 {
        assert_eq!(epoll.wait(&ep, 1, 0), Ok(vec![event(IN, n)]));
    }
    assert_eq!(epoll.ready(&ep), []);
    drop(counters);
}

fn a_hang_up_after_data_is_another_edge(epoll: Epoll) {
    let (ep, (read, write)) = (epoll.create(), sys::pipe().unwrap());
    epoll.add(&ep, &read, IN | ET, 1).unwrap();
    sys::write(write.as_raw_fd(), b"!").unwrap();
    assert_eq!(epoll.ready(&ep), [event(IN, 1)]);
    drop(write);
    assert_eq!(epoll.ready(&ep), [event(IN | HUP, 1)]);
    assert_eq!(epoll.ready(&ep), []);
}

fn draining_a_counter_is_no_edge_but_a_change_is(epoll: Epoll) {
    let (ep, counter) = (epoll.create(), sys::eventfd(1).unwrap());
    epoll.add(&ep, &counter, IN | ET, 1).unwrap();
    assert_eq!(epoll.ready(&ep), [event(IN, 1)]);
    sys::drain(counter.as_raw_fd());
    assert_eq!(epoll.ready(&ep), []);
    epoll.modify(&ep, &counter, OUT | ET, 2).unwrap();
    assert_eq!(epoll.ready(&ep), [event(OUT, 2)]);
    assert_eq!(epoll.ready(&ep), []);
}
