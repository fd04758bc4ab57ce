//! libkqcompat_select, preloaded, against the kernel's own select: each test under each policy.

mod random;

use std::process::ExitCode;

use kq_core::test_support::defences::{calls, cancel, closes, kinds, leaving};
use kq_core::test_support::preload::{add_rules, run};
use kq_core::test_support::select_rules;
use kq_core::test_support::watched::{Ask, Watched};

fn main() -> ExitCode {
    run("libkqcompat_select.so", |suite| {
        let hooked = [closes::RULES, calls::RULES, kinds::RULES, cancel::RULES, leaving::RULES];
        // On a native kqueue nothing is hooked.
        let hooked = if cfg!(kqcompat_native) { &[] } else { &hooked[..] };
        add_rules(suite, Watched::select as Ask, hooked);
        add_rules(suite, Watched::select as Ask, &[random::RULES]);
        add_rules(suite, select_rules::C, &[select_rules::RULES]);
    })
}
