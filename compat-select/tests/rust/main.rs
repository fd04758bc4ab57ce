//! compat_select against the kernel's own select, under each policy: in a program that tells nobody of
//! its closes, and in one that tells the engine of each.
//!
//! The long form of the random programs:
//! `KQCOMPAT_CASES=50000 cargo test --release -p compat-select --test rust -- random`.

mod api;

use std::process::ExitCode;

use kq_core::hooks::all_closes_are_told;
use kq_core::rules;
use kq_core::test_support::bitmaps::{bits, kernel_select};
use kq_core::test_support::defences::{leaving, unhooked, untold};
use kq_core::test_support::harness::{Rule, Suite};
use kq_core::test_support::preload::add_rules_in_process;
use kq_core::test_support::select_rules;
use kq_core::test_support::sets::{Call, Pair, Promise, compare_programs};
use kq_core::test_support::watched::Ask;

use api::{ask, pselect, select};

const UNTOLD: &[Rule<Ask>] = rules![random equals_the_kernel_in_the_end,];
const TOLD: &[Rule<Ask>] = rules![random equals_the_kernel,];

fn main() -> ExitCode {
    let mut suite = Suite::new();
    add_rules_in_process(
        &mut suite,
        "untold",
        || {},
        ask as Ask,
        &[UNTOLD, untold::RULES, unhooked::RULES, leaving::RULES],
    );
    add_rules_in_process(
        &mut suite,
        "told",
        all_closes_are_told,
        ask as Ask,
        &[TOLD, leaving::RULES],
    );
    add_rules_in_process(&mut suite, "untold", || {}, api::API, &[select_rules::RULES]);
    suite.run()
}

fn pair(ask: Call, promise: Promise) -> Pair {
    Pair { kernel: kernel_select, ask, count: bits, promise }
}

fn equals_the_kernel(_: Ask) {
    compare_programs(
        40,
        &[select as Call, pselect].map(|call| pair(call, Promise::WHERE_CLOSES_ARE_TOLD)),
    );
}

fn equals_the_kernel_in_the_end(_: Ask) {
    compare_programs(40, &[select as Call, pselect].map(|call| pair(call, Promise::Late)));
}
