//! What is compared, and how. (Named by a path wherever it is used, so that its modules lie beside it.)

mod concurrent;
pub(crate) mod program;
pub(crate) mod run;
mod steps;

use std::cell::Cell;

use kq_core::test_support::compare::{Plan, compare};
use kq_core::test_support::epoll::{Epoll, KERNEL};
use kq_core::test_support::isolate::tell;
use kq_core::test_support::{signals, world::Ground};

/// One thread, and now and then a second one that waits.
pub(crate) fn sequences(tested: Epoll) {
    let ground = Ground::new();
    signals::catch(libc::SIGUSR1, 0);
    let plan = Plan::from_env(2000);
    let events = Cell::new(0);
    let steps = compare(
        plan,
        program::programs(),
        |program| run::run(&ground, KERNEL, program),
        |program| {
            let results = run::run(&ground, tested, program);
            events.set(events.get() + run::events_in(&results));
            results
        },
    );
    let events = events.get();
    tell(&format!("{} programs, {steps} steps, {events} events compared", plan.cases));
    assert!(events > u64::from(plan.cases), "programs in which hardly anything happens");
}

/// Two threads at once on one instance, compared when both are done.
pub(crate) fn two_threads(tested: Epoll) {
    let ground = Ground::new();
    let plan = Plan::from_env(500);
    let steps = compare(
        plan,
        concurrent::programs(),
        |program| concurrent::run(&ground, KERNEL, program),
        |program| concurrent::run(&ground, tested, program),
    );
    tell(&format!("{} programs of two threads, {steps} steps compared", plan.cases));
}
