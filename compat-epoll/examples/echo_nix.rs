//! A small echo server on one epoll instance.
//!
//! `echo_nix.rs` and `echo_compat.rs` differ in one line: where epoll comes from. Run one with an
//! address or none (127.0.0.1 and any port): it says where it listens, and serves until it is ended.

use std::collections::HashMap;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};

use nix::sys::epoll::*;

const LISTENER: u64 = 0;

/// A connection, and what it sent that could not be sent back yet.
struct Connection {
    stream: TcpStream,
    pending: Vec<u8>,
}

fn main() -> io::Result<()> {
    let address = std::env::args().nth(1).unwrap_or("127.0.0.1:0".to_owned());
    let listener = TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    println!("listening on {}", listener.local_addr()?);

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
                while let Some(stream) = accept(&listener)? {
                    epoll.add(&stream, EpollEvent::new(EpollFlags::EPOLLIN, next))?;
                    connections.insert(next, Connection { stream, pending: Vec::new() });
                    next += 1;
                }
            } else if let Some(connection) = connections.get_mut(&event.data()) {
                match connection.echo() {
                    Ok(true) => {
                        let mut interest = EpollEvent::new(connection.interest(), event.data());
                        epoll.modify(&connection.stream, &mut interest)?;
                    }
                    Ok(false) | Err(_) => {
                        epoll.delete(&connection.stream)?;
                        connections.remove(&event.data());
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
    fn interest(&self) -> EpollFlags {
        if self.pending.is_empty() { EpollFlags::EPOLLIN } else { EpollFlags::EPOLLOUT }
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
