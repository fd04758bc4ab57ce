//! A small echo server on one kqueue.
//!
//! Run it with an address or none (127.0.0.1 and any port): it says where it listens, and serves
//! until it is ended. The same server on epoll, poll and select is in the examples of compat-epoll,
//! compat-poll and compat-select.

use std::collections::HashMap;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsRawFd;

use kq_core::*;

/// A connection, and what it sent that could not be sent back yet.
struct Connection {
    stream: TcpStream,
    pending: Vec<u8>,
}

/// A change of the knote that says when a descriptor can be read, or written.
fn knote(of: &impl AsRawFd, filter: EventFilter, flags: EvFlags) -> KEvent {
    KEvent::new(of.as_raw_fd() as usize, filter, flags, FilterFlag::empty(), 0, 0)
}

fn main() -> io::Result<()> {
    let address = std::env::args().nth(1).unwrap_or("127.0.0.1:0".to_owned());
    let listener = TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    println!("listening on {}", listener.local_addr()?);

    let kq = Kqueue::new()?;
    let mut changes = vec![knote(&listener, EventFilter::EVFILT_READ, EvFlags::EV_ADD)];
    let mut connections = HashMap::new();
    let mut events = [KEvent::default(); 64];
    loop {
        // What the last events changed goes in with the next wait.
        let count = match kq.kevent(&changes, &mut events, None) {
            Err(Errno::EINTR) => 0,
            count => count?,
        };
        changes.clear();
        for event in &events[..count] {
            if event.ident() == listener.as_raw_fd() as usize {
                while let Some(stream) = accept(&listener)? {
                    // Both at once: what a connection cannot do yet waits disabled.
                    let off = EvFlags::EV_ADD | EvFlags::EV_DISABLE;
                    changes.push(knote(&stream, EventFilter::EVFILT_READ, EvFlags::EV_ADD));
                    changes.push(knote(&stream, EventFilter::EVFILT_WRITE, off));
                    let ident = stream.as_raw_fd() as usize;
                    connections.insert(ident, Connection { stream, pending: Vec::new() });
                }
            } else if let Some(connection) = connections.get_mut(&event.ident()) {
                match connection.echo() {
                    Ok(true) => changes.extend(connection.interest()),
                    Ok(false) | Err(_) => {
                        // Changes of this connection must not reach who gets its number next.
                        changes.retain(|change| change.ident() != event.ident());
                        connections.remove(&event.ident());
                    }
                }
            }
        }
    }
}

fn accept(listener: &TcpListener) -> io::Result<Option<TcpStream>> {
    match listener.accept() {
        Ok((stream, _)) => stream.set_nonblocking(true).map(|()| Some(stream)),
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
        Err(error) => Err(error),
    }
}

impl Connection {
    /// What it waits for: to send what is pending, or else for more.
    fn interest(&self) -> [KEvent; 2] {
        let [read, write] = match self.pending.is_empty() {
            true => [EvFlags::EV_ENABLE, EvFlags::EV_DISABLE],
            false => [EvFlags::EV_DISABLE, EvFlags::EV_ENABLE],
        };
        [
            knote(&self.stream, EventFilter::EVFILT_READ, read),
            knote(&self.stream, EventFilter::EVFILT_WRITE, write),
        ]
    }

    /// Sends back as much as goes. False when the other side has closed and has all of it.
    fn echo(&mut self) -> io::Result<bool> {
        let mut buffer = [0; 16384];
        loop {
            while !self.pending.is_empty() {
                match self.stream.write(&self.pending) {
                    Ok(sent) => drop(self.pending.drain(..sent)),
                    Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(true),
                    Err(error) => return Err(error),
                }
            }
            match self.stream.read(&mut buffer) {
                Ok(0) => return Ok(false),
                Ok(received) => self.pending.extend(&buffer[..received]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(true),
                Err(error) => return Err(error),
            }
        }
    }
}
