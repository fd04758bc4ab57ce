//! epoll_bench's reader with the ring.

use std::io;
use std::os::fd::RawFd;
use std::time::Duration;

use anyhow::Result;
use kq_core::{Errno, EvFlags, EventFilter, FilterFlag, KEvent, Kqueue, Ring};
use libc::{c_int, timespec};

use super::AncestorsArgs;
use crate::ctx::Ctx;
use crate::epoll_bench::{Trigger, traffic, wait_and_read, write_randomly};
use crate::fixture::{Kind, streams};
use crate::iface::poller::{EpollPoller, Poller, Want};
use crate::measure::{Row, in_turns};
use crate::model::Bench;

/// A queue's ring. `EV_CLEAR` where the edge is wanted; the number of bytes is not.
pub(crate) struct RingPoller {
    ring: Ring<Kqueue>,
    events: Vec<KEvent>,
    /// Beside EV_ADD and EV_CLEAR: EV_WAKEONE.
    flags: EvFlags,
}

impl RingPoller {
    pub(crate) fn new(capacity: usize, max_events: usize, flags: EvFlags) -> Result<Self> {
        let ring = Ring::new(Kqueue::new()?, capacity)?;
        Ok(Self { ring, events: vec![KEvent::default(); max_events], flags })
    }
}

impl Poller for RingPoller {
    fn add(&mut self, fd: RawFd, want: Want) -> io::Result<()> {
        let edge = if want.edge { EvFlags::EV_CLEAR } else { EvFlags::empty() };
        let flags = EvFlags::EV_ADD | edge | self.flags;
        let filter = EventFilter::EVFILT_READ;
        let add = KEvent::new(fd as usize, filter, flags, FilterFlag::NOTE_NODATA, 0, 0);
        Ok(self.ring.queue().kevent(&[add], &mut [], None).map(drop)?)
    }

    fn modify(&mut self, fd: RawFd, want: Want) -> io::Result<()> {
        self.add(fd, want)
    }

    fn delete(&mut self, fd: RawFd) -> io::Result<()> {
        let (filter, flags) = (EventFilter::EVFILT_READ, EvFlags::EV_DELETE);
        let delete = KEvent::new(fd as usize, filter, flags, FilterFlag::empty(), 0, 0);
        Ok(self.ring.queue().kevent(&[delete], &mut [], None).map(drop)?)
    }

    fn wait(&mut self, timeout: c_int, ready: &mut Vec<RawFd>) -> io::Result<()> {
        ready.clear();
        let time = timespec {
            tv_sec: (timeout / 1000).into(),
            tv_nsec: (timeout % 1000 * 1_000_000).into(),
        };
        match self.ring.wait((timeout >= 0).then_some(time)) {
            Err(Errno::EINTR) => return Ok(()),
            done => done?,
        };
        let n = self.ring.take(&mut self.events);
        ready.extend(self.events[..n].iter().map(|event| event.ident() as RawFd));
        Ok(())
    }

    fn share(&self) -> Option<Box<dyn Poller>> {
        None
    }
}

/// Both triggers, on inet.
pub(super) fn run(ctx: &Ctx, args: &AncestorsArgs, bench: &mut Bench) -> Result<()> {
    let rounds = ctx.plan.rounds.min(15);
    let slice = Duration::from_secs_f64(ctx.plan.seconds(args.time) / rounds as f64);
    let streams = streams(Kind::Inet, args.n)?;
    for trigger in [Trigger::Lt, Trigger::Et] {
        ctx.case("epoll-bench with the ring");
        let values = in_turns(rounds, 2, |lane| {
            let mut poller: Box<dyn Poller> = match lane {
                0 => Box::new(EpollPoller::new(ctx.interfaces.epoll, 64)?),
                _ => Box::new(RingPoller::new(1024, 64, EvFlags::empty())?),
            };
            let want = if trigger == Trigger::Et { Want::READ_EDGE } else { Want::READ };
            for stream in &streams {
                poller.add(stream.read_fd(), want)?;
            }
            let produce = |stop: &_| write_randomly(ctx, &streams, 1, stop);
            traffic(ctx, slice, produce, |until| wait_and_read(&mut *poller, until))
        })?;
        let lanes = ["epoll", "ring"].map(|name| (name.to_owned(), None)).to_vec();
        let group = format!("epoll-bench inet {}", trigger.name());
        bench.cases.push(Row::rate(&group, "events").at(args.n).case(lanes, &values));
        ctx.done();
    }
    Ok(())
}
