//! A small echo server on one epoll instance.
//!
//! `echo_nix.rs` and `echo_compat.rs` differ in one line: where epoll comes from. Run one with an
//! address or none (127.0.0.1 and any port): it says where it listens, and serves until it is ended.

mod echo;

use std::collections::HashMap;
use std::io;

use compat_epoll::*;

const LISTENER: u64 = 0;

fn main() -> io::Result<()> {
    let listener = echo::listen()?;
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
    epoll.add(&listener, EpollEvent::new(EpollFlags::EPOLLIN, LISTENER))?;
    let mut connections = HashMap::new();
    let mut next = LISTENER + 1;
    let mut events = [EpollEvent::empty(); 64];
    loop {
        let count = match epoll.wait(&mut events, EpollTimeout::NONE) {
            Err(nix::errno::Errno::EINTR) => continue,
            count => count?,
        };
        for event in &events[..count] {
            if event.data() == LISTENER {
                while let Some(connection) = echo::accept(&listener)? {
                    epoll.add(&connection.stream, interest(&connection, next))?;
                    connections.insert(next, connection);
                    next += 1;
                }
            } else if let Some(connection) = connections.get_mut(&event.data()) {
                if connection.echo() {
                    epoll.modify(&connection.stream, &mut interest(connection, event.data()))?;
                } else {
                    epoll.delete(&connection.stream)?;
                    connections.remove(&event.data());
                }
            }
        }
    }
}

fn interest(connection: &echo::Connection, data: u64) -> EpollEvent {
    match connection.waits_to_send() {
        true => EpollEvent::new(EpollFlags::EPOLLOUT, data),
        false => EpollEvent::new(EpollFlags::EPOLLIN, data),
    }
}
