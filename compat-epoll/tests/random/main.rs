//! Random programs on the kernel's epoll and on ours: every result, errno, event and datum must be
//! the same, and so must the descriptor numbers.
//!
//! `cargo test` runs some thousands. The long form:
//! `KQCOMPAT_CASES=100000 cargo test --release -p compat-epoll --test random`.
//! A failure names its `KQCOMPAT_SEED`, with which it comes again.

#[path = "../backend/mod.rs"]
mod backend;
mod mutants;
#[cfg(kqcompat_native)]
mod native;
#[path = "suite.rs"]
mod suite;

use std::process::ExitCode;

use kq_core::test_support::harness::Suite;

use backend::COMPAT;

fn main() -> ExitCode {
    let mut suite = Suite::new();
    #[cfg(kqcompat_native)]
    suite.add("what_is_common_gives_the_same_results", || native::sequences(COMPAT));
    suite.add("sequences_give_the_same_results", || suite::sequences(COMPAT));
    suite.add("two_threads_give_the_same_results", || suite::two_threads(COMPAT));
    suite.add("every_mutant_is_found", mutants::every_mutant_is_found);
    suite.run()
}
