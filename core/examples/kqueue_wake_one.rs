//! Four threads, each with a queue of its own, accept from one socket. Without `EV_WAKEONE` each
//! connection would wake all of them, and three in vain.

use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicUsize, Ordering};

use kq_core::*;

const CONNECTIONS: usize = 200;

fn main() -> std::io::Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    listener.set_nonblocking(true)?;
    let (stop, stopping) = std::io::pipe()?;
    let accepted = AtomicUsize::new(0);
    let serve = || -> std::io::Result<()> {
        let read = |fd: i32, flags| {
            let (filter, none) = (EventFilter::EVFILT_READ, FilterFlag::empty());
            KEvent::new(fd as usize, filter, EvFlags::EV_ADD | flags, none, 0, 0)
        };
        let queue = Kqueue::new()?;
        let changes = [
            read(listener.as_raw_fd(), EvFlags::EV_WAKEONE),
            read(stop.as_raw_fd(), EvFlags::empty()),
        ];
        queue.kevent(&changes, &mut [], None)?;
        let mut events = [KEvent::default()];
        loop {
            queue.kevent(&[], &mut events, None)?;
            if events[0].ident() == stop.as_raw_fd() as usize {
                return Ok(());
            }
            // (The queue tells of it again while there are more.)
            if listener.accept().is_ok() {
                accepted.fetch_add(1, Ordering::Relaxed);
            }
        }
    };
    std::thread::scope(|threads| {
        let workers = [(); 4].map(|()| threads.spawn(serve));
        for _ in 0..CONNECTIONS {
            TcpStream::connect(listener.local_addr()?)?;
        }
        while accepted.load(Ordering::Relaxed) < CONNECTIONS {
            std::thread::yield_now();
        }
        drop(stopping);
        workers.into_iter().try_for_each(|worker| worker.join().expect("no panic"))
    })?;
    println!("{} connections accepted", accepted.into_inner());
    Ok(())
}
