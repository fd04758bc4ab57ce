//! compat_poll against the kernel's own poll, under each policy: in a program that tells nobody of its
//! closes, and in one that tells the engine of each.
//!
//! The long form of the random programs:
//! `KQCOMPAT_CASES=50000 cargo test --release -p compat-poll --test rust -- random`.

mod api;

use std::process::ExitCode;

use kq_core::test_support::in_process::{Calls, suite};
use kq_core::test_support::poll_rules;
use kq_core::test_support::preload::add_rules_in_process;
use kq_core::test_support::sets::{entries, kernel_poll};

use api::{ask, poll, ppoll};

fn main() -> ExitCode {
    let calls = Calls { ask, arrays: [poll, ppoll], kernel: kernel_poll, count: entries };
    let mut suite = suite(calls);
    add_rules_in_process(&mut suite, "untold", || {}, api::API, &[poll_rules::RULES]);
    suite.run()
}
