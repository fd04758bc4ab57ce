//! What the shared library exports.

use std::ffi::CStr;
use std::process::Command;

use kq_core::test_support::harness::Suite;
use kq_core::test_support::preload::library_of;
use kq_core::test_support::{isolate, preload};

/// The symbols that the library exports.
const SYMBOLS: [&CStr; 6] = [
    c"epoll_create",
    c"epoll_create1",
    c"epoll_ctl",
    c"epoll_pwait",
    c"epoll_pwait2",
    c"epoll_wait",
];

/// That the tests under the preloaded library test it.
pub(crate) fn calls_are_the_librarys() {
    for symbol in SYMBOLS {
        let library = library_of(symbol).unwrap_or_default();
        assert!(library.ends_with(crate::LIBRARY), "{symbol:?} is {library:?}'s");
    }
}

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
