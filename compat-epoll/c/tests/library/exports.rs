//! What the shared library exports.

use std::process::Command;

use kq_core::test_support::harness::Suite;
use kq_core::test_support::{isolate, preload};

use crate::backend::SYMBOLS;

pub(crate) fn add(suite: &mut Suite<'_>) {
    suite.add("it_exports_its_symbols_and_nothing_else", only_its_symbols);
}

fn only_its_symbols() {
    let library = preload::library(crate::LIBRARY);
    let nm = Command::new("nm").args(["--dynamic", "--defined-only"]).arg(library).output();
    let Ok(nm) = nm else { isolate::skip("nm (binutils) is not installed") };
    assert!(nm.status.success(), "{}", String::from_utf8_lossy(&nm.stderr));
    let listing = String::from_utf8(nm.stdout).expect("names are ASCII");
    // Address, type, name.
    let mut names: Vec<&str> = listing.lines().filter_map(|l| l.split(' ').next_back()).collect();
    names.sort_unstable();
    let mut expected = SYMBOLS.map(|name| name.to_str().expect("names are ASCII")).to_vec();
    expected.extend(["kqcompat_dump", "kqcompat_stats"]);
    assert_eq!(names, expected);
}
