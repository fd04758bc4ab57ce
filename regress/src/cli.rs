//! The command line.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;
use std::{fs, io};

use clap::builder::PossibleValuesParser;
use clap::error::ErrorKind;
use clap::{Args, CommandFactory, Parser, Subcommand};

use crate::column::{Backend, METHODS, Policy, Wanted};

/// Runs libevent's own regression suite, test by test, against the kernel's calls and against
/// kqcompat's, and names every test that passes on the one and not on the other.
///
/// Needs cmake, a C compiler, make or ninja, and python3; the first run takes libevent's source
/// from the libevent-sys package that Cargo.lock names and builds it below target/.
///
/// The exit status is 0 if every test that passes natively passes here too, 1 if one does not,
/// and 2 if the comparison could not be made.
#[derive(Debug, Parser)]
#[command(name = "regress", version, args_conflicts_with_subcommands = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
    #[command(flatten)]
    pub(crate) options: Options,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Starts any program on the compat libraries
    Run(Run),
    /// Runs real programs, each with a load, on the kernel's calls and on ours
    Programs(Programs),
    /// Builds libevent's programs and prints where they are, as JSON; for `bench`, which runs
    /// libevent's own benchmarks
    #[command(hide = true)]
    Build,
}

/// What a comparison is made of.
#[derive(Debug, Clone, Args)]
pub(crate) struct Options {
    #[command(flatten)]
    columns: Columns,

    /// Run only these tests: a name (main/simpleread), a group (main/), a prefix (main/simple..)
    /// or a glob (http/*timeout*); a test that is off by default runs only if its name is given
    #[arg(long, value_name = "PATTERN", value_delimiter = ',')]
    pub(crate) tests: Vec<String>,

    /// Use this libevent source tree (2.1 or 2.2) instead of the bundled one; it is not written to
    #[arg(long, value_name = "DIR")]
    pub(crate) libevent: Option<PathBuf>,

    /// Build kqcompat's epoll, poll and select on a kqueue: that of the first library, which exports
    /// `kqueue` and `kevent`; all of them are loaded into the tests, in this order.
    /// `KQCOMPAT_NATIVE_LAYOUT` says whose struct it takes (`netbsd`; FreeBSD's if it is not set)
    #[arg(long, value_name = "LIBRARY", value_delimiter = ',', value_parser = library)]
    pub(crate) over: Vec<PathBuf>,

    /// Write the results as JSON
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,

    /// Write the results as JUnit XML
    #[arg(long, value_name = "FILE")]
    pub(crate) junit: Option<PathBuf>,

    /// Tests that run at the same time [default: 8 for each processor, 64 at most; most tests sleep]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    jobs: Option<u16>,

    /// Seconds after which libevent's test runner ends a test; twice that and we do
    #[arg(long, value_name = "SECONDS", default_value_t = 30,
          value_parser = clap::value_parser!(u16).range(1..))]
    timeout: u16,
}

#[derive(Debug, Clone, Args)]
struct Columns {
    /// Ways of waiting to run [default: epoll,poll,select]
    #[arg(long, value_name = "METHOD", value_delimiter = ',',
          value_parser = PossibleValuesParser::new(METHODS.iter().map(|m| m.name)))]
    method: Vec<String>,

    /// Who answers: the kernel, or kqcompat's libraries [default: both]
    #[arg(long, value_name = "BACKEND", value_delimiter = ',')]
    backend: Vec<Backend>,

    /// Settings of the poll and select libraries to run [default: default,register]
    #[arg(long, value_name = "POLICY", value_delimiter = ',')]
    policy: Vec<Policy>,
}

/// `regress run`.
#[derive(Debug, Clone, Args)]
pub(crate) struct Run {
    /// Who answers the program's calls
    #[arg(long, value_name = "BACKEND", default_value = "compat")]
    pub(crate) backend: Backend,

    /// Calls to replace [default: epoll, poll and select, as far as their libraries exist]
    #[arg(long, value_name = "METHOD", value_delimiter = ',',
          value_parser = PossibleValuesParser::new(METHODS.iter().map(|m| m.name)))]
    pub(crate) method: Vec<String>,

    /// Setting of the poll and select libraries
    #[arg(long, value_name = "POLICY")]
    pub(crate) policy: Option<Policy>,

    /// When the program exits, print what the libraries did, to standard error or to a file (as
    /// KQCOMPAT_STATS does; docs/seeing.md)
    #[arg(long, value_name = "FILE", num_args = 0..=1, require_equals = true,
          default_missing_value = "stderr")]
    pub(crate) stats: Option<PathBuf>,

    /// The program and its arguments
    #[arg(last = true, required = true, value_name = "CMD")]
    pub(crate) command: Vec<OsString>,
}

/// `regress programs`.
#[derive(Debug, Clone, Args)]
pub(crate) struct Programs {
    /// Run only these [default: all]; regress/programs has a script for each
    #[arg(value_name = "NAME")]
    pub(crate) names: Vec<String>,
}

impl Options {
    pub(crate) fn wanted(&self) -> Wanted {
        Wanted {
            methods: self.columns.method.clone(),
            backends: self.columns.backend.clone(),
            policies: self.columns.policy.clone(),
        }
    }

    pub(crate) fn jobs(&self) -> usize {
        self.jobs.map_or_else(
            || (8 * std::thread::available_parallelism().map_or(1, usize::from)).min(64),
            usize::from,
        )
    }

    pub(crate) fn timeout(&self) -> Duration {
        Duration::from_secs(self.timeout.into())
    }
}

/// A library's path, for the linker and the loader, which look from other folders.
fn library(path: &str) -> io::Result<PathBuf> {
    fs::canonicalize(path)
}

/// Reads the command line; on a mistake says what is right and ends the process.
pub(crate) fn parse() -> Cli {
    match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) if error.kind() == ErrorKind::UnknownArgument => {
            // clap offers a similar option if there is one; where there is none, the reader needs
            // them all.
            eprint!("{error}");
            eprintln!("\nThe options are {}.", option_names().join(", "));
            std::process::exit(2);
        }
        Err(error) => error.exit(),
    }
}

fn option_names() -> Vec<String> {
    let mut names: Vec<String> = Cli::command()
        .get_arguments()
        .filter_map(|arg| arg.get_long())
        .map(|long| format!("--{long}"))
        .collect();
    names.push("--help".to_owned());
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn lists_are_split_at_commas() {
        let cli = Cli::parse_from([
            "regress",
            "--method",
            "epoll,select",
            "--backend",
            "compat",
            "--tests",
            "main/,et/",
        ]);
        assert_eq!(cli.options.wanted().methods, ["epoll", "select"]);
        assert_eq!(cli.options.wanted().backends, [Backend::Compat]);
        assert_eq!(cli.options.tests, ["main/", "et/"]);
        assert!(cli.command.is_none());
    }

    #[test]
    fn run_keeps_the_programs_own_options() {
        let cli =
            Cli::parse_from(["regress", "run", "--backend", "compat", "--", "ls", "-l", "--help"]);
        let Some(Command::Run(run)) = cli.command else { panic!("no run") };
        assert_eq!(run.command, ["ls", "-l", "--help"]);
        assert_eq!(run.backend, Backend::Compat);
    }

    #[test]
    fn an_unknown_method_names_the_right_ones() {
        let error = Cli::try_parse_from(["regress", "--method", "epol"]).unwrap_err().to_string();
        for name in METHODS.iter().map(|m| m.name) {
            assert!(error.contains(name), "{name} is not in: {error}");
        }
    }

    #[test]
    fn all_options_are_named_to_who_mistakes_one() {
        let names = option_names();
        for name in
            ["--method", "--backend", "--tests", "--libevent", "--json", "--junit", "--jobs"]
        {
            assert!(names.iter().any(|n| n == name), "{name} is not in {names:?}");
        }
    }
}
