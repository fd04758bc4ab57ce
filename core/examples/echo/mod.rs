//! What the echo servers have in common, whatever tells them who is ready: accepting, and a
//! connection that sends back what it receives.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};

/// Listens on the address that the command line names, or on any port of 127.0.0.1, and says where.
///
/// # Errors
/// If it cannot.
pub(crate) fn listen() -> io::Result<TcpListener> {
    let address = std::env::args().nth(1).unwrap_or("127.0.0.1:0".to_owned());
    let listener = TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    println!("listening on {}", listener.local_addr()?);
    Ok(listener)
}

/// The next connection that waits to be accepted, if one does.
///
/// # Errors
/// Those of accept(2).
pub(crate) fn accept(listener: &TcpListener) -> io::Result<Option<Connection>> {
    match listener.accept() {
        Ok((stream, _)) => {
            stream.set_nonblocking(true)?;
            Ok(Some(Connection { stream, pending: Vec::new() }))
        }
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
        Err(error) => Err(error),
    }
}

/// A connection, and what it sent that could not be sent back yet.
pub(crate) struct Connection {
    pub(crate) stream: TcpStream,
    pending: Vec<u8>,
}

impl Connection {
    /// What it waits for: to send what is pending, or else for more.
    pub(crate) fn waits_to_send(&self) -> bool {
        !self.pending.is_empty()
    }

    /// Sends back as much as goes. False when the connection is over: the other side has closed and
    /// has all of it, or is gone.
    pub(crate) fn echo(&mut self) -> bool {
        self.try_echo().unwrap_or(false)
    }

    fn try_echo(&mut self) -> io::Result<bool> {
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
