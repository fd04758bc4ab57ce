//! Runs libevent's own regression suite, test by test, against the kernel's calls and against
//! kqcompat's, and names every test that passes on the one and not on the other.
//!
//! `docs/regress.md` tells how to read what it prints.

mod cli;
mod column;
mod compare;
mod interrupt;
mod launch;
mod libevent;
mod preload;
mod process;
mod programs;
mod progress;
mod prove;
mod report;
mod runner;
mod session;
mod suite;
mod workspace;

use std::process::ExitCode;

/// Nothing passes natively and fails here.
const EQUAL: u8 = 0;
/// At least one test passes natively and not here.
const DIFFERENT: u8 = 1;
/// The comparison could not be made: wrong usage, a missing tool, a library that is not used.
const FAILED: u8 = 2;

fn main() -> ExitCode {
    let cli = cli::parse();
    let outcome = match cli.command {
        Some(cli::Command::Run(run)) => launch::exec(&run).map(|never| match never {}),
        Some(cli::Command::Programs(programs)) => programs::run(&programs),
        Some(cli::Command::Build) => session::build().map(|()| 0),
        None => session::run(&cli.options),
    };
    match outcome {
        Ok(0) => ExitCode::from(EQUAL),
        Ok(_) => ExitCode::from(DIFFERENT),
        Err(error) => {
            eprintln!("regress: {error:#}");
            ExitCode::from(FAILED)
        }
    }
}
