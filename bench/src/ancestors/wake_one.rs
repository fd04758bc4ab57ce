//! Several threads, each with a queue of its own, wait for one source: tokens a second. Where all are
//! woken for each, they take the processor from the one that works.

use std::io::{self, PipeReader, Read, Write, pipe};
use std::os::fd::{AsRawFd, RawFd};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::Result;
use kq_core::{EvFlags, EventFilter, FilterFlag, KEvent, Kqueue};

use super::AncestorsArgs;
use crate::ctx::Ctx;
use crate::iface::capi::EpollApi;
use crate::measure::{Row, in_turns};
use crate::model::Bench;

/// Whose queues, and whether all of them are woken.
#[derive(Clone, Copy, Debug)]
enum Lane {
    Epoll { exclusive: bool },
    Kqueue { wake_one: bool },
}

const LANES: [(Lane, &str); 4] = [
    (Lane::Epoll { exclusive: false }, "epoll"),
    (Lane::Epoll { exclusive: true }, "epoll, EPOLLEXCLUSIVE"),
    (Lane::Kqueue { wake_one: false }, "kqueue"),
    (Lane::Kqueue { wake_one: true }, "kqueue, EV_WAKEONE"),
];

enum Queue {
    Epoll(EpollApi, RawFd),
    Kqueue(Kqueue),
}

impl Queue {
    fn new(api: EpollApi, lane: Lane, source: &PipeReader) -> io::Result<Self> {
        let fd = source.as_raw_fd();
        match lane {
            Lane::Epoll { exclusive } => {
                let ep = api.create()?;
                let exclusive = if exclusive { libc::EPOLLEXCLUSIVE } else { 0 };
                api.ctl(ep, libc::EPOLL_CTL_ADD, fd, (libc::EPOLLIN | exclusive) as u32, 0)?;
                Ok(Self::Epoll(api, ep))
            }
            Lane::Kqueue { wake_one } => {
                let one = if wake_one { EvFlags::EV_WAKEONE } else { EvFlags::empty() };
                let (flags, none) = (EvFlags::EV_ADD | one, FilterFlag::NOTE_NODATA);
                let add = KEvent::new(fd as usize, EventFilter::EVFILT_READ, flags, none, 0, 0);
                let kq = Kqueue::new()?;
                kq.kevent(&[add], &mut [], None)?;
                Ok(Self::Kqueue(kq))
            }
        }
    }

    /// Waits, 100 ms at most; whether something came.
    fn wait(&self) -> io::Result<bool> {
        match self {
            Self::Epoll(api, ep) => {
                let mut room = [libc::epoll_event { events: 0, u64: 0 }];
                Ok(api.wait(*ep, &mut room, 100)? > 0)
            }
            Self::Kqueue(kq) => {
                let time = libc::timespec { tv_sec: 0, tv_nsec: 100_000_000 };
                Ok(kq.kevent(&[], &mut [KEvent::default()], Some(time))? > 0)
            }
        }
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        if let Self::Epoll(_, ep) = self {
            // SAFETY: the queue's own number, closed once.
            unsafe { libc::close(*ep) };
        }
    }
}

/// Tokens a second.
pub(super) fn run(ctx: &Ctx, args: &AncestorsArgs, bench: &mut Bench) -> Result<()> {
    let rounds = ctx.plan.rounds.min(9);
    let slice = Duration::from_secs_f64(ctx.plan.seconds(args.time) / rounds as f64);
    ctx.case("wake-one");
    let values = in_turns(rounds, LANES.len(), |lane| {
        tokens(ctx.interfaces.epoll, LANES[lane].0, args.threads, slice)
    })?;
    ctx.done();
    let lanes = LANES.map(|(_, name)| (name.to_owned(), None)).to_vec();
    let group = "a queue for each thread, one source";
    bench.cases.push(Row::rate(group, "tokens").at(args.threads).case(lanes, &values));
    Ok(())
}

/// A token is sent when the one before has been read.
fn tokens(api: EpollApi, lane: Lane, threads: usize, time: Duration) -> Result<f64> {
    let (source, mut sink) = pipe()?;
    // SAFETY: takes no pointer.
    unsafe { libc::fcntl(source.as_raw_fd(), libc::F_SETFL, libc::O_NONBLOCK) };
    let (read, stop) = (AtomicU64::new(0), AtomicBool::new(false));
    let work = |queue: Queue| -> io::Result<()> {
        while !stop.load(Ordering::Relaxed) {
            if queue.wait()? && (&source).read(&mut [0]).is_ok() {
                read.fetch_add(1, Ordering::Release);
            }
        }
        Ok(())
    };
    let queues: Vec<_> =
        (0..threads).map(|_| Queue::new(api, lane, &source)).collect::<io::Result<_>>()?;
    std::thread::scope(|scope| {
        let workers: Vec<_> = queues.into_iter().map(|q| scope.spawn(|| work(q))).collect();
        let began = Instant::now();
        let mut sent = 0;
        while began.elapsed() < time {
            sink.write_all(b"x")?;
            sent += 1;
            while read.load(Ordering::Acquire) < sent {
                std::thread::yield_now();
            }
        }
        let took = began.elapsed();
        stop.store(true, Ordering::Relaxed);
        for worker in workers {
            worker.join().expect("a worker does not panic")?;
        }
        Ok(sent as f64 / took.as_secs_f64())
    })
}
