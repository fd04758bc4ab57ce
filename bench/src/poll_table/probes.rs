//! What is measured in a process of its own, with one library preloaded and nothing else: the
//! cost of its hook on close, its memory, and what a thread asleep in it costs.

use std::sync::atomic::{AtomicI32, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::clock::Stopwatch;
use crate::ctx::Ctx;
use crate::fixture::{Pipe, pipes};
use crate::iface::callset::Caller;
use crate::iface::{Family, libs};
use crate::measure::{Lane, Row};
use crate::model::{Bench, Case, Sense, Target, Unit};
use crate::usage;

/// What a probe of one library measures.
pub(crate) fn probe(ctx: &Ctx) -> Result<Vec<Case>> {
    let callers = ctx.interfaces.callers().into_iter();
    let mut hooked = callers
        .filter_map(|(native, others)| Some((native, others.into_iter().find(Caller::is_hooked)?)));
    let Some((native, ours)) = hooked.next() else {
        bail!("no library is preloaded into this probe");
    };
    // Memory first: a process that has polled before has paid for some of it already.
    let mut cases = memory(ctx, native, ours)?;
    cases.extend(close_hook(ctx, native, ours)?);
    cases.push(idle(ctx, native, ours)?);
    Ok(cases)
}

/// Starts a probe for each library and collects what they measured.
pub(super) fn rows(ctx: &Ctx, bench: &mut Bench) -> Result<()> {
    for (family, file) in
        [(Family::Poll, "libkqcompat_poll.so"), (Family::Select, "libkqcompat_select.so")]
    {
        let wanted = ctx.interfaces.callers().iter().any(|(native, others)| {
            native.family == family && others.iter().any(Caller::is_hooked)
        });
        if !wanted {
            continue;
        }
        ctx.case(&format!("probe of {file}"));
        bench.cases.extend(libs::probe(&ctx.dir, file, &ctx.probe_options())?);
    }
    Ok(())
}

/// close() of a number that no queue holds, while the thread has a queue for others.
fn close_hook(ctx: &Ctx, native: Caller, ours: Caller) -> Result<Vec<Case>> {
    const BATCH: usize = 256;
    let own = pipes(64)?;
    let fds: Vec<_> = own.iter().map(Pipe::read_fd).collect();
    let mut cases = Vec::new();
    for (title, queue) in [
        ("close(), thread without a queue", false),
        ("close(), thread with a queue for other numbers", true),
    ] {
        let mut sets: Vec<_> = [native, ours].iter().map(|c| c.set(&fds)).collect();
        if queue {
            own[0].send()?;
            for _ in 0..20 {
                for set in &mut sets {
                    set.call(-1)?;
                }
            }
            own[0].receive()?;
        }
        let spare = Pipe::new()?;
        let lane = |c: &Caller, name: &str| {
            let close = c.close;
            let fd = spare.read_fd();
            Lane::new(name, move |times| {
                let mut took = Duration::ZERO;
                let mut left = times as usize;
                while left > 0 {
                    let batch = left.min(BATCH);
                    let copies: Vec<_> = (0..batch)
                        // SAFETY: takes no pointer.
                        .map(|_| unsafe { libc::fcntl(fd, libc::F_DUPFD_CLOEXEC, 0) })
                        .collect();
                    let start = Stopwatch::start();
                    for copy in copies {
                        close.close(copy)?;
                    }
                    took += start.elapsed();
                    left -= batch;
                }
                Ok(took)
            })
        };
        let lanes =
            vec![lane(&native, "close"), lane(&ours, ours.name).target(Target::AtMost(30.0))];
        let row = Row::cost(ours.name, title).sense(Sense::Extra);
        cases.push(row.measure(&ctx.plan, lanes)?);
    }
    Ok(cases)
}

/// Bytes of user memory for each watched descriptor of a thread.
fn memory(ctx: &Ctx, native: Caller, ours: Caller) -> Result<Vec<Case>> {
    let wanted = if ctx.quick { 200 } else { 9000 };
    let n = wanted.min(ctx.that_fit(&[wanted], 2, 0)?.0.into_iter().max().unwrap_or(1000));
    let pipes = pipes(n)?;
    let fds: Vec<_> = pipes.iter().map(Pipe::read_fd).collect();
    pipes[n / 2].send()?;
    // In a new thread, since the registrations are a thread's own. What the set itself takes is
    // the program's: it is there before the first look.
    let grown = |caller: &Caller| -> Result<usage::Memory> {
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| -> Result<usage::Memory> {
                let mut set = caller.set(&fds);
                native.set(&fds).call(-1)?;
                let before = usage::memory()?;
                // A set is registered bit by bit, a 64th of the rest at a call.
                for _ in 0..1000 {
                    set.call(-1)?;
                }
                Ok(usage::memory()?.since(before))
            });
            thread.join().ok().context("the thread panicked")?
        })
    };
    // The second of two: the first thread pays for what all threads share.
    grown(&native)?;
    let native_grown = grown(&native)?;
    grown(&ours)?;
    let ours_grown = grown(&ours)?;
    let row = |title: &str| Row::cost(ours.name, title).unit(Unit::Bytes).sense(Sense::Extra).at(n);
    let names = |target| vec![(native.name.into(), None), (ours.name.into(), target)];
    let per = |bytes: i64| vec![bytes as f64 / n as f64];
    let limit = Some(Target::AtMost(32.0));
    Ok(vec![
        row("malloc'ed for each watched descriptor and thread")
            .case(names(limit), &[per(native_grown.heap), per(ours_grown.heap)]),
        row("dirtied pages for each watched descriptor and thread")
            .case(names(limit), &[per(native_grown.dirty), per(ours_grown.dirty)]),
    ])
}

/// How often a thread asleep in a call wakes up: only the change-over to the kernel's own call is
/// allowed.
fn idle(ctx: &Ctx, native: Caller, ours: Caller) -> Result<Case> {
    let asleep = Duration::from_millis(if ctx.quick { 200 } else { 2000 });
    let n = 200;
    let pipes = pipes(n)?;
    let fds: Vec<_> = pipes.iter().map(Pipe::read_fd).collect();
    let wakes = |caller: &Caller| -> Result<f64> {
        let tid = AtomicI32::new(0);
        std::thread::scope(|scope| {
            let sleeper = scope.spawn(|| -> Result<()> {
                let mut set = caller.set(&fds);
                // So that the set is known before the long sleep.
                pipes[0].send()?;
                for _ in 0..40 {
                    set.call(-1)?;
                }
                pipes[0].receive()?;
                tid.store(nix::unistd::gettid().as_raw(), Ordering::Release);
                set.call(-1)?;
                Ok(pipes[0].receive()?)
            });
            while tid.load(Ordering::Acquire) == 0 && !sleeper.is_finished() {
                std::thread::yield_now();
            }
            // The thread goes to sleep once; what is counted begins after that.
            std::thread::sleep(Duration::from_millis(2));
            let tid = tid.load(Ordering::Acquire);
            let before = usage::voluntary_switches(tid);
            std::thread::sleep(asleep);
            let after = usage::voluntary_switches(tid);
            pipes[0].send()?;
            sleeper.join().ok().context("the sleeper panicked")??;
            Ok((after? - before?) as f64)
        })
    };
    let values = [vec![wakes(&native)?], vec![wakes(&ours)?]];
    let title = format!("wake-ups of a thread asleep in it for {} ms", asleep.as_millis());
    let row = Row::cost(ours.name, title).unit(Unit::Count).sense(Sense::Extra).at(n);
    let names = vec![(native.name.into(), None), (ours.name.into(), Some(Target::AtMost(1.0)))];
    Ok(row.case(names, &values))
}
