//! libkqcompat_epoll: the rules and the random programs with the library preloaded, what it exports, C programs that are
//! linked with it, and programs that know nothing of it.

#[path = "../../../tests/rules/groups.rs"]
mod groups;
#[path = "../../../tests/random/suite.rs"]
mod random;

mod backend;
mod c_programs;
mod exports;
mod programs;

use std::process::ExitCode;

use kq_core::test_support::harness::Suite;
use kq_core::test_support::{isolate, preload};

const LIBRARY: &str = "libkqcompat_epoll.so";
/// What a test's name begins with that runs with the library preloaded.
const PRELOADED: &str = "preloaded";

fn main() -> ExitCode {
    if isolate::asked_for().is_some_and(|test| test.starts_with(PRELOADED)) {
        preload::restart_with(LIBRARY);
    }
    let mut suite = Suite::new();
    for rules in groups::RULES.into_iter().chain([groups::old_kernel::RULES]) {
        suite.add_rules(PRELOADED, backend::LIBRARY, rules);
    }
    suite.add(format!("{PRELOADED}::calls_are_the_librarys"), exports::calls_are_the_librarys);
    suite.add(format!("{PRELOADED}::random_sequences"), || random::sequences(backend::LIBRARY));
    suite.add(format!("{PRELOADED}::random_threads"), || random::two_threads(backend::LIBRARY));
    exports::add(&mut suite);
    c_programs::add(&mut suite);
    #[cfg(kqcompat_native)]
    c_programs::add_native(&mut suite);
    programs::add(&mut suite);
    suite.run()
}
