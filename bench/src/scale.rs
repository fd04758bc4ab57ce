//! Threads that wait on one queue: tokens run between sources for as long as the clock runs, and
//! whoever is told of one reads it and writes the next.
//!
//! Each token runs between two sources, so that an event is one byte read and one written. (In a ring
//! of all sources tokens catch up with each other, five to nine of them, and an interface whose events
//! come later has more bytes to carry with each.)

use std::collections::HashMap;
use std::os::fd::RawFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use clap::Args;

use crate::cli::Numbers;
use crate::ctx::Ctx;
use crate::fixture::{Pipe, pipes, read_some, write_byte};
#[cfg(target_os = "linux")]
use crate::host;
use crate::iface::poller::{Poller, Want};
use crate::iface::{Family, Interface};
use crate::measure::{Row, in_turns};
use crate::model::{Bench, Case, Target};

/// Parameters.
#[derive(Args, Clone, Debug)]
pub(crate) struct ScaleArgs {
    /// Threads that wait on the one queue
    #[arg(default_value = "1,2,4")]
    pub(crate) threads: Numbers,
    /// Pipes that the queue watches
    #[arg(long, default_value_t = 64)]
    pub(crate) sources: usize,
    /// Most events a wait fetches
    #[arg(short, long, default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) events: u16,
    /// Seconds for each interface, in turns
    #[arg(short, long, default_value_t = 2.0)]
    pub(crate) time: f64,
}

/// Those that have a target.
const OURS: [&str; 4] = ["compat-epoll", "compat-epoll-rust", "kqueue", "kqueue-c"];

/// How an event reaches one thread only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    /// EPOLLET, EV_CLEAR.
    Edge,
    /// EPOLLONESHOT and EPOLL_CTL_MOD, EV_DISPATCH and EV_ENABLE.
    Rearm,
}

impl Mode {
    fn name(self) -> &'static str {
        if self == Self::Edge { "edge" } else { "one shot, re-armed" }
    }

    fn want(self) -> Want {
        // Who is told reads, and so learns how much there was.
        let want = Want { nodata: true, ..Want::READ };
        match self {
            Self::Edge => Want { edge: true, ..want },
            Self::Rearm => Want { oneshot: true, ..want },
        }
    }
}

/// The least that some interfaces can do.
pub(crate) struct Floor {
    pub(crate) least: Interface,
    /// Whose floor it is, by name.
    pub(crate) of: &'static [&'static str],
}

/// Runs it on every interface whose queue can be shared.
pub(crate) fn run(ctx: &Ctx, args: &ScaleArgs) -> Result<Bench> {
    run_beside(ctx, args, &[])
}

/// As [`run`], with floors measured in the same turns.
fn run_beside(ctx: &Ctx, args: &ScaleArgs, floors: &[Floor]) -> Result<Bench> {
    ensure!(args.sources >= 2, "tokens need two sources to run between");
    let mut bench = Bench::new(
        "scale",
        format!(
            "N threads wait on one queue of {} pipes, a kqueue without data; events a second",
            args.sources
        ),
    );
    let pairs = ctx.interfaces.pairs();
    let (native, others) =
        pairs.iter().find(|(n, _)| n.family == Family::QUEUE).expect("the kernel has one");
    ctx.begin("scale", args.threads.0.len() * 2);
    for mode in [Mode::Edge, Mode::Rearm] {
        for &threads in &args.threads.0 {
            ctx.case(&format!("{} {threads} threads", mode.name()));
            bench.cases.push(case(ctx, args, mode, threads, native, others, floors)?);
            ctx.done();
        }
    }
    ctx.end();
    bench.notes.push(format!(
        "{} CPUs: more threads than that show contention, not speed",
        std::thread::available_parallelism()?
    ));
    Ok(bench)
}

/// The rows by which the engine is judged: two threads on one queue of 64 sources.
#[cfg(target_os = "linux")]
pub(crate) fn two_threads(ctx: &Ctx, time: f64, floors: &[Floor]) -> Result<Vec<Case>> {
    let args = ScaleArgs { threads: Numbers(vec![2]), sources: 64, events: 8, time };
    Ok(run_beside(ctx, &args, floors)?.cases)
}

/// One row.
fn case(
    ctx: &Ctx,
    args: &ScaleArgs,
    mode: Mode,
    threads: usize,
    native: &Interface,
    others: &[&Interface],
    floors: &[Floor],
) -> Result<Case> {
    let rounds = ctx.plan.rounds.min(11);
    let slice = Duration::from_secs_f64(ctx.plan.seconds(args.time) / rounds as f64);
    let least = floors.iter().map(|floor| &floor.least);
    let all: Vec<&Interface> =
        std::iter::once(native).chain(least).chain(others.iter().copied()).collect();
    let values = in_turns(rounds, all.len(), |lane| {
        // New pipes each time: tokens that a defect left behind must not help the next.
        let sources = pipes(args.sources)?;
        let mut poller = all[lane].open(args.events.into())?;
        for s in &sources {
            poller.add(s.read_fd(), mode.want())?;
        }
        contend(&*poller, &sources, mode, threads, slice)
    })?;
    let target =
        |i: &Interface| (threads == 2 && OURS.contains(&&*i.name)).then_some(Target::AtLeast(1.0));
    let names = all.iter().map(|i| (i.name.clone(), target(i))).collect();
    let group = format!("one queue, {}", mode.name());
    let mut case = Row::rate(&group, "events").at(threads).case(names, &values);
    for series in &mut case.others {
        let floor = floors.iter().find(|floor| floor.of.contains(&&*series.interface));
        series.floor = floor.map(|floor| floor.least.name.clone());
    }
    Ok(case)
}

fn contend(
    queue: &dyn Poller,
    sources: &[Pipe],
    mode: Mode,
    threads: usize,
    time: Duration,
) -> Result<f64> {
    let next: HashMap<RawFd, RawFd> = sources
        .iter()
        .zip(sources.chunks(2).flat_map(|pair| pair.iter().rev()))
        .map(|(from, to)| (from.read_fd(), to.write_fd()))
        .collect();
    let stop = AtomicBool::new(false);
    let pollers: Vec<_> = (0..threads)
        .map(|_| queue.share().ok_or_else(|| anyhow::anyhow!("this queue cannot be shared")))
        .collect::<Result<_>>()?;
    // Half as many tokens as sources: enough for every thread.
    for source in sources.iter().step_by(2) {
        source.send()?;
    }
    std::thread::scope(|scope| {
        let start = Instant::now();
        let workers: Vec<_> = pollers
            .into_iter()
            .enumerate()
            .map(|(i, p)| {
                let (next, stop) = (&next, &stop);
                scope.spawn(move || {
                    // (Two that share a CPU would not contend.)
                    pin_to_one(i)?;
                    work(p, next, mode, stop)
                })
            })
            .collect();
        std::thread::sleep(time);
        stop.store(true, Ordering::Relaxed);
        let took = start.elapsed();
        let mut events = 0;
        for worker in workers {
            events += worker.join().expect("a worker does not panic")?;
        }
        Ok(events as f64 / took.as_secs_f64())
    })
}

/// Gives a thread one of the CPUs that are allowed.
#[cfg(target_os = "linux")]
fn pin_to_one(thread: usize) -> Result<()> {
    let cpus = host::allowed()?;
    host::pin(&[cpus[thread % cpus.len()]])
}

/// Elsewhere the system does as it likes.
#[cfg(not(target_os = "linux"))]
fn pin_to_one(_thread: usize) -> Result<()> {
    Ok(())
}

fn work(
    mut poller: Box<dyn Poller>,
    next: &HashMap<RawFd, RawFd>,
    mode: Mode,
    stop: &AtomicBool,
) -> Result<u64> {
    let mut events = 0;
    let mut ready = Vec::new();
    let mut room = [0; 64];
    while !stop.load(Ordering::Relaxed) {
        poller.wait(10, &mut ready)?;
        for &fd in &ready {
            let tokens = match read_some(fd, &mut room) {
                Ok(n) => n,
                // Another thread was told of the same pipe by a later edge.
                Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => 0,
                Err(e) => return Err(e.into()),
            };
            events += u64::from(tokens != 0);
            for _ in 0..tokens {
                write_byte(next[&fd])?;
            }
            if mode == Mode::Rearm {
                poller.modify(fd, mode.want())?;
            }
        }
    }
    Ok(events)
}
