//! `cargo xtask ci`: the steps of continuous integration. `.ci/run` installs what a fresh machine
//! lacks, and then does nothing else.

use std::time::Instant;

use anyhow::Result;
use clap::ValueEnum;

use crate::fuzz::Fuzz;
use crate::man;
use crate::readme;
use crate::run::{cargo, if_there};

/// One step.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Step {
    /// The libraries and tools, optimised
    Build,
    /// All tests
    Test,
    /// Programs that libFuzzer makes up, beside the kernel's own calls
    Fuzz,
    /// The compat crates' tests over a native kqueue
    Native,
    /// The C programs of the tests, under valgrind
    Valgrind,
    /// The formatting
    Fmt,
    /// The lints
    Clippy,
    /// The documentation, and its links
    Doc,
    /// The guide as a book, by mdbook
    Book,
    /// What the workspace depends on: licences, sources, bans, by cargo-deny
    Deny,
    /// The manual pages
    Man,
    /// That the crates which are published can be packed
    Package,
    /// What README.md says, from scratch in a fresh clone
    Readme,
    /// libevent's regression suite, on the kernel's calls and on ours
    Regress,
}

/// What of libevent's suite is about the event loop itself.
pub(crate) const EVENT_LOOP: &str = "main/,et/,signal/,bufferevent/,thread/,listener/,test-*";

impl Step {
    fn run(self) -> Result<()> {
        const WARNINGS: (&str, &str) = ("RUSTDOCFLAGS", "-D warnings");
        const CLIPPY: &[&str] =
            &["clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"];
        const REGRESS: &[&str] =
            &["run", "--release", "--locked", "--package", "regress", "--", "--tests", EVENT_LOOP];
        // Without building what was packed: in a folder that was used before, cargo takes the kq-core
        // that it packed there at that time.
        const PACKAGE: &[&str] = &[
            "package",
            "--quiet",
            "--no-verify",
            "--allow-dirty",
            "--locked",
            "--package=kq-core",
            "--package=compat-epoll",
            "--package=compat-poll",
            "--package=compat-select",
        ];
        const DENY: &[&str] = &["--locked", "--workspace", "check", "licenses", "bans", "sources"];
        const BOOK: &[&str] = &["build", "docs", "--dest-dir", "../target/book"];
        match self {
            Self::Build => cargo(&["build", "--release", "--workspace", "--locked"], &[]),
            Self::Test => cargo(&["test", "--workspace", "--locked"], &[]),
            Self::Fuzz => Fuzz::briefly().run(),
            Self::Native => crate::native::run(),
            Self::Valgrind => crate::valgrind::run(),
            Self::Fmt => cargo(&["fmt", "--all", "--check"], &[]),
            Self::Clippy => cargo(CLIPPY, &[]),
            Self::Doc => cargo(&["doc", "--workspace", "--no-deps", "--locked"], &[WARNINGS]),
            Self::Book => if_there("mdbook", BOOK),
            Self::Deny => if_there("cargo-deny", DENY),
            Self::Man => man::lint(),
            Self::Package => cargo(PACKAGE, &[]),
            Self::Readme => readme::run(&[]),
            Self::Regress => cargo(REGRESS, &[]),
        }
    }
}

/// Runs the steps that are named, or all.
///
/// # Errors
/// That of the first step that fails; later ones are not run.
pub(crate) fn run(steps: &[Step]) -> Result<()> {
    let steps = if steps.is_empty() { Step::value_variants() } else { steps };
    let began = Instant::now();
    for step in steps {
        println!("\n=== {step:?} ({} s)", began.elapsed().as_secs());
        step.run()?;
    }
    println!("\n=== Done ({} s)", began.elapsed().as_secs());
    Ok(())
}
