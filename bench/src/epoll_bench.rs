//! epoll_bench, by which epoll and Linux kevent were compared in 2006: one thread writes a byte to
//! a stream picked at random and yields every L writes, the other waits and reads; events a
//! second. The busy loop that reads every stream in turn without asking anyone is the most that
//! was thought possible.

use std::os::fd::RawFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use clap::Args;
#[cfg(target_os = "linux")]
use kq_core::EvFlags;

#[cfg(target_os = "linux")]
use crate::ancestors::ring::RingPoller;
use crate::ctx::Ctx;
use crate::fixture::{Kind, Stream, read_some, streams, write_byte};
use crate::host;
use crate::iface::poller::{Poller, Want};
use crate::iface::{Family, Interface};
use crate::measure::{Row, in_turns};
use crate::model::{Bench, Case, Target};

/// The original's parameters.
#[derive(Args, Clone, Debug)]
pub(crate) struct EpollBenchArgs {
    /// Streams
    #[arg(short, long, default_value_t = 100)]
    pub(crate) n: usize,
    /// Most events a wait fetches
    #[arg(short, long, default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) events: u16,
    /// The writer yields after so many writes; 0: never
    #[arg(short, long, default_value_t = 1)]
    pub(crate) limit: u64,
    /// Seconds for each interface, in turns
    #[arg(short, long, default_value_t = 3.0)]
    pub(crate) time: f64,
    /// What the streams are
    #[arg(long, value_enum, value_delimiter = ',', default_values = ["pipe", "unix", "inet"])]
    pub(crate) kind: Vec<Kind>,
    /// Level-triggered, edge-triggered, or both in turn
    #[arg(long, value_enum, value_delimiter = ',', default_values = ["lt", "et"])]
    pub(crate) trigger: Vec<Trigger>,
}

/// What stands beside epoll and has no C function: the ring without and with wake-one (one reader has
/// nobody beside it: that shows what the flag costs), and the loop that asks nobody.
const BESIDE: &[&str] = if cfg!(target_os = "linux") {
    &["busy loop", "kqueue, ring", "kqueue, ring, EV_WAKEONE"]
} else {
    &["busy loop"]
};

/// How an event is reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Trigger {
    /// Level-triggered.
    Lt,
    /// Edge-triggered: EPOLLET, EV_CLEAR.
    Et,
}

impl Trigger {
    pub(crate) fn name(self) -> &'static str {
        if self == Self::Lt { "LT" } else { "ET" }
    }
}

/// Runs it on every interface.
pub(crate) fn run(ctx: &Ctx, args: &EpollBenchArgs) -> Result<Bench> {
    ensure!(args.n >= 1, "epoll-bench needs a stream");
    let mut bench = Bench::new(
        "epoll-bench",
        format!(
            "epoll_bench: one thread writes to {} random streams (yield every {}), one waits (up \
             to {} events) and reads; events a second",
            args.n, args.limit, args.events
        ),
    );
    ctx.begin("epoll-bench", args.kind.len() * args.trigger.len() * 3);
    for &kind in &args.kind {
        if ctx.that_fit(&[args.n], 2, 0)?.1.is_some() {
            bench.note(format!("{} streams do not fit under the descriptor limit", args.n));
            break;
        }
        let streams = streams(kind, args.n)?;
        for &trigger in &args.trigger {
            for (native, others) in ctx.interfaces.pairs() {
                if trigger == Trigger::Et && native.family != Family::QUEUE {
                    continue;
                }
                ctx.case(&format!("{} {} {}", native.name, kind.name(), trigger.name()));
                bench.cases.push(case(ctx, args, &streams, kind, trigger, native, &others)?);
                ctx.done();
            }
        }
    }
    ctx.end();
    Ok(bench)
}

/// The row by which the engine is judged: TCP, edges, epoll and what is measured against it.
#[cfg(target_os = "linux")]
pub(crate) fn inet_edge(ctx: &Ctx, time: f64) -> Result<Option<Case>> {
    let args = EpollBenchArgs {
        n: 100,
        events: 64,
        limit: 1,
        time,
        kind: vec![Kind::Inet],
        trigger: vec![Trigger::Et],
    };
    let streams = streams(Kind::Inet, args.n)?;
    for (native, others) in ctx.interfaces.pairs() {
        if native.family == Family::QUEUE {
            ctx.case("epoll-bench inet ET");
            return case(ctx, &args, &streams, Kind::Inet, Trigger::Et, native, &others).map(Some);
        }
    }
    Ok(None)
}

/// What an interface should reach here.
fn target(interface: &Interface, kind: Kind, trigger: Trigger) -> Option<Target> {
    if kind != Kind::Inet || trigger != Trigger::Et {
        return None;
    }
    match interface.name.as_str() {
        "compat-epoll" => Some(Target::AtLeast(0.97)),
        "kqueue" | "kqueue-c" => Some(Target::AtLeast(1.0)),
        _ => None,
    }
}

/// One row: a native interface, those beside it, and the busy loop beside epoll.
fn case(
    ctx: &Ctx,
    args: &EpollBenchArgs,
    streams: &[Stream],
    kind: Kind,
    trigger: Trigger,
    native: &Interface,
    others: &[&Interface],
) -> Result<Case> {
    let rounds = ctx.plan.rounds.min(15);
    let slice = Duration::from_secs_f64(ctx.plan.seconds(args.time) / rounds as f64);
    let all: Vec<&Interface> = std::iter::once(native).chain(others.iter().copied()).collect();
    let beside: &[&str] = if native.family == Family::QUEUE { BESIDE } else { &[] };
    let values = in_turns(rounds, all.len() + beside.len(), |lane| {
        let produce = |stop: &AtomicBool| write_randomly(ctx, streams, args.limit, stop);
        if lane == all.len() {
            return traffic(ctx, slice, produce, |until| busy_loop(streams, until));
        }
        let want = if trigger == Trigger::Et { Want::READ_EDGE } else { Want::READ };
        let mut poller = match all.get(lane) {
            Some(interface) => interface.open(args.events.into())?,
            None => ring(args, lane == all.len() + 2)?,
        };
        for s in streams {
            poller.add(s.read_fd(), want)?;
        }
        traffic(ctx, slice, produce, |until| wait_and_read(&mut *poller, until))
    })?;
    let mut names: Vec<_> =
        all.iter().map(|i| (i.name.clone(), target(i, kind, trigger))).collect();
    names.extend(beside.iter().map(|&name| (name.to_owned(), None)));
    let group = format!("{} {}", kind.name(), trigger.name());
    Ok(Row::rate(&group, "events").at(args.n).case(names, &values))
}

#[cfg(target_os = "linux")]
fn ring(args: &EpollBenchArgs, wake_one: bool) -> Result<Box<dyn Poller>> {
    let flags = if wake_one { EvFlags::EV_WAKEONE } else { EvFlags::empty() };
    Ok(Box::new(RingPoller::new(1024, args.events.into(), flags)?))
}

/// There is none.
#[cfg(not(target_os = "linux"))]
fn ring(_: &EpollBenchArgs, _: bool) -> Result<Box<dyn Poller>> {
    anyhow::bail!("the ring is Linux's")
}

/// Runs the writer beside the reader for a while; the reader's events a second.
pub(crate) fn traffic(
    ctx: &Ctx,
    time: Duration,
    produce: impl Fn(&AtomicBool) -> Result<()> + Sync,
    consume: impl FnOnce(Instant) -> Result<u64>,
) -> Result<f64> {
    let stop = AtomicBool::new(false);
    ctx.pin_side(1)?;
    let rate = std::thread::scope(|scope| {
        let writer = scope.spawn(|| produce(&stop));
        let start = Instant::now();
        let events = consume(start + time);
        let took = start.elapsed();
        stop.store(true, Ordering::Relaxed);
        writer.join().expect("the writer does not panic")?;
        Ok(events? as f64 / took.as_secs_f64())
    });
    host::pin(&ctx.cpus)?;
    rate
}

pub(crate) fn write_randomly(
    ctx: &Ctx,
    streams: &[Stream],
    limit: u64,
    stop: &AtomicBool,
) -> Result<()> {
    ctx.pin_side(0)?;
    let mut random = fastrand::Rng::with_seed(0x5eed);
    let mut written = 0_u64;
    while !stop.load(Ordering::Relaxed) {
        match write_byte(streams[random.usize(..streams.len())].write_fd()) {
            Ok(()) => written += 1,
            // That stream is full: the reader is behind, and gets the CPU.
            Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => std::thread::yield_now(),
            Err(e) => return Err(e.into()),
        }
        if limit != 0 && written.is_multiple_of(limit) {
            std::thread::yield_now();
        }
    }
    Ok(())
}

/// A stream read until it is empty is one event, however many bytes it had.
fn drain(fd: RawFd) -> Result<bool> {
    let mut room = [0; 1024];
    let mut any = false;
    loop {
        match read_some(fd, &mut room) {
            // A short read of a stream means that it is empty: no second call is needed.
            Ok(n) if n < room.len() => return Ok(true),
            Ok(_) => any = true,
            Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => return Ok(any),
            Err(e) => return Err(e.into()),
        }
    }
}

pub(crate) fn wait_and_read(poller: &mut dyn Poller, until: Instant) -> Result<u64> {
    let mut events = 0;
    let mut ready = Vec::new();
    while Instant::now() < until {
        poller.wait(100, &mut ready)?;
        for &fd in &ready {
            events += u64::from(drain(fd)?);
        }
    }
    Ok(events)
}

fn busy_loop(streams: &[Stream], until: Instant) -> Result<u64> {
    let mut events = 0;
    while Instant::now() < until {
        for s in streams {
            events += u64::from(drain(s.read_fd())?);
        }
    }
    Ok(events)
}
