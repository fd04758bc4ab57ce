//! Every system call that the engine makes fails in turn with every errno it may give.
//!
//! A scenario is run once to see which calls it makes, then once for each call and each errno, in a
//! process of its own. Whatever fails, the caller gets that error, or the right answer; the same step
//! done again succeeds; nothing that was ready is lost; and at the end no descriptor is left.

mod descriptors;
mod queues;
mod run;
mod sets;

use std::process::ExitCode;

use kq_core::test_support::harness::Suite;

use run::Scenario;

fn main() -> ExitCode {
    let mut suite = Suite::new();
    for &(name, body) in descriptors::ALL.iter().chain(queues::ALL).chain(sets::ALL) {
        let scenario = Scenario { name, body };
        suite.add(name, move || scenario.run());
    }
    suite.run()
}
