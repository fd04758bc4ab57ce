//! A thread for each CPU waits in one queue that watches all connections; a request is answered on
//! the CPU that it came to, if that thread is not busy.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;

use kq_core::*;

const CONNECTIONS: usize = 8;
const REQUESTS: usize = 100;

fn main() -> std::io::Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let pair = |_| -> std::io::Result<_> {
        let client = TcpStream::connect(listener.local_addr()?)?;
        Ok((client, listener.accept()?.0))
    };
    let pairs = (0..CONNECTIONS).map(pair).collect::<std::io::Result<Vec<_>>>()?;
    let queue = Selective::new(Kqueue::new()?);
    for (at, (_, server)) in pairs.iter().enumerate() {
        // Disabled after each event, so that one thread at a time has the connection.
        let flags = EvFlags::EV_ADD | EvFlags::EV_DISPATCH;
        let (fd, none) = (server.as_raw_fd() as usize, FilterFlag::empty());
        let add = KEvent::new(fd, EventFilter::EVFILT_READ, flags, none, 0, at as isize);
        queue.queue().kevent(&[add], &mut [], None)?;
    }
    let stop = |fflags| KEvent::new(0, EventFilter::EVFILT_USER, EvFlags::EV_ADD, fflags, 0, -1);
    queue.queue().kevent(&[stop(FilterFlag::empty())], &mut [], None)?;
    let serve = || -> std::io::Result<()> {
        let mut events = [KEvent::default(); 8];
        loop {
            let n = queue.wait(&mut events, None)?;
            for event in &events[..n] {
                let Some((_, server)) = pairs.get(event.udata() as usize) else { return Ok(()) };
                let mut byte = [0];
                { server }.read_exact(&mut byte)?;
                { server }.write_all(&byte)?;
                let (filter, flags) = (EventFilter::EVFILT_READ, EvFlags::EV_ENABLE);
                let none = FilterFlag::empty();
                let enable = KEvent::new(event.ident(), filter, flags, none, 0, event.udata());
                queue.queue().kevent(&[enable], &mut [], None)?;
            }
        }
    };
    std::thread::scope(|threads| {
        let workers = std::thread::available_parallelism().map_or(1, usize::from);
        let workers: Vec<_> = (0..workers).map(|_| threads.spawn(serve)).collect();
        for _ in 0..REQUESTS {
            pairs.iter().try_for_each(|(client, _)| { client }.write_all(b"x"))?;
            pairs.iter().try_for_each(|(client, _)| { client }.read_exact(&mut [0]))?;
        }
        // A level-triggered event, for every thread.
        queue.queue().kevent(&[stop(FilterFlag::NOTE_TRIGGER)], &mut [], None)?;
        workers.into_iter().try_for_each(|worker| worker.join().expect("no panic"))
    })?;
    println!("{} requests answered", CONNECTIONS * REQUESTS);
    eprintln!("{:?}", queue.counts());
    Ok(())
}
