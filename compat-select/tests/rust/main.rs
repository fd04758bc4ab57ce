//! compat_select against the kernel's own select, under each policy: in a program that tells nobody of
//! its closes, and in one that tells the engine of each.
//!
//! The long form of the random programs:
//! `KQCOMPAT_CASES=50000 cargo test --release -p compat-select --test rust -- random`.

mod api;

use std::process::ExitCode;

use kq_core::test_support::bitmaps::{bits, kernel_select};
use kq_core::test_support::in_process::{Calls, suite};
use kq_core::test_support::preload::add_rules_in_process;
use kq_core::test_support::select_rules;

use api::{ask, pselect, select};

fn main() -> ExitCode {
    let calls = Calls { ask, arrays: [select, pselect], kernel: kernel_select, count: bits };
    let mut suite = suite(calls);
    add_rules_in_process(&mut suite, "untold", || {}, api::API, &[select_rules::RULES]);
    suite.run()
}
