//! The commands that are repeated in this repository; `cargo xtask --help` lists them.

mod ci;
mod deb;
mod dist;
mod fuzz;
mod man;
mod native;
mod readme;
mod run;
mod valgrind;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// The commands that are repeated in this repository
#[derive(Debug, Parser)]
#[command(name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Does what continuous integration does: builds, tests, lints
    Ci {
        /// Only these steps, in this order [default: all]
        #[arg(value_name = "STEP")]
        steps: Vec<ci::Step>,
    },
    /// Lays libraries, headers, pkg-config files and manual pages under a prefix
    Dist(dist::Dist),
    /// Makes a Debian package of the same
    Deb(deb::Deb),
    /// Runs libFuzzer's programs beside the kernel's own calls
    Fuzz(fuzz::Fuzz),
    /// Checks the manual pages
    Man,
    /// Does what README.md says, from scratch in a fresh clone of what is committed
    Readme {
        /// Only these paths [default: all]
        #[arg(value_name = "NAME")]
        names: Vec<String>,
    },
    /// Runs the compat crates' tests over a native kqueue, which is our own library
    Native,
    /// Runs the C programs of the tests of libkqcompat_kqueue and libkqcompat_epoll under valgrind
    Valgrind,
}

fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Ci { steps } => ci::run(&steps),
        Command::Dist(dist) => dist.run(),
        Command::Deb(deb) => deb.run(),
        Command::Fuzz(fuzz) => fuzz.run(),
        Command::Man => man::lint(),
        Command::Readme { names } => readme::run(&names),
        Command::Native => native::run(),
        Command::Valgrind => valgrind::run(),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// The folder of the repository.
fn root() -> PathBuf {
    let ours = Path::new(env!("CARGO_MANIFEST_DIR"));
    ours.parent().expect("the package is a folder of the repository").to_owned()
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_sound() {
        super::Cli::command().debug_assert();
    }
}
