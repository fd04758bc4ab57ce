//! From the command line to the results.

use std::fs;
#[cfg(target_os = "linux")]
use std::io;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::cli::{Cli, Command, Common, ReportArgs};
use crate::ctx::Ctx;
#[cfg(target_os = "linux")]
use crate::iface::libs;
use crate::iface::{Choice, Interfaces};
use crate::measure::Plan;
use crate::model::Bench;
use crate::results::Results;
#[cfg(target_os = "linux")]
use crate::{ancestors, apachebench, libevent, micro, soak};
use crate::{
    clock, compare, epoll_bench, host, html, pipetest, poll_table, poller_bench, scale, suite,
};

/// Does what the command line says.
pub(crate) fn main(cli: &Cli) -> Result<()> {
    match &cli.command {
        Command::Compare(args) => {
            let text = compare::files(&args.before, &args.after, args.percent)?;
            print!("{text}");
            return Ok(());
        }
        Command::Report(args) => return report(args),
        #[cfg(not(target_os = "linux"))]
        Command::Elsewhere(words) => anyhow::bail!(
            "{}: ancestors, micro, libevent, apachebench and soak are for Linux, with whose own calls \
             they compare",
            words.first().map_or("", String::as_str)
        ),
        _ => {}
    }
    measure(cli)
}

fn measure(cli: &Cli) -> Result<()> {
    let common = &cli.common;
    #[cfg(target_os = "linux")]
    let dir = {
        let dir = libs::directory(common.lib_dir.as_deref())?;
        if !libs::is_preloaded() {
            if !common.no_build && common.lib_dir.is_none() {
                libs::build()?;
            }
            return libs::exec_preloaded(&dir, libs::preload_list());
        }
        libs::leave_children_alone();
        dir
    };
    clock::choose(common.clock);
    host::raise_descriptor_limit()?;
    host::pin(&common.cpu)?;
    let choice = Choice {
        #[cfg(target_os = "linux")]
        dir: dir.clone(),
        #[cfg(target_os = "linux")]
        peers: common.lib.clone(),
        only: common.interface.clone(),
    };
    let plan = plan(common, &cli.command)?;
    let ctx = Ctx::new(
        plan,
        Interfaces::load(&choice)?,
        common,
        #[cfg(target_os = "linux")]
        dir,
    );
    match &cli.command {
        #[cfg(target_os = "linux")]
        Command::Probe => {
            serde_json::to_writer(io::stdout(), &poll_table::probes::probe(&ctx)?)?;
            Ok(())
        }
        #[cfg(target_os = "linux")]
        Command::Soak(args) => soak::run(&ctx, args),
        Command::All(_) => {
            let mut results = Results::begin(&ctx, common, &suite::NAMES)?;
            suite::run(&ctx, &mut results)?;
            results.end()
        }
        one => {
            let mut results = Results::begin(&ctx, common, &[])?;
            results.add(timed(&ctx, one)?)?;
            results.end()
        }
    }
}

fn plan(common: &Common, command: &Command) -> Result<Plan> {
    /// Rounds where nothing else is said.
    const ROUNDS: f64 = 9.0;
    ensure!(common.sample_ms > 0.0, "--sample-ms must be more than 0");
    let sample = Duration::from_secs_f64(common.sample_ms / 1000.0);
    if common.quick {
        let sample = sample.min(Duration::from_micros(200));
        return Ok(Plan { warmup: Duration::ZERO, sample, rounds: 3, effort: 1.0 });
    }
    let effort = if let Command::All(args) = command { args.effort() } else { 1.0 };
    let rounds = common.rounds.unwrap_or((ROUNDS * effort).round().max(3.0) as usize);
    ensure!(rounds >= 1, "--rounds must be at least 1");
    Ok(Plan { warmup: sample * 5, sample, rounds, effort })
}

/// One benchmark, and how long it took.
pub(crate) fn timed(ctx: &Ctx, command: &Command) -> Result<Bench> {
    let began = Instant::now();
    let mut bench = run(ctx, command)?;
    bench.seconds = began.elapsed().as_secs_f64();
    Ok(bench)
}

fn run(ctx: &Ctx, command: &Command) -> Result<Bench> {
    match command {
        Command::Pipetest(args) => pipetest::run(ctx, args),
        Command::Poller(args) => poller_bench::run(ctx, args),
        Command::EpollBench(args) => epoll_bench::run(ctx, args),
        #[cfg(target_os = "linux")]
        Command::Ancestors(args) => ancestors::run(ctx, args),
        Command::Scale(args) => scale::run(ctx, args),
        #[cfg(target_os = "linux")]
        Command::Apachebench(args) => apachebench::run(ctx, args),
        #[cfg(target_os = "linux")]
        Command::Libevent(args) => libevent::run(ctx, args),
        #[cfg(target_os = "linux")]
        Command::Micro(args) => micro::run(ctx, args),
        Command::PollTable(args) => poll_table::run(ctx, args),
        Command::All(_) | Command::Compare(_) | Command::Report(_) => {
            unreachable!("it is no benchmark")
        }
        #[cfg(target_os = "linux")]
        Command::Probe | Command::Soak(_) => unreachable!("it is no benchmark"),
        #[cfg(not(target_os = "linux"))]
        Command::Elsewhere(_) => unreachable!("it is no benchmark"),
    }
}

fn report(args: &ReportArgs) -> Result<()> {
    let mut runs = args.runs.iter().map(|path| compare::read(path));
    let mut run = runs.next().context("no results file")??;
    for more in runs {
        let more = more?;
        run.planned.extend(more.planned);
        run.benches.extend(more.benches);
    }
    fs::write(&args.out, html::report(&run)?).with_context(|| args.out.display().to_string())?;
    eprintln!("{}", args.out.display());
    let missing = run.missing();
    if !missing.is_empty() {
        eprintln!(
            "missing, since the run was cut short or could not do it: {}",
            missing.join(", ")
        );
    }
    if let Some(dir) = &args.pictures {
        fs::create_dir_all(dir)?;
        for picture in html::pictures(&run)? {
            let path = dir.join(picture.name).with_extension("svg");
            fs::write(&path, picture.svg).with_context(|| path.display().to_string())?;
        }
    }
    Ok(())
}
