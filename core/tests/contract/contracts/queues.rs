//! A queue beside, inside and outside of others.

use std::os::fd::{AsRawFd, RawFd};

use kq_core::EventFilter::EVFILT_READ;
use kq_core::{Errno, FilterFlag, KEvent, Kqueue, abi};

use super::changes::user_trigger;
use crate::fixture::*;
use crate::subjects::descriptor::owned;

pub(super) fn two_queues(fx: &mut Fixture) {
    let other = Kqueue::new().unwrap();
    fx.apply(ADD | CLEAR).unwrap();
    apply(&other, &[fx.change(ADD | DISPATCH, 2)]).unwrap();
    silent(&other);
    fx.subject.trigger(&[&*fx.kq, &other]);
    assert_eq!(fx.one().udata(), UDATA);
    assert_eq!(fx.one_of(&other).udata(), 2);
    fx.silent();
    silent(&other);
    apply(&other, &[fx.change(ENABLE, 3)]).unwrap();
    fx.silent();
}

pub(super) fn delete_in_one_queue(fx: &mut Fixture) {
    let other = Kqueue::new().unwrap();
    fx.trigger();
    fx.apply(ADD).unwrap();
    apply(&other, &[fx.change(ADD, 2)]).unwrap();
    fx.apply(DELETE).unwrap();
    fx.silent();
    assert_eq!(fx.one_of(&other).udata(), 2);
}

pub(super) fn one_slot_starves_nobody(fx: &mut Fixture) {
    fx.trigger();
    fx.apply(ADD).unwrap();
    apply(&fx.kq, &[user_trigger()]).unwrap();
    let (mut ours, mut user) = (0, 0);
    for _ in 0..20 {
        let events = take(&fx.kq, 1, NOW);
        match events[0].udata() {
            UDATA => ours += 1,
            _ => user += 1,
        }
    }
    assert!(ours >= 8 && user >= 8, "{ours} and {user}");
}

pub(super) fn polled_from_outside(fx: &mut Fixture) {
    fx.apply(ADD).unwrap();
    for _ in 0..2 {
        assert!(!poll(&fx.kq, 0));
        fx.trigger();
        assert!(poll(&fx.kq, 20_000));
        assert_eq!(ready(&fx.kq, libc::POLLOUT | libc::POLLIN, 0), libc::POLLIN);
        fx.apply(DISABLE).unwrap();
        assert!(!poll(&fx.kq, 0));
        fx.apply(ENABLE).unwrap();
        assert!(poll(&fx.kq, 20_000));
        fx.one();
        assert!(poll(&fx.kq, 20_000));
        fx.quench();
        assert!(!poll(&fx.kq, 0));
    }
    fx.trigger();
    fx.apply(DELETE).unwrap();
    assert!(!poll(&fx.kq, 0));
}

pub(super) fn nested(fx: &mut Fixture) {
    let outer = Kqueue::new().unwrap();
    let inner = fx.kq.as_raw_fd() as usize;
    let watch = KEvent::new(inner, EVFILT_READ, ADD, FilterFlag::empty(), 0, 0);
    apply(&outer, &[watch]).unwrap();
    fx.apply(ADD).unwrap();
    silent(&outer);
    fx.trigger();
    for _ in 0..2 {
        let events = take(&outer, 4, LONG);
        assert_eq!((events.len(), events[0].ident()), (1, inner));
        assert!(events[0].data() >= 1);
        fx.one();
    }
    fx.quench();
    silent(&outer);
    fx.trigger();
    fx.apply(DELETE).unwrap();
    silent(&outer);
}

pub(super) fn nested_in_epoll(fx: &mut Fixture) {
    // SAFETY: takes no pointer.
    let set = owned(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) });
    let mut event = libc::epoll_event { events: libc::EPOLLIN as u32, u64: 9 };
    // SAFETY: one event.
    let added = unsafe {
        libc::epoll_ctl(set.as_raw_fd(), libc::EPOLL_CTL_ADD, fx.kq.as_raw_fd(), &mut event)
    };
    assert_eq!(added, 0);
    fx.trigger();
    fx.apply(ADD).unwrap();
    // SAFETY: room for one event.
    assert_eq!(unsafe { libc::epoll_wait(set.as_raw_fd(), &mut event, 1, 20_000) }, 1);
    fx.apply(DISABLE).unwrap();
    // SAFETY: as above.
    assert_eq!(unsafe { libc::epoll_wait(set.as_raw_fd(), &mut event, 1, 0) }, 0);
}

pub(super) fn fork(fx: &mut Fixture) {
    fx.apply(ADD).unwrap();
    // SAFETY: the child makes calls that neither lock nor allocate before they fail, and leaves.
    unsafe {
        let child = libc::fork();
        if child == 0 {
            let change = fx.change(ADD, 1);
            let mut events = [blank()];
            let bad = fx.kq.kevent(&[change], &mut events, NOW) == Err(Errno::EBADF)
                && fx.kq.kevent(&[], &mut events, NOW) == Err(Errno::EBADF);
            libc::_exit(if bad { 0 } else { 1 });
        }
        let mut status = 0;
        assert_eq!(libc::waitpid(child, &mut status, 0), child);
        assert_eq!(status, 0);
    }
    fx.silent();
    fx.trigger();
    fx.one();
}

pub(super) fn closed_queue_is_no_queue(fx: &mut Fixture) {
    let kq = abi::kqueue(0).unwrap();
    let number = free_number();
    // SAFETY: puts the queue at a number of ours.
    assert_eq!(unsafe { libc::dup2(kq, number) }, number);
    let add = [fx.change(ADD, 1)];
    assert_eq!(kevent(number, &add, &mut []), Ok(0));
    close(kq);
    assert_eq!(kevent(number, &add, &mut []), Ok(0));
    close(number);
    for closed in [number, -1] {
        assert_eq!(kevent(closed, &add, &mut []), Err(Errno::EBADF));
        assert_eq!(kevent(closed, &[], &mut [blank()]), Err(Errno::EBADF));
    }
    assert_eq!(abi::kqueue(!0), Err(Errno::EINVAL));
    fx.trigger();
    fx.silent();
}

/// kevent() by number, without waiting.
fn kevent(kq: RawFd, changes: &[KEvent], events: &mut [KEvent]) -> Result<usize, Errno> {
    let (n, room) = (changes.len() as i32, events.len() as i32);
    let now = NOW.unwrap();
    // SAFETY: two slices.
    unsafe { abi::kevent::<abi::RawWait>(kq, changes.as_ptr(), n, events.as_mut_ptr(), room, &now) }
}

/// As the hooks of the C libraries close.
fn close(fd: RawFd) {
    abi::closing(fd);
    kq_core::raw::close(fd).unwrap();
}

pub(super) fn duplicates(fx: &mut Fixture) {
    fx.trigger();
    let made = abi::kqueue(0).unwrap();
    let [first, second, third] = std::array::from_fn(|_| free_number());
    // SAFETY: puts the queue at a number of ours.
    assert_eq!(unsafe { libc::dup2(made, first) }, first);
    let mut events = [blank(); 4];
    assert_eq!(kevent(first, &[fx.change(ADD, 1)], &mut []), Ok(0));
    close(made);
    for (from, to) in [(first, second), (second, third)] {
        // SAFETY: as above.
        assert_eq!(unsafe { libc::dup2(from, to) }, to);
        assert_eq!(kevent(to, &[], &mut events), Ok(1));
        fx.check(&events[0]);
    }
    assert_eq!(kevent(third, &[fx.change(DISABLE, 2)], &mut []), Ok(0));
    assert_eq!(kevent(first, &[], &mut events), Ok(0));
    for number in [first, third] {
        close(number);
        assert_eq!(kevent(number, &[], &mut events), Err(Errno::EBADF));
    }
    assert_eq!(kevent(second, &[fx.change(ENABLE, 3), user_trigger()], &mut []), Ok(0));
    assert_eq!(kevent(second, &[], &mut events), Ok(2));
    close(second);
    assert_eq!(kevent(second, &[], &mut events), Err(Errno::EBADF));

    // Another epoll set is no queue of ours, nor is any other descriptor.
    // SAFETY: takes no pointer.
    let set = owned(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) });
    assert_eq!(kevent(set.as_raw_fd(), &[], &mut events), Err(Errno::EBADF));
    let file = std::fs::File::open("/dev/null").unwrap();
    assert_eq!(kevent(file.as_raw_fd(), &[], &mut events), Err(Errno::EBADF));
}
