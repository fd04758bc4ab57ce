//! The web server of core's example, and the same on plain epoll.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsRawFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::Result;

use super::AncestorsArgs;
use crate::ctx::Ctx;
use crate::iface::capi::EpollApi;
use crate::measure::{Row, in_turns};
use crate::model::Bench;

#[path = "../../../core/examples/http_ring/serve.rs"]
mod serve;
#[path = "../../../core/examples/http_ring/serve_aio.rs"]
mod serve_aio;

use serve::Page;
use serve_aio::Answer;

/// Server threads, and threads that load them.
const THREADS: usize = 2;

/// Requests a second, for a small page and a larger one.
pub(super) fn run(ctx: &Ctx, args: &AncestorsArgs, bench: &mut Bench) -> Result<()> {
    let rounds = ctx.plan.rounds.min(9);
    let slice = Duration::from_secs_f64(ctx.plan.seconds(args.time) / rounds as f64);
    let has_requests = serve_aio::has_requests()?;
    if !has_requests {
        bench.note("web server, aio_sendfile: there is no io_uring here");
    }
    for bytes in [1024, 65536] {
        ctx.case("web server");
        let mut file = tempfile::NamedTempFile::new()?;
        file.write_all(&vec![b'x'; bytes])?;
        let page = Page::open(file.path())?;
        let answer = Answer::open(file.path())?;
        let mut lanes = vec!["epoll", "ring, wake-one"];
        lanes.extend(has_requests.then_some("ring, wake-one, aio_sendfile"));
        let values = in_turns(rounds, lanes.len(), |lane| {
            let api = ctx.interfaces.epoll;
            requests(slice, args.connections, &page, |listener, stop| match lane {
                0 => epoll_worker(api, listener, &page, stop),
                1 => serve::worker(listener, &page, stop),
                _ => serve_aio::worker(listener, &answer, stop),
            })
        })?;
        let lanes = lanes.into_iter().map(|name| (name.to_owned(), None)).collect();
        bench.cases.push(Row::rate("web server, bytes", "requests").at(bytes).case(lanes, &values));
        ctx.done();
    }
    Ok(())
}

/// Loads a server for a while; answers a second.
fn requests(
    time: Duration,
    connections: usize,
    page: &Page,
    worker: impl Fn(&TcpListener, RawFd) -> io::Result<u64> + Sync,
) -> Result<f64> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    let (stop, stopping) = std::io::pipe()?;
    let over = AtomicBool::new(false);
    let each = connections.div_ceil(THREADS);
    std::thread::scope(|scope| {
        let servers: Vec<_> =
            (0..THREADS).map(|_| scope.spawn(|| worker(&listener, stop.as_raw_fd()))).collect();
        let began = Instant::now();
        let clients: Vec<_> = (0..THREADS)
            .map(|_| scope.spawn(|| load(address, each, page.answer_len(), &over)))
            .collect();
        std::thread::sleep(time);
        over.store(true, Ordering::Relaxed);
        let mut answers = 0;
        for client in clients {
            answers += client.join().expect("a client does not panic")?;
        }
        let took = began.elapsed();
        drop(stopping);
        for server in servers {
            server.join().expect("a server does not panic")?;
        }
        Ok(answers as f64 / took.as_secs_f64())
    })
}

/// A request on each connection, then all answers, and again; how many answers.
fn load(address: SocketAddr, n: usize, answer: usize, over: &AtomicBool) -> io::Result<u64> {
    let mut streams: Vec<_> =
        (0..n).map(|_| TcpStream::connect(address)).collect::<io::Result<_>>()?;
    let mut room = vec![0; answer];
    let mut answers = 0;
    while !over.load(Ordering::Relaxed) {
        for stream in &mut streams {
            stream.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")?;
        }
        for stream in &mut streams {
            stream.read_exact(&mut room)?;
            answers += 1;
        }
    }
    Ok(answers)
}

/// As [`serve::worker`], on plain epoll.
fn epoll_worker(
    api: EpollApi,
    listener: &TcpListener,
    page: &Page,
    stop: RawFd,
) -> io::Result<u64> {
    let ep = api.create()?;
    let add =
        |fd: RawFd, events: i32| api.ctl(ep, libc::EPOLL_CTL_ADD, fd, events as u32, fd as u64);
    add(listener.as_raw_fd(), libc::EPOLLIN)?;
    add(stop, libc::EPOLLIN)?;
    let mut conns = HashMap::new();
    let mut events = [libc::epoll_event { events: 0, u64: 0 }; 64];
    let mut served = 0;
    loop {
        let n = api.wait(ep, &mut events, -1)?;
        for event in &events[..n] {
            let fd = event.u64 as RawFd;
            if fd == stop {
                // SAFETY: the queue's own number, closed once.
                unsafe { libc::close(ep) };
                return Ok(served);
            }
            if fd == listener.as_raw_fd() {
                serve::accept(listener, |conn| {
                    let fd = conn.fd();
                    add(fd, libc::EPOLLIN | libc::EPOLLOUT | libc::EPOLLET)?;
                    conns.insert(fd, conn);
                    Ok(())
                })?;
            } else if let Some(conn) = conns.get_mut(&fd) {
                match serve::Conn::go_on(conn, page) {
                    Ok(n) => served += n,
                    Err(_) => drop(conns.remove(&fd)),
                }
            }
        }
    }
}
