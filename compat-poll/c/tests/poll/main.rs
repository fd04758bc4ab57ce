//! libkqcompat_poll, preloaded, against the kernel's own poll: each test under each policy.

mod random;

use std::process::ExitCode;

use kq_core::test_support::defences::{calls, closes, leaving};
use kq_core::test_support::preload::run;
use kq_core::test_support::watched::{Ask, Watched};

fn main() -> ExitCode {
    run(
        "libkqcompat_poll.so",
        Watched::poll as Ask,
        &[closes::RULES, calls::RULES, leaving::RULES, random::RULES],
    )
}
