//! `cargo xtask native`: the compat crates' tests on Linux over a native kqueue, which is our own
//! library: the cfg `kqcompat_native` puts core's native side on `kqueue` and `kevent` of
//! libkqcompat_kqueue; then once more with NetBSD's struct and numbers, by a library in between
//! (core/c/tests/c/netbsd.c). At the end libevent's suite, over each of the two.
//!
//! docs/native-differences.txt lists the tests that must fail there, each with its reason: one that
//! fails and is not listed is an error, and so is one that is listed and passes. Of libevent's none is
//! listed: what passes on the kernel's own calls must pass.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::run::cargo;

/// A test binary ([`UNIT`]: the package's own tests), and which of its tests: those with this in their
/// names.
struct Suite {
    layout: Layout,
    package: &'static str,
    test: &'static str,
    filter: &'static str,
}

/// Whose `struct kevent` lies between.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Layout {
    FreeBsd,
    NetBsd,
}

const fn suite(
    layout: Layout,
    package: &'static str,
    test: &'static str,
    filter: &'static str,
) -> Suite {
    Suite { layout, package, test, filter }
}

const UNIT: &str = "--lib";

const SUITES: [Suite; 19] = [
    suite(Layout::FreeBsd, "kq-core", UNIT, "native::"),
    suite(Layout::FreeBsd, "compat-epoll", "portable", ""),
    suite(Layout::FreeBsd, "compat-epoll", "rules", "compat::"),
    suite(Layout::FreeBsd, "compat-epoll", "nix_api", ""),
    suite(Layout::FreeBsd, "compat-epoll", "random", "what_is_common"),
    suite(Layout::FreeBsd, "compat-epoll", "objects", "compat::"),
    suite(Layout::FreeBsd, "compat-epoll-c", "library", "preloaded::"),
    suite(Layout::FreeBsd, "compat-epoll-c", "library", "native::"),
    suite(Layout::FreeBsd, "compat-epoll-c", "library", "c::cancel_linked"),
    suite(Layout::FreeBsd, "compat-poll", "rust", ""),
    suite(Layout::FreeBsd, "compat-poll", "nix_api", ""),
    suite(Layout::FreeBsd, "compat-poll-c", "poll", ""),
    suite(Layout::FreeBsd, "compat-select", "rust", ""),
    suite(Layout::FreeBsd, "compat-select-c", "select", ""),
    suite(Layout::NetBsd, "compat-epoll", "portable", ""),
    suite(Layout::NetBsd, "compat-epoll", "rules", "compat::"),
    suite(Layout::NetBsd, "compat-epoll", "objects", "compat::"),
    suite(Layout::NetBsd, "compat-poll", "rust", "untold::default"),
    suite(Layout::NetBsd, "compat-select", "rust", "untold::default"),
];

/// Why a test differs.
struct Listed {
    why: String,
    /// It is not run: it would wait for what does not come.
    left_out: bool,
    /// With NetBSD's numbers alone.
    netbsd: bool,
}

/// Runs all of it.
///
/// # Errors
/// If something cannot be built, or a test's result is not the one that is listed.
pub(crate) fn run() -> Result<()> {
    cargo(&["build", "--locked", "--package", "kq-core-c"], &[])?;
    build_netbsd()?;
    let listed = listed()?;
    for (name, Listed { why, .. }) in listed.iter().filter(|(_, listed)| listed.left_out) {
        println!("{name} is not run: {why}");
    }
    let mut wrong = Vec::new();
    for suite in &SUITES {
        let listed: BTreeMap<_, _> =
            listed.iter().filter(|(_, l)| suite.layout == Layout::NetBsd || !l.netbsd).collect();
        let (passed, failed) = results(suite, &listed)?;
        if passed.is_empty() {
            bail!("{} {}: no test has passed", suite.package, suite.test);
        }
        println!("{} {}: {} passed", suite.package, suite.test, passed.len());
        for name in &failed {
            match listed.get(&rule(name)) {
                Some(Listed { why, .. }) => println!("  {name} differs: {why}"),
                None => wrong.push(format!("{name} has failed")),
            }
        }
        let passed = passed.iter().filter(|name| listed.contains_key(&rule(name)));
        wrong.extend(passed.map(|name| format!("{name} is listed as different, and has passed")));
    }
    if !wrong.is_empty() {
        bail!("{}", wrong.join("\n"));
    }
    libevent()
}

/// libevent's suite: all of it over FreeBSD's struct, and over NetBSD's what CI runs on Linux.
fn libevent() -> Result<()> {
    cargo(&["build", "--release", "--locked", "--package", "kq-core-c"], &[])?;
    let beneath = target().join("release/libkqcompat_kqueue.so").display().to_string();
    let both = format!("{},{beneath}", netbsd().display());
    regress(&["--over", &beneath], &[])?;
    regress(
        &["--over", &both, "--tests", crate::ci::EVENT_LOOP],
        &[("KQCOMPAT_NATIVE_LAYOUT", "netbsd")],
    )
}

fn regress(args: &[&str], env: &[(&str, &str)]) -> Result<()> {
    // Most tests sleep.
    const ALL: [&str; 8] = [
        "run",
        "--release",
        "--locked",
        "--package=regress",
        "--",
        "--method=epoll,poll,select",
        "--backend=compat",
        "--jobs=40",
    ];
    cargo(&[&ALL, args].concat(), env)
}

/// What puts core on its native side.
const FORCED: &str = "--cfg kqcompat_native";

/// A test's name without its backend.
fn rule(name: &str) -> String {
    name.rsplit("::").next().unwrap_or(name).to_owned()
}

/// Reads the list: a test and why it differs, one a line; after a minus sign, a test that is not run;
/// after "netbsd:", one that differs with NetBSD's numbers alone.
fn listed() -> Result<BTreeMap<String, Listed>> {
    let path = crate::root().join("docs/native-differences.txt");
    let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    let lines = text.lines().filter(|line| !line.starts_with('#') && !line.trim().is_empty());
    lines
        .map(|line| {
            let (name, why) = line.split_once(' ').with_context(|| format!("no reason: {line}"))?;
            let of_all = name.trim_start_matches("netbsd:");
            let bare = of_all.trim_start_matches('-');
            let (netbsd, left_out) = (of_all != name, bare != of_all);
            Ok((bare.to_owned(), Listed { why: why.trim().to_owned(), left_out, netbsd }))
        })
        .collect()
}

/// The tests of one binary that passed, and those that failed.
fn results(
    suite: &Suite,
    listed: &BTreeMap<&String, &Listed>,
) -> Result<(Vec<String>, Vec<String>)> {
    let program = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(program);
    command.args(["test", "--locked", "--package", suite.package]);
    if suite.test != UNIT {
        command.arg("--test");
    }
    command.args([suite.test, "--"]);
    command.args([suite.filter].iter().filter(|filter| !filter.is_empty()));
    for (name, _) in listed.iter().filter(|(_, listed)| listed.left_out) {
        command.args(["--skip", name]);
    }
    let (beneath, between) = (target().join("debug/libkqcompat_kqueue.so"), netbsd());
    let libraries = std::env::join_paths([target().join("debug"), target().join("native")])?;
    command
        .current_dir(crate::root())
        .env("LD_LIBRARY_PATH", libraries)
        .env("CARGO_TARGET_DIR", target().join("native"))
        .env("RUSTFLAGS", FORCED);
    match suite.layout {
        Layout::FreeBsd => command.env("KQCOMPAT_NATIVE_LIB", beneath),
        Layout::NetBsd => {
            // In this order: the test's kevent is the one between, whose next is ours.
            let preload = format!("{}:{}", between.display(), beneath.display());
            command
                .env("KQCOMPAT_NATIVE_LIB", between)
                .env("KQCOMPAT_NATIVE_LAYOUT", "netbsd")
                .env(RUNNER, format!("env LD_PRELOAD={preload}"))
        }
    };
    let output = command.output().context("cannot start cargo")?;
    let text = String::from_utf8_lossy(&output.stdout);
    if !text.lines().any(|line| line.starts_with("test result:")) {
        bail!("{text}\n{}", String::from_utf8_lossy(&output.stderr));
    }
    let (mut passed, mut failed) = (Vec::new(), Vec::new());
    for line in text.lines() {
        let Some((name, result)) = line.strip_prefix("test ").and_then(|l| l.split_once("... "))
        else {
            continue;
        };
        let name = name.trim().to_owned();
        match result.trim() {
            "ok" => passed.push(name),
            "FAILED" => failed.push(name),
            _ => {}
        }
    }
    // What failed beside the list is shown in full.
    if failed.iter().any(|name| !listed.contains_key(&rule(name))) {
        println!("{text}");
    }
    Ok((passed, failed))
}

/// With what cargo starts a test.
const RUNNER: &str = if cfg!(target_arch = "aarch64") {
    "CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER"
} else {
    "CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUNNER"
};

/// The library with NetBSD's struct and numbers.
fn netbsd() -> PathBuf {
    target().join("native/libkqnetbsd.so")
}

fn build_netbsd() -> Result<()> {
    std::fs::create_dir_all(target().join("native"))?;
    let mut cc = Command::new(std::env::var_os("CC").unwrap_or_else(|| "cc".into()));
    cc.args(["-Wall", "-Wextra", "-shared", "-fPIC", "-I", "core/c/include", "-o"]);
    cc.arg(netbsd()).args(["core/c/tests/c/netbsd.c", "-ldl"]).current_dir(crate::root());
    if !cc.status().context("cannot start cc")?.success() {
        bail!("core/c/tests/c/netbsd.c cannot be built");
    }
    Ok(())
}

/// Where cargo puts what it builds.
fn target() -> PathBuf {
    let root = std::path::absolute(crate::root()).unwrap_or_else(|_| crate::root());
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from)
}
