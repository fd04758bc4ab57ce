//! Waits and triggers from several threads, on a queue each and on one queue: what a lock that is
//! global, or held while waiting, would show (DragonFly's stage 6). Natively eventfds in epoll sets.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::Result;
use kq_core::{EvFlags, EventFilter, FilterFlag, KEvent, Kqueue};

use super::AncestorsArgs;
use crate::ctx::Ctx;
use crate::fixture::eventfds;
use crate::iface::capi::EpollApi;
use crate::measure::{Row, in_turns};
use crate::model::{Bench, Case};

const THREADS: [usize; 4] = [1, 2, 4, 8];

/// A trigger and a wait, again and again.
pub(super) fn run(ctx: &Ctx, args: &AncestorsArgs, bench: &mut Bench) -> Result<()> {
    for shared in [false, true] {
        for threads in THREADS {
            ctx.case("waits and triggers");
            bench.cases.push(row(ctx, args, threads, shared)?);
            ctx.done();
        }
    }
    Ok(())
}

/// What a thread has: a queue, its own or all threads', and an event of its own in it.
trait Worker: Send {
    fn trigger(&mut self) -> io::Result<()>;
    /// Takes one event, if there is one: its own, or in a shared queue another's.
    fn take(&mut self) -> io::Result<usize>;
}

struct Epoll {
    api: EpollApi,
    ep: Arc<OwnedFd>,
    event: OwnedFd,
}

impl Worker for Epoll {
    fn trigger(&mut self) -> io::Result<()> {
        let one = 1_u64.to_ne_bytes();
        // SAFETY: reads eight bytes.
        match unsafe { libc::write(self.event.as_raw_fd(), one.as_ptr().cast(), one.len()) } {
            8 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }

    fn take(&mut self) -> io::Result<usize> {
        let mut room = [libc::epoll_event { events: 0, u64: 0 }];
        self.api.wait(self.ep.as_raw_fd(), &mut room, 0)
    }
}

struct User {
    kq: Arc<Kqueue>,
    trigger: [KEvent; 1],
}

impl Worker for User {
    fn trigger(&mut self) -> io::Result<()> {
        Ok(self.kq.kevent(&self.trigger, &mut [], None).map(drop)?)
    }

    fn take(&mut self) -> io::Result<usize> {
        let now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        Ok(self.kq.kevent(&[], &mut [KEvent::default()], Some(now))?)
    }
}

fn row(ctx: &Ctx, args: &AncestorsArgs, threads: usize, shared: bool) -> Result<Case> {
    let rounds = ctx.plan.rounds.min(9);
    let slice = Duration::from_secs_f64(ctx.plan.seconds(args.time) / 2.0 / rounds as f64);
    let values = in_turns(rounds, 2, |lane| {
        let workers: Vec<Box<dyn Worker>> = match lane {
            0 => epolls(ctx.interfaces.epoll, threads, shared)?,
            _ => users(threads, shared)?,
        };
        rate(workers, slice)
    })?;
    let group = if shared { "threads, one queue" } else { "threads, a queue each" };
    let lanes = ["epoll", "kqueue"].map(|name| (name.to_owned(), None)).to_vec();
    Ok(Row::rate(group, "triggers and waits").at(threads).case(lanes, &values))
}

/// `make` gives a queue: one for all, or one for each.
fn queues<Q>(
    n: usize,
    shared: bool,
    mut make: impl FnMut() -> io::Result<Q>,
) -> io::Result<Vec<Arc<Q>>> {
    let first = Arc::new(make()?);
    let mut rest = |_| if shared { Ok(Arc::clone(&first)) } else { make().map(Arc::new) };
    (0..n).map(&mut rest).collect()
}

fn epolls(api: EpollApi, n: usize, shared: bool) -> Result<Vec<Box<dyn Worker>>> {
    use std::os::fd::FromRawFd;
    // SAFETY: new, and nobody else's.
    let make = || api.create().map(|fd: RawFd| unsafe { OwnedFd::from_raw_fd(fd) });
    let worker = |(ep, event): (Arc<OwnedFd>, OwnedFd)| -> Result<Box<dyn Worker>> {
        let (fd, events) = (event.as_raw_fd(), (libc::EPOLLIN | libc::EPOLLET) as u32);
        api.ctl(ep.as_raw_fd(), libc::EPOLL_CTL_ADD, fd, events, 0)?;
        Ok(Box::new(Epoll { api, ep, event }))
    };
    queues(n, shared, make)?.into_iter().zip(eventfds(n)?).map(worker).collect()
}

fn users(n: usize, shared: bool) -> Result<Vec<Box<dyn Worker>>> {
    let user =
        |ident, flags, fflags| KEvent::new(ident, EventFilter::EVFILT_USER, flags, fflags, 0, 0);
    let worker = |(ident, kq): (usize, Arc<Kqueue>)| -> Result<Box<dyn Worker>> {
        let flags = EvFlags::EV_ADD | EvFlags::EV_CLEAR;
        kq.kevent(&[user(ident, flags, FilterFlag::empty())], &mut [], None)?;
        let trigger = [user(ident, EvFlags::empty(), FilterFlag::NOTE_TRIGGER)];
        Ok(Box::new(User { kq, trigger }))
    };
    queues(n, shared, || Ok(Kqueue::new()?))?.into_iter().enumerate().map(worker).collect()
}

/// Triggers a second, of all threads.
fn rate(workers: Vec<Box<dyn Worker>>, time: Duration) -> Result<f64> {
    let stop = AtomicBool::new(false);
    let work = |mut worker: Box<dyn Worker>| -> io::Result<u64> {
        let mut triggers = 0;
        while !stop.load(Ordering::Relaxed) {
            worker.trigger()?;
            worker.take()?;
            triggers += 1;
        }
        Ok(triggers)
    };
    std::thread::scope(|scope| {
        let began = Instant::now();
        let threads: Vec<_> =
            workers.into_iter().map(|worker| scope.spawn(|| work(worker))).collect();
        std::thread::sleep(time);
        stop.store(true, Ordering::Relaxed);
        let took = began.elapsed();
        let mut triggers = 0;
        for thread in threads {
            triggers += thread.join().expect("a worker does not panic")?;
        }
        Ok(triggers as f64 / took.as_secs_f64())
    })
}
