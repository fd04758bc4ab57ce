//! Instances and queues whose numbers change hands, and instances that kevent() works on too.

#[path = "../backend/mod.rs"]
mod backend;

use std::os::fd::{AsRawFd, IntoRawFd, RawFd};
use std::process::ExitCode;

use backend::COMPAT;
use kq_core::test_support::epoll::{IN, KERNEL, OUT, event};
use kq_core::test_support::harness::Suite;
use kq_core::test_support::{signals, sys};
use kq_core::{EvFlags, EventFilter, FilterFlag, KEvent, Kqueue, abi, raw};
use nix::errno::Errno;

fn main() -> ExitCode {
    let mut suite = Suite::new();
    suite.add("an_instance_that_others_made_is_adopted", adopted);
    suite.add("a_number_that_was_a_kqueues_can_be_an_instances", kqueue_to_epoll);
    suite.add("a_number_that_was_an_instances_can_be_a_kqueues", epoll_to_kqueue);
    suite.add("a_kqueue_is_no_instance", no_instance);
    suite.add("a_kqueue_closed_unseen_keeps_its_number_from_dup2", closed_unseen);
    suite.add("a_child_sees_a_knote_of_its_parent_without_its_data", child);
    suite.add("one_knote_wakes_one_waiter_and_the_other_sleeps_on", || one_of_two(true));
    suite.add("so_does_the_first_knote_added_when_both_slept_already", || one_of_two(false));
    suite.add("a_wait_whose_knote_was_taken_does_not_end_early", taken_meanwhile);
    suite.run()
}

const USER: usize = 9;
const UDATA: u64 = 77;

fn user(flags: EvFlags, fflags: FilterFlag) -> KEvent {
    KEvent::new(USER, EventFilter::EVFILT_USER, flags, fflags, 0, UDATA as isize)
}

/// Applies changes to a queue by number.
fn change(kq: RawFd, changes: &[KEvent]) -> Result<usize, Errno> {
    let (count, none) = (changes.len() as i32, std::ptr::null_mut());
    // SAFETY: the slice is as long as said, and there is room for no event.
    unsafe { abi::kevent::<abi::RawWait>(kq, changes.as_ptr(), count, none, 0, std::ptr::null()) }
}

fn add_user(kq: RawFd) {
    change(kq, &[user(EvFlags::EV_ADD | EvFlags::EV_CLEAR, FilterFlag::empty())]).unwrap();
}

fn trigger(kq: RawFd) {
    change(kq, &[user(EvFlags::empty(), FilterFlag::NOTE_TRIGGER)]).unwrap();
}

fn adopted() {
    let (made, fd) = (KERNEL.create(), sys::eventfd(1).unwrap());
    assert_eq!(COMPAT.ready(&made), []);
    COMPAT.add(&made, &fd, IN, 1).unwrap();
    assert_eq!(COMPAT.ready(&made), [event(IN, 1)]);
    assert_eq!(KERNEL.modify(&made, &fd, OUT, 2), Ok(()));
    assert_eq!(COMPAT.ready(&made), [event(OUT, 2)]);
    assert_eq!(COMPAT.delete(&made, &fd), Ok(()));
}

/// The number of a queue that was closed by a system call, which nobody saw.
fn number_of_a_closed_kqueue() -> RawFd {
    let kq = abi::kqueue(0).unwrap();
    add_user(kq);
    raw::close(kq).unwrap();
    kq
}

fn kqueue_to_epoll() {
    let fd = sys::eventfd(1).unwrap();
    // By epoll_create.
    let number = number_of_a_closed_kqueue();
    let ep = COMPAT.create();
    assert_eq!(ep.as_raw_fd(), number);
    COMPAT.add(&ep, &fd, IN, 1).unwrap();
    assert_eq!(COMPAT.ready(&ep), [event(IN, 1)]);
}

fn epoll_to_kqueue() {
    let number = COMPAT.create().into_raw_fd();
    sys::close(number).unwrap();
    let kq = Kqueue::new().unwrap();
    assert_eq!(kq.as_raw_fd(), number);
    kq.kevent(
        &[user(EvFlags::EV_ADD | EvFlags::EV_CLEAR, FilterFlag::NOTE_TRIGGER)],
        &mut [],
        None,
    )
    .unwrap();
    let mut events = [KEvent::default(); 2];
    kq.kevent(&[user(EvFlags::empty(), FilterFlag::NOTE_TRIGGER)], &mut [], None).unwrap();
    assert_eq!(kq.kevent(&[], &mut events, None), Ok(1));
    assert_eq!(events[0].ident(), USER);
}

fn no_instance() {
    let (kq, fd) = (Kqueue::new().unwrap(), sys::eventfd(1).unwrap());
    let number = kq.as_raw_fd();
    assert_eq!(COMPAT.add(&number, &fd, IN, 1), Err(Errno::EINVAL));
    assert_eq!(COMPAT.wait_on(number, 1, -1), Err(Errno::EINVAL));
}

/// `before`: there is a knote when the waits begin.
fn one_of_two(before: bool) {
    let ep = COMPAT.create();
    if before {
        add_user(ep.as_raw_fd());
    }
    let waiters = [COMPAT.waiter(&ep), COMPAT.waiter(&ep)];
    if !before {
        assert_eq!(waiters.each_ref().map(|waiter| waiter.wait_until_asleep()), [true; 2]);
        add_user(ep.as_raw_fd());
    }
    trigger(ep.as_raw_fd());
    let asleep = loop {
        let asleep = waiters.each_ref().map(|waiter| waiter.wait_until_asleep());
        if asleep != [true; 2] {
            break waiters.each_ref().map(|waiter| waiter.wait_until_asleep());
        }
    };
    signals::catch(libc::SIGUSR1, 0);
    for (waiter, asleep) in waiters.into_iter().zip(asleep) {
        if asleep {
            waiter.signal(libc::SIGUSR1);
            assert_eq!(waiter.join(), Err(Errno::EINTR));
        } else {
            assert_eq!(waiter.join(), Ok(vec![event(IN, UDATA)]));
        }
    }
    assert_ne!(asleep, [true; 2]);
    assert_ne!(asleep, [false; 2], "one event, two waiters that returned");
    change(ep.as_raw_fd(), &[user(EvFlags::EV_DELETE, FilterFlag::empty())]).unwrap();
    kq_core::readiness::closed(ep.as_raw_fd());
}

/// Many rounds of it, with a timeout: whoever finds the knote taken goes on waiting for what is left
/// of his time.
fn taken_meanwhile() {
    const MS: i32 = 40;
    let ep = COMPAT.create();
    add_user(ep.as_raw_fd());
    for _ in 0..20 {
        let epfd = ep.as_raw_fd();
        let wait = move || {
            let start = sys::monotonic_ns();
            // What was put there and taken away again may be left behind the events.
            let mut events = [libc::epoll_event { events: 0, u64: 0 }; 4];
            let count = COMPAT.0.epoll_wait(epfd, events.as_mut_ptr(), 4, MS);
            let events =
                count.map(|n| events[..n].iter().map(|e| event(e.events, e.u64)).collect());
            (events, sys::monotonic_ns() - start)
        };
        let waiters = [(); 3].map(|()| std::thread::spawn(wait));
        std::thread::sleep(std::time::Duration::from_millis(5));
        trigger(epfd);
        let results = waiters.map(|waiter| waiter.join().unwrap());
        let took_it = results.iter().filter(|(result, _)| *result == Ok(vec![event(IN, UDATA)]));
        assert_eq!(took_it.count(), 1, "{results:?}");
        for (result, took) in results {
            let early = took < i64::from(MS) * 1_000_000;
            assert!(result != Ok(vec![]) || !early, "nothing after {took} ns");
        }
    }
    kq_core::readiness::closed(ep.as_raw_fd());
}

/// A deviation.
fn closed_unseen() {
    let (ep, fd) = (COMPAT.create(), sys::eventfd(1).unwrap());
    COMPAT.add(&ep, &fd, IN, 1).unwrap();
    let number = number_of_a_closed_kqueue();
    sys::dup2(ep.as_raw_fd(), number).unwrap();
    assert_eq!(COMPAT.wait_on(number, 8, 0), Err(Errno::EINVAL));
    // Whoever says so is believed.
    kq_core::readiness::closed(number);
    assert_eq!(COMPAT.wait_on(number, 8, 0), Ok(vec![event(IN, 1)]));
    sys::close(number).unwrap();
}

/// A deviation.
fn child() {
    let (ep, fd) = (COMPAT.create(), sys::eventfd(1).unwrap());
    let epfd = ep.as_raw_fd();
    COMPAT.add(&ep, &fd, IN, 1).unwrap();
    add_user(epfd);
    trigger(epfd);
    let looks = || match COMPAT.wait_on(epfd, 8, 0).as_deref() {
        Ok([one, two]) if *one == event(IN, 1) && two.events == IN && two.data != UDATA => 0,
        other => {
            eprintln!("{other:?}");
            1
        }
    };
    assert_eq!(sys::in_child(looks), 0);
    assert_eq!(COMPAT.ready(&ep), [event(IN, 1), event(IN, UDATA)]);
    kq_core::readiness::closed(epfd);
}
