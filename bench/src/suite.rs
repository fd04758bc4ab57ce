//! `bench all`: every benchmark with its defaults, in the order in which they are worth having.

use anyhow::Result;
use clap::{Args, Parser};

use crate::bench_run;
use crate::cli::Cli;
use crate::ctx::Ctx;
use crate::model::Bench;
use crate::results::Results;

/// Minutes that the benchmarks take together with their own defaults, on two cores.
const WHOLE: f64 = 18.0;

/// Minutes that they are given.
const MINUTES: f64 = 15.0;

/// The benchmarks. What clap makes of the bare subcommand are its defaults.
#[cfg(target_os = "linux")]
pub(crate) const NAMES: [&str; 9] = [
    "pipetest",
    "poller",
    "epoll-bench",
    "ancestors",
    "scale",
    "micro",
    "poll-table",
    "libevent",
    "apachebench",
];

/// Those that need nothing of Linux's own.
#[cfg(not(target_os = "linux"))]
pub(crate) const NAMES: [&str; 5] = ["pipetest", "poller", "epoll-bench", "scale", "poll-table"];

/// Parameters.
#[derive(Args, Clone, Debug)]
pub(crate) struct AllArgs {
    /// About how many minutes it may take, at least 3: rounds, seconds and turns in proportion
    #[arg(long, default_value_t = MINUTES, value_parser = minutes)]
    pub(crate) minutes: f64,
}

fn minutes(text: &str) -> Result<f64, String> {
    let minutes: f64 = text.parse().map_err(|e| format!("{e}"))?;
    if (3.0..=600.0).contains(&minutes) { Ok(minutes) } else { Err("3 to 600".into()) }
}

impl AllArgs {
    /// Share of the default time.
    pub(crate) fn effort(&self) -> f64 {
        self.minutes / WHOLE
    }
}

/// Runs what the results lack. A benchmark that cannot be run does not take the others with it.
pub(crate) fn run(ctx: &Ctx, results: &mut Results<'_>) -> Result<()> {
    for name in NAMES {
        if results.run.has(name) {
            continue;
        }
        let command = Cli::try_parse_from(["bench", name])?.command;
        let bench = bench_run::timed(ctx, &command).unwrap_or_else(|e| {
            let mut bench = Bench::new(name, "could not be run");
            bench.note(format!("{e:#}"));
            bench
        });
        results.add(bench)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The commands that the table of README.md spells out.
    fn spelled_out() -> Vec<Vec<&'static str>> {
        let (_, table) = include_str!("../README.md").split_once("## Where each of").unwrap();
        let rows = table.lines().skip_while(|l| !l.starts_with('|'));
        let rows = rows.take_while(|l| l.starts_with('|'));
        let quoted = rows.flat_map(|l| l.split('`').skip(1).step_by(2));
        quoted.filter(|c| c.starts_with("bench ")).map(|c| c.split(' ').collect()).collect()
    }

    #[test]
    fn the_old_benchmarks_are_all_in_the_table_and_in_all() {
        let commands = spelled_out();
        for name in NAMES {
            assert!(commands.iter().any(|c| c[1] == name), "README.md has no {name}");
            assert!(Cli::try_parse_from(["bench", name]).is_ok(), "{name} has no defaults");
        }
        for command in commands {
            assert!(NAMES.contains(&command[1]), "{command:?} is not of `all`");
            let parsed = Cli::try_parse_from(&command);
            assert!(parsed.is_ok(), "{command:?}: {}", parsed.unwrap_err());
        }
    }

    #[test]
    fn what_the_table_spells_out_are_the_defaults() {
        for command in spelled_out() {
            let spelled = Cli::parse_from(&command).command;
            let bare = Cli::parse_from(&command[..2]).command;
            // Two have parts instead of parameters, and one of poller's is the machine's.
            if ["micro", "poll-table", "poller"].contains(&command[1]) {
                continue;
            }
            assert_eq!(format!("{spelled:?}"), format!("{bare:?}"));
        }
    }
}
