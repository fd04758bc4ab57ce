//! The rules of epoll, each a test, on the kernel's calls and on ours: rule A01 is the first of
//! group A, and so on.

#[path = "../backend/mod.rs"]
mod backend;

#[path = "groups.rs"]
mod groups;

use std::process::ExitCode;

use kq_core::test_support::epoll;
use kq_core::test_support::harness::Suite;
use kq_core::test_support::leak::LeakCheck;

use backend::COMPAT;

fn main() -> ExitCode {
    let mut suite = Suite::new();
    for rules in groups::RULES {
        suite.add_rules("native", epoll::NATIVE, rules);
        suite.add_rules("compat", COMPAT, rules);
    }
    suite.add_rules("compat", COMPAT, groups::old_kernel::RULES);
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
    let missing: Vec<String> = all
        .filter(|id| !groups::RULES.iter().copied().flatten().any(|rule| rule.id == id))
        .collect();
    assert!(missing.is_empty(), "rules without a test: {missing:?}");
}
