//! Group I: several threads wait.

use std::os::fd::{AsRawFd, OwnedFd};

use kq_core::test_support::harness::Rule;
use kq_core::test_support::threads::Background;
use kq_core::test_support::{signals, sys};
use nix::errno::Errno;

use kq_core::test_support::epoll::{ET, EXCLUSIVE, Epoll, Event, IN, ONESHOT, event};

pub(crate) const RULES: &[Rule<Epoll>] = kq_core::rules![
    I01 a_level_wakes_every_waiter,
    I02 an_edge_wakes_one_waiter,
    I03 a_oneshot_goes_to_one_waiter,
    I04 each_instance_wakes_its_waiter,
    I05 exclusive_instances_wake_one_waiter_at_least,
];

const WAITERS: usize = 4;

type Waiters = Vec<Background<Result<Vec<Event>, Errno>>>;

fn raise(fd: &OwnedFd) {
    sys::write(fd.as_raw_fd(), &1_u64.to_ne_bytes()).unwrap();
}

/// Several threads asleep in one instance that watches a counter.
fn in_one_instance(epoll: Epoll, events: u32) -> (OwnedFd, OwnedFd, Waiters) {
    let (ep, fd) = (epoll.create(), sys::eventfd(0).unwrap());
    epoll.add(&ep, &fd, events, 1).unwrap();
    let waiters = (0..WAITERS).map(|_| epoll.waiter(&ep)).collect();
    (ep, fd, waiters)
}

/// Waits until each has ended or sleeps, and joins those that have ended.
fn woken(waiters: &mut Waiters) -> Vec<Result<Vec<Event>, Errno>> {
    // A thread that has ended may have woken another on its way, so what was seen asleep before it
    // may be awake again: until nothing ends any more.
    let mut ended = 0;
    loop {
        let asleep = waiters.iter().filter(|waiter| waiter.wait_until_asleep()).count();
        if ended == waiters.len() - asleep {
            break;
        }
        ended = waiters.len() - asleep;
    }
    let (ended, asleep) = waiters.drain(..).partition(Background::is_finished);
    *waiters = asleep;
    let ended: Waiters = ended;
    ended.into_iter().map(Background::join).collect()
}

fn interrupt(waiters: Waiters) {
    signals::catch(libc::SIGUSR1, 0);
    for waiter in waiters {
        waiter.signal(libc::SIGUSR1);
        assert_eq!(waiter.join(), Err(Errno::EINTR));
    }
}

fn a_level_wakes_every_waiter(epoll: Epoll) {
    let (_ep, fd, waiters) = in_one_instance(epoll, IN);
    raise(&fd);
    for waiter in waiters {
        assert_eq!(waiter.join(), Ok(vec![event(IN, 1)]));
    }
}

fn an_edge_wakes_one_waiter(epoll: Epoll) {
    let (_ep, fd, mut waiters) = in_one_instance(epoll, IN | ET);
    for left in (0..WAITERS).rev() {
        raise(&fd);
        assert_eq!(woken(&mut waiters), [Ok(vec![event(IN, 1)])]);
        assert_eq!(waiters.len(), left);
    }
}

fn a_oneshot_goes_to_one_waiter(epoll: Epoll) {
    let (ep, fd, mut waiters) = in_one_instance(epoll, IN | ONESHOT);
    raise(&fd);
    assert_eq!(woken(&mut waiters), [Ok(vec![event(IN, 1)])]);
    raise(&fd);
    assert_eq!(woken(&mut waiters), []);
    epoll.modify(&ep, &fd, IN | ONESHOT, 2).unwrap();
    assert_eq!(woken(&mut waiters), [Ok(vec![event(IN, 2)])]);
    interrupt(waiters);
}

/// Several instances that watch one counter, with a thread asleep in each.
fn in_instances_of_their_own(epoll: Epoll, events: u32) -> (Vec<OwnedFd>, OwnedFd, Waiters) {
    let fd = sys::eventfd(0).unwrap();
    let instances: Vec<OwnedFd> = (0..WAITERS).map(|_| epoll.create()).collect();
    let waiters = instances.iter().map(|ep| {
        epoll.add(ep, &fd, events, 1).unwrap();
        epoll.waiter(ep)
    });
    let waiters = waiters.collect();
    (instances, fd, waiters)
}

fn each_instance_wakes_its_waiter(epoll: Epoll) {
    let (_instances, fd, waiters) = in_instances_of_their_own(epoll, IN);
    raise(&fd);
    for waiter in waiters {
        assert_eq!(waiter.join(), Ok(vec![event(IN, 1)]));
    }
}

fn exclusive_instances_wake_one_waiter_at_least(epoll: Epoll) {
    let (_instances, fd, mut waiters) = in_instances_of_their_own(epoll, IN | EXCLUSIVE);
    raise(&fd);
    let woken = woken(&mut waiters);
    assert!(!woken.is_empty());
    assert!(woken.iter().all(|result| *result == Ok(vec![event(IN, 1)])), "{woken:?}");
    interrupt(waiters);
}
