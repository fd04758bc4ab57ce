//! libkqcompat_select, preloaded, against the kernel's own select: each test under each policy.

mod random;

use std::process::ExitCode;

fn main() -> ExitCode {
    kq_core::test_support::preload::run("libkqcompat_select.so", &[random::RULES])
}
