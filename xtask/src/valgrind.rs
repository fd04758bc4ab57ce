//! `cargo xtask valgrind`: the C programs that libkqcompat_kqueue's and libkqcompat_epoll's tests compile
//! and run, under valgrind's memcheck. An error ends a program with a status that its test refuses.
//!
//! `valgrind.supp` says what is no error, and why.

use anyhow::Result;

use crate::root;
use crate::run::{cargo, is_there};

/// # Errors
/// If a program fails, or does what valgrind calls an error.
pub(crate) fn run() -> Result<()> {
    if !is_there("valgrind") {
        return Ok(());
    }
    let suppressions = root().join("xtask/valgrind.supp");
    let valgrind = format!(
        "valgrind --quiet --error-exitcode=99 --fair-sched=yes --num-callers=40 --suppressions={}",
        suppressions.display()
    );
    let env = [("KQCOMPAT_UNDER", valgrind.as_str()), ("KQCOMPAT_CASES", "20")];
    cargo(&["test", "--locked", "--package=kq-core-c", "--test=programs"], &env)?;
    cargo(&["test", "--locked", "--package=compat-epoll-c", "--test=library", "--", "c::"], &env)
}
