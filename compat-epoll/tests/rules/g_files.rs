//! Group G: the kernel's own kinds of descriptors, and terminals.

use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use kq_core::test_support::{harness::Rule, passing, signals, sys, threads::wait_until_ready};

use kq_core::test_support::epoll::{ET, Epoll, HUP, IN, OUT, RDHUP};

pub(crate) const RULES: &[Rule<Epoll>] = kq_core::rules![
    G17 a_counter,
    G18 a_timer_is_readable_from_expiry_until_read,
    G18 a_periodic_timer_is_an_edge_after_each_read,
    G19 a_signal_descriptor_while_a_signal_is_pending,
    G20 a_terminal_whose_slave_was_closed,
];

const ALL: u32 = IN | OUT | RDHUP;

fn a_counter(epoll: Epoll) {
    let counter = sys::eventfd(0).unwrap();
    assert_eq!(epoll.state(&counter, ALL), OUT);
    sys::write(counter.as_raw_fd(), &1_u64.to_ne_bytes()).unwrap();
    assert_eq!(epoll.state(&counter, ALL), IN | OUT);
    sys::write(counter.as_raw_fd(), &(u64::MAX - 3).to_ne_bytes()).unwrap();
    assert_eq!(epoll.state(&counter, ALL), IN | OUT, "room for one");
    sys::write(counter.as_raw_fd(), &1_u64.to_ne_bytes()).unwrap();
    assert_eq!(epoll.state(&counter, ALL), IN, "2^64 - 2");
}

fn a_timer_is_readable_from_expiry_until_read(epoll: Epoll) {
    let (ep, timer) = (epoll.create(), sys::timerfd().unwrap());
    epoll.add(&ep, &timer, ALL, 1).unwrap();
    assert_eq!(epoll.bits(&ep), 0);
    sys::arm_timer(timer.as_raw_fd(), 1, 0).unwrap();
    assert_eq!(epoll.bits_soon(&ep), IN);
    assert_eq!(epoll.bits(&ep), IN);
    assert_eq!(sys::read(timer.as_raw_fd(), 8).unwrap(), 1_u64.to_ne_bytes());
    assert_eq!(epoll.bits(&ep), 0);
}

fn a_periodic_timer_is_an_edge_after_each_read(epoll: Epoll) {
    let (ep, timer) = (epoll.create(), sys::timerfd().unwrap());
    epoll.add(&ep, &timer, IN | ET, 1).unwrap();
    sys::arm_timer(timer.as_raw_fd(), 500_000, 500_000).unwrap();
    for _ in 0..3 {
        assert_eq!(epoll.bits_soon(&ep), IN);
        assert_eq!(epoll.wait(&ep, 1, 5), Ok(vec![]), "unread, it does not run on");
        assert_eq!(sys::read(timer.as_raw_fd(), 8).unwrap().len(), 8);
    }
}

fn a_signal_descriptor_while_a_signal_is_pending(epoll: Epoll) {
    signals::block(&[libc::SIGUSR2]);
    let (ep, fd) = (epoll.create(), sys::signalfd(&[libc::SIGUSR2]).unwrap());
    epoll.add(&ep, &fd, ALL, 1).unwrap();
    assert_eq!(epoll.bits(&ep), 0);
    signals::send_to_process(libc::SIGUSR2);
    assert_eq!(epoll.bits_soon(&ep), IN);
    passing::take_signal(libc::SIGUSR2);
    assert_eq!(epoll.bits(&ep), 0);
}

/// The master of a new terminal, and a slave. Skips where there are none.
fn terminal() -> (OwnedFd, OwnedFd) {
    // SAFETY: the master is ours; the name's memory is; a name ends with a zero byte.
    unsafe {
        let flags = libc::O_RDWR | libc::O_NOCTTY | libc::O_CLOEXEC | libc::O_NONBLOCK;
        let master = libc::posix_openpt(flags);
        if master < 0 {
            kq_core::test_support::isolate::skip("no pseudo-terminals here");
        }
        let master = OwnedFd::from_raw_fd(master);
        assert_eq!(libc::unlockpt(master.as_raw_fd()), 0);
        let mut name = [0; 64];
        assert_eq!(libc::ptsname_r(master.as_raw_fd(), name.as_mut_ptr(), name.len()), 0);
        let name = std::ffi::CStr::from_ptr(name.as_ptr()).to_str().unwrap().to_owned();
        let slave = sys::open(name, libc::O_RDWR | libc::O_NOCTTY).unwrap();
        (master, slave)
    }
}

fn a_terminal_whose_slave_was_closed(epoll: Epoll) {
    let (master, slave) = terminal();
    assert_eq!(epoll.state(&master, ALL), OUT);
    drop(slave);
    wait_until_ready(master.as_raw_fd(), libc::POLLHUP);
    assert_eq!(epoll.state(&master, ALL), OUT | HUP);
}
