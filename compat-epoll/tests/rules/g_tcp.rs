//! Group G: TCP and UDP.

use std::os::fd::{AsRawFd, OwnedFd};

use kq_core::test_support::harness::Rule;
use kq_core::test_support::threads::wait_until_ready;
use kq_core::test_support::{sockets, sys};
use nix::errno::Errno;

use kq_core::test_support::epoll::{ERR, Epoll, HUP, IN, OUT, PRI, RDHUP};

pub(crate) const RULES: &[Rule<Epoll>] = kq_core::rules![
    G10 a_listener_is_readable_when_a_connection_waits,
    G11 a_connection_that_succeeds_or_is_refused,
    G12 a_peer_that_sent_its_last,
    G13 a_reset,
    G14 a_byte_out_of_band,
    G15 datagrams,
    G16 the_low_water_mark_delays_input,
];

const ALL: u32 = IN | OUT | RDHUP | PRI;

fn a_listener_is_readable_when_a_connection_waits(epoll: Epoll) {
    let (ep, listener) = (epoll.create(), sockets::tcp_listener().unwrap());
    epoll.add(&ep, &listener, ALL, 1).unwrap();
    assert_eq!(epoll.bits(&ep), 0);
    let client = sockets::socket(libc::AF_INET, libc::SOCK_STREAM).unwrap();
    let port = sockets::port_of(listener.as_raw_fd()).unwrap();
    let started = sockets::connect(client.as_raw_fd(), port);
    assert!(matches!(started, Ok(()) | Err(Errno::EINPROGRESS)), "{started:?}");
    assert_eq!(epoll.bits_soon(&ep), IN);
    drop(sockets::accept(listener.as_raw_fd()).unwrap());
    assert_eq!(epoll.bits(&ep), 0);
}

fn a_connection_that_succeeds_or_is_refused(epoll: Epoll) {
    let listener = sockets::tcp_listener().unwrap();
    let port = sockets::port_of(listener.as_raw_fd()).unwrap();
    let client = sockets::socket(libc::AF_INET, libc::SOCK_STREAM).unwrap();
    let _ = sockets::connect(client.as_raw_fd(), port);
    wait_until_ready(client.as_raw_fd(), libc::POLLOUT);
    assert_eq!(epoll.state(&client, ALL), OUT);

    let nobody = sockets::socket(libc::AF_INET, libc::SOCK_STREAM).unwrap();
    sockets::bind(nobody.as_raw_fd(), 0).unwrap();
    let port = sockets::port_of(nobody.as_raw_fd()).unwrap();
    let client = sockets::socket(libc::AF_INET, libc::SOCK_STREAM).unwrap();
    let _ = sockets::connect(client.as_raw_fd(), port);
    wait_until_ready(client.as_raw_fd(), libc::POLLERR | libc::POLLHUP);
    assert_eq!(epoll.state(&client, ALL), IN | OUT | ERR | HUP | RDHUP);
    assert_eq!(
        sockets::option(client.as_raw_fd(), libc::SOL_SOCKET, libc::SO_ERROR),
        Ok(Errno::ECONNREFUSED as i32)
    );
}

fn a_peer_that_sent_its_last(epoll: Epoll) {
    let (one, other) = sockets::tcp_pair().unwrap();
    sys::write(other.as_raw_fd(), b"last").unwrap();
    sockets::shutdown(other.as_raw_fd(), libc::SHUT_WR).unwrap();
    wait_until_ready(one.as_raw_fd(), libc::POLLRDHUP);
    assert_eq!(epoll.state(&one, ALL), IN | OUT | RDHUP);
    assert_eq!(sys::read(one.as_raw_fd(), 2).unwrap(), b"la");
    sockets::shutdown(one.as_raw_fd(), libc::SHUT_WR).unwrap();
    assert_eq!(epoll.state(&one, ALL), IN | OUT | RDHUP | HUP);
    assert_eq!(sys::read(one.as_raw_fd(), 9).unwrap(), b"st");
    assert_eq!(sys::read(one.as_raw_fd(), 9).unwrap(), b"");
    assert_eq!(epoll.state(&one, ALL), IN | OUT | RDHUP | HUP);
}

fn reset_pair() -> OwnedFd {
    let (one, other) = sockets::tcp_pair().unwrap();
    sockets::reset_at_close(other.as_raw_fd()).unwrap();
    drop(other);
    wait_until_ready(one.as_raw_fd(), libc::POLLERR);
    one
}

fn a_reset(epoll: Epoll) {
    let one = reset_pair();
    assert_eq!(epoll.state(&one, ALL), IN | OUT | ERR | HUP | RDHUP);
    assert_eq!(sys::read(one.as_raw_fd(), 1), Err(Errno::ECONNRESET));
    assert_eq!(epoll.state(&one, ALL), IN | OUT | HUP | RDHUP);
    let one = reset_pair();
    let error = sockets::option(one.as_raw_fd(), libc::SOL_SOCKET, libc::SO_ERROR);
    assert_eq!(error, Ok(Errno::ECONNRESET as i32));
    assert_eq!(epoll.state(&one, ALL), IN | OUT | HUP | RDHUP);
}

fn a_byte_out_of_band(epoll: Epoll) {
    let (one, other) = sockets::tcp_pair().unwrap();
    sockets::send(other.as_raw_fd(), b"!", libc::MSG_OOB).unwrap();
    wait_until_ready(one.as_raw_fd(), libc::POLLPRI);
    assert_eq!(epoll.state(&one, ALL), OUT | PRI);
    assert_eq!(epoll.state(&one, IN), 0);
    assert_eq!(sockets::recv(one.as_raw_fd(), 1, libc::MSG_OOB).unwrap(), b"!");
    assert_eq!(epoll.state(&one, ALL), OUT);

    let (one, other) = sockets::tcp_pair().unwrap();
    sockets::set_option(one.as_raw_fd(), libc::SOL_SOCKET, libc::SO_OOBINLINE, 1).unwrap();
    sockets::send(other.as_raw_fd(), b"!", libc::MSG_OOB).unwrap();
    wait_until_ready(one.as_raw_fd(), libc::POLLPRI);
    assert_eq!(epoll.state(&one, ALL), IN | OUT | PRI);
}

fn datagrams(epoll: Epoll) {
    let (one, other) = sockets::udp_pair().unwrap();
    assert_eq!(epoll.state(&one, ALL), OUT);
    sockets::send(other.as_raw_fd(), b"", 0).unwrap();
    wait_until_ready(one.as_raw_fd(), libc::POLLIN);
    assert_eq!(epoll.state(&one, ALL), IN | OUT);
    assert_eq!(sockets::recv(one.as_raw_fd(), 1, 0).unwrap(), b"");
    assert_eq!(epoll.state(&one, ALL), OUT);
    drop(other);
    sockets::send(one.as_raw_fd(), b"?", 0).unwrap();
    wait_until_ready(one.as_raw_fd(), libc::POLLERR);
    assert_eq!(epoll.state(&one, ALL), OUT | ERR);
    assert_eq!(sockets::recv(one.as_raw_fd(), 1, 0), Err(Errno::ECONNREFUSED));
    assert_eq!(epoll.state(&one, ALL), OUT);
}

fn the_low_water_mark_delays_input(epoll: Epoll) {
    let (one, other) = sockets::tcp_pair().unwrap();
    let ep = epoll.create();
    sockets::set_option(one.as_raw_fd(), libc::SOL_SOCKET, libc::SO_RCVLOWAT, 10).unwrap();
    epoll.add(&ep, &one, IN, 1).unwrap();
    sys::write(other.as_raw_fd(), b"123456789").unwrap();
    // There is no waiting for what must not happen; that the bytes are there shows FIONREAD.
    while kq_core::raw::ioctl_int(one.as_raw_fd(), libc::FIONREAD) != Ok(9) {
        std::thread::yield_now();
    }
    assert_eq!(epoll.bits(&ep), 0);
    sys::write(other.as_raw_fd(), b"0").unwrap();
    assert_eq!(epoll.bits_soon(&ep), IN);
}
