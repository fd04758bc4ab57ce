//! Random programs: each answer of the library beside the kernel's own.

use std::cell::RefCell;

use kq_core::rules;
use kq_core::test_support::compare::{Plan, compare};
use kq_core::test_support::harness::Rule;
use kq_core::test_support::preload::{counter, counters, policy};
use kq_core::test_support::sets::{Answer, Place, Program, answers, kernel_poll, programs, run};
use kq_core::test_support::watched::Ask;
use libc::pollfd;
use nix::errno::Errno;

pub(crate) const RULES: &[Rule<Ask>] = rules![random equals_the_kernel,];

fn poll(fds: &mut [pollfd], timeout: i32) -> Answer {
    // SAFETY: the slice is borrowed mutably.
    let ready = unsafe { libc::poll(fds.as_mut_ptr(), fds.len() as libc::nfds_t, timeout) };
    (Errno::result(ready).map(|n| n as usize), answers(fds))
}

fn ppoll(fds: &mut [pollfd], timeout: i32) -> Answer {
    let time = libc::timespec { tv_sec: 0, tv_nsec: i64::from(timeout) * 1_000_000 };
    let time = if timeout < 0 { std::ptr::null() } else { &raw const time };
    // SAFETY: the slice is borrowed mutably; the time is null or ours.
    let ready =
        unsafe { libc::ppoll(fds.as_mut_ptr(), fds.len() as libc::nfds_t, time, std::ptr::null()) };
    (Errno::result(ready).map(|n| n as usize), answers(fds))
}

fn equals_the_kernel(_: Ask) {
    let place = Place::new();
    for ask in [poll, ppoll] {
        let got = RefCell::new(Vec::new());
        let both = |program: &Program| {
            let (expected, answers) = run(program, &place, kernel_poll, ask);
            *got.borrow_mut() = answers;
            expected
        };
        let plan = Plan::from_env(150);
        let steps = compare(plan, programs(), both, |_| got.take());
        println!("{}: {steps} calls, {}", policy(), counters());
    }
    // strict serves nothing where an entry is asked by number, as one mostly is here.
    match policy().as_str() {
        "default" | "register" => assert!(counter("served") > 0 && counter("reused") > 0),
        "off" => assert_eq!(counter("served"), 0),
        _ => {}
    }
}
