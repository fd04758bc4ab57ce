//! What a queue and a knote take: memory, descriptors, threads. Native epoll keeps its own in the
//! kernel, so the native value is what the same steps change in this process without us.

use std::os::fd::{AsRawFd, RawFd};

use anyhow::{Context, Result};

use super::wait::Epoll;
use crate::ctx::Ctx;
use crate::fixture::eventfds;
use crate::iface::kq::{EV_ADD, EVFILT_READ, Kq, WithKq};
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

/// What any kind of kqueue takes.
struct TakenBy<'a> {
    fds: &'a [RawFd],
}

impl WithKq for TakenBy<'_> {
    type Out = Result<Taken>;

    fn run<K: Kq + 'static>(
        self,
        make: impl Fn() -> std::io::Result<K> + Send + Sync + 'static,
    ) -> Self::Out {
        taken(
            || Ok(make()?),
            |kq, fd| Ok(kq.change(&[K::event(fd as usize, EVFILT_READ, EV_ADD, 0, 0)])?),
            self.fds,
        )
    }
}

pub(super) fn rows(ctx: &Ctx, bench: &mut Bench) -> Result<()> {
    let n = if ctx.quick { 100 } else { 4000 };
    let n = *ctx.that_fit(&[n], 1, QUEUES * 5)?.0.first().context("no descriptors are left")?;
    // One number each, side by side, as a server's connections are; every second number would
    // charge a table by number twice.
    let eventfds = eventfds(n)?;
    let fds: Vec<RawFd> = eventfds.iter().map(AsRawFd::as_raw_fd).collect();
    let epoll = |api| {
        taken(
            || Epoll::new(api),
            |ep, fd| Ok(ep.ctl(libc::EPOLL_CTL_ADD, fd, libc::EPOLLIN as u32)?),
            &fds,
        )
    };
    let mut all = vec![("epoll".to_owned(), epoll(ctx.interfaces.epoll)?)];
    for &(name, api) in &ctx.interfaces.compat_epolls {
        all.push((name.into(), epoll(api)?));
    }
    for source in &ctx.interfaces.kqueues {
        match source.with(TakenBy { fds: &fds }) {
            Ok(t) => all.push((source.name.clone(), t)),
            Err(e) => bench.note(format!("resources: {} failed: {e:#}", source.name)),
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
        let target =
            |name: &str| matches!(name, "kqueue" | "kqueue-c").then_some(Target::AtMost(most));
        let names = all.iter().map(|(name, _)| (name.clone(), target(name))).collect();
        let row = Row::cost("resources", title).unit(unit).sense(Sense::Extra);
        bench.cases.push(row.case(names, &values));
    }
    Ok(())
}
