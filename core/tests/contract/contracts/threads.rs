//! Several threads at one queue.

use std::os::fd::RawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicIsize, Ordering};
use std::thread::scope;
use std::time::Duration;

use kq_core::{Errno, EvFlags, Kqueue, abi};

use crate::fixture::*;

/// Waits until `n` waits were begun on a queue since it was made, and likely sleep.
fn wait_for_waiters(kq: &Kqueue, n: u64) {
    while kq.counters().waits < n {
        std::thread::yield_now();
    }
    std::thread::sleep(Duration::from_millis(5));
}

/// Threads sleep in the queue without a timeout; each is to get an event after `act`.
fn wakes(fx: &mut Fixture, waiters: u64, act: impl FnOnce(&mut Fixture)) {
    let kq = Arc::clone(&fx.kq);
    scope(|threads| {
        let before = kq.counters().waits;
        let waiters: Vec<_> = (0..waiters).map(|_| threads.spawn(|| take(&kq, 1, LONG))).collect();
        wait_for_waiters(&kq, before + waiters.len() as u64);
        act(fx);
        for waiter in waiters {
            assert_eq!(waiter.join().unwrap().len(), 1, "a wake-up was lost");
        }
    });
}

pub(super) fn wakes_a_waiter(fx: &mut Fixture) {
    fx.apply(ADD).unwrap();
    wakes(fx, 1, Fixture::trigger);
}

pub(super) fn adding_wakes_a_waiter(fx: &mut Fixture) {
    fx.trigger();
    wakes(fx, 1, |fx| fx.apply(ADD).unwrap());
}

pub(super) fn enabling_wakes_a_waiter(fx: &mut Fixture) {
    fx.trigger();
    fx.apply(ADD | DISABLE).unwrap();
    wakes(fx, 1, |fx| fx.apply(ENABLE).unwrap());
}

pub(super) fn level_wakes_all_waiters(fx: &mut Fixture) {
    fx.apply(ADD).unwrap();
    wakes(fx, 4, Fixture::trigger);
}

pub(super) fn level_is_for_every_scan(fx: &mut Fixture) {
    fx.trigger();
    fx.apply(ADD).unwrap();
    scope(|threads| {
        for _ in 0..2 {
            threads.spawn(|| {
                for scan in 0..2000 {
                    assert_eq!(take(&fx.kq, 4, NOW).len(), 1, "scan {scan}");
                }
            });
        }
    });
}

/// How often one activity is delivered to many waiters.
fn deliveries(fx: &mut Fixture) -> usize {
    let kq = Arc::clone(&fx.kq);
    let woken = scope(|threads| {
        let before = kq.counters().waits;
        let waiters = (0..4).map(|_| threads.spawn(|| take(&kq, 4, millis(10)).len()));
        let waiters: Vec<_> = waiters.collect();
        while kq.counters().waits < before + 3 {
            std::thread::yield_now();
        }
        fx.trigger();
        waiters.into_iter().map(|waiter| waiter.join().unwrap()).sum::<usize>()
    });
    woken + take(&fx.kq, 4, NOW).len()
}

fn once_a_round(fx: &mut Fixture, first: EvFlags, again: Option<EvFlags>) {
    fx.apply(first).unwrap();
    for round in 0..25 {
        assert_eq!(deliveries(fx), 1, "round {round}");
        fx.silent();
        fx.quench();
        if let Some(again) = again {
            fx.apply(again).unwrap();
        }
        fx.silent();
    }
}

pub(super) fn dispatch_goes_to_one(fx: &mut Fixture) {
    once_a_round(fx, ADD | DISPATCH, Some(ENABLE));
}

pub(super) fn oneshot_goes_to_one(fx: &mut Fixture) {
    once_a_round(fx, ADD | ONESHOT, Some(ADD | ONESHOT));
}

pub(super) fn clear_goes_to_one(fx: &mut Fixture) {
    once_a_round(fx, ADD | CLEAR, None);
}

/// Rounds of `on` and `off`, each with the round as udata, while others wait: no wait that begins
/// after a round's `off` may return it.
fn races(fx: &mut Fixture, on: EvFlags, off: EvFlags) {
    fx.trigger();
    let (over, stop) = (AtomicIsize::new(0), AtomicBool::new(false));
    scope(|threads| {
        for _ in 0..3 {
            threads.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    let over = over.load(Ordering::Acquire);
                    for event in take(&fx.kq, 4, millis(1)) {
                        let of = event.udata();
                        assert!(of > over, "of round {of}, though round {over} was over");
                    }
                }
            });
        }
        for round in 1..=300 {
            fx.apply_with(on, round).unwrap();
            if round % 3 == 0 {
                std::thread::yield_now();
            }
            fx.apply_with(off, round).unwrap();
            over.store(round, Ordering::Release);
        }
        stop.store(true, Ordering::Relaxed);
    });
    fx.silent();
}

pub(super) fn delete_races_with_waiters(fx: &mut Fixture) {
    races(fx, ADD, DELETE);
}

pub(super) fn disable_races_with_waiters(fx: &mut Fixture) {
    fx.apply(ADD | DISABLE).unwrap();
    races(fx, ENABLE, DISABLE);
}

/// kevent() by number: closing a [`Kqueue`] that a thread waits on would not compile.
fn wait_at(kq: RawFd) -> Result<usize, Errno> {
    let (mut event, timeout) = (blank(), LONG.unwrap());
    // SAFETY: no changes, room for one event.
    unsafe { abi::kevent::<abi::RawWait>(kq, std::ptr::null(), 0, &mut event, 1, &timeout) }
}

pub(super) fn close_wakes_waiters(fx: &mut Fixture) {
    let kq = abi::kqueue(0).unwrap();
    let change = fx.change(ADD, 1);
    // SAFETY: one change, no events.
    let added = unsafe {
        abi::kevent::<abi::RawWait>(kq, &change, 1, std::ptr::null_mut(), 0, std::ptr::null())
    };
    assert_eq!(added, Ok(0));
    scope(|threads| {
        let waiters: Vec<_> = (0..3).map(|_| threads.spawn(|| wait_at(kq))).collect();
        while kq_core::readiness::counters_of(kq).unwrap().waits < 3 {
            std::thread::yield_now();
        }
        std::thread::sleep(Duration::from_millis(5));
        abi::closing(kq);
        kq_core::raw::close(kq).unwrap();
        for waiter in waiters {
            assert_eq!(waiter.join().unwrap(), Err(Errno::EBADF));
        }
    });
}
