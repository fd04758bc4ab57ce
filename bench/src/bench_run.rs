//! From the command line to the results.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::Parser;

use crate::cli::{Cli, Command, Common, ReportArgs};
use crate::ctx::Ctx;
use crate::iface::{Choice, Interfaces, libs};
use crate::measure::Plan;
use crate::model::{Bench, FORMAT, Run, Settings};
use crate::{
    ancestors, apachebench, clock, compare, epoll_bench, host, html, libevent, micro, pipetest,
    poll_table, poller_bench, scale, soak, table,
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
        _ => {}
    }
    measure(cli)
}

fn measure(cli: &Cli) -> Result<()> {
    let common = &cli.common;
    let dir = libs::directory(common.lib_dir.as_deref())?;
    if !libs::is_preloaded() {
        if !common.no_build && common.lib_dir.is_none() {
            libs::build()?;
        }
        return libs::exec_preloaded(&dir, libs::preload_list());
    }
    libs::leave_children_alone();
    clock::choose(common.clock);
    host::raise_descriptor_limit()?;
    host::pin(&common.cpu)?;
    let choice =
        Choice { dir: dir.clone(), peers: common.lib.clone(), only: common.interface.clone() };
    let ctx = Ctx::new(plan(common)?, Interfaces::load(&choice)?, common, dir);
    if let Command::Probe = cli.command {
        serde_json::to_writer(io::stdout(), &poll_table::probes::probe(&ctx)?)?;
        return Ok(());
    }
    if let Command::Soak(args) = &cli.command {
        return soak::run(&ctx, args);
    }
    let mut benches = run(&ctx, &cli.command)?;
    for bench in &mut benches {
        bench.notes.extend(ctx.interfaces.missing.iter().cloned());
    }
    publish(common, &ctx, benches)
}

fn plan(common: &Common) -> Result<Plan> {
    ensure!(common.rounds >= 1, "--rounds must be at least 1");
    ensure!(common.sample_ms > 0.0, "--sample-ms must be more than 0");
    let sample = Duration::from_secs_f64(common.sample_ms / 1000.0);
    Ok(if common.quick {
        Plan { warmup: Duration::ZERO, sample: sample.min(Duration::from_micros(200)), rounds: 3 }
    } else {
        Plan { warmup: sample * 5, sample, rounds: common.rounds }
    })
}

fn run(ctx: &Ctx, command: &Command) -> Result<Vec<Bench>> {
    if let Command::All = command {
        return all(ctx);
    }
    Ok(vec![match command {
        Command::Pipetest(args) => pipetest::run(ctx, args)?,
        Command::Poller(args) => poller_bench::run(ctx, args)?,
        Command::EpollBench(args) => epoll_bench::run(ctx, args)?,
        Command::Ancestors(args) => ancestors::run(ctx, args)?,
        Command::Scale(args) => scale::run(ctx, args)?,
        Command::Apachebench(args) => apachebench::run(ctx, args)?,
        Command::Libevent(args) => libevent::run(ctx, args)?,
        Command::Micro(args) => micro::run(ctx, args)?,
        Command::PollTable(args) => poll_table::run(ctx, args)?,
        Command::All
        | Command::Compare(_)
        | Command::Report(_)
        | Command::Probe
        | Command::Soak(_) => {
            unreachable!("it measures nothing")
        }
    }])
}

/// Each benchmark with its defaults. One that cannot be run does not take the others with it.
fn all(ctx: &Ctx) -> Result<Vec<Bench>> {
    let names: &[&str] = &[
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
    let mut benches = Vec::new();
    for name in names {
        // What clap makes of the bare subcommand are its defaults.
        let command = Cli::try_parse_from(["bench", name])?.command;
        match run(ctx, &command) {
            Ok(done) => benches.extend(done),
            Err(e) => {
                let mut bench = Bench::new(name, "could not be run");
                bench.note(format!("{e:#}"));
                benches.push(bench);
            }
        }
    }
    Ok(benches)
}

/// Prints the tables and writes the files that were asked for.
fn publish(common: &Common, ctx: &Ctx, benches: Vec<Bench>) -> Result<()> {
    let run = Run {
        format: FORMAT,
        date: host::now(),
        host: host::describe(),
        commit: host::commit(),
        settings: Settings {
            rounds: ctx.plan.rounds,
            sample_ms: ctx.plan.sample.as_secs_f64() * 1000.0,
            clock: common.clock.name().into(),
            pinned: ctx.cpus.clone(),
            quick: ctx.quick,
            profile: if cfg!(debug_assertions) { "debug" } else { "release" }.into(),
        },
        benches,
    };
    let to_stdout = common.json.as_deref() == Some(Path::new("-"));
    if !to_stdout {
        let mut out = io::stdout().lock();
        for bench in &run.benches {
            write!(out, "{}", table::bench(bench))?;
        }
        write!(out, "{}", table::footer(&run))?;
    }
    if let Some(path) = &common.json {
        write_json(&run, path)?;
    }
    if let Some(path) = &common.html {
        fs::write(path, html::report(&run)?).with_context(|| path.display().to_string())?;
    }
    if common.save {
        let path = keep_at(&run)?;
        write_json(&run, &path)?;
        eprintln!("kept as {}", path.display());
    }
    Ok(())
}

fn report(args: &ReportArgs) -> Result<()> {
    let mut runs = args.runs.iter().map(|path| compare::read(path));
    let mut run = runs.next().context("no results file")??;
    for more in runs {
        run.benches.extend(more?.benches);
    }
    fs::write(&args.out, html::report(&run)?).with_context(|| args.out.display().to_string())?;
    eprintln!("{}", args.out.display());
    if let Some(dir) = &args.pictures {
        fs::create_dir_all(dir)?;
        for picture in html::pictures(&run)? {
            let path = dir.join(picture.name).with_extension("svg");
            fs::write(&path, picture.svg).with_context(|| path.display().to_string())?;
        }
    }
    Ok(())
}

fn write_json(run: &Run, path: &Path) -> Result<()> {
    let text = serde_json::to_string_pretty(run)? + "\n";
    if path == Path::new("-") {
        return Ok(io::stdout().write_all(text.as_bytes())?);
    }
    let mut file = File::create(path).with_context(|| path.display().to_string())?;
    Ok(file.write_all(text.as_bytes())?)
}

/// bench/results/DATE-COMMIT-NAME.json.
fn keep_at(run: &Run) -> Result<PathBuf> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("results");
    fs::create_dir_all(&dir)?;
    let what = match &*run.benches {
        [only] => &*only.name,
        _ => "all",
    };
    let date = run.date.get(..10).unwrap_or("undated");
    Ok(dir.join(format!("{date}-{}-{what}.json", run.commit)))
}
