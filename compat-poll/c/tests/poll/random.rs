//! Random programs: each answer of the library beside the kernel's own.

use kq_core::rules;
use kq_core::test_support::harness::Rule;
use kq_core::test_support::sets::{
    Call, Pair, Promise, c_poll, c_ppoll, compare_programs, entries, kernel_poll,
};
use kq_core::test_support::watched::Ask;

pub(crate) const RULES: &[Rule<Ask>] = rules![random equals_the_kernel,];

fn equals_the_kernel(_: Ask) {
    let kernel = kernel_poll;
    let pair =
        |ask: Call| Pair { kernel, ask, count: entries, promise: Promise::WHERE_CLOSES_ARE_TOLD };
    // What is late is waited for.
    let cases = if cfg!(kqcompat_native) { 20 } else { 150 };
    compare_programs(cases, &[pair(c_poll), pair(c_ppoll)]);
}
