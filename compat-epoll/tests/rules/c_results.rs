//! Group C: what epoll_wait reports.

use std::os::fd::{AsRawFd, OwnedFd};
use std::ptr::{null_mut, without_provenance_mut};

use kq_core::test_support::{harness::Rule, sockets, sys};
use libc::{c_int, epoll_event};
use nix::errno::Errno;

use kq_core::test_support::epoll::{
    ERR, ET, Epoll, Event, HUP, IN, ONESHOT, OUT, PRI, RDHUP, RDNORM, WAKEUP, WRNORM, event,
};

pub(crate) const RULES: &[Rule<Epoll>] = kq_core::rules![
    C01 a_senseless_maxevents_is_refused,
    C02 what_is_not_open_or_no_instance_is_refused,
    C03 a_bad_instance_with_a_bad_maxevents_is_one_error_or_the_other,
    C04 events_that_cannot_be_written_are_not_lost,
    C13 what_does_not_fit_comes_next_time_and_all_take_turns,
    C14 events_come_in_the_order_in_which_they_happened,
    C15 level_triggered_is_reported_until_it_is_over,
    C16 data_comes_back_bit_for_bit_from_the_latest_change,
    C17 there_is_one_event_for_each_registration,
    C18 only_what_was_asked_for_is_reported,
    C19 rdnorm_and_wrnorm_are_bits_of_their_own,
    C20 the_bits_that_are_options_are_never_reported,
    C25 events_must_be_in_the_users_part_of_memory,
];

fn a_senseless_maxevents_is_refused(epoll: Epoll) {
    // On the heap: so large an array would reach past the end of memory from the stack.
    let (ep, mut one) = (epoll.create(), vec![epoll_event { events: 0, u64: 0 }]);
    let most = c_int::MAX / size_of::<epoll_event>() as c_int;
    for bad in [0, -1, c_int::MIN, most + 1, c_int::MAX] {
        let result = epoll.0.epoll_wait(ep.as_raw_fd(), one.as_mut_ptr(), bad, 0);
        assert_eq!(result, Err(Errno::EINVAL), "{bad}");
    }
    // Nothing is ready, so nothing is written there.
    assert_eq!(epoll.0.epoll_wait(ep.as_raw_fd(), one.as_mut_ptr(), most, 0), Ok(0));
}

fn what_is_not_open_or_no_instance_is_refused(epoll: Epoll) {
    let fd = sys::eventfd(1).unwrap();
    for bad in [-1, c_int::MIN, 19_999] {
        assert_eq!(epoll.wait_on(bad, 1, 0), Err(Errno::EBADF), "{bad}");
        assert_eq!(epoll.wait_on(bad, 1, -1), Err(Errno::EBADF), "{bad}");
    }
    assert_eq!(epoll.wait(&fd, 1, -1), Err(Errno::EINVAL));
    let file = sys::open("/dev/null", libc::O_RDONLY).unwrap();
    assert_eq!(epoll.wait(&file, 1, -1), Err(Errno::EINVAL));
}

fn a_bad_instance_with_a_bad_maxevents_is_one_error_or_the_other(epoll: Epoll) {
    let result = epoll.0.epoll_wait(-1, null_mut(), 0, 0);
    assert!(matches!(result, Err(Errno::EBADF | Errno::EINVAL)), "{result:?}");
}

fn events_that_cannot_be_written_are_not_lost(epoll: Epoll) {
    let (ep, fd) = (epoll.create(), sys::eventfd(0).unwrap());
    epoll.add(&ep, &fd, IN, 7).unwrap();
    let read_only = sys::guarded_page(libc::PROT_READ).cast::<epoll_event>();
    let bad = [null_mut(), without_provenance_mut(8), read_only];
    for events in bad {
        assert_eq!(epoll.0.epoll_wait(ep.as_raw_fd(), events, 1, 0), Ok(0));
    }
    sys::write(fd.as_raw_fd(), &1_u64.to_ne_bytes()).unwrap();
    for events in bad {
        let result = epoll.0.epoll_wait(ep.as_raw_fd(), events, 1, -1);
        assert_eq!(result, Err(Errno::EFAULT), "{events:p}");
    }
    assert_eq!(epoll.ready(&ep), [event(IN, 7)]);
}

fn ready_counters(epoll: Epoll, ep: &OwnedFd, count: u64) -> Vec<OwnedFd> {
    let register = |n| {
        let fd = sys::eventfd(1).unwrap();
        epoll.add(ep, &fd, IN, n).unwrap();
        fd
    };
    (0..count).map(register).collect()
}

fn what_does_not_fit_comes_next_time_and_all_take_turns(epoll: Epoll) {
    let ep = epoll.create();
    let _counters = ready_counters(epoll, &ep, 5);
    let mut seen = [0; 5];
    for _ in 0..10 {
        let some = epoll.wait(&ep, 2, 0).unwrap();
        assert_eq!(some.len(), 2);
        some.iter().for_each(|event| seen[event.data as usize] += 1);
    }
    assert_eq!(seen, [4; 5]);
}

fn events_come_in_the_order_in_which_they_happened(epoll: Epoll) {
    let ep = epoll.create();
    let counters: Vec<OwnedFd> = (0..4).map(|_| sys::eventfd(0).unwrap()).collect();
    for (n, fd) in counters.iter().enumerate() {
        epoll.add(&ep, fd, IN, n as u64).unwrap();
    }
    for n in [2, 0, 3, 1] {
        sys::write(counters[n].as_raw_fd(), &1_u64.to_ne_bytes()).unwrap();
    }
    assert_eq!(epoll.ready(&ep), [2, 0, 3, 1].map(|n| event(IN, n)));
}

fn level_triggered_is_reported_until_it_is_over(epoll: Epoll) {
    let (ep, (read, write)) = (epoll.create(), sys::pipe().unwrap());
    epoll.add(&ep, &read, IN, 1).unwrap();
    sys::write(write.as_raw_fd(), b"two").unwrap();
    for _ in 0..3 {
        assert_eq!(epoll.ready(&ep), [event(IN, 1)]);
        sys::read(read.as_raw_fd(), 1).unwrap();
    }
    assert_eq!(epoll.ready(&ep), []);
}

fn data_comes_back_bit_for_bit_from_the_latest_change(epoll: Epoll) {
    let (ep, fd) = (epoll.create(), sys::eventfd(1).unwrap());
    epoll.add(&ep, &fd, IN, 0).unwrap();
    for data in [0, 1, u64::MAX, i64::MIN as u64, 0x0123_4567_89ab_cdef, !0x0123_4567_89ab_cdef] {
        epoll.modify(&ep, &fd, IN, data).unwrap();
        assert_eq!(epoll.ready(&ep), [event(IN, data)]);
    }
}

fn there_is_one_event_for_each_registration(epoll: Epoll) {
    let (ep, (one, other)) = (epoll.create(), sockets::unix_pair(libc::SOCK_STREAM).unwrap());
    epoll.add(&ep, &one, IN | OUT | RDHUP, 1).unwrap();
    sys::write(other.as_raw_fd(), b"!").unwrap();
    sys::write(other.as_raw_fd(), b"!").unwrap();
    sockets::shutdown(other.as_raw_fd(), libc::SHUT_WR).unwrap();
    assert_eq!(epoll.ready(&ep), [event(IN | OUT | RDHUP, 1)]);
}

fn only_what_was_asked_for_is_reported(epoll: Epoll) {
    let (one, other) = sockets::unix_pair(libc::SOCK_STREAM).unwrap();
    sys::write(other.as_raw_fd(), b"!").unwrap();
    sockets::shutdown(other.as_raw_fd(), libc::SHUT_WR).unwrap();
    assert_eq!(epoll.state(&one, IN), IN);
    assert_eq!(epoll.state(&one, OUT), OUT);
    assert_eq!(epoll.state(&one, PRI), 0);
    assert_eq!(epoll.state(&one, RDHUP), RDHUP);
    drop(other);
    assert_eq!(epoll.state(&one, 0), HUP);
    let (read, write) = sys::pipe().unwrap();
    drop(read);
    assert_eq!(epoll.state(&write, 0), ERR);
}

fn rdnorm_and_wrnorm_are_bits_of_their_own(epoll: Epoll) {
    let (one, other) = sockets::unix_pair(libc::SOCK_STREAM).unwrap();
    sys::write(other.as_raw_fd(), b"!").unwrap();
    assert_eq!(epoll.state(&one, RDNORM), RDNORM);
    assert_eq!(epoll.state(&one, WRNORM), WRNORM);
    assert_eq!(epoll.state(&one, IN | RDNORM), IN | RDNORM);
    assert_eq!(epoll.state(&one, IN | OUT), IN | OUT);
}

fn the_bits_that_are_options_are_never_reported(epoll: Epoll) {
    for option in
        [ET, ONESHOT, WAKEUP, ET | ONESHOT | WAKEUP, kq_core::test_support::epoll::EXCLUSIVE]
    {
        let (ep, fd) = (epoll.create(), sys::eventfd(1).unwrap());
        epoll.add(&ep, &fd, IN | OUT | option, 1).unwrap();
        assert_eq!(epoll.ready(&ep), [event(IN | OUT, 1)], "{option:#x}");
    }
}

fn events_must_be_in_the_users_part_of_memory(epoll: Epoll) {
    let ep = epoll.create();
    let nothing: Vec<Event> = epoll.ready(&ep);
    assert_eq!(nothing, []);
    for address in [1_usize << 63, usize::MAX - 11, 0xffff_8000_0000_0000_u64 as usize] {
        let result = epoll.0.epoll_wait(ep.as_raw_fd(), without_provenance_mut(address), 1, 0);
        assert_eq!(result, Err(Errno::EFAULT), "{address:#x}");
    }
}
