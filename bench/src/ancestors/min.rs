//! Waiting for at least so many events, beside a loop of waits that gathers them.

use std::os::fd::RawFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use kq_core::{EvFlags, EventFilter, FilterFlag, KEvent, Kqueue, WaitFlags};

use super::AncestorsArgs;
use crate::ctx::Ctx;
use crate::fixture::{Pipe, pipes, write_byte};
use crate::iface::poller::{EpollPoller, Poller, Want};
use crate::measure::{Lane, Row, in_turns};
use crate::model::{Bench, Case};

const PIPES: usize = 64;
/// How many events a wait waits for.
const MIN: usize = 8;

/// The cost where as many are ready; and events a second where they come one by one.
pub(super) fn run(ctx: &Ctx, args: &AncestorsArgs, bench: &mut Bench) -> Result<()> {
    for edge in [false, true] {
        ctx.case("at least 8 of 64, all ready");
        bench.cases.push(ready(ctx, edge)?);
        ctx.done();
    }
    ctx.case("at least 8 of 64, one by one");
    bench.cases.push(one_by_one(ctx, args)?);
    ctx.done();
    Ok(())
}

fn kqueue(pipes: &[Pipe], edge: bool) -> Result<Kqueue> {
    let kq = Kqueue::new()?;
    let flags = EvFlags::EV_ADD | if edge { EvFlags::EV_CLEAR } else { EvFlags::empty() };
    for pipe in pipes {
        let (fd, filter) = (pipe.read_fd() as usize, EventFilter::EVFILT_READ);
        let add = KEvent::new(fd, filter, flags, FilterFlag::NOTE_NODATA, 0, 0);
        kq.kevent(&[add], &mut [], None)?;
    }
    Ok(kq)
}

fn epoll(ctx: &Ctx, pipes: &[Pipe], edge: bool) -> Result<EpollPoller> {
    let mut poller = EpollPoller::new(ctx.interfaces.epoll, PIPES)?;
    for pipe in pipes {
        poller.add(pipe.read_fd(), if edge { Want::READ_EDGE } else { Want::READ })?;
    }
    Ok(poller)
}

/// Eight are written to and told in one wait: what the wait for at least eight adds.
fn ready(ctx: &Ctx, edge: bool) -> Result<Case> {
    let pipes = [pipes(PIPES)?, pipes(PIPES)?];
    let (mut poller, kq) = (epoll(ctx, &pipes[0], edge)?, kqueue(&pipes[1], edge)?);
    let cycle = |pipes: &[Pipe], wait: &mut dyn FnMut() -> Result<usize>| {
        pipes[..MIN].iter().try_for_each(Pipe::send)?;
        let n = wait()?;
        ensure!(n == MIN, "{n} events of {MIN}");
        Ok(pipes[..MIN].iter().try_for_each(Pipe::receive)?)
    };
    let mut told = Vec::new();
    let native = Lane::repeat("epoll", || {
        cycle(&pipes[0], &mut || {
            poller.wait(-1, &mut told)?;
            Ok(told.len())
        })
    });
    let mut events = [KEvent::default(); PIPES];
    let ours = Lane::repeat("kqueue, min", || {
        cycle(&pipes[1], &mut || {
            Ok(kq.wait_min(&[], &mut events, MIN, None, WaitFlags::empty())?)
        })
    });
    let name = if edge { "edge" } else { "level" };
    let group = format!("at least {MIN} of {PIPES}, all ready, {name}");
    Row::cost(&group, "write, wait, read").at(MIN).measure(&ctx.plan, vec![native, ours])
}

/// Another thread writes one at a time; the waiter gathers eight before it reads.
fn one_by_one(ctx: &Ctx, args: &AncestorsArgs) -> Result<Case> {
    let rounds = ctx.plan.rounds.min(9);
    let slice = Duration::from_secs_f64(ctx.plan.seconds(args.time) / rounds as f64);
    let pipes = pipes(PIPES)?;
    let values = in_turns(rounds, 2, |lane| {
        if lane == 0 {
            let (mut poller, mut told) = (epoll(ctx, &pipes, true)?, Vec::new());
            gathered(ctx, &pipes, slice, |all, until| {
                while all.len() < MIN && Instant::now() < until {
                    poller.wait(10, &mut told)?;
                    all.extend_from_slice(&told);
                }
                Ok(())
            })
        } else {
            let (kq, mut events) = (kqueue(&pipes, true)?, [KEvent::default(); PIPES]);
            let time = libc::timespec { tv_sec: 0, tv_nsec: 10_000_000 };
            gathered(ctx, &pipes, slice, |all, _| {
                let n = kq.wait_min(&[], &mut events, MIN, Some(time), WaitFlags::empty())?;
                all.extend(events[..n].iter().map(|event| event.ident() as RawFd));
                Ok(())
            })
        }
    })?;
    let lanes = ["epoll, gathered", "kqueue, min"].map(|name| (name.to_owned(), None)).to_vec();
    let group = format!("at least {MIN} of {PIPES}, one by one, edge");
    Ok(Row::rate(&group, "events").at(MIN).case(lanes, &values))
}

/// Events a second. A pipe is written to when what was in it has been read.
fn gathered(
    ctx: &Ctx,
    pipes: &[Pipe],
    time: Duration,
    mut wait: impl FnMut(&mut Vec<RawFd>, Instant) -> Result<()>,
) -> Result<f64> {
    let full: Vec<_> = pipes.iter().map(|_| AtomicBool::new(false)).collect();
    let at: std::collections::HashMap<RawFd, usize> =
        pipes.iter().enumerate().map(|(at, pipe)| (pipe.read_fd(), at)).collect();
    let stop = AtomicBool::new(false);
    ctx.pin_side(1)?;
    let rate = std::thread::scope(|scope| {
        let writer = scope.spawn(|| -> Result<()> {
            ctx.pin_side(0)?;
            let mut next = (0..PIPES).cycle();
            while !stop.load(Ordering::Relaxed) {
                let at = next.next().expect("it goes round");
                if full[at].swap(true, Ordering::Acquire) {
                    std::thread::yield_now();
                } else {
                    write_byte(pipes[at].write_fd())?;
                }
            }
            Ok(())
        });
        let read_all = || -> Result<(u64, Duration)> {
            let (began, mut events, mut all) = (Instant::now(), 0, Vec::new());
            while began.elapsed() < time {
                all.clear();
                wait(&mut all, began + time)?;
                for fd in &all {
                    pipes[at[fd]].receive()?;
                    full[at[fd]].store(false, Ordering::Release);
                }
                events += all.len() as u64;
            }
            Ok((events, began.elapsed()))
        };
        let done = { read_all }();
        stop.store(true, Ordering::Relaxed);
        writer.join().expect("the writer does not panic")?;
        let (events, took) = done?;
        Ok(events as f64 / took.as_secs_f64())
    });
    crate::host::pin(&ctx.cpus)?;
    // What was written at the end is not the next lane's.
    for pipe in pipes {
        let _ = pipe.receive();
    }
    rate
}
