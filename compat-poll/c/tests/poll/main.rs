//! libkqcompat_poll, preloaded, against the kernel's own poll: each test under each policy.

mod random;

use std::process::ExitCode;

fn main() -> ExitCode {
    kq_core::test_support::preload::run("libkqcompat_poll.so", &[random::RULES])
}
