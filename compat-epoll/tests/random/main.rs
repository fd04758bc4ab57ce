//! Random programs on the kernel's epoll and on ours: every result, errno, event and datum must be
//! the same, and so must the descriptor numbers.
//!
//! `cargo test` runs some thousands. The long form:
//! `KQCOMPAT_CASES=100000 cargo test --release -p compat-epoll --test random`.
//! A failure names its `KQCOMPAT_SEED`, with which it comes again.

#[path = "../backend/mod.rs"]
mod backend;
mod concurrent;
mod mutants;
mod program;
mod run;
mod steps;

use std::process::ExitCode;

use kq_core::test_support::compare::{Plan, compare};
use kq_core::test_support::epoll::{Epoll, NATIVE};
use kq_core::test_support::harness::Suite;
use kq_core::test_support::isolate::tell;
use kq_core::test_support::{signals, world::Ground};

fn main() -> ExitCode {
    let mut suite = Suite::new();
    suite.add("sequences_give_the_same_results", || sequences(backend::COMPAT));
    suite.add("two_threads_give_the_same_results", || two_threads(backend::COMPAT));
    suite.add("every_mutant_is_found", mutants::every_mutant_is_found);
    suite.run()
}

/// One thread, and now and then a second one that waits.
pub(crate) fn sequences(tested: Epoll) {
    let ground = Ground::new();
    signals::catch(libc::SIGUSR1, 0);
    let plan = Plan::from_env(2000);
    let events = std::cell::Cell::new(0);
    let steps = compare(
        plan,
        program::programs(),
        |program| run::run(&ground, NATIVE, program),
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
fn two_threads(tested: Epoll) {
    let ground = Ground::new();
    let plan = Plan::from_env(500);
    let steps = compare(
        plan,
        concurrent::programs(),
        |program| concurrent::run(&ground, NATIVE, program),
        |program| concurrent::run(&ground, tested, program),
    );
    tell(&format!("{} programs of two threads, {steps} steps compared", plan.cases));
}
