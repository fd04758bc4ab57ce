//! `cargo xtask native`: the compat crates' tests on Linux over a native kqueue, which is our own
//! library: the cfg `kqcompat_native` puts core's native side on `kqueue` and `kevent` of
//! libkqcompat_kqueue.
//!
//! docs/native-differences.txt lists the tests that must fail there, each with its reason: one that
//! fails and is not listed is an error, and so is one that is listed and passes.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::run::cargo;

/// A test binary, and which of its tests: those with this in their names.
struct Suite {
    package: &'static str,
    test: &'static str,
    filter: &'static str,
}

const SUITES: [Suite; 4] = [
    Suite { package: "compat-epoll", test: "rules", filter: "compat::" },
    Suite { package: "compat-epoll", test: "nix_api", filter: "" },
    Suite { package: "compat-epoll", test: "random", filter: "what_is_common" },
    Suite { package: "compat-epoll-c", test: "library", filter: "preloaded::" },
];

/// Why a test differs.
struct Listed {
    why: String,
    /// It is not run: it would wait for what does not come.
    left_out: bool,
}

/// Runs all of it.
///
/// # Errors
/// If something cannot be built, or a test's result is not the one that is listed.
pub(crate) fn run() -> Result<()> {
    cargo(&["build", "--locked", "--package", "kq-core-c"], &[])?;
    let listed = listed()?;
    for (name, Listed { why, .. }) in listed.iter().filter(|(_, listed)| listed.left_out) {
        println!("{name} is not run: {why}");
    }
    let mut wrong = Vec::new();
    for suite in &SUITES {
        let (passed, failed) = results(suite, &listed)?;
        if passed.is_empty() {
            bail!("{} {}: no test has passed", suite.package, suite.test);
        }
        println!("{} {}: {} passed", suite.package, suite.test, passed.len());
        for name in &failed {
            match listed.get(rule(name)) {
                Some(Listed { why, .. }) => println!("  {name} differs: {why}"),
                None => wrong.push(format!("{name} has failed")),
            }
        }
        let passed = passed.iter().filter(|name| listed.contains_key(rule(name)));
        wrong.extend(passed.map(|name| format!("{name} is listed as different, and has passed")));
    }
    if wrong.is_empty() { Ok(()) } else { bail!("{}", wrong.join("\n")) }
}

/// A test's name without its backend.
fn rule(name: &str) -> &str {
    name.rsplit("::").next().unwrap_or(name)
}

/// Reads the list: a test and why it differs, one a line; after a minus sign, a test that is not run.
fn listed() -> Result<BTreeMap<String, Listed>> {
    let path = crate::root().join("docs/native-differences.txt");
    let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    let lines = text.lines().filter(|line| !line.starts_with('#') && !line.trim().is_empty());
    lines
        .map(|line| {
            let (name, why) = line.split_once(' ').with_context(|| format!("no reason: {line}"))?;
            let bare = name.trim_start_matches('-');
            let left_out = bare != name;
            Ok((bare.to_owned(), Listed { why: why.trim().to_owned(), left_out }))
        })
        .collect()
}

/// The tests of one binary that passed, and those that failed.
fn results(suite: &Suite, listed: &BTreeMap<String, Listed>) -> Result<(Vec<String>, Vec<String>)> {
    let program = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(program);
    command.args(["test", "--locked", "--package", suite.package, "--test", suite.test, "--"]);
    command.args([suite.filter].iter().filter(|filter| !filter.is_empty()));
    for (name, _) in listed.iter().filter(|(_, listed)| listed.left_out) {
        command.args(["--skip", name]);
    }
    let beneath = target().join("debug");
    command
        .current_dir(crate::root())
        .env("KQCOMPAT_NATIVE_LIB", beneath.join("libkqcompat_kqueue.so"))
        .env("LD_LIBRARY_PATH", &beneath)
        .env("CARGO_TARGET_DIR", target().join("native"))
        .env("RUSTFLAGS", "--cfg kqcompat_native");
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
    if failed.iter().any(|name| !listed.contains_key(rule(name))) {
        println!("{text}");
    }
    Ok((passed, failed))
}

/// Where cargo puts what it builds.
fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| crate::root().join("target"), PathBuf::from)
}
