//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

#[cfg(target_os = "linux")]
use crate::ancestors::AncestorsArgs;
#[cfg(target_os = "linux")]
use crate::apachebench::ApachebenchArgs;
use crate::clock::Clock;
use crate::epoll_bench::EpollBenchArgs;
#[cfg(target_os = "linux")]
use crate::libevent::LibeventArgs;
#[cfg(target_os = "linux")]
use crate::micro::MicroArgs;
use crate::pipetest::PipetestArgs;
use crate::poll_table::PollTableArgs;
use crate::poller_bench::PollerArgs;
use crate::scale::ScaleArgs;
#[cfg(target_os = "linux")]
use crate::soak::SoakArgs;
use crate::suite::AllArgs;

/// Benchmarks of select, poll, epoll and kqueue: the kernel's own calls against kqcompat's.
///
/// Every value stands beside its native twin, measured in turns in the same run; what counts is
/// the median of the rounds' ratios. Ratios that end in x say how many times faster; plain ones
/// are parts of native's cost.
#[derive(Parser, Debug)]
#[command(name = "bench", version)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
    #[command(flatten)]
    pub(crate) common: Common,
}

/// What is measured, or done with earlier measurements.
#[derive(Subcommand, Debug)]
pub(crate) enum Command {
    /// Tokens passed through pipes, a batch at a time; traffic on the last pipes
    Pipetest(PipetestArgs),
    /// dkftpbench's Poller_bench: N socket pairs, k active
    Poller(PollerArgs),
    /// Dumazet's epoll_bench: one thread writes to random streams, one waits and reads
    EpollBench(EpollBenchArgs),
    /// What Linux's kevent and DragonFly's last stages promised, against plain epoll
    #[cfg(target_os = "linux")]
    Ancestors(AncestorsArgs),
    /// Threads that wait on one queue
    Scale(ScaleArgs),
    /// The cost of each primitive against native epoll's, with the targets
    #[cfg(target_os = "linux")]
    Micro(MicroArgs),
    /// poll and select at the cost of what is ready, with the targets
    PollTable(PollTableArgs),
    /// libevent's own bench and bench_cascade on each method and backend
    #[cfg(target_os = "linux")]
    Libevent(LibeventArgs),
    /// A real server, lighttpd, under each backend, with idle connections
    #[cfg(target_os = "linux")]
    Apachebench(ApachebenchArgs),
    /// Every one of the above with its defaults; `--minutes` says how long it may take
    All(AllArgs),
    /// Connections opened, used, reset and reopened at random, every byte accounted for
    #[cfg(target_os = "linux")]
    Soak(SoakArgs),
    /// What is measured in a process of its own (started by the others)
    #[cfg(target_os = "linux")]
    #[command(hide = true)]
    Probe,
    /// What compares with Linux's own calls, or puts libraries before others
    #[cfg(not(target_os = "linux"))]
    #[command(external_subcommand)]
    Elsewhere(Vec<String>),
    /// Draws the report, or its pictures, of results files
    Report(ReportArgs),
    /// What got faster or slower between two results files, beyond noise
    Compare(CompareArgs),
}

/// Numbers separated by commas: one place on the command line, one curve.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Numbers(pub(crate) Vec<usize>);

impl std::str::FromStr for Numbers {
    type Err = std::num::ParseIntError;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        s.split(',').map(|n| n.trim().parse()).collect::<Result<_, _>>().map(Self)
    }
}

/// Two results files.
#[derive(Args, Debug)]
pub(crate) struct CompareArgs {
    /// The earlier run (JSON)
    pub(crate) before: PathBuf,
    /// The later run (JSON)
    pub(crate) after: PathBuf,
    /// Changes below this many percent are not worth a line
    #[arg(long, default_value_t = 3.0)]
    pub(crate) percent: f64,
}

/// Results files and what to make of them.
#[derive(Args, Debug)]
pub(crate) struct ReportArgs {
    /// Results (JSON); of several, the benchmarks are put one after the other
    #[arg(required = true)]
    pub(crate) runs: Vec<PathBuf>,
    /// The report
    #[arg(short, long, value_name = "FILE", default_value = "report.html")]
    pub(crate) out: PathBuf,
    /// Writes each picture as an SVG file of its own into this directory too
    #[arg(long, value_name = "DIR")]
    pub(crate) pictures: Option<PathBuf>,
}

/// Options of every measurement.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "How to measure and what to do with it")]
pub(crate) struct Common {
    /// Measures each interface so many times [default: 9; 25 for figures to rely on]
    #[arg(long, global = true, value_name = "N")]
    pub(crate) rounds: Option<usize>,
    /// Length of one measurement of one interface
    #[arg(long, global = true, default_value_t = 4.0, value_name = "MS")]
    pub(crate) sample_ms: f64,
    /// Measures what does not wait by this clock
    #[arg(long, global = true, value_enum, default_value_t = Clock::Cpu)]
    pub(crate) clock: Clock,
    /// A few short rounds of small sizes: shows that it works, not how fast it is
    #[arg(long, global = true)]
    pub(crate) quick: bool,
    /// Runs on these CPUs only; two-sided benchmarks put one side on each
    #[arg(long, global = true, value_delimiter = ',', value_name = "LIST")]
    pub(crate) cpu: Vec<usize>,
    /// Only these interfaces beside the native ones (compat-poll, kqueue-c, ...)
    #[arg(long, global = true, value_delimiter = ',', value_name = "LIST")]
    pub(crate) interface: Vec<String>,
    #[cfg(target_os = "linux")]
    /// Another library that exports kqueue and kevent, to be put beside ours
    #[arg(long, global = true, value_name = "PATH")]
    pub(crate) lib: Vec<PathBuf>,
    #[cfg(target_os = "linux")]
    /// Where our C libraries are, instead of beside this program (they are not built then)
    #[arg(long, global = true, value_name = "DIR")]
    pub(crate) lib_dir: Option<PathBuf>,
    #[cfg(target_os = "linux")]
    /// Takes the C libraries as they are instead of having cargo bring them up to date
    #[arg(long, global = true)]
    pub(crate) no_build: bool,
    /// Writes the results as JSON, after each benchmark (`-`: standard output, at the end, instead
    /// of the tables)
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    /// Writes the report, after each benchmark: tables and plots in one file
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) html: Option<PathBuf>,
    /// Keeps the results in bench/results/, named by date, commit and benchmark
    #[arg(long, global = true)]
    pub(crate) save: bool,
    /// Adds to this results file, in the place of an earlier run of the same benchmark; `all` runs
    /// only what the file lacks. It must be of the same commit, machine and settings
    #[arg(long, global = true, value_name = "FILE", conflicts_with_all = ["json", "save"])]
    pub(crate) resume: Option<PathBuf>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_originals_parameters_are_taken_by_place() {
        let cli = Cli::parse_from(["bench", "pipetest", "10,20", "2", "50", "--bufsize", "64"]);
        let Command::Pipetest(args) = cli.command else { panic!("{cli:?}") };
        assert_eq!((args.pipes.0, args.threads, args.generations), (vec![10, 20], 2, 50));
        assert_eq!(args.bufsize, 64);
    }

    #[test]
    fn lists_are_numbers_between_commas() {
        assert_eq!("1, 20".parse::<Numbers>().unwrap().0, [1, 20]);
        assert!("1,,2".parse::<Numbers>().is_err());
        assert!("".parse::<Numbers>().is_err());
    }

    #[test]
    fn common_options_may_follow_the_subcommand() {
        let cli = Cli::parse_from(["bench", "scale", "2", "--quick", "--cpu", "0,1"]);
        assert!(cli.common.quick);
        assert_eq!(cli.common.cpu, [0, 1]);
    }
}
