//! What a queue and a knote take: memory, descriptors, threads. Native epoll keeps its own in the
//! kernel, so the native value is what the same steps change in this process without us.

use std::os::fd::RawFd;

use anyhow::{Context, Result};

use super::wait::Epoll;
use crate::ctx::Ctx;
use crate::fixture::{Pipe, pipes};
use crate::iface::kq::{CKqueue, Compact, EV_ADD, EVFILT_READ, Full, Kq, KqueueLib, Stride};
use crate::measure::Row;
use crate::model::{Bench, Sense, Target, Unit};
use crate::usage;

/// What so many queues, and so many knotes in one queue, took.
#[derive(Clone, Copy, Debug)]
struct Taken {
    queue: usage::Memory,
    knote: usage::Memory,
    descriptors: i64,
    threads: i64,
}

const QUEUES: usize = 64;

/// Makes queues, then knotes in one of them, and looks around after each step.
fn taken<Q>(
    make: impl Fn() -> Result<Q>,
    add: impl Fn(&Q, RawFd) -> Result<()>,
    fds: &[RawFd],
) -> Result<Taken> {
    // What the first queue of the process pays for all is not what a queue takes.
    add(&make()?, fds[0])?;
    let mut queues: Vec<Q> = Vec::with_capacity(QUEUES);
    let (memory, descriptors, threads) =
        (usage::memory()?, usage::descriptors()?, usage::threads()?);
    for _ in 0..QUEUES {
        let queue = make()?;
        // With a first knote, since a queue without any is of no use.
        add(&queue, fds[0])?;
        queues.push(queue);
    }
    let queue = usage::memory()?.since(memory);
    let (descriptors, threads) = (usage::descriptors()? - descriptors, usage::threads()? - threads);
    let memory = usage::memory()?;
    for &fd in &fds[1..] {
        add(&queues[0], fd)?;
    }
    let knote = usage::memory()?.since(memory);
    Ok(Taken { queue, knote, descriptors, threads })
}

fn taken_by<K: Kq>(make: impl Fn() -> std::io::Result<K>, fds: &[RawFd]) -> Result<Taken> {
    taken(
        || Ok(make()?),
        |kq, fd| Ok(kq.change(&[K::event(fd as usize, EVFILT_READ, EV_ADD, 0, 0)])?),
        fds,
    )
}

fn of_library(lib: &KqueueLib, fds: &[RawFd]) -> Result<Taken> {
    match lib.stride {
        Stride::Full => taken_by(|| CKqueue::<Full>::new(lib.api), fds),
        Stride::Compact => taken_by(|| CKqueue::<Compact>::new(lib.api), fds),
    }
}

pub(super) fn rows(ctx: &Ctx, bench: &mut Bench) -> Result<()> {
    let n = if ctx.quick { 100 } else { 4000 };
    let n = *ctx.that_fit(&[n], 2, QUEUES * 5)?.0.first().context("no descriptors are left")?;
    let pipes = pipes(n)?;
    let fds: Vec<RawFd> = pipes.iter().map(Pipe::read_fd).collect();
    let epoll = |api| {
        taken(
            || Epoll::new(api),
            |ep, fd| Ok(ep.ctl(libc::EPOLL_CTL_ADD, fd, libc::EPOLLIN as u32)?),
            &fds,
        )
    };
    let mut all = vec![("epoll".to_owned(), epoll(ctx.interfaces.epoll)?)];
    if let Some(api) = ctx.interfaces.compat_epoll {
        all.push(("compat-epoll".into(), epoll(api)?));
    }
    for lib in &ctx.interfaces.kqueues {
        match of_library(lib, &fds) {
            Ok(t) => all.push((lib.name.clone(), t)),
            Err(e) => bench.note(format!("resources: {} failed: {e:#}", lib.name)),
        }
    }
    let knotes = (n - 1) as f64;
    type Value = Box<dyn Fn(&Taken) -> f64>;
    let rows: [(&str, Unit, f64, Value); 6] = [
        (
            "malloc'ed per READ knote",
            Unit::Bytes,
            64.0,
            Box::new(move |t| t.knote.heap as f64 / knotes),
        ),
        (
            "dirtied pages per READ knote",
            Unit::Bytes,
            64.0,
            Box::new(move |t| t.knote.dirty as f64 / knotes),
        ),
        (
            "malloc'ed per queue",
            Unit::Bytes,
            2048.0,
            Box::new(|t| t.queue.heap as f64 / QUEUES as f64),
        ),
        (
            "dirtied pages per queue",
            Unit::Bytes,
            2048.0,
            Box::new(|t| t.queue.dirty as f64 / QUEUES as f64),
        ),
        (
            "descriptors per queue",
            Unit::Count,
            0.0,
            Box::new(|t| t.descriptors as f64 / QUEUES as f64),
        ),
        ("helper threads", Unit::Count, 0.0, Box::new(|t| t.threads as f64)),
    ];
    for (title, unit, most, value) in rows {
        let values: Vec<Vec<f64>> = all.iter().map(|(_, t)| vec![value(t)]).collect();
        let target = |name: &str| {
            matches!(name, "kqueue-c" | "compat-epoll").then_some(Target::AtMost(most))
        };
        let names = all.iter().map(|(name, _)| (name.clone(), target(name))).collect();
        let row = Row::cost("resources", title).unit(unit).sense(Sense::Extra);
        bench.cases.push(row.case(names, &values));
    }
    Ok(())
}
