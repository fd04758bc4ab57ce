//! Group A: making an instance.

use std::os::fd::AsRawFd;

use compat_epoll::EpollFlags;
use kq_core::test_support::{harness::Rule, sys};
use libc::c_int;
use nix::errno::Errno;

use kq_core::test_support::epoll::{Epoll, IN};

pub(crate) const RULES: &[Rule<Epoll>] = kq_core::rules![
    A01 size_is_ignored_but_must_be_positive,
    A02 only_the_flag_sets_close_on_exec,
    A03 any_other_flag_is_refused,
    A04 the_number_is_the_lowest_free_one,
    A04 no_number_left_is_emfile,
    A05 it_is_open_for_both_and_nonblocking_changes_nothing,
    A06 it_cannot_be_read_or_written,
    A07 the_event_has_the_kernels_size,
    A08 the_constants_are_the_kernels,
];

fn size_is_ignored_but_must_be_positive(epoll: Epoll) {
    for size in [1, 2, 1024, c_int::MAX] {
        sys::close(epoll.0.epoll_create(size).unwrap()).unwrap();
    }
    for size in [0, -1, c_int::MIN] {
        assert_eq!(epoll.0.epoll_create(size), Err(Errno::EINVAL), "{size}");
    }
}

fn only_the_flag_sets_close_on_exec(epoll: Epoll) {
    let close_on_exec = |fd| {
        let flags = sys::fcntl(fd, libc::F_GETFD, 0).unwrap();
        sys::close(fd).unwrap();
        flags == libc::FD_CLOEXEC
    };
    assert!(!close_on_exec(epoll.0.epoll_create(1).unwrap()));
    assert!(!close_on_exec(epoll.0.epoll_create1(0).unwrap()));
    assert!(close_on_exec(epoll.0.epoll_create1(libc::EPOLL_CLOEXEC).unwrap()));
}

fn any_other_flag_is_refused(epoll: Epoll) {
    for flags in [1, libc::O_NONBLOCK, libc::O_NONBLOCK | libc::EPOLL_CLOEXEC, -1, c_int::MIN] {
        assert_eq!(epoll.0.epoll_create1(flags), Err(Errno::EINVAL), "{flags:#x}");
    }
}

fn the_number_is_the_lowest_free_one(epoll: Epoll) {
    let (hole, _above) = (sys::eventfd(0).unwrap(), sys::eventfd(0).unwrap());
    let number = hole.as_raw_fd();
    drop(hole);
    let ep = epoll.create();
    assert_eq!(ep.as_raw_fd(), number);
    // What the engine keeps for a queue must not stand in the way of the program's next number.
    let next = sys::eventfd(0).unwrap();
    assert_eq!(next.as_raw_fd(), number + 2);
}

fn no_number_left_is_emfile(epoll: Epoll) {
    // The engine may need a number of its own for a moment; the first queue has got that over with.
    drop(epoll.create());
    let lowest = sys::eventfd(0).unwrap().as_raw_fd();
    let limit = sys::set_descriptor_limit(lowest as u64);
    assert_eq!(epoll.0.epoll_create1(0), Err(Errno::EMFILE));
    assert_eq!(epoll.0.epoll_create(1), Err(Errno::EMFILE));
    sys::set_descriptor_limit(limit);
    drop(epoll.create());
}

fn it_is_open_for_both_and_nonblocking_changes_nothing(epoll: Epoll) {
    let ep = epoll.create();
    let flags = sys::fcntl(ep.as_raw_fd(), libc::F_GETFL, 0).unwrap();
    assert_eq!(flags & libc::O_ACCMODE, libc::O_RDWR);
    sys::set_nonblocking(&ep);
    let event = sys::eventfd(0).unwrap();
    epoll.add(&ep, &event, IN, 1).unwrap();
    let waiter = epoll.waiter(&ep);
    sys::write(event.as_raw_fd(), &1_u64.to_ne_bytes()).unwrap();
    assert_eq!(waiter.join().unwrap().len(), 1);
}

fn it_cannot_be_read_or_written(epoll: Epoll) {
    let ep = epoll.create();
    assert_eq!(sys::read(ep.as_raw_fd(), 8), Err(Errno::EINVAL));
    assert_eq!(sys::write(ep.as_raw_fd(), &[0; 8]), Err(Errno::EINVAL));
}

fn the_event_has_the_kernels_size(_: Epoll) {
    let size = if cfg!(target_arch = "x86_64") { 12 } else { 16 };
    assert_eq!(size_of::<libc::epoll_event>(), size);
    assert_eq!(size_of::<compat_epoll::EpollEvent>(), size);
}

fn the_constants_are_the_kernels(_: Epoll) {
    let expected = [
        (EpollFlags::EPOLLIN, 1),
        (EpollFlags::EPOLLPRI, 2),
        (EpollFlags::EPOLLOUT, 4),
        (EpollFlags::EPOLLERR, 8),
        (EpollFlags::EPOLLHUP, 0x10),
        (EpollFlags::EPOLLRDNORM, 0x40),
        (EpollFlags::EPOLLRDBAND, 0x80),
        (EpollFlags::EPOLLWRNORM, 0x100),
        (EpollFlags::EPOLLWRBAND, 0x200),
        (EpollFlags::EPOLLMSG, 0x400),
        (EpollFlags::EPOLLRDHUP, 0x2000),
        (EpollFlags::EPOLLEXCLUSIVE, 1 << 28),
        (EpollFlags::EPOLLWAKEUP, 1 << 29),
        (EpollFlags::EPOLLONESHOT, 1 << 30),
        (EpollFlags::EPOLLET, 1 << 31),
    ];
    for (flag, bits) in expected {
        assert_eq!(flag.bits() as u32, bits, "{flag:?}");
    }
    assert_eq!((libc::EPOLL_CTL_ADD, libc::EPOLL_CTL_DEL, libc::EPOLL_CTL_MOD), (1, 2, 3));
    assert_eq!(libc::EPOLL_CLOEXEC, libc::O_CLOEXEC);
}
