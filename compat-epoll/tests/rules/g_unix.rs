//! Group G: UNIX sockets, and what holds for stream sockets of any family.

use std::os::fd::{AsRawFd, OwnedFd};

use kq_core::test_support::{harness::Rule, sockets, sys};
use nix::errno::Errno;

use kq_core::test_support::epoll::{ERR, Epoll, HUP, IN, OUT, RDHUP};

pub(crate) const RULES: &[Rule<Epoll>] = kq_core::rules![
    G05 a_connected_pair,
    G06 hup_needs_both_directions_down_and_rdhup_to_be_asked_for,
    G07 ones_own_shutdown,
    G08 a_peer_that_closed,
    G09 a_stream_socket_that_is_not_connected,
    G21 a_datagram_socket_whose_peer_takes_no_more,
    G22 a_stream_socket_whose_buffer_is_full,
    G23 hup_and_err_cannot_be_masked_away,
];

const ALL: u32 = IN | OUT | RDHUP | kq_core::test_support::epoll::PRI;

fn pair() -> (OwnedFd, OwnedFd) {
    sockets::unix_pair(libc::SOCK_STREAM).unwrap()
}

fn a_connected_pair(epoll: Epoll) {
    let (one, other) = pair();
    assert_eq!(epoll.state(&one, ALL), OUT);
    sys::write(other.as_raw_fd(), b"!").unwrap();
    assert_eq!(epoll.state(&one, ALL), IN | OUT);
    sockets::shutdown(other.as_raw_fd(), libc::SHUT_WR).unwrap();
    assert_eq!(epoll.state(&one, ALL), IN | OUT | RDHUP);
    sys::drain(one.as_raw_fd());
    assert_eq!(epoll.state(&one, ALL), IN | OUT | RDHUP);
}

fn hup_needs_both_directions_down_and_rdhup_to_be_asked_for(epoll: Epoll) {
    let (one, other) = pair();
    sockets::shutdown(other.as_raw_fd(), libc::SHUT_WR).unwrap();
    assert_eq!(epoll.state(&one, 0), 0);
    assert_eq!(epoll.state(&one, IN), IN);
    assert_eq!(epoll.state(&one, RDHUP), RDHUP);
    sockets::shutdown(one.as_raw_fd(), libc::SHUT_WR).unwrap();
    assert_eq!(epoll.state(&one, 0), HUP);
    assert_eq!(epoll.state(&one, IN | RDHUP), IN | RDHUP | HUP);
}

fn ones_own_shutdown(epoll: Epoll) {
    let (one, other) = pair();
    sockets::shutdown(one.as_raw_fd(), libc::SHUT_WR).unwrap();
    assert_eq!(epoll.state(&one, ALL), OUT);
    assert_eq!(epoll.state(&other, ALL), IN | OUT | RDHUP);
    let (one, _other) = pair();
    sockets::shutdown(one.as_raw_fd(), libc::SHUT_RD).unwrap();
    assert_eq!(epoll.state(&one, ALL), IN | OUT | RDHUP);
}

fn a_peer_that_closed(epoll: Epoll) {
    let (one, other) = pair();
    drop(other);
    assert_eq!(epoll.state(&one, ALL), IN | OUT | RDHUP | HUP);
    let (one, other) = pair();
    sys::write(one.as_raw_fd(), b"unread").unwrap();
    drop(other);
    assert_eq!(epoll.state(&one, ALL), IN | OUT | RDHUP | HUP | ERR);
    assert_eq!(sys::read(one.as_raw_fd(), 1), Err(Errno::ECONNRESET));
    assert_eq!(epoll.state(&one, ALL), IN | OUT | RDHUP | HUP);
}

fn a_stream_socket_that_is_not_connected(epoll: Epoll) {
    for family in [libc::AF_UNIX, libc::AF_INET, libc::AF_INET6] {
        let socket = match sockets::socket(family, libc::SOCK_STREAM) {
            // A kernel may lack IPv6; the others are checked all the same.
            Err(Errno::EAFNOSUPPORT) if family == libc::AF_INET6 => continue,
            socket => socket.unwrap(),
        };
        assert_eq!(epoll.state(&socket, ALL), OUT | HUP, "family {family}");
        assert_eq!(epoll.state(&socket, 0), HUP, "family {family}");
    }
}

fn a_datagram_socket_whose_peer_takes_no_more(epoll: Epoll) {
    let (ep, (one, other)) = (epoll.create(), sockets::unix_pair(libc::SOCK_DGRAM).unwrap());
    epoll.add(&ep, &one, OUT, 1).unwrap();
    assert_eq!(epoll.bits(&ep), OUT);
    while sockets::send(one.as_raw_fd(), b"datagram", 0).is_ok() {}
    assert_eq!(epoll.bits(&ep), 0);
    while sockets::recv(other.as_raw_fd(), 8, 0).is_ok() {}
    assert_eq!(epoll.bits(&ep), OUT);
}

fn a_stream_socket_whose_buffer_is_full(epoll: Epoll) {
    let (ep, (one, other)) = (epoll.create(), pair());
    epoll.add(&ep, &one, OUT, 1).unwrap();
    sys::fill(one.as_raw_fd(), 4096);
    assert_eq!(epoll.bits(&ep), 0);
    sys::read(other.as_raw_fd(), 1).unwrap();
    assert_eq!(epoll.bits(&ep), 0, "one byte is not enough");
    sys::drain(other.as_raw_fd());
    assert_eq!(epoll.bits(&ep), OUT);
}

fn hup_and_err_cannot_be_masked_away(epoll: Epoll) {
    let (ep, (one, other)) = (epoll.create(), pair());
    epoll.add(&ep, &one, IN, 1).unwrap();
    sys::write(one.as_raw_fd(), b"unread").unwrap();
    drop(other);
    epoll.modify(&ep, &one, 0, 2).unwrap();
    for _ in 0..3 {
        assert_eq!(epoll.bits(&ep), HUP | ERR);
    }
}
