//! The rules of epoll, each a test, on the kernel's calls and on ours: rule A01 is the first of
//! group A, and so on.

#[path = "../backend/mod.rs"]
mod backend;

mod a_create;
mod b_errors;
mod b_exclusive;
mod b_keys;
mod b_nesting;
mod c_results;
mod c_waits;
mod d_masks;
mod e_edges;
mod f_oneshot;
mod g_files;
mod g_pipes;
mod g_tcp;
mod g_unix;
mod h_nested;
mod i_threads;
mod l_errno;
mod old_kernel;

use std::process::ExitCode;

use kq_core::test_support::epoll::{self, Epoll};
use kq_core::test_support::harness::{Rule, Suite};
use kq_core::test_support::leak::LeakCheck;

use backend::COMPAT;

const GROUPS: [&[Rule<Epoll>]; 17] = [
    a_create::RULES,
    b_errors::RULES,
    b_exclusive::RULES,
    b_keys::RULES,
    b_nesting::RULES,
    c_results::RULES,
    c_waits::RULES,
    d_masks::RULES,
    e_edges::RULES,
    f_oneshot::RULES,
    g_files::RULES,
    g_pipes::RULES,
    g_tcp::RULES,
    g_unix::RULES,
    h_nested::RULES,
    i_threads::RULES,
    l_errno::RULES,
];

fn main() -> ExitCode {
    let mut suite = Suite::new();
    for rules in GROUPS {
        suite.add_rules("native", epoll::NATIVE, rules);
        suite.add_rules("compat", COMPAT, rules);
    }
    suite.add_rules("compat", COMPAT, old_kernel::RULES);
    suite.add("every_rule_has_a_test", every_rule_has_a_test);
    suite.add("a_leaked_descriptor_is_noticed", a_leaked_descriptor_is_noticed);
    suite.run()
}

/// Each test above is checked for leaks by the harness: does that see any?
fn a_leaked_descriptor_is_noticed() {
    let check = LeakCheck::start();
    let _leaked = COMPAT.create();
    assert!(std::panic::catch_unwind(|| check.finish()).is_err());
}

/// The groups that concern epoll, and how many rules each has.
fn every_rule_has_a_test() {
    let groups = [('A', 8), ('B', 28), ('C', 25), ('D', 4), ('E', 12), ('F', 5), ('G', 23)];
    let groups = groups.into_iter().chain([('H', 8), ('I', 5), ('L', 1)]);
    let all = groups.flat_map(|(group, count)| (1..=count).map(move |n| format!("{group}{n:02}")));
    let missing: Vec<String> =
        all.filter(|id| !GROUPS.iter().copied().flatten().any(|rule| rule.id == id)).collect();
    assert!(missing.is_empty(), "rules without a test: {missing:?}");
}
