//! The least that a queue can do which several threads wait on.

use std::io;
use std::os::fd::RawFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result};

use super::least::{Counted, Knote, Least, Of, Room};
use crate::ctx::Ctx;
use crate::iface::capi::EpollApi;
use crate::iface::poller::{Poller, Want};
use crate::iface::{Family, Interface};
use crate::model::Bench;
use crate::scale::{self, Floor};

/// How a floor's events are fetched and its registrations changed.
trait Queue: Send + Sync + 'static {
    fn ctl(&self, op: i32, fd: RawFd, events: u32) -> io::Result<()>;

    /// Waits, and puts what is ready into `ready`.
    fn wait(&self, room: &mut Room, timeout: i32, ready: &mut Vec<RawFd>) -> Result<()>;
}

/// One lock for all knotes.
impl Queue for Least {
    fn ctl(&self, op: i32, fd: RawFd, events: u32) -> io::Result<()> {
        self.ctl(op, fd, events)
    }

    fn wait(&self, room: &mut Room, timeout: i32, ready: &mut Vec<RawFd>) -> Result<()> {
        let n = self.wait(room, timeout, false)?;
        ready.extend(room.idents(n));
        Ok(())
    }
}

/// A kqueue with a lock for each knote, so that what threads do to one is no other's matter. That takes
/// counters which are counted by locked instructions.
struct Apart {
    least: Least,
    knotes: Vec<Line<Mutex<Knote>>>,
    changes: Line<AtomicU64>,
    waits: Line<AtomicU64>,
    events: AtomicU64,
    /// Sleeps that are over.
    woken: AtomicU64,
}

/// What threads do not take from each other.
#[derive(Default)]
#[repr(align(64))]
struct Line<T>(T);

impl Apart {
    /// Numbers that it has room for.
    const NUMBERS: usize = 1024;

    fn new(api: EpollApi, of: Of) -> Result<Self> {
        Ok(Self {
            least: Least::new(api, of)?,
            knotes: (0..Self::NUMBERS).map(|_| Line::default()).collect(),
            changes: Line::default(),
            waits: Line::default(),
            events: AtomicU64::new(0),
            woken: AtomicU64::new(0),
        })
    }

    #[inline]
    fn locked<R>(&self, fd: RawFd, work: impl FnOnce(&mut Knote) -> Result<R>) -> Result<R> {
        let Line(knote) = self.knotes.get(fd as usize).context("a number that is too high")?;
        self.least.inside(|| work(&mut knote.lock().unwrap_or_else(PoisonError::into_inner)))
    }
}

impl Queue for Apart {
    fn ctl(&self, op: i32, fd: RawFd, events: u32) -> io::Result<()> {
        self.least.enter(&raw const events, &raw const op)?;
        self.changes.0.fetch_add(1, Ordering::Relaxed);
        self.locked(fd, |knote| Ok(knote.register(&self.least.ep, op, fd, events)?))
            .map_err(io::Error::other)
    }

    fn wait(&self, room: &mut Room, timeout: i32, ready: &mut Vec<RawFd>) -> Result<()> {
        let n = self.least.fetch(room, timeout)?;
        self.woken.fetch_add(u64::from(timeout != 0), Ordering::Release);
        self.waits.0.fetch_add(1, Ordering::Relaxed);
        self.least.must_be_open()?;
        for (&from, to) in room.kernels[..n].iter().zip(&mut room.events) {
            *to = self.locked(from.u64 as u32 as RawFd, |knote| knote.event(from, false))?;
        }
        self.events.fetch_add(n as u64, Ordering::Relaxed);
        ready.extend(room.idents(n));
        Ok(())
    }
}

impl Queue for Counted {
    fn ctl(&self, op: i32, fd: RawFd, events: u32) -> io::Result<()> {
        self.ctl(op, fd, events)
    }

    fn wait(&self, room: &mut Room, timeout: i32, ready: &mut Vec<RawFd>) -> Result<()> {
        let n = self.wait(&mut room.kernels, timeout)?;
        ready.extend(room.kernels[..n].iter().map(|event| event.u64 as RawFd));
        Ok(())
    }
}

/// A floor, as one thread sees it.
struct Shared<Q> {
    queue: Arc<Q>,
    room: Room,
}

impl<Q: Queue> Shared<Q> {
    fn open(queue: Q, max: usize) -> Box<dyn Poller> {
        Box::new(Self { queue: Arc::new(queue), room: Room::new(max) })
    }
}

/// What is asked of the kernel.
fn events(want: Want) -> u32 {
    let bit = |on: bool, bit: i32| if on { bit as u32 } else { 0 };
    libc::EPOLLIN as u32 | bit(want.edge, libc::EPOLLET) | bit(want.oneshot, libc::EPOLLONESHOT)
}

impl<Q: Queue> Poller for Shared<Q> {
    fn add(&mut self, fd: RawFd, want: Want) -> io::Result<()> {
        self.queue.ctl(libc::EPOLL_CTL_ADD, fd, events(want))
    }

    fn modify(&mut self, fd: RawFd, want: Want) -> io::Result<()> {
        self.queue.ctl(libc::EPOLL_CTL_MOD, fd, events(want))
    }

    fn delete(&mut self, fd: RawFd) -> io::Result<()> {
        self.queue.ctl(libc::EPOLL_CTL_DEL, fd, 0)
    }

    fn wait(&mut self, timeout: i32, ready: &mut Vec<RawFd>) -> io::Result<()> {
        ready.clear();
        self.queue.wait(&mut self.room, timeout, ready).map_err(io::Error::other)
    }

    fn share(&self) -> Option<Box<dyn Poller>> {
        Some(Box::new(Self { queue: Arc::clone(&self.queue), room: self.room.clone() }))
    }
}

pub(super) fn rows(ctx: &Ctx, bench: &mut Bench) -> Result<()> {
    bench.cases.extend(scale::two_threads(ctx, 4.0, &floors(ctx.interfaces.epoll))?);
    Ok(())
}

/// All of them, each with those whose floor it is.
fn floors(api: EpollApi) -> Vec<Floor> {
    let mut all = Vec::new();
    let counted = Interface::of_our_own("epoll, counted", Family::Epoll, move |max| {
        Ok(Shared::open(Counted::new(api)?, max))
    });
    all.push(Floor { least: counted, of: &["compat-epoll", "compat-epoll-rust"] });
    for (of, border) in Of::KQUEUES {
        let name = format!("epoll, one lock{border}");
        let one = Interface::of_our_own(name, Family::Kqueue, move |max| {
            Ok(Shared::open(Least::new(api, of)?, max))
        });
        let is_of: &[&str] = if of == Of::KqueueC { &["kqueue-c"] } else { &["kqueue"] };
        all.push(Floor { least: one, of: is_of });
    }
    let apart = Interface::of_our_own("epoll, a lock a knote", Family::Kqueue, move |max| {
        Ok(Shared::open(Apart::new(api, Of::Kqueue)?, max))
    });
    all.push(Floor { least: apart, of: &[] });
    all
}
