//! Group B: instances that watch instances.

use kq_core::test_support::{harness::Rule, sys};
use nix::errno::Errno;

use kq_core::test_support::epoll::{Epoll, IN, event};

pub(crate) const RULES: &[Rule<Epoll>] = kq_core::rules![
    B16 a_cycle_is_refused,
    B17 five_levels_work_and_a_sixth_is_refused,
    B18 an_inner_instance_is_a_descriptor_like_others,
];

fn a_cycle_is_refused(epoll: Epoll) {
    let [a, b, c] = [(); 3].map(|()| epoll.create());
    epoll.add(&a, &b, IN, 0).unwrap();
    assert_eq!(epoll.add(&b, &a, IN, 0), Err(Errno::ELOOP));
    epoll.add(&b, &c, IN, 0).unwrap();
    assert_eq!(epoll.add(&c, &a, IN, 0), Err(Errno::ELOOP));
    assert_eq!(epoll.add(&c, &b, IN, 0), Err(Errno::ELOOP));
    epoll.delete(&b, &c).unwrap();
    assert_eq!(epoll.add(&c, &a, IN, 0), Ok(()));
}

fn five_levels_work_and_a_sixth_is_refused(epoll: Epoll) {
    let (read, write) = sys::pipe().unwrap();
    let levels = [(); 6].map(|()| epoll.create());
    epoll.add(&levels[0], &read, IN, 0).unwrap();
    for n in 1..5 {
        assert_eq!(epoll.add(&levels[n], &levels[n - 1], IN, n as u64), Ok(()), "level {n}");
    }
    let result = epoll.add(&levels[5], &levels[4], IN, 5);
    assert!(matches!(result, Err(Errno::ELOOP | Errno::EINVAL)), "{result:?}");
    sys::write(std::os::fd::AsRawFd::as_raw_fd(&write), b"!").unwrap();
    assert_eq!(epoll.ready(&levels[4]), [event(IN, 4)]);
}

fn an_inner_instance_is_a_descriptor_like_others(epoll: Epoll) {
    let [inner, one, two] = [(); 3].map(|()| epoll.create());
    let fd = sys::eventfd(1).unwrap();
    epoll.add(&inner, &fd, IN, 0).unwrap();
    epoll.add(&one, &inner, IN, 1).unwrap();
    assert_eq!(epoll.add(&one, &inner, IN, 9), Err(Errno::EEXIST));
    assert_eq!(epoll.add(&two, &inner, IN, 2), Ok(()));
    assert_eq!(epoll.ready(&one), [event(IN, 1)]);
    assert_eq!(epoll.ready(&two), [event(IN, 2)]);
}
