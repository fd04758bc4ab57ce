//! Selective wake-up: requests that come to each CPU, threads on each that wait in one queue; how many
//! requests are handled on another CPU than the one that their data came to.

use std::io;
use std::os::fd::RawFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::Result;
use kq_core::{Cpus, Errno, EvFlags, EventFilter, FilterFlag, KEvent, Kqueue, Places, Selective};

use super::AncestorsArgs;
use crate::ctx::Ctx;
use crate::fixture::{Kind, Stream, read_some, streams, write_byte};
use crate::host;
use crate::iface::capi::EpollApi;
use crate::measure::{Row, in_turns};
use crate::model::{Bench, Sense, Unit};

/// Connections of each client: one request at a time finds the threads asleep, many find them busy.
const CONNECTIONS: [usize; 2] = [1, 16];
const LANES: [&str; 3] = ["epoll", "kqueue", "kqueue, selective"];

/// Requests a second, those that were handled elsewhere, and what that costs in sleeps.
pub(super) fn run(ctx: &Ctx, args: &AncestorsArgs, bench: &mut Bench) -> Result<()> {
    let cpus = match &ctx.cpus[..] {
        [] => host::allowed()?,
        cpus => cpus.to_vec(),
    };
    for connections in CONNECTIONS {
        ctx.case("selective wake-up");
        rows(ctx, args, &cpus, connections, bench)?;
        ctx.done();
    }
    Ok(())
}

fn rows(
    ctx: &Ctx,
    args: &AncestorsArgs,
    cpus: &[usize],
    connections: usize,
    bench: &mut Bench,
) -> Result<()> {
    let rounds = ctx.plan.rounds.min(9);
    let slice = Duration::from_secs_f64(ctx.plan.seconds(args.time) / rounds as f64);
    let mut elsewhere = vec![Vec::new(); LANES.len()];
    let mut sleeps = vec![Vec::new(); LANES.len()];
    let rates = in_turns(rounds, LANES.len(), |lane| {
        let done = requests(cpus, connections, slice, |streams| match lane {
            0 => epoll(ctx.interfaces.epoll, streams),
            1 => kqueue(streams).map(|kq| Box::new(kq) as Box<dyn Waits>),
            _ => kqueue(streams).map(|kq| Box::new(Selective::new(kq)) as Box<dyn Waits>),
        })?;
        elsewhere[lane].push(done.elsewhere);
        sleeps[lane].push(done.sleeps);
        Ok(done.rate)
    })?;
    let group = format!("one queue, {} CPUs, connections to each", cpus.len());
    let lanes = || LANES.map(|name| (name.to_owned(), None)).to_vec();
    bench.cases.push(Row::rate(&group, "requests").at(connections).case(lanes(), &rates));
    let row = |title| Row::cost(&group, title).unit(Unit::Count).at(connections);
    let title = "of 100 requests, those handled on another CPU than their data's";
    bench.cases.push(row(title).sense(Sense::Extra).case(lanes(), &elsewhere));
    let title = "sleeps of the threads for 100 requests";
    bench.cases.push(row(title).case(lanes(), &sleeps));
    Ok(())
}

/// A queue in which several threads wait.
trait Waits: Sync {
    /// Waits, 10 ms at most; puts the sockets that have something into `ready`.
    fn wait(&self, ready: &mut Vec<RawFd>) -> io::Result<()>;
}

const SOON: libc::timespec = libc::timespec { tv_sec: 0, tv_nsec: 10_000_000 };
/// Most events that a wait fetches.
const ROOM: usize = 4;

struct Epoll(EpollApi, RawFd);

impl Drop for Epoll {
    fn drop(&mut self) {
        // SAFETY: the queue's own number, closed once.
        unsafe { libc::close(self.1) };
    }
}

impl Waits for Epoll {
    fn wait(&self, ready: &mut Vec<RawFd>) -> io::Result<()> {
        let mut room = [libc::epoll_event { events: 0, u64: 0 }; ROOM];
        let n = self.0.wait(self.1, &mut room, 10)?;
        ready.extend(room[..n].iter().map(|event| event.u64 as RawFd));
        Ok(())
    }
}

impl Waits for Kqueue {
    fn wait(&self, ready: &mut Vec<RawFd>) -> io::Result<()> {
        let mut room = [KEvent::default(); ROOM];
        let n = self.kevent(&[], &mut room, Some(SOON))?;
        ready.extend(room[..n].iter().map(|event| event.ident() as RawFd));
        Ok(())
    }
}

impl Waits for Selective<Kqueue> {
    fn wait(&self, ready: &mut Vec<RawFd>) -> io::Result<()> {
        let mut room = [KEvent::default(); ROOM];
        let n = self.wait(&mut room, Some(SOON))?;
        ready.extend(room[..n].iter().map(|event| event.ident() as RawFd));
        Ok(())
    }
}

fn epoll(api: EpollApi, streams: &[Stream]) -> Result<Box<dyn Waits>> {
    let epoll = Epoll(api, api.create()?);
    for stream in streams {
        let (fd, events) = (stream.read_fd(), (libc::EPOLLIN | libc::EPOLLET) as u32);
        api.ctl(epoll.1, libc::EPOLL_CTL_ADD, fd, events, fd as u64)?;
    }
    Ok(Box::new(epoll))
}

fn kqueue(streams: &[Stream]) -> Result<Kqueue> {
    let kq = Kqueue::new()?;
    for stream in streams {
        let (flags, filter) = (EvFlags::EV_ADD | EvFlags::EV_CLEAR, EventFilter::EVFILT_READ);
        let (fd, none) = (stream.read_fd() as usize, FilterFlag::NOTE_NODATA);
        kq.kevent(&[KEvent::new(fd, filter, flags, none, 0, 0)], &mut [], None)?;
    }
    Ok(kq)
}

struct Done {
    /// Requests a second.
    rate: f64,
    /// Of 100 requests.
    elsewhere: f64,
    sleeps: f64,
}

/// What one server thread did.
#[derive(Default)]
struct Served {
    requests: u64,
    elsewhere: u64,
    sleeps: u64,
}

/// A client on each CPU sends a request on each of its connections and waits for all answers, again
/// and again; a server thread on each CPU waits in the one queue.
fn requests(
    cpus: &[usize],
    connections: usize,
    time: Duration,
    queue: impl FnOnce(&[Stream]) -> Result<Box<dyn Waits>>,
) -> Result<Done> {
    let streams = streams(Kind::Inet, connections * cpus.len())?;
    let queue = queue(&streams)?;
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let (queue, stop) = (&*queue, &stop);
        let servers: Vec<_> =
            cpus.iter().map(|&cpu| scope.spawn(move || serve(cpu, queue, stop))).collect();
        let began = Instant::now();
        let until = began + time;
        let clients: Vec<_> = cpus
            .iter()
            .zip(streams.chunks(connections))
            .map(|(&cpu, streams)| scope.spawn(move || ask(cpu, streams, until)))
            .collect();
        let asked: Result<Vec<()>> =
            clients.into_iter().map(|c| c.join().expect("a client does not panic")).collect();
        let took = began.elapsed();
        stop.store(true, Ordering::Relaxed);
        let mut all = Served::default();
        for server in servers {
            let served = server.join().expect("a server does not panic")?;
            all.requests += served.requests;
            all.elsewhere += served.elsewhere;
            all.sleeps += served.sleeps;
        }
        asked?;
        let of_100 = |n: u64| 100.0 * n as f64 / all.requests.max(1) as f64;
        Ok(Done {
            rate: all.requests as f64 / took.as_secs_f64(),
            elsewhere: of_100(all.elsewhere),
            sleeps: of_100(all.sleeps),
        })
    })
}

fn ask(cpu: usize, streams: &[Stream], until: Instant) -> Result<()> {
    host::pin(&[cpu])?;
    let mut room = [0; 8];
    while Instant::now() < until {
        for stream in streams {
            write_byte(stream.write_fd())?;
        }
        for stream in streams {
            let mut entry =
                libc::pollfd { fd: stream.write_fd(), events: libc::POLLIN, revents: 0 };
            // SAFETY: one entry.
            unsafe { libc::poll(&mut entry, 1, -1) };
            read_some(stream.write_fd(), &mut room)?;
        }
    }
    Ok(())
}

fn serve(cpu: usize, queue: &dyn Waits, stop: &AtomicBool) -> Result<Served> {
    host::pin(&[cpu])?;
    let before = sleeps()?;
    let (mut served, mut ready, mut room) = (Served::default(), Vec::new(), [0; 8]);
    while !stop.load(Ordering::Relaxed) {
        ready.clear();
        match queue.wait(&mut ready) {
            Err(e) if e.raw_os_error() == Some(Errno::EINTR as i32) => continue,
            done => done?,
        }
        for &fd in &ready {
            match read_some(fd, &mut room) {
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => continue,
                done => done?,
            };
            served.requests += 1;
            served.elsewhere += u64::from(data_of(fd) != Some(cpu as u32));
            write_byte(fd)?;
        }
    }
    served.sleeps = sleeps()? - before;
    Ok(served)
}

/// The CPU that a socket's data came to.
fn data_of(fd: RawFd) -> Option<u32> {
    let (filter, none) = (EventFilter::EVFILT_READ, FilterFlag::empty());
    Cpus.of(&KEvent::new(fd as usize, filter, EvFlags::empty(), none, 0, 0))
}

/// How often this thread went to sleep.
fn sleeps() -> Result<u64> {
    // SAFETY: zeros are a rusage, which the call fills.
    let usage = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        anyhow::ensure!(libc::getrusage(libc::RUSAGE_THREAD, &mut usage) == 0);
        usage
    };
    Ok(usage.ru_nvcsw as u64)
}
